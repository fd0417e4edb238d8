package faults

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"

	"checkpoint12/model/strictjson"
)

// catalogueJSON lists the faults, for reference/float64/faults.py too.
//
//go:embed catalogue.json
var catalogueJSON []byte

var catalogue, identities = list()

// allVariants returns the faults' variants by id.
func allVariants() map[string]variant {
	all := map[string]variant{}
	for _, some := range []map[string]variant{
		normVariants, embedVariants, linearVariants, headVariants, cacheVariants, scoreVariants, probVariants,
		residualVariants, geluVariants, unembedVariants, choiceVariants, precisionVariants,
	} {
		maps.Copy(all, some)
	}
	return all
}

// list reads the catalogue. It panics where a fault has no variant.
func list() ([]Fault, []Identity) {
	var file struct {
		Faults     []Fault    `json:"faults"`
		Identities []Identity `json:"identities"`
	}
	if err := strictjson.Unmarshal(catalogueJSON, &file); err != nil {
		panic(fmt.Sprintf("catalogue.json: %v", err))
	}
	all := allVariants()
	for i, f := range file.Faults {
		if file.Faults[i].Run = all[f.ID]; all[f.ID] == nil {
			panic("catalogue.json: " + f.ID + " has no variant")
		}
	}
	return file.Faults, file.Identities
}

// Catalogue returns every known fault, in the order of the stages they sit in.
func Catalogue() []Fault { return slices.Clone(catalogue) }

// ByID returns the fault of an id.
func ByID(id string) (Fault, error) {
	for _, f := range catalogue {
		if f.ID == id {
			return f, nil
		}
	}
	return Fault{}, fmt.Errorf("there is no fault %.40q in the catalogue", id)
}

// Identity is a place where faults cannot be seen: there they move nothing, or
// less than the tolerance that goldens are judged by.
type Identity struct {
	Faults string `json:"faults"` // a pattern of ids
	Stages string `json:"stages"` // a pattern of stages
	Reason string `json:"reason"`
}

// Identities returns the places where faults of the catalogue cannot be seen.
func Identities() []Identity { return slices.Clone(identities) }

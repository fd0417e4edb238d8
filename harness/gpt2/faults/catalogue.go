// Package faults is the catalogue of the faults that GPT-2 engines are known to
// have, and finds which of them an engine has.
//
// Each [Fault] is a variant of one stage: it computes what that stage would put
// out with the fault in it, from the inputs that the engine under test gave its
// own stage. So [Explain] needs nothing but a dump: where a replay finds a
// stage's own computation wrong, every fault that can sit there is computed, and
// the one that gives what the engine gave is the cause. Where none does, the
// error itself is looked at for a pattern that shows where to look.
//
// catalogue.json lists the faults, for reference/float64/faults.py too, which has
// the same variants in numpy and measures how far each moves its stage.
package faults

import (
	_ "embed"
	"fmt"
	"slices"

	"checkpoint12/harness/internal/names"
	"checkpoint12/model/strictjson"
)

// A Kind says how far a fault moves its stage, and so how plainly it is seen.
type Kind string

// The kinds of faults.
const (
	Plain     Kind = "fault"     // another function: many times any tolerance
	GELU      Kind = "gelu"      // a near relative of the correct function
	Precision Kind = "precision" // the correct function with fewer bits
	Padding   Kind = "padding"   // the correct function under another mask of padding
)

// A Fault is an entry of the catalogue: a known fault and its variants.
type Fault struct {
	// ID names the fault in reports: "gelu_erf".
	ID   string `json:"id"`
	Kind Kind   `json:"kind"`

	// Stages are patterns of the stages in which it can sit, such as "h.*.ln_1".
	Stages []string `json:"stages"`

	// Text is the fault and its remedy, in words an engineer acts on.
	Text string `json:"text"`

	// NaNAt is a stage of the same block in which padding is NaN where the fault shows; "" if
	// it shows whatever stands there.
	NaNAt string `json:"nan_at"`

	variants []variant // ways to make it, the usual one first

	// fit is set for a hypothesis that was read off a row: it has to give a number wherever the
	// engine has one, and rounds as it computes, where the correct function only moves values.
	fit bool

	part *part // of the output, in which alone it is; nil is all of it

	// ofLayer is set for one that changes the scores of every layer but the first, by the layer's number.
	ofLayer bool

	factor *factor // nil if it is not one number times the correct output

	// relation tells faults of one id apart that are made for one stage each:
	// which other stage stands in its place, seen from there.
	relation string
}

// At reports whether the fault can sit in the stage.
func (f Fault) At(stage string) bool {
	return slices.ContainsFunc(f.Stages, func(p string) bool { return names.Match(p, stage) })
}

// isAmong reports whether the list has the fault, made for whatever stage.
func (f Fault) isAmong(list []Fault) bool {
	return slices.ContainsFunc(list, func(g Fault) bool { return f.ID == g.ID && f.relation == g.relation })
}

// Output returns the stage's output with the fault made in its usual way; nil where
// it changes nothing, or where an input that it needs is not known.
func (f Fault) Output(c *Context) []float32 { return f.output(c, 0) }

// output is Output of one of the variants.
func (f Fault) output(c *Context, variant int) (out []float32) {
	defer func() {
		if p := recover(); p != nil {
			if _, lacks := p.(unknown); !lacks {
				panic(p)
			}
		}
	}()
	return f.variants[variant](c)
}

//go:embed catalogue.json
var catalogueJSON []byte

var catalogue, identities = list()

// list reads the catalogue. It panics where a fault has no variant.
func list() ([]Fault, []Identity) {
	var file struct {
		Faults     []Fault    `json:"faults"`
		Padding    []Fault    `json:"padding"`
		Identities []Identity `json:"identities"`
	}
	if err := strictjson.Unmarshal(catalogueJSON, &file); err != nil {
		panic(fmt.Sprintf("catalogue.json: %v", err))
	}
	all := append(file.Faults, file.Padding...)
	for i, f := range all {
		if all[i].variants = variants[f.ID]; variants[f.ID] == nil {
			panic("catalogue.json: " + f.ID + " has no variant")
		}
		all[i].factor = factors[f.ID]
	}
	return all, file.Identities
}

// Catalogue returns every known fault, in the order of the stages they sit in, and then
// those that only padding has.
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

// An Identity names stages in which faults are the identity, or nearly: there they move
// nothing, or less than the tolerance that goldens are judged by, and cannot be seen.
type Identity struct {
	Faults string `json:"faults"` // a pattern of ids
	Stages string `json:"stages"` // a pattern of stages
	Reason string `json:"reason"`
}

// Identities returns where faults of the catalogue cannot be seen.
func Identities() []Identity { return slices.Clone(identities) }

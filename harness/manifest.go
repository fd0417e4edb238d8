package harness

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"checkpoint12/harness/internal/names"
)

// Manifest binds a dump to what made it.
type Manifest struct {
	Schema       int           `json:"schema"` // 1
	Model        ManifestModel `json:"model"`
	Case         string        `json:"case,omitempty"`
	Prompt       string        `json:"prompt,omitempty"`
	Tokens       [][]int       `json:"tokens,omitempty"` // the prompt's ids, rows of equal length
	New          int           `json:"new,omitempty"`    // tokens chosen, and steps
	Temperatures []float64     `json:"temperatures,omitempty"`
	Engine       Engine        `json:"engine"`
	Exporter     []SourceFile  `json:"exporter,omitempty"` // the sources that made the dump; not checked here
	Files        []File        `json:"files"`
	LeftOut      []LeftOut     `json:"left_out,omitempty"`
}

// ManifestModel names the model and its weights.
type ManifestModel struct {
	Name          string          `json:"name"`
	Config        json.RawMessage `json:"config,omitempty"` // as in config.json
	WeightsSHA256 string          `json:"weights_sha256,omitempty"`
}

// Engine names what computed the tensors.
type Engine struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	DType   string `json:"dtype"`
}

// SourceFile is one source file of an exporter.
type SourceFile struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
}

// File is one .npy file of a dump. tokens.npy has neither Step nor Stage.
type File struct {
	Path   string `json:"path"`
	Step   *int   `json:"step,omitempty"`
	Stage  string `json:"stage,omitempty"`
	Shape  []int  `json:"shape"`
	DType  string `json:"dtype"`
	SHA256 string `json:"sha256"`
}

// CheckWeights returns an error unless the dump was made from weights of that
// hash. model names them in the error.
func (m *Manifest) CheckWeights(model, sha256 string) error {
	switch m.Model.WeightsSHA256 {
	case sha256:
		return nil
	case "":
		return fmt.Errorf("manifest of %s by %s does not say which weights made it", m.Model.Name, m.Engine.Name)
	}
	return fmt.Errorf("made by %s from weights %.12s… of %s, not from weights %.12s… of %s",
		m.Engine.Name, m.Model.WeightsSHA256, m.Model.Name, sha256, model)
}

// LeftOut is one rule of a manifest's left_out: which stages at which steps the
// exporter did not write, and why.
type LeftOut struct {
	Stages string `json:"stages"` // a pattern of names: * is any characters, ? one, [abc] one of a set
	Steps  string `json:"steps"`  // "all", "0", "1-", "1-8", "2,5", or several of these with commas
	Reason string `json:"reason"`
}

// Check returns an error if the rule is not well formed.
func (l LeftOut) Check() error {
	if err := names.CheckPattern(l.Stages); err != nil {
		return err
	}
	if _, err := stepRanges(l.Steps); err != nil {
		return err
	}
	if l.Reason == "" {
		return fmt.Errorf("stages %q are left out without a reason", l.Stages)
	}
	return nil
}

// Covers reports whether a well-formed rule leaves out a stage at a step.
func (l LeftOut) Covers(step int, stage string) bool {
	if !names.Match(l.Stages, stage) {
		return false
	}
	ranges, _ := stepRanges(l.Steps)
	return slices.ContainsFunc(ranges, func(r [2]uint64) bool { return r[0] <= uint64(step) && uint64(step) <= r[1] })
}

// stepRanges returns the first and the last of the steps in each part of a list, or an
// error unless the list is well formed.
func stepRanges(list string) (ranges [][2]uint64, err error) {
	if list == "all" {
		list = "0-"
	}
	for part := range strings.SplitSeq(list, ",") {
		lo, hi, isRange := strings.Cut(strings.TrimSpace(part), "-")
		a, err := strconv.ParseUint(lo, 10, 31)
		b := a
		if isRange && err == nil {
			b, err = strconv.ParseUint(cmp.Or(hi, "2147483647"), 10, 31)
		}
		if err != nil || b < a {
			return nil, fmt.Errorf("steps %q: want all, 0, 1-, 1-8 or 2,5", list)
		}
		ranges = append(ranges, [2]uint64{a, b})
	}
	return ranges, nil
}

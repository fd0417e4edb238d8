package faults

import (
	"slices"

	"checkpoint12/harness/internal/names"
)

// Kind is how far a fault moves its stage, and so how plainly it is seen.
type Kind string

// The kinds of faults.
const (
	Plain     Kind = "fault"     // another function: many times any tolerance
	GELU      Kind = "gelu"      // a near relative of the right function
	Precision Kind = "precision" // the right function with fewer bits
)

// Fault is an entry of the catalogue: a known fault and its variants.
type Fault struct {
	// ID names the fault in reports: "gelu_erf".
	ID   string `json:"id"`
	Kind Kind   `json:"kind"`

	// Stages are patterns, as names.Match takes them, of where it can sit.
	Stages []string `json:"stages"`

	// Text is the fault and its remedy, in words an engineer acts on.
	Text string `json:"text"`

	Run variant `json:"-"`

	// relation tells faults of one id apart that are made for one stage each:
	// which other stage stands in its place, seen from there.
	relation string
}

// variant computes a stage's output with a fault in it. There may be several ways
// to make the same fault; the first is the usual one. It returns nil where the
// fault changes nothing: no past to overwrite, no second query to mask.
type variant = func(c *Context) [][]float32

// At reports whether the fault can sit in the stage.
func (f Fault) At(stage string) bool {
	return slices.ContainsFunc(f.Stages, func(p string) bool { return names.Match(p, stage) })
}

// isAmong reports whether the list has the fault, made for whatever stage.
func (f Fault) isAmong(list []Fault) bool {
	return slices.ContainsFunc(list, func(g Fault) bool { return f.ID == g.ID && f.relation == g.relation })
}

// Outputs runs the fault's variants. It returns nil where the fault changes
// nothing at this place, or where an input that it needs is not known.
func (f Fault) Outputs(c *Context) [][]float32 {
	var outs [][]float32
	if !ifKnown(func() { outs = f.Run(c) }) {
		return nil
	}
	return slices.DeleteFunc(outs, func(o []float32) bool { return o == nil })
}

// one is the result of a fault that can be made in one way only.
func one(out []float32) [][]float32 { return [][]float32{out} }

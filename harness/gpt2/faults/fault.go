package faults

import (
	"fmt"
	"slices"

	"checkpoint12/harness/internal/names"
)

// Kind says how far a fault moves its stage, and so how plainly it is seen.
type Kind string

// The kinds of faults.
const (
	Plain     Kind = "fault"     // another function: many times any tolerance
	GELU      Kind = "gelu"      // a near relative of the right function
	Precision Kind = "precision" // the right function with fewer bits
)

// Fault is one known mistake.
type Fault struct {
	// ID names the fault in reports: "gelu_erf".
	ID string

	// Stages are patterns, as names.Match takes them, of where it can sit.
	Stages []string

	Kind Kind

	// Text says what is wrong and what to do, in words an engineer acts on.
	Text string

	// Run gives what the stage would put out if the fault were in it. There may
	// be several ways to make the same mistake; the first is the usual one. It is
	// nil where the fault says nothing: no past to overwrite, no second query to
	// mask.
	Run func(c *Context) [][]float32
}

// At says whether the fault can sit in the stage.
func (f Fault) At(stage string) bool {
	return slices.ContainsFunc(f.Stages, func(p string) bool { return names.Match(p, stage) })
}

// Outputs runs the fault's variants. It is nil where the fault says nothing at
// this place, or where an input that it needs is not known.
func (f Fault) Outputs(c *Context) [][]float32 {
	c.lacking = ""
	outs := f.Run(c)
	if c.lacking != "" {
		return nil
	}
	return slices.DeleteFunc(outs, func(o []float32) bool { return o == nil })
}

// Where stages are that share their faults.
var (
	linears   = []string{"h.*.attn.c_attn", "h.*.attn.c_proj", "h.*.mlp.c_fc", "h.*.mlp.c_proj"}
	norms     = []string{"h.*.ln_1", "h.*.ln_2", "ln_f"}
	residuals = []string{"h.*.resid_mid", "h.*.resid_post"}
	heads     = []string{"h.*.attn.q", "h.*.attn.k", "h.*.attn.v"}
	caches    = []string{"h.*.attn.cache_k", "h.*.attn.cache_v"}
	scores    = []string{"h.*.attn.scores"}
	probs     = []string{"h.*.attn.probs"}
	contexts  = []string{"h.*.attn.context"}
	acts      = []string{"h.*.mlp.act"}
	choices   = []string{"probs_t*"}
)

var catalogue = slices.Concat(
	normFaults, embedFaults, linearFaults, headFaults, cacheFaults, scoreFaults, probFaults,
	residualFaults, geluFaults, unembedFaults, choiceFaults, precisionFaults,
)

// Catalogue is every known fault, in the order of the stages they sit in.
func Catalogue() []Fault { return slices.Clone(catalogue) }

// ByID is the fault of an id.
func ByID(id string) (Fault, error) {
	for _, f := range catalogue {
		if f.ID == id {
			return f, nil
		}
	}
	return Fault{}, fmt.Errorf("there is no fault %.40q in the catalogue", id)
}

// one is the result of a fault that can be made in one way only.
func one(out []float32) [][]float32 { return [][]float32{out} }

package gpt2

import (
	"fmt"
	"strings"
)

// Finding is one thing that a checkpoint looked at: a stage at a step compared
// with one engine's golden, or an assertion on the model's own run.
type Finding struct {
	Checkpoint int    // 1 to 12; 0 for the embeddings
	Case       string // of the goldens, or of a published text
	Engine     string // whose golden; Self where none is needed
	Step       int    // 0 is the prompt
	Stage      string // the stage, or the assertion's name
	What       string // what was asked of it, in a few words
	Elements   int    // how many values were looked at

	// Share is the error as a part of its bound: 1 is all that is allowed; 0 or
	// infinity where the bound is exact.
	Share float64

	Failed bool
	Detail string // of a failure: what, where, by how much
	Note   string // of a pass: what limits it, such as a near tie
}

// Name is the finding's place as a test's: case/engine/step/stage.
func (f Finding) Name() string {
	return fmt.Sprintf("%s/%s/step_%02d/%s", f.Case, f.Engine, f.Step, f.Stage)
}

// Report is the finding in full, for an engineer who has to act on it.
func (f Finding) Report() string {
	c := Describe(f.Checkpoint)
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", c, f.Name())
	if f.What != "" {
		fmt.Fprintf(&b, ": %s", f.What)
	}
	if f.Detail != "" {
		fmt.Fprintf(&b, "\n  %s", f.Detail)
	}
	if len(c.Causes) > 0 {
		fmt.Fprintf(&b, "\n  usual causes: %s", c.causes())
	}
	return b.String()
}

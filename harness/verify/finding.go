package verify

import (
	"fmt"
	"strings"

	"checkpoint12/harness"
)

// Finding is one thing that a checkpoint looked at: a stage at a step compared
// with one engine's golden, or an assertion on the model's own run.
type Finding struct {
	Checkpoint int    `json:"checkpoint"`       // 1 to 12; 0 for the embeddings, -1 for the weights
	Case       string `json:"case"`             // of the goldens, or the kind of figure
	Engine     string `json:"engine"`           // whose golden; Self where none is needed
	Step       int    `json:"step"`             // 0 is the prompt
	Stage      string `json:"stage"`            // the stage, or the assertion's name
	What       string `json:"what,omitempty"`   // what was asked of it, in a few words
	Figure     string `json:"figure,omitempty"` // of a figure: its name, such as logits.top3
	Source     string `json:"source,omitempty"` // of a figure: who published it
	Elements   int    `json:"elements"`         // how many values were looked at

	// Share is the error as a part of its bound: 1 is all that is allowed; 0 or
	// infinity where the bound is exact.
	Share harness.Float `json:"share"`

	Failed  bool   `json:"failed"`
	Outlier bool   `json:"outlier,omitempty"` // of a failure: it is the golden that is wrong, by what the other engines say
	Kind    string `json:"kind,omitempty"`    // of a failure of checkpoint 12: other text, not deterministic, wrong length
	Detail  string `json:"detail,omitempty"`  // of a failure: what, where, by how much
	Own     string `json:"own,omitempty"`     // of a failure: whether the stage is right for the golden's own inputs
	Begin   string `json:"begin,omitempty"`   // of a failure: where the run diverges earlier
	Closer  string `json:"closer,omitempty"`  // of a failure: the command that looks closer
	Note    string `json:"note,omitempty"`    // what else there is to say, such as a near tie

	causes []string // narrower than the checkpoint's
}

// Name is the finding's place as a test's: case/engine/step/stage, and the part of
// a figure.
func (f Finding) Name() string {
	if f.Checkpoint == Weights {
		return fmt.Sprintf("%s/%s/%s", f.Case, f.Engine, part(f.Figure))
	}
	name := fmt.Sprintf("%s/%s/step_%02d/%s", f.Case, f.Engine, f.Step, f.Stage)
	if f.Figure != "" {
		name += "/" + part(f.Figure)
	}
	return name
}

// Line is a failure on one line, for those that follow from one reported in full.
func (f Finding) Line() string {
	what := f.Detail
	if f.Begin != "" {
		what = "the run diverges earlier, at " + f.Begin
	}
	line, _, _ := strings.Cut(what, "\n")
	if f.Kind != "" {
		line = f.Kind + ": " + line
	}
	return fmt.Sprintf("%s: %s: %s", Describe(f.Checkpoint), f.Name(), line)
}

// Report is the finding in full, for an engineer who has to act on it.
func (f Finding) Report() string {
	if f.Closer == "" {
		return f.report()
	}
	return f.report() + "\n  look closer: " + f.Closer
}

// report returns the finding but for the command that looks closer.
func (f Finding) report() string {
	c := Describe(f.Checkpoint)
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", c, f.Name())
	if f.What != "" {
		fmt.Fprintf(&b, ": %s", f.What)
	}
	if f.Kind != "" {
		fmt.Fprintf(&b, "\n  %s", f.Kind)
	}
	if f.Detail != "" {
		fmt.Fprintf(&b, "\n  %s", f.Detail)
	}
	if f.Own != "" {
		fmt.Fprintf(&b, "\n  %s", f.Own)
	}
	if f.Note != "" {
		fmt.Fprintf(&b, "\n  %s", f.Note)
	}
	if f.Begin != "" {
		fmt.Fprintf(&b, "\n  the run diverges earlier, at %s", f.Begin)
	}
	causes := f.causes
	if causes == nil {
		causes = c.Causes
	}
	fmt.Fprintf(&b, "\n  usual causes: %s", strings.Join(causes, "; "))
	return b.String()
}

// goldenCauses are the usual causes of a failure that a golden is to blame for.
var goldenCauses = []string{
	"the golden's engine computes the stage wrong, or did when the golden was made",
	"its exporter writes another tensor under the stage's name",
}

// fix is where to look. model is what goldens are filed under.
func (f *Finding) fix(model string) string {
	if f.Outlier {
		return fmt.Sprintf("not this model, but the golden: make it again and see whether it comes out the same:\n  python3 scripts/regenerate_goldens.py --check --engine %s --model %s --case %s",
			f.Engine, model, f.Case)
	}
	return Describe(f.Checkpoint).Fix
}

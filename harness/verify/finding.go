package verify

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/report"
)

// Self is the engine in findings about the model's own stages, without a golden.
const Self = "self"

// Finding is one comparison of a checkpoint: a stage at a step with one engine's
// golden, or an assertion on the model's own run.
type Finding struct {
	Checkpoint int    `json:"checkpoint"`       // 1 to 12, CheckEmbeddings or CheckWeights
	Case       string `json:"case"`             // of the goldens, or the kind of figure
	Engine     string `json:"engine"`           // of the golden; Self or Figures
	Step       int    `json:"step"`             // 0 is the prompt
	Stage      string `json:"stage"`            // the stage, or the assertion's name
	What       string `json:"what,omitempty"`   // the assertion in a few words
	Figure     string `json:"figure,omitempty"` // the name of a figure, such as logits.top3
	Source     string `json:"source,omitempty"` // of a figure: who published it
	Elements   int    `json:"elements"`         // values compared

	Share  harness.Float `json:"share"` // the error as a fraction of its tolerance; 0 or infinity without one
	Failed bool          `json:"failed"`
	Note   string        `json:"note,omitempty"` // a remark, such as a near tie

	Accepted string `json:"accepted,omitempty"` // why a failure is passed over
	passed   string // a line on what is, and by which file

	// Of a failure:
	Nonfinite string `json:"nonfinite,omitempty"` // the value, if it is a NaN or an infinity that should be none
	Outlier   bool   `json:"outlier,omitempty"`   // the golden is wrong, by the other engines' goldens
	Kind      string `json:"kind,omitempty"`      // of checkpoint 12: other text, not deterministic, wrong length
	Detail    string `json:"detail,omitempty"`    // where it differs and by how much
	Own       string `json:"own,omitempty"`       // whether the stage is correct for the golden's own inputs
	Cause     string `json:"cause,omitempty"`     // the known fault that explains it
	Begin     string `json:"begin,omitempty"`     // where the run diverges earlier
	Closer    string `json:"closer,omitempty"`    // the command that looks closer
}

// failing returns the finding as a failure, past its tolerance by what it is already known
// to be, or else such as no tolerance allows.
func (f Finding) failing(format string, args ...any) Finding {
	f.Failed, f.Detail = true, fmt.Sprintf(format, args...)
	if !(f.Share > 1) {
		f.Share = harness.Float(math.Inf(1))
	}
	return f
}

// nonfinite returns a value as text if it is a NaN or an infinity, else "".
func nonfinite(v harness.Float) string {
	if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
		return fmt.Sprint(f)
	}
	return ""
}

// acceptAt makes a failure one that is passed over if a report passes over what is wrong at a
// place, and says what that is.
func (f Finding) acceptAt(r *harness.Report, at harness.Place) Finding {
	f = f.accept(r.Accepted(at))
	if f.Accepted != "" {
		f.passed = report.Accepted(r, at)
	}
	return f
}

// accept makes a failure one that is passed over, for a reason, unless that is "".
func (f Finding) accept(why string) Finding {
	if f.Failed && why != "" {
		f.Failed, f.Accepted = false, why
		f.Nonfinite, f.Kind, f.Detail, f.Own, f.Cause, f.Begin, f.Closer = "", "", "", "", "", "", ""
	}
	return f
}

// Name returns the place as a test's name: case/engine/step/stage, and a figure's part.
func (f Finding) Name() string {
	_, part, _ := strings.Cut(f.Figure, ".")
	if f.Checkpoint == CheckWeights && f.Figure != "" {
		return fmt.Sprintf("%s/%s/%s", f.Case, f.Engine, part)
	}
	name := fmt.Sprintf("%s/%s/step_%02d/%s", f.Case, f.Engine, f.Step, f.Stage)
	if f.Figure != "" {
		name += "/" + part
	}
	return name
}

// Line returns a failure as one line.
func (f Finding) Line() string {
	return fmt.Sprintf("%s: %s: %s", Info(f.Checkpoint), f.Name(), f.detail())
}

// detail returns how it failed.
func (f Finding) detail() string {
	detail := f.Detail
	if f.Begin != "" {
		detail = "the run diverges earlier, at " + f.Begin
	}
	if f.Kind != "" {
		detail = f.Kind + ": " + detail
	}
	return detail
}

// write writes the finding in full.
func (f Finding) write(b *report.Writer) {
	b.Printf("%s: %s", Info(f.Checkpoint), f.Name())
	if f.What != "" {
		b.Printf(": %s", f.What)
	}
	add := func(title report.Text, s string) {
		if s != "" {
			b.Printf("\n  %s%s", title, s)
		}
	}
	add("", f.Kind)
	add("", f.Detail)
	add("", f.Own)
	add("", f.Note)
	add("the run diverges earlier, at ", f.Begin)
	if f.Cause == "" && (f.Begin == "" || f.Outlier) { // it is not known
		add("usual causes: ", strings.Join(f.usualCauses(), "; "))
	}
	add("cause: ", f.Cause)
	if f.Closer != "" {
		b.Printf("\n  look closer: %s", report.Unbroken(f.Closer))
	}
	b.Printf("\n")
}

// usualCauses returns the usual causes of the failure, likeliest first.
func (f Finding) usualCauses() []string {
	switch c := Info(f.Checkpoint); {
	case f.Outlier:
		return texts.Causes["outlier"]
	case f.Nonfinite != "" && !strings.HasSuffix(f.Stage, ".attn.scores"): // which have infinities of their own
		return texts.Causes["not finite"]
	case f.Kind != "":
		return texts.Causes[f.Kind]
	case f.Engine == Figures && f.Checkpoint != CheckWeights:
		return slices.Concat(texts.Causes["figures"], c.CausesAt())
	default:
		return c.CausesAt(f.Stage)
	}
}

// first returns the failure that is first in execution order, over all cases and engines,
// or nil: later ones may be its consequences, though their checkpoints have lower numbers.
// The weights come before all stages; after them come the figures, which see only the
// end of a run, then checkpoint 12, then failures that a golden is to blame for.
func (s *Suite) first(found []Finding) *Finding {
	order := func(f *Finding) []int {
		n, ok := s.schedule.Index(f.Stage)
		switch {
		case f.Outlier:
			return []int{4, f.Step, n}
		case f.Checkpoint == CheckWeights:
			return []int{0}
		case f.Checkpoint == CheckpointCount || !ok:
			return []int{3}
		case f.Engine == Figures:
			return []int{2, f.Step, n}
		case f.Engine == Self: // of the same stage a golden's finding comes first: it has a cause and a proof
			return []int{1, f.Step, n, 1}
		}
		return []int{1, f.Step, n, 0}
	}
	var best *Finding
	for i := range found {
		if f := &found[i]; f.Failed && (best == nil || slices.Compare(order(f), order(best)) < 0) {
			best = f
		}
	}
	return best
}

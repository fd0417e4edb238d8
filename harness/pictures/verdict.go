package pictures

import (
	"fmt"
	"math"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/report"
	"checkpoint12/harness/report/page"
	"checkpoint12/harness/verify"
)

// verdict returns the verdict as the first lines of the text say it.
func (b *builder) verdict() (v page.Verdict) {
	r := b.report
	head := report.AsText(math.MaxInt, func(w *report.Writer) { report.WriteVerdict(w, r, b.o.Report) })
	for line := range strings.Lines(head) {
		v.Lines = append(v.Lines, strings.TrimSpace(line))
	}
	v.State = page.Failed
	if r.Passed() {
		v.State = page.Passed
	}
	v.Lines[0] = strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(v.Lines[0], "PASS"), "FAIL"))
	v.Closer = page.Command{What: "what looks closer", Line: b.o.Closer}
	if r.Passed() {
		v.Closer = page.Command{}
		return v
	}
	at, ok := firstWrong(r)
	if !ok {
		return v
	}
	v.Stage = fmt.Sprintf("%s, at step %d", at.Stage, at.Step)
	for _, e := range r.Explanations {
		if e.Step == at.Step && e.Stage == at.Stage {
			v.Cause = report.Explained(e)
			break
		}
	}
	if b.schedule == nil {
		return v
	}
	if st, ok := b.schedule.Stage(at.Stage); ok {
		if v.Cause == "" {
			if usual := verify.Info(st.Checkpoint).CausesAt(st.Name); len(usual) > 0 {
				v.Cause = "not known; usual here: " + strings.Join(usual[:min(3, len(usual))], "; ")
			}
		}
		v.Remedy = verify.Info(st.Checkpoint).Fix
		if st.Checkpoint > 0 {
			v.Stage += fmt.Sprintf(" (checkpoint %d, %s)", st.Checkpoint, verify.Info(st.Checkpoint).Title)
		}
	}
	return v
}

// firstWrong returns the place that the verdict is about, if there is one.
func firstWrong(r *harness.Report) (at harness.Place, ok bool) {
	for _, in := range r.Introduced {
		if in.Accepted == "" {
			return harness.Place{Step: in.Step, Stage: in.Stage}, true
		}
	}
	switch {
	case r.FirstDivergence != nil:
		return *r.FirstDivergence, true
	case len(r.Unusable) > 0:
		return r.Unusable[0], true
	}
	for _, v := range r.Violations {
		if v.Accepted == "" {
			return v.Place, true
		}
	}
	return at, false
}

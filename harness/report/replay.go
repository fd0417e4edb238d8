package report

import (
	"fmt"
	"math"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/words"
)

// writeReplayed writes, below the verdict, what the replay adds to it.
func (p *printer) writeReplayed() {
	if p.Replayed == nil {
		return
	}
	n := verdicts(p.Replayed)
	judged, unknown := words.Count(n[harness.ReplayClean]+n[harness.ReplayIntroduced], "stage"), ""
	if n[harness.ReplayUnknown] > 0 {
		unknown = fmt.Sprintf("; %s could not be judged", words.Count(n[harness.ReplayUnknown], "stage"))
	}
	inherited, ownCheck := 0, 0
	for i := range p.Stages {
		switch row := &p.Stages[i]; {
		case row.Origin == harness.OriginInherited:
			inherited++
		case row.FailsOwnCheck():
			ownCheck++
		}
	}
	text, none := "", "replayed on its own inputs, none of "+judged+" is wrong"
	switch {
	case len(p.Introduced) > 0 && p.bad == 0:
		text = fmt.Sprintf("every tensor is within tolerance of %s: the fault is smaller than that%s", p.Golden, unknown)
	case len(p.Introduced) > 0:
		text = fmt.Sprintf("%d of %s outside tolerance of %s", p.bad, words.Count(p.Compared, "tensor"), p.Golden)
		if inherited > 0 {
			text += fmt.Sprintf(", %d of them correct for their inputs", inherited)
		}
		text += unknown
		if p.GoldenReplayed != nil {
			text += "; the two differ before that: " + p.blameGolden()
		}
	case p.bad == 0:
		text = "replayed on its own inputs, each of " + judged + " is right" + unknown
	case unknown != "":
		text = none + unknown + ": the fault is in one of these"
	case ownCheck == p.bad:
		text = none + " beyond rounding; the stage's own check is stricter"
	default:
		text = none + ": " + p.blameGolden()
	}
	fmt.Fprintf(p, "      %s\n", text)
}

func verdicts(rows []harness.Replayed) map[string]int {
	n := map[string]int{}
	for i := range rows {
		n[rows[i].Verdict]++
	}
	return n
}

// blameGolden returns why stages that are right for their inputs are outside
// tolerance.
func (p *printer) blameGolden() string {
	n := verdicts(p.GoldenReplayed)
	wrong, judged := n[harness.ReplayIntroduced], n[harness.ReplayClean]+n[harness.ReplayIntroduced]
	if judged == 0 {
		return "either rounding adds up to this, or the golden is of another model"
	}
	for i := range p.GoldenReplayed {
		if row := &p.GoldenReplayed[i]; row.Verdict == harness.ReplayIntroduced {
			return fmt.Sprintf("the golden is wrong in %d of %s, first at %s: it is of another model, or incorrect", wrong, words.Count(judged, "stage"), row.Place)
		}
	}
	return fmt.Sprintf("nor is any of the golden's %d; this is rounding, which the model amplifies beyond tolerance", judged)
}

// writeAmplification writes where inherited errors grow most.
func (p *printer) writeAmplification() {
	inherited := 0
	var most *harness.Replayed
	for i := range p.Stages {
		if p.Stages[i].Origin != harness.OriginInherited {
			continue
		}
		inherited++
		row := p.replays[p.Stages[i].Place]
		if row.Amplification >= 0 && (most == nil || row.Amplification > most.Amplification) {
			most = row
		}
	}
	if most != nil {
		fmt.Fprintf(p, "\n%s inherited from the inputs; the largest growth is at %s: %s times, relative to each tensor's maximum\n",
			words.Count(inherited, "error"), most.Place, num(most.Amplification))
	}
}

// distance returns how far an introduced stage is from the replayed value.
func distance(r *harness.Replayed) string {
	if r.Status == harness.Shape || r.Worst == nil {
		return r.Why
	}
	at := fmt.Sprintf("at step %d, %s, index %v: got %s, want %s for these inputs", r.Step, r.Stage, r.Worst.Index, exact(r.Worst.Got), exact(r.Worst.Want))
	switch share := float64(r.Share); {
	case r.Status == harness.Nonfinite:
		return "a NaN or an infinity, or none where one belongs, " + at
	case math.IsInf(share, 1):
		return fmt.Sprintf("%d of %s differ, worst %s", r.Mismatched, words.Count(r.Elements, "value"), at)
	default:
		return fmt.Sprintf("%d of %s off by more than rounding, up to %s times the rounding bound, %s", r.Mismatched, words.Count(r.Elements, "value"), num(share), at)
	}
}

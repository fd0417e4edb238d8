package report

import (
	"fmt"
	"math"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/names"
	"checkpoint12/harness/internal/words"
)

// replayOf returns the replay of a place, or nil.
func (p *printer) replayOf(at harness.Place) *harness.Replayed {
	for i := range p.Replayed {
		if p.Replayed[i].Place == at {
			return &p.Replayed[i]
		}
	}
	return nil
}

// writeReplayed writes, below the verdict, what the replay adds to it.
func (p *printer) writeReplayed() {
	if p.Report.Replayed == nil {
		return
	}
	judged, unknown := 0, ""
	n := verdicts(p.Replayed)
	judged = n[harness.ReplayClean] + n[harness.ReplayIntroduced]
	if n[harness.ReplayUnknown] > 0 {
		unknown = fmt.Sprintf("; %s could not be judged", words.Count(n[harness.ReplayUnknown], "stage"))
	}
	bad, inherited, ownCheck := 0, 0, 0
	for i := range p.Stages {
		row := &p.Stages[i]
		if !row.Status.Diverges() {
			continue
		}
		bad++
		if row.FailsOwnCheck() {
			ownCheck++
		}
		if row.Origin == harness.OriginInherited {
			inherited++
		}
	}
	fmt.Fprint(p, "      ")
	switch {
	case len(p.Introduced) > 0 && bad == 0:
		fmt.Fprintf(p, "every tensor is within tolerance of %s: the fault is smaller than that%s\n", p.Golden, unknown)
	case len(p.Introduced) > 0:
		fmt.Fprintf(p, "%d of %s outside tolerance of %s", bad, words.Count(p.Compared, "tensor"), p.Golden)
		if inherited > 0 {
			fmt.Fprintf(p, ", %d of them correct for their inputs", inherited)
		}
		fmt.Fprint(p, unknown)
		if p.GoldenReplayed != nil {
			fmt.Fprintf(p, "; the two differ before that: %s", p.blameGolden())
		}
		fmt.Fprintln(p)
	case bad == 0:
		fmt.Fprintf(p, "replayed on its own inputs, each of %s is right%s\n", words.Count(judged, "stage"), unknown)
	case unknown != "":
		fmt.Fprintf(p, "replayed on its own inputs, none of %s is wrong%s: the fault is in one of these\n", words.Count(judged, "stage"), unknown)
	case ownCheck == bad:
		fmt.Fprintf(p, "replayed on its own inputs, none of %s is wrong beyond rounding; the stage's own check is stricter\n", words.Count(judged, "stage"))
	default:
		fmt.Fprintf(p, "replayed on its own inputs, none of %s is wrong: %s\n", words.Count(judged, "stage"), p.blameGolden())
	}
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
	inherited := map[harness.Place]bool{}
	for i := range p.Stages {
		if row := &p.Stages[i]; row.Origin == harness.OriginInherited {
			inherited[row.Place] = true
		}
	}
	var most *harness.Replayed
	for i := range p.Replayed {
		row := &p.Replayed[i]
		if inherited[row.Place] && (row.Amplification >= 0) && (most == nil || row.Amplification > most.Amplification) {
			most = row
		}
	}
	if most == nil {
		return
	}
	fmt.Fprintf(p, "\n%s inherited from the inputs; the largest growth is at %s: %s times, relative to each tensor's maximum\n",
		words.Count(len(inherited), "error"), most.Place, num(float64(most.Amplification)))
}

// writeUnknown writes what could not be judged, and why.
func (p *printer) writeUnknown() {
	var families []string
	places := map[string][]harness.Place{}
	why := map[string]string{}
	for i := range p.Replayed {
		row := &p.Replayed[i]
		if row.Verdict != harness.ReplayUnknown {
			continue
		}
		family := names.Family(row.Stage)
		if places[family] == nil {
			families = append(families, family)
			why[family] = row.Why
		}
		places[family] = append(places[family], row.Place)
	}
	if len(families) == 0 {
		return
	}
	fmt.Fprint(p, "\ncould not be judged:\n")
	t := NewTable("", "")
	for _, family := range families {
		t.Row("  "+nameOf(places[family]), extent(places[family])+": "+why[family])
	}
	p.Table(t)
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

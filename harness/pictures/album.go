package pictures

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/internal/words"
	"checkpoint12/harness/report/ci"
	"checkpoint12/harness/report/page"
	"checkpoint12/harness/verify"
)

// An Album gathers the cases of a run of verify, each while its tensors are at hand.
type Album struct {
	runs     []page.Run
	findings []page.Finding
	reports  []*harness.Report
	facts    []page.Fact
	left     size
	failed   bool  // one case has
	others   []int // for each finding, in how many cases more it is
	schedule *harness.Schedule
}

// NewAlbum returns an album without a case.
func NewAlbum() *Album { return &Album{left: cardBytes} }

// Bounds on what the cards of one case take: of one that passes, that fails, and that fails
// before others.
const passBytes, failBytes, firstBytes = 26_000, 45_000, 100_000

// Add adds a case, as verify.Options.Judged is called with it.
func (a *Album) Add(name string, r *diagnose.Result) error {
	if len(r.Judged) == 0 {
		return nil
	}
	b := &builder{report: r.Report, judged: r.Judged}
	b.compare(r)
	b.run.Name = name
	bytes := min(passBytes, a.left)
	if !r.Passed() {
		if bytes = min(failBytes, a.left); !a.failed {
			bytes = firstBytes
		}
		a.failed = true
	}
	if err := b.finish(bytes); err != nil {
		return err
	}
	for i := range b.run.Cards {
		a.left -= a.left.of(&b.run.Cards[i])
	}
	for _, f := range b.findings(len(a.runs)) {
		same := func(o page.Finding) bool { return o.Stage == f.Stage && slices.Equal(o.Causes, f.Causes) }
		if i := slices.IndexFunc(a.findings, same); i < 0 {
			f.Where = "case " + name + ", " + f.Where
			a.findings, a.others = append(a.findings, f), append(a.others, 0)
		} else {
			a.others[i]++
		}
	}
	for _, e := range b.judged[0].Engines {
		if e.Source.Manifest() != nil {
			a.addFacts(bound("goldens of "+engineName(e), e.Source.Manifest()))
		}
	}
	a.schedule = b.schedule
	a.runs, a.reports = append(a.runs, b.run), append(a.reports, r.Report)
	return nil
}

// addFacts adds what is not known yet.
func (a *Album) addFacts(facts []page.Fact) {
	for _, f := range facts {
		if !slices.Contains(a.facts, f) {
			a.facts = append(a.facts, f)
		}
	}
}

// Page returns the page of what verify has found.
func (a *Album) Page(r *verify.Report, o Options) *page.Page {
	c := r.CI()
	p := &page.Page{
		Title: c.Verdict + " " + c.Name, Verdict: verdictOf(r, c, o), Findings: a.findings,
		Beside: besideOf(r, c, a.reports), Checkpoints: checkpoints(r, c), Runs: a.runs,
		Engines: spreads(r), Notes: r.Notes(), Facts: append([]page.Fact{{Name: "program", Value: o.Version}}, a.facts...),
		Commands: []page.Command{{What: "what made this page", Line: o.Line}},
	}
	for i, n := range a.others {
		if n > 0 {
			p.Findings[i].Notes = append(p.Findings[i].Notes, "and in "+words.Count(n, "more case"))
		}
	}
	if a.schedule != nil {
		p.Stages = summaries(a.schedule, a.reports...)
	}
	first := a.worst()
	if r.First != nil {
		slices.SortStableFunc(p.Findings, func(x, y page.Finding) int {
			first := func(f page.Finding) int {
				if p.Runs[f.Run].Name == r.First.Case && f.Stage != "" {
					return 0
				}
				return 1
			}
			return cmp.Compare(first(x), first(y))
		})
		first = slices.IndexFunc(p.Runs, func(run page.Run) bool { return run.Name == r.First.Case })
	}
	showFirst(p, first)
	if len(p.Findings) == 0 || r.First != nil && (r.First.Checkpoint == verify.CheckWeights || r.First.Outlier) {
		p.Findings = append(problems(c.Problems), p.Findings...)
	} else {
		p.Findings = append(p.Findings, problems(r.Unjudged())...)
	}
	for i, report := range a.reports {
		rows, more := outside(a.runs[i].Name, report)
		kept := min(len(rows), max(0, maxRows-len(p.Rows)))
		p.Rows, p.More = append(p.Rows, rows[:kept]...), p.More+more+len(rows)-kept
	}
	for _, t := range r.Texts {
		name := t.Case
		if t.Row > 0 {
			name = fmt.Sprintf("%s, row %d", name, t.Row)
		}
		p.Texts = append(p.Texts, page.Fact{Name: name, Value: fmt.Sprintf("%q", t.Text)})
	}
	for _, q := range r.Quorums {
		for _, line := range q.Lines() {
			p.Notes = append(p.Notes, q.Case+": "+line)
		}
	}
	if line := p.Verdict.Closer.Line; line != "" {
		p.Commands = append(p.Commands, p.Verdict.Closer)
	}
	fit(p)
	return p
}

// worst returns the run in which the cell that is opened is worst, of its bound.
func (a *Album) worst() (run int) {
	most := page.Num(-1)
	for i := range a.runs {
		if r := &a.runs[i]; len(r.Layers) > 0 && r.Start < len(r.Layers[0].Share) && r.Layers[0].Share[r.Start] > most {
			run, most = i, r.Layers[0].Share[r.Start]
		}
	}
	return run
}

// showFirst moves a run to the front, so that the page opens with it.
func showFirst(p *page.Page, i int) {
	if i <= 0 {
		return
	}
	run := p.Runs[i]
	p.Runs = slices.Insert(slices.Delete(slices.Clone(p.Runs), i, i+1), 0, run)
	for k := range p.Findings {
		switch f := &p.Findings[k]; {
		case f.Run == i:
			f.Run = 0
		case f.Run < i:
			f.Run++
		}
	}
}

// verdictOf returns the verdict in the words of the text.
func verdictOf(r *verify.Report, c *ci.Report, o Options) page.Verdict {
	v := page.Verdict{State: page.Passed}
	switch {
	case r.Failed():
		v.State = page.Failed
	case r.Err() != nil:
		v.State = page.Partial
	}
	head, _, _ := strings.Cut(c.Text, "\n\n")
	wrapped := -1 // by how much what goes on with the last line is indented
	for line := range strings.Lines(head) {
		text := strings.TrimSpace(line)
		if indent := len(line) - len(strings.TrimLeft(line, " ")); indent == wrapped {
			v.Lines[len(v.Lines)-1] += " " + text
		} else {
			v.Lines, wrapped = append(v.Lines, text), indent+2
		}
	}
	_, v.Lines[0], _ = strings.Cut(v.Lines[0], ": ")
	f := r.First
	if f == nil {
		if r.EngineReport != nil && len(r.Errors) > 0 {
			v.Lines = slices.DeleteFunc(v.Lines, func(line string) bool { return strings.HasPrefix(line, "look closer: ") })
			v.Closer = page.Command{What: "what looks closer", Line: r.Errors[0].Command}
		}
		return v
	}
	v.Stage = fmt.Sprintf("%s, %s", verify.Info(f.Checkpoint), f.Name())
	if v.Cause = f.Cause; v.Cause == "" {
		v.Cause = cmp.Or(f.Own, f.Detail)
	}
	if f.Checkpoint > 0 && !f.Outlier {
		v.Remedy = verify.Info(f.Checkpoint).Fix
	}
	v.Closer = page.Command{What: "what looks closer", Line: f.Closer}
	return v
}

// besideOf returns what the verdict does not cover.
func besideOf(r *verify.Report, c *ci.Report, reports []*harness.Report) (all []page.Beside) {
	add := func(n int, what, why string, list ...string) {
		if n == 1 {
			what = singular.Replace(what)
		}
		if n > 0 {
			all = append(all, page.Beside{N: n, What: what, Why: why, List: list[:min(len(list), maxListed)]})
		}
	}
	var unchecked []string
	why := ""
	for _, k := range r.Checkpoints {
		if k.Verdict == verify.NotChecked {
			unchecked = append(unchecked, verify.Info(k.Checkpoint).String())
			why = cmp.Or(why, k.Command)
		}
	}
	if why != "" {
		why = "to make goldens: " + why
	}
	add(len(unchecked), "checkpoints not checked", why, unchecked...)
	add(r.Accepted, "accepted by rules", "they fail, and are passed over")
	var u harness.Unseen
	for _, report := range reports {
		u.Missing, u.Skipped, u.Unjudged = u.Missing+report.Unseen.Missing, u.Skipped+report.Unseen.Skipped, u.Unjudged+report.Unseen.Unjudged
		u.Unknown, u.Doubted, u.Unmatched = u.Unknown+report.Unknown, u.Doubted+report.Doubted, u.Unmatched+report.Unmatched
	}
	add(u.Missing, "missing", "goldens have them, the dumps have not")
	add(u.Skipped, "skipped", "they were fed other tokens")
	if r.EngineReport != nil {
		add(u.Unjudged, "not judged by replay", "whether their own computation is wrong is not known")
		add(u.Unmatched, "without a golden", "nothing bounds them but the replay")
		add(len(r.CannotDo), "cases that the engine cannot do", "it ended them with the status that says so", r.CannotDo...)
		var failed []string
		for _, e := range r.Errors {
			failed = append(failed, e.Error())
		}
		add(len(failed), "cases that could not be judged", "an error is no verdict", failed...)
	}
	add(u.Unknown, "names not understood", "they are no stages")
	add(u.Doubted, "in doubt though within tolerance", "that they pass says little")
	return all
}

// checkpoints returns the twelve.
func checkpoints(r *verify.Report, c *ci.Report) (all []page.Checkpoint) {
	for _, k := range r.Checkpoints {
		info := verify.Info(k.Checkpoint)
		row := page.Checkpoint{
			Number: fmt.Sprint(k.Checkpoint), Title: info.Title, Verdict: k.Verdict, Checks: k.Compared,
			Looks: info.Stages, Bound: info.Tolerance, Fix: info.Fix,
		}
		if w := k.Worst; w != nil {
			share := page.Num(w.Share)
			row.Worst = fmt.Sprintf("%s at %s, %s, step %d, %s", cmp.Or(w.Nonfinite, page.Share(share)), w.Case, w.Engine, w.Step, w.Stage)
			if share == 0 {
				row.Worst = page.Share(share)
			}
		}
		passed, n := 0, 0
		for _, t := range c.Tests {
			if t.Check != verify.CheckName(k.Checkpoint) {
				continue
			}
			n++
			if t.Outcome == ci.Passed {
				passed++
				continue
			}
			verdict := map[ci.Outcome]string{ci.Failed: "fail", ci.Errored: "could not be judged", ci.NotChecked: verify.NotChecked}[t.Outcome]
			message := strings.TrimPrefix(t.Message, verify.NotChecked+": ")
			if len(row.Engines) < maxListed {
				row.Engines = append(row.Engines, page.CheckpointEngine{Engine: t.Name, Verdict: verdict, Worst: message})
			}
		}
		if passed > 0 {
			row.Engines = append(row.Engines, page.CheckpointEngine{
				Engine: fmt.Sprintf("%d of %d cases and engines", passed, n), Verdict: "pass"})
		}
		all = append(all, row)
	}
	return all
}

// problems returns what is to be mended in the words for CI systems.
func problems(list []ci.Problem) (all []page.Finding) {
	for _, p := range list {
		all = append(all, page.Finding{Where: p.Title, Causes: p.Lines, Cell: -1})
	}
	return all
}

// spreads returns how far each engine of the goldens is from the reference, by checkpoint.
func spreads(r *verify.Report) (table [][]string) {
	worst, engines := map[int]map[string]diagnose.Spread{}, []string{}
	for _, q := range r.Quorums {
		for _, s := range q.Spread {
			if worst[s.Checkpoint] == nil {
				worst[s.Checkpoint] = map[string]diagnose.Spread{}
			}
			if old, ok := worst[s.Checkpoint][s.Engine]; !ok || s.Share > old.Share || math.IsNaN(float64(s.Share)) {
				worst[s.Checkpoint][s.Engine] = s
			}
			if !slices.Contains(engines, s.Engine) {
				engines = append(engines, s.Engine)
			}
		}
	}
	if len(engines) == 0 {
		return nil
	}
	table = [][]string{append([]string{"distance from " + diagnose.Reference + ", of the tolerance"}, engines...)}
	for n := 1; n < verify.CheckpointCount; n++ {
		if worst[n] == nil {
			continue
		}
		line := []string{fmt.Sprintf("%d %s", n, verify.Info(n).Title)}
		for _, e := range engines {
			cell := ""
			if s, ok := worst[n][e]; ok {
				cell = page.Share(page.Num(s.Share))
			}
			line = append(line, cell)
		}
		table = append(table, line)
	}
	return table
}

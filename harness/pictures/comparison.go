package pictures

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/internal/names"
	"checkpoint12/harness/internal/words"
	"checkpoint12/harness/report"
	"checkpoint12/harness/report/page"
	"checkpoint12/harness/verify"
)

// Options are what a page says beside a report.
type Options struct {
	Version string // of the program
	Line    string // the command line that the person gave
	Closer  string // the command that looks closer, or words for it

	Report   report.Options          // by which the report is written as text
	Siblings []diagnose.EngineResult // goldens of other engines of the same case, for their distances alone
}

// cardBytes is what the cards of one page take together at most.
const cardBytes = 420_000

// OfComparison returns the page of a comparison, whose sources are still open.
func OfComparison(r *diagnose.Result, o Options) (*page.Page, error) {
	b := &builder{o: o, report: r.Report, judged: r.Judged}
	if len(r.Judged) == 0 { // the weights as loaded are all there is
		return b.page(), nil
	}
	b.compare(r)
	if err := b.finish(cardBytes); err != nil {
		return nil, err
	}
	p := b.page()
	if r.Quorum != nil {
		p.Notes = append(p.Notes, r.Quorum.Lines()...)
	}
	return p, nil
}

// compare makes the run of a result, but for what shows tensors. Where the result is of all
// goldens together, that is a layer too.
func (b *builder) compare(r *diagnose.Result) {
	b.schedule = r.Judged[0].Schedule
	if len(r.Engines) > 1 && r.Report != r.Engines[0].Report {
		b.layers = []layer{{page.Together, r.Report}}
	}
	for _, e := range r.Engines {
		b.layers = append(b.layers, layer{engineName(e), e.Report})
	}
	b.build()
}

// finish adds what shows tensors, in about so many bytes.
func (b *builder) finish(bytes size) (err error) {
	if b.run.Tokens, err = b.tokens(); err == nil {
		err = b.draw(bytes)
	}
	return err
}

// page returns the page of the builder's run.
func (b *builder) page() *page.Page {
	r := b.report
	v := b.verdict()
	p := &page.Page{
		Title: strings.ToUpper(r.Verdict) + " " + filepath.Base(r.Candidate), Verdict: v, Beside: b.beside(),
		Findings: b.findings(0), Notes: r.Notes, Engines: b.engines(),
		Facts: b.sources(),
	}
	if len(b.run.Stages) > 0 {
		p.Runs, p.Stages = []page.Run{b.run}, summaries(b.schedule, r)
	}
	p.Rows, p.More = outside("", r)
	fit(p)
	p.Commands = append(p.Commands, page.Command{What: "what made this page", Line: b.o.Line})
	if v.Closer.Line != "" {
		p.Commands = append(p.Commands, v.Closer)
	}
	return p
}

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

// findings returns what is wrong: stages, contradictions, weights and shapes.
func (b *builder) findings(run int) (all []page.Finding) {
	r := b.report
	show := func(f page.Finding, at harness.Place) {
		if f.Run, f.Cell = run, -1; b.stages != nil {
			if i, ok := b.cell(at); ok {
				f.Cell = i
			}
		}
		all = append(all, f)
	}
	for _, w := range r.Weights {
		if w.Status.Diverges() {
			show(page.Finding{Stage: w.Stage, Where: "weight as loaded", Causes: []string{w.Difference}}, w.Place)
		}
	}
	for _, g := range report.Findings(r) {
		f := page.Finding{Stage: g.Name, Where: g.Extent, Why: g.Accepted}
		for _, c := range g.Causes {
			f.Causes = append(f.Causes, c.Text)
		}
		for _, note := range []string{g.Together, g.Distance} {
			if note != "" {
				f.Notes = append(f.Notes, note)
			}
		}
		show(f, g.First)
	}
	for _, g := range contradictions(r) {
		v := r.Violations[g[0]]
		f := page.Finding{
			Stage: v.Stage, Where: fmt.Sprintf("step %d: the dump contradicts itself", v.Step),
			Causes: []string{v.Rule}, Notes: []string{v.Detail}, Why: v.Accepted,
		}
		if n := len(g) - 1; n > 0 {
			f.Notes = append(f.Notes, "and at "+words.Count(n, "more place"))
		}
		show(f, v.Place)
	}
	for i, at := range r.Unusable {
		if i == maxListed {
			break
		}
		show(page.Finding{Stage: at.Stage, Where: fmt.Sprintf("step %d", at.Step), Causes: []string{"its shape is none of the stage's"}}, at)
	}
	if at := r.FirstDivergence; at != nil && len(all) == 0 {
		f := page.Finding{Stage: at.Stage, Where: fmt.Sprintf("step %d: the first outside its tolerance", at.Step)}
		if row := r.Row(*at); row != nil {
			_, detail, _ := strings.Cut(row.String(), ": ")
			f.Notes = []string{detail}
		}
		show(f, *at)
	}
	return all
}

// contradictions groups the violations of places that are not introduced, which are listed
// already, by the family of their stage and the rule.
func contradictions(r *harness.Report) (groups [][]int) {
	listed := map[harness.Place]bool{}
	for _, in := range r.Introduced {
		listed[harness.Place{Step: in.Step, Stage: in.Stage}] = true
	}
	for i, v := range r.Violations {
		if listed[v.Place] {
			continue
		}
		k := slices.IndexFunc(groups, func(g []int) bool {
			o := r.Violations[g[0]]
			return names.Family(o.Stage) == names.Family(v.Stage) && o.Accepted == v.Accepted &&
				strings.ReplaceAll(o.Rule, names.Layer(o.Stage), "") == strings.ReplaceAll(v.Rule, names.Layer(v.Stage), "")
		})
		if k < 0 {
			k, groups = len(groups), append(groups, nil)
		}
		groups[k] = append(groups[k], i)
	}
	return groups
}

// maxListed bounds lists of what is alike.
const maxListed = 20

// singular makes the words of beside those for one.
var singular = strings.NewReplacer("kinds of", "kind of", "names", "name", "rows", "row", "checkpoints", "checkpoint", "cases", "case")

// beside returns what the verdict does not cover.
func (b *builder) beside() (all []page.Beside) {
	r := b.report
	add := func(n int, what, why string, list ...string) {
		if n == 1 {
			what = singular.Replace(what)
		}
		if n > 0 {
			all = append(all, page.Beside{N: n, What: what, Why: why, List: list})
		}
	}
	var missing, skipped, accepted, unjudged, doubted []string
	why := ""
	list := func(to *[]string, text string) {
		if len(*to) < maxListed {
			*to = append(*to, text)
		}
	}
	for _, m := range r.Missing {
		text := m.Place.String()
		if m.Position != nil {
			text += fmt.Sprintf(", position %d", *m.Position)
		}
		list(&missing, text)
	}
	for i := range r.Stages {
		row := &r.Stages[i]
		switch {
		case row.Accepted != "":
			list(&accepted, fmt.Sprintf("%s: %s", row.Place, row.Accepted))
		case row.Doubt != "":
			list(&doubted, fmt.Sprintf("%s: %s", row.Place, row.Doubt))
		case row.Status == harness.Skipped:
			if list(&skipped, row.Place.String()); why == "" {
				why = row.Detail
			}
		}
	}
	for i := range r.Replayed {
		if p := &r.Replayed[i]; p.Verdict == harness.ReplayUnknown {
			list(&unjudged, fmt.Sprintf("%s: %s", p.Place, p.Why))
		}
	}
	u := r.Unseen
	add(u.Missing, "missing", "the golden has them, the candidate has not", missing...)
	add(u.Skipped, "skipped", why, skipped...)
	add(u.Unjudged, "not judged by replay", "whether their own computation is wrong is not known", unjudged...)
	add(u.Unknown, "names not understood", "they are no stages")
	add(u.Unmatched, "without a golden", "nothing bounds them but the replay")
	add(u.Rows, "rows of the batch compared with nothing", "no golden was fed their tokens")
	add(u.Shared, "in the golden's own files", "they compare a file with itself")
	add(u.Doubted, "in doubt though within tolerance", "that they pass says little", doubted...)
	add(u.Accepted, "accepted by rules", "they fail, and are passed over", accepted...)
	if r.Replayed == nil {
		all = append(all, page.Beside{What: "not replayed",
			Why: "without --model it is not known which stages are wrong themselves and which inherit the error"})
	}
	if len(b.layers) == 0 {
		all = append(all, page.Beside{What: "no golden", Why: "each stage is judged on its own inputs alone"})
	}
	var left []string
	for _, l := range r.LeftOut {
		left = append(left, l.Stages+": "+l.Reason)
	}
	add(len(left), "kinds of stages left out by the golden", "as its manifest says", left...)
	return all
}

// summaries returns the worst of each family of stages, in execution order.
func summaries(s *harness.Schedule, reports ...*harness.Report) (all []page.Summary) {
	at := map[string]int{}
	for _, r := range reports {
		for i := range r.Stages {
			row := &r.Stages[i]
			if !row.Status.Compared() {
				continue
			}
			family := names.Family(row.Stage)
			k, ok := at[family]
			if !ok {
				k, at[family] = len(all), len(all)
				all = append(all, page.Summary{Stage: family, Share: -1})
			}
			sum := &all[k]
			if sum.Compared++; row.Status.Diverges() {
				sum.Outside++
			}
			if share := page.Num(row.Share()); share > sum.Share {
				sum.Share, sum.At = share, row.Place.String()
			}
		}
	}
	order := map[string]int{}
	for i, st := range slices.Backward(s.Stages()) {
		order[names.Family(st.Name)] = i
	}
	slices.SortStableFunc(all, func(a, b page.Summary) int { return order[a.Stage] - order[b.Stage] })
	return all
}

// maxRows bounds the rows outside their bounds that a page lists.
const maxRows = 60

// outside returns the rows that are outside their bounds, and how many more there are.
func outside(run string, r *harness.Report) (rows []page.Row, more int) {
	for i := range r.Stages {
		row := &r.Stages[i]
		if !row.Status.Diverges() {
			continue
		}
		if len(rows) == maxRows {
			more++
			continue
		}
		own := map[string]string{harness.OriginIntroduced: "wrong itself", harness.OriginInherited: "inherited"}[row.Origin]
		if row.Accepted != "" {
			own = "accepted"
		}
		rows = append(rows, page.Row{
			Run: run, Place: row.Place.String(), Status: string(row.Status), Own: own,
			Error: page.Num(row.MaxAbs), Share: page.Num(row.Share()), Wrong: row.Mismatched, Of: row.Elements,
		})
	}
	return rows, more
}

// engines returns how many tensors are outside the tolerance of each engine's golden.
func (b *builder) engines() (table [][]string) {
	if len(b.layers) < 3 {
		return nil
	}
	table = [][]string{{"golden of", "compared", "outside", "worst, of tolerance", "at"}}
	for _, l := range b.layers[1:] {
		bad, worst := 0, (*harness.Row)(nil)
		for i := range l.report.Stages {
			row := &l.report.Stages[i]
			if row.Status.Diverges() {
				bad++
			}
			if row.Status.Compared() && (worst == nil || row.Share() > worst.Share()) {
				worst = row
			}
		}
		line := []string{l.name, fmt.Sprint(l.report.Compared), fmt.Sprint(bad), "", ""}
		if worst != nil {
			line[3], line[4] = fmt.Sprintf("%.3g", worst.Share()), worst.Place.String()
		}
		table = append(table, line)
	}
	return table
}

// sources returns what was compared: versions, hashes, how it ran.
func (b *builder) sources() (all []page.Fact) {
	add := func(name, value string) {
		if value != "" {
			all = append(all, page.Fact{Name: name, Value: value})
		}
	}
	add("program", b.o.Version)
	add("candidate", b.report.Candidate)
	add("compared with", b.report.Golden)
	if b.report.DType != "" {
		add("judged in", b.report.DType)
	}
	add("cut", b.report.Cut)
	if len(b.judged) == 0 {
		return all
	}
	j := &b.judged[0]
	all = append(all, bound("the candidate", j.Candidate.Manifest())...)
	for _, e := range j.Engines {
		all = append(all, bound("the golden of "+engineName(e), e.Source.Manifest())...)
	}
	if j.Model != nil {
		add("replayed by", j.Model.Name())
	}
	if tokens := j.Candidate.Tokens(); len(tokens) > 0 {
		add("tokens", words.Some(strings.Fields(strings.Trim(fmt.Sprint(tokens[0]), "[]")), 64))
	}
	return all
}

// mostFiles is how many of the files that made a dump are listed.
const mostFiles = 40

// bound returns what binds a dump to what made it.
func bound(of string, m *harness.Manifest) (all []page.Fact) {
	if m == nil {
		return []page.Fact{{Name: of, Value: "has no manifest: nothing binds it to what made it"}}
	}
	all = append(all, page.Fact{Name: of, Value: strings.TrimSpace(fmt.Sprintf("made by %s %s, %s, of %s", m.Engine.Name, m.Engine.Version, m.Engine.DType, m.Model.Name))})
	if m.Model.WeightsSHA256 != "" {
		all = append(all, page.Fact{Name: of + ": weights, SHA-256", Value: m.Model.WeightsSHA256})
	}
	for i, e := range m.Exporter {
		if i == mostFiles {
			all = append(all, page.Fact{Name: of, Value: fmt.Sprintf("and %d files more", len(m.Exporter)-i)})
			break
		}
		all = append(all, page.Fact{Name: of + ": " + e.Path + ", SHA-256", Value: e.SHA256})
	}
	return all
}

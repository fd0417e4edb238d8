package diagnose

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/align"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/words"
	"checkpoint12/model"
)

// A Row is a row of the candidate's batch, judged as a run of its own by the goldens, or the
// rows of goldens, that were fed the same tokens.
type Row struct {
	Run     *harness.BatchRow
	Goldens []EngineResult // each a harness.Recut; none if none was fed these tokens
}

// byRows reports whether a candidate is judged row by row: it has padding, or a golden is
// of another batch or of other tokens.
func (c *Comparison) byRows(candidate Folder) (bool, error) {
	tokens, several := candidate.Tokens(), false
	for i, g := range c.Goldens {
		same := func(e EngineResult) bool { return e.Engine == g.Engine }
		several = several || slices.ContainsFunc(c.Goldens[:i], same) ||
			!slices.EqualFunc(g.Source.Tokens(), c.Goldens[0].Source.Tokens(), sameStart)
	}
	switch {
	case tokens == nil && several:
		return false, fmt.Errorf("%s: without %s it is not known which of the cases it is a run of: name one with --golden",
			candidate.Name(), harness.TokensFile)
	case tokens == nil:
		return false, nil
	case several || harness.MaskOf(candidate) != nil:
		return true, nil
	}
	for _, g := range c.Goldens {
		want := g.Source.Tokens()
		if want == nil {
			continue
		}
		if harness.MaskOf(g.Source) != nil || len(want) != len(tokens) {
			return true, nil
		}
		for i, row := range want {
			if len(want) > 1 && matching(row, tokens[i], promptOf(g.Source)) == 0 {
				return true, nil
			}
		}
	}
	return false, nil
}

// sameStart reports whether of two rows of tokens one begins with the other.
func sameStart(a, b []int) bool {
	n := min(len(a), len(b))
	return slices.Equal(a[:n], b[:n])
}

// promptOf returns the length of a golden's prompt: what its manifest says or, if it has none, how
// many positions its first step has; 1 if nothing tells.
func promptOf(golden harness.Source) int {
	if m := golden.Manifest(); m != nil && len(m.Tokens) > 0 {
		return len(m.Tokens[0])
	}
	for _, stage := range golden.Stages(0) {
		if shape, ok := golden.Shape(0, stage); ok && model.Axes(stage) == "B T C" && len(shape) == 3 {
			return max(shape[1], 1)
		}
	}
	return 1
}

// matching returns how many tokens two rows begin with alike; 0 if they part within the
// golden's prompt.
func matching(golden, row []int, prompt int) (n int) {
	for n < min(len(golden), len(row)) && golden[n] == row[n] {
		n++
	}
	if n < min(prompt, len(row)) {
		return 0
	}
	return n
}

// A goldenRow is a row of a golden as a run of its own.
type goldenRow struct {
	harness.Source
	cut    harness.Cut
	tokens []int
}

// rowsOf returns the rows of a golden that is cut as given.
func rowsOf(s *harness.Schedule, golden harness.Source, cut harness.Cut) (rows []goldenRow) {
	tokens := golden.Tokens()
	for j := range tokens {
		row := goldenRow{golden, cut, tokens[j]}
		if len(tokens) > 1 || harness.MaskOf(golden) != nil {
			own := harness.NewBatchRow(s, golden, cut, j)
			row = goldenRow{own, own.Cut, own.Tokens()[0]}
		}
		rows = append(rows, row)
	}
	return rows
}

// A match is the row of a golden that has the same tokens as a row of the candidate.
type match struct{ golden, row, tokens int }

// matches returns for a row of the candidate the golden row of each engine that goes on
// with the same tokens for longest, of several the first.
func (c *Comparison) matches(row []int, goldens [][]goldenRow) (all []match) {
	for i, g := range c.Goldens {
		best := match{golden: i}
		for j, want := range goldens[i] {
			if n := matching(want.tokens, row, promptOf(want.Source)); n > best.tokens {
				best.row, best.tokens = j, n
			}
		}
		at := slices.IndexFunc(all, func(m match) bool { return c.Goldens[m.golden].Engine == g.Engine })
		switch {
		case best.tokens == 0:
		case at < 0:
			all = append(all, best)
		case best.tokens > all[at].tokens:
			all[at] = best
		}
	}
	return all
}

// viewRows makes the candidate's rows runs of their own. own are the goldens' cuts, by
// which, and by the shapes and tokens of the whole batch, its cut is read.
func (c *Comparison) viewRows(
	run gpt2.CutReader, candidate Folder, own []harness.Cut, hints align.Hints, config *model.Config,
) (*align.View, error) {
	tokens, mask := candidate.Tokens(), harness.MaskOf(candidate)
	all, prompt := make([][]match, len(tokens)), 0
	var goldens [][]goldenRow
	for i, g := range c.Goldens {
		goldens = append(goldens, rowsOf(c.Schedule, g.Source, own[i]))
	}
	var none, notes []string
	for b := range tokens {
		row := harness.NewBatchRow(c.Schedule, candidate, nil, b)
		if all[b] = c.matches(row.Tokens()[0], goldens); len(all[b]) == 0 {
			none = append(none, fmt.Sprint(b))
			continue
		}
		columns, first := row.Padding().Columns, goldens[all[b][0].golden][all[b][0].row]
		if len(first.cut) > 0 {
			prompt = max(prompt, columns[min(max(first.cut[0].T, 1), len(columns))-1]+1)
		}
	}
	switch {
	case len(none) == len(tokens) && len(c.Goldens) > 0:
		return nil, fmt.Errorf("%w: %s: none of its rows begins with the prompt of %s: give the engine the golden's tokens",
			harness.ErrNothingCompared, candidate.Name(), words.Some(c.goldenNames(), 3))
	case len(none) > 0 && len(c.Goldens) > 0:
		why := "not compared"
		if mask == nil {
			why += "; if they are padded, write " + harness.MaskFile
		}
		notes = append(notes, fmt.Sprintf("%s: no golden has the tokens of %s %s: %s",
			candidate.Name(), plural("row", len(none)), words.And(none), why))
		c.unmatched = len(none)
	}
	if config == nil {
		sources := []harness.Source{candidate}
		if len(c.Goldens) > 0 {
			sources = []harness.Source{c.Goldens[0].Source, candidate}
		}
		cfg := gpt2.ConfigOf(c.Schedule, sources...)
		config = &cfg
	}
	steps := harness.LastStep(candidate) + 1
	run.Run, run.Said, run.Config, run.GoldenCut = candidate, candidate.Cut(), config, harness.PromptCut(max(prompt, 1), steps)
	cut, err := run.Read()
	if err != nil {
		return nil, err
	}
	if cut == nil {
		cut = run.GoldenCut
	}
	c.noteCut(candidate, cut)
	view, err := gpt2.ViewBatch(c.Schedule, candidate, cut, hints, config)
	if err != nil {
		return nil, err
	}
	what := ""
	if mask != nil {
		what = " padded"
	}
	if len(tokens) > 1 || mask != nil {
		notes = append(notes, fmt.Sprintf("%s: a%s batch of %s: each is judged as a run of its own, by what was fed the same tokens",
			candidate.Name(), what, words.Count(len(tokens), "row")))
	}
	c.notes = append(c.notes, notes...)
	for b := range tokens {
		r := Row{Run: harness.NewBatchRow(c.Schedule, view, cut, b)}
		for _, m := range all[b] {
			g := c.Goldens[m.golden]
			row := goldens[m.golden][m.row]
			g.Source = harness.NewRecut(c.Schedule, row.Source, row.cut, r.Run.Cut)
			r.Goldens = append(r.Goldens, g)
		}
		c.Rows = append(c.Rows, r)
	}
	return view, nil
}

// plural returns a noun for n of it.
func plural(noun string, n int) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}

func (c *Comparison) goldenNames() (names []string) {
	for _, g := range c.Goldens {
		names = append(names, g.Source.Name())
	}
	return names
}

// compareRows judges each row of the candidate and merges what is found.
func compareRows(ctx context.Context, c Comparison) (*Result, error) {
	var results []*Result
	var reports, unmatched []harness.RowReport
	var judged []Judged
	var nothing error
	for i, row := range c.Rows {
		one := c
		one.Rows, one.Candidate, one.Goldens, one.Cut, one.notes = nil, row.Run, row.Goldens, row.Run.Cut, nil
		one.Unusable, one.Unknown, one.Shared = nil, 0, 0
		if len(row.Goldens) == 0 && c.Model == nil {
			continue
		}
		if c.Progress != nil {
			one.Progress = func(done, all int) { c.Progress(i*all+done, len(c.Rows)*all) }
		}
		r, err := compare(ctx, one)
		switch {
		case errors.Is(err, harness.ErrNothingCompared):
			nothing = cmp.Or(nothing, err)
			continue
		case err != nil:
			return nil, err
		}
		x := harness.RowReport{Row: row.Run, Report: r.Report}
		if len(row.Goldens) == 0 && len(c.Goldens) > 0 {
			x.Stages, x.Notes = nil, nil
			unmatched = append(unmatched, x)
			continue
		}
		results, reports, judged = append(results, r), append(reports, x), append(judged, r.Judged...)
	}
	if len(reports) == 0 {
		return nil, cmp.Or(nothing, fmt.Errorf("%w: %s: no row can be judged", harness.ErrNothingCompared, c.Candidate.Name()))
	}
	reads := func(string) []string { return nil }
	if c.Model != nil {
		reads = c.replayer(c.Candidate).Reads
	}
	merged := &Result{Judged: judged}
	var err error
	if merged.Report, err = harness.MergeRows(c.Schedule, append(reports, unmatched...), reads); err != nil {
		return nil, err
	}
	r := merged.Report
	r.Unusable, r.Unknown, r.Shared, r.Rows = c.Unusable, c.Unknown, c.Shared, c.unmatched
	r.Notes = append(slices.Clone(c.notes), r.Notes...)
	r.Match(c.Schedule, c.Candidate, c.Match)
	if r.Compared == 0 {
		return nil, cmp.Or(nothing, fmt.Errorf("%w: %s: no row can be judged", harness.ErrNothingCompared, c.Candidate.Name()))
	}
	merged.Tokens = mergeTokens(results, reports)
	return merged, merged.mergeEngines(c, results, reports)
}

// mergeEngines merges what each engine's goldens say of the rows.
func (r *Result) mergeEngines(c Comparison, results []*Result, reports []harness.RowReport) error {
	var engines []string
	for _, x := range results {
		for _, e := range x.Engines {
			if !slices.Contains(engines, e.Engine) {
				engines = append(engines, e.Engine)
			}
		}
		if x.Quorum != nil {
			r.addQuorum(x.Quorum)
		}
	}
	slices.SortStableFunc(engines, func(a, b string) int {
		rank := func(e string) int {
			if e == Reference {
				return 0
			}
			return 1
		}
		return cmp.Or(cmp.Compare(rank(a), rank(b)), strings.Compare(a, b))
	})
	for _, engine := range engines {
		var own []harness.RowReport
		merged := EngineResult{Engine: engine}
		for i, x := range results {
			for _, e := range x.Engines {
				if e.Engine == engine {
					own = append(own, harness.RowReport{Row: reports[i].Row, Report: e.Report})
					merged.Source = cmp.Or(merged.Source, e.Source)
				}
			}
		}
		var err error
		if merged.Report, err = harness.MergeRows(c.Schedule, own, nil); err != nil {
			return err
		}
		r.Engines = append(r.Engines, merged)
	}
	return nil
}

// addQuorum adds the quorum of a row: each engine's largest spread, an outlier once.
func (r *Result) addQuorum(q *Quorum) {
	if r.Quorum == nil {
		own := *q
		own.Engines, own.Spread, own.Outliers = slices.Clone(q.Engines), slices.Clone(q.Spread), slices.Clone(q.Outliers)
		r.Quorum = &own
		return
	}
	for _, e := range q.Engines {
		if !slices.Contains(r.Quorum.Engines, e) {
			r.Quorum.Engines = append(r.Quorum.Engines, e)
		}
	}
	for _, s := range q.Spread {
		i := slices.IndexFunc(r.Quorum.Spread, func(o Spread) bool { return o.Checkpoint == s.Checkpoint && o.Engine == s.Engine })
		switch {
		case i < 0:
			r.Quorum.Spread = append(r.Quorum.Spread, s)
		case s.Share > r.Quorum.Spread[i].Share:
			r.Quorum.Spread[i] = s
		}
	}
	for _, o := range q.Outliers {
		if r.Quorum.at(o.Engine, o.Place) == nil {
			r.Quorum.Outliers = append(r.Quorum.Outliers, o)
		}
	}
}

// mergeTokens counts each step once: its tokens are as certain as the least certain of the
// rows.
func mergeTokens(results []*Result, rows []harness.RowReport) *Tokens {
	order := []string{Certified, NearTie, NotCertifiable}
	rank := func(why string) int {
		return slices.IndexFunc(order, func(kind string) bool { return strings.HasPrefix(why, kind) })
	}
	least := map[int]string{}
	for i, r := range results {
		if r.Tokens == nil {
			return nil
		}
		for step, why := range r.Tokens.all {
			if kind, reason, ok := strings.Cut(why, ": "); ok && len(results) > 1 {
				why = fmt.Sprintf("%s: row %d: %s", kind, rows[i].Row.Padding().Row, reason)
			}
			if old, ok := least[step]; !ok || rank(why) > rank(old) {
				least[step] = why
			}
		}
	}
	t := &Tokens{Notes: []TokenNote{}}
	for step, why := range least {
		t.add(step, why)
	}
	slices.SortFunc(t.Notes, func(a, b TokenNote) int { return cmp.Compare(a.Step, b.Step) })
	return t
}

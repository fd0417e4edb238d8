package gpt2

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/align"
	"checkpoint12/harness/internal/names"
	"checkpoint12/model"
)

// A CutReader reads how a run was cut into steps.
type CutReader struct {
	Schedule *harness.Schedule
	Run      harness.Source // as it is, in layouts of its own
	Said     harness.Cut    // what the run's folder says; nil if nothing

	// Golden, if set, is a golden of the same tokens, cut as GoldenCut says.
	Golden    harness.Source
	GoldenCut harness.Cut

	Model  *model.Model  // if set, that which ran
	Config *model.Config // if set, its shape; else as much as manifests and shapes tell
}

// A shaped is what the shapes of a step's tensors tell: the lengths that most of them
// have of the axes T and S, alone and of both together; none if no tensor tells.
type shaped struct {
	T, S []int
	both [][2]int
}

// Read returns the first of these cuts that the shapes of the run's tensors and the
// number of its tokens allow: what its folder says, its manifest's, the golden's own,
// one token at a time, the prompt at once with a cache, no cache. Of several it is the
// one by which the fewest rows of wte are wrong. Steps that are not there are cut as the
// golden's. It is nil if none is allowed.
func (r CutReader) Read() (harness.Cut, error) {
	last := harness.LastStep(r.Run)
	if len(r.Run.Steps()) == 0 || last > maxSteps {
		return nil, nil
	}
	steps := r.shapes(false)
	allowed := r.allowed(steps)
	if len(allowed) == 0 { // or caches are as long as they were allocated
		steps = r.shapes(true)
		allowed = r.allowed(steps)
	}
	if len(allowed) == 0 {
		return nil, nil
	}
	if err := r.doubt(allowed); err != nil {
		return nil, err
	}
	best, fewest := allowed[0], math.MaxInt
	for _, c := range allowed {
		if len(allowed) == 1 {
			break
		}
		n, err := r.wrongRows(c)
		if err != nil {
			return nil, err
		}
		if n < fewest {
			best, fewest = c, n
		}
	}
	return best, nil
}

// allowed returns the cuts that the shapes of the steps allow, in the order of Read.
func (r CutReader) allowed(steps []shaped) (allowed []harness.Cut) {
	last := harness.LastStep(r.Run)
	for _, most := range r.lengths() {
		for _, c := range []harness.Cut{r.Said, r.byManifest(last + 1), r.GoldenCut, tokenByToken(last + 1), r.cached(steps, r.GoldenCut), r.cached(steps, nil), r.uncached(steps)} {
			same := func(other harness.Cut) bool {
				return !slices.ContainsFunc(r.Run.Steps(), func(k int) bool { return other[k] != c[k] })
			}
			if r.allows(c, steps, most) && !slices.ContainsFunc(allowed, same) {
				allowed = append(allowed, c[:last+1])
			}
		}
		if len(allowed) > 0 {
			break
		}
	}
	return allowed
}

// doubt returns an error if, without tokens, nothing tells whether the steps go on where the
// one before ended or begin at the first position.
func (r CutReader) doubt(allowed []harness.Cut) error {
	if r.Run.Tokens() != nil || r.Golden != nil && r.Golden.Tokens() != nil {
		return nil
	}
	same := func(a, b harness.Cut, of func(harness.Span) int) bool {
		return !slices.ContainsFunc(r.Run.Steps(), func(k int) bool { return k >= len(a) || k >= len(b) || of(a[k]) != of(b[k]) })
	}
	first := allowed[0]
	for _, told := range []harness.Cut{r.Said, r.byManifest(len(first)), r.GoldenCut} {
		if same(first, told, func(s harness.Span) int { return s.P }) {
			return nil
		}
	}
	for _, c := range allowed[1:] {
		if same(first, c, func(s harness.Span) int { return s.T }) {
			return fmt.Errorf("%s: without %s it is not known how it runs: %v, or %v: add it, or cut.json",
				r.Run.Name(), harness.TokensFile, first, c)
		}
	}
	return nil
}

// Needed returns the cut of the run if it is to be compared by position; nil if the run
// and its goldens, cut as own says, feed the prompt at once and then one token at a time,
// so that their steps have the same positions.
func (r CutReader) Needed(cut harness.Cut, own []harness.Cut) harness.Cut {
	if len(cut) == 0 {
		return nil
	}
	all := append(slices.Clone(own), cut)
	for _, c := range all {
		if len(c) == 0 {
			return nil // a golden without a step: there is nothing to compare
		}
		if !c.IsPrompt() || c[0] != all[0][0] {
			return cut
		}
	}
	rows := max(1, len(r.Run.Tokens()))
	for _, k := range r.Run.Steps() {
		for _, stage := range r.Run.Stages(k) {
			shape, _ := r.Run.Shape(k, stage)
			st, _ := r.Schedule.Stage(stage)
			if st.LastAlone && len(shape) == len(strings.Fields(st.Axes))-1 && shape[0]%rows == 0 {
				shape = append([]int{rows, shape[0] / rows}, shape[1:]...) // B, T or both in one axis
			}
			if at, ok := st.Rows(cut[k], shape); st.LastAlone && ok && at != cut[k] {
				return cut // of the last position alone
			}
		}
	}
	return nil
}

// maxSteps bounds the steps and the positions of a cut.
const maxSteps = 1 << 16

// ReadGolden returns how a golden was cut: as its manifest describes its run or, without
// one, by Read. Where nothing tells, it is the prompt at once, then one token at a time.
func (r CutReader) ReadGolden() (harness.Cut, error) {
	steps := len(r.Run.Steps())
	if steps > 0 {
		steps = min(harness.LastStep(r.Run), maxSteps) + 1
	}
	if c := r.byManifest(steps); c != nil && r.Said == nil {
		return c, nil
	}
	if c, err := r.Read(); err != nil || c != nil {
		return c, err
	}
	prompt, err := harness.PromptLength(r.Schedule, r.Run, r.Run, 0)
	return harness.PromptCut(prompt, steps), err
}

// byManifest returns the cut of the run that the manifest describes.
func (r CutReader) byManifest(steps int) harness.Cut {
	if man := r.Run.Manifest(); man != nil && len(man.Tokens) > 0 {
		return harness.PromptCut(len(man.Tokens[0]), steps)
	}
	return nil
}

func tokenByToken(steps int) harness.Cut { return harness.PromptCut(1, steps) }

// cached returns the cut in which each step goes on where the one before ended; one whose
// shapes do not tell is as long as another's, or of one token.
func (r CutReader) cached(steps []shaped, other harness.Cut) (c harness.Cut) {
	at := 0
	for k, s := range steps {
		own, ok := other.At(k)
		n := own.T
		switch {
		case len(s.T) > 0:
			n = s.T[0]
		case !ok:
			n = 1
		}
		c, at = append(c, harness.Span{P: at, T: n}), at+n
	}
	return c
}

// uncached returns the cut in which each step begins at the first position and is longer
// than the one before; nil where the shapes are not of such a run.
func (r CutReader) uncached(steps []shaped) (c harness.Cut) {
	before := 0
	for k, s := range steps {
		own, ok := r.GoldenCut.At(k)
		n := own.End()
		switch there := slices.Contains(r.Run.Steps(), k); {
		case len(s.T) > 0:
			n = s.T[0]
		case len(s.S) > 0:
			n = s.S[0]
		case !ok || !there && n <= before:
			n = before + 1
		}
		if n <= before {
			return nil
		}
		c, before = append(c, harness.Span{P: 0, T: n}), n
	}
	return c
}

// lengths returns how many tokens the run may have been fed at most: as many as it has or
// else, where no cut goes with these, as many as the golden has.
func (r CutReader) lengths() (most []int) {
	for _, src := range []harness.Source{r.Run, r.Golden} {
		if src != nil && src.Tokens() != nil {
			most = append(most, len(src.Tokens()[0]))
		}
	}
	if len(most) > 0 {
		return most
	}
	if end := ends(r.GoldenCut); r.Golden != nil && end > 0 {
		most = append(most, end) // of what comes after nothing is compared
	}
	if r.Config != nil {
		return append(most, r.Config.Positions)
	}
	return append(most, maxSteps)
}

// ends returns the number of positions of a cut.
func ends(c harness.Cut) (n int) {
	for _, span := range c {
		n = max(n, span.End())
	}
	return n
}

// allows reports whether the shapes of the run and the number of its tokens, most, allow
// a cut.
func (r CutReader) allows(c harness.Cut, steps []shaped, most int) bool {
	for _, k := range r.Run.Steps() {
		span, ok := c.At(k)
		if !ok || span.End() > most {
			return false
		}
		if s := steps[k]; len(s.T) > 0 && !slices.Contains(s.T, span.T) || len(s.S) > 0 && !slices.Contains(s.S, span.End()) ||
			len(s.both) > 0 && !slices.Contains(s.both, [2]int{span.T, span.End()}) {
			return false
		}
	}
	return true
}

// shapes returns what the shapes of each step tell; with slack, those of tensors alone that cannot be
// longer than they should be.
func (r CutReader) shapes(slack bool) []shaped {
	sources := []harness.Source{r.Run}
	if r.Golden != nil {
		sources = []harness.Source{r.Golden, r.Run}
	}
	cfg := ConfigOf(r.Schedule, sources...)
	if r.Config != nil {
		cfg = *r.Config
	}
	sizes := sizesOf(cfg)
	for axis, n := range sizes {
		if n == 0 {
			delete(sizes, axis)
		}
	}
	for _, src := range sources {
		if rows := src.Tokens(); rows != nil {
			sizes["B"] = len(rows)
		}
	}
	layouts := map[string]align.Layouts{} // by kind of stage
	fits := func(src harness.Source, k int, stage string) []align.Sizes {
		kind := names.Family(stage)
		if _, ok := layouts[kind]; !ok {
			st, _ := r.Schedule.Stage(stage)
			layouts[kind] = align.LayoutsOf(st, "B")
		}
		shape, _ := src.Shape(k, stage)
		return layouts[kind].Learn(shape, sizes, "B")
	}
	if _, ok := sizes["B"]; !ok {
		rows := map[int]int{}
		for _, src := range sources {
			for _, k := range src.Steps() {
				for _, stage := range src.Stages(k) {
					all := fits(src, k, stage)
					B := func(found align.Sizes) (int, bool) { n, ok := found["B"]; return n, ok }
					vote(rows, all, B)
					vote(rows, all[:min(1, len(all))], B) // the contract's layout counts twice
				}
			}
		}
		if all := most(rows); len(all) > 0 {
			sizes["B"] = all[0]
		}
	}
	steps := make([]shaped, harness.LastStep(r.Run)+1)
	for _, k := range r.Run.Steps() {
		T, S, both := map[int]int{}, map[int]int{}, map[[2]int]int{}
		for _, stage := range r.Run.Stages(k) {
			st, _ := r.Schedule.Stage(stage)
			if slack && st.Slack != "" && r.Run.Manifest() == nil {
				continue
			}
			all := fits(r.Run, k, stage)
			alone := func(n int) bool { return st.LastAlone && n == 1 } // may be the last of any number
			vote(T, all, func(found align.Sizes) (int, bool) { n, ok := found["T"]; return n, ok && !alone(n) })
			vote(S, all, func(found align.Sizes) (int, bool) { n, ok := found["S"]; return n, ok })
			vote(both, all, func(found align.Sizes) (pair [2]int, ok bool) {
				t, ok1 := found["T"]
				s, ok2 := found["S"]
				return [2]int{t, s}, ok1 && ok2
			})
		}
		steps[k] = shaped{most(T), most(S), slices.Collect(maps.Keys(both))}
	}
	return steps
}

// vote counts once each of what a tensor tells in the layouts that it fits.
func vote[K comparable](votes map[K]int, fits []align.Sizes, of func(align.Sizes) (K, bool)) {
	var told []K
	for _, found := range fits {
		if n, ok := of(found); ok && !slices.Contains(told, n) {
			told = append(told, n)
			votes[n]++
		}
	}
}

// most returns the lengths with the most votes.
func most(votes map[int]int) (lengths []int) {
	top := 1
	for _, n := range votes {
		top = max(top, n)
	}
	for length, n := range votes {
		if n == top {
			lengths = append(lengths, length)
		}
	}
	slices.Sort(lengths)
	return lengths
}

// wrongRows returns how many rows of wte are not those of the tokens at their positions.
func (r CutReader) wrongRows(c harness.Cut) (wrong int, err error) {
	for _, k := range r.Run.Steps() {
		shape, ok := r.Run.Shape(k, "wte")
		if !ok || len(shape) < 2 {
			continue
		}
		got, err := r.Run.Tensor(k, "wte")
		if err != nil {
			return 0, fmt.Errorf("step %d, stage wte: %w", k, err)
		}
		width := shape[len(shape)-1]
		rows := len(got.F32) / max(width, 1) / c[k].T
		want, err := r.rowsOf(c, k, rows, width)
		if err != nil {
			return 0, err
		}
		for lo := 0; len(want) == len(got.F32) && lo < len(want); lo += width {
			if w := want[lo:][:width]; w[0] == w[0] && !slices.Equal(w, got.F32[lo:][:width]) {
				wrong++
			}
		}
	}
	return wrong, nil
}

// rowsOf returns wte [B,T,C] of a step as it is cut, by the tokens and the model or by
// the golden; NaN where neither tells, nil where nothing is known.
func (r CutReader) rowsOf(c harness.Cut, step, batch, width int) (rows []float32, err error) {
	tokens := r.Run.Tokens()
	if r.Golden == nil {
		if r.Model == nil || len(tokens) != batch {
			return nil, nil
		}
		table, _, _ := r.Model.Weight("wte.weight")
		for _, ids := range tokens {
			for _, id := range ids[c[step].P:c[step].End()] {
				if (id+1)*width > len(table) {
					return nil, nil
				}
				rows = append(rows, table[id*width:][:width]...)
			}
		}
		return rows, nil
	}
	t, err := harness.NewRecut(r.Schedule, r.Golden, r.GoldenCut, c).Tensor(step, "wte")
	if err != nil {
		return nil, nil // the golden has no such row
	}
	return t.F32, nil
}

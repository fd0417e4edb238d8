// Package pictures makes of what compare and verify hold the plain data of a page: maps, the
// tensors that are worth a look, and the verdict in the words of the text.
package pictures

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/names"
	"checkpoint12/harness/report/page"
	"checkpoint12/model"
)

// A builder makes a page's Run.
type builder struct {
	o        Options
	schedule *harness.Schedule
	report   *harness.Report
	layers   []layer           // of goldens
	judged   []diagnose.Judged // whose tensors are at hand

	run      page.Run
	stages   map[string]int // their place in run
	steps    map[int]int
	own      []harness.Place                // that the candidate has, whoever else has them
	rows     map[harness.Place]*harness.Row // of the report
	replayed map[harness.Place]*harness.Replayed
}

// A layer is the candidate's comparison with one engine's golden.
type layer struct {
	name   string
	report *harness.Report
}

// build makes the run of a report, but for its cards.
func (b *builder) build() {
	b.rows, b.replayed = map[harness.Place]*harness.Row{}, map[harness.Place]*harness.Replayed{}
	b.stages, b.steps = map[string]int{}, map[int]int{}
	var places []harness.Place
	for _, l := range append(slices.Clone(b.layers), layer{report: b.report}) {
		for i := range l.report.Stages {
			if row := &l.report.Stages[i]; !row.OfGolden() || l.report.Row(row.Place) == nil {
				places = append(places, row.Place)
			}
		}
	}
	for i := range b.report.Stages {
		if row := &b.report.Stages[i]; b.rows[row.Place] == nil || !row.OfGolden() {
			b.rows[row.Place] = row
		}
	}
	for i := range b.report.Replayed {
		p := &b.report.Replayed[i]
		b.replayed[p.Place], places = p, append(places, p.Place)
	}
	for i := range b.judged {
		b.own = append(b.own, b.schedule.Places(b.judged[i].Candidate, nil)...)
	}
	b.axes(append(places, b.own...))
	for _, l := range b.layers {
		b.run.Layers = append(b.run.Layers, b.layer(l))
	}
	if len(b.replayed) > 0 {
		b.run.Layers = append(b.run.Layers, b.replayLayer())
	}
	b.mark()
	b.run.Growth = b.growth()
	b.run.Start = b.start()
}

// axes lays out the stages and steps.
func (b *builder) axes(places []harness.Place) {
	steps, seen := map[int]bool{}, map[string]bool{}
	layers := 0
	for _, at := range places {
		steps[at.Step], seen[at.Stage] = true, true
		if n, err := strconv.Atoi(names.Numbers(at.Stage)); err == nil {
			layers = max(layers, n+1)
		}
	}
	for _, st := range b.schedule.Stages() {
		if seen[st.Name] {
			b.stages[st.Name] = len(b.run.Stages)
			b.run.Stages = append(b.run.Stages, b.stage(st))
		}
	}
	families := map[string]int{}
	inside := false
	for i := range b.run.Stages {
		st := &b.run.Stages[i]
		for _, name := range model.Reads(model.Config{Layers: layers}, st.Name) {
			if j, ok := b.stages[name]; ok {
				st.Reads = append(st.Reads, j)
			}
		}
		number, err := strconv.Atoi(names.Numbers(st.Name))
		if inside = inside || err == nil; err != nil {
			st.Block = -1
			if inside {
				st.Block = -2
			}
			continue
		}
		family := names.Family(st.Name)
		if _, ok := families[family]; !ok {
			families[family] = len(families)
		}
		st.Block, st.Column = number, families[family]
	}
	for _, n := range sorted(steps) {
		b.steps[n] = len(b.run.Steps)
		b.run.Steps = append(b.run.Steps, page.Step{N: n, Label: b.stepLabel(n)})
	}
}

// stage describes a stage.
func (b *builder) stage(st harness.Stage) page.Stage {
	s := page.Stage{Name: st.Name, Label: gpt2.Label(st.Name), Checkpoint: st.Checkpoint, Why: st.Tolerance.Reason}
	if s.Label == "" {
		s.Label = st.Name[strings.LastIndexByte(st.Name, '.')+1:]
		if names.Numbers(st.Name) == "" {
			s.Label = st.Name
		}
	}
	row := harness.Row{Tolerance: st.Tolerance, Scale: math.NaN()}
	if s.Bound = row.Allowed(); st.Tolerance.Rel > 0 {
		_, s.Bound, _ = strings.Cut(s.Bound, "= ")
	}
	return s
}

// stepLabel says which positions a step feeds, as far as that is known.
func (b *builder) stepLabel(n int) string {
	label := "step " + strconv.Itoa(n)
	if len(b.judged) == 0 {
		return label
	}
	span, ok := spanOf(&b.judged[0], n)
	what := "position"
	if row, of := b.judged[0].Candidate.(*harness.BatchRow); of { // each has positions of its own
		span, ok = row.Padding().Cut.At(n)
		what = "column"
	}
	if !ok || span.T == 0 {
		return label
	}
	if span.T > 1 {
		what += "s"
	}
	return label + ", " + what + " " + strings.ReplaceAll(span.String(), "-", "–")
}

// spanOf returns the positions that a step feeds, if they are known.
func spanOf(j *diagnose.Judged, step int) (harness.Span, bool) {
	cut := j.Cut
	if row, ok := j.Candidate.(*harness.BatchRow); ok {
		cut = row.Cut
	}
	if cut == nil {
		prompt := j.Prompt
		if m := j.Candidate.Manifest(); prompt == 0 && m != nil && len(m.Tokens) > 0 {
			prompt = len(m.Tokens[0])
		}
		if len(j.Engines) > 0 && prompt == 0 {
			if m := j.Engines[0].Source.Manifest(); m != nil && len(m.Tokens) > 0 {
				prompt = len(m.Tokens[0])
			}
		}
		if prompt > 0 {
			cut = harness.PromptCut(prompt, step+1)
		}
	}
	return cut.At(step)
}

// cell returns the cell of a place.
func (b *builder) cell(at harness.Place) (int, bool) {
	stage, ok := b.stages[at.Stage]
	step, there := b.steps[at.Step]
	return step*len(b.run.Stages) + stage, ok && there
}

// blank returns a string of one character for each cell.
func (b *builder) blank(c byte) []byte {
	cells := make([]byte, len(b.run.Steps)*len(b.run.Stages))
	for i := range cells {
		cells[i] = c
	}
	return cells
}

// status returns the status of a row as a character.
func status(row *harness.Row) byte {
	switch {
	case row.FailsOwnCheck():
		return page.StatusCheck
	case row.Doubt != "":
		return page.StatusDoubt
	}
	switch row.Status {
	case harness.Pass:
		return page.StatusPass
	case harness.Missing:
		return page.StatusMissing
	case harness.WrongShape:
		return page.StatusShape
	case harness.Nonfinite:
		return page.StatusNonfinite
	case harness.Skipped:
		return page.StatusSkipped
	}
	return page.StatusFail
}

// blankLayer returns a layer without anything, and the statuses of its cells.
func (b *builder) blankLayer(name string) (cells []byte, l page.Layer) {
	cells = b.blank(page.StatusNone)
	l = page.Layer{Name: name, Share: make([]page.Num, len(cells)), Error: make([]page.Num, len(cells)), Bound: make([]page.Num, len(cells))}
	for i := range l.Bound {
		l.Bound[i] = page.Num(math.NaN())
	}
	return cells, l
}

// layer returns the map of a comparison.
func (b *builder) layer(l layer) page.Layer {
	cells, out := b.blankLayer(l.name)
	for i := range l.report.Stages {
		row := &l.report.Stages[i]
		at, ok := b.cell(row.Place)
		if !ok || row.OfGolden() && cells[at] != page.StatusNone {
			continue
		}
		if cells[at] = status(row); row.Status.Compared() {
			out.Share[at], out.Error[at], out.Bound[at] = page.Num(row.Share()), number(row.MaxAbs), page.Num(row.Tolerance.At(row.Scale))
		}
	}
	for _, at := range b.own {
		if i, ok := b.cell(at); ok && cells[i] == page.StatusNone {
			cells[i] = page.StatusAlone
		}
	}
	out.Status = page.Cells(cells)
	return out
}

// number returns a measure, 0 where there is none: a status says so.
func number(v harness.Float) page.Num {
	if math.IsNaN(float64(v)) {
		return 0
	}
	return page.Num(v)
}

// replayLayer returns the map of the replay.
func (b *builder) replayLayer() page.Layer {
	cells, out := b.blankLayer("its own inputs")
	out.Replay = true
	for at, p := range b.replayed {
		i, ok := b.cell(at)
		if !ok {
			continue
		}
		switch p.Verdict {
		case harness.ReplayUnknown:
			cells[i] = page.StatusSkipped
			continue
		case harness.ReplayClean:
			cells[i] = page.StatusPass
		default:
			if cells[i] = status(&p.Row); cells[i] == page.StatusPass || cells[i] == page.StatusCheck {
				cells[i] = page.StatusFail
			}
		}
		out.Share[i], out.Error[i], out.Bound[i] = page.Num(p.Share()), number(p.MaxAbs), page.Num(p.Tolerance.At(p.Scale))
	}
	out.Status = page.Cells(cells)
	return out
}

// mark says of each cell what a replay found.
func (b *builder) mark() {
	cells, accepted := b.blank(page.MarkNone), b.blank(' ')
	accept := func(i int, why string) { // all that is wrong with a cell, or nothing
		switch {
		case why == "":
			accepted[i] = 'n'
		case accepted[i] == ' ':
			accepted[i] = 'a'
		}
	}
	grown := make([]page.Num, len(cells))
	for at, p := range b.replayed {
		i, ok := b.cell(at)
		if !ok {
			continue
		}
		switch p.Verdict {
		case harness.ReplayIntroduced:
			cells[i] = b.wrong(at)
		case harness.ReplayClean:
			cells[i] = page.MarkClean
		default:
			cells[i] = page.MarkUnknown
		}
		grown[i] = number(p.Amplification)
	}
	for at, row := range b.rows {
		i, ok := b.cell(at)
		if ok && row.Origin == harness.OriginInherited {
			cells[i] = page.MarkInherited
		}
		if ok && (row.Accepted != "" || row.Status.Diverges()) {
			accept(i, row.Accepted)
		}
	}
	wrong := func(at harness.Place, why string) {
		if i, ok := b.cell(at); ok {
			cells[i] = b.wrong(at)
			accept(i, why)
		}
	}
	for _, v := range b.report.Violations {
		wrong(v.Place, v.Accepted)
	}
	for _, in := range b.report.Introduced {
		wrong(harness.Place{Step: in.Step, Stage: in.Stage}, in.Accepted)
	}
	if slices.Contains(accepted, 'a') {
		b.run.Accepted = page.Cells(strings.ReplaceAll(string(accepted), "n", " "))
	}
	if b.run.Marks = page.Cells(cells); slices.ContainsFunc(grown, func(n page.Num) bool { return n != 0 }) {
		b.run.Grown = grown
	}
}

// wrong returns the mark of a place that is wrong itself.
func (b *builder) wrong(at harness.Place) byte {
	if b.report.IsOtherPoint(at) {
		return page.MarkUnused
	}
	return page.MarkWrong
}

// start returns the cell to open first: what is wrong itself, else what diverges first, else
// what is accepted of these, else the largest share of its bound.
func (b *builder) start() int {
	var first, accepted []harness.Place
	sort := func(at harness.Place, why string) {
		if why == "" {
			first = append(first, at)
		} else {
			accepted = append(accepted, at)
		}
	}
	for _, in := range b.report.Introduced {
		sort(harness.Place{Step: in.Step, Stage: in.Stage}, in.Accepted)
	}
	if at := b.report.FirstDivergence; at != nil {
		first = append(first, *at)
	}
	for _, v := range b.report.Violations {
		sort(v.Place, v.Accepted)
	}
	for _, at := range append(first, accepted...) {
		if i, ok := b.cell(at); ok {
			return i
		}
	}
	best, most := 0, page.Num(-1)
	if len(b.run.Layers) > 0 {
		for i, share := range b.run.Layers[0].Share {
			if s := b.run.Layers[0].Status[i]; share > most && s != page.StatusNone && s != page.StatusAlone {
				best, most = i, share
			}
		}
	}
	return best
}

// sorted returns the keys of a set, ascending.
func sorted[K cmp.Ordered](set map[K]bool) (keys []K) {
	for k := range set {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

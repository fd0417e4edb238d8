package harness

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"

	"checkpoint12/harness/internal/shapes"
)

// A Recut is a golden shown in the steps of a candidate that is cut otherwise: each row
// of a step's tensor is the golden's of the same position, from whichever step has it.
// [Compare] compares the rows that the golden has, each within the tolerance of the
// golden's own tensor.
type Recut struct {
	Source     // the golden
	Own    Cut // the golden's
	Cut    Cut // the candidate's, shown

	schedule *Schedule
	held     map[string]held  // by stage
	stages   map[int][]string // by step, those of which the golden has a position

	mu    sync.Mutex
	kept  map[Place]scaled
	order []Place // of kept, the oldest first
	size  int     // elements kept
}

// A holder is a tensor of the golden with the positions of its rows.
type holder struct {
	Place
	rows Span
	end  int // of the step
}

// held is where the golden has the rows of a stage: by their position, the first of its
// tensors, and by the end of their step.
type held struct{ first, ending map[int]holder }

// A piece is consecutive rows of a tensor that one tensor of the golden has.
type piece struct {
	holder
	first, n int // positions
}

// scaled is a golden's tensor with its largest finite magnitude.
type scaled struct {
	Tensor
	max float64
}

// NewRecut returns a golden, cut as own says, in the steps of cut.
func NewRecut(s *Schedule, golden Source, own, cut Cut) *Recut {
	r := &Recut{
		Source: golden, Own: own, Cut: cut, schedule: s,
		held: map[string]held{}, stages: map[int][]string{}, kept: map[Place]scaled{},
	}
	for _, st := range s.stages {
		h := held{map[int]holder{}, map[int]holder{}}
		for _, name := range []string{st.Name, st.Same} {
			for _, step := range golden.Steps() {
				if at, ok := r.holder(Place{step, name}); ok {
					h.add(at)
				}
			}
		}
		if r.held[st.Name] = h; len(h.first) == 0 {
			continue
		}
		for k := range cut {
			for rows, p := r.rows(k, st), 0; p < rows.T; p++ {
				if _, ok := h.first[rows.P+p]; ok {
					r.stages[k] = append(r.stages[k], st.Name)
					break
				}
			}
		}
	}
	return r
}

// holder returns a tensor of the golden with the positions of its rows.
func (r *Recut) holder(at Place) (h holder, ok bool) {
	st, _ := r.schedule.Stage(at.Stage)
	shape, there := r.Source.Shape(at.Step, at.Stage)
	span, cut := r.Own.At(at.Step)
	rows, fits := st.Rows(span, shape)
	return holder{at, rows, span.End()}, there && cut && fits
}

// add adds a tensor, whose positions come after those of the others of a step that ends
// at the same.
func (h held) add(at holder) {
	if _, ok := h.ending[at.end]; !ok {
		h.ending[at.end] = at
	}
	for p := at.rows.P; p < at.rows.End(); p++ {
		if _, ok := h.first[p]; !ok {
			h.first[p] = at
		}
	}
}

// at returns the tensor that has a position of a step that ends at end.
func (h held) at(p, end int) (holder, bool) {
	if at, ok := h.ending[end]; ok && at.rows.P <= p && p < at.rows.End() {
		return at, true
	}
	at, ok := h.first[p]
	return at, ok
}

// note notes how the candidate is cut, and returns it in words; "" if as the golden.
func (r *Recut) note(candidate Source, report *Report) string {
	alike := true
	for _, step := range candidate.Steps() {
		mine, _ := r.Cut.At(step)
		own, _ := r.Own.At(step)
		alike = alike && mine == own
	}
	if alike {
		return ""
	}
	report.Notes = append(report.Notes, fmt.Sprintf("%s: runs %v, not as the golden does: compared position by position",
		candidate.Name(), r.Cut))
	return r.Cut.String()
}

// standIns returns a golden, cut as it is, with the places that the candidate has and the
// golden has only in stages of the same rows.
func (f *tokenDiff) standIns(
	s *Schedule, golden, candidate Source, match func(step int, stage string) bool,
) (r *Recut, places []Place) {
	if f.prompt == 0 || LastStep(golden) > maxSteps {
		return nil, nil
	}
	for _, p := range s.Places(candidate, match) {
		st, _ := s.Stage(p.Stage)
		_, own := golden.Shape(p.Step, st.Name)
		if _, ok := golden.Shape(p.Step, st.Same); !ok || own {
			continue
		}
		if r == nil {
			cut := PromptCut(f.prompt, LastStep(golden)+1)
			r = NewRecut(s, golden, cut, cut)
		}
		shape, _ := candidate.Shape(p.Step, p.Stage)
		if _, fits := st.Rows(f.span(p.Step), shape); fits && len(r.pieces(p.Step, st)) > 0 {
			places = append(places, p)
		}
	}
	return r, places
}

// maxSteps bounds the steps for which stages stand in for others.
const maxSteps = 1 << 16

// Uncut returns a golden as it is, be it shown in other steps or not.
func Uncut(golden Source) Source {
	if r, ok := golden.(*Recut); ok {
		return r.Source
	}
	return golden
}

// Steps returns the steps of the cut of which the golden has anything.
func (r *Recut) Steps() []int { return slices.Sorted(maps.Keys(r.stages)) }

// Stages returns the stages of which the golden has a position of the step.
func (r *Recut) Stages(step int) []string { return slices.Clone(r.stages[step]) }

// Shape returns the shape that the stage has in the step as it is cut.
func (r *Recut) Shape(step int, stage string) ([]int, bool) {
	st, _ := r.schedule.Stage(stage)
	if pieces := r.pieces(step, st); len(pieces) > 0 {
		return r.shape(step, st, pieces[0].Place), true
	}
	return nil, false
}

// shape returns the shape of a stage in a step, by that of one of its holders.
func (r *Recut) shape(step int, st Stage, from Place) []int {
	shape, _ := r.Source.Shape(from.Step, from.Stage)
	shape = slices.Clone(shape)
	of, _ := r.schedule.Stage(from.Stage)
	if own, _ := of.axis(); own >= 0 {
		shape = slices.Delete(shape, own, own+1)
	}
	if axis, _ := st.axis(); axis >= 0 {
		shape = slices.Insert(shape, min(axis, len(shape)), r.Cut[step].T)
	}
	if columns := axisOf(st.Axes, "S"); columns >= 0 && columns < len(shape) {
		shape[columns] = r.Cut[step].End()
	}
	return shape
}

// rows returns the positions of a stage in a step.
func (r *Recut) rows(step int, st Stage) Span {
	span := r.Cut[step]
	switch axis, all := st.axis(); {
	case span.T == 0:
		return span
	case axis < 0:
		return Span{span.End() - 1, 1}
	case all:
		return Span{0, span.End()}
	}
	return span
}

// pieces returns where the golden has the rows of a stage in a step: in the tensor of
// its own step that ends at the same position, else in the first that has them.
func (r *Recut) pieces(step int, st Stage) (pieces []piece) {
	if !slices.Contains(r.stages[step], st.Name) {
		return nil
	}
	rows, end, held := r.rows(step, st), r.Cut[step].End(), r.held[st.Name]
	for p := rows.P; p < rows.End(); p++ {
		at, ok := held.at(p, end)
		if !ok {
			continue
		}
		if last := len(pieces) - 1; last >= 0 && pieces[last].Place == at.Place && pieces[last].first+pieces[last].n == p {
			pieces[last].n++
		} else {
			pieces = append(pieces, piece{at, p, 1})
		}
	}
	return pieces
}

// Tensor returns the stage in the step as it is cut, with NaN for values, and -1 for
// ids, that the golden does not have.
func (r *Recut) Tensor(step int, stage string) (Tensor, error) {
	st, _ := r.schedule.Stage(stage)
	pieces := r.pieces(step, st)
	if len(pieces) == 0 {
		return Tensor{}, fmt.Errorf("%s: has nothing of %s", r.Name(), Place{step, stage})
	}
	shape, rows := r.shape(step, st, pieces[0].Place), r.rows(step, st)
	out := filled(st.IDs, shape, float32(math.NaN()))
	for _, p := range pieces {
		want, _, outer, err := r.read(st, p, shape)
		if err != nil {
			return Tensor{}, err
		}
		copyRows(out, rows.T, p.first-rows.P, want, p.n, 0, p.n, outer)
	}
	return out, nil
}

// common returns those of the places of which the candidate has a position that the golden
// has too, or a tensor whose shape does not tell.
func (r *Recut) common(candidate Source, places []Place) []Place {
	return slices.DeleteFunc(common(candidate, places), func(p Place) bool {
		st, _ := r.schedule.Stage(p.Stage)
		shape, _ := candidate.Shape(p.Step, p.Stage)
		rows, ok := st.Rows(r.Cut[p.Step], shape)
		return ok && !slices.ContainsFunc(r.pieces(p.Step, st), func(p piece) bool {
			return p.first < rows.End() && rows.P < p.first+p.n
		})
	})
}

// compareWith compares the rows that the golden has, but those from the first position
// on at which other tokens were fed. The row is skipped if none are left.
func (r *Recut) compareWith(row *Row, st Stage, step int, candidate Source, fed tokenDiff) error {
	got, err := candidate.Tensor(step, st.Name)
	if err == nil {
		err = checkPart("candidate", got, st)
	}
	if err != nil {
		return err
	}
	rows, _ := st.Rows(r.Cut[step], got.Shape)
	total := Distance{At: -1}
	axis, _ := st.axis()
	pieces := r.pieces(step, st)
	if other, ok := candidate.(*Recut); ok {
		pieces = shared(pieces, other.pieces(step, st))
	}
	for _, p := range pieces {
		first, end := max(p.first, rows.P), min(p.first+p.n, rows.End(), fed.differ)
		if p.first, p.n = first, end-first; p.n <= 0 {
			continue
		}
		want, scale, outer, err := r.read(st, p, got.Shape)
		if err != nil {
			return err
		}
		part := *row
		part.Shape = withRows(st, got.Shape, p.n)
		size, _ := shapes.Size(part.Shape)
		mine := filled(st.IDs, []int{size}, 0)
		copyRows(mine, p.n, 0, got, rows.T, first-rows.P, p.n, outer)
		d, doubt, err := distance(st, row.Tolerance, size, want, mine, scale)
		if err != nil {
			return err
		}
		if d.Wrong > 0 && row.Position == nil {
			part.Scale = d.MaxWant
			if err := part.locate(st, want, mine, first); err != nil {
				return err
			}
			row.Position = part.Position
		}
		if d.At >= 0 {
			index := shapes.Index(d.At, part.Shape)
			if axis >= 0 {
				index[axis] += first - rows.P
			}
			d.At = shapes.Flat(index, got.Shape)
		}
		total.join(d, row.Tolerance)
		row.Doubt = cmp.Or(row.Doubt, doubt)
	}
	if total.N == 0 {
		row.Status, row.Detail = Skipped, fed.why
		return nil
	}
	if total.fill(row); row.Status != Pass {
		row.Doubt = ""
	}
	return nil
}

// read returns the rows of a piece as [outer, n, width], as the shape of the stage has
// them, and the largest finite magnitude of the tensor that they are from.
func (r *Recut) read(st Stage, p piece, shape []int) (t Tensor, scale float64, outer int, err error) {
	whole, err := r.get(p.Place)
	if err == nil {
		err = checkPart("golden", whole.Tensor, st)
	}
	if err != nil {
		return t, 0, 0, err
	}
	of, _ := r.schedule.Stage(p.Stage)
	a, b := of.outer(whole.Shape), st.outer(shape)
	if outer = max(a, b, 1); a*b > 0 && a != b {
		return t, 0, 0, fmt.Errorf("golden: %s is of shape %v, which does not go with %v", p.Place, whole.Shape, shape)
	}
	size, _ := shapes.Size(withRows(st, shape, p.n))
	t = filled(st.IDs, []int{size}, st.Absent)
	width, columns := size/outer/p.n, axisOf(st.Axes, "S") > axisOf(st.Axes, "T")
	if own := whole.Elements() / outer / p.rows.T; own != width && !(columns && axisOf(st.Axes, "T") >= 0) {
		return t, 0, 0, fmt.Errorf("golden: %s is of shape %v, which does not go with %v", p.Place, whole.Shape, shape)
	}
	copyRows(t, p.n, 0, whole.Tensor, p.rows.T, p.first-p.rows.P, p.n, outer)
	return t, whole.max, outer, nil
}

// missing returns a row for each tensor of the golden of which the candidate lacks a
// position, at its step; positions that the golden has more than once count the first time.
func (r *Recut) missing(candidate Source, match func(step int, stage string) bool) (rows []Row) {
	have := map[string]map[int]bool{} // positions of the candidate, by stage
	for _, st := range r.schedule.stages {
		have[st.Name] = map[int]bool{}
		for _, step := range candidate.Steps() {
			for _, name := range []string{st.Name, st.Same} {
				of, _ := r.schedule.Stage(name)
				span, _ := r.Cut.At(step)
				shape, there := candidate.Shape(step, name)
				there = there && (name == st.Name || of.Same == st.Name)
				if at, ok := of.Rows(span, shape); there && ok {
					for p := at.P; p < at.End(); p++ {
						have[st.Name][p] = true
					}
				}
			}
		}
	}
	for _, p := range r.schedule.Places(r.Source, match) {
		st, _ := r.schedule.Stage(p.Stage)
		h, ok := r.holder(p)
		lacks := -1
		for at := h.rows.P; ok && at < h.rows.End(); at++ {
			if !have[p.Stage][at] && lacks < 0 {
				lacks = at
			}
			have[p.Stage][at] = true
		}
		if lacks >= 0 {
			shape, _ := r.Source.Shape(p.Step, p.Stage)
			row := newRow(st, shape)
			row.Place, row.Status, row.Position = p, Missing, &lacks
			rows = append(rows, row)
		}
	}
	return rows
}

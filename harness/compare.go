package harness

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness/internal/words"
	"checkpoint12/model/parallel"
)

// ErrNothingCompared is the error of a comparison that compared nothing: no
// stage in common, other prompt tokens, an empty folder. It is never a pass.
var ErrNothingCompared = errors.New("nothing compared")

// CompareOptions are the options of [Compare]; the zero value compares all there is.
type CompareOptions struct {
	RequireAll bool // fail a candidate in which a stage that the golden has is missing or skipped

	// Prompt is the number of prompt tokens, where the caller knows it; 0 takes
	// it from the manifests, or from the lengths of tokens and steps.
	Prompt int

	// Unusable, Unknown and Shared are the report's.
	Unusable []Place
	Unknown  int
	Shared   int

	// Bounds, if set, gives stages other tolerances, and says what Report.Accept accepts.
	Bounds *Bounds

	// Match, if set, leaves out of the comparison what it declines.
	Match func(step int, stage string) bool
}

// Compare compares the candidate with the golden, stage by stage. What the
// golden has and the candidate lacks is missing; what only the candidate has is
// noted. Steps in which the two were fed different tokens are skipped. An error
// is ErrNothingCompared, or a source that cannot be read.
func Compare(s *Schedule, golden, candidate Source, o CompareOptions) (*Report, error) {
	for _, src := range []Source{golden, candidate} {
		if err := src.Err(); err != nil {
			return nil, err
		}
	}
	fed, err := compareFeeds(s, golden, candidate, o.Prompt)
	if err != nil {
		return nil, err
	}
	r := &Report{
		Schema: 1, Introduced: []Introduced{}, Explanations: []Explanation{}, Violations: []Violation{},
		Golden: golden.Name(), Candidate: candidate.Name(),
		RequireAll: o.RequireAll, Unusable: o.Unusable, Bounds: o.Bounds, Unseen: Unseen{Unknown: o.Unknown, Shared: o.Shared},
		Notes:        append(fed.notes, modelNotes(golden, candidate)...),
		OtherWeights: otherWeights(golden.Manifest(), candidate.Manifest()),
	}
	if m := golden.Manifest(); m != nil {
		r.LeftOut = m.LeftOut
	}
	places := s.Places(golden, o.Match)
	recut, _ := golden.(*Recut)
	if recut != nil {
		r.Cut, places = recut.note(candidate, r), recut.common(candidate, places)
	}
	var same *Recut // shows what stands in for stages that the golden lacks
	if recut == nil {
		var more []Place
		same, more = fed.standIns(s, golden, candidate, o.Match)
		places = append(places, more...)
		slices.SortFunc(places, s.Compare)
	}
	r.Stages = make([]Row, len(places))
	errs := make([]error, len(places))
	parallel.For(len(places), func(i int) {
		p := places[i]
		st, _ := s.Stage(p.Stage)
		st = o.Bounds.stage(st, p.Step)
		if _, ok := golden.Shape(p.Step, p.Stage); ok || same == nil {
			r.Stages[i], errs[i] = compareOne(st, p.Step, golden, candidate, fed)
		} else {
			by := fed
			by.cut = same.Cut
			r.Stages[i], errs[i] = compareOne(st, p.Step, same, candidate, by)
		}
		r.Stages[i].Step = p.Step
	})
	if recut != nil {
		r.Stages = append(r.Stages, recut.missing(candidate, o.Match)...)
	}
	for i, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("step %d, stage %s: %w", places[i].Step, places[i].Stage, err)
		}
	}
	r.noteDoubts()
	r.Match(s, candidate, o.Match)
	if r.Compared == 0 {
		return nil, nothingInCommon(s, golden, candidate, places, fed)
	}
	return r, nil
}

// noteDoubts notes the first of the tensors whose passing says little.
func (r *Report) noteDoubts() {
	doubtful := slices.DeleteFunc(slices.Clone(r.Stages), func(row Row) bool { return row.Doubt == "" })
	if len(doubtful) > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("%s%s: %s, first %s: %s",
			r.Candidate, inDoubt, words.Count(len(doubtful), "tensor"), doubtful[0].Place, doubtful[0].Doubt))
	}
}

const inDoubt = ": in doubt though within tolerance"

// common returns those of the places that the source has too.
func common(src Source, places []Place) []Place {
	return slices.DeleteFunc(slices.Clone(places), func(p Place) bool {
		_, ok := src.Shape(p.Step, p.Stage)
		return !ok
	})
}

func compareOne(st Stage, step int, golden, candidate Source, fed tokenDiff) (Row, error) {
	wantShape, _ := golden.Shape(step, st.Name)
	row := newRow(st, wantShape)
	if fed.span(step).P >= fed.differ {
		row.Status, row.Detail = Skipped, fed.why
		return row, nil
	}
	gotShape, ok := candidate.Shape(step, st.Name)
	if !ok {
		row.Status = Missing
		return row, nil
	}
	row.GotShape = gotShape
	recut, _ := golden.(*Recut)
	if rows, ok := st.Rows(fed.span(step), gotShape); recut != nil && ok {
		row.Shape = withRows(st, wantShape, rows.T)
	}
	if !slices.Equal(row.Shape, gotShape) {
		row.Status = WrongShape
		return row, nil
	}
	if st.Extra != nil {
		row.widen(st.Extra(golden, candidate, step))
	}
	var err error
	if recut != nil {
		err = recut.compareWith(&row, st, step, candidate, fed)
	} else {
		err = row.compareWith(golden, candidate, st, step, fed)
	}
	if err != nil || row.Status == Skipped {
		return row, err
	}
	if st.Accept != nil && row.Status == Fail {
		if detail, ok := st.Accept(golden, candidate, step); ok {
			row.Status, row.Detail, row.Mismatched, row.Position = Pass, detail, 0, nil
		}
	}
	if st.Check != nil {
		detail, ok := st.Check(candidate, step)
		if row.Detail = detail; !ok && row.Status == Pass {
			row.Status = Fail
		}
	}
	return row, nil
}

// compareWith compares the tensors of one step.
func (r *Row) compareWith(golden, candidate Source, st Stage, step int, fed tokenDiff) error {
	want, err := Open(golden, step, st.Name)
	if err != nil {
		return err
	}
	defer want.Close()
	got, err := Open(candidate, step, st.Name)
	if err != nil {
		return err
	}
	defer got.Close()
	if err := r.compare(st, want, got); err != nil || r.Mismatched == 0 || fed.prompt == 0 {
		return err
	}
	rows, _ := st.Rows(fed.span(step), r.Shape)
	return r.locate(st, want, got, rows.P)
}

// CompareAt compares the tensors of two sources at a place that both have.
func CompareAt(s *Schedule, golden, candidate Source, p Place) (Row, error) {
	st, _ := s.Stage(p.Stage)
	fed := tokenDiff{differ: math.MaxInt}
	if r, ok := golden.(*Recut); ok {
		fed.cut = r.Cut
	}
	return compareOne(st, p.Step, golden, candidate, fed)
}

// otherWeights reports whether two manifests name different weights.
func otherWeights(a, b *Manifest) bool {
	return a != nil && b != nil && a.Model.WeightsSHA256 != "" && b.Model.WeightsSHA256 != "" &&
		a.Model.WeightsSHA256 != b.Model.WeightsSHA256
}

// modelNotes returns a note for each way in which the manifests are of different
// models.
func modelNotes(golden, candidate Source) []string {
	g, c := golden.Manifest(), candidate.Manifest()
	if g == nil || c == nil {
		return nil
	}
	var notes []string
	if a, b := g.Model.WeightsSHA256, c.Model.WeightsSHA256; otherWeights(g, c) {
		notes = append(notes, fmt.Sprintf("%s: made from weights %.12s…, the golden from %.12s…",
			candidate.Name(), b, a))
	}
	var want, got map[string]any
	if json.Unmarshal(g.Model.Config, &want) != nil || json.Unmarshal(c.Model.Config, &got) != nil {
		return notes
	}
	var others []string
	all := map[string]any{}
	maps.Copy(all, want)
	maps.Copy(all, got)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		w, _ := json.Marshal(want[key])
		if v, _ := json.Marshal(got[key]); !bytes.Equal(v, w) {
			others = append(others, fmt.Sprintf("%s %s (golden %s)", key, v, w))
		}
	}
	if len(others) > 0 {
		notes = append(notes, fmt.Sprintf("%s: made with another config: %s",
			candidate.Name(), strings.Join(others, ", ")))
	}
	return notes
}

func nothingInCommon(s *Schedule, golden, candidate Source, places []Place, fed tokenDiff) error {
	var why string
	switch {
	case len(places) == 0 && Uncut(golden) != golden:
		why = fmt.Sprintf("%s and %s have no position of a stage in common", golden.Name(), candidate.Name())
	case len(places) == 0:
		why = fmt.Sprintf("%s has no stage", golden.Name())
	case len(s.Places(candidate, nil)) == 0:
		why = fmt.Sprintf("%s has no stage; want files like %s", candidate.Name(), places[0].File())
	case len(common(candidate, places)) > 0:
		why = fmt.Sprintf("%s: every step in common was skipped: %s", candidate.Name(), fed.why)
	default:
		why = fmt.Sprintf("%s and %s have no stage of a step in common; the golden begins with %s",
			golden.Name(), candidate.Name(), places[0].File())
	}
	return fmt.Errorf("%w: %s", ErrNothingCompared, why)
}

package replay

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
)

// A Subtractor is a Replayer of a model with a residual stream: a stage of it
// that a candidate lacks is known by what was added to it later on.
type Subtractor interface {
	// Subtract names, for a stage that is the first of two summands of another,
	// the sum and the second summand; ok is false for any other stage.
	Subtract(stage string) (sum, other string, ok bool)
}

// Settle takes back what one mistake, in a stage that the candidate lacks, has
// laid on several of the stages that it has: what reads a missing h.0.resid_mid
// is h.0.ln_2 and h.0.resid_post, each judged with it as one. What the mistake
// makes of the missing stage is known from the Seats that explain gives or, in a
// residual stream, by subtraction. Where that is put in its place and another row
// is right then, the row's verdict becomes clean: nothing of its own is wrong.
//
// rows are those of Judge, in their order, and are changed. explain may be nil;
// it is called with all rows first and then with those that are still wrong after
// a mistake before them was found. Settle returns what it gave.
func (r *Run) Settle(ctx context.Context, rows []harness.Replayed, explain func([]harness.Replayed) ([]harness.Explanation, error)) ([]harness.Explanation, error) {
	if !slices.ContainsFunc(rows, func(p harness.Replayed) bool { return p.Verdict == harness.ReplayIntroduced }) {
		return nil, nil
	}
	s := &settling{Run: r, rows: rows, causes: map[harness.Place][]harness.Explanation{}, owner: map[harness.Place]harness.Place{}, taken: map[harness.Place]harness.Place{}, judged: map[harness.Place]int{}}
	ask := rows
	for range rows { // each round but the last settles one more mistake at least
		if explain != nil && len(ask) > 0 {
			found, err := explain(ask)
			if err != nil {
				return nil, err
			}
			for _, p := range ask {
				delete(s.causes, p.Place)
			}
			for _, e := range found {
				s.causes[harness.Place{Step: e.Step, Stage: e.Stage}] = append(s.causes[harness.Place{Step: e.Step, Stage: e.Stage}], e)
			}
		}
		before := len(s.assumed)
		var err error
		if ask, err = s.round(ctx); err != nil {
			return nil, err
		}
		if len(ask) == 0 && len(s.assumed) == before {
			break
		}
	}
	return s.explanations(), nil
}

// settling is Settle at work.
type settling struct {
	*Run
	rows    []harness.Replayed
	causes  map[harness.Place][]harness.Explanation
	assumed []harness.Place                 // missing stages that a mistake was put in, in the order it was
	owner   map[harness.Place]harness.Place // of an assumed place, the row that stands for the mistake in it
	taken   map[harness.Place]harness.Place // of a row that was taken back, the assumed place that did it
	judged  map[harness.Place]int           // how many places were assumed when the row was judged
}

// round goes through the rows once and returns those that were judged again, are
// still wrong, and whose cause is not known.
func (s *settling) round(ctx context.Context) (open []harness.Replayed, err error) {
	for i := range s.rows {
		row := &s.rows[i]
		if row.Verdict != harness.ReplayIntroduced || len(row.Span)+len(row.Earlier) == 1 {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		since := s.assumed[s.judged[row.Place]:]
		s.judged[row.Place] = len(s.assumed)
		since = slices.DeleteFunc(slices.Clone(since), func(p harness.Place) bool { return !computed(row, p) || s.owner[p] == row.Place })
		if len(since) > 0 {
			latest := since[len(since)-1]
			back := s.withdraw(row.Place)
			again, err := s.rejudge(row.Place)
			if err != nil {
				return nil, err
			}
			if again.Verdict == harness.ReplayClean || again.Mismatched <= again.Elements/fallen && s.fell(row.Place, s.owner[latest]) {
				again.Verdict, again.Status = harness.ReplayClean, harness.Pass
				again.Why = fmt.Sprintf("right, given the mistake in %s", latest.Stage)
				again.Span, again.Earlier = row.Span, row.Earlier
				*row = again
				delete(s.causes, row.Place)
				s.taken[row.Place] = latest
				continue
			}
			if back(); again.Verdict == harness.ReplayIntroduced {
				*row = again
			}
			if !s.named(row.Place) || s.same(row.Place, s.owner[latest]) {
				open = append(open, *row) // what is left has another cause
				continue
			}
		}
		if err := s.sit(row); err != nil {
			return nil, err
		}
	}
	return open, nil
}

// computed says whether a place was computed to judge the row.
func computed(p *harness.Replayed, at harness.Place) bool {
	return p.Step == at.Step && p.Stage != at.Stage && slices.Contains(p.Span, at.Stage) || slices.Contains(p.Earlier, at)
}

// named says whether a known mistake in a missing stage explains the row.
func (s *settling) named(at harness.Place) bool {
	return len(s.causes[at]) > 0 && s.causes[at][0].Seats != nil
}

// fallen is of how many values one may be on the other side of a rounding where a
// mistake that rounds to fewer bits is put in: that is no mistake of the row's.
const fallen = 50

// same says whether one known mistake in the same stages explains both rows.
func (s *settling) same(a, b harness.Place) bool {
	return s.named(a) && s.named(b) && a.Step == b.Step &&
		slices.ContainsFunc(s.causes[a], func(x harness.Explanation) bool { return sameSeat(x, s.causes[b][0]) })
}

// fell says whether what a known mistake leaves of the row are values that it
// leaves of its owner too, at the same places: in the missing stage they fell on
// the other side of a rounding.
func (s *settling) fell(row, owner harness.Place) bool {
	if !s.same(row, owner) {
		return false
	}
	mine, n := s.off(row)
	others, m := s.off(owner)
	return n == m && !slices.ContainsFunc(mine, func(i int) bool { return !slices.Contains(others, i) })
}

// off lists the places at which the candidate is off by more than rounding, of how
// many.
func (s *settling) off(at harness.Place) (places []int, n int) {
	got, ok := s.known(at)
	if !ok {
		return nil, 0
	}
	s.mu.Lock()
	right, _, err := s.compute(at, got.Shape) // with what is assumed by now
	s.mu.Unlock()
	if err != nil || !slices.Equal(got.Shape, right.Shape) || got.IDs() || right.Bound == nil {
		return nil, 0
	}
	for i, g := range got.F32 {
		if d := math.Abs(float64(g) - float64(right.F32[i])); !(d <= float64(right.Bound[i])) {
			places = append(places, i)
		}
	}
	return places, len(got.F32)
}

// prefer puts first, of the mistakes that explain a row alike, the one that
// explains the most others: an id is the same by many a mistake.
func (s *settling) prefer(at harness.Place) {
	causes := s.causes[at]
	best, most := 0, -1
	for i, x := range causes {
		others := 0
		for p, all := range s.causes {
			if p != at && p.Step == at.Step && slices.ContainsFunc(all, func(y harness.Explanation) bool { return sameSeat(x, y) }) {
				others++
			}
		}
		if x.Seats != nil && others > most {
			best, most = i, others
		}
	}
	first := causes[best]
	s.causes[at] = slices.Insert(slices.Delete(causes, best, best+1), 0, first)
}

// sameSeat says whether two explanations are of one mistake in the same stages.
func sameSeat(x, y harness.Explanation) bool {
	return x.Fault == y.Fault && slices.EqualFunc(x.Seats, y.Seats, func(p, q harness.Seat) bool { return p.Stage == q.Stage })
}

// sit puts the row's mistake in the missing stages that it sits in.
func (s *settling) sit(row *harness.Replayed) error {
	if s.named(row.Place) {
		s.prefer(row.Place)
		for s.named(row.Place) {
			fits, err := s.seat(row)
			cause := s.causes[row.Place][0]
			if fits || err != nil || len(cause.Or) == 0 {
				return err
			}
			// A stage that is right would be wrong then: it sits elsewhere.
			next := cause.Or[0]
			next.Or = cause.Or[1:]
			s.causes[row.Place][0] = next
		}
		return nil
	}
	for _, stage := range row.Span {
		at := harness.Place{Step: row.Step, Stage: stage}
		if _, done := s.owner[at]; done || !computed(row, at) {
			continue
		}
		if _, there := s.candidate.Shape(at.Step, at.Stage); there {
			continue // computed for its wrong shape, or in an earlier step alone
		}
		v, ok := s.subtract(at, row.Place)
		if !ok {
			continue
		}
		s.assume(at, v.Tensor, v.Bound)
		again, err := s.rejudge(row.Place)
		if err != nil {
			return err
		}
		if again.Verdict == harness.ReplayClean {
			s.assumed, s.owner[at] = append(s.assumed, at), row.Place
			return nil
		}
		s.mu.Lock()
		s.put(at, nil)
		s.mu.Unlock()
		if *row, err = s.rejudge(row.Place); err != nil { // so that the right value is that of the row again
			return err
		}
	}
	return nil
}

// seat puts the first cause's mistake in the stages that it sits in, and says
// whether all that is right stays so. If not, nothing is put in.
func (s *settling) seat(row *harness.Replayed) (fits bool, err error) {
	var put []harness.Place
	for _, seat := range s.causes[row.Place][0].Seats {
		at := harness.Place{Step: row.Step, Stage: seat.Stage}
		if _, done := s.owner[at]; done {
			continue
		}
		if t, ok := seat.Value(); ok {
			s.assume(at, t, nil)
			put = append(put, at)
		}
	}
	for i := range s.rows {
		other := &s.rows[i]
		if other.Verdict != harness.ReplayClean || other.Why != "" || !slices.ContainsFunc(put, func(p harness.Place) bool { return computed(other, p) }) {
			continue
		}
		again, err := s.rejudge(other.Place)
		if err != nil {
			return false, err
		}
		if again.Verdict == harness.ReplayIntroduced {
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, at := range put {
				s.put(at, nil)
			}
			return false, nil
		}
	}
	for _, at := range put {
		s.assumed, s.owner[at] = append(s.assumed, at), row.Place
	}
	return true, nil
}

// explanations are those of the rows that are wrong, in order. One that stands for
// rows which were taken back says so.
func (s *settling) explanations() []harness.Explanation {
	taken := map[harness.Place][]string{} // by the row that stands for the mistake
	for i := range s.rows {
		row := s.rows[i].Place
		if at, ok := s.taken[row]; ok && at.Step == row.Step {
			taken[s.owner[at]] = append(taken[s.owner[at]], row.Stage)
		}
	}
	var all []harness.Explanation
	for i := range s.rows {
		at := s.rows[i].Place
		causes := s.causes[at]
		if len(causes) > 0 && len(taken[at]) > 0 {
			causes[0].Text += fmt.Sprintf("; %s off by the same mistake", isOrAre(taken[at]))
		}
		all = append(all, causes...)
	}
	return all
}

// isOrAre lists stages as the subject of a sentence.
func isOrAre(stages []string) string {
	if len(stages) == 1 {
		return stages[0] + " is"
	}
	return strings.Join(stages, ", ") + " are"
}

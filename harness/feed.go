package harness

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/harness/internal/words"
)

// The names of the files in a dump that belong to no step: of the ids, and of which of
// them are tokens and which padding.
const (
	TokensFile = "tokens.npy"
	MaskFile   = "attention_mask.npy"
)

// A Masked source knows which of its tokens are padding.
type Masked interface {
	// Mask returns for each token 1 or, if it is padding, 0; nil if none is.
	Mask() [][]int
}

// MaskOf returns the mask of a source: nil if it has no padding.
func MaskOf(src Source) [][]int {
	m, ok := src.(Masked)
	if !ok {
		return nil
	}
	mask := m.Mask()
	if !slices.ContainsFunc(mask, func(row []int) bool { return slices.Contains(row, 0) }) {
		return nil
	}
	return mask
}

// A tokenDiff tells from which position on two sources were fed different tokens.
type tokenDiff struct {
	differ int    // the first position with another; math.MaxInt if there is none
	why    string // what differs
	notes  []string

	cut    Cut // of the candidate; nil: step 0 is the prompt, step k > 0 one position more
	prompt int // the prompt's length; 0 if it is not known
}

// span returns the positions that a step of the candidate feeds.
func (f *tokenDiff) span(step int) Span {
	switch {
	case f.cut != nil:
		s, _ := f.cut.At(step)
		return s
	case step == 0:
		return Span{0, f.prompt}
	}
	return Span{f.prompt + step - 1, 1}
}

// compareFeeds compares what the two were fed. Other prompt tokens are
// ErrNothingCompared: no step is comparable. prompt is the prompt's length, 0
// where the caller does not know it.
func compareFeeds(s *Schedule, golden, candidate Source, prompt int) (tokenDiff, error) {
	f := tokenDiff{differ: math.MaxInt}
	if r, ok := golden.(*Recut); ok {
		f.cut = r.Cut
	}
	want, got := golden.Tokens(), candidate.Tokens()
	n, err := PromptLength(s, golden, candidate, prompt)
	if f.prompt = n; err != nil || n == math.MaxInt {
		f.prompt = 0
	}
	switch {
	case want == nil:
		f.notes = append(f.notes, fmt.Sprintf("%s: no tokens: assuming it was fed the candidate's", golden.Name()))
		return f, nil
	case got == nil:
		f.notes = append(f.notes, fmt.Sprintf("%s: no %s: assuming it was fed the golden's tokens up to the first different choice",
			candidate.Name(), TokensFile))
		if err == nil {
			err = f.byChoice(s, golden, candidate)
		}
		return f, err
	case err != nil:
		return f, err
	}
	if len(want) != len(got) {
		return f, nothing(golden, candidate, n, fmt.Sprintf("batch of %s, golden has %d",
			words.Count(len(got), "row"), len(want)))
	}
	cols := min(len(want[0]), len(got[0]))
	if cols < n && f.cut == nil {
		return f, nothing(golden, candidate, n, fmt.Sprintf("%s, golden's prompt has %d",
			words.Count(len(got[0]), "token"), n))
	}
	for j := range cols {
		for b := range want {
			w, g := want[b][j], got[b][j]
			if w == g {
				continue
			}
			if j < n {
				return f, nothing(golden, candidate, n, fmt.Sprintf("row %d, position %d is %d, golden has %d",
					b, j, g, w))
			}
			f.differ = j
			f.why = fmt.Sprintf("was fed token %d where the golden was fed %d (row %d, position %d)", g, w, b, j)
			return f, nil
		}
	}
	if last := LastStep(candidate); len(got[0]) < f.span(last).End() {
		f.notes = append(f.notes, fmt.Sprintf("%s: %s ends before what step %d was fed: assuming the golden's tokens",
			candidate.Name(), TokensFile, last))
	}
	return f, nil
}

// CheckTokens returns an error unless there are ids, in rows of one length.
func CheckTokens(rows [][]int) error {
	if len(rows) == 0 || len(rows[0]) == 0 {
		return errors.New("tokens: no ids")
	}
	for i, row := range rows {
		if len(row) != len(rows[0]) {
			return fmt.Errorf("tokens: row %d has %d ids, row 0 has %d", i, len(row), len(rows[0]))
		}
		if id := slices.Min(row); id < 0 {
			return fmt.Errorf("tokens: id %d in row %d is negative", id, i)
		}
	}
	return nil
}

// FirstTokens returns the first n ids of each row, or all that it has. The caller
// may append to the rows.
func FirstTokens(rows [][]int, n int) (first [][]int) {
	for _, row := range rows {
		first = append(first, slices.Clip(row[:min(n, len(row))]))
	}
	return first
}

// FirstOtherTokens returns the first step at which the two were fed different
// tokens, math.MaxInt if there is none. prompt is the prompt's length, 0 where
// the caller does not know it. Other prompt tokens are ErrNothingCompared.
func FirstOtherTokens(s *Schedule, golden, candidate Source, prompt int) (step int, err error) {
	f, err := compareFeeds(s, golden, candidate, prompt)
	if err != nil || f.differ == math.MaxInt {
		return f.differ, err
	}
	for f.span(step).T > 0 && f.span(step).End() <= f.differ {
		step++
	}
	return step, nil
}

// byChoice finds where a candidate without tokens chose another id than the
// golden was fed next.
func (f *tokenDiff) byChoice(s *Schedule, golden, candidate Source) error {
	want := golden.Tokens()
	for _, step := range candidate.Steps() {
		next := f.span(step).End()
		if next < f.prompt {
			continue // the prompt goes on, whatever was chosen
		}
		if next >= min(f.differ, len(want[0])) {
			continue
		}
		got, err := s.Choice(candidate, step, len(want))
		if err != nil {
			return err
		}
		for b, id := range got {
			if w := want[b][next]; id != int64(w) {
				f.differ = next
				f.why = fmt.Sprintf("chose %d at step %d, where the golden was fed %d (row %d)", id, step, w, b)
				break
			}
		}
	}
	return nil
}

// PromptLength returns the length of the prompt: prompt, if the caller knows it,
// else what a manifest says, else the number of positions that the tensors of the
// first step have. A source whose stages' axes do not tell is taken to hold the
// last choice in its tokens too.
func PromptLength(s *Schedule, golden, candidate Source, prompt int) (int, error) {
	var said []int
	for _, src := range []Source{golden, candidate} {
		if rows := src.Tokens(); rows != nil {
			if err := CheckTokens(rows); err != nil {
				return 0, fmt.Errorf("%s: %w", src.Name(), err)
			}
		}
		if m := src.Manifest(); m != nil && len(m.Tokens) > 0 {
			said = append(said, len(m.Tokens[0]))
		}
	}
	switch {
	case len(said) == 2 && said[0] != said[1]:
		return 0, nothing(golden, candidate, math.MaxInt, fmt.Sprintf("prompt of %s, golden's has %d",
			words.Count(said[1], "token"), said[0]))
	case prompt > 0:
		return prompt, nil
	case len(said) > 0:
		return said[0], nil
	}
	if r, ok := golden.(*Recut); ok {
		return r.Own[0].T, nil
	}
	n := math.MaxInt
	for _, src := range []Source{golden, candidate} {
		if t := s.positions(src, 0); t > 0 {
			n = min(n, t)
		} else if rows := src.Tokens(); rows != nil {
			n = min(n, len(rows[0])-LastStep(src)-1)
		}
	}
	return max(n, 1), nil
}

// Spare returns the ids of each row of the candidate's tokens that its steps were not fed:
// the last choice, and what should not be there, and the last of the steps that were fed
// the most. It is nil where it is not known how the steps, cut as cut says, were fed;
// golden may be nil.
func Spare(s *Schedule, golden, candidate Source, cut Cut, prompt int) (spare [][]int, last int, err error) {
	if golden == nil {
		golden = candidate
	}
	f := tokenDiff{cut: cut}
	if cut == nil {
		if prompt == 0 && golden.Manifest() == nil && candidate.Manifest() == nil &&
			max(s.positions(golden, 0), s.positions(candidate, 0)) == 0 {
			return nil, 0, nil
		}
		if f.prompt, err = PromptLength(s, golden, candidate, prompt); err != nil {
			return nil, 0, err
		}
	}
	end := f.span(last).End()
	for _, step := range candidate.Steps() {
		if e := f.span(step).End(); e >= end {
			last, end = step, e
		}
	}
	for _, row := range candidate.Tokens() {
		spare = append(spare, row[min(end, len(row)):])
	}
	return spare, last, nil
}

// positions returns the length that most of a step's tensors have along the axis
// T of their stage's Axes; 0 if none has one.
func (s *Schedule) positions(src Source, step int) int {
	votes := map[int]int{}
	most := 0
	for _, name := range src.Stages(step) {
		st, _ := s.Stage(name)
		axis := axisOf(st.Axes, "T")
		shape, _ := src.Shape(step, name)
		if axis < 0 || axis >= len(shape) {
			continue
		}
		n := shape[axis]
		if votes[n]++; votes[n] > votes[most] {
			most = n
		}
	}
	return most
}

// LastStep returns the last step of a source, 0 if it has none.
func LastStep(s Source) int {
	if steps := s.Steps(); len(steps) > 0 {
		return steps[len(steps)-1]
	}
	return 0
}

// nothing is ErrNothingCompared because of other prompt tokens, with the tokens
// in its Diff; n is the prompt's length.
func nothing(golden, candidate Source, n int, what string) error {
	return &DiffError{
		Line: fmt.Sprintf("%v: %s has other prompt tokens than %s: %s; give the engine the golden's tokens",
			ErrNothingCompared, candidate.Name(), golden.Name(), what),
		Diff: cmp.Diff(FirstTokens(golden.Tokens(), n), FirstTokens(candidate.Tokens(), n)),
		Err:  ErrNothingCompared,
	}
}

// DiffError is an error of one line with a longer account of what differs, by
// go-cmp, where - was wanted and + is there.
type DiffError struct {
	Line string
	Diff string
	Err  error // may be nil
}

// Error returns the line alone.
func (e *DiffError) Error() string { return e.Line }

// Unwrap returns the error behind it, if there is one.
func (e *DiffError) Unwrap() error { return e.Err }

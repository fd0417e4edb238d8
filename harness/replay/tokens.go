package replay

import (
	"fmt"
	"math"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/words"
)

// tokenStream is the ids that a candidate's steps were fed, as far as they are
// known.
type tokenStream struct {
	rows   [][]int     // the prompt and what was fed; nil if they are not known
	prompt int         // ids of the prompt in each row, at least 1
	cut    harness.Cut // nil is the prompt at once, then one token at a time
}

// newTokenStream returns what the candidate was fed: its own tokens and, where they
// end or there are none, its own choices or else the golden's tokens. An error is
// of tokens that are no ids or end within the prompt, or of a source that cannot be read.
func newTokenStream(s *harness.Schedule, candidate harness.Source, o Options) (f tokenStream, err error) {
	f.cut = o.Cut
	known := candidate // the source that knows more of the prompt
	if o.Golden != nil {
		known = o.Golden
	}
	if f.prompt, err = harness.PromptLength(s, known, candidate, o.Prompt); err != nil {
		return f, err
	}
	if own := candidate.Tokens(); own != nil && len(own[0]) < f.prompt && f.cut == nil {
		return f, fmt.Errorf("%s: %s ends within the prompt, after %d of %s: write all ids that were fed",
			candidate.Name(), harness.TokensFile, len(own[0]), words.Count(f.prompt, "id"))
	}
	golden := known.Tokens()
	if f.rows = harness.FirstTokens(candidate.Tokens(), math.MaxInt); f.rows == nil {
		f.rows = harness.FirstTokens(golden, f.prompt)
	}
	if len(f.rows) == 0 || len(f.rows[0]) < f.prompt && f.cut == nil {
		f.rows = nil
		return f, nil
	}
	return f, f.extend(s, candidate, golden)
}

// extend adds ids for the steps that come after the end of the tokens.
func (f *tokenStream) extend(s *harness.Schedule, candidate harness.Source, golden [][]int) error {
	end := 0
	for _, step := range candidate.Steps() {
		end = max(end, f.span(step).End())
	}
	for at := len(f.rows[0]); at < end; at++ {
		before := at - f.prompt // the step that ends before the position
		if f.cut != nil {
			before = f.cut.EndingAt(at)
		}
		next, err := s.Choice(candidate, before, len(f.rows))
		if err != nil {
			return err
		}
		begins := func(other, row []int) bool { return len(other) > len(row) && slices.Equal(other[:len(row)], row) }
		if next == nil && slices.EqualFunc(golden, f.rows, begins) {
			for _, row := range golden {
				next = append(next, int64(row[len(f.rows[0])]))
			}
		}
		if len(next) != len(f.rows) {
			return nil
		}
		for b, id := range next {
			f.rows[b] = append(f.rows[b], int(id))
		}
	}
	return nil
}

// span returns the positions of a step, none before the first step and after the last.
func (f *tokenStream) span(step int) harness.Span {
	switch {
	case f.cut != nil:
		s, _ := f.cut.At(step)
		return s
	case step == 0:
		return harness.Span{P: 0, T: f.prompt}
	case step > 0:
		return harness.Span{P: f.prompt + step - 1, T: 1}
	}
	return harness.Span{}
}

// dims returns how many ids a step is fed; false if the tokens are not known.
func (f *tokenStream) dims(step int) (StepDims, bool) {
	span := f.span(step)
	return StepDims{B: len(f.rows), T: span.T, P: span.P}, f.rows != nil && span.T > 0
}

// input returns "tokens" or "pos" of a step.
func (f *tokenStream) input(step int, name string) (v Value, err error) {
	at, ok := f.dims(step)
	switch {
	case !ok:
		return v, fmt.Errorf("the tokens of step %d are not known: there is no %s", step, harness.TokensFile)
	case name == "pos":
		v.Shape = []int{at.T}
		for t := range at.T {
			v.I64 = append(v.I64, int64(at.P+t))
		}
		return v, nil
	case at.P+at.T > len(f.rows[0]):
		return v, fmt.Errorf("the tokens of step %d are not known: %s ends before them", step, harness.TokensFile)
	}
	v.Shape = []int{at.B, at.T}
	for _, row := range f.rows {
		for _, id := range row[at.P:][:at.T] {
			v.I64 = append(v.I64, int64(id))
		}
	}
	return v, nil
}

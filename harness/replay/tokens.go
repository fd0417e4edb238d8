package replay

import (
	"fmt"
	"slices"

	"checkpoint12/harness"
)

// tokenStream is the ids that a candidate's steps were fed, as far as they are
// known.
type tokenStream struct {
	tokens harness.Tensor // [B, L]: the prompt and what was fed; zero if they are not known
	prompt int            // columns of the prompt, at least 1
}

// newTokenStream returns what the candidate was fed: its own tokens and, where they
// end or there are none, its own choices or else the golden's tokens. An error is
// of tokens that are no ids, or of a source that cannot be read.
func newTokenStream(s *harness.Schedule, candidate harness.Source, o Options) (tokenStream, error) {
	f := tokenStream{tokens: candidate.Tokens()}
	sources := []harness.Source{candidate}
	if o.Golden != nil {
		sources = append(sources, o.Golden)
	}
	for _, src := range sources {
		if err := harness.CheckTokens(src); err != nil {
			return f, err
		}
	}
	var golden harness.Tensor
	if o.Golden != nil {
		golden = o.Golden.Tokens()
	}
	var err error
	if f.prompt, err = harness.PromptLength(s, sources[len(sources)-1], candidate, o.Prompt); err != nil {
		return f, err
	}
	if f.tokens.Shape == nil {
		if golden.Shape == nil {
			return f, nil
		}
		f.tokens = columns(golden, f.prompt)
	}
	if f.tokens.Shape[1] < f.prompt {
		return tokenStream{prompt: f.prompt}, nil
	}
	return f, f.extend(s, candidate, golden)
}

// extend adds columns for the steps that come after the end of the tokens.
func (f *tokenStream) extend(s *harness.Schedule, candidate harness.Source, golden harness.Tensor) error {
	stage, choosing := s.NextIDs()
	for step := 1; step <= harness.LastStep(candidate); step++ {
		col := f.prompt + step - 1
		if col < f.tokens.Shape[1] {
			continue
		}
		var next []int64
		if shape, ok := candidate.Shape(step-1, stage); choosing && ok && slices.Equal(shape, f.tokens.Shape[:1]) {
			t, err := candidate.Tensor(step-1, stage)
			if err != nil {
				return err
			}
			next = t.I64
		}
		if next == nil && f.beginsLike(golden) && col < golden.Shape[1] {
			for b := range golden.Shape[0] {
				next = append(next, golden.I64[b*golden.Shape[1]+col])
			}
		}
		if len(next) != f.tokens.Shape[0] {
			return nil
		}
		wider := harness.Tensor{Shape: []int{f.tokens.Shape[0], col + 1}}
		for b, id := range next {
			wider.I64 = append(append(wider.I64, f.tokens.I64[b*col:(b+1)*col]...), id)
		}
		f.tokens = wider
	}
	return nil
}

// beginsLike reports whether the other tokens begin with these.
func (f *tokenStream) beginsLike(other harness.Tensor) bool {
	if other.Shape == nil || other.Shape[0] != f.tokens.Shape[0] || other.Shape[1] < f.tokens.Shape[1] {
		return false
	}
	return slices.Equal(columns(other, f.tokens.Shape[1]).I64, f.tokens.I64)
}

// columns returns the first n columns of ids [B, L], or all if there are fewer.
func columns(t harness.Tensor, n int) harness.Tensor {
	n = min(n, t.Shape[1])
	out := harness.Tensor{Shape: []int{t.Shape[0], n}}
	for b := range t.Shape[0] {
		out.I64 = append(out.I64, t.I64[b*t.Shape[1]:][:n]...)
	}
	return out
}

// dims returns how many ids a step is fed; false if the tokens are not known.
func (f *tokenStream) dims(step int) (StepDims, bool) {
	switch {
	case f.tokens.Shape == nil || step < 0:
		return StepDims{}, false
	case step == 0:
		return StepDims{B: f.tokens.Shape[0], T: f.prompt}, true
	}
	return StepDims{B: f.tokens.Shape[0], T: 1, P: f.prompt + step - 1}, true
}

// input returns "tokens" or "pos" of a step.
func (f *tokenStream) input(step int, name string) (Value, error) {
	at, ok := f.dims(step)
	if !ok {
		return Value{}, fmt.Errorf("the tokens of step %d are not known: there is no %s", step, harness.TokensFile)
	}
	if name == "pos" {
		v := Value{Tensor: harness.Tensor{Shape: []int{at.T}, I64: make([]int64, at.T)}}
		for t := range at.T {
			v.I64[t] = int64(at.P + t)
		}
		return v, nil
	}
	L := f.tokens.Shape[1]
	if at.P+at.T > L {
		return Value{}, fmt.Errorf("the tokens of step %d are not known: %s ends before them", step, harness.TokensFile)
	}
	t := harness.Tensor{Shape: []int{at.B, at.T}}
	for b := range at.B {
		t.I64 = append(t.I64, f.tokens.I64[b*L+at.P:][:at.T]...)
	}
	return Value{Tensor: t}, nil
}

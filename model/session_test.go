package model_test

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"checkpoint12/model"
	"checkpoint12/model/modeltest"
)

// logitsOf runs steps and returns the last logits of every one.
func logitsOf(t testing.TB, m *model.Model, o model.SessionOptions, steps ...[]int) [][]float32 {
	t.Helper()
	s, err := m.NewSession(o)
	if err != nil {
		t.Fatal(err)
	}
	var all [][]float32
	for _, tokens := range steps {
		if _, err := s.Step(tokens); err != nil {
			t.Fatal(err)
		}
		all = append(all, slices.Clone(s.LogitsLast()))
	}
	return all
}

func wantSameBits(t *testing.T, what string, got, want [][]float32) {
	t.Helper()
	for k := range want {
		if i := differAt(got[k], want[k]); i >= 0 {
			t.Errorf("%s: step %d: logit %d is %v, want %v to the bit", what, k, i, got[k][i], want[k][i])
		}
	}
}

// Taps, threads, repetition, room, neighbours in the batch and how a prompt is
// cut into steps do not change one bit.
func TestBitIdentical(t *testing.T) {
	some, many := wide, wide
	some.Positions = 25  // enough rows for the kernels' other way
	many.Positions = 105 // more queries than twice what attend takes at once
	for _, cfg := range []model.Config{modeltest.Micro, some, many} {
		m := modeltest.New(t, cfg, 1)
		total := cfg.Positions - 2
		prompt, decode := modeltest.Tokens(cfg, total-3, 1), modeltest.Tokens(cfg, 3, 2)
		steps := [][]int{prompt, decode[:1], decode[1:2], decode[2:]}
		want := logitsOf(t, m, model.SessionOptions{Threads: 1}, steps...)
		nop := func(string, []int, []float32) {}
		for _, test := range []struct {
			name string
			o    model.SessionOptions
		}{
			{"again", model.SessionOptions{Threads: 1}},
			{"tapped", model.SessionOptions{Threads: 1, Tap: nop, Temperatures: []float64{1}}},
			{"2 threads", model.SessionOptions{Threads: 2}},
			{"3 threads, tapped", model.SessionOptions{Threads: 3, Tap: nop}},
			{"8 threads", model.SessionOptions{Threads: 8}},
			{"64 threads", model.SessionOptions{Threads: 64}},
			{"just enough room", model.SessionOptions{Length: total}},
		} {
			wantSameBits(t, test.name, logitsOf(t, m, test.o, steps...), want)
		}

		var single [][]int
		for _, id := range append(slices.Clone(prompt), decode...) {
			single = append(single, []int{id})
		}
		got := logitsOf(t, m, model.SessionOptions{}, single...)
		wantSameBits(t, "one token at a time", got[len(prompt)-1:], want)

		// The same row between two others.
		other := modeltest.Tokens(cfg, 2*total, 3)
		var batch [][]int
		P := 0
		for _, s := range steps {
			T := len(s)
			b := slices.Clone(other[P : P+T])
			b = append(b, s...)
			batch = append(batch, append(b, other[total+P:total+P+T]...))
			P += T
		}
		V := cfg.Vocab
		got = logitsOf(t, m, model.SessionOptions{Batch: 3}, batch...)
		for k := range got {
			got[k] = got[k][V : 2*V]
		}
		wantSameBits(t, "in a batch", got, want)
	}
}

// A decode step without a tap allocates nothing, whatever the threads.
func TestDecodeAllocatesNothing(t *testing.T) {
	cfg := wide
	cfg.Positions = 400
	m := modeltest.New(t, cfg, 1)
	for _, threads := range []int{1, 2} {
		s, err := m.NewSession(model.SessionOptions{Threads: threads})
		if err != nil {
			t.Fatal(err)
		}
		next, err := s.Step([]int{1, 2, 3})
		if err != nil {
			t.Fatal(err)
		}
		if next, err = s.Step(next); err != nil { // buffers are as large as they get
			t.Fatal(err)
		}
		n := testing.AllocsPerRun(200, func() {
			if next, err = s.Step(next); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("%d threads: %v allocations per decode step, want 0", threads, n)
		}
	}
}

// The tap sees the buffers that the computation reads: a change at any stage
// reaches every stage that reads it, and a changed cache the next step too.
func TestTapIsLive(t *testing.T) {
	m := modeltest.New(t, modeltest.Micro, 1)
	steps := [][]int{{3, 4, 5}, {6}, {7}}
	temperatures := []float64{1}
	const another = 11 // a token that no step of this model chooses
	clean := record(t, m, model.SessionOptions{Temperatures: temperatures}, steps...)
	for at := range steps[:2] {
		for n, stage := range clean.order {
			r := &recorded{}
			poisoned := false
			var next []int
			s, err := m.NewSession(model.SessionOptions{Temperatures: temperatures, Tap: func(name string, shape []int, data []float32) {
				if name == stage && len(r.steps) == at+1 {
					// The last row, where nothing is masked; each value by another
					// amount, since a constant would vanish in a LayerNorm.
					row := data[len(data)-shape[len(shape)-1]:]
					for i := range row {
						row[i] += float32(i + 1)
					}
					if stage == "next_token" {
						data[0] = another
					}
					poisoned = true
				}
				r.tap(name, shape, data)
			}})
			if err != nil {
				t.Fatal(err)
			}
			for k, step := range steps {
				r.begin()
				got, err := s.Step(step)
				if err != nil {
					t.Fatal(err)
				}
				if k == at {
					next = slices.Clone(got)
				}
			}
			if !poisoned {
				t.Fatalf("%s was not tapped at step %d", stage, at)
			}
			if stage == "next_token" {
				if clean.steps[at][stage][0] == another {
					t.Fatalf("token %d is chosen anyway", another)
				}
				if next[0] != another {
					t.Errorf("step %d: next_token was changed to %d, but Step returned %d", at, another, next[0])
				}
				continue
			}
			if stage == "probs_t1" {
				continue // an end: nothing reads it
			}
			// Everything that reads it, in this step, has changed.
			readers := 0
			for _, later := range clean.order[n+1:] {
				if !slices.Contains(model.Reads(modeltest.Micro, later), stage) || later == "next_token" {
					continue
				}
				readers++
				if differAt(clean.steps[at][later], r.steps[at][later]) < 0 {
					t.Errorf("step %d: a change at %s does not reach %s", at, stage, later)
				}
			}
			if readers == 0 {
				t.Errorf("step %d: nothing reads %s", at, stage)
			}
			// What is cached reaches the next step.
			if strings.Contains(stage, "cache_") {
				d := differAt(clean.steps[at+1][stage], r.steps[at+1][stage])
				if d < 0 {
					t.Errorf("step %d: a change at %s is gone at the next step", at, stage)
				}
			}
		}
	}
}

func TestSessionErrors(t *testing.T) {
	m := modeltest.New(t, modeltest.Micro, 1) // 12 positions, vocabulary of 37
	for _, test := range []struct {
		name string
		o    model.SessionOptions
		want string
	}{
		{"negative batch", model.SessionOptions{Batch: -1}, "batch of -1"},
		{"batch beyond memory", model.SessionOptions{Batch: math.MaxInt}, "batch"},
		{"too long", model.SessionOptions{Length: 13}, "n_positions"},
		{"negative length", model.SessionOptions{Length: -1}, "length of -1"},
		{"temperature 0", model.SessionOptions{Temperatures: []float64{1, 0}}, "temperature 0"},
		{"temperature NaN", model.SessionOptions{Temperatures: []float64{math.NaN()}}, "temperature NaN"},
	} {
		if _, err := m.NewSession(test.o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v does not say %q", test.name, err, test.want)
		}
	}

	s, err := m.NewSession(model.SessionOptions{Batch: 2, Length: 5})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Step(modeltest.Tokens(modeltest.Micro, 8, 1)); err != nil { // 4 positions of 5
		t.Fatal(err)
	}
	before := slices.Clone(s.LogitsLast())
	for _, test := range []struct {
		name   string
		tokens []int
		want   string
	}{
		{"no tokens", nil, "no tokens"},
		{"odd number", []int{1, 2, 3}, "batch of 2"},
		{"id too large", []int{1, 37}, "token id 37 (row 1, position 4)"},
		{"negative id", []int{-1, 1}, "token id -1"},
		{"too many", []int{1, 2, 3, 4}, "too long"},
	} {
		_, err := s.Step(test.tokens)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v does not say %q", test.name, err, test.want)
		}
		if errors.Is(err, model.ErrTooLong) != (test.name == "too many") {
			t.Errorf("%s: errors.Is(err, model.ErrTooLong) is wrong for %v", test.name, err)
		}
		if s.Pos() != 4 || differAt(before, s.LogitsLast()) >= 0 {
			t.Errorf("%s: the failed step left its mark", test.name)
		}
	}
	if _, err := s.Step([]int{1, 2}); err != nil {
		t.Errorf("the last position cannot be used: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.Step([]int{1, 2}); err == nil || errors.Is(err, model.ErrTooLong) {
		t.Errorf("a session of a closed model: %v", err)
	}
	if _, err := m.NewSession(model.SessionOptions{}); err == nil {
		t.Error("a closed model starts a session")
	}
	if err := m.Apply("wte", model.Dims{B: 1, T: 1}, func(string) []float32 { return []float32{1} }, make([]float32, 12)); err == nil {
		t.Error("a closed model applies a stage")
	}
}

// NaN must not turn into a confident token 0.
func TestNaNChoosesNothing(t *testing.T) {
	m := modeltest.New(t, modeltest.Micro, 1)
	s, err := m.NewSession(model.SessionOptions{Tap: func(stage string, _ []int, data []float32) {
		if stage == "h.1.ln_2" {
			data[0] = float32(math.NaN())
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	next, err := s.Step([]int{1})
	if err != nil || next[0] != -1 {
		t.Errorf("Step = %v, %v; want [-1] and no error", next, err)
	}
}

// A session that is at work takes no other step: from a tap, or from another goroutine.
func TestStepWithinStep(t *testing.T) {
	m := modeltest.New(t, modeltest.Micro, 1)
	var s *model.Session
	var within error
	s, err := m.NewSession(model.SessionOptions{Tap: func(string, []int, []float32) { _, within = s.Step([]int{1}) }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Step([]int{1}); err != nil || within == nil || s.Pos() != 1 {
		t.Errorf("%v; within it %v; position %d", err, within, s.Pos())
	}
}

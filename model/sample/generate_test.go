package sample

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"checkpoint12/model"
	"checkpoint12/model/modeltest"
)

// generate continues one prompt.
func generate(
	ctx context.Context, m *model.Model, prompt []int, n int, o Options, each func(id int) error,
) (row []int, err error) {
	rows, err := Generate(ctx, m, [][]int{prompt}, n, o, func(_, id int) error {
		if each == nil {
			return nil
		}
		return each(id)
	})
	if len(rows) > 0 {
		row = rows[0]
	}
	return row, err
}

// A row of a batch, padded or not, is continued as it is by itself.
func TestGenerateBatch(t *testing.T) {
	m := modeltest.New(t, modeltest.Micro, 1)
	defer m.Close()
	prompts := [][]int{{3, 1, 4, 1}, {5}, {9, 2, 6}}
	for _, o := range []Options{{}, {Temperature: 2, TopP: 1, Seed: 7}} {
		rows, err := Generate(t.Context(), m, prompts, 6, o, nil)
		if err != nil {
			t.Fatal(err)
		}
		for b, prompt := range prompts {
			own := o
			own.Seed += uint64(b)
			want, err := generate(t.Context(), m, prompt, 6, own, nil)
			if err != nil || !slices.Equal(rows[b], want) {
				t.Errorf("row %d at temperature %v: %v, want %v (%v)", b, o.Temperature, rows[b], want, err)
			}
		}
	}
}

func TestGenerateIsStepAndArgmax(t *testing.T) {
	m := modeltest.New(t, modeltest.Micro, 1)
	defer m.Close()
	prompt := modeltest.Tokens(modeltest.Micro, 3, 1)
	kept := slices.Clone(prompt)
	var seen []int
	got, err := generate(t.Context(), m, prompt, 9, Options{}, func(id int) error {
		seen = append(seen, id)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// By hand, the whole sequence anew for every token and no cache.
	want := slices.Clone(prompt)
	for range 9 {
		s, err := m.NewSession(model.SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		next, err := s.Step(want)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, next[0])
	}
	if !slices.Equal(got, want) {
		t.Errorf("Generate = %v, without a cache %v", got, want)
	}
	if !slices.Equal(seen, want[3:]) {
		t.Errorf("each saw %v, want %v", seen, want[3:])
	}
	if !slices.Equal(prompt, kept) {
		t.Errorf("the prompt was changed to %v", prompt)
	}
}

func TestGenerateSampled(t *testing.T) {
	m := modeltest.New(t, modeltest.Micro, 1)
	defer m.Close()
	run := func(s Options) []int {
		got, err := generate(t.Context(), m, []int{1, 2}, 10, s, nil)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	hot := Options{Temperature: 5, Seed: 1}
	one, again := run(hot), run(hot)
	if !slices.Equal(one, again) {
		t.Errorf("the same seed gave %v, then %v", one, again)
	}
	hot.Seed = 2
	if other := run(hot); slices.Equal(one, other) {
		t.Errorf("seeds 1 and 2 both gave %v", one)
	}
	if greedy, one := run(Options{}), run(Options{Temperature: 5, TopK: 1, Seed: 3}); !slices.Equal(greedy, one) {
		t.Errorf("top-k 1 gave %v, argmax %v", one, greedy)
	}
}

func TestGenerateRefuses(t *testing.T) {
	m := modeltest.New(t, modeltest.Micro, 1) // 12 positions
	defer m.Close()
	for _, tt := range []struct {
		prompt []int
		n      int
		s      Options
		want   string // "" is no error
		why    string
	}{
		{modeltest.Tokens(modeltest.Micro, 12, 1), 1, Options{}, "", "the prompt fills the context, and one is chosen"},
		{modeltest.Tokens(modeltest.Micro, 12, 1), 2, Options{}, "leaves room for 1 more, not 2", "the second would need position 13"},
		{modeltest.Tokens(modeltest.Micro, 13, 1), 1, Options{}, "leaves room for 0 more", "prompt too long"},
		{modeltest.Tokens(modeltest.Micro, 1, 1), 12, Options{}, "", "exactly full"},
		{modeltest.Tokens(modeltest.Micro, 1, 1), int(^uint(0) >> 1), Options{}, "leaves room for 12 more", "no overflow"},
		{nil, 1, Options{}, "the prompt has no tokens", "empty prompt"},
		{[]int{1}, 0, Options{}, "0 new tokens", "nothing asked"},
		{[]int{1}, -1, Options{}, "-1 new tokens", "less than nothing"},
		{[]int{1, 37}, 1, Options{}, "token id 37", "outside the vocabulary"},
		{[]int{1}, 1, Options{Temperature: -1}, "temperature -1", "bad sampling"},
	} {
		got, err := generate(t.Context(), m, tt.prompt, tt.n, tt.s, nil)
		switch {
		case tt.want == "" && (err != nil || len(got) != len(tt.prompt)+tt.n):
			t.Errorf("%s: %d tokens, %v", tt.why, len(got), err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: error %v, want one saying %q", tt.why, err, tt.want)
		case strings.Contains(tt.want, "room") && !errors.Is(err, model.ErrTooLong):
			t.Errorf("%s: error %v is not ErrTooLong", tt.why, err)
		}
	}
}

func TestGenerateEnds(t *testing.T) {
	m := modeltest.New(t, modeltest.Micro, 1)
	defer m.Close()
	whole, err := generate(t.Context(), m, []int{1}, 8, Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	enough, reason := errors.New("enough"), errors.New("the user left")
	calls := 0
	got, err := generate(t.Context(), m, []int{1}, 8, Options{}, func(int) error {
		if calls++; calls == 3 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || !slices.Equal(got, whole[:4]) {
		t.Errorf("each ended it after %v with %v, want %v", got, err, whole[:4])
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	got, err = generate(ctx, m, []int{1}, 8, Options{}, func(int) error {
		cancel(reason)
		return nil
	})
	if !errors.Is(err, reason) || !slices.Equal(got, whole[:2]) {
		t.Errorf("cancelled after %v with %v, want %v", got, err, whole[:2])
	}
}

// TestGenerateNaN: a model whose numbers ran away has chosen no token.
func TestGenerateNaN(t *testing.T) {
	w := modeltest.Weights(modeltest.Micro, 1)
	for i := range w["ln_f.weight"] {
		w["ln_f.weight"][i] = 3e38
	}
	m := modeltest.Of(t, modeltest.Micro, w)
	defer m.Close()
	got, err := generate(t.Context(), m, []int{1}, 8, Options{}, nil)
	if !errors.Is(err, ErrNoDistribution) || len(got) != 1 {
		t.Errorf("Generate = %v, %v", got, err)
	}
}

package harness_test

import (
	"errors"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/harnesstest"
)

// Prompt [1 2], then three steps.
func TestStepsFedOtherTokensAreSkipped(t *testing.T) {
	s := harnesstest.MustSchedule(t, "a", "next_id")
	golden := tensors{}
	for step, next := range []int64{3, 4, 5} {
		golden[step] = map[string]harness.Tensor{"a": vec(1), "next_id": ids(next)}
	}
	chose := func(next ...int64) tensors {
		have := tensors{}
		for step, id := range next {
			have[step] = map[string]harness.Tensor{"a": vec(1), "next_id": ids(id)}
		}
		return have
	}
	tokens := [][]int{{1, 2, 3, 4, 5}}
	for _, c := range []struct {
		reason    string
		tokens    [][]int // the candidate's; nil is none
		candidate tensors
		skipped   int // from which step on; 3 is none
		note      string
	}{
		{"the same tokens", tokens, chose(3, 4, 5), 3, ""},
		{"the last choice is fed to nobody", [][]int{{1, 2, 3, 4, 9}}, chose(3, 4, 9), 3, ""},
		{"another second choice is fed to step 2", [][]int{{1, 2, 3, 9, 8}}, chose(3, 9, 8), 2, ""},
		{"another first choice is fed to step 1", [][]int{{1, 2, 9, 4, 5}}, chose(9, 4, 5), 1, ""},
		{"another choice that was not fed", tokens, chose(9, 4, 5), 3, ""},
		{"tokens without the last choice", [][]int{{1, 2, 3, 4}}, chose(3, 4, 5), 3, ""},
		{"tokens that end before what was fed", [][]int{{1, 2}}, chose(3, 4, 5), 3, "ends before what step 2 was fed"},
		{"no tokens: its own choices are what it was fed", nil, chose(3, 9, 5), 2, "no tokens.npy"},
		{"no tokens and the same choices", nil, chose(3, 4, 5), 3, "no tokens.npy"},
		{"no tokens and another last choice", nil, chose(3, 4, 9), 3, "no tokens.npy"},
	} {
		g, cand := source(s, "g", tokens, golden), source(s, "c", c.tokens, c.candidate)
		r, err := harness.Compare(s, g, cand, harness.CompareOptions{Prompt: 2})
		if err != nil {
			t.Errorf("%s: %v", c.reason, err)
			continue
		}
		for i := range r.Stages {
			row := &r.Stages[i]
			if (row.Status == harness.Skipped) != (row.Step >= c.skipped) {
				t.Errorf("%s: %v is %s", c.reason, row.Place, row.Status)
			}
			if row.Status == harness.Skipped && row.Detail == "" {
				t.Errorf("%s: %v is skipped without a reason", c.reason, row.Place)
			}
		}
		if want := 2 * c.skipped; r.Compared != want {
			t.Errorf("%s: %d compared, want %d", c.reason, r.Compared, want)
		}
		if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes, c.note) || c.note == "" && notes != "" {
			t.Errorf("%s: notes %q, want %q", c.reason, notes, c.note)
		}
	}
}

func TestBatchIsSkippedWhenOneRowDiffers(t *testing.T) {
	s := harnesstest.MustSchedule(t, "a")
	have := tensors{0: {"a": vec(1)}, 1: {"a": vec(1)}, 2: {"a": vec(1)}}
	g := source(s, "g", [][]int{{1, 3, 4, 5}, {2, 3, 4, 5}}, have)
	c := source(s, "c", [][]int{{1, 3, 4, 5}, {2, 3, 9, 5}}, have)
	r, err := harness.Compare(s, g, c, harness.CompareOptions{Prompt: 1})
	if err != nil {
		t.Fatal(err)
	}
	if r.Compared != 2 || r.Stages[2].Status != harness.Skipped || !strings.Contains(r.Stages[2].Detail, "row 1") {
		t.Errorf("%d compared, step 2 %s: %s", r.Compared, r.Stages[2].Status, r.Stages[2].Detail)
	}
}

func TestPromptLength(t *testing.T) {
	s := harnesstest.MustSchedule(t, "a", "ln", "q", "k", "merged").Edited(func(st *harness.Stage) {
		st.Axes = map[string]string{"ln": "B T C", "q": "B H T D", "k": "B H T D", "merged": "(B H) T D"}[st.Name]
	})
	positions := func(ln, q, k int) tensors {
		x := func(shape ...int) harness.Tensor { return harness.Tensor{Shape: shape} }
		return tensors{0: {
			"ln": x(1, ln, 1), "q": x(1, 1, q, 1), "k": x(1, 1, k, 1), "merged": x(1, 9, 1), "a": vec(1),
		}, 1: {"a": vec(1)}, 2: {"a": vec(1)}}
	}
	three := tensors{0: {"a": vec(1)}, 1: {"a": vec(1)}, 2: {"a": vec(1)}}
	one := tensors{0: {"a": vec(1)}}
	manifest := func(n int) *harness.Manifest {
		m := harnesstest.TestManifest(3)
		m.Tokens = [][]int{make([]int, n)}
		return &m
	}
	tokens := [][]int{{1, 2, 3, 4, 5}}
	for _, c := range []struct {
		reason            string
		golden, candidate tensors
		gm, cm            *harness.Manifest
		said, want        int
	}{
		{"the caller knows", three, three, nil, nil, 3, 3},
		{"the golden's manifest knows", one, one, manifest(2), nil, 0, 2},
		{"the candidate's manifest knows", one, one, nil, manifest(2), 0, 2},
		{"three steps leave two", three, three, nil, nil, 0, 2},
		{"the source with more steps knows better", one, three, nil, nil, 0, 2},
		{"the tensors know, whether the last choice is among the tokens or not", positions(3, 3, 3), positions(3, 3, 3), nil, nil, 0, 3},
		{"most of the tensors know", positions(4, 3, 3), positions(3, 3, 4), nil, nil, 0, 3},
		{"a source's tensors, the other's steps", positions(3, 3, 3), one, nil, nil, 0, 3},
	} {
		g, cand := source(s, "g", tokens, c.golden), source(s, "c", tokens, c.candidate)
		g.Man, cand.Man = c.gm, c.cm
		if got, err := harness.PromptLength(s, g, cand, c.said); err != nil || got != c.want {
			t.Errorf("%s: %d, %v, want %d", c.reason, got, err, c.want)
		}
	}
	g, cand := source(s, "g", tokens, three), source(s, "c", tokens, three)
	g.Man, cand.Man = manifest(2), manifest(3)
	if _, err := harness.Compare(s, g, cand, harness.CompareOptions{}); !errors.Is(err, harness.ErrNothingCompared) {
		t.Errorf("prompts of two lengths: %v", err)
	}
}

func TestOtherPromptShowsADiff(t *testing.T) {
	s := harnesstest.MustSchedule(t, "a")
	one := tensors{0: {"a": vec(1)}}
	_, err := harness.Compare(s, source(s, "g", [][]int{{15496, 13, 5}}, one), source(s, "c", [][]int{{15496, 0, 5}}, one), harness.CompareOptions{})
	var diff *harness.DiffError
	if !errors.As(err, &diff) {
		t.Fatalf("error %v", err)
	}
	if !strings.Contains(diff.Line, "row 0, position 1 is 0, golden has 13") {
		t.Errorf("line %q", diff.Line)
	}
	if !strings.Contains(diff.Diff, "13") {
		t.Errorf("diff %q", diff.Diff)
	}
}

// A source of somebody's own with tokens that are none is refused.
func TestTokensThatAreNone(t *testing.T) {
	s := harnesstest.MustSchedule(t, "a", "next_id")
	have := tensors{0: {"a": vec(1), "next_id": ids(1)}}
	for _, tokens := range [][][]int{{}, {{}}, {{1, 2}, {1}}, {{-1}}} {
		g, c := source(s, "g", nil, have), source(s, "c", nil, have)
		g.Fed = tokens
		if _, err := harness.Compare(s, g, c, harness.CompareOptions{}); err == nil || !strings.Contains(err.Error(), "g: tokens: ") {
			t.Errorf("tokens %v: %v", tokens, err)
		}
	}
}

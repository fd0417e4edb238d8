package gpt2

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/harness"
	"checkpoint12/model"
	"checkpoint12/model/modeltest"
)

// micro is a model of two layers.
var micro = func() model.Config {
	c := modeltest.Micro
	c.Layers = 2
	return c
}()

// contractNames is section 1 of the contract for two layers, written out.
var contractNames = strings.Fields(`
	wte wpe embed
	h.0.ln_1 h.0.attn.c_attn h.0.attn.q h.0.attn.k h.0.attn.v h.0.attn.cache_k h.0.attn.cache_v
	h.0.attn.scores h.0.attn.probs h.0.attn.context h.0.attn.c_proj h.0.resid_mid
	h.0.ln_2 h.0.mlp.c_fc h.0.mlp.act h.0.mlp.c_proj h.0.resid_post
	h.1.ln_1 h.1.attn.c_attn h.1.attn.q h.1.attn.k h.1.attn.v h.1.attn.cache_k h.1.attn.cache_v
	h.1.attn.scores h.1.attn.probs h.1.attn.context h.1.attn.c_proj h.1.resid_mid
	h.1.ln_2 h.1.mlp.c_fc h.1.mlp.act h.1.mlp.c_proj h.1.resid_post
	ln_f logits logits_last next_token probs_t0.5 probs_t1 probs_t2`)

// contractShape is a stage's shape by the contract.
func contractShape(stage string, B, T, P int) []int {
	C, H, F, V, S := micro.Embd, micro.Heads, micro.Inner, micro.Vocab, P+T
	D := C / H
	switch _, word, _ := strings.Cut(strings.TrimPrefix(stage, "h."), "."); {
	case stage == "wpe":
		return []int{T, C}
	case stage == "logits":
		return []int{B, T, V}
	case stage == "logits_last" || strings.HasPrefix(stage, "probs_t"):
		return []int{B, V}
	case stage == "next_token":
		return []int{B}
	case word == "attn.c_attn":
		return []int{B, T, 3 * C}
	case word == "attn.q" || word == "attn.k" || word == "attn.v":
		return []int{B, H, T, D}
	case strings.HasPrefix(word, "attn.cache_"):
		return []int{B, H, S, D}
	case word == "attn.scores" || word == "attn.probs":
		return []int{B, H, T, S}
	case word == "mlp.c_fc" || word == "mlp.act":
		return []int{B, T, F}
	}
	return []int{B, T, C}
}

// steps feeds two rows of four tokens, then two decode steps of given tokens,
// and returns the tokens chosen.
func steps(t *testing.T, m *model.Model, tap model.Tap) (chosen []int, logits [][]float32) {
	t.Helper()
	s, err := m.NewSession(model.SessionOptions{Batch: 2, Length: 6, Temperatures: Temperatures, Tap: tap})
	if err != nil {
		t.Fatal(err)
	}
	for _, fed := range [][]int{{1, 2, 3, 4, 9, 8, 7, 6}, {5, 11}, {17, 36}} {
		next, err := s.Step(fed)
		if err != nil {
			t.Fatal(err)
		}
		chosen = append(chosen, next...)
		logits = append(logits, slices.Clone(s.LogitsLast()))
	}
	return chosen, logits
}

func TestTapsNameEveryStageInOrder(t *testing.T) {
	if diff := cmp.Diff(contractNames, stageNames(Schedule(2, nil))); diff != "" {
		t.Fatalf("schedule (-contract +got):\n%s", diff)
	}
	var got []string
	steps(t, modeltest.New(t, micro, 1), func(stage string, shape []int, data []float32) {
		T, P := 4, 0
		if k := len(got) / len(contractNames); k > 0 {
			T, P = 1, 3+k
		}
		got = append(got, stage)
		want := contractShape(stage, 2, T, P)
		n := 1
		for _, d := range want {
			n *= d
		}
		if !slices.Equal(shape, want) || len(data) != n {
			t.Errorf("%s at P=%d: shape %v of %d values, want %v", stage, P, shape, len(data), want)
		}
	})
	want := slices.Repeat(contractNames, 3)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tapped (-contract +got):\n%s", diff)
	}
}

func TestTapsChangeNothing(t *testing.T) {
	m := modeltest.New(t, micro, 1)
	chosen, logits := steps(t, m, nil)
	tapped, tappedLogits := steps(t, m, func(string, []int, []float32) {})
	if !slices.Equal(chosen, tapped) {
		t.Errorf("chosen with taps %v, without %v", tapped, chosen)
	}
	for k := range logits {
		if i := unequalAt(logits[k], tappedLogits[k]); i >= 0 {
			t.Errorf("step %d: logit %d is %v with taps, %v without", k, i, tappedLogits[k][i], logits[k][i])
		}
	}
}

// copies keeps every stage of every step, after poisoning one stage at step 0.
func copies(t *testing.T, m *model.Model, poisoned string) []map[string][]float32 {
	var all []map[string][]float32
	steps(t, m, func(stage string, _ []int, data []float32) {
		if stage == "wte" {
			all = append(all, map[string][]float32{})
		}
		if stage == poisoned && len(all) == 1 {
			for i, v := range data {
				switch {
				case stage == "next_token":
					data[i] = float32((int(v) + 1) % micro.Vocab)
				case !math.IsInf(float64(v), 0):
					data[i] = 0.25*float32(i%7) + 0.125 - 1.5*v
				}
			}
		}
		all[len(all)-1][stage] = slices.Clone(data)
	})
	return all
}

func TestPoisonedTapsReachTheirReaders(t *testing.T) {
	m := modeltest.New(t, micro, 1)
	clean := copies(t, m, "")
	differs := func(got []map[string][]float32, step int, stage string) bool {
		return unequalAt(clean[step][stage], got[step][stage]) >= 0
	}
	for _, poisoned := range contractNames {
		got, readers := copies(t, m, poisoned), 0
		if !differs(got, 0, poisoned) {
			t.Errorf("%s: the poison itself is not seen", poisoned)
		}
		for _, reader := range contractNames {
			for _, read := range model.Reads(m.Config(), reader) {
				in := harness.InputPlace(1, read)
				if in.Stage != poisoned {
					continue
				}
				readers++
				step := 1 - in.Step
				if !differs(got, step, reader) {
					t.Errorf("%s is poisoned at step 0, and %s at step %d, which reads it, is the same", poisoned, reader, step)
				}
			}
		}
		switch end := strings.HasPrefix(poisoned, "probs_t"); {
		case end && readers > 0:
			t.Errorf("%s is an end, but %d stages read it", poisoned, readers)
		case poisoned == "next_token": // read by whoever called Step
			chosen, _ := steps(t, m, nil)
			changed, _ := steps(t, m, func(stage string, _ []int, data []float32) {
				if stage == poisoned {
					data[0] = float32((int(data[0]) + 1) % micro.Vocab)
				}
			})
			if changed[0] == chosen[0] {
				t.Errorf("next_token is poisoned, and Step returns %d as before", changed[0])
			}
		case !end && readers == 0:
			t.Errorf("%s: nothing reads it", poisoned)
		}
	}
}

func TestRecordFeeds(t *testing.T) {
	m := modeltest.New(t, micro, 1)
	prompt := [][]int{{1, 2, 3}, {4, 5, 6}}
	own, err := Record(t.Context(), m, Run{Tokens: prompt, New: 4})
	if err != nil {
		t.Fatal(err)
	}
	fed, err := Record(t.Context(), m, Run{Tokens: prompt, New: 4, Feed: [][]int{{7, 8, 9}, {10, 11, 12}}})
	if err != nil {
		t.Fatal(err)
	}
	tokens := fed.Tokens()
	if diff := cmp.Diff([]int{1, 2, 3, 7, 8, 9}, tokens[0][:6]); diff != "" {
		t.Errorf("row 0 (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int{4, 5, 6, 10, 11, 12}, tokens[1][:6]); diff != "" {
		t.Errorf("row 1 (-want +got):\n%s", diff)
	}
	r, err := harness.Compare(Schedule(micro.Layers, nil), own, fed, harness.CompareOptions{})
	if err != nil {
		t.Fatal(err)
	}
	skipped := 0
	for _, row := range r.Stages {
		if want := row.Step > 0; (row.Status == harness.Skipped) != want {
			t.Errorf("%s: status %s", row.Place, row.Status)
		} else if want {
			skipped++
		}
	}
	if !r.Passed() || len(r.Missing) > 0 || skipped != 3*len(contractNames) {
		t.Errorf("verdict %s with %d rows skipped, want pass with %d: the prompt is the same, what follows is not", r.Verdict, skipped, 3*len(contractNames))
	}
}

func TestRecordRefuses(t *testing.T) {
	m := modeltest.New(t, micro, 1)
	for _, tt := range []struct {
		name string
		run  Run
		want string
	}{
		{"no row", Run{New: 1}, "no prompt tokens"},
		{"an empty row", Run{Tokens: [][]int{{}}, New: 1}, "no prompt tokens"},
		{"rows of other lengths", Run{Tokens: [][]int{{1, 2}, {3}}, New: 1}, "equal length"},
		{"nothing to choose", Run{Tokens: [][]int{{1}}}, "want 1 or more"},
		{"feed for other rows", Run{Tokens: [][]int{{1}}, New: 2, Feed: [][]int{{1}, {2}}}, "2 rows to feed for a batch of 1"},
		{"feed too long", Run{Tokens: [][]int{{1}}, New: 2, Feed: [][]int{{1, 2}}}, "feeds 2 tokens"},
		{"past n_positions", Run{Tokens: [][]int{{1, 2, 3}}, New: 13}, "a prompt of length 3 leaves room for 10 more, not 13 (n_positions is 12)"},
		{"a token outside", Run{Tokens: [][]int{{37}}, New: 1}, "vocabulary"},
		{"a temperature of 0", Run{Tokens: [][]int{{1}}, New: 1, Temperatures: []float64{0}}, "temperature"},
		{"logits that are NaN", Run{Tokens: [][]int{{1}}, New: 2, Tap: func(stage string, _ []int, data []float32) {
			if stage == "ln_f" {
				data[0] = float32(math.NaN())
			}
		}}, "chose no token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Record(t.Context(), m, tt.run); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one about %q", err, tt.want)
			}
		})
	}
}

func stageNames(s *harness.Schedule) []string {
	var all []string
	for _, st := range s.Stages() {
		all = append(all, st.Name)
	}
	return all
}

// unequalAt is the first index at which the bits differ, or -1.
func unequalAt(a, b []float32) int {
	for i, v := range a {
		if i >= len(b) || math.Float32bits(v) != math.Float32bits(b[i]) {
			return i
		}
	}
	return -1
}

// The last of the tokens may be the choice that comes after a full context.
func TestRecordCutOfFullContext(t *testing.T) {
	m := modeltest.New(t, modeltest.Micro, 1)
	n := modeltest.Micro.Positions
	run := Run{Tokens: [][]int{make([]int, n+1)}, Cut: harness.Cut{{P: 0, T: n - 1}, {P: n - 1, T: 1}}}
	if _, err := RecordTrace(t.Context(), m, run); err != nil {
		t.Fatal(err)
	}
}

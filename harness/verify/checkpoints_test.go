package verify

import (
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness/gpt2"
)

func TestEachCheckpointHasItsTexts(t *testing.T) {
	for n := CheckWeights; n <= CheckpointCount; n++ {
		c := Info(n)
		said := slices.Concat([]string{c.Title, c.Stages, c.Tolerance, c.Fix}, c.CausesAt())
		if c.Number != n || len(c.Causes) == 0 || slices.Contains(said, "") {
			t.Errorf("checkpoint %d: %+v", n, c)
		}
		for _, st := range gpt2.Schedule(2, nil).Stages() {
			word := st.Name[strings.LastIndex(st.Name, ".")+1:]
			if strings.HasPrefix(st.Name, "probs_t") {
				word = "probs_t*"
			}
			if st.Checkpoint == n && !strings.Contains(c.Stages, word) {
				t.Errorf("%s: lacks %s in %q", c, st.Name, c.Stages)
			}
			if st.Checkpoint == n && len(c.CausesAt(st.Name)) == 0 {
				t.Errorf("%s: no cause of a failure at %s", c, st.Name)
			}
		}
	}
	for _, kind := range []string{otherText, notDeterministic, wrongLength, "not finite", "outlier", "figures"} {
		if causes := texts.Causes[kind]; len(causes) == 0 || slices.Contains(causes, "") {
			t.Errorf("%s: causes %q", kind, causes)
		}
	}
}

func TestCausesAt(t *testing.T) {
	for _, c := range []struct {
		checkpoint int
		stages     []string
		cause      string
		want       bool
	}{
		{6, []string{"h.0.mlp.act"}, "erf", true},
		{6, []string{"h.0.ln_2"}, "erf", false},
		{6, []string{"h.0.mlp.c_proj", "h.0.mlp.act"}, "erf", true},
		{5, []string{"h.1.attn.c_proj"}, "softmax", false},
		{5, nil, "softmax", true},
	} {
		if got := strings.Contains(strings.Join(Info(c.checkpoint).CausesAt(c.stages...), "\n"), c.cause); got != c.want {
			t.Errorf("%s at %q: %s %t, want %t", Info(c.checkpoint), c.stages, c.cause, got, c.want)
		}
	}
}

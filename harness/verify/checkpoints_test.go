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
		said := slices.Concat([]string{c.Title, c.Stages, c.Tolerance, c.Fix}, c.Causes)
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
		}
	}
	for _, kind := range []string{otherText, notDeterministic, wrongLength, "outlier", "figures"} {
		if causes := texts.Causes[kind]; len(causes) == 0 || slices.Contains(causes, "") {
			t.Errorf("%s: causes %q", kind, causes)
		}
	}
}

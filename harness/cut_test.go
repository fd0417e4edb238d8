package harness_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/harness"
)

func TestParseCut(t *testing.T) {
	for _, c := range []struct{ text, err string }{
		{"[[0,2],[2,1]]", ""},
		{"[[0,3],[1,5]]\n", ""},
		{"", "want [[P, T], ...]"},
		{"{}", "want [[P, T], ...]"},
		{"null", "no steps"},
		{"[]", "no steps"},
		{"[[0,2],[2]]", "step 1 is [2]"},
		{"[[0,2,4]]", "step 0 is [0 2 4]"},
		{"[[0,0]]", "step 0 is [0 0]"},
		{"[[-1,2]]", "step 0 is [-1 2]"},
		{"[[9223372036854775807,9223372036854775807]]", "step 0 is"},
		{"[[1e99,1]]", "want [[P, T], ...]"},
		{"[[0,2]] [[0,2]]", "want [[P, T], ...]"},
	} {
		cut, err := harness.ParseCut([]byte(c.text))
		switch {
		case c.err == "" && (err != nil || len(cut) == 0):
			t.Errorf("%s: %v, %v", c.text, cut, err)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s: error %v, want %q", c.text, err, c.err)
		}
	}
}

func TestCutInWords(t *testing.T) {
	var got []string
	for _, c := range []harness.Cut{
		harness.PromptCut(2, 3), harness.PromptCut(1, 6), {{0, 4}}, {{0, 2}, {0, 3}}, {{0, 2}, {2, 2}}, {{1, 1}},
	} {
		got = append(got, c.String())
	}
	want := []string{
		"the prompt at once, then one token at a time (positions 0-1; 2; 3)",
		"one token at a time (positions 0; 1; 2; 3; ...)",
		"everything in one pass (positions 0-3)",
		"without a cache, each step from the first position on (positions 0-1; 0-2)",
		"in steps of several tokens (positions 0-1; 2-3)",
		"in steps of its own (positions 1)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

package harness_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/harnesstest"
)

func TestParseBounds(t *testing.T) {
	for _, c := range []struct{ reason, text, refused string }{
		{"the contract's", `[{"stages": "h.*.mlp.act", "steps": "0", "abs": 1e-3, "rel": 0, "why": "a table"},
			{"stages": "h.3.*", "fault": "float16_activations", "accept": true, "why": "a cache"}]`, ""},
		{"whatever the cause, some steps", `[{"stages": "*", "steps": "1-3, 7-", "accept": true, "why": "w"}]`, ""},
		{"rel alone", `[{"stages": "ln_f", "rel": 1e-3, "why": "w"}]`, ""},
		{"no reason", `[{"stages": "a", "abs": 1, "why": "w"}, {"stages": "b", "abs": 1}]`, `rule 2 (stages "b"): has no "why"`},
		{"a blank one", `[{"stages": "a", "abs": 1, "why": " "}]`, `rule 1 (stages "a"): has no "why"`},
		{"no pattern", `[{"abs": 1, "why": "w"}]`, "rule 1"},
		{"a malformed pattern", `[{"stages": "h.[", "abs": 1, "why": "w"}]`, "rule 1"},
		{"malformed steps", `[{"stages": "a", "steps": "3-1", "abs": 1, "why": "w"}]`, "want all, 0, 1-"},
		{"empty steps", `[{"stages": "a", "steps": "", "abs": 1, "why": "w"}]`, "rule 1"},
		{"neither", `[{"stages": "a", "why": "w"}]`, "want a tolerance"},
		{"both", `[{"stages": "a", "abs": 1, "accept": true, "why": "w"}]`, "not the two together"},
		{"a fault for a tolerance", `[{"stages": "a", "abs": 1, "fault": "tf32", "why": "w"}]`, `beside "accept"`},
		{"a fault alone", `[{"stages": "a", "fault": "tf32", "why": "w"}]`, "want a tolerance"},
		{"accept false", `[{"stages": "a", "accept": false, "why": "w"}]`, "true or left out"},
		{"negative", `[{"stages": "a", "abs": -1, "why": "w"}]`, "-1 is no tolerance"},
		{"beyond float64", `[{"stages": "a", "abs": 1e999, "why": "w"}]`, "1e999"},
		{"beyond float32", `[{"stages": "a", "rel": 1e99, "why": "w"}]`, "no tolerance"},
		{"an unknown key", `[{"stage": "a", "abs": 1, "why": "w"}]`, `unknown field "stage"`},
		{"a key twice", `[{"stages": "a", "abs": 1, "abs": 2, "why": "w"}]`, "twice"},
		{"no list", `{"stages": "a", "abs": 1, "why": "w"}`, "want a list"},
		{"an empty list", `[]`, "no rule"},
		{"null", `null`, "no rule"},
		{"no JSON", `stages: a`, "line 1"},
		{"nothing", ``, "want a list"},
	} {
		b, err := harness.ParseBounds([]byte(c.text))
		switch {
		case c.refused == "" && (err != nil || len(b.Rules) == 0):
			t.Errorf("%s: %v", c.reason, err)
		case c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused) || strings.Contains(err.Error(), "\n")):
			t.Errorf("%s: want %q: %v", c.reason, c.refused, err)
		}
	}
}

// FuzzParseBounds asks that rules are refused, or are whole.
func FuzzParseBounds(f *testing.F) {
	f.Add([]byte(`[{"stages": "h.*.mlp.act", "steps": "0", "abs": 1e-3, "rel": 0, "why": "a table"}]`))
	f.Add([]byte(`[{"stages": "h.3.*", "fault": "float16_activations", "accept": true, "why": "a cache"}, null]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := harness.ParseBounds(data)
		if err != nil {
			return
		}
		for _, r := range b.Rules {
			if r.Why == "" || r.Accept && r.Tolerance.At(1) != 0 || !r.Accept && r.Fault != "" || !(r.Tolerance.At(1) >= 0) {
				t.Errorf("%q is taken: %+v", data, r)
			}
			r.Covers(harness.Place{Step: 1, Stage: "h.3.mlp.act"}, false)
		}
	})
}

// rules parses rules that are written in a test.
func rules(t *testing.T, text string) *harness.Bounds {
	t.Helper()
	b, err := harness.ParseBounds([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	b.File = "rules.json"
	return b
}

func TestCompareWithBounds(t *testing.T) {
	s := harnesstest.MustSchedule(t, "a", "b", "next_id")
	golden := source(s, "golden", nil, tensors{0: {"a": vec(1), "b": vec(2)}, 1: {"a": vec(1), "b": vec(2), "next_id": ids(4)}})
	candidate := source(s, "candidate", nil, tensors{0: {"a": vec(1.1), "b": vec(2)}, 1: {"a": vec(1.1), "b": vec(2), "next_id": ids(5)}})
	row := func(step int, stage string) harness.Place { return harness.Place{Step: step, Stage: stage} }
	for _, c := range []struct {
		reason, rules string
		first         *harness.Place
		accepted      int
		unused        string
	}{
		{"a tolerance", `[{"stages": "a", "abs": 0.2, "why": "w"}]`, &harness.Place{Step: 1, Stage: "next_id"}, 0, ""},
		{"relative", `[{"stages": "a", "rel": 0.2, "why": "w"}]`, &harness.Place{Step: 1, Stage: "next_id"}, 0, ""},
		{"too narrow a one", `[{"stages": "a", "abs": 0.05, "why": "w"}]`, &harness.Place{Stage: "a"}, 0, ""},
		{"at a step", `[{"stages": "a", "steps": "0", "abs": 0.2, "why": "w"}]`, &harness.Place{Step: 1, Stage: "a"}, 0, ""},
		{"the first rule holds", `[{"stages": "a", "abs": 0, "why": "w"}, {"stages": "*", "abs": 9, "why": "w"}]`, &harness.Place{Stage: "a"}, 0, ""},
		{"ids have no tolerance", `[{"stages": "*", "abs": 9, "why": "w"}]`, &harness.Place{Step: 1, Stage: "next_id"}, 0, ""},
		{"accepted", `[{"stages": "a", "accept": true, "why": "w"}]`, &harness.Place{Step: 1, Stage: "next_id"}, 2, ""},
		{"all accepted", `[{"stages": "*", "accept": true, "why": "w"}]`, nil, 3, ""},
		{"what passes is not accepted", `[{"stages": "b", "accept": true, "why": "w"}]`, &harness.Place{Stage: "a"}, 0, ""},
		{"without a replay no cause is known", `[{"stages": "a", "accept": true, "fault": "tf32", "why": "w"}]`, &harness.Place{Stage: "a"}, 0, ""},
		{"unused", `[{"stages": "a", "abs": 0.2, "why": "w"}, {"stages": "c", "abs": 1, "why": "w"}]`, &harness.Place{Step: 1, Stage: "next_id"}, 0, `rules.json: rule 2 (stages "c", steps all)`},
		{"unused at its steps", `[{"stages": "a", "steps": "2-", "abs": 0.2, "why": "w"}]`, &harness.Place{Stage: "a"}, 0, "rule 1"},
		{"unused on ids", `[{"stages": "next_id", "abs": 1, "why": "w"}]`, &harness.Place{Stage: "a"}, 0, "rule 1"},
	} {
		b := rules(t, c.rules)
		r, err := harness.Compare(s, golden, candidate, harness.CompareOptions{Bounds: b})
		if err != nil {
			t.Fatal(err)
		}
		r.Accept()
		if diff := cmp.Diff(c.first, r.FirstDivergence); diff != "" || r.Unseen.Accepted != c.accepted || r.Passed() != (c.first == nil) {
			t.Errorf("%s: %s, %d accepted (-want +got):\n%s", c.reason, r.Verdict, r.Unseen.Accepted, diff)
		}
		for i := range r.Stages {
			if row := &r.Stages[i]; row.Accepted != "" && !row.Status.Diverges() {
				t.Errorf("%s: %s is accepted and has status %s", c.reason, row.Place, row.Status)
			}
		}
		if err := b.CheckUsed(r); (err == nil) != (c.unused == "") || err != nil && !strings.Contains(err.Error(), c.unused) {
			t.Errorf("%s: unused: %v", c.reason, err)
		}
	}
	r, err := harness.Compare(s, golden, candidate, harness.CompareOptions{Bounds: rules(t, `[{"stages": "a", "abs": 0.2, "rel": 0.1, "why": "w"}]`)})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Row(row(0, "a")).Tolerance; got.Abs != 0.2 || got.Rel != 0.1 || got.Reason != "by --bounds: w" {
		t.Errorf("tolerance %+v", got)
	}
}

package harness_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/harnesstest"
)

func TestReportJSON(t *testing.T) {
	s := harnesstest.MustSchedule(t, "a", "b", "c", "next_id")
	golden := source(s, "golden", nil, tensors{0: {"a": vec(0.5, 1), "b": vec(1), "c": vec(0), "next_id": ids(4)}})
	candidate := source(s, "candidate", nil, tensors{0: {"a": vec(0.5, harnesstest.Nan), "c": vec(harnesstest.Pinf), "next_id": ids(5)}})
	r, err := harness.Compare(s, golden, candidate, harness.CompareOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	want := `{
 "schema": 1,
 "verdict": "fail",
 "compared": 3,
 "missing": [{"step": 0, "stage": "b"}],
 "first_divergence": {"step": 0, "stage": "a"},
 "introduced": [],
 "stages": [
  {"step": 0, "stage": "a", "shape": [1, 2], "status": "nonfinite", "origin": "",
   "max_abs": "NaN", "max_rel": "NaN", "rms": 0, "cosine": 1, "mismatched": 1, "elements": 2,
   "worst": {"index": [0, 1], "got": "NaN", "want": 1}, "tolerance": {"abs": 1e-05, "rel": 0}},
  {"step": 0, "stage": "b", "shape": [1, 1], "status": "missing", "origin": "",
   "max_abs": "NaN", "max_rel": "NaN", "rms": "NaN", "cosine": "NaN", "mismatched": 0, "elements": 0,
   "worst": null, "tolerance": {"abs": 1e-05, "rel": 0}},
  {"step": 0, "stage": "c", "shape": [1, 1], "status": "nonfinite", "origin": "",
   "max_abs": "+Inf", "max_rel": "+Inf", "rms": "NaN", "cosine": "NaN", "mismatched": 1, "elements": 1,
   "worst": {"index": [0, 0], "got": "+Inf", "want": 0}, "tolerance": {"abs": 1e-05, "rel": 0}},
  {"step": 0, "stage": "next_id", "shape": [1], "status": "fail", "origin": "",
   "max_abs": 1, "max_rel": 0.25, "rms": 1, "cosine": 1, "mismatched": 1, "elements": 1,
   "worst": {"index": [0], "got": 5, "want": 4}, "tolerance": {"abs": 0, "rel": 0}}
 ],
 "explanations": [],
 "violations": [],
 "unseen": {"missing": 1, "skipped": 0, "unjudged": 0, "unknown": 0, "unmatched": 0, "rows": 0, "shared": 0, "doubted": 0}
}`
	var x, y any
	if err := json.Unmarshal([]byte(want), &x); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(got, &y); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(x, y); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if order := strings.Join(strings.Fields(string(got)), ""); !strings.HasPrefix(order, `{"schema":1,"verdict":"fail","compared":3,"missing":[{"step":0,"stage":"b"}],"first_divergence":`) {
		t.Errorf("fields in another order: %.120s", order)
	}
	var again harness.Report
	if err := json.Unmarshal(got, &again); err != nil {
		t.Fatal(err)
	}
	if second, err := json.MarshalIndent(&again, "", " "); err != nil || string(second) != string(got) {
		t.Errorf("read and written again: %v\n%s", err, second)
	}
}

// A passing report has null for its first divergence and no null list.
func TestReportJSONHasNoNullLists(t *testing.T) {
	s := harnesstest.MustSchedule(t, "a")
	one := tensors{0: {"a": vec(1)}}
	r, err := harness.Compare(s, source(s, "g", nil, one), source(s, "c", nil, one), harness.CompareOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), "null"); n != 1 || !strings.Contains(string(b), `"first_divergence":null`) {
		t.Errorf("%s", b)
	}
}

func TestJudge(t *testing.T) {
	pass := harness.Row{Place: harness.Place{Stage: "a"}, Status: harness.Pass}
	fail := harness.Row{Place: harness.Place{Stage: "b"}, Status: harness.Fail}
	missing := harness.Row{Place: harness.Place{Stage: "c"}, Status: harness.Missing}
	skipped := harness.Row{Place: harness.Place{Stage: "d"}, Status: harness.Skipped}
	for _, c := range []struct {
		reason  string
		report  harness.Report
		verdict string
	}{
		{"all pass", harness.Report{Stages: []harness.Row{pass}}, "pass"},
		{"one fails", harness.Report{Stages: []harness.Row{pass, fail}}, "fail"},
		{"missing is no failure", harness.Report{Stages: []harness.Row{pass, missing}}, "pass"},
		{"unless all is required", harness.Report{Stages: []harness.Row{pass, missing}, RequireAll: true}, "fail"},
		{"skipped is no failure", harness.Report{Stages: []harness.Row{pass, skipped}}, "pass"},
		{"unless all is required", harness.Report{Stages: []harness.Row{pass, skipped}, RequireAll: true}, "fail"},
		{"an introduced fault within the bound", harness.Report{Stages: []harness.Row{pass}, Introduced: []harness.Introduced{{Step: 0, Stage: "a", Span: []string{"a"}}}}, "fail"},
		{"a contradiction within the bound", harness.Report{Stages: []harness.Row{pass}, Violations: []harness.Violation{{Place: pass.Place}}}, "fail"},
		{"a tensor that cannot be used", harness.Report{Stages: []harness.Row{pass}, Unusable: []harness.Place{{Stage: "e"}}}, "fail"},
		{"nothing compared", harness.Report{Stages: []harness.Row{missing}}, "fail"},
	} {
		c.report.Judge()
		if c.report.Verdict != c.verdict {
			t.Errorf("%s: %s", c.reason, c.report.Verdict)
		}
	}
}

func TestFloatJSON(t *testing.T) {
	for text, v := range map[string]float64{`0`: 0, `0.00001`: 1e-5, `1e-7`: 1e-7, `0.1`: 0.1, `"+Inf"`: math.Inf(1), `"-Inf"`: math.Inf(-1), `-1.5`: -1.5} {
		b, err := json.Marshal(harness.Float(v))
		if err != nil || string(b) != text {
			t.Errorf("%v is written as %s, %v, want %s", v, b, err, text)
		}
		var f harness.Float
		if err := json.Unmarshal([]byte(text), &f); err != nil || float64(f) != v {
			t.Errorf("%s is read as %v, %v", text, f, err)
		}
	}
	var f harness.Float
	if err := json.Unmarshal([]byte(`"NaN"`), &f); err != nil || !math.IsNaN(float64(f)) {
		t.Errorf("NaN is read as %v, %v", f, err)
	}
	for _, bad := range []string{`"nan"`, `"1"`, `null`, `true`, `[]`, `1e999`} {
		if err := json.Unmarshal([]byte(bad), &f); err == nil {
			t.Errorf("%s is read as %v", bad, f)
		}
	}
}

package report

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/harness/internal/names"
)

func writeText(t *testing.T, r *harness.Report, o Options) string {
	t.Helper()
	var b bytes.Buffer
	if o.Width == 0 {
		o.Width = 1000
	}
	if err := Write(&b, r, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// failing is a report with some of everything.
func failing(t *testing.T) *harness.Report {
	t.Helper()
	s, err := harness.NewSchedule([]harness.Stage{
		{Name: "wte", Tolerance: harness.Tolerance{Reason: "rows of a table"}},
		{Name: "h.0.act", Checkpoint: 6, Tolerance: harness.Tolerance{Abs: 1e-4, Rel: 1e-5, Reason: "measured spread 2e-6"}},
		{Name: "h.1.act", Checkpoint: 6, Tolerance: harness.Tolerance{Abs: 1e-4, Reason: "measured"}},
		{Name: "logits", Checkpoint: 8, Tolerance: harness.Tolerance{Abs: 1e-3, Reason: "measured"}},
		{Name: "next_id", IDs: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	golden := harnesstest.Steps{}
	candidate := harnesstest.Steps{}
	for step := range 3 {
		golden[step] = map[string]harness.Tensor{"wte": harnesstest.Vec(1, 2), "h.0.act": harnesstest.Vec(1, -20),
			"h.1.act": harnesstest.Vec(1), "logits": harnesstest.Vec(1), "next_id": harnesstest.Ids(1)}
		candidate[step] = map[string]harness.Tensor{"wte": harnesstest.Vec(1, 2), "h.0.act": harnesstest.Vec(1.5, -20),
			"logits": harnesstest.Vec(1, 1), "next_id": harnesstest.Ids(1)}
	}
	g := harnesstest.Source(s, "golden", [][]int{{5, 1, 1, 1}}, golden)
	g.Man = &harness.Manifest{LeftOut: []harness.LeftOut{{Stages: "h.*.scores", Steps: "all", Reason: "never formed"}}}
	r, err := harness.Compare(s, g, harnesstest.Source(s, "mine", [][]int{{5, 1, 2, 2}}, candidate), harness.CompareOptions{Prompt: 1})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// expect compares text with a file in testdata, which is what a person reads; a
// change there is looked at.
func expect(t *testing.T, name, got string) {
	t.Helper()
	want, err := os.ReadFile(filepath.Join("testdata", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("-%s +got:\n%s", name, diff)
	}
}

func TestTextOfFailure(t *testing.T) {
	for _, verbose := range []bool{false, true} {
		expect(t, map[bool]string{false: "failing", true: "failing_verbose"}[verbose], writeText(t, failing(t), Options{
			Style: Style{Width: 100}, Verbose: verbose,
			Causes: func(stages []string) []string { return []string{"erf for tanh in " + strings.Join(stages, ", ")} },
			Closer: "look --verbose",
		}))
	}
}

func TestTextColours(t *testing.T) {
	r := failing(t)
	plain, colour := writeText(t, r, Options{Verbose: true}), writeText(t, r, Options{Verbose: true, Style: Style{Color: true}})
	if !strings.Contains(colour, "\x1b[1;31m") {
		t.Error("no red in a failure")
	}
	bare := colour
	for _, code := range []string{"0", "1", "1;31", "31", "1;32", "33", "1;37;41"} {
		bare = strings.ReplaceAll(bare, "\x1b["+code+"m", "")
	}
	if bare != plain {
		t.Errorf("colours change the text:\n%s\n%s", plain, bare)
	}
}

func TestTextHeadlines(t *testing.T) {
	row := func(status harness.Status) harness.Row {
		r := harness.Row{Place: harness.Place{Stage: "h.0.a"}, Shape: []int{1}, Tolerance: harness.Tolerance{Abs: 1, Reason: "test"}}
		r.Status, r.Elements, r.MaxAbs, r.Worst = status, 1, 0.5, &harness.Worst{Index: []int{0}}
		if status == harness.WrongShape {
			r.Elements, r.MaxAbs, r.Worst, r.GotShape = 0, harness.Float(math.NaN()), nil, []int{7}
		}
		return r
	}
	ids := row(harness.Fail)
	ids.IDs, ids.Mismatched, ids.Worst.Got, ids.Worst.Want = true, 1, 7, 3
	for _, c := range []struct {
		reason string
		report harness.Report
		want   string
	}{
		{"a pass", harness.Report{Stages: []harness.Row{row(harness.Pass)}}, "PASS  c agrees with g: 1 tensor within tolerance\n"},
		{"another shape", harness.Report{Stages: []harness.Row{row(harness.WrongShape)}}, "got [7], want [1]"},
		{"other ids, which are off by no distance", harness.Report{Stages: []harness.Row{ids}},
			"mismatched elements:           1 / 1 (100.0%)\n  an id that differs:            at index [0]: got 7, want 3\n  tolerance:"},
		{"other weights", harness.Report{Stages: []harness.Row{row(harness.Fail)}, OtherWeights: true},
			"1 of 1 tensor outside tolerance\n      the two were made from different weights"},
		{"missing under require-all", harness.Report{Stages: []harness.Row{row(harness.Pass), row(harness.Missing)}, RequireAll: true},
			"FAIL  c leaves 1 tensor of g uncompared: 1 tensor within tolerance, 1 missing\n"},
		{"skipped under require-all", harness.Report{Stages: []harness.Row{row(harness.Pass), row(harness.Skipped)}, RequireAll: true},
			"FAIL  c leaves 1 tensor of g uncompared: 1 tensor within tolerance, 1 skipped\n"},
		{"a tensor that cannot be used", harness.Report{Stages: []harness.Row{row(harness.Pass)}, Unusable: []harness.Place{{Step: 2, Stage: "h.0.b"}}},
			"FAIL  c has 1 tensor of a wrong shape, first at step 2, stage h.0.b: 1 tensor within tolerance\n"},
		{"a dump that contradicts itself", harness.Report{Stages: []harness.Row{row(harness.Pass)}, Checked: 7,
			Violations: []harness.Violation{{Place: harness.Place{Step: 2, Stage: "h.0.a"}, Rule: "does not follow from h.0.z"}}},
			"FAIL  c contradicts itself at 1 of 7 places checked, first at step 2, stage h.0.a: does not follow from h.0.z; 1 tensor within tolerance\n"},
		{"what was not seen", harness.Report{Stages: []harness.Row{row(harness.Pass), row(harness.Missing), row(harness.Skipped)}, Unseen: harness.Unseen{Unknown: 2, Unmatched: 3},
			Replayed: []harness.Replayed{{Row: harness.Row{Place: harness.Place{Stage: "h.0.b"}}, Verdict: harness.ReplayUnknown, Why: "of other dimensions"}}},
			"PASS  c agrees with g: 1 tensor within tolerance, 1 missing, 3 without a golden, 1 stage could not be judged, 2 names not understood, 1 skipped\n"},
		{"not judged without a golden", harness.Report{Stages: []harness.Row{row(harness.Pass), {Place: harness.Place{Stage: "h.0.b"}, Status: harness.Skipped, Detail: "no tokens"}},
			Replayed: []harness.Replayed{{Row: harness.Row{Place: harness.Place{Stage: "h.0.b"}}, Verdict: harness.ReplayUnknown, Why: "no tokens"}}},
			"PASS  c agrees with g: 1 tensor within tolerance, 1 stage could not be judged\n"},
		{"introduced within the bound", harness.Report{Stages: []harness.Row{row(harness.Pass)},
			Introduced:   []harness.Introduced{{Step: 0, Stage: "h.0.a", Span: []string{"h.0.z", "h.0.a"}}},
			Explanations: []harness.Explanation{{Stage: "h.0.a", Fault: "gelu_erf", Explains: 0.999, Text: "use tanh"}}}, "gelu_erf (explains 99.9% of the error): use tanh"},
	} {
		c.report.Golden, c.report.Candidate = "g", "c"
		c.report.Judge()
		if text := writeText(t, &c.report, Options{}); !strings.Contains(text, c.want) {
			t.Errorf("%s: no %q in\n%s", c.reason, c.want, text)
		}
	}
}

func TestFamily(t *testing.T) {
	for stage, want := range map[string]string{
		"h.0.ln_1": "h.*.ln_1", "h.10.attn.c_attn": "h.*.attn.c_attn", "wte": "wte", "probs_t0.5": "probs_t0.5", "layer.3": "layer.*", "enc.1.h.12.q": "enc.*.h.*.q", "7": "7",
	} {
		if got := names.Family(stage); got != want {
			t.Errorf("Family(%q) = %q, want %q", stage, got, want)
		}
	}
}

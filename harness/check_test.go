package harness_test

import (
	"fmt"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/harnesstest"
)

// heard is a TB that keeps what it is told.
type heard struct{ logs, errors, fatals []string }

func (h *heard) Helper() {}
func (h *heard) Logf(format string, args ...any) {
	h.logs = append(h.logs, fmt.Sprintf(format, args...))
}
func (h *heard) Errorf(format string, args ...any) {
	h.errors = append(h.errors, fmt.Sprintf(format, args...))
}
func (h *heard) Fatalf(format string, args ...any) {
	h.fatals = append(h.fatals, fmt.Sprintf(format, args...))
}

func TestCheck(t *testing.T) {
	s := harnesstest.MustSchedule(t, "a", "b")
	golden := source(s, "golden", [][]int{{1, 2}}, tensors{0: {"a": vec(1), "b": vec(2, 3)}})
	for _, c := range []struct {
		name   string
		tap    func(r *harness.Recorder)
		error  string // the one there is; "" none
		fatal  string
		others string
	}{
		{"equal", func(r *harness.Recorder) {
			r.Tap("a", []int{1, 1}, []float32{1})
			r.Tap("b", []int{1, 2}, []float32{2, 3})
		}, "", "", ""},
		{"two differ: the first is told", func(r *harness.Recorder) {
			r.Tap("a", []int{1, 1}, []float32{9})
			r.Tap("b", []int{1, 2}, []float32{2, 4})
		}, "stage a: 1 of 1 value wrong, worst at [0 0]: got 9, want 1; allowed is 1e-05 (test)", "", "2 of 2 tensors"},
		{"another shape", func(r *harness.Recorder) {
			r.Tap("a", []int{1, 1}, []float32{1})
			r.Tap("b", []int{2, 1}, []float32{2, 3})
		}, "stage b: shape [2 1], want [1 2]", "", ""},
		{"a stage that the model never reached", func(r *harness.Recorder) {
			r.Tap("a", []int{1, 1}, []float32{1})
		}, "stage b: missing", "", ""},
		{"nothing", func(r *harness.Recorder) {}, "", "nothing compared", ""},
		{"a name that is no stage", func(r *harness.Recorder) { r.Tap("c", []int{1}, []float32{1}) }, "", `stage "c" is not in the schedule`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := harness.NewRecorder(harness.RecorderOptions{Schedule: s, Name: "mine"})
			r.Step(0)
			c.tap(r)
			r.SetTokens([][]int{{1, 2}})
			var h heard
			harness.Check(&h, golden, r)
			if got := strings.Join(h.errors, "|"); !strings.Contains(got, c.error) || c.error == "" && got != "" || len(h.errors) > 1 {
				t.Errorf("errors %q, want %q", got, c.error)
			}
			if got := strings.Join(h.fatals, "|"); !strings.Contains(got, c.fatal) || c.fatal == "" && got != "" {
				t.Errorf("fatal %q, want %q", got, c.fatal)
			}
			if got := strings.Join(h.logs, "|"); !strings.Contains(got, c.others) {
				t.Errorf("logs %q, want %q", got, c.others)
			}
		})
	}
}

// What comes from a dump's files is visible, and makes no line of its own.
func TestCheckShowsAll(t *testing.T) {
	s := harnesstest.MustSchedule(t, "a")
	golden := source(s, "evil\nok \x1b[2J", nil, tensors{0: {"a": vec(1)}})
	r := harness.NewRecorder(harness.RecorderOptions{Schedule: s, Name: "mine"})
	r.Step(0)
	r.Tap("a", []int{1, 1}, []float32{1})
	var h heard
	harness.Check(&h, golden, r)
	harness.Check(&h, source(s, "evil\nok \x1b[2J", nil, nil), r)
	for _, told := range [][]string{h.logs, h.fatals} {
		if text := strings.Join(told, "|"); !strings.Contains(text, `evil\nok \x1b[2J`) || strings.ContainsAny(text, "\n\x1b") {
			t.Errorf("told %q", text)
		}
	}
}

// A recorder that was told to keep less is not asked for more.
func TestCheckAsksForWhatIsWanted(t *testing.T) {
	s := harnesstest.MustSchedule(t, "a", "b")
	golden := source(s, "golden", nil, tensors{0: {"a": vec(1), "b": vec(2)}})
	r := harness.NewRecorder(harness.RecorderOptions{Schedule: s, Match: func(_ int, stage string) bool { return stage == "a" }})
	r.Step(0)
	r.Tap("a", []int{1, 1}, []float32{1})
	r.Tap("b", []int{1, 1}, []float32{99})
	harness.Check(t, golden, r)
}

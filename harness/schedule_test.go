package harness_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/harness/internal/shapes"
)

func TestNewScheduleRefuses(t *testing.T) {
	why := func(abs, rel float64) harness.Tolerance { return harness.Tolerance{Abs: abs, Rel: rel, Reason: "test"} }
	for _, c := range []struct {
		reason string
		stages []harness.Stage
		want   string
	}{
		{"no stage", nil, "without stages"},
		{"a name twice", []harness.Stage{{Name: "a", Tolerance: why(0, 0)}, {Name: "a", Tolerance: why(0, 0)}}, "twice"},
		{"no name", []harness.Stage{{Tolerance: why(0, 0)}}, "cannot be a file's name"},
		{"a path", []harness.Stage{{Name: "../a", Tolerance: why(0, 0)}}, "cannot be a file's name"},
		{"a hidden file", []harness.Stage{{Name: ".a", Tolerance: why(0, 0)}}, "cannot be a file's name"},
		{"no reason", []harness.Stage{{Name: "a"}}, "without a reason"},
		{"a negative tolerance", []harness.Stage{{Name: "a", Tolerance: why(-1, 0)}}, "tolerance"},
		{"a tolerance that is no number", []harness.Stage{{Name: "a", Tolerance: why(0, math.NaN())}}, "tolerance"},
		{"a tolerance that passes everything", []harness.Stage{{Name: "a", Tolerance: why(math.Inf(1), 0)}}, "tolerance"},
		{"a tolerance for ids", []harness.Stage{{Name: "a", IDs: true, Tolerance: why(1, 0)}}, "ids compare exactly"},
	} {
		if _, err := harness.NewSchedule(c.stages); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.reason, err)
		}
	}
}

func TestScheduleIsExecutionOrder(t *testing.T) {
	s := harnesstest.MustSchedule(t, "h.9", "h.10", "a", "next_id")
	if i, ok := s.Index("h.10"); !ok || i != 1 {
		t.Errorf("h.10 at %d, %v", i, ok)
	}
	if _, ok := s.Index("h.11"); ok {
		t.Error("h.11 is a stage")
	}
	if st, ok := s.Stage("next_id"); !ok || !st.IDs || st.Tolerance.Reason == "" {
		t.Errorf("next_id: %+v, %v", st, ok)
	}
	if got := s.Sorted([]string{"zz", "a", "h.10", "aa", "h.9"}); !slices.Equal(got, []string{"h.9", "h.10", "a", "aa", "zz"}) {
		t.Errorf("sorted: %v", got)
	}
	s.Stages()[0].Name = "changed"
	if s.Stages()[0].Name != "h.9" || len(s.Stages()) != 4 {
		t.Error("the schedule can be changed from outside")
	}
}

func TestUnravel(t *testing.T) {
	shape := []int{2, 3, 4}
	for flat := range 24 {
		index := shapes.Index(flat, shape)
		if got := (index[0]*3+index[1])*4 + index[2]; got != flat {
			t.Errorf("shapes.Index(%d) = %v", flat, index)
		}
	}
	if got := shapes.Index(0, []int{}); len(got) != 0 {
		t.Errorf("of a scalar: %v", got)
	}
}

package harness

import "testing"

// An unwanted stage costs nothing but the call.
func TestUnwantedStagesAllocateNothing(t *testing.T) {
	s, err := NewSchedule([]Stage{{Name: "a", Tolerance: Tolerance{Reason: "test"}}})
	if err != nil {
		t.Fatal(err)
	}
	never := NewRecorder(RecorderOptions{Schedule: s, Match: func(int, string) bool { return false }})
	never.Step(0)
	shape, data := []int{1 << 16}, make([]float32, 1<<16)
	if n := testing.AllocsPerRun(100, func() {
		clear(never.tapped) // the same stage again
		never.Tap("a", shape, data)
	}); n > 0 {
		t.Errorf("%v allocations for a stage that is not wanted", n)
	}
}

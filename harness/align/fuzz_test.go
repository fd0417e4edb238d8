package align

import "testing"

// FuzzLayout asks that a layout is refused, or that the shape which lengths of its axes
// give is one from which those lengths are learned.
func FuzzLayout(f *testing.F) {
	for _, text := range []string{"B H T D", "B T (3 H D)", "(B T) C", "1", "B B", "((B) T)", "B (H", "999999 B", ""} {
		f.Add(text, uint8(2), uint8(3))
	}
	f.Fuzz(func(t *testing.T, text string, a, b uint8) {
		l, err := parseLayout(text)
		if err != nil {
			return
		}
		s := Sizes{}
		for i, axis := range l.axes() {
			if _, ok := s.length(axis); !ok {
				s[axis] = []int{int(a), int(b)}[i%2]%7 + 1
			}
		}
		shape, ok := l.shape(s)
		if !ok || len(shape) == 0 {
			t.Fatalf("%q with %v has no shape", text, s)
		}
		learned := Sizes{}
		if !learned.Learn(text, shape) {
			t.Errorf("%q cannot have its own shape %v", text, shape)
		}
		for axis, n := range learned {
			if s[axis] != n {
				t.Errorf("%q: of shape %v is learned that %s is %d, not %d", text, shape, axis, n, s[axis])
			}
		}
		if _, exact, ok := l.fit(shape, s, "B", "S"); !exact || !ok {
			t.Errorf("%q does not fit its own shape %v", text, shape)
		}
		if merged, ok := l.mergeBatch("B"); ok && len(merged.dims) != len(l.dims)-1 {
			t.Errorf("%q merged is %q", text, merged.text)
		}
	})
}

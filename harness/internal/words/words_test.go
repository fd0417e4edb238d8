package words

import "testing"

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0 tensors", 1: "1 tensor", 2: "2 tensors"} {
		if got := Count(n, "tensor"); got != want {
			t.Errorf("Count(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestAnd(t *testing.T) {
	for _, c := range []struct {
		want  string
		items []string
	}{{"", nil}, {"a", []string{"a"}}, {"a and b", []string{"a", "b"}}, {"a, b and c", []string{"a", "b", "c"}}} {
		if got := And(c.items); got != c.want {
			t.Errorf("And(%q) = %q, want %q", c.items, got, c.want)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"golden", "candidate", "map"}
	for word, want := range map[string]string{"goldne": "golden", "candidates": "candidate", "golden": "golden", "mpa": "map", "xx": "", "": ""} {
		if got := Nearest(word, 2, names); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}

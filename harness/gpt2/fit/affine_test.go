package fit

import (
	"testing"

	"checkpoint12/model"
)

// TestRatioWords: a ratio is written so that it shows that it is not 1.
func TestRatioWords(t *testing.T) {
	for _, c := range []struct {
		k    float64
		want string
	}{
		{1.0002, "the output is 0.02% larger than the correct one"},
		{0.99985, "the output is 0.015% smaller than the correct one"},
		{1.25, "the output is 1.25 times the correct one"},
		{4, "the output is 4 = √D times the correct one"},
		{0.0625, "the output is 0.0625 = 1/D times the correct one"},
		{-1, "the output is the correct one with its sign changed"},
		{-0.75, "the output is -0.75 times the correct one"},
		{-1e-6, "the output is -1e-06 times the correct one"},
	} {
		text, k := Spell(model.Config{Embd: 64, Heads: 4, Layers: 3, Vocab: 331}, c.k, 0)
		if got := ratioWords(text, k); got != c.want {
			t.Errorf("%v: got %q, want %q", c.k, got, c.want)
		}
	}
}

// TestRoundest: of the numbers in an interval that of fewest digits is taken.
func TestRoundest(t *testing.T) {
	for _, c := range []struct{ lo, hi, want float64 }{
		{2.9, 3.2, 3}, {1.49, 1.52, 1.5}, {9.7e-6, 1.04e-5, 1e-5}, {-0.31, -0.29, -0.3}, {65503.2, 65504.5, 65504}, {7.2, 7.2, 7.2}, {0.12, 0.17, 0.15}, {9.9, 10.3, 10},
	} {
		if got := roundest(c.lo, c.hi); got != c.want {
			t.Errorf("from %v to %v: %v, want %v", c.lo, c.hi, got, c.want)
		}
	}
}

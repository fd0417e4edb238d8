package fit

import (
	"math"
	"strconv"
	"strings"
	"testing"

	"checkpoint12/model"
)

// TestSpell: a number is written with the expressions that give it, near ones alone.
func TestSpell(t *testing.T) {
	cfg := model.Config{Layers: 3, Heads: 4, Embd: 80, Vocab: 211}
	for _, c := range []struct {
		k     float64
		want  string
		meant float64
	}{
		{1.11803, "1.118 = √20/4 = √D/⌊√D⌋", math.Sqrt(20) / 4},
		{0.89443, "0.89443", 0.89443}, // as ⌊√D⌋/√D, which no engine comes by
		{0.91287, "0.91287 = √(20/24)", math.Sqrt(20.0 / 24)},
		{0.4082483, "0.40825 = 1/√(2L)", 1 / math.Sqrt(6)},
		{-0.4082483, "-0.40825 = -1/√(2L)", -1 / math.Sqrt(6)},
		{0.3333333, "0.33333 = 1/L", 1.0 / 3},
		{2.00001, "2", 2},
		{1.70201, "1.702", 1.702},
		{0.93817, "0.93817", 0.93817},
		{0.5, "0.5", 0.5},
		{0.05, "0.05 (also 1/D here)", 0.05},
		{0.577350, "0.57735 = 1/√L", 1 / math.Sqrt(3)},
		{0.5773503 / 2, "0.28868", 0.5773503 / 2}, // 1/√(n+1) in layer 11, which one layer does not show
	} {
		text, meant := Spell(cfg, c.k, 0)
		if text != c.want || math.Abs(meant-c.meant) > 1e-9 {
			t.Errorf("%v: %q, %v, want %q, %v", c.k, text, meant, c.want, c.meant)
		}
	}
}

// TestDivisors: what q·k is divided by is written with all expressions that give it.
func TestDivisors(t *testing.T) {
	cfg := model.Config{Layers: 3, Heads: 4, Embd: 80, Vocab: 211}
	for _, c := range []struct{ by, divisor, names string }{
		{"4", "4", "H, at this config also L+1 and ⌊√D⌋"},
		{"√40", "√40", "√(2D), at this config also √(C/2)"},
		{"√80", "√80", "√C, at this config also 2√D"},
		{"20", "20", "D"},
		{"√24", "√24", "√24, of heads padded to 24 channels"},
		{"√32", "√32", "√32, of heads padded to 32 channels"},
		{"7", "7", ""},
		{"1", "1", ""},
	} {
		n, root := strings.CutPrefix(c.by, "√")
		by, _ := strconv.ParseFloat(n, 64)
		if !root {
			by *= by
		}
		divisor, names := Divisors(cfg, 0, math.Sqrt(20/by))
		text := ""
		if len(names) > 0 {
			text = alsoNamed(names)
		}
		if divisor != c.divisor || text != c.names {
			t.Errorf("q·k/%s: %s, %q, want %s, %q", c.by, divisor, text, c.divisor, c.names)
		}
	}
}

package fit

import (
	"fmt"
	"math"
	"strconv"

	"checkpoint12/harness/internal/words"
	"checkpoint12/model"
)

// sameNumber is the relative difference up to which a number that was read off values is that
// of an expression.
const sameNumber = 1e-4

// An expression is a number that the config gives, and how it is written.
type expression struct {
	value float64
	text  string
}

// usual is how many of the expressions engines come by even where they are round numbers: those
// of D and of C.
const usual = 8

// expressions lists the numbers that engines come by, in layer n of the model or, for -1,
// outside the blocks, the plainest first.
func expressions(cfg model.Config, layer int) (all []expression) {
	add := func(value float64, text string) { all = append(all, expression{value, text}) }
	D := float64(cfg.Embd / cfg.Heads)
	sizes := []expression{
		{D, "D"}, {float64(cfg.Embd), "C"}, {float64(cfg.Heads), "H"}, {float64(cfg.Layers), "L"},
		{2 * float64(cfg.Layers), "(2L)"}, {float64(cfg.Vocab), "V"},
	}
	for _, s := range sizes {
		add(math.Sqrt(s.value), "√"+s.text)
		add(1/math.Sqrt(s.value), "1/√"+s.text)
		add(s.value, s.text)
		add(1/s.value, "1/"+s.text)
	}
	add(float64(cfg.Layers)+1, "L+1")
	add(1/(float64(cfg.Layers)+1), "1/(L+1)")
	add(math.Sqrt(math.Sqrt(D)), "√√D")
	add(1/math.Sqrt(math.Sqrt(D)), "1/√√D")
	if n := math.Floor(math.Sqrt(D)); n*n != D {
		add(math.Sqrt(D)/n, fmt.Sprintf("√%v/%v = √D/⌊√D⌋", D, n))
	}
	for _, wide := range padded(D) {
		add(math.Sqrt(D/wide), fmt.Sprintf("√(%v/%v)", D, wide))
	}
	if layer > 0 {
		n := float64(layer + 1)
		add(n, "n+1 in layer n")
		add(1/n, "1/(n+1) in layer n")
		add(math.Sqrt(n), "√(n+1) in layer n")
		add(1/math.Sqrt(n), "1/√(n+1) in layer n")
	}
	for _, c := range []expression{
		{math.Ln2, "ln 2"}, {math.Log2E, "1/ln 2"}, {math.Ln10, "ln 10"}, {math.Log10E, "1/ln 10"}, {math.Sqrt2, "√2"},
		{1 / math.Sqrt2, "1/√2"}, {math.Sqrt(2 / math.Pi), "√(2/π)"}, {math.Pi, "π"}, {math.E, "e"},
	} {
		add(c.value, c.text)
	}
	return all
}

// padded returns how many channels heads of D have that are filled up to a multiple of a power of 2.
func padded(D float64) (all []float64) {
	last := D
	for of := 8.0; of < 2*D; of *= 2 {
		if wide := math.Ceil(D/of) * of; wide != last && wide < 2*D {
			last = wide
			all = append(all, wide)
		}
	}
	return all
}

// Spell returns a number read off values as an engineer would write it, with the expressions of
// the config that give it, and the number that was meant: that of the first expression, or one
// of few digits. None names the layer's number, of which one layer shows no law. slack is the relative difference up to which it is that; 0 is sameNumber.
func Spell(cfg model.Config, k, slack float64) (text string, meant float64) {
	if slack == 0 {
		slack = sameNumber
	}
	near := func(v float64) bool { return math.Abs(k-v) <= slack*math.Abs(v) }
	for digits := 1; digits <= 4; digits++ {
		text := strconv.FormatFloat(k, 'g', digits, 64)
		if v, _ := strconv.ParseFloat(text, 64); near(v) && digits < 4 || digits == 4 && math.Abs(k-v) <= slack/10*math.Abs(v) {
			k = v
			break
		}
	}
	text, meant = fmt.Sprintf("%.5g", k), k
	few, _ := strconv.ParseFloat(strconv.FormatFloat(k, 'g', 2, 64), 64)
	if k == math.Trunc(k) && math.Abs(k) <= 3 {
		return text, meant // which needs no expression
	}
	sign := ""
	if k < 0 {
		sign = "-"
	}
	var names []string
	for i, e := range expressions(cfg, -1) {
		if few == k && i >= usual {
			break // somebody chose a round number
		}
		if math.Abs(math.Abs(k)-e.value) > slack*e.value {
			continue
		}
		if names = append(names, sign+e.text); len(names) == 1 {
			meant = math.Copysign(e.value, k)
		}
	}
	switch one, _ := strconv.ParseFloat(strconv.FormatFloat(k, 'g', 1, 64), 64); {
	case len(names) == 0:
	case one == k && math.Abs(k) < 1: // which is its own name first
		text += " (also " + words.And(names) + " here)"
	default:
		text += " = " + alsoNamed(names)
	}
	return text, meant
}

// alsoNamed spells expressions that give the same at a config.
func alsoNamed(names []string) string {
	if len(names) == 1 {
		return names[0]
	}
	return names[0] + ", at this config also " + words.And(names[1:])
}

// Divisors returns what q·k is divided by in a layer where the scores are k times the correct ones,
// and the expressions of the config that give it, the plainest first.
func Divisors(cfg model.Config, layer int, k float64) (divisor string, names []string) {
	by := 1 / (k * cfg.AttentionScale(layer))
	is := func(v float64) bool { return math.Abs(by-v) <= 10*sameNumber*v }
	if divisor = fmt.Sprintf("%.5g", by); is(math.Round(by)) {
		divisor = fmt.Sprint(math.Round(by))
	} else if is(math.Sqrt(math.Round(by * by))) {
		divisor = fmt.Sprintf("√%v", math.Round(by*by))
	}
	D, C, H, L := float64(cfg.Embd/cfg.Heads), float64(cfg.Embd), float64(cfg.Heads), float64(cfg.Layers)
	all := []expression{{math.Sqrt(D), "√D"}, {D, "D"}, {math.Sqrt(C), "√C"}, {C, "C"}}
	for _, wide := range padded(D) {
		all = append(all, expression{math.Sqrt(wide), fmt.Sprintf("√%v, of heads padded to %[1]v channels", wide)})
	}
	for _, e := range append(all, []expression{
		{H, "H"}, {math.Sqrt(H), "√H"}, {L, "L"}, {L + 1, "L+1"}, {2 * L, "2L"},
		{math.Sqrt(math.Sqrt(D)), "√√D"}, {2 * math.Sqrt(D), "2√D"}, {math.Sqrt(D) / 2, "√D/2"}, {math.Sqrt(2 * D), "√(2D)"}, {math.Sqrt(D / 2), "√(D/2)"},
		{math.Sqrt(C / 2), "√(C/2)"}, {math.Sqrt(2 * C), "√(2C)"}, {2 * D, "2D"}, {D / 2, "D/2"}, {math.Floor(math.Sqrt(D)), "⌊√D⌋"},
	}...) {
		if by > 1+sameNumber && is(e.value) {
			names = append(names, e.text)
		}
	}
	return divisor, names
}

// divided says what q·k is divided by where the scores of the stage's layer are k times the correct
// ones; "" where the config does not give it.
func (s *Stage) divided(k float64) string {
	by, names := Divisors(s.Model.Config(), stageName(s.Name).Layer, k)
	if len(names) == 0 {
		return ""
	}
	return "; that is q·k divided by " + by + ", which is " + alsoNamed(names)
}

// Expressions returns the expressions of the config that give a number, in layer n of the model or,
// for -1, outside the blocks, the plainest first.
func Expressions(cfg model.Config, layer int, k float64) (all []string) {
	for _, e := range expressions(cfg, layer) {
		if math.Abs(k-e.value) <= sameNumber*e.value {
			all = append(all, e.text)
		}
	}
	return all
}

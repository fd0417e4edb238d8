package faults

import (
	"fmt"
	"math"
	"slices"

	"checkpoint12/harness/gpt2/fit"
	"checkpoint12/harness/internal/words"
	"checkpoint12/model"
)

// A factor is the number by which a fault multiplies the correct output.
type factor struct {
	text string // as fit.Expressions has it; "" is none of these
	of   func(cfg model.Config, layer int) float64
}

// factors are those of the faults of the catalogue that are one number.
var factors = map[string]*factor{
	"scale_missing": {"√D", func(cfg model.Config, _ int) float64 { return math.Sqrt(float64(cfg.Embd / cfg.Heads)) }},
	"scale_d":       {"1/√D", func(cfg model.Config, _ int) float64 { return 1 / math.Sqrt(float64(cfg.Embd/cfg.Heads)) }},
	"scale_c":       {"1/√H", func(cfg model.Config, _ int) float64 { return 1 / math.Sqrt(float64(cfg.Heads)) }},
}

// also returns a sentence on the other expressions that give a factor at this config, in all of the
// layers that have it; "" if there is none.
func (f *factor) also(cfg model.Config, layers []int) string {
	if f == nil || len(layers) == 0 {
		return ""
	}
	k := f.of(cfg, layers[0])
	by, divisors := fit.Divisors(cfg, layers[0], k)
	all := fit.Expressions(cfg, layers[0], k)
	for _, layer := range layers[1:] {
		k := f.of(cfg, layer)
		_, others := fit.Divisors(cfg, layer, k)
		divisors, all = common(divisors, others), common(all, fit.Expressions(cfg, layer, k))
	}
	own, text := f.text, ""
	if all = slices.DeleteFunc(all, func(text string) bool { return text == own }); own == "" && len(all) > 0 {
		own, all = all[0], all[1:]
	}
	if len(all) > 0 {
		text = fmt.Sprintf("; that is %.5g = %s times the correct output, at this config also %s", k, own, words.And(all))
	}
	if len(divisors) > 1 {
		text += fmt.Sprintf("; q·k is divided by %s, which is %s, at this config also %s", by, divisors[0], words.And(divisors[1:]))
	}
	return text
}

// common returns those of the first list that the other has.
func common(a, b []string) []string {
	return slices.DeleteFunc(a, func(text string) bool { return !slices.Contains(b, text) })
}

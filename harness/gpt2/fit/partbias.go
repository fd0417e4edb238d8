package fit

import (
	"fmt"
	"strings"

	"checkpoint12/harness/internal/words"
	"checkpoint12/model"
)

// A biasUse is what stands in the place of the bias in some channels of a product.
type biasUse struct {
	text string // with %s for the channels; "" where it is right
	of   func(own []float32, c int) float64
}

// partBiases proposes that a product's bias is right in some channels and left out, subtracted or added
// twice in others: in thirds of c_attn, where it may be that of another third, or in one range.
func (p *values) partBiases() []Hypothesis {
	own, n := ownBiasOf(&p.Stage), p.width
	s, _ := model.ParseStage(p.Name)
	if p.Part != nil || len(own) != n || strings.HasPrefix(s.Word, "ln_") {
		return nil
	}
	uses := []biasUse{
		{"", func(own []float32, c int) float64 { return float64(own[c]) }},
		{"the bias is left out in %s", func([]float32, int) float64 { return 0 }},
		{"the bias is subtracted in %s", func(own []float32, c int) float64 { return -float64(own[c]) }},
		{"the bias is added twice in %s", func(own []float32, c int) float64 { return 2 * float64(own[c]) }},
	}
	lo, hi, wrong := n, 0, map[int]bool{}
	for _, i := range p.wrong {
		lo, hi, wrong[i%n] = min(lo, i%n), max(hi, i%n+1), true
	}
	if 2*len(wrong) <= n {
		return nil // then it is a part of the channels that has something
	}
	ends, numbers := []int{0, lo, hi, n}, 2
	named := func([]int) string { return fmt.Sprintf("channels %d to %d", lo, hi-1) }
	if s.Word == "attn.c_attn" {
		const thirds = "qkv"
		C := n / len(thirds)
		ends, numbers = []int{0, C, 2 * C, n}, 0
		named = func(some []int) string {
			var names []string
			for _, t := range some {
				names = append(names, thirds[t:t+1])
			}
			if len(some) == 1 {
				return "the " + names[0] + " third"
			}
			return "the " + words.And(names) + " thirds"
		}
		for t := range thirds {
			uses = append(uses, biasUse{"the bias of the " + thirds[t:t+1] + " third is added in %s", func(own []float32, c int) float64 { return float64(own[t*C+c%C]) }})
		}
	}
	with := make([]int, n) // uses, by channel
	some := make([][]int, len(uses))
	for k := range ends[1:] {
		in := *p
		in.at, in.worst = nil, nil
		for _, i := range p.at {
			if c := i % n; ends[k] <= c && c < ends[k+1] {
				in.at = append(in.at, i)
			}
		}
		u := 0
		for u < len(uses) && !in.holds(func(i int) float64 {
			return float64(p.Right[i]) - float64(own[i%n]) + uses[u].of(own, i%n)
		}) {
			u++
		}
		if u == len(uses) {
			return nil
		}
		some[u] = append(some[u], k)
		for c := ends[k]; c < ends[k+1]; c++ {
			with[c] = u
		}
	}
	var parts []string
	for u, k := range some {
		if len(k) == len(ends)-1 || lo == 0 && hi == n && numbers > 0 {
			return nil // then it is so in all channels
		}
		if len(k) > 0 && uses[u].text != "" {
			parts = append(parts, fmt.Sprintf(uses[u].text, named(k)))
		}
	}
	if len(parts) == 0 {
		return nil
	}
	text := words.And(parts) + ": add each channel's own once"
	return []Hypothesis{{ID: PatternBias, Text: text, Numbers: numbers, Output: func(at *Stage) []float32 {
		own, right := ownBiasOf(at), at.Correct()
		if len(own) != n || len(right)%n != 0 {
			return nil
		}
		out := make([]float32, len(right))
		for i, v := range right {
			out[i] = float32(float64(v) - float64(own[i%n]) + uses[with[i%n]].of(own, i%n))
		}
		return out
	}}}
}

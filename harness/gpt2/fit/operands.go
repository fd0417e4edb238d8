package fit

import (
	"fmt"
	"slices"
	"strings"

	"checkpoint12/harness/internal/shapes"
	"checkpoint12/model"
)

// The ids of a stage's own function on other operands than its own.
const (
	PatternOtherWeights = "pattern_other_weights"
	PatternOtherInput   = "pattern_other_input"
)

func init() {
	for _, word := range []string{"attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj", "logits"} {
		searches[word] = append(searches[word], otherOperands)
	}
	for _, word := range []string{"ln_1", "ln_2", "ln_f"} {
		searches[word] = append(searches[word], otherNorms)
	}
}

// A donor is a stage of which the weights stand in the place of a stage's own.
type donor struct {
	stage string // seen from the row's
	text  string
	of    func(s *Stage) string // the donor as seen from a stage; "" is none
	own   bool
	extra int // numbers
}

// donors returns the stages of the same words as donors: as seen from the row's, and for other
// layers also by their own names, as where every layer has those of layer 0.
func (r *Row) donors(words ...string) (all []donor) {
	cfg := r.Model.Config()
	here, _ := model.ParseStage(r.Name)
	for _, name := range model.StageNames(cfg, nil) {
		s, _ := model.ParseStage(name)
		if !slices.Contains(words, s.Word) {
			continue
		}
		kind := seenFrom(cfg, here, name)
		all = append(all, donor{stage: name, text: kind, own: name == r.Name, of: func(s *Stage) string {
			at, _ := model.ParseStage(s.Name)
			return asSeen(cfg, at, kind)
		}})
		if here.Layer >= 0 && s.Layer >= 0 && s.Layer != here.Layer {
			all = append(all, donor{stage: name, text: name, extra: 1, of: func(*Stage) string { return name }})
		}
	}
	return all
}

// apply returns what a stage's correct function gives on one input.
func (s *Stage) apply(stage string, x []float32) []float32 {
	if len(x) == 0 {
		return nil
	}
	shape, err := model.Shape(s.Model.Config(), stage, s.Dims)
	if err != nil {
		return nil
	}
	out := make([]float32, shapes.Product(shape))
	if s.Model.Apply(stage, s.Dims, func(string) []float32 { return x }, out) != nil {
		return nil
	}
	return out
}

// otherOperands proposes other tensors of the step as the input of a product, and other weights
// and biases.
func otherOperands(r *Row) (all []Hypothesis) {
	own, ok := matrixOf(r.Model, r.Name)
	if !ok {
		return nil
	}
	p := r.probe(own.out)
	if p == nil {
		return nil
	}
	here, _ := model.ParseStage(r.Name)
	inputs, donors := append(r.inputsOf(p, own.in), r.normed(p, own.in)...), r.donors(here.Word)
	type weights struct {
		donor
		matrix
		flipped bool
		cols    [][]float64 // of the probe
	}
	var given []weights
	for _, d := range donors {
		x, ok := matrixOf(r.Model, d.stage)
		if !ok || x.in != own.in || x.out != own.out {
			continue
		}
		given = append(given, weights{donor: d, matrix: x})
		if x.in == x.out && d.own {
			given = append(given, weights{donor: d, matrix: x.transposed(), flipped: true})
		}
	}
	for i := range given {
		for _, j := range p.cols {
			col := make([]float64, own.in)
			for k := range col {
				col[k] = given[i].at(k, j)
			}
			given[i].cols = append(given[i].cols, col)
		}
	}
	belongs := seenFrom(r.Model.Config(), here, model.Reads(r.Model.Config(), r.Name)[0])
	for _, x := range inputs {
		for _, w := range given {
			if !x.own && !(w.own && !w.flipped) && !(w.extra == 0 && x.from.Layer >= 0 && strings.HasPrefix(w.stage, fmt.Sprintf("h.%d.", x.from.Layer))) {
				continue
			}
			sums := make([]float64, len(p.cols))
			for n := range sums {
				for k, v := range x.row {
					sums[n] += float64(v) * w.cols[n][k]
				}
			}
			for b := -1; b < len(given); b++ {
				if b >= 0 && given[b].flipped || b == -1 && (own.bias == nil || x.own && w.own && !w.flipped) {
					continue
				}
				if x.own && w.own && !w.flipped && b >= 0 && given[b].own {
					continue // the correct function
				}
				if !p.gives(func(n, j int) float64 {
					if b < 0 {
						return sums[n]
					}
					return sums[n] + given[b].biasAt(j)
				}) {
					continue
				}
				h := Hypothesis{ID: PatternOtherWeights, Numbers: w.extra}
				var parts []string
				if !x.own {
					h.ID = PatternOtherInput
					parts = append(parts, fmt.Sprintf("it reads %s, where %s belongs", x.text, belongs))
				}
				switch {
				case w.flipped:
					parts = append(parts, "its weight is transposed: GPT-2's Conv1D stores [in, out]")
				case !w.own && b >= 0 && given[b].stage == w.stage:
					parts = append(parts, "it has the weights of "+w.text+": check which weights each layer is given")
				case !w.own:
					parts = append(parts, "its matrix is that of "+w.text+": check which weights each layer is given")
				}
				var bias *weights
				switch {
				case b < 0:
					parts = append(parts, "no bias is added")
				case given[b].stage == w.stage:
					bias = &w
				case given[b].own:
					parts = append(parts, "its bias is its own")
					bias = &given[b]
				default:
					parts = append(parts, "its bias is that of "+given[b].text)
					bias = &given[b]
					h.Numbers += bias.extra
				}
				h.Numbers += len(parts) - 1
				h.Text = strings.Join(parts, "; ")
				h.Output = func(s *Stage) []float32 {
					in, of := x.of(s), w.of(s)
					if !w.flipped && bias != nil && bias.stage == w.stage {
						return s.apply(of, in)
					}
					y, ok := matrixOf(s.Model, of)
					if !ok || len(in) == 0 {
						return nil
					}
					if w.flipped {
						y = y.transposed()
					}
					sum := y.times(in)
					if bias != nil {
						added, ok := matrixOf(s.Model, bias.of(s))
						if !ok {
							return nil
						}
						for i := range sum {
							sum[i] += added.biasAt(i % y.out)
						}
					}
					return rounded(sum)
				}
				all = append(all, h)
			}
		}
	}
	return all
}

// otherNorms proposes other tensors of the step as the input of a norm, and the weights of other
// norms.
func otherNorms(r *Row) (all []Hypothesis) {
	cfg := r.Model.Config()
	C := cfg.Embd
	p := r.probe(C)
	if p == nil {
		return nil
	}
	here, _ := model.ParseStage(r.Name)
	donors := r.donors("ln_1", "ln_2", "ln_f")
	weight := func(of string) (gain, bias []float32) {
		gain, _, _ = r.Model.Weight(of + ".weight")
		bias, _, _ = r.Model.Weight(of + ".bias")
		return gain, bias
	}
	belongs := seenFrom(cfg, here, model.Reads(cfg, r.Name)[0])
	for _, x := range r.inputsOf(p, C) {
		mean, scale := moments(x.row, cfg.Eps)
		for _, g := range donors {
			if !x.own && !g.own && (g.extra > 0 || !strings.HasPrefix(g.stage, fmt.Sprintf("h.%d.%s", x.from.Layer, here.Word))) {
				continue
			}
			gain, _ := weight(g.stage)
			for _, b := range donors {
				if x.own && g.own && b.own || b.stage != g.stage && !b.own && !g.own || b.stage == g.stage && b.extra != g.extra {
					continue
				}
				_, bias := weight(b.stage)
				if len(gain) != C || len(bias) != C || !p.gives(func(_, j int) float64 {
					return (float64(x.row[j])-mean)*scale*float64(gain[j]) + float64(bias[j])
				}) {
					continue
				}
				h := Hypothesis{ID: PatternOtherWeights, Numbers: g.extra + b.extra}
				var parts []string
				if !x.own {
					h.ID = PatternOtherInput
					parts = append(parts, fmt.Sprintf("it reads %s, where %s belongs", x.text, belongs))
				}
				switch {
				case g.own && b.own:
				case g.stage == b.stage:
					parts = append(parts, "it has the weights of "+g.text+": check which weights each norm is given")
					h.Numbers = g.extra
				case b.own:
					parts = append(parts, "its gain is that of "+g.text+", its bias its own")
				default:
					parts = append(parts, "its bias is that of "+b.text+", its gain its own")
				}
				h.Numbers += len(parts) - 1
				h.Text = strings.Join(parts, "; ")
				h.Output = func(s *Stage) []float32 {
					in, gain, bias := x.of(s), g.of(s), b.of(s)
					out := s.apply(gain, in)
					if gain == bias || out == nil {
						return out
					}
					_, from := weight(gain)
					_, to := weight(bias)
					if len(from) != C || len(to) != C {
						return nil
					}
					for i := range out {
						out[i] = float32(float64(out[i]) - float64(from[i%C]) + float64(to[i%C]))
					}
					return out
				}
				all = append(all, h)
			}
		}
	}
	return all
}

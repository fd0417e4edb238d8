package faults

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/names"
	"checkpoint12/model"
)

// mostCompared is how many values a tensor may have to be looked for among all
// others of the dump.
const mostCompared = 1 << 18

// copied: the output is another tensor of the candidate's, of the same step or,
// for its own kind of stage, of an earlier one.
func (g *rowGroup) copied(e *wrongRow) (string, float64, string) {
	if len(e.got) > mostCompared || e.base.odd > 0 {
		return "", 0, ""
	}
	if first := e.got[0]; !slices.ContainsFunc(e.got, func(v float32) bool { return v != first }) {
		return "", 0, "" // any constant is equal to some other
	}
	order := model.StageNames(g.model.Config(), nil)
	for _, at := range g.alike(e.got) {
		switch {
		case at == e.Place || at.Step > e.Step || moves(e.Stage, at.Stage):
		case at.Step < e.Step && kind(at.Stage) == kind(e.Stage):
			return PatternCopy, 1, fmt.Sprintf("the output is %s of step %d: a buffer that was not written again", at.Stage, at.Step)
		case at.Step < e.Step:
		case slices.Index(order, at.Stage) > slices.Index(order, e.Stage):
			return PatternCopy, 1, fmt.Sprintf("the output is that of %s, which comes later: the buffer was written over before it was kept; copy it in the hook", at.Stage)
		default:
			return PatternCopy, 1, fmt.Sprintf("the output is that of %s: the wrong buffer was read or written", at.Stage)
		}
	}
	return "", 0, ""
}

// moves says whether one of two stages is rightly equal to the other.
func moves(a, b string) bool {
	for _, pair := range [][2]string{{"logits", "logits_last"}, {"attn.k", "attn.cache_k"}, {"attn.v", "attn.cache_v"}} {
		if kind(a) == pair[0] && kind(b) == pair[1] || kind(b) == pair[0] && kind(a) == pair[1] {
			return true
		}
	}
	return false
}

// alike are the candidate's tensors with these very values, in order. All are
// read once, when this is first asked.
func (s *candidateRun) alike(x []float32) []harness.Place {
	s.once.Do(func() {
		s.seed, s.prints = maphash.MakeSeed(), map[uint64][]harness.Place{}
		for _, step := range s.candidate.Steps() {
			for _, stage := range s.candidate.Stages(step) {
				shape, _ := s.candidate.Shape(step, stage)
				if product(shape) > mostCompared {
					continue
				}
				if t, err := s.candidate.Tensor(step, stage); err == nil && !t.IDs() {
					print := s.print(t.F32)
					s.prints[print] = append(s.prints[print], harness.Place{Step: step, Stage: stage})
				}
			}
		}
	})
	return s.prints[s.print(x)]
}

// print is a hash of values.
func (s *candidateRun) print(x []float32) uint64 {
	var h maphash.Hash
	h.SetSeed(s.seed)
	var b [4]byte
	for _, v := range x {
		binary.LittleEndian.PutUint32(b[:], math.Float32bits(v))
		h.Write(b[:])
	}
	return h.Sum64()
}

// elsewhere: the stage's function with the weights, or with the inputs, of
// another place in the model.
func (g *rowGroup) elsewhere(e *wrongRow, full bool) (string, float64, string) {
	tries := g.otherPlaces(e)
	some := g.sample(e)
	if cost := g.cost(some); cost >= heavy {
		if !full {
			tries = slices.DeleteFunc(tries, func(f Fault) bool { return !slices.Contains(g.causes, f.ID) })
		}
		g.spent += cost * float64(len(tries))
	}
	best := g.try(some, tries)
	if len(best) == 0 {
		return "", 0, ""
	}
	if !slices.Contains(g.causes, best[0].fault.ID) {
		g.causes = append(g.causes, best[0].fault.ID)
	}
	id, _, _ := strings.Cut(best[0].fault.ID, " ")
	return id, best[0].explains, best[0].fault.Text
}

// otherPlaces are the stages of the span with what belongs to other stages of
// their kind, as faults that no catalogue lists. Their ids are a pattern's and,
// after a space, how far off the other stage is.
func (g *rowGroup) otherPlaces(e *wrongRow) []Fault {
	cfg := g.model.Config()
	var all []Fault
	for _, stage := range e.Span {
		layer, inBlock := layerOf(stage)
		for _, other := range kin(stage, cfg.Layers) {
			if other == stage {
				continue
			}
			n, _ := layerOf(other)
			relation := fmt.Sprintf("%s by %d", kind(other), n-layer)
			if !inBlock {
				relation = other
			}
			if slices.ContainsFunc(weighted, func(p string) bool { return names.Match(p, stage) }) {
				all = append(all, Fault{
					ID: PatternOtherWeights + " " + relation, Stages: []string{stage},
					Text: fmt.Sprintf("%s with the weights of %s gives it: check which weights each layer is given", stage, other),
					Run:  func(c *Context) [][]float32 { return one(c.as(other, c.Stage)) },
				})
			}
			if kind(other) != kind(stage) || n > layer {
				continue // what comes later is computed from this very output
			}
			all = append(all, Fault{
				ID: PatternOtherInput + " " + relation, Stages: []string{stage},
				Text: fmt.Sprintf("%s gives it on the inputs of %s: check what each layer is handed", stage, other),
				Run: func(c *Context) [][]float32 {
					reads := model.Reads(cfg, c.Stage)
					outs := one(c.as(c.Stage, other))
					for i := 0; len(reads) > 1 && i < len(reads); i++ {
						outs = append(outs, c.apply(c.Stage, func(name string) []float32 {
							if name == reads[i] {
								name = model.Reads(cfg, other)[i]
							}
							return c.in(name)
						}))
					}
					return outs
				},
			})
		}
	}
	return all
}

// kin are the stages whose weights, or inputs, are of the same shapes as the
// stage's: the same stage of other layers and, for a norm, every norm.
func kin(stage string, layers int) []string {
	var all []string
	words := []string{kind(stage)}
	switch words[0] {
	case "ln_1", "ln_2", "ln_f":
		words = []string{"ln_1", "ln_2"}
		all = append(all, "ln_f")
	default:
		if _, ok := layerOf(stage); !ok {
			return nil
		}
	}
	for n := range layers {
		for _, w := range words {
			all = append(all, model.StageName{Layer: n, Word: w}.String())
		}
	}
	return all
}

// as is the function and weights of one stage on the inputs of another of its
// kind, each in the place of the other's.
func (c *Context) as(function, inputs string) []float32 {
	cfg := c.Model.Config()
	asked, given := model.Reads(cfg, function), model.Reads(cfg, inputs)
	return c.apply(function, func(name string) []float32 { return c.in(given[slices.Index(asked, name)]) })
}

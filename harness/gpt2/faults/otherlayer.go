package faults

import (
	"fmt"
	"slices"

	"checkpoint12/model"
)

// otherLayer: the stage's function with the weights, or with the inputs, of
// another place in the model. Without search only relations between layers that
// explained another row are tried.
func (g *rowGroup) otherLayer(e *wrongRow, search bool) (string, float64, string) {
	faults := otherPlaces(g.model.Config(), e.Span)
	if !search {
		faults = slices.DeleteFunc(faults, func(f Fault) bool { return !f.isAmong(g.found) })
	}
	matches := g.try(e.some, faults)
	if len(matches) == 0 {
		return "", 0, ""
	}
	g.remember(matches[:1])
	best := matches[0]
	remedy := "check which weights each layer is given"
	if best.fault.ID == PatternOtherInput {
		remedy = "check what each layer is handed"
	}
	return best.fault.ID, best.explains, best.fault.Text + " gives it: " + remedy
}

// otherPlaces are the stages of a span with what belongs to other stages, as
// faults that no catalogue lists.
func otherPlaces(cfg model.Config, span []string) (all []Fault) {
	for _, stage := range span {
		for _, other := range kin(cfg, stage) {
			all = append(all, withOther(cfg, stage, other)...)
		}
	}
	return all
}

// withOther is a stage with the weights, and with the inputs, of another.
func withOther(cfg model.Config, stage, other string) (all []Fault) {
	here, _ := model.ParseStage(stage)
	there, _ := model.ParseStage(other)
	relation := other
	if here.Layer >= 0 {
		relation = fmt.Sprintf("%s, layer %+d", there.Word, there.Layer-here.Layer)
	}
	if model.NeedsWeights(stage) {
		all = append(all, Fault{
			ID: PatternOtherWeights, Stages: []string{stage}, relation: relation,
			Text: fmt.Sprintf("%s with the weights of %s", stage, other),
			Run:  func(c *Context) [][]float32 { return one(c.as(other, stage)) },
		})
	}
	if there.Word != here.Word || there.Layer > here.Layer {
		return all // what comes later is computed from this very output
	}
	return append(all, Fault{
		ID: PatternOtherInput, Stages: []string{stage}, relation: relation,
		Text: fmt.Sprintf("%s on the inputs of %s", stage, other),
		Run: func(c *Context) [][]float32 {
			own, others := model.Reads(cfg, stage), model.Reads(cfg, other)
			outs := one(c.as(stage, other))
			for i := 0; len(own) > 1 && i < len(own); i++ { // or one of several inputs
				outs = append(outs, c.apply(stage, func(name string) []float32 {
					if name == own[i] {
						name = others[i]
					}
					return c.in(name)
				}))
			}
			return outs
		},
	})
}

// kin are the other stages whose weights, or inputs, are of the same shapes as the
// stage's: the same stage of other layers and, for a norm, every norm.
func kin(cfg model.Config, stage string) (all []string) {
	s, _ := model.ParseStage(stage)
	words := []string{s.Word}
	switch s.Word {
	case "ln_1", "ln_2", "ln_f":
		words = []string{"ln_1", "ln_2"}
		all = append(all, "ln_f")
	default:
		if s.Layer < 0 {
			return nil
		}
	}
	for n := range cfg.Layers {
		for _, w := range words {
			all = append(all, model.StageName{Layer: n, Word: w}.String())
		}
	}
	return slices.DeleteFunc(all, func(other string) bool { return other == stage })
}

// as is the function and weights of one stage on the inputs of another of its
// kind, each in the place of the other's.
func (c *Context) as(function, inputs string) []float32 {
	cfg := c.Model.Config()
	asked, given := model.Reads(cfg, function), model.Reads(cfg, inputs)
	return c.apply(function, func(name string) []float32 { return c.in(given[slices.Index(asked, name)]) })
}

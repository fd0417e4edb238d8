package faults

import (
	"fmt"
	"slices"

	"checkpoint12/model"
)

// otherLayer: the stage's function with the weights, or with the inputs, of
// another place in the model. Without search only relations between layers that
// explained another row are tried.
func (g *rowGroup) otherLayer(e *wrongRow, search bool) finding {
	var faults []Fault
	for _, stage := range e.Span {
		for _, other := range kin(g.model.Config(), stage) {
			faults = append(faults, withOther(g.model.Config(), stage, other)...)
		}
	}
	if !search {
		faults = slices.DeleteFunc(faults, func(f Fault) bool { return !f.isAmong(g.found) })
	}
	matches := g.try(e.some, faults)
	if len(matches) == 0 {
		return finding{}
	}
	g.remember(matches[:1])
	best := matches[0]
	remedy := "check which weights each layer is given"
	if best.fault.ID == PatternOtherInput {
		remedy = "check what each layer is handed"
	}
	return finding{best.fault.ID, best.explains, best.fault.Text + " gives it: " + remedy}
}

// withOther is a stage with the weights, and with the inputs, of another, as faults
// that no catalogue lists.
func withOther(cfg model.Config, stage, other string) (all []Fault) {
	here, _ := model.ParseStage(stage)
	there, _ := model.ParseStage(other)
	relation := other
	if here.Layer >= 0 {
		relation = fmt.Sprintf("%s, layer %+d", there.Word, there.Layer-here.Layer)
	}
	own, others := model.Reads(cfg, stage), model.Reads(cfg, other)
	if model.NeedsWeights(stage) {
		all = append(all, Fault{
			ID: PatternOtherWeights, Stages: []string{stage}, relation: relation,
			Text: fmt.Sprintf("%s with the weights of %s", stage, other), variants: []variant{with(other, others, own)},
		})
	}
	if there.Word != here.Word || there.Layer > here.Layer {
		return all // what comes later is computed from this very output
	}
	inputs := []variant{with(stage, own, others)}
	for i := 0; len(own) > 1 && i < len(own); i++ { // or one of several inputs
		inputs = append(inputs, with(stage, own[i:i+1], others[i:i+1]))
	}
	return append(all, Fault{
		ID: PatternOtherInput, Stages: []string{stage}, relation: relation,
		Text: fmt.Sprintf("%s on the inputs of %s", stage, other), variants: inputs,
	})
}

// with is the function of a stage that is given one input in the place of another.
func with(stage string, asked, given []string) variant {
	return func(c *Context) []float32 {
		return c.apply(stage, func(name string) []float32 {
			if i := slices.Index(asked, name); i >= 0 {
				name = given[i]
			}
			return c.in(name)
		})
	}
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

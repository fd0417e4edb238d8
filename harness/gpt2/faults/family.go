package faults

import (
	"fmt"

	"checkpoint12/model"
	"checkpoint12/model/activation"
)

// The ids of faults that are what another config of GPT-2's family asks for.
const (
	Activation     = "activation"      // another activation_function's
	AttentionScale = "attention_scale" // another scale_attn_weights' or scale_attn_by_inverse_layer_idx's
)

// ofFamily returns the faults of an engine that computes what another config than the model's
// asks for. They are looked at where none of the catalogue is the cause. An engine without an
// activation is told by its output, which is a copy of the input.
func ofFamily(cfg model.Config) []Fault {
	var all []Fault
	own := cfg.ActivationFunction()
	for _, f := range activation.Functions() {
		if f == own || f.Name() == "linear" {
			continue
		}
		all = append(all, Fault{
			ID: Activation, Kind: Plain, Stages: []string{"h.*.mlp.act"}, relation: f.Name(), variants: []variant{each(f)},
			Text: fmt.Sprintf("%s in the place of %s, which config.json's activation_function asks for, %s", f.Name(), own.Name(), own.Formula),
		})
	}
	for _, other := range []struct{ unscaled, byLayer bool }{{false, false}, {true, false}, {false, true}, {true, true}} {
		if other.unscaled == cfg.Unscaled && other.byLayer == cfg.ScaleByLayer {
			continue
		}
		scaled := cfg
		scaled.Unscaled, scaled.ScaleByLayer = other.unscaled, other.byLayer
		all = append(all, Fault{
			ID: AttentionScale, Kind: Plain, Stages: []string{"h.*.attn.scores"}, relation: scaleWords(scaled), ofLayer: scaled.ScaleByLayer && !cfg.ScaleByLayer,
			Text: fmt.Sprintf("%s: config.json, by scale_attn_weights and scale_attn_by_inverse_layer_idx, has %s", scaleWords(scaled), scaleWords(cfg)),
			variants: []variant{func(c *Context) []float32 {
				s, _ := model.ParseStage(c.Stage)
				return c.scores(scaled.AttentionScale(s.Layer), 0)
			}},
			factor: &factor{of: func(cfg model.Config, layer int) float64 {
				return scaled.AttentionScale(layer) / cfg.AttentionScale(layer)
			}},
		})
	}
	return all
}

// scaleWords says how a config scales attention.
func scaleWords(cfg model.Config) string {
	switch {
	case cfg.Unscaled && cfg.ScaleByLayer:
		return "q*k/(n+1) in layer n"
	case cfg.ScaleByLayer:
		return "q*k/sqrt(D)/(n+1) in layer n"
	case cfg.Unscaled:
		return "q*k as it is"
	}
	return "q*k/sqrt(D)"
}

// each returns the function of every value of the input, computed in float64.
func each(f *activation.Function) variant {
	return func(c *Context) []float32 {
		out := c.empty()
		for i, v := range c.reads(0) {
			out[i] = float32(f.Of(float64(v)))
		}
		return out
	}
}

// instead returns a function of a name in the place of GPT-2's tanh form of GELU; it changes
// nothing where the config asks for another than that, which is ofFamily's to tell.
func instead(name string) variant {
	f, _ := activation.Named(name)
	return func(c *Context) []float32 {
		if c.Model.Config().ActivationFunction() != activation.Released {
			return nil
		}
		return each(f)(c)
	}
}

// ofReleasedScale returns a variant that changes nothing where the config scales attention in
// another way than by 1/sqrt(D).
func ofReleasedScale(v variant) variant {
	return func(c *Context) []float32 {
		if cfg := c.Model.Config(); cfg.Unscaled || cfg.ScaleByLayer {
			return nil
		}
		return v(c)
	}
}

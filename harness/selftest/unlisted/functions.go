package unlisted

import "math"

// gelu is GELU in its tanh form with other constants, of another hyperbolic tangent if set.
func gelu(v, a, c float64) float64 { return 0.5 * v * (1 + math.Tanh(c*(v+a*v*v*v))) }

func right(v float64) float64 { return gelu(v, 0.044715, rootOf2OverPi) }

const rootOf2OverPi = 0.7978845608028654

// capped is c·tanh(v/c).
func capped(v, c float64) float64 { return c * math.Tanh(v/c) }

// clamp keeps v between -c and c.
func clamp(v, c float64) float64 { return max(-c, min(c, v)) }

// instead is a fault of another function of the one input.
func instead(f func(v float64) float64) func(s *site) []float32 {
	return func(s *site) []float32 { return of(s.in(0), f) }
}

// after is a fault of a function of the right output.
func after(f func(v float64) float64) func(s *site) []float32 {
	return func(s *site) []float32 { return of(s.Right(), f) }
}

const (
	clipped   = "clip|cut|cap|capped|clamp|flat|bounded|constant above|never above|saturat|at most|int8"
	aFunction = "function of"
)

var functions = []Fault{
	{ID: "gelu_clipped_at_3", Stages: "h.*.mlp.act", Words: []string{clipped, "3"},
		Output: after(func(v float64) float64 { return clamp(v, 3) })},
	{ID: "gelu_clipped_at_1_5", Stages: "h.*.mlp.act", Words: []string{clipped, "1.5"},
		Output: after(func(v float64) float64 { return clamp(v, 1.5) })},
	{ID: "gelu_input_capped", Stages: "h.*.mlp.act", Words: []string{clipped, "2|1.954|1.9546"},
		Output: instead(func(v float64) float64 { return right(clamp(v, 2)) })},
	{ID: "gelu_twice", Stages: "h.*.mlp.act", Words: []string{"twice|two times|again|gelu(gelu|own output"},
		Output: after(right)},
	{ID: "gelu_0_05", Stages: "h.*.mlp.act", Words: []string{"0.05"},
		Output: instead(func(v float64) float64 { return gelu(v, 0.05, rootOf2OverPi) })},
	{ID: "gelu_0_0447", Stages: "h.*.mlp.act", Words: []string{"=0.0447"},
		Identity: "a tenth of the tolerance of mlp.act; a replay sees it",
		Output:   instead(func(v float64) float64 { return gelu(v, 0.0447, rootOf2OverPi) })},
	{ID: "gelu_root_0_8", Stages: "h.*.mlp.act", Words: []string{"0.8"},
		Identity: "seven times the tolerance of mlp.act, which erf for tanh exceeds four times",
		Output:   instead(func(v float64) float64 { return gelu(v, 0.044715, 0.8) })},
	{ID: "quick_gelu_1_7", Stages: "h.*.mlp.act", Words: []string{"=1.7", "sigmoid|quick"},
		Output: instead(func(v float64) float64 { return v / (1 + math.Exp(-1.7*v)) })},
	{ID: "swish", Stages: "h.*.mlp.act", Words: []string{"sigmoid|silu|swish", "silu|swish|sigmoid(x)|1"},
		Output: instead(func(v float64) float64 { return v / (1 + math.Exp(-v)) })},
	{ID: "gelu_table_of_256", Stages: "h.*.mlp.act", Words: []string{"table|entries|step|grid|rounded|staircase|few values|quantis|values only|different values"},
		Output: instead(func(v float64) float64 { return right(math.Round(clamp(v, 8)*16) / 16) })},
	{ID: "gelu_whole_below_0", Stages: "h.*.mlp.act", Words: []string{"below 0|negative|x < 0|x<0|less than 0|under 0", double},
		Output: instead(func(v float64) float64 {
			if v < 0 {
				return 2 * right(v)
			}
			return right(v)
		})},
	{ID: "gelu_and_stray_input", Stages: "h.*.mlp.act", Words: []string{"0.01", "input|mlp.c_fc|x"},
		Output: instead(func(v float64) float64 { return right(v) + 0.01*v })},
	{ID: "gelu_pade_tanh", Stages: "h.*.mlp.act", Words: []string{"tanh|approximat|" + aFunction},
		Output: instead(func(v float64) float64 {
			y := rootOf2OverPi * (v + 0.044715*v*v*v)
			return 0.5 * v * (1 + clamp(y*(27+y*y)/(27+9*y*y), 1))
		})},
	{ID: "gelu_wobble", Stages: "h.*.mlp.act", Words: []string{aFunction},
		Output: instead(func(v float64) float64 { y := right(v); return y + 0.003*math.Sin(3*y) })},
	{ID: "softplus", Stages: "h.*.mlp.act", Words: []string{"softplus|log(1|ln(1|" + aFunction},
		Output: instead(func(v float64) float64 { return math.Log1p(math.Exp(v)) })},
	{ID: "elu", Stages: "h.*.mlp.act", Words: []string{"elu|expm1|exp(x)|" + aFunction},
		Output: instead(func(v float64) float64 {
			if v < 0 {
				return math.Expm1(v)
			}
			return v
		})},
	{ID: "relu_squared", Stages: "h.*.mlp.act", Words: []string{"square|²|^2|relu2|" + aFunction},
		Output: instead(func(v float64) float64 { return max(v, 0) * max(v, 0) })},
	{ID: "leaky_relu", Stages: "h.*.mlp.act", Words: []string{"relu|0.01|negative|below 0|" + aFunction},
		Output: instead(func(v float64) float64 { return max(v, 0.01*v) })},
	{ID: "gelu_of_scaled_input", Stages: "h.*.mlp.act", Words: []string{"1.1", "input|x|mlp.c_fc"},
		Output: instead(func(v float64) float64 { return right(1.1 * v) })},
	{ID: "gelu_output_scaled", Stages: "h.*.mlp.act", Words: []string{"1.1|0.909"},
		Output: after(func(v float64) float64 { return 1.1 * v })},
	{ID: "qkv_clipped_at_1_5", Stages: "h.*.attn.c_attn", Words: []string{clipped, "1.5"},
		Output: after(func(v float64) float64 { return clamp(v, 1.5) })},
	{ID: "stream_clipped_at_4", Stages: "h.*.resid_post", Words: []string{clipped, "4"},
		Output: after(func(v float64) float64 { return clamp(v, 4) })},
	{ID: "activations_saturate_at_int8", Stages: "h.*.mlp.c_fc", Words: []string{clipped, "1.984|1.98|127/64"},
		Output: after(func(v float64) float64 { return clamp(v, 127.0/64) })},
	{ID: "logits_softcap_10", Stages: "logits", Words: []string{"tanh|cap|capped|softcap|saturat|bounded|" + aFunction},
		Output: after(func(v float64) float64 { return capped(v, 10) })},
	{ID: "overflow_to_nan_to_0", Stages: "h.*.mlp.c_fc", Words: []string{"0|zero", "above|larger|greater|exceed|beyond|>|large|highest"},
		Output: after(func(v float64) float64 {
			if math.Abs(v) > 2.5 {
				return 0
			}
			return v
		})},
	{ID: "context_rectified", Stages: "h.*.attn.context", Words: []string{"negative|below 0|relu|less than 0|x < 0|under 0|max(", "0|zero|relu"},
		Output: after(func(v float64) float64 { return max(v, 0) })},
	{ID: "queries_absolute", Stages: "h.1.attn.q", Words: []string{"absolute|abs(|negative|below 0|less than 0"},
		Output: after(math.Abs)},
}

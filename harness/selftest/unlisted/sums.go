package unlisted

import (
	"math"

	"checkpoint12/model"
)

// Numbers that are spelt as expressions of the config.
func rootLayers(c model.Config) float64 { return 1 / math.Sqrt(2*float64(c.Layers)) }
func rootWidth(c model.Config) float64  { return math.Sqrt(float64(c.Embd)) }
func rootHead(c model.Config) float64   { return math.Sqrt(float64(c.Embd / c.Heads)) }
func number(v float64) func(model.Config) float64 {
	return func(model.Config) float64 { return v }
}

const (
	theBranch = "branch|attn.c_proj|mlp.c_proj|attention's output|feed-forward"
	theMLP    = "mlp.c_proj|branch|feed-forward"
	theAttn   = "attn.c_proj|branch|attention"
	theStream = "stream|embed|resid_mid|resid_post|block's input|block input|residual"
	double    = "2|twice|two times|doubled|double|once more|a second time|again"
	half      = "0.5|1/2|half|halved"
)

var sums = []Fault{
	{ID: "branch_over_root_2l", Stages: "h.*.resid_*", Number: rootLayers,
		Words:  []string{"#|1/#|√(2L)|sqrt(2L)|√(2·L)|sqrt(2*L)|√(2*L)", theBranch},
		Output: func(s *site) []float32 { return mix(1, s.in(0), rootLayers(s.Config), s.in(1)) }},
	{ID: "wte_twice", Stages: "embed", Words: []string{double, "wte|token embedding"},
		Output: func(s *site) []float32 { return mix(2, s.in(0), 1, s.in(1)) }},
	{ID: "wte_times_root_c", Stages: "embed", Number: rootWidth,
		Words:  []string{"#|√C|sqrt(C)|√(C)", "wte|token embedding"},
		Output: func(s *site) []float32 { return mix(rootWidth(s.Config), s.in(0), 1, s.in(1)) }},
	{ID: "wpe_halved", Stages: "embed", Words: []string{half, "wpe|position"},
		Output: func(s *site) []float32 { return mix(1, s.in(0), 0.5, s.in(1)) }},
	{ID: "wpe_subtracted", Stages: "embed", Words: []string{"-1|minus|subtract|sign", "wpe|position"},
		Output: func(s *site) []float32 { return mix(1, s.in(0), -1, s.in(1)) }},
	{ID: "branch_twice", Stages: "h.*.resid_post", Words: []string{double, theMLP},
		Output: func(s *site) []float32 { return mix(1, s.in(0), 2, s.in(1)) }},
	{ID: "branch_subtracted", Stages: "h.1.resid_mid", Words: []string{"-1|minus|subtract|sign", theAttn},
		Output: func(s *site) []float32 { return mix(1, s.in(0), -1, s.in(1)) }},
	{ID: "sum_halved", Stages: "h.*.resid_post", Words: []string{half + "|mean|average"},
		Output: func(s *site) []float32 { return mix(0.5, s.in(0), 0.5, s.in(1)) }},
	{ID: "stream_scaled_deepnorm", Stages: "h.*.resid_mid",
		Number: func(c model.Config) float64 { return math.Pow(2*float64(c.Layers), 0.25) },
		Words:  []string{"#|1/#|(2L)^", theStream},
		Output: func(s *site) []float32 { return mix(math.Pow(2*float64(s.L), 0.25), s.in(0), 1, s.in(1)) }},
	{ID: "layer_scale_last", Stages: "h.1.resid_post", Words: []string{"0.1|10", theMLP},
		Output: func(s *site) []float32 { return mix(1, s.in(0), 0.1, s.in(1)) }},
	{ID: "attention_added_again", Stages: "h.*.resid_post",
		Words:  []string{"attn.c_proj|attention", double + "|also|added|too|+"},
		Output: func(s *site) []float32 { return mix(1, s.Right(), 1, s.here("attn.c_proj")) }},
	{ID: "embedding_added_again", Stages: "h.1.resid_post", Words: []string{"embed|wte"},
		Output: func(s *site) []float32 { return mix(1, s.Right(), 1, s.In("embed")) }},
	{ID: "gated_branches", Stages: "h.*.resid_post", Words: []string{"0.9", "0.3"},
		Output: func(s *site) []float32 { return mix(0.9, s.in(0), 0.3, s.in(1)) }},
	{ID: "logits_over_root_c", Stages: "logits", Number: rootWidth,
		Words: []string{"#|1/#|√C|sqrt(C)|√(C)|C^-0.5"},
		Output: func(s *site) []float32 {
			return s.edit(func(_ int, v float64) float64 { return v / rootWidth(s.Config) })
		}},
	{ID: "scores_over_int_root_d", Stages: "h.*.attn.scores",
		Number: func(c model.Config) float64 { return rootHead(c) / math.Floor(rootHead(c)) },
		Words:  []string{"#|1/#|int(√D)|int(sqrt(D))|floor(√D)|⌊√D⌋"},
		Output: func(s *site) []float32 {
			return s.edit(func(_ int, v float64) float64 { return v * rootHead(s.Config) / math.Floor(rootHead(s.Config)) })
		}},
}

package unlisted

const (
	dropout = "dropout|training|train mode|eval()|zeros|are 0|to 0"
	zeros   = "0|zero"
	atTenth = "0.1|0.9|1.11|1.111|10%|10 %|1/0.9"
)

var drops = []Fault{
	{ID: "dropout_embed", Stages: "embed", Words: []string{dropout, atTenth},
		Output: func(s *site) []float32 { return s.dropped(0.1, 1/0.9) }},
	{ID: "dropout_attention_output", Stages: "h.*.attn.c_proj", Words: []string{dropout, atTenth},
		Output: func(s *site) []float32 { return s.dropped(0.1, 1/0.9) }},
	{ID: "dropout_mlp_output", Stages: "h.*.mlp.c_proj", Words: []string{dropout, "0.2|0.8|1.25|20%|20 %|1/0.8"},
		Output: func(s *site) []float32 { return s.dropped(0.2, 1.25) }},
	{ID: "dropout_probs", Stages: "h.*.attn.probs", Words: []string{dropout, atTenth},
		Output: func(s *site) []float32 { return s.dropped(0.1, 1/0.9) }},
	{ID: "dropout_without_factor", Stages: "h.*.mlp.act", Words: []string{"dropout|training|random|scattered|10%|10 %", zeros},
		Output: func(s *site) []float32 { return s.dropped(0.1, 1) }},
	{ID: "dropout_factor_without_zeros", Stages: "h.*.mlp.c_proj", Words: []string{atTenth},
		Output: func(s *site) []float32 { return s.dropped(0, 0.9) }},
	{ID: "dropout_final", Stages: "ln_f", From: 1, Words: []string{dropout, "0.5|2|50%|50 %|half"},
		Output: func(s *site) []float32 { return s.dropped(0.5, 2) }},
	{ID: "layer_dropped_at_step_2", Stages: "h.1.mlp.c_proj", From: 2, Words: []string{zeros + "|never"},
		Output: func(s *site) []float32 { return s.dropped(1, 0) }},
}

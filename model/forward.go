// Package model runs GPT-2's forward pass and hands every stage to a tap.
package model

import "slices"

// The forward pass of GPT-2, a stage a row: its name (* is the layer, or the
// temperature), its axes, its inputs, its function and its formula. It is run from
// top to bottom, blockStages once a layer and probsStages once a temperature.
//
//	B batch   T new positions   P positions in the cache   S = P+T
//	C width   H heads   D = C/H   F feed-forward width   V vocabulary
//
// Axes in parentheses are one dimension: (3 H D) has 3C places, and place
// x·C + h·D + d is d of head h of q, k or v.
//
// In the formulas b, t, s and h count along B, T, S and H, and x is the
// stage's input. h.*.in is the block's input: embed, then the block before's
// resid_post. prev:X is X as the step before left it.
//
// In a padded batch t and s count columns. The columns of a row that are no tokens are no
// positions, wpe is [B,T,C], scores are -Inf at them, and the last position is that of the
// row's last token.
var (
	embedStages = []stage{
		{"wte", "B T C", "tokens", (*call).embedTokens},     // wte.weight[tokens[b,t]]
		{"wpe", "T C", "pos", (*call).embedPositions},       // wpe.weight[P+t]
		{"embed", "B T C", "wte wpe", (*call).addPositions}, // wte[b,t] + wpe[t]
	}
	blockStages = []stage{
		{"h.*.ln_1", "B T C", "h.*.in", func(c *call) { c.norm(c.block.ln1) }},                         // (x-mean)/√(variance+ε)·gain + bias, over C
		{"h.*.attn.c_attn", "B T (3 H D)", "h.*.ln_1", func(c *call) { c.linear(c.block.attn) }},       // x·W + bias, W [C,3C]
		{"h.*.attn.q", "B H T D", "h.*.attn.c_attn", func(c *call) { c.splitHeads(0) }},                // x[b,t,hD:hD+D]
		{"h.*.attn.k", "B H T D", "h.*.attn.c_attn", func(c *call) { c.splitHeads(1) }},                // x[b,t,C+hD:C+hD+D]
		{"h.*.attn.v", "B H T D", "h.*.attn.c_attn", func(c *call) { c.splitHeads(2) }},                // x[b,t,2C+hD:2C+hD+D]
		{"h.*.attn.cache_k", "B H S D", "prev:h.*.attn.cache_k h.*.attn.k", (*call).appendCache},       // the P keys before, then k
		{"h.*.attn.cache_v", "B H S D", "prev:h.*.attn.cache_v h.*.attn.v", (*call).appendCache},       // the P values before, then v
		{"h.*.attn.scores", "B H T S", "h.*.attn.q h.*.attn.cache_k", (*call).scores},                  // q·kᵀ·AttentionScale, -Inf where s > P+t
		{"h.*.attn.probs", "B H T S", "h.*.attn.scores", (*call).softmax},                              // exp(x)/Σexp(x), over S
		{"h.*.attn.context", "B T (H D)", "h.*.attn.probs h.*.attn.cache_v", (*call).context},          // probs·v, heads side by side
		{"h.*.attn.c_proj", "B T C", "h.*.attn.context", func(c *call) { c.linear(c.block.attnProj) }}, // x·W + bias, W [C,C]
		{"h.*.resid_mid", "B T C", "h.*.in h.*.attn.c_proj", (*call).add},                              // in + attn.c_proj
		{"h.*.ln_2", "B T C", "h.*.resid_mid", func(c *call) { c.norm(c.block.ln2) }},                  // as ln_1
		{"h.*.mlp.c_fc", "B T F", "h.*.ln_2", func(c *call) { c.linear(c.block.fc) }},                  // x·W + bias, W [C,F]
		{"h.*.mlp.act", "B T F", "h.*.mlp.c_fc", (*call).activate},                                     // the config's activation; ½x(1 + tanh(√(2/π)(x + 0.044715x³)))
		{"h.*.mlp.c_proj", "B T C", "h.*.mlp.act", func(c *call) { c.linear(c.block.fcProj) }},         // x·W + bias, W [F,C]
		{"h.*.resid_post", "B T C", "h.*.resid_mid h.*.mlp.c_proj", (*call).add},                       // resid_mid + mlp.c_proj
	}
	headStages = []stage{
		{"ln_f", "B T C", "h.*.in", func(c *call) { c.norm(c.m.lnF) }}, // as ln_1
		{"logits", "B T V", "ln_f", (*call).unembed},                   // x·Wᵀ, W [V,C] is wte.weight, or lm_head.weight; + lm_head.bias
		{"logits_last", "B V", "logits", (*call).lastPosition},         // x[b,T-1]
		{"next_token", "B", "logits_last", (*call).argmax},             // the lowest id at which x is largest
	}
	probsStages = []stage{
		{"probs_t*", "B V", "logits_last", (*call).distribution}, // exp(x/t)/Σexp(x/t), over V, t the temperature
	}
	// untappedBlock is a block where no tap looks: scores, probs and context at once.
	untappedBlock = func() []stage {
		scores := slices.IndexFunc(blockStages, func(s stage) bool { return s.name == "h.*.attn.scores" })
		return slices.Replace(slices.Clone(blockStages), scores, scores+3,
			stage{"h.*.attn.context", "B T (H D)", "h.*.attn.q h.*.attn.cache_k h.*.attn.cache_v", (*call).attend})
	}()
	// untappedHead is the head where no tap looks: only the last position's logits.
	untappedHead = []stage{
		*rows["ln_f"],
		{"logits_last", "B V", "ln_f", (*call).unembedLast}, // x[b,T-1]·Wᵀ
		*rows["next_token"],
	}
)

// forward runs the stages of one step and taps them.
func (s *Session) forward() {
	c := &s.call
	if s.o.Tap != nil {
		c.prev, c.stride = c.P, c.P+c.T // caches without room to spare
	}
	for i := range s.steps {
		st := &s.steps[i]
		c.block, c.layer, c.temp, c.out = st.block, st.layer, st.temp, st.out.values
		for i, in := range st.in {
			c.in[i] = in.values
		}
		st.run(c)
		if s.o.Tap != nil {
			s.o.Tap(st.name, st.shape.of(s.m.cfg, c.Dims), st.out.values)
			if st.cache != nil { // with what the tap has changed
				st.cache.values = append(st.cache.values[:0], st.out.values...)
			}
		}
	}
}

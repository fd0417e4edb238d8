package model

// The forward pass of GPT-2, one stage a line: its name (N is the layer), its
// shape, what it is computed from, and how. It is run from top to bottom, the
// middle part once for every layer, and it is the only place that says any of
// this: the names and order of StageNames, the shapes of Shape, the inputs of
// Reads and the functions of Apply are read from here.
//
//	B batch   T new positions   P positions in the cache   S = P+T
//	C width   H heads   D = C/H   F feed-forward width   V vocabulary
//
// h.N.in is the block's input: embed, then the block before's resid_post.
// prev:X is X as the step before left it.
var (
	embedStages = []stage{
		{"wte", "B T C", "tokens", (*call).embedTokens},
		{"wpe", "T C", "pos", (*call).embedPositions},
		{"embed", "B T C", "wte wpe", (*call).addPositions},
	}
	blockStages = []stage{
		{"h.N.ln_1", "B T C", "h.N.in", func(c *call) { c.norm(c.block.ln1) }},
		{"h.N.attn.c_attn", "B T 3C", "h.N.ln_1", func(c *call) { c.linear(c.block.attn) }},
		{"h.N.attn.q", "B H T D", "h.N.attn.c_attn", func(c *call) { c.splitHeads(0) }},
		{"h.N.attn.k", "B H T D", "h.N.attn.c_attn", func(c *call) { c.splitHeads(1) }},
		{"h.N.attn.v", "B H T D", "h.N.attn.c_attn", func(c *call) { c.splitHeads(2) }},
		{"h.N.attn.cache_k", "B H S D", "prev:h.N.attn.cache_k h.N.attn.k", (*call).appendCache},
		{"h.N.attn.cache_v", "B H S D", "prev:h.N.attn.cache_v h.N.attn.v", (*call).appendCache},
		{"h.N.attn.scores", "B H T S", "h.N.attn.q h.N.attn.cache_k", (*call).scores},
		{"h.N.attn.probs", "B H T S", "h.N.attn.scores", (*call).softmax},
		{"h.N.attn.context", "B T C", "h.N.attn.probs h.N.attn.cache_v", (*call).context},
		{"h.N.attn.c_proj", "B T C", "h.N.attn.context", func(c *call) { c.linear(c.block.attnProj) }},
		{"h.N.resid_mid", "B T C", "h.N.in h.N.attn.c_proj", (*call).add},
		{"h.N.ln_2", "B T C", "h.N.resid_mid", func(c *call) { c.norm(c.block.ln2) }},
		{"h.N.mlp.c_fc", "B T F", "h.N.ln_2", func(c *call) { c.linear(c.block.fc) }},
		{"h.N.mlp.act", "B T F", "h.N.mlp.c_fc", (*call).gelu},
		{"h.N.mlp.c_proj", "B T C", "h.N.mlp.act", func(c *call) { c.linear(c.block.fcProj) }},
		{"h.N.resid_post", "B T C", "h.N.resid_mid h.N.mlp.c_proj", (*call).add},
	}
	headStages = []stage{
		{"ln_f", "B T C", "h.N.in", func(c *call) { c.norm(c.m.lnF) }},
		{"logits", "B T V", "ln_f", (*call).unembed},
		{"logits_last", "B V", "logits", (*call).lastPosition},
		{"next_token", "B", "logits_last", (*call).argmax},
		{"probs_t", "B V", "logits_last", (*call).distribution}, // one for each temperature
	}
	// What stands for logits and logits_last when no tap looks at the former.
	lastLogits = stage{"logits_last", "B V", "ln_f", (*call).unembedLast}
)

// forward runs the stages of one step and taps them.
func (s *Session) forward() {
	c := &s.call
	if s.o.Tap != nil {
		c.stride = c.P + c.T // attention reads the gathered caches
	}
	for i := range s.steps {
		st := &s.steps[i]
		c.block, c.temp = st.block, st.temp
		c.in[0], c.out = st.in[0].values, st.out.values
		if st.in[1] != nil {
			c.in[1] = st.in[1].values
		}
		st.run(c)
		if s.o.Tap != nil {
			s.o.Tap(st.name, shapeOf(st.shape, s.m.cfg, c.Dims), st.out.values)
			if st.cache != nil {
				D := s.m.cfg.Embd / s.m.cfg.Heads
				scatter(st.cache.values, st.out.values, c.stride*D, s.o.Length*D)
			}
		}
	}
}

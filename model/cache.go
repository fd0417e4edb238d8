package model

// The cache of a session is one array [B,H,Length,D] for the keys and one for
// the values of each layer, allocated once. Without a tap, attention reads it
// where it is. With a tap, the positions in use are gathered into a contiguous
// [B,H,S,D], tapped, read by the attention that follows, and copied back, so
// that what was changed there stays changed in later steps.

// appendCache writes the earlier positions and after them the new ones. Where
// out and in[0] are the same array, the earlier positions already are in place.
//
//	in[0] earlier cache [B,H,P,D], heads prev positions apart
//	in[1] k or v [B,H,T,D]
//	out   [B,H,S,D], heads stride positions apart
func (c *call) appendCache() {
	D := c.m.cfg.Embd / c.m.cfg.Heads
	old, add := c.P*D, c.T*D
	for h := range c.B * c.m.cfg.Heads {
		to := c.out[h*c.stride*D:]
		copy(to[:old], c.in[0][h*c.prev*D:])
		copy(to[old:old+add], c.in[1][h*add:])
	}
}

// scatter copies a gathered cache [heads,S,D] back into the session's,
// [heads,length,D]: n = S·D values a head, room = length·D apart.
func scatter(cache, gathered []float32, n, room int) {
	for h := 0; h*n < len(gathered); h++ {
		copy(cache[h*room:], gathered[h*n:(h+1)*n])
	}
}

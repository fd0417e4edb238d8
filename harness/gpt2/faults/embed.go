package faults

var embedVariants = map[string]variant{
	"pos_off_by_one": func(c *Context) [][]float32 { return one(c.positionsFrom(c.Dims.P + 1)) },
	"pos_restarted": func(c *Context) [][]float32 {
		if c.Dims.P == 0 {
			return nil
		}
		return one(c.positionsFrom(0))
	},
	"pos_not_added": func(c *Context) [][]float32 { return one(c.reads(0)) },
}

// positionsFrom is T rows of wpe, the last row for positions beyond the table.
func (c *Context) positionsFrom(first int) []float32 {
	table, C := c.weight("wpe.weight"), c.embd()
	var out []float32
	for t := range c.Dims.T {
		at := min(first+t, len(table)/C-1)
		out = append(out, table[at*C:(at+1)*C]...)
	}
	return out
}

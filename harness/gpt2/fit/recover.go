package fit

// Recover returns the rows that follow from a row of a span of stages, all of which but the last
// the candidate lacks: what the engine must have had there, up to the Bound that the row's own
// rounding comes to.
func Recover(r *Row, span []string) []*Row { return nil }

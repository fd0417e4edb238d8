//go:build !amd64

package kernel

const best = portable

// What there is in assembly: never called where there is none.
func (t *mulTask) dots(int)   {}
func (t *mulTask) turn(int)   {}
func (t *mulTask) panels(int) {}

func tileHeight(int) int { return 1 }

func stream(_ []float32, _ int, _ []float32, _ int, _ []float32, _, _, _, _ int) {}

func scores(_, _, _ []float32, _, _, _ int, _ float64)           {}
func context(_, _ []float32, _ int, _, _ []float32, _, _, _ int) {}

func gelus(_, _ []float32)                              {}
func layerNorm(_, _, _, _ []float32, _ float64)         {}
func softmaxes(_, _ []float32, _ float64)               {}
func without(_ *float32, _ int, _ uint32) int           { return 0 }
func uniform(_ *float32, _ int, _ uint64, _, _ float32) {}

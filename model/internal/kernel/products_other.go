//go:build !amd64

package kernel

const hasAVX2 = false

// Products for AVX2: never called where there is none.
func (t *mulTask) dots(int)                           {}
func (t *mulTask) turn(int)                           {}
func (t *mulTask) panels(int)                         {}
func (t *mulTask) stream(_ []float32, _, _, _, _ int) {}

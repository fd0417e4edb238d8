package fit

import "checkpoint12/model"

// A matrix is the weights of a product, [in,out] or of the head [out,in].
type matrix struct {
	w, bias []float32 // no bias is nil
	in, out int
	byOut   bool // [out,in]
}

// matrixOf returns the weights of a product's stage.
func matrixOf(m *model.Model, stage string) (x matrix, ok bool) {
	if stage == "logits" {
		if x.w, _, ok = m.Weight("lm_head.weight"); !ok {
			x.w, _, ok = m.Weight("wte.weight")
		}
		x.bias, _, _ = m.Weight("lm_head.bias")
		x.in, x.out, x.byOut = m.Config().Embd, m.Config().Vocab, true
		return x, ok
	}
	shape := []int(nil)
	if x.w, shape, ok = m.Weight(stage + ".weight"); !ok || len(shape) != 2 {
		return x, false
	}
	x.in, x.out = shape[0], shape[1]
	x.bias, _, _ = m.Weight(stage + ".bias")
	return x, true
}

// at returns the weight of input k for output j.
func (x matrix) at(k, j int) float64 {
	if x.byOut {
		return float64(x.w[j*x.in+k])
	}
	return float64(x.w[k*x.out+j])
}

// transposed returns a square matrix transposed.
func (x matrix) transposed() matrix {
	x.byOut = !x.byOut
	return x
}

// biasAt returns the bias of output j.
func (x matrix) biasAt(j int) float64 {
	if x.bias == nil {
		return 0
	}
	return float64(x.bias[j])
}

// times returns rows [rows,in] times the matrix, without the bias, in float64 and rounded once.
func (x matrix) times(in []float32) []float64 {
	rows := len(in) / x.in
	out := make([]float64, rows*x.out)
	for r := range rows {
		row, y := in[r*x.in:][:x.in], out[r*x.out:][:x.out]
		if x.byOut {
			for j := range y {
				w, sum := x.w[j*x.in:][:x.in], 0.0
				for k, v := range row {
					sum += float64(v) * float64(w[k])
				}
				y[j] = sum
			}
			continue
		}
		for k, v := range row {
			if v == 0 {
				continue
			}
			for j, w := range x.w[k*x.out:][:x.out] {
				y[j] += float64(v) * float64(w)
			}
		}
	}
	return out
}

package fit

import (
	"math"

	"gonum.org/v1/gonum/mat"
)

// perNumber is how many values there must be for each number that is read off them: of fewer,
// any function fits.
const perNumber = 4

// places returns the flat indices of the finite values of a row that are to be explained.
func (r *Row) places() (at []int) {
	for i, g := range r.Got {
		if (r.Part == nil || r.Part[i]) && finite(g) && finite(r.Right[i]) {
			at = append(at, i)
		}
	}
	return at
}

// linear returns the coefficients c of least squares for y[i] = Σ c[k]·x[k][i]; nil where there
// are too few values, or where the terms x are not independent.
func linear(y []float64, x ...[]float64) []float64 {
	n, k := len(y), len(x)
	if n < perNumber*k || k == 0 {
		return nil
	}
	// Terms of very different sizes are as independent as their directions are.
	size := make([]float64, k)
	for j, term := range x {
		if size[j] = norm(term); size[j] == 0 || math.IsInf(size[j], 0) || size[j] != size[j] {
			return nil
		}
	}
	a := mat.NewDense(n, k, nil)
	for j, term := range x {
		for i, v := range term {
			a.Set(i, j, v/size[j])
		}
	}
	var qr mat.QR
	qr.Factorize(a)
	if qr.Cond() > 1e7 {
		return nil
	}
	var c mat.VecDense
	if qr.SolveVecTo(&c, false, mat.NewVecDense(n, y)) != nil {
		return nil
	}
	out := make([]float64, k)
	for j := range out {
		out[j] = c.AtVec(j) / size[j]
	}
	return out
}

// uncertainty returns how far off each of the coefficients of linear may be by what they leave.
func uncertainty(y, c []float64, x ...[]float64) []float64 {
	const deviations = 8
	squares, out := 0.0, make([]float64, len(c))
	for i, v := range y {
		for j := range c {
			v -= c[j] * x[j][i]
		}
		squares += v * v
	}
	for j := range out {
		out[j] = deviations * math.Sqrt(squares/float64(len(y))) / norm(x[j])
	}
	return out
}

// norm returns the root of the sum of squares.
func norm(x []float64) float64 {
	sq := 0.0
	for _, v := range x {
		sq += v * v
	}
	return math.Sqrt(sq)
}

// finite reports whether v is neither NaN nor an infinity.
func finite(v float32) bool { return v-v == 0 }

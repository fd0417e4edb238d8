package kernel

import "github.com/tphakala/simd/f32"

// Scores writes the products of the queries q [T,D] and the keys k [S,D] that they see, times
// scale, to y [T,S]: query t sees keys 0 to S-T+t. Other places of y may be written to.
//
// Each product is added up as one of an OutIn Matrix.
func Scores(y, q, k []float32, T, S, D int, scale float64) {
	if kernels > portable {
		scores(y, q, k, T, S, D, scale)
		return
	}
	for t := range T {
		row := y[t*S:][:S-T+t+1]
		for s := range row {
			row[s] = float32(float64(f32.DotProduct(q[t*D:(t+1)*D], k[s*D:(s+1)*D])) * scale)
		}
	}
}

// Context writes the sums of the values v [S,D], each times its probability in a row of x [T,S],
// to the rows of y [T,D], which are ldy apart. A probability of exactly 0 adds nothing, whatever
// the value.
//
// Each sum is added up as one of an InOut Matrix.
func Context(pool *Pool, y []float32, ldy int, x, v []float32, T, S, D int) {
	if kernels == portable {
		for t := range T {
			row := y[t*ldy:][:D]
			clear(row)
			for s, p := range x[t*S:][:S] {
				if p != 0 {
					f32.AddScaled(row, p, v[s*D:(s+1)*D])
				}
			}
		}
		return
	}
	scratch := pool.take()
	context(scratch, y, ldy, x, v, T, S, D)
	finite := true
	for t := range T {
		sum := f32.Sum(y[t*ldy:][:D])
		finite = finite && sum-sum == 0
	}
	if !finite { // values that are not finite come last, and only where they count
		kept := make([]float32, S*D)
		for i, v := range v[:S*D] {
			if v-v == 0 {
				kept[i] = v
			}
		}
		context(scratch, y, ldy, x, kept, T, S, D)
		for i, v := range v[:S*D] {
			for t := 0; v-v != 0 && t < T; t++ {
				if p := x[t*S+i/D]; p != 0 {
					y[t*ldy+i%D] += p * v
				}
			}
		}
	}
	pool.give(scratch)
}

package kernel

import "github.com/tphakala/simd/f32"

// queryRows is the number of queries that pass each four keys, from the first cache.
const queryRows = 48

// scores writes products of queries and keys, times scale, to y, those of all keys that a query
// sees among them.
func scores(y, q, k []float32, T, S, D int, scale float64) {
	for first := 0; first < T; first += queryRows {
		end := min(first+queryRows, T)
		seen := S - T + end // by the last
		clear(y[first*S : end*S])
		for s := 0; s < seen; {
			kernels, n := dotsOf(S - s)
			for t := max(first, s-(S-T)); t < end; { // rows before see none of these
				m := together(end-t, len(kernels)-1)
				kernels[m](&y[t*S+s], S, &q[t*D], D, &k[s*D], D, D)
				t += m
			}
			s += n
		}
		for t := first; t < end; t++ {
			rescale(&y[t*S], S-T+t+1, scale)
		}
	}
}

// context writes sums of values times probabilities to y, in blocks of blockK values.
func context(scratch, y []float32, ldy int, x, v []float32, T, S, D int) {
	for t := range T {
		clear(y[t*ldy:][:D])
	}
	for lo := 0; lo < D; lo += panelCols {
		columns := min(panelCols, D-lo)
		for k0 := 0; k0 < S; k0 += blockK {
			n := min(blockK, S-k0)
			if T > fewRows {
				contextTiles(scratch, y[lo:], ldy, x[k0:], S, v[k0*D+lo:], D, T, n, columns)
				continue
			}
			sums := scratch[:T*columns]
			clear(sums)
			stream(sums, columns, x[k0:], S, v[k0*D+lo:], D, T, n, columns)
			for t := range T {
				to := y[t*ldy+lo:][:columns]
				f32.Add(to, to, sums[t*columns:][:columns])
			}
		}
	}
}

// contextTiles adds the products of x [T,n] and n rows of values to y [T,columns].
func contextTiles(scratch, y []float32, ldy int, x []float32, ldx int, values []float32, ldv, T, n, columns int) {
	panelsOf(scratch, values, ldv, n, columns)
	v := &vectorsOf[kernels]
	spare, turned := scratch[panelCols*blockK:], scratch[len(scratch)-tileRows*blockK:]
	height := tileHeight(T)
	for t := 0; t < T; t += height {
		m := min(height, T-t)
		count := 0 // of values with a probability in these rows
		for r := range m {
			count = max(count, before(x[(t+r)*ldx:][:n], 0))
		}
		for r := 0; r < m; r += rowsTurned {
			turn(turned[:m*count], x[t*ldx:], ldx, m, r)
		}
		for j := 0; j < columns && count > 0; j += v.cols {
			panel := &scratch[j*n]
			if columns-j >= v.cols {
				v.tiles[m](&y[t*ldy+j], ldy, &y[t*ldy+j], ldy, &turned[0], panel, count, panel, 0)
			} else {
				edge(spare, y[t*ldy+j:], ldy, columns-j, m, &turned[0], panel, count)
			}
		}
	}
}

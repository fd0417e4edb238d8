package fit

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/model"
)

// otherOrder proposes other orders of a product's inputs.
func otherOrder(r *Row) (all []Hypothesis) {
	t := r.terms()
	if t == nil {
		return nil
	}
	K := t.in
	gives := func(from func(k int) int) bool {
		return t.gives(func(n, j int) float64 {
			sum := t.biasAt(j)
			for k := range K {
				sum += float64(t.x[from(k)]) * t.w[n][k]
			}
			return sum
		})
	}
	add := func(numbers int, from func(k int) int, format string, args ...any) {
		if len(all) >= 4 || !gives(from) {
			return
		}
		all = append(all, Hypothesis{ID: PatternInputs, Numbers: numbers, Text: fmt.Sprintf(format, args...), Output: func(s *Stage) []float32 {
			in := s.In(model.Reads(s.Model.Config(), s.Name)[0])
			out := make([]float32, len(in))
			for i := range out {
				out[i] = in[i-i%K+from(i%K)]
			}
			return s.apply(s.Name, out)
		}})
	}
	cfg := r.Model.Config()
	D := cfg.Embd / cfg.Heads
	add(0, func(k int) int { return K - 1 - k }, "its inputs are in reverse order")
	if strings.HasSuffix(r.Name, "attn.c_proj") {
		add(0, func(k int) int { return (cfg.Heads-1-k/D)*D + k%D }, "the heads of its input are in reverse order")
	}
	for n := 2; n < K; n++ {
		if K%n != 0 {
			continue
		}
		what := fmt.Sprintf("[%d, %d]", n, K/n)
		if strings.HasSuffix(r.Name, "attn.c_proj") && (n == cfg.Heads || n == D) {
			what = map[bool]string{true: "[H, D]", false: "[D, H]"}[n == D]
		}
		add(1, func(k int) int { return k%n*(K/n) + k/n }, "its inputs are transposed: input k is that of k read as %s the other way round", what)
		if n < 1<<10 && K/n > 1 {
			add(1, func(k int) int { return k - k%n + n - 1 - k%n }, "every %d of its inputs are in reverse order", n)
		}
	}
	for by := 1; by < K; by++ {
		add(1, func(k int) int { return (k + by) % K }, "its inputs are shifted: where input k belongs that of k%+d is read, the first after the last", min(by, K-by)*sign(K-2*by))
	}
	for _, n := range []int{D, K / 2, K / 4, K / 8, 16, 32, 64, 128} {
		if n < 1 || K%n != 0 || K/n > 64 {
			continue
		}
		for i := range K / n {
			for j := range i {
				name := fmt.Sprintf("inputs %d to %d and %d to %d", j*n, (j+1)*n-1, i*n, (i+1)*n-1)
				if n == D && strings.HasSuffix(r.Name, "attn.c_proj") {
					name = fmt.Sprintf("heads %d and %d of its input", j, i)
				}
				add(2, func(k int) int {
					switch k / n {
					case i:
						return k - i*n + j*n
					case j:
						return k - j*n + i*n
					}
					return k
				}, "%s are exchanged", name)
			}
		}
	}
	return all
}

func sign(x int) int {
	if x < 0 {
		return -1
	}
	return 1
}

// otherTiles proposes a matrix of which all tiles of a size are transposed, or one.
func otherTiles(r *Row) (all []Hypothesis) {
	t := r.terms()
	if t == nil {
		return nil
	}
	cfg := r.Model.Config()
	for _, n := range slices.Compact(slices.Sorted(slices.Values([]int{2, 4, 8, 16, 32, 64, 128, cfg.Embd / cfg.Heads, t.in}))) {
		if n < 2 || t.in%n != 0 || t.out%n != 0 {
			continue
		}
		flip := func(k, j int) (int, int) { return k - k%n + j%n, j - j%n + k%n }
		// The error that tile a of the column's tiles makes when it is transposed.
		tile := func(i, a int) float64 {
			sum := 0.0
			for k := a * n; k < (a+1)*n; k++ {
				sum += float64(t.x[k]) * (t.at(flip(k, t.cols[i])) - t.w[i][k])
			}
			return sum
		}
		add := func(numbers int, in func(k, j int) bool, format string, args ...any) {
			all = append(all, Hypothesis{ID: PatternInputs, Numbers: numbers, Text: fmt.Sprintf(format, args...), Output: func(s *Stage) []float32 {
				own, ok := matrixOf(s.Model, s.Name)
				x := s.In(model.Reads(s.Model.Config(), s.Name)[0])
				if !ok || len(x) == 0 {
					return nil
				}
				w := make([]float32, len(own.w))
				for k := range own.in {
					for j := range own.out {
						at, v := k*own.out+j, own.at(k, j)
						if own.byOut {
							at = j*own.in + k
						}
						if in(k, j) {
							v = own.at(flip(k, j))
						}
						w[at] = float32(v)
					}
				}
				own.w = w
				sums := own.times(x)
				for i := range sums {
					sums[i] += own.biasAt(i % own.out)
				}
				return rounded(sums)
			}})
		}
		every := true
		one := -1
		for i := 0; i < len(t.cols) && every; i++ {
			sum := 0.0
			for a := range t.in / n {
				sum += tile(i, a)
			}
			every = math.Abs(sum-t.err[i]) <= t.tol[i]
		}
		if every && (n < t.in || t.in != t.out) {
			add(1, func(int, int) bool { return true }, "tiles of %d×%d of its weight are transposed", n, n)
			return all
		}
		b := t.cols[0] / n
		if slices.ContainsFunc(t.cols, func(j int) bool { return j/n != b }) {
			continue
		}
		for a := 0; a < t.in/n && one < 0; a++ {
			ok := true
			for i := 0; i < len(t.cols) && ok; i++ {
				ok = math.Abs(tile(i, a)-t.err[i]) <= t.tol[i]
			}
			if ok {
				one = a
			}
		}
		if one >= 0 {
			add(3, func(k, j int) bool { return k/n == one && j/n == b },
				"a tile of %d×%d of its weight is transposed: inputs %d to %d, outputs %d to %d", n, n, one*n, (one+1)*n-1, b*n, (b+1)*n-1)
		}
	}
	return all
}

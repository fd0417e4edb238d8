package weights

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/internal/rounding"
	"checkpoint12/harness/npy"
	"checkpoint12/model/modeltest"
)

// A loaded is a Source in a folder of .npy files.
type loaded struct {
	dir   string
	names []string
}

func (l loaded) Name() string      { return l.dir }
func (l loaded) Weights() []string { return l.names }
func (l loaded) OpenWeight(name string) (*npy.File, string, error) {
	path := filepath.Join(l.dir, name+".npy")
	f, err := npy.Open(path, true)
	return f, path, err
}

// written writes weights into a folder.
func written(t *testing.T, weights map[string]harness.Tensor) loaded {
	t.Helper()
	l := loaded{dir: t.TempDir()}
	for name, x := range weights {
		f, err := os.Create(filepath.Join(l.dir, name+".npy"))
		if err == nil {
			err = npy.Write(f, x)
		}
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		l.names = append(l.names, name)
	}
	slices.Sort(l.names)
	return l
}

// A matrix is [rows,cols].
type matrix struct {
	rows, cols int
	x          []float32
}

// indexed returns the matrix whose value at r, c is x's at the place that from returns, 0
// where it returns one that is none.
func (m matrix) indexed(from func(r, c int) (int, int)) []float32 {
	y := make([]float32, len(m.x))
	for r := range m.rows {
		for c := range m.cols {
			if i, j := from(r, c); i >= 0 && i < m.rows && j >= 0 && j < m.cols {
				y[r*m.cols+c] = m.x[i*m.cols+j]
			}
		}
	}
	return y
}

// quantised rounds to levels of a step of most/top in each group, which place tells.
func (m matrix) quantised(top float64, offset bool, place func(r, c int) int) []float32 {
	type bounds struct{ low, high float64 }
	groups := map[int]bounds{}
	for i, v := range m.x {
		k := place(i/m.cols, i%m.cols)
		b, ok := groups[k]
		if !ok {
			b = bounds{math.Inf(1), math.Inf(-1)}
		}
		groups[k] = bounds{min(b.low, float64(v)), max(b.high, float64(v))}
	}
	y := make([]float32, len(m.x))
	for i, v := range m.x {
		b := groups[place(i/m.cols, i%m.cols)]
		if offset {
			step := float32((b.high - b.low) / top)
			y[i] = float32(math.Round((float64(v)-b.low)/float64(step)))*step + float32(b.low)
		} else {
			step := float32(max(-b.low, b.high) / top)
			y[i] = float32(math.Round(float64(v)/float64(step))) * step
		}
	}
	return y
}

// grouped gives the values of each group, which place tells, to a function that changes them.
func (m matrix) grouped(place func(r, c int) int, quantise func(x []float32)) []float32 {
	groups := map[int][]int{}
	for i := range m.x {
		k := place(i/m.cols, i%m.cols)
		groups[k] = append(groups[k], i)
	}
	y := slices.Clone(m.x)
	for _, at := range groups {
		x := make([]float32, len(at))
		for k, i := range at {
			x[k] = m.x[i]
		}
		quantise(x)
		for k, i := range at {
			y[i] = x[k]
		}
	}
	return y
}

// size returns the largest magnitude.
func size(x []float32) float32 { return max(slices.Max(x), -slices.Min(x)) }

// mean returns the mean magnitude.
func mean(x []float32) float32 {
	sum := 0.0
	for _, v := range x {
		sum += math.Abs(float64(v))
	}
	return float32(sum / float64(len(x)))
}

// levelsOf rounds to whole levels of a step, of at most top, and gives them another step.
func levelsOf(x []float32, step, stored float32, top float64) {
	for i, v := range x {
		x[i] = float32(max(-top, min(top, math.Round(float64(v/step))))) * stored
	}
}

// nearestOf rounds to the nearest of some values times a scale.
func nearestOf(x []float32, scale float32, values ...float32) {
	for i, v := range x {
		best := values[0]
		for _, u := range values {
			if math.Abs(float64(v/scale-u)) < math.Abs(float64(v/scale-best)) {
				best = u
			}
		}
		x[i] = best * scale
	}
}

const (
	fused = "h.1.attn.c_attn.weight"
	fc    = "h.0.mlp.c_fc.weight"
	bias  = "h.1.attn.c_attn.bias"
)

func TestEachDifferenceIsNamed(t *testing.T) {
	m := gpt2test.Tiny(t)
	of := func(name string) matrix {
		x, shape, ok := m.Weight(name)
		if !ok {
			t.Fatalf("no weight %s", name)
		}
		if len(shape) == 1 {
			return matrix{1, shape[0], x}
		}
		return matrix{shape[0], shape[1], x}
	}
	edited := func(name string, edit func(x []float32)) func() []float32 {
		return func() []float32 {
			x := slices.Clone(of(name).x)
			edit(x)
			return x
		}
	}
	through := func(name string, r rounding.Rounding) func() []float32 {
		return func() []float32 { return slices.Clone(r.Of(of(name).x)) }
	}
	moved := func(name string, from func(r, c int) (int, int)) func() []float32 {
		return func() []float32 { return of(name).indexed(from) }
	}
	C, D := m.Config().Embd, m.Config().Embd/m.Config().Heads
	half := func(v float32) float32 { return rounding.Rounding(rounding.Float16).Of([]float32{v})[0] }
	down := func(n int) func(r, c int) int { return func(r, c int) int { return r/n*1000 + c } }
	one, column, row := func(r, c int) int { return 0 }, func(r, c int) int { return c }, func(r, c int) int { return r }
	for _, test := range []struct {
		reason string
		weight string
		shape  []int // the model's if nil
		values func() []float32
		status harness.Status
		want   string
	}{
		{"rounded, halves", fc, nil, through(fc, rounding.Float16), harness.Pass, "rounded to f16"},
		{"rounded, a list", bias, nil, through(bias, rounding.BFloat16), harness.Pass, "rounded to bf16"},
		{"rounded, the table", "wte.weight", nil, through("wte.weight", rounding.BFloat16), harness.Pass, "rounded to bf16"},
		{"rounded, tensor cores", fc, nil, through(fc, rounding.TF32), harness.Pass, "rounded to tf32"},
		{"rounded, fp8", fc, nil, through(fc, rounding.E4M3.Round), harness.Pass, "rounded to fp8 (e4m3)"},
		{"rounded, the wider fp8", fc, nil, through(fc, rounding.E5M2.Round), harness.Pass, "rounded to fp8 (e5m2)"},
		{"cut off", fc, nil, through(fc, cut(16)), harness.Pass, "cut off to bf16"},

		{"one scale", fc, nil, func() []float32 { return of(fc).quantised(127, false, one) }, harness.Pass, "int8 by tensor, step "},
		{"a scale a column", fc, nil, func() []float32 { return of(fc).quantised(127, false, column) }, harness.Pass, "int8 by column, steps "},
		{"a scale a row", "wte.weight", nil, func() []float32 { return of("wte.weight").quantised(127, false, row) }, harness.Pass, "int8 by row, steps "},
		{"a zero point", fc, nil, func() []float32 { return of(fc).quantised(255, true, column) }, harness.Pass, "int8 by column, steps * with a zero point"},
		{"q8_0", fc, nil, func() []float32 {
			return of(fc).quantised(127, false, func(r, c int) int { return r/32*1000 + c })
		}, harness.Pass, "int8 by groups of 32 down the columns, steps "},
		{"4 bits, q4_0's groups", fc, nil, func() []float32 {
			return of(fc).quantised(7, false, func(r, c int) int { return r/32*1000 + c })
		}, harness.Pass, "int4 by groups of 32 down the columns, steps "},
		{"4 bits, q4_1's groups", fc, nil, func() []float32 {
			return of(fc).quantised(15, true, func(r, c int) int { return r/32*1000 + c })
		}, harness.Pass, "int4 by groups of 32 down the columns, steps * with a zero point"},
		{"4 bits along rows", fc, nil, func() []float32 {
			return of(fc).quantised(7, false, func(r, c int) int { return r*1000 + c/64 })
		}, harness.Pass, "int4 by groups of 64 along the rows, steps "},
		{"fp8 with a scale", fc, nil, func() []float32 {
			x, most := slices.Clone(of(fc).x), 0.0
			for _, v := range x {
				most = max(most, math.Abs(float64(v)))
			}
			scale := float32(most / 448)
			for i, v := range x {
				x[i] = scale * float32(rounding.E4M3.Nearest(float64(v/scale)))
			}
			return x
		}, harness.Pass, "fp8 (e4m3) by tensor, scale "},

		{"8 bits, dequantised in halves", fc, nil, func() []float32 {
			return rounding.Rounding(rounding.Float16).Of(of(fc).quantised(127, false, column))
		}, harness.Pass, "int8 by column, steps * in f16"},
		{"8 bits, dequantised in bfloat16", fc, nil, func() []float32 {
			return rounding.BFloat16.Of(of(fc).quantised(127, false, column))
		}, harness.Pass, "int8 by column, steps * in bf16"},
		{"4 bits, dequantised in bfloat16", fc, nil, func() []float32 {
			return rounding.BFloat16.Of(of(fc).quantised(7, false, func(r, c int) int { return r/32*1000 + c }))
		}, harness.Pass, "int4 by groups of 32 down the columns, steps * in bf16"},
		{"q8_0, whose scale is rounded after the levels are chosen", fc, nil, func() []float32 {
			return of(fc).grouped(down(32), func(x []float32) { step := size(x) / 127; levelsOf(x, step, half(step), 127) })
		}, harness.Pass, "int8 by groups of 32 down the columns, steps "},
		{"q8_0 in a row whose end is short", "wte.weight", nil, func() []float32 {
			return of("wte.weight").grouped(func(r, c int) int { return r*100 + c/32 }, func(x []float32) { step := size(x) / 127; levelsOf(x, step, half(step), 127) })
		}, harness.Pass, "int8 by groups of 32 along the rows, steps "},
		{"q5_0", fc, nil, func() []float32 {
			return of(fc).grouped(down(32), func(x []float32) { step := size(x) / 16; levelsOf(x, step, half(step), 15) })
		}, harness.Pass, "int5 by groups of 32 down the columns, steps "},
		{"q5_1", fc, nil, func() []float32 {
			return of(fc).grouped(down(32), func(x []float32) {
				low := slices.Min(x)
				step := (slices.Max(x) - low) / 31
				for i, v := range x {
					x[i] = float32(math.Round(float64((v-low)/step)))*half(step) + half(low)
				}
			})
		}, harness.Pass, "int5 by groups of 32 down the columns, steps * with a zero point"},
		{"16 bits", fc, nil, func() []float32 {
			return of(fc).grouped(column, func(x []float32) { levelsOf(x, size(x)/32767, size(x)/32767, 32767) })
		}, harness.Pass, "int16 by column, steps "},
		{"12 bits, of a tensor", fc, nil, func() []float32 {
			return of(fc).grouped(one, func(x []float32) { levelsOf(x, size(x)/2047, size(x)/2047, 2047) })
		}, harness.Pass, "int12 by tensor, step "},
		{"fixed point", fc, nil, func() []float32 {
			return of(fc).grouped(one, func(x []float32) { levelsOf(x, 1.0/8192, 1.0/8192, 32767) })
		}, harness.Pass, " by tensor, step 0.000122"},
		{"nf4", fc, nil, func() []float32 {
			return of(fc).grouped(func(r, c int) int { return (r*4*C + c) / 64 }, func(x []float32) { nearestOf(x, size(x), values("nf4")...) })
		}, harness.Pass, "nf4 by groups of 64 along the rows, scales "},
		{"nf4, dequantised in bfloat16", fc, nil, func() []float32 {
			return rounding.BFloat16.Of(of(fc).grouped(down(64), func(x []float32) { nearestOf(x, size(x), values("nf4")...) }))
		}, harness.Pass, "nf4 by groups of 64 down the columns, scales * in bf16"},
		{"fp4 of bitsandbytes", fc, nil, func() []float32 {
			return of(fc).grouped(down(64), func(x []float32) { nearestOf(x, size(x), values("bitsandbytes")...) })
		}, harness.Pass, "fp4 (bitsandbytes) by groups of 64 down the columns, scales "},
		{"mxfp4", fc, nil, func() []float32 {
			return of(fc).grouped(down(32), func(x []float32) {
				nearestOf(x, float32(math.Exp2(math.Floor(math.Log2(float64(size(x))))-2)), values("e2m1")...)
			})
		}, harness.Pass, "fp4 (e2m1) by groups of "},
		{"2 bits", fc, nil, func() []float32 { return of(fc).quantised(3, true, down(32)) }, harness.Pass, "int2 by groups of 32 down the columns, steps "},
		{"three levels", fc, nil, func() []float32 {
			return of(fc).grouped(one, func(x []float32) { levelsOf(x, mean(x), mean(x), 1) })
		}, harness.Pass, "int2 by tensor, step "},
		{"the sign", fc, nil, func() []float32 {
			return of(fc).grouped(column, func(x []float32) { nearestOf(x, mean(x), -1, 1) })
		}, harness.Pass, "int1 by column, steps "},
		{"the sign, of the wrong scale", fc, nil, func() []float32 {
			return of(fc).grouped(column, func(x []float32) { nearestOf(x, 3*mean(x), -1, 1) })
		}, harness.Fail, "every value is another one"},
		{"the sign, some exchanged", fc, nil, func() []float32 {
			x := of(fc).grouped(column, func(x []float32) { nearestOf(x, mean(x), -1, 1) })
			x[7], x[99] = -x[7], -x[99]
			return x
		}, harness.Fail, "every value is another one"},
		{"16 bits, some steps off", fc, nil, func() []float32 {
			x := of(fc).grouped(one, func(x []float32) { levelsOf(x, size(x)/32767, size(x)/32767, 32767) })
			for i := range 30 {
				x[10*i] += 3 * size(of(fc).x) / 32767
			}
			return x
		}, harness.Fail, "int16 by tensor, step *; but * more than half a step from the model's, up to 3"},
		{"8 bits of another scale", fc, nil, func() []float32 {
			return of(fc).grouped(column, func(x []float32) { levelsOf(x, size(x)/127, size(x)/126, 127) })
		}, harness.Fail, "more than half a step from the model's"},
		{"a head of its own", "lm_head.weight", []int{50257, C}, func() []float32 { return rounding.BFloat16.Of(of("wte.weight").x) }, harness.Pass, "rounded to bf16"},
		{"noise, in bfloat16", fc, nil, func() []float32 {
			x := slices.Clone(of(fc).x)
			for i := range x {
				x[i] *= 1 + 0.01*float32(i%3-1)
			}
			return rounding.BFloat16.Of(x)
		}, harness.Fail, "every value is another one"},

		{"a step off", fc, nil, func() []float32 {
			x, most := of(fc).quantised(127, false, one), float32(0)
			for _, v := range of(fc).x {
				most = max(most, v, -v)
			}
			step := float32(float64(most) / 127)
			for i := range 40 {
				x[i] = float32(math.Round(float64(x[i])/float64(step))+2) * step
			}
			return x
		}, harness.Fail, "int8 by tensor, step *; but * more than half a step from the model's, up to 2"},

		{"transposed in its shape", fc, nil, func() []float32 { return transposed(of(fc).x, of(fc).rows, of(fc).cols) }, harness.Fail, "transposed"},
		{"transposed, and its shape", fc, []int{4 * C, C}, func() []float32 { return transposed(of(fc).x, of(fc).rows, of(fc).cols) },
			harness.Fail, "transposed: of shape "},
		{"transposed square", "h.2.attn.c_proj.weight", nil, moved("h.2.attn.c_proj.weight", func(r, c int) (int, int) { return c, r }), harness.Fail, "transposed"},
		{"transposed and rounded", "h.2.attn.c_proj.weight", nil, func() []float32 {
			return rounding.BFloat16.Of(of("h.2.attn.c_proj.weight").indexed(func(r, c int) (int, int) { return c, r }))
		}, harness.Fail, "transposed, and rounded to bf16"},
		{"another layer's", fused, nil, func() []float32 { return of("h.2.attn.c_attn.weight").x }, harness.Fail, "another layer's: holds h.2.attn.c_attn.weight"},
		{"another norm's", "h.1.ln_2.weight", nil, func() []float32 { return of("h.1.ln_1.weight").x }, harness.Fail, "another weight's: holds h.1.ln_1.weight"},
		{"another layer's, quantised", fused, nil, func() []float32 { return of("h.2.attn.c_attn.weight").quantised(127, false, column) },
			harness.Fail, "another layer's: holds h.2.attn.c_attn.weight, and int8 by column"},
		{"positions shifted", "wpe.weight", nil, moved("wpe.weight", func(r, c int) (int, int) { return r + 2, c }),
			harness.Fail, "rows shifted by 2: row i holds the model's row i+2, and rows "},
		{"rows around the end", fc, nil, moved(fc, func(r, c int) (int, int) { return (r + 79) % C, c }),
			harness.Fail, "rows shifted by -1: row i holds the model's row i-1, around the end"},
		{"columns shifted", fc, nil, moved(fc, func(r, c int) (int, int) { return r, c - 1 }),
			harness.Fail, "columns shifted by -1: column i holds the model's column i-1, and column 0 is zero"},
		{"values shifted", bias, nil, moved(bias, func(r, c int) (int, int) { return r, c + 1 }), harness.Fail, "values shifted by 1"},
		{"v, q, k", fused, nil, moved(fused, func(r, c int) (int, int) { return r, (c + 2*C) % (3 * C) }),
			harness.Fail, "q, k and v, blocks of * columns, in the order v, q, k"},
		{"k and q exchanged", bias, nil, moved(bias, func(r, c int) (int, int) {
			if c < 2*C {
				return r, (c + C) % (2 * C)
			}
			return r, c
		}), harness.Fail, "q, k and v, blocks of * values, in the order k, q, v"},
		{"a head after the other", fused, nil, moved(fused, func(r, c int) (int, int) {
			return r, c/D%3*C + c/(3*D)*D + c%D
		}), harness.Fail, "tensor-parallel shards of q, k and v, blocks of * columns, in the order q0, k0, v0, q1, k1, v1"},
		{"shards, quantised", fused, nil, func() []float32 {
			return matrix{C, 3 * C, of(fused).indexed(func(r, c int) (int, int) { return r, c/D%3*C + c/(3*D)*D + c%D })}.quantised(127, false, column)
		}, harness.Fail, "tensor-parallel shards of q, k and v, *, and int8 by column"},
		{"shards of rows", "h.0.mlp.c_proj.weight", nil, moved("h.0.mlp.c_proj.weight", func(r, c int) (int, int) { return (r + 2*C) % (4 * C), c }),
			harness.Fail, "the halves of the rows, * each, are exchanged"},
		{"columns at random", fc, nil, moved(fc, func(r, c int) (int, int) { return r, c * 7 % (4 * C) }), harness.Fail, "columns in another order: 0, 7, 14"},

		{"all zero", bias, nil, edited(bias, func(x []float32) { clear(x) }), harness.Fail, "all zero"},
		{"rows zero", fc, nil, edited(fc, func(x []float32) { clear(x[3*4*C : 6*4*C]) }), harness.Fail, "values are zero where the model's are not, in rows 3 to 5"},
		{"a value", fc, nil, edited(fc, func(x []float32) { x[5]++ }), harness.Fail, "1 of * values is other values, in row 0 and column 5"},
		{"times two", fc, nil, edited(fc, func(x []float32) {
			for i := range x {
				x[i] *= -2
			}
		}), harness.Fail, "every value is times -2"},
		{"less one", "h.0.ln_1.weight", nil, edited("h.0.ln_1.weight", func(x []float32) {
			for i := range x {
				x[i]--
			}
		}), harness.Fail, "every value is plus -1"},
		{"NaN", fc, nil, edited(fc, func(x []float32) { x[1] = float32(math.NaN()) }), harness.Nonfinite, "not finite, the first at [0 1] is NaN"},
		{"infinite", bias, nil, edited(bias, func(x []float32) { x[2] = float32(math.Inf(-1)) }), harness.Nonfinite, "not finite, the first at [2] is -Inf"},
		{"rows missing", "wpe.weight", []int{1, C}, func() []float32 { return of("wpe.weight").x[:C] }, harness.WrongShape, "rows missing"},
	} {
		t.Run(test.reason, func(t *testing.T) {
			_, shape, _ := m.Weight(test.weight)
			if test.shape != nil {
				shape = test.shape
			}
			x := harness.Tensor{Shape: shape, F32: test.values()}
			l, err := Compare(m, written(t, map[string]harness.Tensor{"transformer." + test.weight: x}))
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if len(l.Differ) != 1 || l.Differ[0].Stage != test.weight {
				t.Fatalf("differ: %+v", l.Differ)
			}
			d := l.Differ[0]
			rest := d.Difference
			for _, part := range strings.Split(test.want, "*") {
				_, after, ok := strings.Cut(rest, part)
				if !ok {
					t.Fatalf("got %q, want %q", d.Difference, test.want)
				}
				rest = after
			}
			if want := test.status; d.Status != want {
				t.Errorf("status %s, want %s", d.Status, want)
			}
			if named := d.Quantised; named != nil && !(named.Least > 0 && named.Least <= named.Most) {
				t.Errorf("scheme %+v", named)
			}
			used, _, _ := l.Model.Weight(test.weight)
			usable := test.status == harness.Pass || test.status == harness.Fail && !strings.HasPrefix(test.want, "transposed: of shape")
			if right, _, _ := m.Weight(test.weight); slices.Equal(used, right) == usable {
				t.Errorf("the model on the weights as loaded has this one as loaded: %v", !usable)
			}
			t.Log(d.Difference)
		})
	}
}

// values returns those of a type of few.
func values(name string) (all []float32) {
	for _, c := range codes {
		for _, v := range c.values {
			if c.name == name {
				all = append(all, float32(v))
			}
		}
	}
	return all
}

// FuzzDifference names the difference of any values from others, and finds none harmless
// that is far from them.
func FuzzDifference(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8}, uint8(3), uint8(2), uint8(0))
	f.Add([]byte{0, 0, 0, 0}, uint8(17), uint8(40), uint8(1))
	f.Add([]byte{255, 128, 0, 127}, uint8(1), uint8(33), uint8(2))
	f.Add([]byte{127, 192, 0, 0, 255, 128, 0, 0, 0, 0, 0, 1}, uint8(20), uint8(20), uint8(3))
	m := gpt2test.Tiny(f)
	f.Fuzz(func(t *testing.T, data []byte, rows, cols, how uint8) {
		r, c := int(rows)%48+1, int(cols)%48+1
		value := func(i int) float32 {
			bits := uint32(0)
			for k := range 4 {
				if len(data) > 0 {
					bits = bits<<8 | uint32(data[(4*i+k)%len(data)])
				}
			}
			return math.Float32frombits(bits ^ uint32(i/max(1, len(data)))*uint32(how))
		}
		want, got := make([]float32, r*c), make([]float32, r*c)
		top := 0.0
		for i := range want {
			if v := value(i); v-v == 0 {
				want[i] = v
			}
			got[i] = value(i + int(how))
			top = max(top, math.Abs(float64(want[i])))
		}
		w := &weight{model: model0{m}, name: "h.0.mlp.c_fc.weight", shape: []int{r, c}, rows: r, cols: c, want: want, got: got}
		named := w.difference()
		if !named.harmless || named.scheme == nil && strings.Contains(named.text, "fp8") { // which saturates
			return
		}
		for i, v := range want {
			if d := math.Abs(float64(got[i]) - float64(v)); d > 1.05*top {
				t.Errorf("%s: %v for %v", named.text, got[i], v)
			}
		}
	})
}

// TestHeadBias: the bias of a head is no weight of a model whose file has none.
func TestHeadBias(t *testing.T) {
	m := modeltest.New(t, modeltest.Micro, 1)
	src := written(t, map[string]harness.Tensor{"lm_head.bias": {Shape: []int{m.Config().Vocab}, F32: make([]float32, m.Config().Vocab)}})
	if _, err := Compare(m, src); err == nil || !strings.Contains(err.Error(), "no weight of micro is called lm_head.bias") {
		t.Errorf("error %v", err)
	}
}

package fit

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"gonum.org/v1/gonum/mat"

	"checkpoint12/harness/internal/shapes"
	"checkpoint12/model"
)

// wellKnown is the root mean square of a recovered tensor's Bound, relative to its own, up to
// which it is looked at.
const wellKnown = 0.01

// A Recoverer recovers tensors that a candidate lacks from those that it has, and keeps the
// inverses of the matrices between them.
type Recoverer struct {
	mu       sync.Mutex
	inverses map[string]*inverse // by the stage whose weight it is
}

// An inverse is that of a square matrix.
type inverse struct {
	once sync.Once
	of   *mat.Dense // nil if there is none
	cond float64    // in the 1-norm
}

// Recover returns the rows that follow from a row of a span of stages: what the engine must have
// had where the candidate has nothing, up to the Bound that the rounding of the row itself comes
// to; and why others cannot be had.
//
//	context [B,T,C] = (c_proj - bias)·W⁻¹   W [C,C]
//	probs   [B,H,T,S] = context·pinv(v)      v [S,D] of each head, S ≤ D
func (c *Recoverer) Recover(r *Row, span []string) (rows []*Row, why []string) {
	s, _ := model.ParseStage(r.Name)
	named := func(word string) string { return model.StageName{Layer: s.Layer, Word: word}.String() }
	add := func(row *Row, err error) {
		if err != nil {
			why = append(why, err.Error())
		} else {
			rows, r = append(rows, row), row
		}
	}
	if s.Word == "attn.c_proj" && slices.Contains(span, named("attn.context")) {
		add(c.context(r, named("attn.context")))
	}
	if last, _ := model.ParseStage(r.Name); last.Word == "attn.context" && slices.Contains(span, named("attn.probs")) {
		D := r.Model.Config().Embd / r.Model.Config().Heads
		row, err := probs(r, named("attn.probs"), named("attn.cache_v"), D)
		for n := D * 3 / 4; err != nil && n >= max(D/2, 2) && n < r.Dims.P+r.Dims.T; n -= max(D/4, 1) { // of fewer keys more is known
			if x, e := probs(r, named("attn.probs"), named("attn.cache_v"), n); e == nil {
				row, err = x, nil
			}
		}
		add(row, err)
	}
	return rows, why
}

// row returns a row of another stage of the step; an error if too little is known of it.
func (r *Row) row(name string, got, bound []float32) (*Row, error) {
	inner := &Row{Stage: r.Stage, Got: got, Bound: bound, Recovered: true}
	inner.Name = name
	inner.Right = r.In(name)
	inner.Correct = func() []float32 { return inner.Right }
	var size, off float64
	for i, v := range got {
		size, off = size+float64(v)*float64(v), off+float64(bound[i])*float64(bound[i])
	}
	switch {
	case len(inner.Right) != len(got):
		return nil, fmt.Errorf("%s is not known", name)
	case !(off <= wellKnown*wellKnown*size):
		return nil, fmt.Errorf("%s cannot be recovered: rounding in %s alone may reach %.2g of its size", name, r.Name, math.Sqrt(off/size))
	}
	return inner, nil
}

// context recovers the input of attention's output projection.
func (c *Recoverer) context(r *Row, name string) (*Row, error) {
	w, _, ok := r.Model.Weight(r.Name + ".weight")
	bias, _, has := r.Model.Weight(r.Name + ".bias")
	if !ok || !has || r.Bound == nil || slices.ContainsFunc(r.Got, func(v float32) bool { return !finite(v) }) {
		return nil, fmt.Errorf("%s cannot be recovered from what is not finite", name)
	}
	C := len(bias)
	inv := c.inverse(r.Name, w, C)
	if inv.of == nil {
		return nil, fmt.Errorf("%s cannot be recovered: %s.weight has no inverse (condition number %.2g)", name, r.Name, inv.cond)
	}
	n := len(r.Got) / C
	y, square := mat.NewDense(n, C, nil), mat.NewDense(n, C, nil)
	for i, v := range r.Got {
		y.Set(i/C, i%C, float64(v)-float64(bias[i%C]))
		square.Set(i/C, i%C, float64(r.Bound[i])*float64(r.Bound[i]))
	}
	return r.product(name, y, square, inv.of)
}

// product returns y·m as a row, with the root of the sum of squares of what its terms are off.
func (r *Row) product(name string, y, square, m *mat.Dense) (*Row, error) {
	var x, off, squares mat.Dense
	x.Mul(y, m)
	squares.MulElem(m, m)
	off.Mul(square, &squares)
	return r.row(name, rounded(x.RawMatrix().Data), roots(off.RawMatrix().Data))
}

// inverse returns that of a matrix [n,n], computed once.
func (c *Recoverer) inverse(stage string, w []float32, n int) *inverse {
	c.mu.Lock()
	if c.inverses == nil {
		c.inverses = map[string]*inverse{}
	}
	inv := c.inverses[stage]
	if inv == nil {
		inv = new(inverse)
		c.inverses[stage] = inv
	}
	c.mu.Unlock()
	inv.once.Do(func() {
		wide := make([]float64, len(w))
		for i, v := range w {
			wide[i] = float64(v)
		}
		var lu mat.LU
		lu.Factorize(mat.NewDense(n, n, wide))
		of := mat.NewDense(n, n, nil)
		for i := range n {
			of.Set(i, i, 1)
		}
		if inv.cond = lu.Cond(); inv.cond < 1e12 && lu.SolveTo(of, false, of) == nil {
			inv.of = of
		}
	})
	return inv
}

// probs recovers the probabilities by which values were mixed, of those first positions of the step
// that see no more than so many keys, at most as many as a head has channels. It is an error if there are none, or if no mix of
// the values is what the engine has, as the fault then is in these.
func probs(r *Row, name, values string, keys int) (*Row, error) {
	cfg := r.Model.Config()
	H, C, whole := cfg.Heads, cfg.Embd, r
	D := C / H
	if n := keys - r.Dims.P; 1 < n && n < r.Dims.T {
		r = r.first(n)
	}
	d := r.Dims
	T, S := d.T, d.P+d.T
	v := r.In(values)
	switch {
	case len(v) != d.B*H*S*D || r.Bound == nil:
		return nil, fmt.Errorf("%s is not known", values)
	case S > D:
		return nil, fmt.Errorf("%s cannot be recovered: of %d keys, and a head has %d channels", name, S, D)
	}
	got, bound := make([]float32, d.B*H*T*S), make([]float32, d.B*H*T*S)
	for head := range d.B * H {
		a := mat.NewDense(D, S, nil)
		for i, x := range v[head*S*D:][:S*D] {
			a.Set(i%D, i/D, float64(x))
		}
		var qr mat.QR
		qr.Factorize(a)
		pinv := mat.NewDense(S, D, nil)
		eye := mat.NewDense(D, D, nil)
		for i := range D {
			eye.Set(i, i, 1)
		}
		if !(qr.Cond() < 1e9) || qr.SolveTo(pinv, false, eye) != nil {
			if whole.Has == nil || !whole.Has(r.Step, values) { // nor is it known whether the engine's are not
				return nil, fmt.Errorf("%s cannot be recovered: %s is not dumped", name, values)
			}
			return nil, fmt.Errorf("%s cannot be recovered: %s has rows that are not independent", name, values)
		}
		for t := range T {
			from := ((head/H)*T+t)*C + head%H*D
			to := (head*T + t) * S
			var off, left float64
			for s := range S {
				p, squares := 0.0, 0.0
				for i := range D {
					p += pinv.At(s, i) * float64(r.Got[from+i])
					squares += pinv.At(s, i) * pinv.At(s, i) * float64(r.Bound[from+i]) * float64(r.Bound[from+i])
				}
				got[to+s], bound[to+s] = float32(p), float32(math.Sqrt(squares))
			}
			for i := range D {
				y := float64(r.Got[from+i])
				for s := range S {
					y -= a.At(i, s) * float64(got[to+s])
				}
				left += y * y
				off += float64(r.Bound[from+i]) * float64(r.Bound[from+i])
			}
			if !(left <= 16*off) {
				of, more := values, ""
				if whole.Has == nil || !whole.Has(r.Step, values) {
					of, more = "the rows of the correct "+values, ": other values are mixed, or something is done to the mix"
				}
				if r.Recovered {
					return nil, fmt.Errorf("no mix of %s gives this output, if attn.c_proj is right%s", of, more)
				}
				return nil, fmt.Errorf("no mix of %s is what %s has%s", of, r.Name, more)
			}
		}
	}
	return r.row(name, got, bound)
}

// first returns the first n positions of the step as a row, of which later ones change nothing.
func (r *Row) first(n int) *Row {
	cfg, all := r.Model.Config(), r.Dims
	few := all
	few.T = n
	cut := func(name string, x []float32) []float32 {
		axes := strings.Fields(model.Axes(name))
		shape, err := model.Shape(cfg, name, all)
		if err != nil || len(shape) != len(axes) || shapes.Product(shape) != len(x) {
			return x
		}
		keep := slices.Clone(shape)
		for a, axis := range axes {
			switch axis {
			case "T":
				keep[a] = few.T
			case "S":
				keep[a] = few.P + few.T
			}
		}
		out := make([]float32, shapes.Product(keep))
		for i := range out {
			at, rest, stride := 0, i, 1
			for a := len(axes) - 1; a >= 0; a-- {
				at, rest, stride = at+rest%keep[a]*stride, rest/keep[a], stride*shape[a]
			}
			out[i] = x[at]
		}
		return out
	}
	own, kept := *r, map[string][]float32{}
	own.Dims, own.In = few, func(name string) []float32 {
		x, ok := kept[name]
		if !ok {
			x = cut(name, r.In(name))
			kept[name] = x
		}
		return x
	}
	own.Got, own.Right, own.Bound = cut(r.Name, r.Got), cut(r.Name, r.Right), cut(r.Name, r.Bound)
	own.Correct, own.Whole, own.End = func() []float32 { return own.Right }, nil, nil
	own.At, own.Has = func(int, string) []float32 { return nil }, func(int, string) bool { return false }
	return &own
}

// roots returns the square roots as float32.
func roots(x []float64) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(math.Sqrt(v))
	}
	return out
}

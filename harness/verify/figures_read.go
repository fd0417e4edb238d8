package verify

import (
	"context"
	"fmt"
	"math"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/verify/figures"
	"checkpoint12/model"
)

// reading is a figure and what the model computed for it.
type reading struct {
	*figures.Figure
	run  string      // the same for readings of one run
	fed  []int       // after a prefix: the token fed after each row
	rows [][]float64 // of the stage

	got   []float64 // to compare with Want
	at    []element // the place of each
	order [][]int   // of Top and AbsMax, in the place of got: the largest elements of each row
}

// An element is a place in the rows of a reading; index is -1 for one of a whole row.
type element struct{ row, index int }

// readFigures runs the model on the runs that the figures are of, each once.
func (s *Suite) readFigures(ctx context.Context) ([]reading, error) {
	traces := map[string]*gpt2.Trace{}
	var all []reading
	temps := slices.DeleteFunc(slices.Clone(s.temps), func(temp float64) bool { // of no figure
		return !slices.ContainsFunc(s.figures, func(f figures.Figure) bool {
			name, _ := model.ParseStage(f.Stage)
			return name.Temperature == temp
		})
	})
	for i := range s.figures {
		f := &s.figures[i]
		if f.Reduce.OfWeights() || f.Reduce.OfText() {
			continue
		}
		run, err := s.runOf(f)
		if err != nil {
			return nil, err
		}
		r := reading{Figure: f, run: fmt.Sprint(run.Tokens, run.Feed)}
		if f.Prefix != nil {
			r.fed, _ = s.tokenizer.Encode(f.Text) // as runOf did
		}
		t := traces[r.run]
		if t == nil {
			run.Tap, run.Temperatures = s.o.Tap, temps
			run.Match = func(_ int, stage string) bool {
				return slices.ContainsFunc(s.figures, func(f figures.Figure) bool { return f.Stage == stage })
			}
			if t, err = gpt2.RecordTrace(ctx, s.Model, run); err != nil {
				return nil, fmt.Errorf("%s: %w", f.Name, err)
			}
			traces[r.run] = t
		}
		for _, step := range t.Steps() {
			x, err := t.Tensor(step, f.Stage)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f.Name, err)
			}
			r.rows = append(r.rows, rowsOf(x, f.Reduce == figures.AbsMax)...)
		}
		r.reduce()
		all = append(all, r)
	}
	return all, nil
}

// rowsOf returns the rows of a tensor [...,width], or their magnitudes; of next_token [B],
// rows of one.
func rowsOf(x harness.Tensor, magnitudes bool) [][]float64 {
	values := make([]float64, x.Elements())
	for i := range values {
		if values[i] = x.At(i); magnitudes {
			values[i] = math.Abs(values[i])
		}
	}
	width := 1
	if len(x.Shape) > 1 {
		width = x.Shape[len(x.Shape)-1]
	}
	return slices.Collect(slices.Chunk(values, width))
}

// reduce takes from the rows what Want is of.
func (r *reading) reduce() {
	r.got, r.at, r.order = nil, nil, nil
	add := func(row, index int, v float64) { r.got, r.at = append(r.got, v), append(r.at, element{row, index}) }
	for i, x := range r.rows {
		if r.Row != nil && i != *r.Row {
			continue
		}
		switch r.Reduce {
		case figures.Value, figures.Log, figures.LogSum:
			ids := r.index(i)
			for k, v := range elements(x, ids) {
				if r.Reduce != figures.Value {
					v = math.Log(v)
				}
				if len(ids) > 0 {
					k = ids[k]
				}
				add(i, k, v)
			}
		case figures.L2:
			add(i, -1, math.Sqrt(moments(x)[1]))
		case figures.LogSumExp:
			add(i, -1, logSumExp(x))
		case figures.NLL: // Index has the labels of the first tokens of each row of the batch
			B, n := r.Index.Shape[0], r.Index.Shape[1]
			if b, t := i/(len(r.rows)/B), i%(len(r.rows)/B); t < n {
				add(i, -1, logSumExp(x)-elements(x, r.Index.IDs()[b*n+t:][:1])[0])
			}
		case figures.Top, figures.AbsMax:
			r.order = append(r.order, largest(x, max(len(r.Want.Values)/len(r.rows), 2)))
		}
	}
	switch n := float64(len(r.got)); r.Reduce {
	case figures.LogSum:
		r.got = []float64{moments(r.got)[0]}
	case figures.NLL:
		r.got = []float64{moments(r.got)[0] / n}
	}
}

// index returns the elements of row i that the figure is of.
func (r *reading) index(i int) []int {
	ids := r.Index.IDs()
	switch {
	case len(ids) == 0 && r.fed != nil:
		return r.fed[i : i+1]
	case len(r.Index.Shape) > 1:
		n := len(ids) / len(r.rows)
		return ids[i*n : (i+1)*n]
	}
	return ids
}

// elements returns the elements of a row at indices, where -1 is the last, or all
// without indices; NaN where there is no such element.
func elements(x []float64, index []int) []float64 {
	if len(index) == 0 {
		return x
	}
	out := make([]float64, len(index))
	for k, i := range index {
		if i < 0 {
			i = len(x) - 1
		}
		if out[k] = math.NaN(); i < len(x) {
			out[k] = x[i]
		}
	}
	return out
}

// largest returns the indices of the n largest elements, the lowest of equals first, and
// -1 for want of elements that are not NaN.
func largest(x []float64, n int) []int {
	ids := slices.Repeat([]int{-1}, n)
	for i, v := range x {
		for k, id := range ids {
			if v == v && (id < 0 || v > x[id]) {
				copy(ids[k+1:], ids[k:])
				ids[k] = i
				break
			}
		}
	}
	return ids
}

// logSumExp returns log(sum(exp(x))); NaN if there is one among x.
func logSumExp(x []float64) float64 {
	top, s := slices.Max(x), 0.0
	for _, v := range x {
		s += math.Exp(v - top)
	}
	return top + math.Log(s)
}

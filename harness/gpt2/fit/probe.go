package fit

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/model"
)

// A probe is some values of one row of an output [rows,width], by which hypotheses are told
// apart before they are held against all values.
type probe struct {
	row  int
	cols []int
	got  []float64
	tol  []float64
}

// probed is the number of a probe's values.
const probed = 16

// probe returns a probe of the row's most wrong row: the most wrong value and others evenly from
// it. Nil is none.
func (r *Row) probe(width int) *probe {
	at := r.places()
	if len(at) == 0 || width < 1 {
		return nil
	}
	errs, worst := map[int]float64{}, -1
	diff := func(i int) float64 { return math.Abs(float64(r.Got[i]) - float64(r.Right[i])) }
	for _, i := range at {
		errs[i/width] += diff(i)
	}
	row := at[0] / width
	for k, v := range errs {
		if v > errs[row] || v == errs[row] && k < row {
			row = k
		}
	}
	p := &probe{row: row}
	var all []int
	size := 0.0
	for _, i := range at {
		if i/width == row {
			all = append(all, i)
			size = max(size, math.Abs(float64(r.Got[i])))
			if worst < 0 || diff(i) > diff(worst) {
				worst = i
			}
		}
	}
	if len(all) < 3 || diff(worst) == 0 {
		return nil
	}
	chosen := []int{worst}
	for n := range probed - 1 {
		if i := all[n*(len(all)-1)/(probed-2)]; !slices.Contains(chosen, i) {
			chosen = append(chosen, i)
		}
	}
	for _, i := range chosen {
		p.cols, p.got, p.tol = append(p.cols, i%width), append(p.got, float64(r.Got[i])), append(p.tol, r.slack(i, size))
	}
	return p
}

// gives reports whether a function of a column gives the probe's values.
func (p *probe) gives(f func(n, col int) float64) bool {
	for n, col := range p.cols {
		if !(math.Abs(f(n, col)-p.got[n]) <= p.tol[n]) {
			return false
		}
	}
	return true
}

// An input is a tensor in the place of a stage's own input.
type input struct {
	text string
	from model.StageName // the stage whose own input it is, or that it is; layer -1 outside the blocks
	of   func(s *Stage) []float32
	row  []float32 // the probe's
	own  bool
}

// inputsOf returns the tensors of the step that have the shape of the stage's first input, and
// come before the stage, with their rows at a probe; those of the step before, at its
// last positions, are among them.
func (r *Row) inputsOf(p *probe, width int) (all []input) {
	cfg := r.Model.Config()
	here, _ := model.ParseStage(r.Name)
	own := model.Reads(cfg, r.Name)[0]
	rows := r.Dims.B * r.Dims.T
	for _, name := range model.StageNames(cfg, nil) {
		if name == r.Name {
			break
		}
		if shape, _ := model.Shape(cfg, name, r.Dims); len(shape) != 3 || shape[2] != width || !strings.HasPrefix(model.Axes(name), "B T ") {
			continue
		}
		x := r.In(name)
		if len(x) != rows*width {
			continue
		}
		kind := seenFrom(cfg, here, name)
		from, _ := model.ParseStage(name)
		all = append(all, input{text: kind, from: from, row: x[p.row*width:][:width], own: name == own, of: func(s *Stage) []float32 {
			at, _ := model.ParseStage(s.Name)
			return s.In(asSeen(s.Model.Config(), at, kind))
		}})
	}
	if r.At != nil && r.Step > 0 {
		if x := r.newest(r.At(r.Step-1, own), own); len(x) == rows*width {
			kind := seenFrom(cfg, here, own)
			all = append(all, input{text: kind + " of the step before", from: here, row: x[p.row*width:][:width], of: func(s *Stage) []float32 {
				at, _ := model.ParseStage(s.Name)
				if s.Step == 0 || s.At == nil {
					return nil
				}
				name := asSeen(s.Model.Config(), at, kind)
				return s.newest(s.At(s.Step-1, name), name)
			}})
		}
	}
	return all
}

// normed returns a product's own input after another norm, of the same block or the last, with
// its row at a probe.
func (r *Row) normed(p *probe, width int) (all []input) {
	cfg := r.Model.Config()
	here, _ := model.ParseStage(r.Name)
	own := model.Reads(cfg, r.Name)[0]
	x := r.In(own)
	if width != cfg.Embd || len(x) < (p.row+1)*width {
		return nil
	}
	for _, word := range []string{"ln_1", "ln_2", "ln_f"} {
		of := func(at model.StageName) string {
			if word == "ln_f" {
				return word
			}
			return model.StageName{Layer: at.Layer, Word: word}.String()
		}
		gain, _, _ := r.Model.Weight(of(here) + ".weight")
		bias, _, _ := r.Model.Weight(of(here) + ".bias")
		if len(gain) != width || len(bias) != width {
			continue
		}
		row := slices.Clone(x[p.row*width:][:width])
		mean, scale := moments(row, cfg.Eps)
		for i, v := range row {
			row[i] = float32((float64(v)-mean)*scale*float64(gain[i]) + float64(bias[i]))
		}
		text := fmt.Sprintf("%s after one more %s", seenFrom(cfg, here, own), word)
		if s, _ := model.ParseStage(own); s.Word == word {
			text = fmt.Sprintf("%s applied twice", word)
		}
		all = append(all, input{text: text, from: here, row: row, of: func(s *Stage) []float32 {
			at, _ := model.ParseStage(s.Name)
			in := s.In(model.Reads(cfg, s.Name)[0])
			return s.apply(of(at), in)
		}})
	}
	return all
}

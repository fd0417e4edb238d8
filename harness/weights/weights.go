// Package weights compares the weights that an engine uses with the model's file, and
// names how they differ: a rounding, a quantisation, another order, a part that is not there.
//
// Of an engine all of whose weights are within a named rounding or quantisation of the
// model's, nothing else is wrong. Any other difference is a fault.
package weights

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/shapes"
	"checkpoint12/harness/internal/words"
	"checkpoint12/harness/npy"
	"checkpoint12/model"
	"checkpoint12/model/parallel"
)

// A Source has weights as an engine uses them, by the names in its file. A dump is one.
type Source interface {
	Name() string
	Weights() []string
	OpenWeight(name string) (f *npy.File, label string, err error)
}

// Loaded is the weights of a Source beside those of a model.
type Loaded struct {
	Differ []harness.Weight // those that are not the model's, in the order of use
	Model  *model.Model     // on the weights as loaded; the given one if none differs
	Notes  []string

	release []func() error
}

// Close gives the memory of the files back. Model must not be used any more.
func (l *Loaded) Close() error {
	var errs []error
	for _, f := range l.release {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// Compare compares what a source has of a model's weights, each in memory of its own file
// and, but for those that differ, only while it is compared. A weight of another number of
// values than the model's, or with a NaN or an infinity, differs; the model's own then
// stands in its place in the result's Model. Errors name the file.
func Compare(m *model.Model, src Source) (*Loaded, error) {
	files, l, err := find(m, src)
	if err != nil {
		return nil, err
	}
	all := model0{m}
	results := make([]result, len(files))
	parallel.For(len(files), func(i int) { results[i] = all.compare(src, files[i]) })
	used := map[string][]float32{}
	for i, r := range results {
		if r.release != nil {
			l.release = append(l.release, r.release)
		}
		err = errors.Join(err, r.err)
		if r.weight != nil {
			l.Differ = append(l.Differ, *r.weight)
		}
		if r.used != nil {
			used[files[i].name] = r.used
		}
		if r.note != "" {
			l.Notes = append(l.Notes, r.note)
		}
	}
	if err == nil && len(used) > 0 {
		l.Model, err = m.With(used)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// A file is a weight by its name in the file and in the model.
type file struct{ name, stored string }

// find returns the files of weights, in the order of use, and notes on the others.
func find(m *model.Model, src Source) (files []file, l *Loaded, err error) {
	l = &Loaded{Model: m, Differ: []harness.Weight{}}
	stored, unknown := map[string]string{}, []string(nil)
	for _, s := range src.Weights() {
		name := strings.TrimPrefix(s, "transformer.")
		_, ok := m.Config().WeightShape(name)
		if _, _, has := m.Weight(name); !ok || !has && name == "lm_head.bias" {
			if !model.IsMaskBuffer(name) {
				unknown = append(unknown, s)
			}
			continue
		}
		if other, twice := stored[name]; twice {
			return nil, nil, fmt.Errorf("%s: weight %q is there twice, as %q and as %q", src.Name(), name, other, s)
		}
		stored[name] = s
	}
	var known []string
	for name := range m.Config().Weights() {
		known = append(known, name)
		if s, ok := stored[name]; ok {
			files = append(files, file{name, s})
		}
	}
	if len(unknown) > 0 {
		text := fmt.Sprintf("%s: no weight of %s is called %s", src.Name(), m.Name(), words.Some(unknown, 3))
		if near := words.Nearest(unknown[0], len(unknown[0])/3, known); near != "" {
			text += fmt.Sprintf("; did you mean %q?", near)
		}
		if len(files) == 0 {
			return nil, nil, errors.New(text + ": give weights as loaded the names that they have in model.safetensors")
		}
		l.Notes = append(l.Notes, text)
	}
	return files, l, nil
}

// A result is what comparing a weight found. used is what stands in the place of the
// model's, in memory that release gives back.
type result struct {
	weight  *harness.Weight // nil if there is no difference
	used    []float32
	release func() error
	note    string
	err     error
}

// model0 is the model whose weights are right.
type model0 struct{ *model.Model }

// of returns a weight and its shape; lm_head.weight is wte where the model ties them.
func (m model0) of(name string) ([]float32, []int) {
	data, shape, ok := m.Weight(name)
	if !ok {
		data, shape, _ = m.Weight("wte.weight")
	}
	return data, shape
}

func (m model0) compare(src Source, f file) (r result) {
	open, label, err := src.OpenWeight(f.stored)
	if err != nil {
		return result{err: err}
	}
	defer open.Close()
	if open.DType != "float32" {
		return result{err: fmt.Errorf("%s: holds %s: want values, dequantised", label, open.DType)}
	}
	want, shape := m.of(f.name)
	if n, _ := shapes.Size(open.Shape); n != len(want) {
		row := harness.Row{Place: harness.Place{Stage: f.name}, Shape: shape, GotShape: slices.Clone(open.Shape)}
		row.Unmeasured(harness.WrongShape)
		return result{weight: &harness.Weight{Row: row, Difference: otherSize(shape, open.Shape)}}
	}
	got, release, err := open.Map()
	if err != nil {
		return result{err: err}
	}
	if sameValues(want, got.F32) {
		if r.err = release(); !slices.Equal(squeezed(got.Shape), squeezed(shape)) {
			r.note = fmt.Sprintf("%s: has the model's values in shape %v, not %v", label, got.Shape, shape)
		}
		return r
	}
	r.release = release
	w := newWeight(m, f.name, shape, want, got)
	row := harness.CompareValues(f.name, harness.Tensor{Shape: shape, F32: want}, harness.Tensor{Shape: shape, F32: got.F32})
	row.GotShape = got.Shape
	named := w.difference()
	if row.Status == harness.Fail && named.harmless {
		row.Status = harness.Pass
	}
	r.weight = &harness.Weight{Row: row, Difference: named.text, Quantised: named.scheme}
	if row.Status != harness.Nonfinite && !sameValues(w.got, want) {
		r.used = w.got
	}
	return r
}

// sameValues reports whether two lists of values are the same; NaN equals nothing.
func sameValues(a, b []float32) bool { return slices.Equal(a, b) }

// squeezed returns a shape without dimensions of 1.
func squeezed(shape []int) []int {
	return slices.DeleteFunc(slices.Clone(shape), func(d int) bool { return d == 1 })
}

// otherSize says how a shape of another number of values differs.
func otherSize(want, got []int) string {
	text := fmt.Sprintf("shape %v, not %v", got, want)
	if len(got) != len(want) {
		return text
	}
	for i, axis := range axisNames(len(want)) {
		rest := slices.Equal(slices.Delete(slices.Clone(got), i, i+1), slices.Delete(slices.Clone(want), i, i+1))
		switch n := want[i] - got[i]; {
		case rest && n > 0:
			return fmt.Sprintf("%s: %s missing", text, words.Count(n, axis))
		case rest:
			return fmt.Sprintf("%s: %s too many", text, words.Count(-n, axis))
		}
	}
	return text
}

// axisNames returns what is counted along the axes of a weight.
func axisNames(dims int) []string {
	if dims == 1 {
		return []string{"value"}
	}
	return []string{"row", "column"}
}

package align

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/names"
	"checkpoint12/harness/internal/words"
)

// ViewOptions are the options of [NewView]; the zero value goes by the candidate alone.
type ViewOptions struct {
	Golden harness.Source // if set: its shapes give lengths of axes, its values decide between layouts
	Hints  Hints          // of the Map that the candidate was opened with
	Batch  string         // the axis that an engine without batches leaves out

	Fixed []string // axes of the same length in every step

	// Sizes, if set, returns the lengths of axes at a step that the caller knows.
	// Shapes of the golden, then of the candidate, tell others.
	Sizes func(step int) Sizes
}

// A View is a run, candidate or golden, in the schedule's layouts, after each stage's
// Convert. Notes tells of every tensor that was not taken as it is.
//
// One layout is chosen for a family, such as h.*.attn.q: the only one of the stage's
// that all shapes fit. Where several fit, as with as many heads as positions, the
// values decide if exactly one agrees with the golden within tolerance. Otherwise the
// tensors stay as they are, as do those that no layout fits.
type View struct {
	harness.Source
	schedule *harness.Schedule
	options  ViewOptions
	layouts  map[string][]layout // of each stage with axes: its own, then the others
	sizes    map[int]Sizes
	views    map[harness.Place]stridedView // of tensors not in the schedule's layout
	hidden   map[harness.Place]bool        // tensors that are another stage's
	unusable []harness.Place

	converted sync.Map // places of which a note says that they were

	mu     sync.Mutex
	noted  []string                          // texts, each once
	places map[string]map[harness.Place]bool // of which each text is true
}

// NewView chooses layouts by the candidate's shapes and, in doubt, its values. Errors
// are of layouts and of reading tensors.
func NewView(s *harness.Schedule, candidate harness.Source, o ViewOptions) (*View, error) {
	v := &View{
		Source: candidate, schedule: s, options: o, layouts: map[string][]layout{}, sizes: map[int]Sizes{},
		views: map[harness.Place]stridedView{}, hidden: map[harness.Place]bool{},
		places: map[string]map[harness.Place]bool{},
	}
	for _, st := range s.Stages() {
		if st.Axes == "" && len(st.Layouts) == 0 {
			continue
		}
		for _, text := range append([]string{st.Axes}, st.Layouts...) {
			l, err := parseLayout(text)
			if err != nil {
				return nil, fmt.Errorf("stage %s: %w", st.Name, err)
			}
			v.layouts[st.Name] = append(v.layouts[st.Name], l)
		}
	}
	steps := slices.Clone(candidate.Steps()) // the ones that tell most first
	slices.SortStableFunc(steps, func(a, b int) int {
		return len(candidate.Stages(b)) - len(candidate.Stages(a))
	})
	fixed := Sizes{}
	for _, step := range steps {
		v.sizes[step] = v.sizesAt(step, fixed)
		for _, axis := range o.Fixed {
			if n := v.sizes[step][axis]; n > 0 {
				fixed[axis] = n
			}
		}
	}
	// The last first: Convert of scores looks at the probabilities after them.
	for _, f := range slices.Backward(v.families()) {
		if err := v.chooseLayout(f); err != nil {
			return nil, err
		}
	}
	v.showUnusable()
	return v, nil
}

// Mask returns the mask of what it shows, as harness.MaskOf does.
func (v *View) Mask() [][]int { return harness.MaskOf(v.Source) }

// Unusable returns the tensors whose shape is none of their stages', in execution order.
func (v *View) Unusable() []harness.Place { return v.unusable }

// sizesAt returns the lengths of axes at a step: those of other steps, the caller's, then
// those that follow from the golden's shapes, then from the candidate's.
func (v *View) sizesAt(step int, fixed Sizes) Sizes {
	s := maps.Clone(fixed)
	if v.options.Sizes != nil {
		maps.Copy(s, v.options.Sizes(step))
	}
	for _, src := range []harness.Source{v.options.Golden, v.Source} {
		if src != nil {
			v.learn(s, src, step)
		}
	}
	return s
}

// learn adds to s what a source's shapes at a step tell: those of which all layouts that
// they fit tell the same and, while these tell no more, the first that the schedule's
// own layout fits.
func (v *View) learn(s Sizes, src harness.Source, step int) {
	for known := -1; known < len(s); {
		known = len(s)
		var own Sizes
		for _, st := range v.schedule.Stages() {
			shape, ok := src.Shape(step, st.Name)
			var matches []Sizes
			for i, l := range v.layouts[st.Name] {
				found, fits := s.match(l, l.withBatch(shape, s, v.options.Batch))
				if ok && fits {
					matches = append(matches, found)
				}
				if ok && fits && i == 0 && len(own) == 0 {
					own = found
				}
			}
			if told := slices.CompactFunc(matches, maps.Equal); len(told) == 1 {
				maps.Copy(s, told[0])
			}
		}
		if len(s) == known {
			maps.Copy(s, own)
		}
	}
}

// Notes returns a note for each way in which tensors were read otherwise than they are,
// with their families; of what Convert changed, once the tensors have been read.
func (v *View) Notes() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var notes []string
	for _, text := range v.noted {
		in := map[string]bool{}
		for p := range v.places[text] {
			in[p.Stage] = true
		}
		var families []string
		for _, st := range v.schedule.Stages() {
			if name := names.Family(st.Name); in[st.Name] && !slices.Contains(families, name) {
				families = append(families, name)
			}
		}
		notes = append(notes, fmt.Sprintf("%s: %s (%s): %s",
			v.Name(), strings.Join(families, ", "), words.Count(len(v.places[text]), "tensor"), text))
	}
	return notes
}

// note adds tensors to those of which a text is true.
func (v *View) note(text string, places ...harness.Place) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.places[text] == nil {
		v.noted, v.places[text] = append(v.noted, text), map[harness.Place]bool{}
	}
	for _, p := range places {
		v.places[text][p] = true
	}
}

// Stages returns the stages there are at a step.
func (v *View) Stages(step int) []string {
	hidden := func(stage string) bool { return v.hidden[harness.Place{Step: step, Stage: stage}] }
	return slices.DeleteFunc(slices.Clone(v.Source.Stages(step)), hidden)
}

// Shape returns the stage's shape as the schedule has it.
func (v *View) Shape(step int, stage string) ([]int, bool) {
	p := harness.Place{Step: step, Stage: stage}
	if v.hidden[p] {
		return nil, false
	}
	if view, ok := v.views[p]; ok {
		return slices.Clone(view.shape), true
	}
	return v.Source.Shape(step, stage)
}

// Open returns the stage as the schedule has it: in parts where it is in that layout.
func (v *View) Open(step int, stage string) (harness.Parts, error) {
	p := harness.Place{Step: step, Stage: stage}
	if _, other := v.views[p]; other || v.hidden[p] {
		return v.Tensor(step, stage)
	}
	parts, err := harness.Open(v.Source, step, stage)
	st, _ := v.schedule.Stage(stage)
	if shape, _ := v.Source.Shape(step, stage); err == nil && st.Convert != nil && len(shape) > 0 {
		return &converted{parts, v, st, p, shape}, nil
	}
	return parts, err
}

// converted is a tensor after its stage's Convert.
type converted struct {
	harness.Parts
	view  *View
	stage harness.Stage
	place harness.Place
	shape []int
}

// Part reads the rows that the elements lie in.
func (c *converted) Part(i, n int, mem *harness.Tensor) (harness.Tensor, error) {
	width := c.shape[len(c.shape)-1]
	first, end := i/width, (i+n+width-1)/width
	t, err := c.Parts.Part(first*width, (end-first)*width, mem)
	if err == nil {
		t.F32, err = c.view.convert(c.stage, c.place, c.shape, first, t.F32)
	}
	if err != nil {
		return t, err
	}
	t.F32 = t.F32[i-first*width:][:n]
	return t, nil
}

// convert calls the stage's Convert and notes what it says of a place, once.
func (v *View) convert(st harness.Stage, p harness.Place, shape []int, row int, values []float32) ([]float32, error) {
	out, what, err := st.Convert(v, p.Step, shape, row, values)
	if what == "" || err != nil {
		return out, err
	}
	if _, twice := v.converted.LoadOrStore(p, true); !twice {
		v.note(what, p)
	}
	return out, nil
}

// Tensor returns the stage as the schedule has it.
func (v *View) Tensor(step int, stage string) (harness.Tensor, error) {
	p := harness.Place{Step: step, Stage: stage}
	if v.hidden[p] {
		return harness.Tensor{}, fmt.Errorf("%s: no stage %s at step %d", v.Name(), stage, step)
	}
	t, err := v.Source.Tensor(step, stage)
	if err != nil {
		return t, err
	}
	if view, ok := v.views[p]; ok {
		if t, err = view.tensor(t); err != nil {
			return t, fmt.Errorf("%s: %s: %w", v.Name(), p, err)
		}
	}
	if st, _ := v.schedule.Stage(stage); st.Convert != nil {
		t.F32, err = v.convert(st, p, t.Shape, 0, t.F32)
	}
	return t, err
}

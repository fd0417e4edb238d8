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

// ViewOptions says what a View knows besides the candidate.
type ViewOptions struct {
	// Golden, if there is one, gives lengths of axes and, where a shape fits
	// several layouts, the values that decide between them.
	Golden harness.Source

	// Sizes, if set, is the lengths of axes at a step, as far as the caller
	// knows them.
	Sizes func(step int) Sizes

	// Batch is the axis that an engine without batches leaves out.
	Batch string

	// Varying is the axes whose length differs from step to step; what one step
	// shows of any other goes for all.
	Varying []string
}

// View is a candidate as the schedule has it: tensors of another but compatible
// layout are given in the stage's own, and what a stage's Conform mends is
// mended. It never does so silently: Notes says what was read how.
//
// An engine has one layout for all tensors of a family, such as h.*.attn.q, so
// one is chosen for a family: the only one of the stage's that all shapes fit.
// Where several fit, as when there are as many heads as positions, the values
// decide if exactly one agrees with the golden within its bound; otherwise the
// tensors stay as they are and a note says that nobody can tell. A tensor that
// fits no layout stays as it is too, and is judged.
type View struct {
	harness.Source
	schedule *harness.Schedule
	layouts  map[string][]layout // of each stage with axes: its own, then the others
	options  ViewOptions
	sizes    map[int]Sizes
	reads    map[harness.Place]reading // of what is not as the schedule has it
	hidden   map[harness.Place]bool    // what turned out to be another stage's

	mu      sync.Mutex
	remarks []*remark
}

// remark is one thing to say of many tensors.
type remark struct {
	what   string
	places map[harness.Place]bool
}

// NewView looks at the candidate's shapes and, where they leave a doubt, at its
// values. Errors are tensors that cannot be read.
func NewView(s *harness.Schedule, candidate harness.Source, o ViewOptions) (*View, error) {
	v := &View{
		Source: candidate, schedule: s, options: o,
		reads: map[harness.Place]reading{}, hidden: map[harness.Place]bool{},
	}
	if err := v.parseLayouts(); err != nil {
		return nil, err
	}
	v.learnSizes()
	// The last first: what mends scores looks at the probabilities after them.
	for _, f := range slices.Backward(v.families()) {
		if err := v.choose(f); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// parseLayouts reads the Axes and Layouts of every stage.
func (v *View) parseLayouts() error {
	v.layouts = map[string][]layout{}
	for _, st := range v.schedule.Stages() {
		if st.Axes == "" {
			if len(st.Layouts) > 0 {
				return fmt.Errorf("stage %s: layouts %q of axes that are not named", st.Name, st.Layouts)
			}
			continue
		}
		for _, text := range append([]string{st.Axes}, st.Layouts...) {
			l, err := parseLayout(text)
			if err != nil {
				return fmt.Errorf("stage %s: %w", st.Name, err)
			}
			v.layouts[st.Name] = append(v.layouts[st.Name], l)
		}
	}
	return nil
}

// Notes says which tensors were not taken as they are, and how: a note for each
// way, with the families that it goes for. What Conform mended is noted once the
// tensors have been read.
func (v *View) Notes() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var notes []string
	for _, r := range v.remarks {
		var families []string
		for _, st := range v.schedule.Stages() {
			name := names.Family(st.Name)
			if !slices.Contains(families, name) && r.of(name) {
				families = append(families, name)
			}
		}
		notes = append(notes, fmt.Sprintf("%s: %s (%s): %s", v.Name(), strings.Join(families, ", "), words.Count(len(r.places), "tensor"), r.what))
	}
	return notes
}

// of says whether the remark is of a family.
func (r *remark) of(name string) bool {
	for p := range r.places {
		if names.Family(p.Stage) == name {
			return true
		}
	}
	return false
}

// remark says something of tensors, once however often it is said.
func (v *View) remark(what string, places ...harness.Place) {
	v.mu.Lock()
	defer v.mu.Unlock()
	i := slices.IndexFunc(v.remarks, func(r *remark) bool { return r.what == what })
	if i < 0 {
		i = len(v.remarks)
		v.remarks = append(v.remarks, &remark{what, map[harness.Place]bool{}})
	}
	for _, p := range places {
		v.remarks[i].places[p] = true
	}
}

// Stages is the stages there are at a step.
func (v *View) Stages(step int) []string {
	return slices.DeleteFunc(slices.Clone(v.Source.Stages(step)), func(stage string) bool { return v.hidden[harness.Place{Step: step, Stage: stage}] })
}

// Shape is the stage's shape as the schedule has it.
func (v *View) Shape(step int, stage string) ([]int, bool) {
	if v.hidden[harness.Place{Step: step, Stage: stage}] {
		return nil, false
	}
	if r, ok := v.reads[harness.Place{Step: step, Stage: stage}]; ok {
		return slices.Clone(r.shape), true
	}
	return v.Source.Shape(step, stage)
}

// Tensor is the stage as the schedule has it.
func (v *View) Tensor(step int, stage string) (harness.Tensor, error) {
	return v.TensorInto(step, stage, new(harness.Tensor))
}

// TensorInto is Tensor, in mem where that is possible.
func (v *View) TensorInto(step int, stage string, mem *harness.Tensor) (harness.Tensor, error) {
	if v.hidden[harness.Place{Step: step, Stage: stage}] {
		return harness.Tensor{}, fmt.Errorf("%s: no stage %s at step %d", v.Name(), stage, step)
	}
	t, err := harness.TensorInto(v.Source, step, stage, mem)
	if err != nil {
		return t, err
	}
	if r, ok := v.reads[harness.Place{Step: step, Stage: stage}]; ok {
		t = r.tensor(t)
	}
	st, ok := v.schedule.Stage(stage)
	if !ok || st.Conform == nil {
		return t, nil
	}
	out, what := st.Conform(v, step, t)
	if what != "" {
		v.remark(what, harness.Place{Step: step, Stage: stage})
	}
	return out, nil
}

// learnSizes gathers the lengths of axes at each step: what the caller says,
// then what the golden's shapes say, then the candidate's where they contradict
// nothing.
func (v *View) learnSizes() {
	v.sizes = map[int]Sizes{}
	for _, step := range v.Steps() {
		v.sizes[step] = Sizes{}
		if v.options.Sizes != nil {
			maps.Copy(v.sizes[step], v.options.Sizes(step))
		}
	}
	for _, src := range []harness.Source{v.options.Golden, v.Source} {
		if src == nil {
			continue
		}
		for range 2 { // a second look: by now one side of a product may be known
			for step, sizes := range v.sizes {
				for _, st := range v.schedule.Stages() {
					if shape, ok := src.Shape(step, st.Name); ok && st.Axes != "" {
						own := v.layouts[st.Name][0]
						sizes.learn(own, own.withBatch(shape, sizes, v.options.Batch))
					}
				}
			}
			v.share()
		}
	}
}

// share gives what one step knows of an axis that does not vary to all.
func (v *View) share() {
	for _, from := range v.sizes {
		for a, n := range from {
			if slices.Contains(v.options.Varying, a) {
				continue
			}
			for _, to := range v.sizes {
				if _, ok := to[a]; !ok {
					to[a] = n
				}
			}
		}
	}
}

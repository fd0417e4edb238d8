package align

import (
	"fmt"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/names"
)

// tensorFamily is the tensors that an engine lays out alike.
type tensorFamily struct {
	stage  harness.Stage // one of them, for its layouts
	places []harness.Place
	said   declaration // what the source was told of them
}

// declarer is a source that has been told of some tensors in which layout they
// are.
type declarer interface {
	declared(step int, stage string) declaration
}

// families groups the candidate's tensors, in execution order.
func (v *View) families() []*tensorFamily {
	var all []*tensorFamily
	index := map[string]*tensorFamily{}
	for _, p := range v.schedule.Places(v.Source, nil) {
		st, _ := v.schedule.Stage(p.Stage)
		if st.Axes == "" {
			continue
		}
		f := &tensorFamily{stage: st}
		if d, ok := v.Source.(declarer); ok {
			f.said = d.declared(p.Step, p.Stage)
		}
		key := fmt.Sprint(names.Family(p.Stage), st.Axes, f.said)
		if index[key] == nil {
			index[key] = f
			all = append(all, f)
		}
		index[key].places = append(index[key].places, p)
	}
	return all
}

// option is one layout that a family may have.
type option struct {
	layout
	first    bool   // it is the schedule's own
	own      layout // the schedule's
	said     declaration
	readings map[harness.Place]reading
	worst    fit
}

// choose finds the layout of a family and keeps how to read what is not as the
// schedule has it.
func (v *View) choose(f *tensorFamily) error {
	options := v.optionsOf(f)
	var fitting []harness.Place // what fits some layout; the rest stays as it is
	for _, p := range f.places {
		fits, err := v.try(options, p)
		if err != nil {
			return err
		}
		if fits {
			fitting = append(fitting, p)
		} else if f.said.optional {
			v.hidden[p] = true
		} else if len(f.said.layouts) > 0 {
			shape, _ := v.Source.Shape(p.Step, p.Stage)
			v.remark(fmt.Sprintf("of a shape that is not %s, which the map says: such as %v at %s", texts(options), shape, f.places[0]), p)
		}
	}
	if len(fitting) == 0 {
		return nil
	}
	options = v.narrow(options, fitting)
	if len(options) == 0 { // each fits some, but no one fits all
		return nil
	}
	chosen := 0
	if len(options) > 1 {
		var err error
		if chosen, err = v.byValues(options, fitting); err != nil {
			return err
		}
	}
	if chosen < 0 {
		v.remark(fmt.Sprintf("of a shape that goes with the axes %s, and the values do not decide: taken as they are", texts(options)), fitting...)
		return nil
	}
	v.take(options[chosen], fitting)
	return nil
}

// optionsOf is the layouts to try: what the source was told, else the stage's,
// and these with the rows of a batch one after the other.
func (v *View) optionsOf(f *tensorFamily) (options []*option) {
	own := v.layouts[f.stage.Name]
	layouts := own
	if len(f.said.layouts) > 0 {
		layouts = f.said.layouts
	}
	add := func(l layout, first bool) {
		options = append(options, &option{layout: l, first: first, own: own[0], said: f.said, worst: exactFit, readings: map[harness.Place]reading{}})
	}
	for i, l := range layouts {
		add(l, i == 0 && len(f.said.layouts) == 0)
	}
	for _, l := range layouts {
		if m, ok := l.merged(v.options.Batch); ok {
			add(m, false)
		}
	}
	return options
}

// try fits every option to one tensor and says whether any fits. One with an
// axis more than the stage has fits where all along that axis is the same.
func (v *View) try(options []*option, p harness.Place) (any bool, err error) {
	shape, _ := v.Source.Shape(p.Step, p.Stage)
	var array harness.Tensor
	for _, o := range options {
		dims, how := o.fits(shape, v.sizes[p.Step], v.options.Batch, o.said.pad)
		if how == noFit {
			continue
		}
		r, ok := newReading(o.layout, o.own, dims, v.sizes[p.Step], o.said)
		if !ok {
			continue
		}
		if len(r.extra) > 0 {
			if array.Shape == nil {
				if array, err = v.Source.Tensor(p.Step, p.Stage); err != nil {
					return false, err
				}
			}
			if !r.repeats(array) {
				continue
			}
		}
		o.worst, o.readings[p], any = min(o.worst, how), r, true
	}
	return any, nil
}

// narrow keeps the options that all tensors fit, of these the ones that they fit
// best, and of those that take the same elements in the same order the first.
func (v *View) narrow(options []*option, places []harness.Place) []*option {
	best := noFit
	options = slices.DeleteFunc(options, func(o *option) bool { return len(o.readings) < len(places) })
	for _, o := range options {
		best = max(best, o.worst)
	}
	var kept []*option
	for _, o := range options {
		if o.worst < best {
			continue
		}
		same := func(k *option) bool {
			return !slices.ContainsFunc(places, func(p harness.Place) bool { return !k.readings[p].same(o.readings[p]) })
		}
		if slices.ContainsFunc(kept, same) {
			continue
		}
		kept = append(kept, o)
	}
	return kept
}

// byValues finds the option by which the tensors agree with the golden: some
// tensor agrees by it alone, and none by another alone. Failing that it is the
// schedule's own layout, or -1 where that is none of the options.
func (v *View) byValues(options []*option, places []harness.Place) (int, error) {
	own := slices.IndexFunc(options, func(o *option) bool { return o.first })
	if v.options.Golden == nil {
		return own, nil
	}
	differ, err := harness.FirstOtherTokens(v.schedule, v.options.Golden, v.Source, 0)
	if err != nil {
		return own, nil // Compare says why nothing can be compared
	}
	chosen := -1
	for _, p := range places {
		if p.Step >= differ {
			continue
		}
		agrees, err := v.agreeing(options, p)
		switch {
		case err != nil:
			return -1, err
		case len(agrees) != 1 || agrees[0] == chosen:
		case chosen < 0:
			chosen = agrees[0]
		default:
			return own, nil // one agrees by this, another by that
		}
	}
	if chosen < 0 {
		chosen = own
	}
	return chosen, nil
}

// agreeing is the options by which a tensor is within its bound of the golden's.
func (v *View) agreeing(options []*option, p harness.Place) (agrees []int, err error) {
	if _, ok := v.options.Golden.Shape(p.Step, p.Stage); !ok {
		return nil, nil
	}
	want, err := v.options.Golden.Tensor(p.Step, p.Stage)
	if err != nil {
		return nil, err
	}
	got, err := v.Source.Tensor(p.Step, p.Stage)
	if err != nil {
		return nil, err
	}
	st, _ := v.schedule.Stage(p.Stage)
	for i, o := range options {
		t := o.readings[p].tensor(got)
		if st.Conform != nil {
			t, _ = st.Conform(v, p.Step, t)
		}
		row, err := harness.CompareTensor(st, want, t, 0)
		if err != nil {
			return nil, err
		}
		if row.Status == harness.Pass {
			agrees = append(agrees, i)
		}
	}
	return agrees, nil
}

// take keeps how the places are read, and remarks on what is not as the
// schedule has it.
func (v *View) take(o *option, places []harness.Place) {
	for _, p := range places {
		shape, _ := v.Source.Shape(p.Step, p.Stage)
		r := o.readings[p]
		if o.first && slices.Equal(shape, r.shape) {
			continue
		}
		v.reads[p] = r
		switch {
		case !o.first && o.text != o.own.text:
			v.remark(fmt.Sprintf("axes %s put into the order %s", o.text, o.own.text), p)
		case len(shape) < len(r.shape) && o.own.place(v.options.Batch) >= 0:
			v.remark(fmt.Sprintf("no axis %s: taken for a batch of one", v.options.Batch), p)
		case !slices.Equal(shape, r.shape):
			v.remark(fmt.Sprintf("another number of axes of length 1 than in %s", o.own.text), p)
		}
		if r.cut {
			v.remark(fmt.Sprintf("axis %s is longer than it should be: the rest was cut off", o.said.pad), p)
		}
	}
}

func texts(options []*option) string {
	var all []string
	for _, o := range options {
		all = append(all, o.text)
	}
	return strings.Join(all, " or ")
}

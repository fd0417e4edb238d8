package align

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/names"
	"checkpoint12/model/parallel"
)

// A family is the tensors that an engine lays out alike.
type family struct {
	own    layout   // the schedule's
	known  []layout // the hint's, else the stage's, its own first
	hint   hint
	places []harness.Place
}

// families groups the candidate's tensors, in execution order.
func (v *View) families() []*family {
	var all []*family
	index := map[string]*family{}
	for _, p := range v.schedule.Places(v.Source, nil) {
		layouts, h := v.layouts[p.Stage], v.options.Hints.of[p]
		if len(layouts) == 0 {
			continue
		}
		f := &family{own: layouts[0], known: layouts, hint: h}
		if len(h.layouts) > 0 {
			f.known = h.layouts
		}
		key := fmt.Sprint(names.Family(p.Stage), f.own, f.known, h.Pad, h.Split, h.part, h.optional())
		if index[key] == nil {
			index[key], all = f, append(all, f)
		}
		index[key].places = append(index[key].places, p)
	}
	return all
}

// An option is one layout in which a family may be.
type option struct {
	layout
	exact bool // it fits the shape of each tensor exactly
	views map[harness.Place]stridedView
}

// options returns the layouts to try: those known, as they are and by mergeBatch.
func (f *family) options(batch string) (all []*option) {
	layouts := slices.Clone(f.known)
	for _, l := range f.known {
		if merged, ok := l.mergeBatch(batch); ok {
			layouts = append(layouts, merged)
		}
	}
	for _, l := range layouts {
		all = append(all, &option{layout: l, exact: true, views: map[harness.Place]stridedView{}})
	}
	return all
}

// chooseLayout finds a family's layout and keeps how to read its tensors. One that no
// layout fits stays as it is.
func (v *View) chooseLayout(f *family) error {
	options := f.options(v.options.Batch)
	if slack, err := v.slack(f); err != nil {
		return err
	} else if slack != "" {
		f.hint.Pad = slack
	}
	var fitting []harness.Place
	for _, p := range f.places {
		fits, err := v.fitAll(options, f, p)
		switch {
		case err != nil:
			return err
		case fits:
			fitting = append(fitting, p)
		case f.hint.optional():
			v.hidden[p] = true
		case v.isGoldens(p): // whatever it is, it is compared as it is
		default:
			v.unusable = append(v.unusable, p)
			if len(f.hint.layouts) > 0 {
				shape, _ := v.Source.Shape(p.Step, p.Stage)
				v.note(fmt.Sprintf("of a shape that is not %s as the map has it: such as %v at %s",
					texts(options), shape, f.places[0]), p)
			}
		}
	}
	options = dropEquivalent(options, fitting)
	if len(fitting) == 0 || len(options) == 0 { // none fits, or each another
		return nil
	}
	chosen, err := v.decide(options, f, fitting)
	switch {
	case err != nil:
		return err
	case chosen == nil:
		v.note(fmt.Sprintf("of a shape that fits the axes %s, and the values do not decide: read as they are",
			texts(options)), fitting...)
	default:
		v.useLayout(chosen, f, fitting)
	}
	return nil
}

// slack returns the axis along which a family's tensors are as long as they were allocated: all of
// them are of one length, which is none of their own, and of one step what comes after is zeros. It is
// "" if they are not, or if a manifest says what they are.
func (v *View) slack(f *family) (axis string, err error) {
	st, _ := v.schedule.Stage(f.places[0].Stage)
	if st.Slack == "" || v.Source.Manifest() != nil || f.hint.Pad != "" {
		return "", nil
	}
	for _, o := range f.options(v.options.Batch) {
		lengths, own := map[int]bool{}, map[int]bool{}
		zeros := true
		for _, p := range f.places {
			shape, _ := v.Source.Shape(p.Step, p.Stage)
			sizes := v.sizes[p.Step]
			in, _, ok := o.fit(shape, sizes, v.options.Batch, st.Slack)
			view, there := newStridedView(o.layout, f.own, in, sizes, f.hint)
			if !ok || !there {
				own = nil
				break
			}
			lengths[in[st.Slack]], own[sizes[st.Slack]] = true, true
			if zeros && view.cut {
				array, err := v.Source.Tensor(p.Step, p.Stage)
				if err != nil {
					return "", err
				}
				kept, err := view.tensor(array)
				if err != nil {
					return "", err
				}
				zeros = nonzero(kept) == nonzero(array)
			}
		}
		if len(lengths) == 1 && (len(own) > 1 || len(own) == 1 && zeros) {
			return st.Slack, nil
		}
	}
	return "", nil
}

// nonzero returns how many values of a tensor are not 0.
func nonzero(t harness.Tensor) (n int) {
	for _, x := range t.F32 {
		if x != 0 {
			n++
		}
	}
	return n
}

// showUnusable shows a tensor that has the shape of none of its stages as the first of
// them, so that it is judged.
func (v *View) showUnusable() {
	hidden := map[string]int{} // of the stages of a file
	for p := range v.hidden {
		hidden[v.options.Hints.of[p].path]++
	}
	for p := range v.hidden {
		if h := v.options.Hints.of[p]; h.part == 0 && hidden[h.path] == len(h.To) {
			delete(v.hidden, p)
			v.unusable = append(v.unusable, p)
		}
	}
	slices.SortFunc(v.unusable, v.schedule.Compare)
}

// isGoldens reports whether a tensor has the shape of the golden's.
func (v *View) isGoldens(p harness.Place) bool {
	if v.options.Golden == nil {
		return false
	}
	want, ok := v.options.Golden.Shape(p.Step, p.Stage)
	shape, _ := v.Source.Shape(p.Step, p.Stage)
	return ok && slices.Equal(want, shape)
}

func texts(options []*option) string {
	var all []string
	for _, o := range options {
		all = append(all, o.text)
	}
	return strings.Join(all, " or ")
}

// fitAll fits every option to one tensor and reports whether any fits, if none does then
// to its last position where that may be all there is.
func (v *View) fitAll(options []*option, f *family, p harness.Place) (any bool, err error) {
	sizes := v.sizes[p.Step]
	any, err = v.fitSizes(options, f, p, sizes)
	if st, _ := v.schedule.Stage(p.Stage); any || err != nil || !st.LastAlone || sizes["T"] < 2 {
		return any, err
	}
	sizes = maps.Clone(sizes)
	sizes["T"] = 1
	return v.fitSizes(options, f, p, sizes)
}

// fitSizes fits every option to a tensor of these lengths. One with an axis that the
// stage lacks fits if the values repeat along it.
func (v *View) fitSizes(options []*option, f *family, p harness.Place, sizes Sizes) (any bool, err error) {
	shape, _ := v.Source.Shape(p.Step, p.Stage)
	var array harness.Tensor // read when it is needed
	for _, o := range options {
		in, exact, ok := o.fit(shape, sizes, v.options.Batch, f.hint.Pad)
		if !ok {
			continue
		}
		view, ok := newStridedView(o.layout, f.own, in, sizes, f.hint)
		if !ok {
			continue
		}
		if len(view.extra) > 0 {
			if array.Shape == nil {
				if array, err = v.Source.Tensor(p.Step, p.Stage); err != nil {
					return false, err
				}
			}
			if same, err := view.repeats(array); err != nil {
				return false, err
			} else if !same {
				continue
			}
		}
		o.views[p], o.exact, any = view, o.exact && exact, true
	}
	return any, nil
}

// dropEquivalent keeps the options that fit all tensors, only exact ones if there are
// any, and the first of those that take the same elements in the same order.
func dropEquivalent(options []*option, places []harness.Place) (kept []*option) {
	options = slices.DeleteFunc(options, func(o *option) bool { return len(o.views) < len(places) })
	anyExact := slices.ContainsFunc(options, func(o *option) bool { return o.exact })
	for _, o := range options {
		equivalent := func(k *option) bool {
			return !slices.ContainsFunc(places, func(p harness.Place) bool { return !k.views[p].same(o.views[p]) })
		}
		if o.exact == anyExact && !slices.ContainsFunc(kept, equivalent) {
			kept = append(kept, o)
		}
	}
	return kept
}

// decide returns the option by which alone some tensor agrees with the golden, if there
// is just one such, else the schedule's own layout, or nil if that is no option.
func (v *View) decide(options []*option, f *family, places []harness.Place) (*option, error) {
	if len(options) == 1 {
		return options[0], nil
	}
	var own, chosen *option
	for _, o := range options {
		if o.text == f.own.text {
			own = o
		}
	}
	if v.options.Golden == nil {
		return own, nil
	}
	differ, err := harness.FirstOtherTokens(v.schedule, v.options.Golden, v.Source, 0)
	if err != nil {
		return own, nil // Compare returns the same error
	}
	agreeing, errs := make([][]*option, len(places)), make([]error, len(places))
	ask := func(options ...*option) {
		parallel.For(len(places), func(i int) {
			if places[i].Step < differ {
				agreeing[i], errs[i] = v.agreeing(options, places[i])
			}
		})
	}
	if own != nil { // where it agrees everywhere the others do not matter
		ask(own)
		if !slices.ContainsFunc(agreeing, func(by []*option) bool { return len(by) == 0 }) {
			return own, nil
		}
	}
	ask(options...)
	for i := range places {
		if errs[i] != nil {
			return nil, errs[i]
		}
		if len(agreeing[i]) != 1 {
			continue
		}
		if chosen != nil && chosen != agreeing[i][0] {
			return own, nil // one agrees by this, another by that
		}
		chosen = agreeing[i][0]
	}
	return cmp.Or(chosen, own), nil
}

// agreeing returns the options by which a tensor is within tolerance of the golden's.
func (v *View) agreeing(options []*option, p harness.Place) (agreeing []*option, err error) {
	if _, ok := v.options.Golden.Shape(p.Step, p.Stage); !ok {
		return nil, nil
	}
	want, err := v.options.Golden.Tensor(p.Step, p.Stage)
	if err != nil {
		return nil, err
	}
	array, err := v.Source.Tensor(p.Step, p.Stage)
	if err != nil {
		return nil, err
	}
	st, _ := v.schedule.Stage(p.Stage)
	for _, o := range options {
		t, err := o.views[p].tensor(array)
		if err != nil {
			return nil, err
		}
		if st.Convert != nil {
			if t.F32, _, err = st.Convert(v, p.Step, t.Shape, 0, t.F32); err != nil {
				return nil, err
			}
		}
		row, err := harness.CompareTensor(st, want, t, 0)
		if err != nil {
			return nil, err
		}
		if row.Status == harness.Pass {
			agreeing = append(agreeing, o)
		}
	}
	return agreeing, nil
}

// useLayout keeps how the places are read, and notes what is not the schedule's way.
func (v *View) useLayout(o *option, f *family, places []harness.Place) {
	for _, p := range places {
		shape, _ := v.Source.Shape(p.Step, p.Stage)
		view := o.views[p]
		if o.text == f.own.text && slices.Equal(shape, view.shape) {
			continue
		}
		v.views[p] = view
		switch {
		case o.text != f.own.text:
			v.note(fmt.Sprintf("axes %s put into the order %s", o.text, f.own.text), p)
		case len(shape) < len(view.shape) && f.own.index(v.options.Batch) >= 0:
			v.note(fmt.Sprintf("no axis %s: read as a batch of one", v.options.Batch), p)
		case !view.cut && !slices.Equal(shape, view.shape):
			v.note(fmt.Sprintf("axes of length 1 added or left out: read as %s", f.own.text), p)
		}
		if view.cut {
			v.note(fmt.Sprintf("axis %s is longer than it should be: the rest was cut off", f.hint.Pad), p)
		}
	}
}

package fit

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness/internal/shapes"
	"checkpoint12/model"
)

func init() {
	for _, word := range []string{"attn.q", "attn.k", "attn.v", "attn.cache_k", "attn.cache_v", "attn.scores", "attn.probs", "attn.context", "mlp.act", "logits_last"} {
		searches[word] = append(searches[word], otherReads)
	}
}

// A position is one position of one row of the batch of a step, as if it were a step of its own.
type position struct {
	b, t int
	d    model.Dims // of the step
}

// dims returns those of the step of one position.
func (p position) dims() model.Dims { return model.Dims{B: 1, T: 1, P: p.d.P + p.t} }

// places returns the flat indices of a tensor's values that belong to the position: all keys that
// the position can see.
func (p position) places(cfg model.Config, name string) (all []int) {
	axes := strings.Fields(strings.NewReplacer("(", "", ")", "").Replace(model.Axes(name)))
	shape := make([]int, len(axes))
	for i, a := range axes {
		shape[i] = p.d.Length(cfg, a)
	}
	var walk func(axis, flat int)
	walk = func(axis, flat int) {
		if axis == len(axes) {
			all = append(all, flat)
			return
		}
		first, last := 0, shape[axis]
		switch axes[axis] {
		case "B":
			first, last = p.b, p.b+1
		case "T":
			first, last = p.t, p.t+1
		case "S":
			last = p.d.P + p.t + 1
		}
		for i := first; i < last; i++ {
			walk(axis+1, flat*shape[axis]+i)
		}
	}
	walk(0, 0)
	return all
}

// reading is which stages a stage reads, as seen from it, each for one of its own inputs.
type reading struct {
	kinds  []string
	before bool // those of the step before
}

// text says what is read in the place of what.
func (x reading) text(own []string) string {
	var parts []string
	for i, kind := range x.kinds {
		switch {
		case x.before:
			parts = append(parts, fmt.Sprintf("%s of the step before", kind))
		case kind != own[i]:
			parts = append(parts, fmt.Sprintf("%s, where %s belongs", kind, own[i]))
		}
	}
	return "it reads " + strings.Join(parts, ", and ")
}

// output returns what a stage's correct function gives on another reading.
func (x reading) output(s *Stage) []float32 {
	cfg := s.Model.Config()
	at, _ := model.ParseStage(s.Name)
	own := model.Reads(cfg, s.Name)
	shape, err := model.Shape(cfg, s.Name, s.Dims)
	if err != nil || x.before && (s.Step == 0 || s.At == nil) {
		return nil
	}
	out := make([]float32, shapes.Product(shape))
	err = s.Model.Apply(s.Name, s.Dims, func(name string) []float32 {
		i := slices.Index(own, name)
		if i < 0 {
			return s.In(name)
		}
		if x.before {
			return s.newest(s.At(s.Step-1, name), name)
		}
		return s.In(readAs(cfg, at, x.kinds[i]))
	}, out)
	if err != nil {
		return nil
	}
	return out
}

// newest returns what an earlier step has of a stage that has rows [B,T] in the step's own shape: of
// more positions the last.
func (s *Stage) newest(x []float32, name string) []float32 {
	shape, err := model.Shape(s.Model.Config(), name, s.Dims)
	own := shapes.Product(shape)
	if err != nil || len(x) <= own || len(x)%s.Dims.B > 0 || !strings.HasPrefix(model.Axes(name), "B T") {
		return x
	}
	out := make([]float32, 0, own)
	for b := range s.Dims.B {
		row := x[b*len(x)/s.Dims.B:][:len(x)/s.Dims.B]
		out = append(out, row[len(row)-own/s.Dims.B:]...)
	}
	return out
}

// readFrom is seenFrom of what a stage reads, which may be a stage of the step before.
func readFrom(cfg model.Config, from model.StageName, name string) string {
	stage, prev := strings.CutPrefix(name, "prev:")
	if kind := seenFrom(cfg, from, stage); !prev {
		return kind
	} else {
		return "the past's " + kind
	}
}

// readAs is asSeen of a name of readFrom.
func readAs(cfg model.Config, from model.StageName, name string) string {
	if kind, prev := strings.CutPrefix(name, "the past's "); prev {
		return "prev:" + asSeen(cfg, from, kind)
	}
	return asSeen(cfg, from, name)
}

// otherReads proposes other tensors of the step as the inputs of a stage without weights: each
// alone, and all of them those of another layer or of the step before.
func otherReads(r *Row) (all []Hypothesis) {
	cfg := r.Model.Config()
	here, _ := model.ParseStage(r.Name)
	own := model.Reads(cfg, r.Name)
	kinds := make([]string, len(own))
	for i, name := range own {
		kinds[i] = readFrom(cfg, here, name)
	}
	var tried []reading
	for i, name := range own {
		prefix := ""
		if strings.HasPrefix(name, "prev:") {
			prefix = "prev:"
		}
		for _, other := range model.StageNames(cfg, nil) {
			if prefix == "" && other == r.Name {
				break
			}
			if prefix+other == name || model.Axes(prefix+other) == "" || model.Axes(prefix+other) != model.Axes(name) {
				continue
			}
			x := reading{kinds: slices.Clone(kinds)}
			x.kinds[i] = readFrom(cfg, here, prefix+other)
			tried = append(tried, x)
		}
	}
	for layer := 0; len(own) > 1 && here.Layer >= 0 && layer < cfg.Layers; layer++ {
		x := reading{}
		for _, name := range own {
			stage, prev := strings.CutPrefix(name, "prev:")
			s, _ := model.ParseStage(stage)
			s.Layer = layer
			stage = s.String()
			if prev {
				stage = "prev:" + stage
			}
			x.kinds = append(x.kinds, readFrom(cfg, here, stage))
		}
		if layer < here.Layer {
			tried = append(tried, x)
		}
	}
	tried = append(tried, reading{kinds: kinds, before: true})
	found := 0
	for _, x := range tried {
		if !r.may(x) {
			continue
		}
		if found++; found > 8 {
			break
		}
		numbers := -1
		for i, kind := range x.kinds {
			if kind != kinds[i] {
				numbers++
			}
		}
		all = append(all, Hypothesis{
			ID: PatternOtherInput, Numbers: max(numbers, 0), Output: x.output,
			Text: x.text(kinds) + ": check what each layer is handed",
		})
	}
	return all
}

// may reports whether a reading gives the row's output at the position that is most wrong.
func (r *Row) may(x reading) bool {
	s, _ := model.ParseStage(r.Name)
	if strings.HasPrefix(s.Word, "attn.cache_") || s.Word == "logits_last" {
		out := x.output(&r.Stage)
		return out != nil && r.near(out, nil)
	}
	p, ok := r.worst()
	if !ok {
		return false
	}
	cfg := r.Model.Config()
	own := model.Reads(cfg, r.Name)
	places := p.places(cfg, r.Name)
	out := make([]float32, len(places))
	err := r.Model.Apply(r.Name, p.dims(), func(name string) []float32 {
		i := slices.Index(own, name)
		if i < 0 {
			return nil
		}
		var in []float32
		if x.before {
			if r.Step == 0 {
				return nil
			}
			if in = r.At(r.Step-1, name); len(in) != len(r.In(name)) {
				return nil
			}
		} else {
			in = r.In(readAs(cfg, s, x.kinds[i]))
		}
		if in == nil {
			return nil
		}
		var one []float32
		for _, i := range p.places(cfg, name) {
			if i >= len(in) {
				return nil
			}
			one = append(one, in[i])
		}
		return one
	}, out)
	return err == nil && r.near(out, places)
}

// worst returns the position with the most wrong value.
func (r *Row) worst() (p position, ok bool) {
	cfg := r.Model.Config()
	axes := strings.Fields(strings.NewReplacer("(", "", ")", "").Replace(model.Axes(r.Name)))
	shape := make([]int, len(axes))
	for i, a := range axes {
		shape[i] = r.Dims.Length(cfg, a)
	}
	worst, most := -1, 0.0
	for _, i := range r.places() {
		if d := math.Abs(float64(r.Got[i]) - float64(r.Right[i])); d > most {
			worst, most = i, d
		}
	}
	if worst < 0 {
		return p, false
	}
	p.d = r.Dims
	index := shapes.Index(worst, shape)
	for i, a := range axes {
		switch a {
		case "B":
			p.b = index[i]
		case "T":
			p.t = index[i]
		}
	}
	return p, true
}

// near reports whether values are the row's output at its places, or at those given, up to
// rounding; of those that are to be explained.
func (r *Row) near(out []float32, places []int) bool {
	size := 0.0
	for i := range out {
		if g := float64(r.Got[placed(places, i)]); finite(float32(g)) {
			size = max(size, math.Abs(g))
		}
	}
	for i, v := range out {
		at := placed(places, i)
		if r.Part != nil && !r.Part[at] || !finite(r.Got[at]) || v == r.Got[at] {
			continue
		}
		if !(math.Abs(float64(v)-float64(r.Got[at])) <= r.slack(at, size)) {
			return false
		}
	}
	return true
}

// slack returns how much rounding may do to the row's value at a place, where its output is of a
// size: more where the value is larger than the correct one.
func (r *Row) slack(i int, size float64) float64 {
	tol := 2e-6 * size
	if r.Bound != nil && r.Bound[i] == r.Bound[i] {
		grown := math.Abs(float64(r.Got[i])) / math.Max(math.Abs(float64(r.Right[i])), 1e-30)
		tol += 4 * float64(r.Bound[i]) * math.Min(math.Max(grown, 1), 1e6)
	}
	return tol
}

// placed returns the i-th of places; nil is every place.
func placed(places []int, i int) int {
	if places == nil {
		return i
	}
	return places[i]
}

func init() {
	blind[""] = append(blind[""], ofNeighbours)
}

// nearLayers are those whose inputs and weights are tried where the output is not known.
var nearLayers = []int{-1, 1, -2}

// ofNeighbours proposes the inputs and the weights of the layers around for a stage whose output
// is not known.
func ofNeighbours(r *Row) (all []Hypothesis) {
	if r.Got != nil {
		return nil
	}
	cfg := r.Model.Config()
	here, _ := model.ParseStage(r.Name)
	if here.Layer < 0 {
		return nil
	}
	own := model.Reads(cfg, r.Name)
	kinds := make([]string, len(own))
	for i, name := range own {
		kinds[i] = readFrom(cfg, here, name)
	}
	for _, by := range nearLayers {
		layer := here.Layer + by
		if layer < 0 || layer >= cfg.Layers {
			continue
		}
		there := model.StageName{Layer: layer, Word: here.Word}
		if model.NeedsWeights(r.Name) {
			kind := seenFrom(cfg, here, there.String())
			all = append(all, Hypothesis{ID: PatternOtherWeights, Text: "it has the weights of " + kind + ": check which weights each layer is given", Output: func(s *Stage) []float32 {
				at, _ := model.ParseStage(s.Name)
				return s.apply(asSeen(cfg, at, kind), s.In(model.Reads(cfg, s.Name)[0]))
			}})
		}
		if by > 0 {
			continue // what comes later is computed from this very output
		}
		others := make([]string, len(own))
		for i, name := range model.Reads(cfg, there.String()) {
			others[i] = readFrom(cfg, here, name)
		}
		tried := []reading{{kinds: others}}
		for i := 0; len(own) > 1 && i < len(own); i++ {
			x := reading{kinds: slices.Clone(kinds)}
			x.kinds[i] = others[i]
			tried = append(tried, x)
		}
		for _, x := range tried {
			all = append(all, Hypothesis{ID: PatternOtherInput, Text: x.text(kinds) + ": check what each layer is handed", Output: x.output})
		}
	}
	return all
}

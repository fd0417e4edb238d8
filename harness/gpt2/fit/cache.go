package fit

import (
	"fmt"
	"slices"
	"strings"

	"checkpoint12/harness/internal/shapes"
	"checkpoint12/model"
)

// PatternCache is the id of a cache whose rows are written to other places, or are not kept.
const PatternCache = "pattern_cache"

func init() {
	for _, word := range []string{"attn.cache_k", "attn.cache_v"} {
		searches[word] = append(searches[word], cacheRows, cacheLags, cacheRegions)
	}
	blind["attn.cache_k"] = append(blind["attn.cache_k"], hiddenRows, hiddenRegions)
}

// bothCaches is the pattern of the stages in which a rule for rows of the cache can sit.
var bothCaches = []string{"h.*.attn.cache_[kv]"}

// cacheStep returns a stage's step as its cache has it.
func (s *Stage) cacheStep() cacheStep {
	return cacheStep{s.Dims.P, s.Dims.T, s.Dims.P + s.Dims.T, s.Step}
}

// placed returns a cache [B,H,S,D] of the correct one's rows.
func (s *Stage) placed(right []float32, rows []int) []float32 {
	D := s.Model.Config().Embd / s.Model.Config().Heads
	if rows == nil || len(right)%(len(rows)*D) != 0 {
		return nil
	}
	out := make([]float32, len(right))
	for lo := 0; lo < len(right); lo += len(rows) * D {
		for j, k := range rows {
			if k >= 0 {
				copy(out[lo+j*D:][:D], right[lo+k*D:])
			}
		}
	}
	return out
}

// hypothesis returns the rule as what a cache is.
func (w writing) hypothesis() Hypothesis {
	steps := 0
	if w.buffer {
		steps = 2
	}
	return Hypothesis{ID: PatternCache, Text: w.text, Numbers: w.numbers, Stages: bothCaches, Event: w.event, Steps: steps, Output: func(s *Stage) []float32 {
		return s.placed(s.Correct(), w.from(s.cacheStep()))
	}}
}

// mostRules is the number of rules for rows of a cache that are held against a row.
const mostRules = 12

// cacheRows proposes rules for the rows of a cache, by where its rows stand.
func cacheRows(r *Row) (all []Hypothesis) {
	c := r.cacheStep()
	_, shape := r.axes()
	if len(r.Got) == 0 || shapes.Product(shape) != len(r.Got) {
		return nil
	}
	m := mover{Row: r, shape: shape, axis: 2}
	has := func(j, k int) bool {
		if k >= 0 {
			return m.slice(j, k)
		}
		D := shape[3]
		for lo := j * D; lo < len(r.Got); lo += c.S * D {
			for i := lo; i < lo+D; i++ {
				if (r.Part == nil || r.Part[i]) && r.Got[i] != 0 {
					return false
				}
			}
		}
		return true
	}
	var wrong []int
	for j := range c.S {
		if !m.slice(j, j) {
			wrong = append(wrong, j)
		}
	}
	isWrong := make([]bool, c.S)
	for _, j := range wrong {
		isWrong[j] = true
	}
	if len(wrong) > 0 && !slices.ContainsFunc(wrong, func(j int) bool { return !has(j, -1) }) {
		all = append(all, lost(wrong).hypothesis()) // which a rule is told before where it holds of more steps
	}
	c.rules(func(w writing, rows []int) {
		if len(all) >= mostRules || r.Part != nil && (w.buffer || c.isUnwritten(rows)) {
			return
		}
		for _, j := range wrong {
			if rows[j] == j || !has(j, rows[j]) {
				return
			}
		}
		for j, k := range rows {
			if k != j && !isWrong[j] && !has(j, k) {
				return
			}
		}
		all = append(all, w.hypothesis())
	})
	return all
}

// lag returns a cache in which this step's rows are those that an earlier step computed.
func lag(s *Stage, back int) []float32 {
	name, _ := model.ParseStage(s.Name)
	name.Word = strings.Replace(name.Word, "cache_", "", 1)
	if s.At == nil || s.Step < back || s.Dims.P == 0 {
		return nil
	}
	cfg, right := s.Model.Config(), s.Correct()
	D, T, S := cfg.Embd/cfg.Heads, s.Dims.T, s.Dims.P+s.Dims.T
	rows := s.At(s.Step-back, name.String())
	heads := s.Dims.B * cfg.Heads
	if len(rows)%(heads*D) != 0 || len(rows) < heads*T*D || len(right) != heads*S*D {
		return nil
	}
	out, has := slices.Clone(right), len(rows)/(heads*D)
	for h := range heads {
		copy(out[(h*S+s.Dims.P)*D:][:T*D], rows[(h*has+has-T)*D:])
	}
	return out
}

// cacheLags proposes that this step's rows are those that an earlier step computed.
func cacheLags(r *Row) (all []Hypothesis) {
	for back := 1; back <= min(r.Step, stepsBack); back++ {
		out := lag(&r.Stage, back)
		if out == nil || !r.near(out, nil) {
			continue
		}
		of := "the step before"
		if back > 1 {
			of = fmt.Sprintf("%d steps before", back)
		}
		all = append(all, Hypothesis{ID: PatternCache, Numbers: back - 1, Stages: bothCaches,
			Text:   "this step's rows are those that " + of + " computed: the cache is written before its rows are there",
			Output: func(s *Stage) []float32 { return lag(s, back) }})
	}
	return all
}

// A region is the rows of a cache that earlier steps left, or those of its own step.
type region bool

const past, fresh region = false, true

// has reports whether a place of a cache is in the region.
func (x region) has(s *Stage, i int) bool {
	D, c := s.Model.Config().Embd/s.Model.Config().Heads, s.cacheStep()
	return (i/D%c.S >= c.P) == bool(x)
}

// alone returns a hypothesis of a cache as one of the region's rows.
func (x region) alone(h Hypothesis) Hypothesis {
	of := h.Output
	h.Text += map[region]string{
		past:  ", in the rows of earlier steps alone, which are read back: this step's are right",
		fresh: ", in this step's rows alone",
	}[x]
	h.Output = func(s *Stage) []float32 {
		out, right := slices.Clone(of(s)), s.Correct()
		if s.Dims.P == 0 || len(out) != len(right) {
			return nil
		}
		for i := range out {
			if !x.has(s, i) {
				out[i] = right[i]
			}
		}
		return out
	}
	return h
}

// cacheRegions proposes other functions of the correct rows for those of this step alone, or for
// those of earlier steps.
func cacheRegions(r *Row) (all []Hypothesis) {
	if r.Part != nil || r.Dims.P == 0 || len(r.Got) == 0 {
		return nil
	}
	var wrong [2]bool
	for i := range r.Got {
		if !(mover{Row: r}).same(i, i) {
			wrong[0], wrong[1] = wrong[0] || past.has(&r.Stage, i), wrong[1] || fresh.has(&r.Stage, i)
		}
	}
	if wrong[0] == wrong[1] {
		return nil
	}
	own, x := *r, region(wrong[1])
	own.Part = make([]bool, len(r.Got))
	for i := range own.Part {
		own.Part[i] = x.has(&r.Stage, i)
	}
	for _, look := range append(slices.Clone(searches[""]), moved) {
		for _, h := range look(&own) {
			all = append(all, x.alone(h))
		}
	}
	return all
}

// hiddenCaches tries other rows in the caches of keys and of values that the dump lacks, and in
// both: it reports whether what the row shows follows.
type hiddenCaches struct {
	*chain
	right map[string][]float32
}

// hiddenCaches returns them; ok is false where they are not known.
func (r *Row) hiddenCaches() (x hiddenCaches, ok bool) {
	if x.chain = r.chain(); x.chain == nil {
		return x, false
	}
	x.right = map[string][]float32{}
	here, _ := model.ParseStage(r.Name)
	for _, word := range []string{"attn.cache_k", "attn.cache_v"} {
		name := model.StageName{Layer: here.Layer, Word: word}.String()
		if x.right[name] = r.In(name); len(x.right[name]) == 0 {
			return x, false
		}
	}
	x.chain.left *= 4 // this is asked once, of both caches
	return x, true
}

// give reports whether caches that are a function of the correct ones give what the row shows.
func (x *hiddenCaches) give(of func(right []float32) []float32) bool {
	if x.left < 0 {
		return false
	}
	both, found := map[string][]float32{}, false
	for name, right := range x.right {
		if both[name] = of(right); len(both[name]) != len(right) {
			return false
		}
		found = found || x.gives(map[string][]float32{name: both[name]})
	}
	return found || x.gives(both)
}

// hiddenRows proposes rules for the rows of caches that the dump lacks.
func hiddenRows(r *Row) (all []Hypothesis) {
	x, ok := r.hiddenCaches()
	if !ok {
		return nil
	}
	look := func(w writing, rows []int) {
		if every := w.again(r.cacheStep()); every != nil {
			rows = every
		}
		if len(all) < 4 && x.give(func(right []float32) []float32 { return r.placed(right, rows) }) {
			if !w.event {
				w.text += " (or the same rows in other places, as in a ring: what comes of attention does not show where a row is)"
			}
			all = append(all, w.hypothesis())
		}
	}
	r.cacheStep().losses(look)
	r.cacheStep().rules(look)
	return all
}

// hiddenRegions proposes that the rows of this step, or those of earlier steps, are other heads'
// or other batch rows' in caches that the dump lacks.
func hiddenRegions(r *Row) (all []Hypothesis) {
	x, ok := r.hiddenCaches()
	if !ok || r.Dims.P == 0 {
		return nil
	}
	axes, _ := r.axes()
	for a := range 2 {
		if axes[a].N < 2 {
			continue
		}
		for _, o := range axes[a].guesses() {
			for _, region := range []region{past, fresh} {
				h := region.alone(Hypothesis{ID: PatternPermuted, Text: o.text, Numbers: o.numbers, Stages: bothCaches, Output: moving(a, o, nil, false)})
				if len(all) < 4 && o.numbers < 2 && x.give(func(right []float32) []float32 {
					s := r.Stage
					s.Correct = func() []float32 { return right }
					return h.Output(&s)
				}) {
					all = append(all, h)
				}
			}
		}
	}
	return all
}

package diagnose

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/shapes"
	"checkpoint12/model"
)

// Violation is something that a dump says of itself and that cannot be, whatever
// the weights: no golden is needed to see it.
type Violation struct {
	harness.Place
	Rule   string `json:"rule"`   // what does not hold, in a few words
	Detail string `json:"detail"` // how many, where, by how much
}

// Invariants is what Check found.
type Invariants struct {
	Checked    int         `json:"checked"` // how many rules were looked at, each stage of each step for itself
	Violations []Violation `json:"violations"`
}

// CheckInvariants looks at what must hold between the stages of a dump, as far
// as it has them: probabilities that sum to 1 and are 0 where masked, scores
// that are masked and finite elsewhere, q, k and v that are c_attn's, a cache
// that only grows, residual sums that add up, logits_last, next_token and
// probs_t that follow from the logits and, with a model for its gains and
// biases (nil: not looked at), LayerNorms of mean 0 and variance 1.
//
// The candidate is in the contract's layouts, as a View gives it; a tensor of
// another shape is passed over, since comparison and replay judge shapes.
func CheckInvariants(m *model.Model, candidate harness.Source) (*Invariants, error) {
	c := invariants{Invariants: &Invariants{Violations: []Violation{}}, src: candidate, m: m}
	for _, step := range candidate.Steps() {
		c.step = step
		stages := candidate.Stages(step)
		for _, stage := range stages {
			if err := c.stage(stage); err != nil {
				return nil, fmt.Errorf("step %d, stage %s: %w", step, stage, err)
			}
		}
	}
	return c.Invariants, nil
}

// invariants is a check at work.
type invariants struct {
	*Invariants
	src  harness.Source
	m    *model.Model // nil without one
	step int
	err  error // the first tensor that could not be read
}

// stage looks at all rules whose result is the stage.
func (c *invariants) stage(stage string) error {
	name, _ := model.ParseStage(stage)
	block := strings.TrimSuffix(stage, name.Word)
	switch name.Word {
	case "embed":
		c.sum(stage, "wte", "wpe")
	case "ln_1", "ln_2", "ln_f":
		c.norm(stage, normInput(stage))
	case "attn.q", "attn.k", "attn.v":
		c.split(stage, block+"attn.c_attn")
	case "attn.cache_k", "attn.cache_v":
		c.cache(stage, block+"attn."+name.Word[len(name.Word)-1:])
	case "attn.scores":
		c.scores(stage)
	case "attn.probs":
		c.probs(stage)
	case "resid_mid":
		c.sum(stage, blockInput(stage), block+"attn.c_proj")
	case "resid_post":
		c.sum(stage, block+"resid_mid", block+"mlp.c_proj")
	case "logits_last":
		c.last(stage)
	case "next_token":
		c.argmax(stage)
	default:
		if name.Temperature > 0 {
			c.softmax(stage, name.Temperature)
		}
	}
	return c.err
}

// get is a tensor of the step, if the dump has it with that many axes.
func (c *invariants) get(step int, stage string, axes int) (harness.Tensor, bool) {
	shape, ok := c.src.Shape(step, stage)
	if !ok || len(shape) != axes || slices.Contains(shape, 0) || c.err != nil {
		return harness.Tensor{}, false
	}
	t, err := c.src.Tensor(step, stage)
	if err != nil {
		c.err = err
	}
	return t, err == nil
}

// check counts a rule, and keeps its violation where there is one.
func (c *invariants) check(stage, rule, detail string) {
	c.Checked++
	if detail != "" {
		c.Violations = append(c.Violations, Violation{harness.Place{Step: c.step, Stage: stage}, rule, detail})
	}
}

// worst is the worst of many places by their share of what is allowed.
type worst struct {
	share float64
	at    int
	n, of int // places that are off, and all
	text  string
}

// add judges one place: off is by how much it is wrong, allowed how much it may
// be. NaN is never allowed.
func (w *worst) add(at int, off, allowed float64, text func() string) {
	w.of++
	if off <= allowed {
		return
	}
	share := off / allowed
	if math.IsNaN(share) {
		share = math.Inf(1)
	}
	if w.n++; w.n == 1 || share > w.share {
		w.share, w.at, w.text = share, at, text()
	}
}

// detail is "" where nothing is off.
func (w *worst) detail(what string, shape []int) string {
	if w.n == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d %s, the worst at %v: %s", w.n, w.of, what, shapes.Index(w.at, shape), w.text)
}

// exact compares values that must be the same bits; at is the place in the
// stage's tensor.
func (w *worst) exact(at int, got, want float32) {
	off := 0.0
	if math.Float32bits(got) != math.Float32bits(want) && got != want {
		off = math.Inf(1)
	}
	w.add(at, off, 0, func() string { return fmt.Sprintf("got %v, want %v", got, want) })
}

// sum asks whether a stage is the sum of two, but for rounding: of the sum, and
// of each of the two when it was stored.
func (c *invariants) sum(stage, a, b string) {
	y, ok := c.get(c.step, stage, 3)
	if !ok {
		return
	}
	x1, ok1 := c.get(c.step, a, 3)
	axes := 3
	if b == "wpe" {
		axes = 2
	}
	x2, ok2 := c.get(c.step, b, axes)
	if !ok1 || !ok2 || len(x1.F32) != len(y.F32) || len(y.F32)%len(x2.F32) != 0 {
		return
	}
	var w worst
	for i, got := range y.F32 {
		p, q := float64(x1.F32[i]), float64(x2.F32[i%len(x2.F32)])
		want := p + q
		allowed := 2*gpt2.Unit*(math.Abs(want)+math.Abs(p)+math.Abs(q)) + gpt2.Smallest
		w.add(i, math.Abs(float64(got)-want), allowed, func() string { return fmt.Sprintf("got %v, want %v + %v", got, p, q) })
	}
	c.check(stage, fmt.Sprintf("%s + %s is not %s", a, b, stage), w.detail("values", y.Shape))
}

// split asks whether q, k or v [B,H,T,D] is its third of c_attn [B,T,3C].
func (c *invariants) split(stage, from string) {
	y, ok1 := c.get(c.step, stage, 4)
	x, ok2 := c.get(c.step, from, 3)
	if !ok1 || !ok2 || len(x.F32) != 3*len(y.F32) || x.Shape[1] != y.Shape[2] {
		return
	}
	H, T, D := y.Shape[1], y.Shape[2], y.Shape[3]
	third := strings.IndexByte("qkv", stage[len(stage)-1])
	var w worst
	for i, got := range y.F32 {
		b, h, t, d := i/(H*T*D), i/(T*D)%H, i/D%T, i%D
		w.exact(i, got, x.F32[((b*T+t)*3+third)*H*D+h*D+d])
	}
	c.check(stage, "is not its part of "+from, w.detail("values", y.Shape))
}

// cache asks whether the earlier rows of a cache [B,H,S,D] are the step before's,
// and the new ones this step's k or v [B,H,T,D].
func (c *invariants) cache(stage, own string) {
	y, ok := c.get(c.step, stage, 4)
	if !ok {
		return
	}
	heads, S, D := y.Shape[0]*y.Shape[1], y.Shape[2], y.Shape[3]
	if old, ok := c.get(c.step-1, stage, 4); ok && len(old.F32)*S == len(y.F32)*old.Shape[2] && old.Shape[2] < S {
		var w worst
		P := old.Shape[2]
		for i, want := range old.F32 {
			at := i/(P*D)*S*D + i%(P*D)
			w.exact(at, y.F32[at], want)
		}
		c.check(stage, "old rows changed since the step before", w.detail("values", y.Shape))
	}
	if add, ok := c.get(c.step, own, 4); ok && len(add.F32)*S == len(y.F32)*add.Shape[2] && add.Shape[2] <= S {
		var w worst
		T := add.Shape[2]
		for h := range heads {
			for i := range T * D {
				at := (h*S+S-T)*D + i
				w.exact(at, y.F32[at], add.F32[h*T*D+i])
			}
		}
		c.check(stage, "new rows are not "+own, w.detail("values", y.Shape))
	}
}

// masked says whether place i of [B,H,T,S] is a key that comes after its query.
func masked(i int, shape []int) bool {
	T, S := shape[2], shape[3]
	return i%S > S-T+i/S%T
}

// scores asks whether scores [B,H,T,S] are -inf where masked, and finite elsewhere.
func (c *invariants) scores(stage string) {
	y, ok := c.get(c.step, stage, 4)
	if !ok || y.Shape[3] < y.Shape[2] {
		return
	}
	var hidden, seen worst
	for i, v := range y.F32 {
		text := func() string { return fmt.Sprint(v) }
		if masked(i, y.Shape) {
			off := 0.0
			if !math.IsInf(float64(v), -1) {
				off = math.Inf(1)
			}
			hidden.add(i, off, 0, text)
		} else {
			seen.add(i, math.Abs(float64(v)), math.MaxFloat32, text)
		}
	}
	c.check(stage, "a masked place is not -inf", hidden.detail("masked places", y.Shape))
	c.check(stage, "a place that is not masked is not finite", seen.detail("places", y.Shape))
}

// probs asks whether the rows of probabilities [B,H,T,S] sum to 1, and whether
// they are 0 where masked and between 0 and 1 elsewhere.
func (c *invariants) probs(stage string) {
	y, ok := c.get(c.step, stage, 4)
	if !ok || y.Shape[3] < y.Shape[2] {
		return
	}
	var hidden, seen worst
	for i, v := range y.F32 {
		text := func() string { return fmt.Sprint(v) }
		if masked(i, y.Shape) {
			hidden.add(i, math.Abs(float64(v)), 0, text)
		} else {
			seen.add(i, math.Abs(float64(v)-0.5), 0.5+4*gpt2.Unit, text)
		}
	}
	c.check(stage, "a masked place is not exactly 0", hidden.detail("masked places", y.Shape))
	c.check(stage, "a probability is not between 0 and 1", seen.detail("places", y.Shape))
	c.rows(stage, y)
}

// rows asks whether each row sums to 1, but for the rounding of its length.
func (c *invariants) rows(stage string, y harness.Tensor) {
	n := y.Shape[len(y.Shape)-1]
	allowed := gpt2.Lambda * gpt2.Unit * (math.Sqrt(float64(n)) + 1)
	var w worst
	for row := 0; row < len(y.F32); row += n {
		sum := 0.0
		for _, v := range y.F32[row : row+n] {
			sum += float64(v)
		}
		w.add(row, math.Abs(sum-1), allowed, func() string { return fmt.Sprintf("the sum is %.9g", sum) })
	}
	c.check(stage, "a row does not sum to 1", w.detail("rows", y.Shape))
}

// last asks whether logits_last [B,V] is the last row of logits [B,T,V].
func (c *invariants) last(stage string) {
	y, ok1 := c.get(c.step, stage, 2)
	x, ok2 := c.get(c.step, "logits", 3)
	if !ok1 || !ok2 || x.Shape[0] != y.Shape[0] || x.Shape[2] != y.Shape[1] {
		return
	}
	T, V := x.Shape[1], x.Shape[2]
	var w worst
	for i, got := range y.F32 {
		w.exact(i, got, x.F32[(i/V*T+T-1)*V+i%V])
	}
	c.check(stage, "is not the last row of logits", w.detail("values", y.Shape))
}

// argmax asks whether next_token [B] is the lowest id with the largest logit.
func (c *invariants) argmax(stage string) {
	y, ok1 := c.get(c.step, stage, 1)
	x, ok2 := c.get(c.step, "logits_last", 2)
	if !ok1 || !ok2 || !y.IDs() || x.Shape[0] != len(y.I64) {
		return
	}
	V := x.Shape[1]
	var w worst
	for b, got := range y.I64 {
		row := x.F32[b*V:][:V]
		best := 0
		for i, v := range row {
			if v > row[best] {
				best = i
			}
		}
		off := 0.0
		if got != int64(best) {
			off = math.Inf(1)
		}
		w.add(b, off, 0, func() string { return fmt.Sprintf("token %d, logit %d is the largest", got, best) })
	}
	c.check(stage, "is not the lowest id with the largest logit", w.detail("rows", y.Shape))
}

// softmax asks whether probs_tX [B,V] is the softmax of logits_last, and sums to 1.
func (c *invariants) softmax(stage string, t float64) {
	y, ok := c.get(c.step, stage, 2)
	if !ok {
		return
	}
	c.rows(stage, y)
	if x, ok := c.get(c.step, "logits_last", 2); ok && len(x.F32) == len(y.F32) {
		b, _ := gpt2.BoundOf(stage)
		detail := ""
		if off, at := gpt2.SoftmaxError(y.F32, x.F32, y.Shape[1], t); !(off <= b.Abs) {
			detail = fmt.Sprintf("off by %.3g at %v, %g allowed", off, shapes.Index(at, y.Shape), b.Abs)
		}
		c.check(stage, fmt.Sprintf("is not the softmax of logits_last over %g", t), detail)
	}
}

// blockInput is what a block reads: the stage before it.
func blockInput(stage string) string {
	name, _ := model.ParseStage(stage)
	if name.Layer <= 0 {
		return "embed"
	}
	return model.StageName{Layer: name.Layer - 1, Word: "resid_post"}.String()
}

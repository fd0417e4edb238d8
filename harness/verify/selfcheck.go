package verify

import (
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/shapes"
	"checkpoint12/harness/replay"
	"checkpoint12/model"
)

// selfCheck replays stages of a model while it runs, from the run's own inputs to
// them and without weights. It holds one copy of the cache and of one layer's q,
// k, v and probs, not the whole run.
type selfCheck struct {
	replayer replay.Replayer
	last     int // the last step, at which retrieval is looked at, as at the first decode step
	step     int

	held     map[string]harness.Tensor // copies of what is read later, the caches by name, others by kind
	lengths  []map[string]int          // positions in each cache after each step, by stage
	findings []Finding
}

// selfChecks are the stages looked at, by kind, and what is asked of them.
var selfChecks = map[string]struct {
	checkpoint int
	what       string
}{
	"h.*.attn.cache_k": {3, "own k and v, bit for bit"},
	"h.*.attn.cache_v": {3, "own k and v, bit for bit"},
	"h.*.attn.scores":  {12, "cache retrieved: scores are q*cache_k/sqrt(D)"},
	"h.*.attn.context": {12, "cache retrieved: context is probs*cache_v"},
	"logits_last":      {9, "own last row of logits, bit for bit"},
	"next_token":       {10, "argmax of own logits_last"},
	"probs_t*":         {11, "softmax of own logits_last in float64"},
}

func newSelfCheck(cfg model.Config, steps int) *selfCheck {
	return &selfCheck{replayer: gpt2.NewReplayer(model.Weightless(cfg), nil), last: steps - 1, step: -1, held: map[string]harness.Tensor{}}
}

// tap judges one live buffer, and copies it if a later stage is judged by it.
func (c *selfCheck) tap(stage string, shape []int, data []float32) {
	if stage == "wte" { // the first of every step
		c.step, c.lengths = c.step+1, append(c.lengths, map[string]int{})
	}
	name, _ := model.ParseStage(stage)
	check, asked := selfChecks[name.Kind()]
	switch {
	case asked && check.checkpoint == 12 && (c.step == 0 || c.step != 1 && c.step != c.last):
	case asked:
		f := Finding{Checkpoint: check.checkpoint, Engine: Self, Step: c.step, Stage: stage, What: check.what, Elements: len(data)}
		if name.Temperature > 0 {
			f = f.softmax(shape, data, c.held["logits_last"], name.Temperature)
		} else {
			f = c.replay(f, gpt2.Live(stage, shape, data))
		}
		c.findings = append(c.findings, f)
	}
	switch name.Word {
	case "attn.cache_k", "attn.cache_v":
		c.lengths[c.step][stage] = shape[2]
		fallthrough
	case "attn.q", "attn.k", "attn.v", "attn.probs", "logits_last":
		c.hold(stage, shape, data)
	case "logits": // [B,T,V], of which the last rows are read
		B, T, V := shape[0], shape[1], shape[2]
		var rows []float32
		for b := range B {
			rows = append(rows, data[(b*T+T-1)*V:][:V]...)
		}
		c.hold(stage, []int{B, 1, V}, rows)
	}
}

func (c *selfCheck) hold(stage string, shape []int, data []float32) {
	c.held[heldAs(stage)] = harness.Tensor{Shape: slices.Clone(shape), F32: append(c.held[heldAs(stage)].F32[:0], data...)}
}

// heldAs is a cache's own name, since the next step reads it, and the kind of
// other stages, of which one layer's is enough.
func heldAs(stage string) string {
	if name, _ := model.ParseStage(stage); !strings.Contains(stage, ".cache_") {
		return name.Kind()
	}
	return stage
}

// replay judges a stage by what follows from its inputs.
func (c *selfCheck) replay(f Finding, got harness.Tensor) Finding {
	right, err := c.replayer.Replay(c.step, f.Stage, func(name string) (replay.Value, bool) {
		t, ok := c.held[heldAs(strings.TrimPrefix(name, "prev:"))]
		return replay.Value{Tensor: t}, ok || c.step == 0 && strings.HasPrefix(name, "prev:")
	})
	if err != nil {
		return f.failing("%v", err)
	}
	row := replay.Measure(harness.Place{Step: c.step, Stage: f.Stage}, got, right)
	if !math.IsNaN(float64(row.Share)) {
		f.Share = row.Share
	}
	switch {
	case row.Verdict != harness.ReplayIntroduced:
	case row.Worst == nil:
		return f.failing("%s", row.Why)
	default:
		return f.failing("%d of %d values are off; worst at %v: got %v, want %v", row.Mismatched, row.Elements, row.Worst.Index,
			float32(row.Worst.Got), float32(row.Worst.Want))
	}
	return f
}

// softmax judges probabilities [B,V] by the softmax of the logits over
// temperature t, within the stage's tolerance.
func (f Finding) softmax(shape []int, probs []float32, logits harness.Tensor, t float64) Finding {
	if len(shape) != 2 || !slices.Equal(logits.Shape, shape) {
		return f.failing("shape %v from logits_last %v", shape, logits.Shape)
	}
	b := gpt2.ToleranceOf(f.Stage)
	worst, at := gpt2.SoftmaxError(probs, logits.F32, shape[1], t)
	f.Share = harness.Float(worst / b.Abs)
	if !(worst <= b.Abs) {
		f = f.failing("off by %.3g at %v, %g allowed", worst, shapes.Index(at, shape), b.Abs)
	}
	return f
}

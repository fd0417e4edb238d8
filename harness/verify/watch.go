package verify

import (
	"fmt"
	"math"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/shapes"
	"checkpoint12/model"
)

// Self is the engine's name in findings that need no golden: what the model's
// own stages say of each other.
const Self = "self"

// watch judges, while a model runs, the exact halves of checkpoints 3, 9, 10 and
// 11, and what checkpoint 12 asks of the cache. It holds one copy of the cache
// and of one layer's q, k, v and probs, not the whole run.
type watch struct {
	last     int // the last step, at which retrieval is looked at, as at the first decode step
	step     int
	past     int                  // positions in the cache before this step
	held     map[string][]float32 // copies: the caches by name, this layer's q k v probs, the last row of logits
	shape    map[string][]int     // their shapes
	lengths  []map[string]int     // positions in each cache after each step, by stage
	findings []Finding
}

func newWatch(steps int) *watch {
	return &watch{last: steps - 1, held: map[string][]float32{}, shape: map[string][]int{}}
}

// Begin says that the taps that follow are step k's, with past positions cached.
func (w *watch) Begin(k, past int) {
	w.step, w.past = k, past
	w.lengths = append(w.lengths, map[string]int{})
}

// Tap looks at one live buffer.
func (w *watch) Tap(stage string, shape []int, data []float32) {
	word := stage[strings.LastIndexByte(stage, '.')+1:]
	switch {
	case strings.HasSuffix(stage, ".attn."+word):
		w.attention(stage, word, shape, data)
	case stage == "logits": // [B,T,V]
		rows := make([]float32, 0, shape[0]*shape[2])
		for b := range shape[0] {
			end := (b + 1) * shape[1] * shape[2]
			rows = append(rows, data[end-shape[2]:end]...)
		}
		w.held[stage], w.shape[stage] = rows, []int{shape[0], shape[2]}
	case stage == "logits_last": // [B,V]
		w.equal(9, stage, "own last row of logits, bit for bit", data, w.held["logits"], shape)
		w.hold(stage, shape, data)
	case stage == "next_token": // [B]
		w.argmax(stage, shape, data)
	default:
		if s, _ := model.ParseStage(stage); s.Temperature > 0 {
			w.softmax(stage, s.Temperature, shape, data)
		}
	}
}

// attention follows one layer from q to context.
func (w *watch) attention(stage, word string, shape []int, data []float32) {
	switch word {
	case "q", "k", "v", "probs":
		w.hold(word, shape, data)
	case "cache_k", "cache_v":
		w.lengths[w.step][stage] = shape[2]
		w.cache(stage, word[len("cache_"):], shape, data)
		w.hold(stage, shape, data)
	case "scores":
		if w.past > 0 && (w.step == 1 || w.step == w.last) {
			w.scores(stage, shape, data)
		}
	case "context":
		if w.past > 0 && (w.step == 1 || w.step == w.last) {
			w.context(stage, shape, data)
		}
	}
}

func (w *watch) hold(name string, shape []int, data []float32) {
	w.held[name] = append(w.held[name][:0], data...)
	w.shape[name] = append(w.shape[name][:0], shape...)
}

// cache asks for checkpoint 3's "exact": rows P to S-1 of a cache [B,H,S,D] are
// this step's own k or v, rows 0 to P-1 are what the cache held before, each bit
// for bit.
func (w *watch) cache(stage, own string, shape []int, data []float32) {
	rows, before := w.shape[own], w.shape[stage] // [B,H,T,D], [B,H,P,D] or none
	f := w.finding(3, stage, "own k and v, bit for bit", len(data))
	if len(rows) != 4 || len(shape) != 4 || shape[2] != w.past+rows[2] || !sameBut2(rows, shape) {
		f.fail("shape %v, with %d positions before and %s of shape %v", shape, w.past, own, rows)
		return
	}
	if w.past > 0 && (len(before) != 4 || before[2] != w.past || !sameBut2(before, shape)) {
		f.fail("the step before left a cache of shape %v, this one starts at position %d", before, w.past)
		return
	}
	d, s, p, t := shape[3], shape[2], w.past, rows[2]
	for head := range shape[0] * shape[1] {
		got := data[head*s*d : (head+1)*s*d] // [S,D]
		if i := firstUnequal(got[:p*d], w.held[stage][head*p*d:]); i >= 0 {
			f.fail("old row changed at %v: got %v, was %v", []int{head / shape[1], head % shape[1], i / d, i % d},
				got[i], w.held[stage][head*p*d+i])
			return
		}
		if i := firstUnequal(got[p*d:], w.held[own][head*t*d:]); i >= 0 {
			f.fail("new row is not this step's %s at %v: got %v, %s is %v", own,
				[]int{head / shape[1], head % shape[1], p + i/d, i % d}, got[p*d+i], own, w.held[own][head*t*d+i])
			return
		}
	}
}

// sameBut2 says whether two shapes of four differ at most in axis 2.
func sameBut2(a, b []int) bool { return a[0] == b[0] && a[1] == b[1] && a[3] == b[3] }

// scores asks whether attention reads the cache: over the old positions
// scores [B,H,T,S] are q*cache_k/sqrt(D), within checkpoint 4's bound.
func (w *watch) scores(stage string, shape []int, data []float32) {
	name := strings.TrimSuffix(stage, "scores") + "cache_k"
	q, k, qs, ks := w.held["q"], w.held[name], w.shape["q"], w.shape[name]
	f := w.finding(12, stage, "cache retrieved: scores are q*cache_k/sqrt(D)", len(data))
	if len(qs) != 4 || len(ks) != 4 || len(shape) != 4 || ks[2] != shape[3] || qs[2] != shape[2] || qs[3] != ks[3] {
		f.fail("shape %v from q %v and cache_k %v", shape, qs, ks)
		return
	}
	t, s, d := shape[2], shape[3], ks[3]
	for i, got := range data {
		head, row, j := i/(t*s), i/s%t, i%s
		if j >= w.past {
			continue
		}
		want := dot(q[(head*t+row)*d:][:d], k[(head*s+j)*d:][:d]) / math.Sqrt(float64(d))
		f.within(stage, i, shape, float64(got), want)
	}
}

// context asks the same of the values: context [B,T,C] is probs*cache_v, within
// checkpoint 5's bound.
func (w *watch) context(stage string, shape []int, data []float32) {
	name := strings.TrimSuffix(stage, "context") + "cache_v"
	p, v, ps, vs := w.held["probs"], w.held[name], w.shape["probs"], w.shape[name]
	f := w.finding(12, stage, "cache retrieved: context is probs*cache_v", len(data))
	if len(ps) != 4 || len(vs) != 4 || len(shape) != 3 || vs[2] != ps[3] || shape[2] != vs[1]*vs[3] || shape[1] != ps[2] {
		f.fail("shape %v from probs %v and cache_v %v", shape, ps, vs)
		return
	}
	h, t, s, d := ps[1], ps[2], ps[3], vs[3]
	for i, got := range data {
		b, row, c := i/(t*h*d), i/(h*d)%t, i%(h*d)
		head := b*h + c/d
		var want float64
		for j := range s {
			want += float64(p[(head*t+row)*s+j]) * float64(v[(head*s+j)*d+c%d])
		}
		f.within(stage, i, shape, float64(got), want)
	}
}

// argmax asks whether next_token [B] is the lowest id with the largest logit.
func (w *watch) argmax(stage string, shape []int, data []float32) {
	f := w.finding(10, stage, "argmax of own logits_last", len(data))
	logits, ls := w.held["logits_last"], w.shape["logits_last"]
	if len(ls) != 2 || ls[0] != len(data) {
		f.fail("shape %v from logits_last %v", shape, ls)
		return
	}
	for b, got := range data {
		row := logits[b*ls[1]:][:ls[1]]
		best := 0
		for i, v := range row {
			if v > row[best] {
				best = i
			}
		}
		if float64(got) != float64(best) {
			f.fail("row %d: token %v, but logit %d is the largest, %v", b, got, best, row[best])
			return
		}
	}
}

// softmax asks whether probs_t* [B,V] are the softmax of logits_last.
func (w *watch) softmax(stage string, t float64, shape []int, data []float32) {
	f := w.finding(11, stage, "softmax of own logits_last in float64", len(data))
	logits := w.held["logits_last"]
	if len(shape) != 2 || len(logits) != len(data) {
		f.fail("shape %v from logits_last %v", shape, w.shape["logits_last"])
		return
	}
	b, _ := gpt2.BoundOf(stage)
	worst, at := gpt2.SoftmaxError(data, logits, shape[1], t)
	f.Share = harness.Float(worst / b.Abs)
	if !(worst <= b.Abs) {
		f.fail("off by %.3g at %v, %g allowed", worst, shapes.Index(at, shape), b.Abs)
	}
}

// equal asks for bit equality.
func (w *watch) equal(checkpoint int, stage, what string, got, want []float32, shape []int) {
	f := w.finding(checkpoint, stage, what, len(got))
	if len(got) != len(want) {
		f.fail("%d values, %d to compare with", len(got), len(want))
		return
	}
	if i := firstUnequal(got, want); i >= 0 {
		f.fail("differs at %v: got %v, want %v", shapes.Index(i, shape), got[i], want[i])
	}
}

// finding begins a finding of this step; it passes until it is told otherwise.
// The pointer is good until the next finding.
func (w *watch) finding(checkpoint int, stage, what string, elements int) *Finding {
	w.findings = append(w.findings, Finding{
		Checkpoint: checkpoint, Engine: Self, Step: w.step, Stage: stage, What: what, Elements: elements,
	})
	return &w.findings[len(w.findings)-1]
}

// fail makes a finding of exactness a failure.
func (f *Finding) fail(format string, args ...any) {
	f.Failed, f.Share, f.Detail = true, harness.Float(math.Inf(1)), fmt.Sprintf(format, args...)
}

// within judges one value by its stage's bound, whose relative part is of the
// value itself here.
func (f *Finding) within(stage string, flat int, shape []int, got, want float64) {
	b, _ := gpt2.BoundOf(stage)
	share := harness.Float(math.Abs(got-want) / (b.Abs + b.Rel*math.Abs(want)))
	if share <= f.Share {
		return
	}
	f.Share = share
	if !(share <= 1) { // NaN too
		f.fail("at %v: got %v, want %v", shapes.Index(flat, shape), got, want)
	}
}

// firstUnequal is the first index at which the bits differ, or -1; b may be longer.
func firstUnequal(a, b []float32) int {
	for i, v := range a {
		if i >= len(b) || math.Float32bits(v) != math.Float32bits(b[i]) {
			return i
		}
	}
	return -1
}

func dot(a, b []float32) float64 {
	var s float64
	for i, v := range a {
		s += float64(v) * float64(b[i])
	}
	return s
}

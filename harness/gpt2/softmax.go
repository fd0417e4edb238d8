package gpt2

import (
	"fmt"
	"math"
	"slices"
	"sync"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/shapes"
)

// softmaxSlack returns how much a difference of the logits may move probabilities at
// temperature t: by a factor of at most exp(2*max|dlogit|/t), so 2*max|dlogit|/t*max p.
// Without logits_last in both, checkpoint 9's tolerance stands for the difference.
func softmaxSlack(stage string, t float64) func(golden, candidate harness.Source, step int) float64 {
	return func(golden, candidate harness.Source, step int) float64 {
		probs, err := golden.Tensor(step, stage)
		if err != nil {
			return 0
		}
		want, err1 := golden.Tensor(step, "logits_last")
		got, err2 := candidate.Tensor(step, "logits_last")
		d := ToleranceOf("logits_last").Abs
		if err1 == nil && err2 == nil && len(got.F32) == len(want.F32) {
			d = MaxDifference(want.F32, got.F32)
		}
		return 2 * d / t * MaxDifference(probs.F32, nil)
	}
}

// softmaxCheck reports whether probabilities are within abs of the softmax, in
// float64, of the candidate's own logits_last.
func softmaxCheck(stage string, t, abs float64) func(candidate harness.Source, step int) (string, bool) {
	return func(candidate harness.Source, step int) (string, bool) {
		probs, err := candidate.Tensor(step, stage)
		if err != nil {
			return "", true
		}
		logits, err := candidate.Tensor(step, "logits_last")
		if err != nil {
			return "", true // nothing to judge by; the comparison stands
		}
		if len(logits.F32) != len(probs.F32) || len(probs.Shape) != 2 {
			return fmt.Sprintf("shape %v, its own logits_last %v", probs.Shape, logits.Shape), false
		}
		worst, at := SoftmaxError(probs.F32, logits.F32, probs.Shape[1], t)
		if worst <= abs {
			return "", true
		}
		return fmt.Sprintf("not the softmax of its own logits_last at temperature %g: off by %.3g at %v, %g allowed",
			t, worst, shapes.Index(at, probs.Shape), abs), false
	}
}

// softmaxRows are rows of exponentials, between one call of SoftmaxError and the next.
var softmaxRows = sync.Pool{New: func() any { return new([]float64) }}

// SoftmaxError returns the largest distance of rows of probs from the float64 softmax
// of logits/t, and its index. A NaN is infinitely far.
func SoftmaxError(probs, logits []float32, width int, t float64) (worst float64, at int) {
	buf := softmaxRows.Get().(*[]float64)
	defer softmaxRows.Put(buf)
	*buf = slices.Grow((*buf)[:0], width)[:width]
	for row := 0; width > 0 && row+width <= len(probs); row += width {
		p, l := probs[row:row+width], logits[row:row+width]
		top := math.Inf(-1)
		for _, v := range l {
			if float64(v) > top {
				top = float64(v)
			}
		}
		e := *buf
		var sum float64
		for i, v := range l {
			e[i] = math.Exp((float64(v) - top) / t)
			sum += e[i]
		}
		for i, v := range p {
			d := math.Abs(float64(v) - e[i]/sum)
			if math.IsNaN(d) {
				d = math.Inf(1)
			}
			if d > worst {
				worst, at = d, row+i
			}
		}
	}
	return worst, at
}

// MaxDifference returns max|a-b| over the places finite in both; b is 0 past its end.
func MaxDifference(a, b []float32) (most float64) {
	for i, v := range a {
		x := float64(v)
		if i < len(b) {
			x -= float64(b[i])
		}
		if x = math.Abs(x); x > most && !math.IsInf(x, 0) {
			most = x
		}
	}
	return most
}

package gpt2

import (
	"fmt"
	"math"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/shapes"
	"checkpoint12/model"
)

// Temperatures are the ones a dump has probabilities for unless told otherwise.
var Temperatures = []float64{0.5, 1, 2}

// Schedule is the stages of one GPT-2 step in execution order, each with its
// checkpoint and bound, for a model of so many layers and a stage probs_t* for
// each temperature (nil: [Temperatures]). It panics when layers is not positive
// or a temperature is not a positive number or there twice, since neither can
// come from a configuration that was read.
func Schedule(layers int, temperatures []float64) *harness.Schedule {
	if temperatures == nil {
		temperatures = Temperatures
	}
	names := model.StageNames(model.Config{Layers: layers}, temperatures)
	stages := make([]harness.Stage, 0, len(names))
	for _, name := range names {
		b, ok := BoundOf(name)
		if !ok {
			panic(fmt.Sprintf("gpt2: stage %s has no row in the tolerance table", name))
		}
		s := harness.Stage{
			Name: name, Checkpoint: b.checkpoint, IDs: name == "next_token",
			Tolerance: harness.Tolerance{Abs: b.Abs, Rel: b.Rel, Reason: b.reason},
		}
		a := axesOf(name)
		s.Axes, s.Layouts = a.own, a.others
		if strings.HasSuffix(name, ".attn.scores") {
			s.Conform = conformScores(name)
		}
		if n, _ := model.ParseStage(name); n.Temperature > 0 {
			s.Extra, s.Check = softmaxSlack(name, n.Temperature), softmaxCheck(name, n.Temperature, b.Abs)
		}
		stages = append(stages, s)
	}
	s, err := harness.NewSchedule(stages)
	if err != nil {
		panic("gpt2: " + err.Error())
	}
	return s
}

// softmaxSlack is what a difference of the logits accounts for in the
// probabilities at temperature t: p changes by a factor of at most
// exp(2*max|dlogit|/t), so by 2*max|dlogit|/t*max p. Where one of the two has no
// logits_last, the difference that checkpoint 9 would let pass stands in for it.
func softmaxSlack(stage string, t float64) func(golden, candidate harness.Source, step int) float64 {
	return func(golden, candidate harness.Source, step int) float64 {
		probs, err := golden.Tensor(step, stage)
		if err != nil {
			return 0
		}
		want, err1 := golden.Tensor(step, "logits_last")
		got, err2 := candidate.Tensor(step, "logits_last")
		var d float64
		if err1 == nil && err2 == nil {
			d = MaxDifference(want.F32, got.F32)
		} else {
			b, _ := BoundOf("logits_last")
			d = b.Abs
		}
		return 2 * d / t * MaxFinite(probs.F32)
	}
}

// softmaxCheck says whether the candidate's probabilities are within abs of the
// softmax, in float64, of its own logits_last.
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

// softmaxError is the largest distance, and where, of rows of probs from the
// softmax of the rows of logits over temperature t, taken in float64. A NaN is
// infinitely far.
func SoftmaxError(probs, logits []float32, width int, t float64) (worst float64, at int) {
	for row := 0; width > 0 && row+width <= len(probs); row += width {
		p, l := probs[row:row+width], logits[row:row+width]
		top := math.Inf(-1)
		for _, v := range l {
			if float64(v) > top {
				top = float64(v)
			}
		}
		e := make([]float64, width)
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

// maxDifference is max|a-b| over the places finite in both.
func MaxDifference(a, b []float32) float64 {
	var d float64
	for i := range min(len(a), len(b)) {
		if x := math.Abs(float64(a[i]) - float64(b[i])); x > d && !math.IsInf(x, 0) {
			d = x
		}
	}
	return d
}

// maxFinite is max|a| over the finite values.
func MaxFinite(a []float32) float64 {
	var m float64
	for _, v := range a {
		if x := math.Abs(float64(v)); x > m && !math.IsInf(x, 0) {
			m = x
		}
	}
	return m
}

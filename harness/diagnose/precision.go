package diagnose

import (
	"context"
	"fmt"
	"math"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/model"
)

// fromRounded is by what factor a correct engine may be further from a golden than a run of the
// Go model in which every stored value is rounded as the engine's are. CHECKPOINTS.md has the
// distances that engines were measured at.
const fromRounded = 4

// Widened returns the comparison with the tolerances of an engine that computes in c's
// Precision: at each stage what a correct engine's rounding amounts to there. Compare does so
// for one that is not; it takes runs of the model.
func (c Comparison) Widened(ctx context.Context) (Comparison, error) {
	if c.widened || c.Precision.IsFloat32() {
		return c, nil
	}
	distances, err := c.roundedDistances(ctx)
	if err != nil {
		return c, err
	}
	name := c.Precision.Name
	c.widened = true
	c.Schedule = c.Schedule.Edited(func(st *harness.Stage) {
		st.Check = nil // the replay has a bound for it
		if st.IDs {
			logits := gpt2.ToleranceOf("logits_last")
			logits.Abs += fromRounded * distances["logits_last"]
			st.Accept = nearTie(logits)
			return
		}
		st.Tolerance.Abs += fromRounded * distances[st.Name]
		st.Tolerance.Reason = fmt.Sprintf("%d times as far as the Go model comes from the golden there when it rounds to %s; %s",
			fromRounded, name, st.Tolerance.Reason)
	})
	return c, nil
}

// roundedDistances returns for each stage how far from the goldens a run of the model is that
// rounds what it stores, at the step where it is furthest. It is one rounding of the largest value
// at least: where a channel leaves the others far behind, the run may come nearer by chance.
func (c Comparison) roundedDistances(ctx context.Context) (map[string]float64, error) {
	distances := map[string]float64{}
	var done [][][]int
	for _, g := range c.Goldens {
		src := harness.Uncut(g.Source)
		if _, run := src.(*standIn); c.loaded != nil && c.Model != c.base && !run {
			continue // of another case, on other weights
		}
		tokens, prompt := src.Tokens(), promptOf(src)
		if tokens == nil || prompt >= len(tokens[0]) || harness.MaskOf(src) != nil ||
			slices.ContainsFunc(done, func(other [][]int) bool { return slices.EqualFunc(other, tokens, slices.Equal) }) {
			continue
		}
		done = append(done, tokens)
		run := gpt2.Run{
			Tokens: harness.FirstTokens(tokens, prompt), New: len(tokens[0]) - prompt, Tap: c.rounded(),
			Match: func(step int, stage string) bool {
				_, ok := src.Shape(step, stage)
				return ok || stage == "logits_last" // by which tokens are near ties
			},
		}
		for _, row := range tokens {
			run.Feed = append(run.Feed, row[prompt:len(row)-1])
		}
		trace, err := gpt2.RecordTrace(ctx, c.Model, run)
		if err != nil {
			return nil, fmt.Errorf("run the model in %s: %w", c.Precision.Name, err)
		}
		run.Tap, run.Match = nil, func(step int, stage string) bool {
			_, ok := src.Shape(step, stage)
			return !ok && stage == "logits_last"
		}
		plain, err := gpt2.RecordTrace(ctx, c.Model, run)
		if err != nil {
			return nil, fmt.Errorf("run the model: %w", err)
		}
		for _, at := range c.Schedule.Places(trace, nil) {
			by := src
			if _, ok := src.Shape(at.Step, at.Stage); !ok {
				by = plain
			}
			row, err := harness.CompareAt(c.Schedule, by, trace, at)
			if err != nil {
				return nil, fmt.Errorf("golden %s: %w", at, err)
			}
			for _, d := range []float64{float64(row.MaxAbs), c.Precision.Unit() * row.Scale} {
				if !math.IsNaN(d) && !math.IsInf(d, 0) {
					distances[at.Stage] = max(distances[at.Stage], d)
				}
			}
		}
	}
	return distances, nil
}

// rounded returns a tap that rounds a run as an engine of the Precision does.
func (c Comparison) rounded() model.Tap {
	if c.Precision.Stored != "" {
		return c.Precision.Tap
	}
	planter := faults.Planter{Model: c.Model, Plant: faults.InTF32(nil)}
	return (&gpt2.Override{Value: planter.Value}).Tap
}

// nearTie returns a Stage's Accept: another token is accepted where the logits of the two, the
// golden's or else the candidate's, are no further apart than twice the tolerance, so that
// rounding may have decided.
func nearTie(allowed harness.Tolerance) func(golden, candidate harness.Source, step int) (string, bool) {
	return func(golden, candidate harness.Source, step int) (string, bool) {
		want, err1 := golden.Tensor(step, "next_token")
		got, err2 := candidate.Tensor(step, "next_token")
		logits, err := Logits(golden, step, 0)
		if err == nil && logits.Shape == nil {
			logits, err = Logits(candidate, step, 0)
		}
		if err != nil || err1 != nil || err2 != nil || logits.Shape == nil || len(want.I64) != len(got.I64) || len(want.I64) != logits.Shape[0] {
			return "", false
		}
		most := 2 * allowed.At(gpt2.MaxDifference(logits.F32, nil))
		V := logits.Shape[1]
		for b, id := range got.I64 {
			if id < 0 || int(id) >= V {
				return "", false
			}
			row := logits.F32[b*V:][:V]
			if d := math.Abs(float64(row[want.I64[b]]) - float64(row[id])); !(d <= most) {
				return "", false
			}
		}
		return fmt.Sprintf("near tie: the logits of the two are at most %.3g apart", most), true
	}
}

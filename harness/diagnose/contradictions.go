package diagnose

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/words"
	"checkpoint12/harness/replay"
	"checkpoint12/model"
	"checkpoint12/model/sample"
)

// findViolations takes from the replay the places at which the candidate contradicts
// itself, which fail it. Without a model it first replays the stages that need no
// weights; the golden then tells the model's dimensions.
func (r *Result) findViolations(ctx context.Context, c Comparison, golden harness.Source) error {
	var config model.Config
	if c.Model != nil {
		config = c.Model.Config()
	} else {
		config = gpt2.ConfigOf(c.Schedule, golden, c.Candidate)
	}
	weightless := newReplayer(model.WithoutWeights(config), c.Candidate, c.Precision)
	rows := r.Replayed
	if c.Model == nil {
		o := c.replayOptions(golden)
		o.Match = func(step int, stage string) bool {
			return !model.NeedsWeights(stage) && (c.Match == nil || c.Match(step, stage))
		}
		var err error
		if rows, err = replay.Judge(ctx, c.Schedule, c.Candidate, weightless, o); err != nil {
			return err
		}
	}
	for _, row := range rows {
		var rule string
		switch {
		case slices.ContainsFunc(row.Span, model.NeedsWeights) || row.Status == harness.WrongShape:
			continue
		case row.Verdict == harness.ReplayUnknown:
			var err error
			if row, rule, err = judgeByItself(row.Place, c, weightless); err != nil {
				return err
			}
		default:
			rule = "does not follow from " + strings.Join(inputsOf(row.Span, weightless), " and ")
		}
		if rule == "" {
			continue
		}
		r.Checked++
		if row.Verdict == harness.ReplayIntroduced {
			detail := fmt.Sprintf("%d of %s wrong, worst at %v: got %v, want %v",
				row.Mismatched, words.Count(row.Elements, "value"), row.Worst.Index,
				float32(row.Worst.Got), float32(row.Worst.Want))
			r.Violations = append(r.Violations, harness.Violation{Place: row.Place, Rule: rule, Detail: detail})
		}
	}
	if err := r.checkLastChoice(c, golden, config.Vocab); err != nil {
		return err
	}
	r.Judge()
	return nil
}

// checkLastChoice adds a violation if the last id of the candidate's tokens comes after
// all that its steps were fed and is no id of the vocabulary, or not its own choice at the last
// step: next_token or, without that, what its logits choose. If there are more ids, it adds a note. One that the golden has there too may have been fed at a step that
// the candidate lacks.
func (r *Result) checkLastChoice(c Comparison, golden harness.Source, vocab int) error {
	spare, step, err := harness.Spare(c.Schedule, golden, c.Candidate, c.Cut, c.Prompt)
	if err != nil || len(spare) == 0 {
		return err
	}
	last, fed := harness.Place{Step: step, Stage: "next_token"}, [][]int(nil)
	if golden != nil {
		fed = golden.Tokens()
	}
	ids := c.Candidate.Tokens()
	has := func(b int) bool { return b < len(fed) && len(ids[b]) <= len(fed[b]) }
	n := len(spare[0])
	if n > 1 && !has(0) {
		r.Notes = append(r.Notes, fmt.Sprintf("%s: %s has %s after the last choice: its steps were fed none of them",
			c.Candidate.Name(), harness.TokensFile, words.Count(n-1, "id")))
	}
	if n != 1 {
		return nil
	}
	chosen, err := c.Schedule.Choice(c.Candidate, last.Step, len(spare))
	if err != nil {
		return err
	}
	var logits harness.Tensor
	if len(chosen) == 0 {
		if logits, err = Logits(c.Candidate, last.Step, 0); err != nil {
			return err
		}
	}
	judged := len(logits.Shape) == 2 && logits.Shape[0] == len(spare) && logits.Shape[1] > 0
	if len(chosen) > 0 || judged {
		r.Checked++
	}
	for b := range spare {
		id := spare[b][0]
		copied := has(b) && fed[b][len(ids[b])-len(spare[b])] == id
		v := harness.Violation{Place: last, Rule: "is not the last choice of " + harness.TokensFile}
		switch {
		case id < 0 || vocab > 0 && id >= vocab:
			v.Rule = harness.TokensFile + " has a last choice that is no token"
			v.Detail = fmt.Sprintf("row %d: it is %d, and the vocabulary has %d", b, id, vocab)
		case len(chosen) > 0 && int(chosen[b]) != id && !copied:
			v.Detail = fmt.Sprintf("row %d: next_token is %d, the choice in the tokens %d", b, chosen[b], id)
		case judged && !copied:
			if v.Detail = otherChoice(logits.F32[b*logits.Shape[1]:][:logits.Shape[1]], id); v.Detail == "" {
				continue
			}
			v.Rule = "is not what the logits choose: the last choice of " + harness.TokensFile
			v.Detail = fmt.Sprintf("row %d: %s", b, v.Detail)
		default:
			continue
		}
		v.Detail += "; if your engine did not choose that id, leave the column out: tokens = tokens[:, :-1]"
		r.Violations = append(r.Violations, v)
		break
	}
	return nil
}

// otherChoice says that logits choose another id by more than rounding, or "".
func otherChoice(logits []float32, id int) string {
	best := sample.Argmax(logits)
	if id >= len(logits) || !finite(logits) {
		return ""
	}
	allowed := gpt2.ToleranceOf("logits_last").At(gpt2.MaxDifference(logits, nil))
	if lead := float64(logits[best]) - float64(logits[id]); lead > allowed {
		return fmt.Sprintf("they choose %d, by %.3g before %d", best, lead, id)
	}
	return ""
}

// inputsOf lists what the stages of a span read that is not of the span.
func inputsOf(span []string, r replay.Replayer) []string {
	var inputs []string
	for _, stage := range span {
		for _, name := range r.Reads(stage) {
			if at := harness.InputPlace(0, name); at.Step < 0 {
				name = "the " + at.Stage + " before"
			}
			if !slices.Contains(span, name) && !slices.Contains(inputs, name) {
				inputs = append(inputs, name)
			}
		}
	}
	return inputs
}

// judgeByItself judges a stage whose inputs are not known by what must hold
// whatever they are: scores are -Inf where masked and finite elsewhere,
// probabilities are the softmax of their own logarithms. The rule is "" for
// other stages.
func judgeByItself(
	at harness.Place, c Comparison, r replay.Replayer,
) (row harness.Replayed, rule string, err error) {
	name, _ := model.ParseStage(at.Stage)
	shape, _ := c.Candidate.Shape(at.Step, at.Stage)
	attention := name.Word == "attn.scores" || name.Word == "attn.probs"
	if !(attention && len(shape) == 4 && shape[2] <= shape[3] || name.Word == "probs_t" && len(shape) == 2) {
		return row, "", nil
	}
	got, err := c.Candidate.Tensor(at.Step, at.Stage)
	if err != nil {
		return row, "", err
	}
	temperature := name.Temperature
	if attention {
		temperature = 1
	}
	right, keys := replay.Value{Tensor: harness.Tensor{Shape: shape, F32: slices.Clone(got.F32)}}, shape[len(shape)-1]
	isNumber, some := func(v float32) bool { return v == v }, false
	for i, v := range got.F32 {
		if attention && i%keys == 0 {
			some = slices.ContainsFunc(got.F32[i:][:keys], isNumber)
		}
		switch {
		case attention && isMasked(i, shape):
			right.F32[i] = float32(math.Inf(-1))
		case name.Word == "attn.scores":
			right.F32[i] = min(max(v, -math.MaxFloat32), math.MaxFloat32)
		default:
			right.F32[i] = float32(math.Log(float64(v)) * temperature)
			if some && !(v >= 0) {
				right.F32[i] = 0 // of NaN nothing would follow
			}
		}
	}
	allowed, _ := c.Bounds.Tolerance(at, false)
	if right.Allowed = allowed; name.Word == "attn.scores" {
		return replay.Measure(at, got, right), "a masked place is not -inf, or another is not finite", nil
	}
	right, err = r.Replay(at.Step, at.Stage, func(string) (replay.Value, bool) { return right, true })
	if err != nil {
		return row, "", nil // of another model's dimensions
	}
	right.Allowed = allowed
	return replay.Measure(at, got, right), "its rows are not probabilities that sum to 1 and are 0 where masked", nil
}

// isMasked reports whether place i of [B,H,T,S] is a key that comes after its query.
func isMasked(i int, shape []int) bool {
	T, S := shape[2], shape[3]
	return i%S > S-T+i/S%T
}

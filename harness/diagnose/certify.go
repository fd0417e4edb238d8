package diagnose

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
)

// The notes that a token's margin gives.
const (
	Certified      = "certified"
	NearTie        = "near tie"
	NotCertifiable = "not certifiable"
)

// Tokens counts the steps of a comparison by the certainty of their tokens; the rows of a
// batch are taken together.
type Tokens struct {
	Steps          int `json:"steps"` // at which both were fed the same and the golden has a choice
	Certified      int `json:"certified"`
	NearTies       int `json:"near_ties"`
	NotCertifiable int `json:"not_certifiable"`

	Notes []TokenNote `json:"notes"` // of the steps that are not certified

	all map[int]string // the certainty of each step
}

// A TokenNote is the reason why the tokens of a step are not certified.
type TokenNote struct {
	Step int    `json:"step"`
	Why  string `json:"why"`
}

// CertifyTokens judges each step that the report compared and in which the golden
// chose a token, by [Certainty].
func CertifyTokens(r *harness.Report, golden, candidate harness.Source) (*Tokens, error) {
	t := &Tokens{Notes: []TokenNote{}}
	for _, row := range r.Stages {
		if row.Stage != "next_token" || row.Status == harness.Skipped || row.OfGolden() {
			continue
		}
		why, err := Certainty(golden, candidate, row.Step)
		if err != nil {
			return nil, err
		}
		t.add(row.Step, why)
	}
	return t, nil
}

// add adds a step, of which why is the certainty.
func (t *Tokens) add(step int, why string) {
	if t.all == nil {
		t.all = map[int]string{}
	}
	t.all[step] = why
	t.Steps++
	switch {
	case why == Certified:
		t.Certified++
		return
	case strings.HasPrefix(why, NearTie):
		t.NearTies++
	default:
		t.NotCertifiable++
	}
	t.Notes = append(t.Notes, TokenNote{step, why})
}

// String returns one line, such as "tokens: 9 of 10 certified (…); step 3: near tie:
// …", or "" if the golden has no tokens.
func (t *Tokens) String() string {
	if t.Steps == 0 {
		return ""
	}
	s := fmt.Sprintf("tokens: %d of %d certified (rounding cannot change them)", t.Certified, t.Steps)
	for i := 0; i < len(t.Notes); {
		first, n := t.Notes[i], i+1
		alike := digits.ReplaceAllString(first.Why, "")
		for n < len(t.Notes) && t.Notes[n].Step == t.Notes[n-1].Step+1 &&
			digits.ReplaceAllString(t.Notes[n].Why, "") == alike {
			n++
		}
		if n == i+1 {
			s += fmt.Sprintf("; step %d: %s", first.Step, first.Why)
		} else {
			s += fmt.Sprintf("; steps %d to %d: %s", first.Step, t.Notes[n-1].Step, first.Why)
			if t.Notes[n-1].Why != first.Why {
				s += fmt.Sprintf(" (at step %d)", first.Step)
			}
		}
		i = n
	}
	return s
}

// digits are the numbers in a note.
var digits = regexp.MustCompile(`[0-9][0-9.e+-]*`)

// Certainty returns [Certified] if the golden's choice at a step is certain: its
// margin, the largest logit less the second, is more than twice the largest
// difference of the two sources' logits_last, so that what lies between them cannot have
// decided. Else it returns [NearTie] where that difference is within the tolerance of
// logits_last, so that it may be rounding, or [NotCertifiable], and why.
func Certainty(golden, candidate harness.Source, step int) (string, error) {
	if shape, _ := golden.Shape(step, "logits_last"); len(shape) != 2 {
		return NotCertifiable + ": golden has no logits_last", nil
	}
	want, err := golden.Tensor(step, "logits_last")
	if err != nil {
		return "", err
	}
	got, err := Logits(candidate, step, 0)
	if err != nil {
		return "", err
	}
	return CertaintyOf(want, got), nil
}

// CertaintyOf is the [Certainty] of a golden's choice from logits [B,V], with which the
// candidate's at the same position are compared.
func CertaintyOf(want, got harness.Tensor) string {
	if !slices.Equal(got.Shape, want.Shape) {
		return NotCertifiable + ": the candidate has no such logits_last"
	}
	width := want.Shape[1]
	allowed := gpt2.ToleranceOf("logits_last")
	for b := range want.Shape[0] {
		row, other := want.F32[b*width:][:width], got.F32[b*width:][:width]
		margin, d := margin(row), gpt2.MaxDifference(row, other)
		switch {
		case !finite(row) || !finite(other):
			return NotCertifiable + ": logits_last is not finite"
		case margin > 2*d:
		case d > allowed.Abs+allowed.Rel*gpt2.MaxDifference(want.F32, nil):
			return fmt.Sprintf("%s: logits_last is off by %.3g, more than its tolerance: margin %.3g, 2*max|dlogit| %.3g", NotCertifiable, d, margin, 2*d)
		default:
			return fmt.Sprintf("%s: margin %.3g, 2*max|dlogit| %.3g", NearTie, margin, 2*d)
		}
	}
	return Certified
}

// Logits returns the logits [B,V] at a position of a step, counted back from its last: for
// 0 logits_last, else a row of logits; the zero Tensor if there is neither.
func Logits(src harness.Source, step, back int) (t harness.Tensor, err error) {
	if shape, _ := src.Shape(step, "logits_last"); back == 0 && len(shape) == 2 {
		return src.Tensor(step, "logits_last")
	}
	shape, _ := src.Shape(step, "logits")
	if len(shape) != 3 || shape[1] <= back {
		return t, nil
	}
	all, err := harness.Open(src, step, "logits")
	if err != nil {
		return t, err
	}
	defer all.Close()
	B, T, V := shape[0], shape[1], shape[2]
	for b := range B {
		row, err := all.Part(((b+1)*T-1-back)*V, V, new(harness.Tensor))
		if err != nil {
			return t, err
		}
		t.F32 = append(t.F32, row.F32...)
	}
	t.Shape = []int{B, V}
	return t, nil
}

// margin returns the largest value less the second largest.
func margin(x []float32) float64 {
	first, second := math.Inf(-1), math.Inf(-1)
	for _, v := range x {
		switch v := float64(v); {
		case v > first:
			first, second = v, first
		case v > second:
			second = v
		}
	}
	return first - second
}

// finite reports whether all values are.
func finite(x []float32) bool {
	return !slices.ContainsFunc(x, func(v float32) bool { return v-v != 0 })
}

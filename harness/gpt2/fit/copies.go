package fit

import (
	"fmt"
	"slices"
	"strings"

	"checkpoint12/harness/internal/shapes"
	"checkpoint12/model"
)

// PatternCopy is the id of an output that is another tensor of the run.
const PatternCopy = "pattern_copy"

func init() { searches[""] = append(searches[""], copies) }

// fewValues is the number of different values up to which a tensor is equal to another by
// chance, as a constant is, or what has one probability of 1 in each row.
const fewValues = 8

// stepsBack is how many steps back a stage's own output is looked for.
const stepsBack = 8

// copies proposes another tensor of the step in the place of the output, the stage's own of an
// earlier step, or that of its first values.
func copies(r *Row) (all []Hypothesis) {
	if r.Whole != nil {
		r = r.Whole
	}
	at := r.places()
	if r.few(at) {
		return nil
	}
	cfg := r.Model.Config()
	here, _ := model.ParseStage(r.Name)
	own := model.Reads(cfg, r.Name)
	add := func(x []float32, known bool, text, later string, of func(s *Stage) []float32) {
		if len(x) != len(r.Got) {
			return
		}
		n := 0
		if !known && r.near(x, nil) { // it was computed, and rounds otherwise
			n = len(at)
		}
		for n < len(at) && x[at[n]] == r.Got[at[n]] {
			n++
		}
		h := Hypothesis{ID: PatternCopy, Whole: true, Output: of, Text: "the output is that of " + text + later}
		switch first := at[min(n, len(at)-1)]; {
		case n == len(at):
			all = append(all, h)
		case r.Part == nil && !r.few(at[:n]) && first%r.inner() != 0 && r.rightFrom(at[n:]): // else a part of it is another's
			h.Numbers, h.Text = 1, fmt.Sprintf("the first %d values are those of %s%s", first, text, later)
			h.Output = func(s *Stage) []float32 {
				from, right := of(s), s.Correct()
				if len(from) != len(right) || first > len(right) {
					return nil
				}
				return slices.Concat(from[:first], right[first:])
			}
			all = append(all, h)
		}
	}
	later := false
	for _, name := range model.StageNames(cfg, nil) {
		if name == r.Name {
			later = true
			continue
		}
		s, _ := model.ParseStage(name)
		if isMoved(here.Word, s.Word) && (slices.Contains(own, name) || slices.Contains(model.Reads(cfg, name), r.Name)) {
			continue
		}
		shape, err := model.Shape(cfg, name, r.Dims)
		if err != nil {
			continue
		}
		kind, why, known := seenFrom(cfg, here, name), ": the wrong buffer was read or written", r.Has == nil || r.Has(r.Step, name)
		if later {
			why = ", which comes later: the buffer was written over before it was kept; copy it in the hook"
			if !r.Has(r.Step, name) {
				continue
			}
		}
		wrong := r.isWrong(r.Step, name)
		if wrong {
			why = alikeWrong
		}
		seen := func(s *Stage) string { // "" where it is right and was wrong, or the other way round
			from, _ := model.ParseStage(s.Name)
			if other := asSeen(s.Model.Config(), from, kind); s.Wrong == nil || s.isWrong(s.Step, other) == wrong {
				return other
			}
			return ""
		}
		if shapes.Product(shape) == len(r.Got) {
			add(r.In(name), known, kind, why, func(s *Stage) []float32 {
				if other := seen(s); other != "" {
					return s.In(other)
				}
				return nil
			})
		}
		if x, text := r.byHeads(name); x != nil && !slices.Equal(x, r.In(name)) {
			add(x, known, kind+text, why, func(s *Stage) (x []float32) {
				if other := seen(s); other != "" {
					x, _ = s.byHeads(other)
				}
				return x
			})
		}
	}
	for back := 1; back <= min(r.Step, stepsBack); back++ {
		if !r.Has(r.Step-back, r.Name) {
			continue
		}
		text := "the step before"
		if back > 1 {
			text = fmt.Sprintf("%d steps before", back)
		}
		x, later, why := newTable(r.Model, r.Name), "", ": a buffer that was not written again"
		if before := r.At(r.Step-back, r.Name); x != nil && len(before) == x.width {
			if row := x.find(before); row >= 0 {
				later, why = fmt.Sprintf(", row %d of %s", row, r.Name), ": either that row is looked up again, as where an index is clamped or does not advance, or a buffer was not written again"
			}
		}
		add(r.At(r.Step-back, r.Name), true, text+later, why, func(s *Stage) []float32 {
			if s.At == nil || s.Step < back {
				return nil
			}
			if x := s.At(s.Step-back, s.Name); len(x) == len(s.Correct()) {
				return x
			}
			return nil
		})
	}
	return all
}

// byHeads returns another stage's rows of C values as the heads of a stage that has such, or heads as
// rows; nil where neither is so. Of a cache they are this step's rows.
func (s *Stage) byHeads(name string) (out []float32, text string) {
	cfg, layout := s.Model.Config(), func(name string) string {
		return strings.Join(strings.Fields(strings.NewReplacer("(", "", ")", "", "H D", "C").Replace(model.Axes(name))), " ")
	}
	const rows, heads, cache = "B T C", "B H T D", "B H S D"
	own, other := layout(s.Name), layout(name)
	x := s.In(name)
	B, T, H, S := s.Dims.B, s.Dims.T, cfg.Heads, s.Dims.P+s.Dims.T
	D := cfg.Embd / H
	if len(x) != B*T*H*D {
		return nil, ""
	}
	switch {
	case own == heads && other == rows:
		out, text, S = make([]float32, len(x)), ", split into heads", T
	case own == rows && other == heads:
		out, text, S = make([]float32, len(x)), ", its heads side by side", T
	case own == cache && other == rows:
		out, text = slices.Clone(s.Correct()), ", split into heads, in this step's rows"
	default:
		return nil, ""
	}
	for row := range B * T {
		for h := range H {
			a, b := ((row/T*H+h)*S+S-T+row%T)*D, (row*H+h)*D
			if other == heads {
				a, b = b, a
			}
			if a+D > len(out) || b+D > len(x) {
				return nil, ""
			}
			copy(out[a:a+D], x[b:b+D])
		}
	}
	return out, text
}

// alikeWrong is said of another tensor in the place of the output that is not right itself, so that it is
// not where the output came from.
const alikeWrong = ", which is wrong too: what stands in both belongs in neither"

// isWrong reports whether a stage is known to be one that the engine computes wrong itself.
func (s *Stage) isWrong(step int, stage string) bool { return s.Wrong != nil && s.Wrong(step, stage) }

// few reports whether the output has few different values at places.
func (r *Row) few(at []int) bool {
	few := map[float32]bool{}
	for i := 0; i < len(at) && len(few) <= fewValues; i++ {
		few[r.Got[at[i]]] = true
	}
	return len(few) <= fewValues
}

// inner returns the number of values of the last axis.
func (r *Row) inner() int {
	_, shape := r.axes()
	if len(shape) == 0 {
		return 1
	}
	return shape[len(shape)-1]
}

// rightFrom reports whether the output is right at places, up to rounding.
func (r *Row) rightFrom(places []int) bool {
	for _, i := range places {
		if r.Got[i] == r.Right[i] {
			continue
		}
		if d := r.Got[i] - r.Right[i]; r.Bound == nil || !(max(d, -d) <= r.Bound[i]) {
			return false
		}
	}
	return true
}

// isMoved reports whether one of two stages may be equal to the other in a correct run.
func isMoved(a, b string) bool {
	a, b = min(a, b), max(a, b)
	return a == "logits" && b == "logits_last" ||
		a == "attn.cache_k" && b == "attn.k" || a == "attn.cache_v" && b == "attn.v"
}

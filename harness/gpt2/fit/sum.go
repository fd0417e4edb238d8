package fit

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness/internal/shapes"
	"checkpoint12/model"
)

// PatternSum is the id of a sum with other coefficients than 1, or of other tensors.
const PatternSum = "pattern_sum"

func init() {
	for _, word := range []string{"embed", "resid_mid", "resid_post"} {
		searches[word] = append(searches[word], sums)
	}
}

// sums proposes sums of tensors of the step that have the output's shape: of its own terms with
// other coefficients, then with one term more or in the place of one.
func sums(r *Row) (all []Hypothesis) {
	own := model.Reads(r.Model.Config(), r.Name)
	all = append(all, r.sumOf(own)...)
	for _, other := range r.alike() {
		if slices.Contains(own, other) {
			continue
		}
		all = append(all, r.sumOf(append(slices.Clone(own), other))...)
		for i := range own {
			terms := slices.Clone(own)
			terms[i] = other
			all = append(all, r.sumOf(terms)...)
		}
	}
	return all
}

// alike returns the stages of the step, computed before the row's own, that have as many values
// as its output, or as each row of the batch.
func (r *Row) alike() (names []string) {
	for _, name := range model.StageNames(r.Model.Config(), nil) {
		if name == r.Name {
			break
		}
		if x := r.In(name); len(x) == len(r.Got) || name == "wpe" && len(x) > 0 {
			names = append(names, name)
		}
	}
	return names
}

// sumOf proposes the sum of some terms with the coefficients that fit the row; nothing if they
// are all 1 on the row's own terms.
func (r *Row) sumOf(terms []string) []Hypothesis {
	at := r.places()
	y, x := make([]float64, len(at)), make([][]float64, len(terms))
	for j, name := range terms {
		in := r.In(name)
		if len(in) == 0 {
			return nil
		}
		x[j] = make([]float64, len(at))
		for i, place := range at {
			x[j][i] = float64(in[place%len(in)]) // wpe is [T,C], for every row of the batch
		}
	}
	for i, place := range at {
		y[i] = float64(r.Got[place])
	}
	c := linear(y, x...)
	if c == nil {
		return nil
	}
	uncertain := uncertainty(y, c, x...)
	s, _ := model.ParseStage(r.Name)
	numbers, parts, kinds := 0, []string(nil), make([]string, len(terms))
	for j, name := range terms {
		kinds[j] = seenFrom(r.Model.Config(), s, name)
		text, meant := Spell(r.Model.Config(), c[j], 0)
		if slack := uncertain[j] + 1e-6*math.Abs(c[j]); math.Abs(meant-c[j]) <= slack {
			c[j] = meant
		} else if meant != 1 && !strings.Contains(text, " = ") && !strings.Contains(text, " (also ") { // few digits are not all of it
			text, _ = Spell(r.Model.Config(), c[j], slack/math.Abs(c[j]))
		}
		switch {
		case meant == 1:
			c[j] = 1
			parts = append(parts, kinds[j])
		case math.Abs(meant) < sameNumber:
			c[j] = 0
		default:
			numbers++
			parts = append(parts, "("+text+")·"+kinds[j])
		}
	}
	if numbers == 0 && len(parts) == len(terms) && slices.Equal(terms, model.Reads(r.Model.Config(), r.Name)) || len(parts) == 0 {
		return nil
	}
	text := fmt.Sprintf("the sum is %s, where %s belongs", strings.Join(parts, " + "), strings.Join(ownTerms(r.Model.Config(), s), " + "))
	return []Hypothesis{{ID: PatternSum, Text: text, Numbers: numbers + len(terms) - 2, Output: func(at *Stage) []float32 {
		cfg := at.Model.Config()
		here, _ := model.ParseStage(at.Name)
		shape, _ := model.Shape(cfg, at.Name, at.Dims)
		out := make([]float64, shapes.Product(shape))
		for j, kind := range kinds {
			in := at.In(asSeen(cfg, here, kind))
			if len(in) == 0 {
				return nil
			}
			for i := range out {
				out[i] += c[j] * float64(in[i%len(in)])
			}
		}
		return rounded(out)
	}}}
}

package fit

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/model"
)

const (
	// smooth is the sum of the squared differences of neighbours, over twice that of all from
	// their mean, up to which an error follows what it is sorted by: of noise it is 1.
	smooth = 0.02

	// leastAlone is the number of wrong values that it takes to see it.
	leastAlone = 100
)

// OneInput says of an activation that no hypothesis explains that each of its values is a
// function of the input alone, with what the function is at some points; "" if that cannot be
// seen.
func OneInput(r *Row) string {
	p := newValues(r)
	if p == nil || len(p.wrong) < leastAlone {
		return ""
	}
	if s, _ := model.ParseStage(r.Name); s.Word != "mlp.act" {
		return ""
	}
	src := inputOfStage(r)
	x := src.of(&r.Stage)
	if len(x) != len(r.Got) {
		return ""
	}
	at := slices.Clone(p.at)
	slices.SortFunc(at, func(i, j int) int { return cmp.Compare(x[i], x[j]) })
	off := func(i int) float64 { return float64(r.Got[i]) - float64(r.Right[i]) }
	var sum, squares, steps float64
	for k, i := range at {
		e := off(i)
		sum, squares = sum+e, squares+e*e
		if k > 0 {
			d := e - off(at[k-1])
			steps += d * d
		}
	}
	n := float64(len(at))
	if spread := squares - sum*sum/n; !(steps <= 2*smooth*spread) {
		return ""
	}
	// It is told as the stage is: where it departs first, and its values at some points.
	least := math.Inf(1)
	for _, i := range p.wrong {
		least = min(least, math.Abs(float64(x[i])))
	}
	var points []string
	const shown = 5
	for k := range shown {
		i := at[(2*k+1)*len(at)/(2*shown)]
		points = append(points, fmt.Sprintf("%.4g for %.4g at %.4g", r.Got[i], r.Right[i], x[i]))
	}
	text := fmt.Sprintf("the values follow %s, as another function of it than the right one: %s", src.name, strings.Join(points, ", "))
	if largest := math.Abs(float64(x[at[0]])); least > 0.02*max(largest, math.Abs(float64(x[at[len(at)-1]]))) {
		text += fmt.Sprintf(", and none is wrong below |x| = %.4g", least)
	}
	return text
}

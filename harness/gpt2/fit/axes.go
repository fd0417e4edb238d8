package fit

import (
	"fmt"
	"strings"

	"checkpoint12/model"
)

// An Axis is one dimension of a stage as a person names it. An axis of channels that holds heads
// is two.
type Axis struct {
	Letter    string // of model.Axes
	One, Many string // "head", "heads"
	N         int
	First     int      // what the index 0 is called
	names     []string // of the indices, where they have names
}

// axisNames are the names that people give the axes of model.Axes.
var axisNames = map[string]Axis{
	"B": {One: "batch row", Many: "batch rows"},
	"T": {One: "position", Many: "positions"},
	"S": {One: "key position", Many: "key positions"},
	"C": {One: "channel", Many: "channels"},
	"F": {One: "unit", Many: "units"},
	"V": {One: "id", Many: "ids"},
	"3": {One: "third", Many: "thirds", names: []string{"q", "k", "v"}},
	"H": {One: "head", Many: "heads"},
	"D": {One: "channel of a head", Many: "channels of a head"},
}

// Axes returns the axes of a stage, and their lengths as a shape.
func Axes(cfg model.Config, stage string, d model.Dims) (all []Axis, shape []int) {
	letters := strings.Fields(strings.NewReplacer("(", "", ")", "").Replace(model.Axes(stage)))
	for _, l := range letters {
		a := axisNames[l]
		a.Letter, a.N = l, d.Length(cfg, l)
		if l == "T" {
			a.First = d.P
		}
		all, shape = append(all, a), append(shape, a.N)
	}
	return all, shape
}

// KeyPositions names positions of keys.
func KeyPositions(indices []int) string { return axisNames["S"].Some(indices) }

// axes returns the axes of the stage, and their lengths as a shape.
func (s *Stage) axes() (all []Axis, shape []int) {
	return Axes(s.Model.Config(), s.Name, s.Dims)
}

// at returns the name of an index.
func (a Axis) at(j int) string {
	if a.names != nil {
		return a.names[j]
	}
	return fmt.Sprint(j + a.First)
}

// Some names indices: "head 3", "heads 0, 2 to 5" or "the v third".
func (a Axis) Some(indices []int) string {
	name := a.Many
	if len(indices) == 1 {
		name = a.One
	}
	if a.names == nil {
		return name + " " + Ranges(indices, a.First)
	}
	var names []string
	for _, j := range indices {
		names = append(names, a.at(j))
	}
	return "the " + strings.Join(names, " and ") + " " + name
}

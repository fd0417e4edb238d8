package fit

import (
	"fmt"
	"strings"

	"checkpoint12/model"
)

// An axis is one dimension of a stage as a person names it. An axis of channels that holds heads
// is two.
type axis struct {
	letter, one, many string
	n                 int
	first             int      // what the index 0 is called
	names             []string // of the indices, where they have names
}

// axisNames are the names of the axes of model.Axes.
var axisNames = map[string]axis{
	"B": {one: "batch row", many: "batch rows"},
	"T": {one: "position", many: "positions"},
	"S": {one: "key position", many: "key positions"},
	"C": {one: "channel", many: "channels"},
	"F": {one: "unit", many: "units"},
	"V": {one: "id", many: "ids"},
	"3": {one: "third", many: "thirds", names: []string{"q", "k", "v"}},
	"H": {one: "head", many: "heads"},
	"D": {one: "channel of a head", many: "channels of a head"},
}

// axes returns the axes of a stage, and their lengths as a shape.
func (s *Stage) axes() (all []axis, shape []int) {
	letters := strings.Fields(strings.NewReplacer("(", "", ")", "").Replace(model.Axes(s.Name)))
	for _, l := range letters {
		a := axisNames[l]
		a.letter, a.n = l, s.Dims.Length(s.Model.Config(), l)
		if l == "T" {
			a.first = s.Dims.P
		}
		all, shape = append(all, a), append(shape, a.n)
	}
	return all, shape
}

// at returns the name of an index.
func (a axis) at(j int) string {
	if a.names != nil {
		return a.names[j]
	}
	return fmt.Sprint(j + a.first)
}

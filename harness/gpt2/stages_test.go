package gpt2

import (
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness/align"
	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/harness/internal/names"
	"checkpoint12/model"
)

// Every stage of the forward pass has a row of the table, every row is some
// stage's, and no two columns of a layer have the same head.
func TestTableOfStages(t *testing.T) {
	used := map[string]bool{}
	heads := map[string]string{}
	for _, name := range model.StageNames(model.Config{Layers: 2}, Temperatures) {
		row := rowOf(name)
		used[row.pattern] = true
		if (row.rounding == nil) != (name == "next_token") {
			t.Errorf("%s: rounding is nil: %t", name, row.rounding == nil)
		}
		if of, _ := model.ParseStage(name); of.Layer >= 0 {
			head := Label(name)
			if head == "" {
				head = name[strings.LastIndexByte(name, '.')+1:]
			}
			if other, twice := heads[head]; twice && names.Family(other) != names.Family(name) {
				t.Errorf("%s and %s have the same label %s", other, name, head)
			}
			heads[head] = name
		}
	}
	for _, row := range stages {
		if !used[row.pattern] {
			t.Errorf("row %s is no stage's", row.pattern)
		}
	}
}

// The layouts of every stage are well formed and have the axes of the stage and
// no others, but for wpe, of which engines show a copy for each row of the batch.
func TestLayoutsOfStages(t *testing.T) {
	s := Schedule(2, nil)
	if _, err := align.NewView(s, harnesstest.Source(s, "nothing", nil, nil), align.ViewOptions{}); err != nil {
		t.Error(err)
	}
	axes := func(layout string) []string {
		return slices.Sorted(slices.Values(strings.Fields(strings.NewReplacer("(", " ", ")", " ").Replace(layout))))
	}
	for _, st := range s.Stages() {
		for _, l := range st.Layouts {
			if !slices.Equal(axes(l), axes(st.Axes)) && !(st.Name == "wpe" && l == "B T C") {
				t.Errorf("%s has the axes %s, in another layout %s", st.Name, st.Axes, l)
			}
		}
	}
}

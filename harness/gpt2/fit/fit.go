// Package fit explains a stage's wrong output by a small model of the error: a function with
// numbers, ids or inputs in it that are read off the engine's own tensors.
package fit

import (
	"slices"

	"checkpoint12/model"
)

// A Stage is a stage at one step with the inputs that an engine gave it.
type Stage struct {
	Model *model.Model
	Dims  model.Dims
	Name  string
	Step  int

	// In returns, in the shape of model.Shape, what the stage can read by the name of
	// model.Reads, or another stage of the step, as the engine has it or as it follows from
	// what the engine has; nil where it is not known. What it returns is not changed.
	In func(name string) []float32

	// At is In of a stage of any step.
	At func(step int, stage string) []float32

	// Has reports whether the engine has a stage of a step itself; it is of a Row alone.
	Has func(step int, stage string) bool

	// Wrong reports whether a stage of a step is one that the engine computes wrong itself; nil where that
	// is not known.
	Wrong func(step int, stage string) bool

	// Stages are those of the step that the engine has itself; they are of a Row alone.
	Stages []string

	// Seen is what the engine has in the stage's place, for a function with something random in it;
	// nil where it is not known.
	Seen []float32

	// Correct returns what the correct function gives; what it returns is not changed.
	Correct func() []float32
}

// A Row is a stage with the engine's output, of which at least one value is wrong.
type Row struct {
	Stage
	Got   []float32 // what the engine has; nil if that is not known, as within a span
	Right []float32 // what the correct function gives
	Bound []float32 // what rounding may do at each place; nil is nothing

	// Part reports for each place whether it is to be explained; the others are right. Nil is
	// all of them.
	Part []bool

	// Whole is the row of which this is a sample of positions; nil if it is none.
	Whole *Row

	// End is the row that shows what a stage of its span does whose output is not known.
	End *Row

	// Recovered is set where Got follows from later stages, up to Bound.
	Recovered bool
}

// A Hypothesis is a function that may be the engine's, with what was read off one row.
type Hypothesis struct {
	ID      string   // of the kind of error, such as PatternSum
	Text    string   // what the engine does and what to do about it, in words an engineer acts on
	Numbers int      // that were read off the row: the fewer, the plainer
	Stages  []string // patterns of the stages in which it can sit; nil is the row's own in any layer

	// Whole is set where a sample of positions does not tell what the function gives: it is held
	// against the whole row.
	Whole bool

	// Event is set for what may begin at any step: an earlier one that is right does not refute it.
	Event bool

	// OfRow is set for a law of whole rows of scores or probabilities, which some keys of them do not show.
	OfRow bool

	// Queries is how many positions of queries it takes to show it, if more than one: for a rule of how far
	// back a query sees.
	Queries int

	// Steps is how many steps it takes to show it, if more than one: for what shows from a step on.
	Steps int

	// OfLayer is set for a function of the layer's number, which one layer does not show.
	OfLayer bool

	// Output returns what the function gives in the place of a stage, in that stage's shape;
	// nil where it changes nothing or needs what is not known.
	Output func(s *Stage) []float32
}

// A search proposes hypotheses on a row. It is free to propose what does not hold: each is held
// against all values of all rows.
type search func(r *Row) []Hypothesis

// searches are those of each kind of stage by its name without the layer; "" is of every kind,
// before its own, and "*" after. The plainest come first.
var searches = map[string][]search{}

// blind are the searches that need no output: what they propose has no number read off it. They
// look at the stages of a span whose output the candidate lacks.
var blind = map[string][]search{}

// most is the number of hypotheses on a row that are held against it.
const most = 64

// Propose returns hypotheses on a row, the plainest first.
func Propose(r *Row) []Hypothesis {
	s, _ := model.ParseStage(r.Name)
	var all []Hypothesis
	looks := slices.Concat(searches[""], blind[s.Word], blind[""], searches[s.Word], searches["*"])
	if r.Got == nil {
		looks = slices.Concat(blind[s.Word], blind[""])
	}
	for _, look := range looks {
		all = append(all, look(r)...)
	}
	for i := range all {
		all[i].Text = layersNamed(all[i].Text)
		all[i].OfRow = all[i].OfRow || all[i].ID == PatternSoftmax
		if all[i].Stages == nil {
			all[i].Stages = []string{anyLayer(s)}
		}
	}
	slices.SortStableFunc(all, func(a, b Hypothesis) int { return a.Numbers - b.Numbers })
	return all[:min(len(all), most)]
}

// anyLayer returns the pattern of a stage in any layer.
func anyLayer(s model.StageName) string {
	if s.Layer < 0 {
		return s.String()
	}
	return "h.*." + s.Word
}

package faults

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"checkpoint12/harness/internal/words"
)

// numbersRead are the numbers in a hypothesis's words, with the expressions that give them.
var numbersRead = regexp.MustCompile(`-?\d+(\.\d+)?(e[-+]?\d+)?( = (?:[^\s(),]|\([^()]*\))+(, at this config also (?:[^():;]|\([^()]*\))*)?| \(also (?:[^()]|\([^()]*\))* here\))?`)

// AcrossSteps says of causes that were read off a stage at one step where other steps of it refute
// them: that a number in them changes from step to step, and at which steps nothing explains what is
// wrong, so that they do not hold there. causes are the first of each row that is wrong, by step.
func AcrossSteps(causes []*Cause) {
	stages := map[string][]*Cause{}
	for _, c := range causes {
		stages[c.Stage] = append(stages[c.Stage], c)
	}
	for _, all := range stages {
		told := make([]string, len(all))
		for i, c := range all {
			told[i] = c.acrossSteps(all)
		}
		for i, c := range all {
			c.Text += told[i]
		}
	}
}

// acrossSteps returns what all causes of a stage say of one of them.
func (c *Cause) acrossSteps(all []*Cause) (text string) {
	if !c.everyStep() {
		return ""
	}
	frame := func(c *Cause) string { return numbersRead.ReplaceAllString(c.made.fault.Text, "#") }
	var with, without []int // steps at which it holds but for numbers, and those that nothing explains
	var read [][]string     // numbers of those with
	for _, o := range all {
		switch {
		case o.everyStep() && slices.Equal(o.At, c.At) && frame(o) == frame(c):
			with, read = append(with, o.Step), append(read, numbersRead.FindAllString(o.made.fault.Text, -1))
		case o.Fault == "" && !o.Rest:
			without = append(without, o.Step)
		}
	}
	var differ []int // numbers
	for i := range read[0] {
		if slices.ContainsFunc(read, func(x []string) bool { return otherNumber(x[i], read[0][i]) }) {
			differ = append(differ, i)
		}
	}
	holds := "and this does not hold: it is not the whole cause"
	switch { // there they may be others
	case c.numbers == 1:
		holds = "and not by this number"
	case c.numbers > 1:
		holds = "and not by these numbers"
	}
	if len(differ) == 1 {
		var numbers []string
		for _, x := range read {
			number, _, _ := strings.Cut(x[differ[0]], " = ")
			number, _, _ = strings.Cut(number, " (also ")
			numbers = append(numbers, number)
		}
		text = fmt.Sprintf("; the number changes from step to step, as with the position: it is %s at %s", words.And(numbers), plural("step", with))
		holds = "by no one such number"
	}
	if len(without) > 0 {
		text += fmt.Sprintf("; at %s the stage is wrong too, %s", plural("step", without), holds)
	}
	return text
}

// otherNumber reports whether two numbers that were read off rows differ by more than that.
func otherNumber(a, b string) bool {
	var x, y float64
	fmt.Sscan(a, &x)
	fmt.Sscan(b, &y)
	return math.Abs(x-y) > 10*sameValues*math.Abs(x)
}

// everyStep reports whether a cause was read off a row, of a function that is the same at every step.
func (c *Cause) everyStep() bool {
	return c.Fault != "" && !c.Rest && c.made.fault.fit && !c.event && c.made.from == 0
}

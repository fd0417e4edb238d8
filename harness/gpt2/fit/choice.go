package fit

import (
	"fmt"
	"slices"
)

// PatternChoice is the id of a position or an id that is chosen by another rule.
const PatternChoice = "pattern_choice"

func init() {
	searches["logits_last"] = append(searches["logits_last"], otherPosition)
	searches["next_token"] = append(searches["next_token"], otherChoice)
}

// A pick says which position of which row of the batch a row's logits are taken from.
type pick struct {
	text string
	of   func(b, B, T int) (row, t int)
}

// picks are those without a number.
var picks = []pick{
	{"the last but one position", func(b, _, T int) (int, int) { return b, T - 2 }},
	{"the first position", func(b, _, _ int) (int, int) { return b, 0 }},
	{"row 0 of the batch, for every row", func(_, _, T int) (int, int) { return 0, T - 1 }},
	{"the last row of the batch, for every row", func(_, B, T int) (int, int) { return B - 1, T - 1 }},
	{"the row of the batch before", func(b, B, T int) (int, int) { return (b - 1 + B) % B, T - 1 }},
	{"the row of the batch after", func(b, B, T int) (int, int) { return (b + 1) % B, T - 1 }},
	{"the rows of the batch in reverse order", func(b, B, T int) (int, int) { return B - 1 - b, T - 1 }},
	{"position T-1 of the rows laid end to end, so of row 0", func(b, _, T int) (int, int) { return (T - 1 + b) / T, (T - 1 + b) % T }},
	{"row b of the rows laid end to end, whatever the position", func(b, _, T int) (int, int) { return b / T, b % T }},
}

// otherPosition proposes the position that the last logits are taken from.
func otherPosition(r *Row) (all []Hypothesis) {
	B, T, V := r.Dims.B, r.Dims.T, r.Model.Config().Vocab
	in := r.In("logits")
	if len(in) != B*T*V || len(r.Got) != B*V {
		return nil
	}
	add := func(x pick, numbers int) {
		holds, other := true, false
		for b := 0; b < B && holds; b++ {
			row, t := x.of(b, B, T)
			other = other || row != b || t != T-1
			holds = row >= 0 && row < B && t >= 0 && t < T && slices.Equal(r.Got[b*V:][:V], in[(row*T+t)*V:][:V])
		}
		if !holds || !other {
			return
		}
		all = append(all, Hypothesis{
			ID: PatternChoice, Numbers: numbers,
			Text: "the logits are those of " + x.text + ": take the last position, T-1, of each row",
			Output: func(s *Stage) (out []float32) {
				B, T, in := s.Dims.B, s.Dims.T, s.In("logits")
				if len(in) != B*T*V {
					return nil
				}
				for b := range B {
					row, t := x.of(b, B, T)
					if row < 0 || row >= B || t < 0 || t >= T {
						return nil
					}
					out = append(out, in[(row*T+t)*V:][:V]...)
				}
				return out
			},
		})
	}
	for _, x := range picks {
		add(x, 0)
	}
	if len(all) > 0 {
		return all
	}
	// Each row's by itself.
	where := make([][2]int, B)
	text := ""
	for b := range B {
		i := 0
		for i < B*T && !slices.Equal(r.Got[b*V:][:V], in[i*V:][:V]) {
			i++
		}
		if i == B*T {
			return nil
		}
		if where[b] = [2]int{i / T, i % T}; text == "" && (i/T != b || i%T != T-1) {
			text = fmt.Sprintf("position %d of row %d, for row %d", r.Dims.P+i%T, i/T, b)
		}
	}
	if t := where[0][1]; !slices.ContainsFunc(where, func(w [2]int) bool { return w[1] != t }) {
		add(pick{fmt.Sprintf("position %d of the step", t), func(b, _, _ int) (int, int) { return b, t }}, 1)
		add(pick{fmt.Sprintf("%d positions before the last", T-1-t), func(b, _, T int) (int, int) { return b, t - r.Dims.T + T }}, 1)
	}
	add(pick{text, func(b, _, _ int) (int, int) {
		if b >= len(where) {
			return -1, -1
		}
		return where[b][0], where[b][1]
	}}, 1+B)
	return all
}

// A choice is how an engine chose an id at one row of a step.
type choice struct {
	*Stage
	logits []float32 // of all rows, [B,V]
	b      int
	right  int
	got    int
}

// row returns a row's logits.
func (c choice) row(b int) []float32 {
	V := c.Model.Config().Vocab
	return c.logits[b*V:][:V]
}

// argmax returns the lowest id with the highest of some logits, of those that a condition
// allows; -1 if there is none.
func argmax(logits []float32, allowed func(id int) bool) int {
	best := -1
	for id, v := range logits {
		if (allowed == nil || allowed(id)) && (best < 0 || v > logits[best]) {
			best = id
		}
	}
	return best
}

// A chooser is a rule by which an id is chosen.
type chooser struct {
	text    string
	numbers int
	of      func(c choice) int // -1 is none
}

// choosers are those without a number.
var choosers = []chooser{
	{"the choice is that of row 0 of the batch, for every row", 0, func(c choice) int { return argmax(c.row(0), nil) }},
	{"the choice is that of the last row of the batch, for every row", 0, func(c choice) int { return argmax(c.row(len(c.logits)/len(c.row(0))-1), nil) }},
	{"the choice is that of the batch's next row", 0, func(c choice) int { return argmax(c.row((c.b+1)%c.rows()), nil) }},
	{"the choice is that of the batch's row before", 0, func(c choice) int { return argmax(c.row((c.b-1+c.rows())%c.rows()), nil) }},
	{"one argmax is taken over all rows of the batch", 0, func(c choice) int { return argmax(c.logits, nil) % len(c.row(0)) }},
	{"the lowest logit is chosen", 0, func(c choice) int {
		neg := slices.Clone(c.row(c.b))
		for i := range neg {
			neg[i] = -neg[i]
		}
		return argmax(neg, nil)
	}},
	{"the logit that is largest without its sign is chosen", 0, func(c choice) int {
		abs := slices.Clone(c.row(c.b))
		for i, v := range abs {
			abs[i] = max(v, -v)
		}
		return argmax(abs, nil)
	}},
	{"ids that were in the sequence before are not chosen, as under a penalty of repetition", 0, func(c choice) int {
		seen := c.seen()
		return argmax(c.row(c.b), func(id int) bool { return !seen[id] })
	}},
	{"the token that was fed last is chosen again", 0, func(c choice) int { return c.fed(1) }},
	{"the choice is that of the step before", 0, func(c choice) int { return c.before() }},
	{"the choice is wrong by one: the id after the correct one", 0, func(c choice) int { return argmax(c.row(c.b), nil) + 1 }},
	{"the choice is wrong by one: the id before the correct one", 0, func(c choice) int { return argmax(c.row(c.b), nil) - 1 }},
	{"the id is cut to 15 bits", 0, func(c choice) int { return argmax(c.row(c.b), nil) & (1<<15 - 1) }},
	{"the id is cut to 8 bits", 0, func(c choice) int { return argmax(c.row(c.b), nil) & (1<<8 - 1) }},
	{"the second highest logit is chosen", 0, func(c choice) int { return c.ranked(1) }},
	{"the third highest logit is chosen", 0, func(c choice) int { return c.ranked(2) }},
}

// rows returns the number of rows of the batch.
func (c choice) rows() int { return len(c.logits) / c.Model.Config().Vocab }

// ranked returns the id with so many logits above it.
func (c choice) ranked(n int) int {
	taken := map[int]bool{}
	for range n {
		taken[argmax(c.row(c.b), func(id int) bool { return !taken[id] })] = true
	}
	return argmax(c.row(c.b), func(id int) bool { return !taken[id] })
}

// fed returns the id fed to the row, so many from the last; -1 if that is not known.
func (c choice) fed(n int) int {
	ids := c.In("tokens")
	T := len(ids) / max(c.rows(), 1)
	if T < n {
		return -1
	}
	return int(ids[c.b*T+T-n])
}

// seen returns the ids that were fed to the row up to the step.
func (c choice) seen() map[int]bool {
	seen := map[int]bool{}
	for step := 0; step <= c.Step; step++ {
		ids := c.In("tokens")
		if step < c.Step {
			if c.At == nil {
				return seen
			}
			ids = c.At(step, "tokens")
		}
		T := len(ids) / max(c.rows(), 1)
		for _, id := range ids[c.b*T:][:T] {
			seen[int(id)] = true
		}
	}
	return seen
}

// before returns the correct choice of the step before; at the first the step's own.
func (c choice) before() int {
	if c.Step == 0 {
		return c.right
	}
	if c.At == nil {
		return -1
	}
	x, V := c.At(c.Step-1, "logits_last"), c.Model.Config().Vocab
	if len(x) < (c.b+1)*V {
		return -1
	}
	return argmax(x[c.b*V:][:V], nil)
}

// choices returns the choices of a step.
func (s *Stage) choices() (all []choice) {
	logits, V := s.In("logits_last"), s.Model.Config().Vocab
	for b := range len(logits) / V {
		right := argmax(logits[b*V:][:V], nil)
		all = append(all, choice{Stage: s, logits: logits, b: b, right: right, got: -1})
	}
	return all
}

// otherChoice proposes rules by which ids are chosen, that hold of all rows and steps.
func otherChoice(r *Row) (all []Hypothesis) {
	var seen []choice
	for step := max(0, r.Step-stepsRead); step <= r.Step+stepsRead; step++ {
		if step != r.Step && (!r.Has(step, r.Name) || !r.Has(step, "logits_last") && !r.Has(step, "logits")) {
			continue
		}
		s := r.step(step)
		out := s.In(r.Name)
		if step == r.Step {
			out = r.Got
		}
		for _, c := range s.choices() {
			if c.b < len(out) {
				c.got = int(out[c.b])
				seen = append(seen, c)
			}
		}
	}
	wrong := slices.IndexFunc(seen, func(c choice) bool { return c.Step == r.Step && c.got != c.right })
	if wrong < 0 {
		return nil
	}
	tried := slices.Clone(choosers)
	tried = append(tried, upTo(seen)...)
	tried = append(tried, except(seen)...)
	for _, x := range tried {
		if slices.ContainsFunc(seen, func(c choice) bool { return x.of(c) != c.got }) {
			continue
		}
		all = append(all, Hypothesis{
			ID: PatternChoice, Numbers: x.numbers, Text: x.text + ": choose the lowest id of the highest logit, of each row its own",
			Output: func(s *Stage) (out []float32) {
				for _, c := range s.choices() {
					out = append(out, float32(x.of(c)))
				}
				return out
			},
		})
	}
	return all
}

// upTo returns the rules by which only ids below, or from, a number are looked at.
func upTo(seen []choice) (all []chooser) {
	// Below n: all that are chosen, and none of those that are passed over.
	lowest, highest := 0, 1<<62
	for _, c := range seen {
		lowest = max(lowest, c.got+1)
		if c.got != c.right {
			highest = min(highest, c.right)
		}
	}
	wrong := 0
	for _, c := range seen {
		if c.got != c.right {
			wrong++
		}
	}
	if lowest <= highest {
		n, text := highest, ""
		for _, known := range []int{1 << 15, 1 << 8, 50256, 50000, 1 << 10, 1 << 12, 1 << 14} {
			if lowest <= known && known <= highest && text == "" {
				n, text = known, fmt.Sprintf("%d", known)
			}
		}
		needed := 2 // wrong choices, of which fewer come about by chance
		if text == "" {
			needed = 3
			text = fmt.Sprintf("some n of %d to %d", lowest, highest)
		}
		if wrong < needed {
			return nil
		}
		all = append(all, chooser{"only ids below " + text + " are looked at", 1, func(c choice) int {
			return argmax(c.row(c.b), func(id int) bool { return id < n })
		}})
	}
	lowest, highest = 0, 1<<62
	for _, c := range seen {
		highest = min(highest, c.got)
		if c.got != c.right {
			lowest = max(lowest, c.right+1)
		}
	}
	if lowest <= highest && wrong > 2 {
		all = append(all, chooser{fmt.Sprintf("ids below some n of %d to %d are passed over", lowest, highest), 2, func(c choice) int {
			return argmax(c.row(c.b), func(id int) bool { return id >= lowest })
		}})
	}
	return all
}

// except returns the rule by which certain ids are never chosen.
func except(seen []choice) []chooser {
	never, wrong := map[int]bool{}, 0
	for _, c := range seen {
		if c.got != c.right {
			never[c.right] = true
			wrong++
		}
	}
	if wrong <= len(never) { // of second highest logits each would do
		return nil
	}
	ids := []int{}
	for id := range never {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	what := "id"
	if len(ids) > 1 {
		what = "ids"
	}
	return []chooser{{fmt.Sprintf("%s %s may not be chosen", what, Ranges(ids, 0)), 2 + len(ids), func(c choice) int {
		return argmax(c.row(c.b), func(id int) bool { return !never[id] })
	}}}
}

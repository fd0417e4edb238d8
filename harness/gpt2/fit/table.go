package fit

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/model"
)

// PatternLookup is the id of rows of a table of weights in the place of others.
const PatternLookup = "pattern_lookup"

func init() {
	for _, word := range []string{"wte", "wpe", "embed"} {
		searches[word] = append(searches[word], lookups)
	}
}

// A lookup is one row that a step reads from wte or wpe.
type lookup struct {
	*Stage
	ids  []float32 // [B,T] of the step; of wpe only counted
	b, t int
	want int // the row that belongs there: the id, or the position
	got  int // the row that is there; -1 is none of the table's
}

// A rule says which row is read in a lookup; -1 is none.
type rule struct {
	text    string
	numbers int
	row     func(x lookup) int
}

// A table is the rows of wte or wpe by their values.
type table struct {
	name  string
	rows  []float32
	width int
	at    map[uint64][]int // rows by the bits of their first values
}

// newTable returns a table of the model's.
func newTable(m *model.Model, name string) *table {
	w, _, ok := m.Weight(name + ".weight")
	if !ok {
		return nil
	}
	x := &table{name: name, rows: w, width: m.Config().Embd, at: map[uint64][]int{}}
	for i := range x.len() {
		h := x.key(x.row(i))
		x.at[h] = append(x.at[h], i)
	}
	return x
}

func (x *table) len() int            { return len(x.rows) / x.width }
func (x *table) row(i int) []float32 { return x.rows[i*x.width:][:x.width] }

// key returns what rows are found by.
func (x *table) key(row []float32) uint64 {
	return uint64(math.Float32bits(row[0]))<<32 | uint64(math.Float32bits(row[min(1, len(row)-1)]))
}

// find returns the first row of the table that has these very values, -1 if none has.
func (x *table) find(row []float32) int {
	for _, i := range x.at[x.key(row)] {
		if slices.Equal(x.row(i), row) {
			return i
		}
	}
	return -1
}

// same reports whether two rows of the table are alike: padding often is.
func (x *table) same(i, j int) bool {
	return i == j || i >= 0 && j >= 0 && i < x.len() && j < x.len() && slices.Equal(x.row(i), x.row(j))
}

// stepsRead is how many steps on each side of a row are read for a rule.
const stepsRead = 32

// step returns the stage at another step.
func (s *Stage) step(step int) *Stage {
	if step == s.Step {
		return s
	}
	other := *s
	other.Step = step
	other.In = func(name string) []float32 { return s.At(step, name) }
	return &other
}

// lookups proposes rules by which rows of wte or wpe are read, that hold of every step; of embed
// those of what was added to the other.
func lookups(r *Row) (all []Hypothesis) {
	name := r.Name
	if name != "embed" {
		all = r.lookupsIn(name, name)
		if len(all) == 0 {
			other := map[string]string{"wte": "wpe", "wpe": "wte"}[name]
			all = r.lookupsIn(name, other)
		}
		return all
	}
	return append(r.lookupsIn("wpe", "wpe"), r.lookupsIn("wte", "wte")...)
}

// lookupsIn proposes rules by which a stage, wte or wpe, reads a table; what is there is the
// row's own output or, of embed, its output less the other part.
func (r *Row) lookupsIn(stage, from string) (all []Hypothesis) {
	x := newTable(r.Model, from)
	if x == nil {
		return nil
	}
	found := r.found(x, stage)
	wrong := 0
	for _, l := range found {
		if l.got < 0 {
			return nil
		}
		if from != stage || !x.same(l.got, l.want) {
			wrong++
		}
	}
	if wrong == 0 {
		return nil
	}
	for _, rule := range rules(x, stage, found) {
		holds := !slices.ContainsFunc(found, func(l lookup) bool { return !x.same(rule.row(l), l.got) })
		if !holds {
			continue
		}
		text := rule.text
		if from != stage {
			text += " of " + from + ", where " + stage + "'s belong"
		}
		h := Hypothesis{ID: PatternLookup, Text: text, Numbers: rule.numbers, Stages: []string{stage}, Output: func(s *Stage) []float32 {
			return s.looked(x, stage, rule)
		}}
		all = append(all, h)
		if r.Name == "embed" {
			h.Text, h.Stages = "embed adds other rows of "+stage+": "+h.Text, []string{"embed"}
			h.Output = func(s *Stage) []float32 {
				rows, other := s.looked(x, stage, rule), s.In(map[string]string{"wte": "wpe", "wpe": "wte"}[stage])
				if rows == nil || len(other) == 0 {
					return nil
				}
				out := make([]float32, len(s.Correct()))
				for i := range out {
					out[i] = rows[i%len(rows)] + other[i%len(other)]
				}
				return out
			}
			all = append(all, h)
		}
		if len(all) >= 8 {
			break
		}
	}
	return all
}

// found returns the lookups of the row's step and those around it with the rows that are there.
func (r *Row) found(x *table, stage string) (all []lookup) {
	scans := 0
	for step := max(0, r.Step-stepsRead); step <= r.Step+stepsRead; step++ {
		if !r.Has(step, r.Name) {
			continue
		}
		s := r.step(step)
		places := s.places(stage)
		out := s.In(r.Name)
		if step == r.Step {
			out = r.Got
		}
		if len(out) == 0 || len(out)%x.width != 0 {
			continue
		}
		if r.Name != "embed" && len(out) != len(places)*x.width {
			continue
		}
		other := s.In(map[string]string{"wte": "wpe", "wpe": "wte"}[stage])
		for i, l := range places {
			switch row := out[i*x.width:][:x.width]; {
			case r.Name != "embed":
				l.got = x.find(row)
			case x.adds(l.want, out, other, i):
				l.got = l.want
			default:
				if scans++; scans > mostScans {
					return nil
				}
				l.got = x.addedTo(out, other, i)
			}
			all = append(all, l)
		}
	}
	return all
}

// mostScans is how many sums are looked for in a table, which takes a pass over it each.
const mostScans = 64

// addedTo returns the row of the table to which row i of other was added to give row i of out.
func (x *table) addedTo(out, other []float32, i int) int {
	for j := range x.len() {
		if x.adds(j, out, other, i) {
			return j
		}
	}
	return -1
}

// adds reports whether row i of out is the sum of row j of the table and row i of other.
func (x *table) adds(j int, out, other []float32, i int) bool {
	if len(other) == 0 || j < 0 || j >= x.len() {
		return false
	}
	C, row := x.width, x.row(j)
	sum, part := out[i*C%len(out):][:C], other[i*C%len(other):][:C]
	for c, v := range row {
		if v+part[c] != sum[c] {
			return false
		}
	}
	return true
}

// places returns the lookups of the stage's step.
func (s *Stage) places(stage string) (all []lookup) {
	ids, pos := s.In("tokens"), s.In("pos")
	wpe, C := s.In("wpe"), s.Model.Config().Embd
	if len(ids) == 0 || len(pos) == 0 || len(wpe) == 0 {
		return nil
	}
	T := len(wpe) / C
	if T == 0 || len(ids)%T != 0 {
		return nil
	}
	B := len(ids) / T
	if stage == "wpe" {
		B = 1
	}
	for b := range B {
		for t := range T {
			l := lookup{Stage: s, ids: ids, b: b, t: t, want: int(pos[0]) + t}
			l.Dims.T, l.Dims.B, l.Dims.P = T, len(ids)/T, int(pos[0])
			if stage == "wte" {
				l.want = int(ids[b*T+t])
			}
			all = append(all, l)
		}
	}
	return all
}

// looked returns the rows of a table that a rule reads.
func (s *Stage) looked(x *table, stage string, of rule) (out []float32) {
	for _, l := range s.places(stage) {
		i := of.row(l)
		if i < 0 || i >= x.len() {
			return nil
		}
		out = append(out, x.row(i)...)
	}
	return out
}

// rules returns the rules that the first wrong lookup suggests, the plainest first.
func rules(x *table, stage string, found []lookup) (all []rule) {
	add := func(numbers int, row func(x lookup) int, format string, args ...any) {
		all = append(all, rule{fmt.Sprintf(format, args...), numbers, row})
	}
	of := "id"
	if stage == "wpe" {
		of = "position"
	}
	var wrong []lookup
	highest, lowest := -1, math.MaxInt // of what is right, of what is wrong
	one := true                        // all that is wrong is one row
	for _, l := range found {
		if x.same(l.got, l.want) && x.name == stage {
			highest = max(highest, l.want)
			continue
		}
		wrong, lowest = append(wrong, l), min(lowest, l.want)
		one = one && x.same(l.got, wrong[0].got)
	}
	w, n := wrong[0], x.len()
	k := w.got - w.want
	if stage == "wte" {
		for _, r := range wteRules {
			add(0, r.row, "%s", r.text)
		}
	} else {
		for _, r := range wpeRules {
			add(0, r.row, "%s", r.text)
		}
	}
	// Conditions under which an offset is made.
	for _, when := range []struct {
		text string
		of   func(l lookup) bool
	}{
		{"", func(lookup) bool { return true }},
		{" in steps with a past", func(l lookup) bool { return l.Dims.P > 0 }},
		{" in the prompt", func(l lookup) bool { return l.Dims.P == 0 }},
	} {
		remedy := "row i is that of id i"
		if stage == "wpe" {
			remedy = "positions count from P, 0 for a prompt"
		}
		number := 0
		if k != 1 && k != -1 {
			number = 1
		}
		add(number, func(l lookup) int {
			if !when.of(l) {
				return l.want
			}
			return (l.want + k + n) % n
		}, "%s n reads row n%+d of %s%s, offset by %d: %s", of, k, x.name, when.text, k, remedy)
	}
	if one && lowest > highest {
		u := w.got
		if u < lowest && (u == lowest-1 || u >= highest) {
			add(1, func(l lookup) int { return min(l.want, u) }, "%ss from %d on read row %d of %s: the %s is clamped at %d, where the table goes on to %d",
				of, u+1, u, x.name, of, u, n-1)
		}
		add(1, func(l lookup) int {
			if l.want >= lowest {
				return u
			}
			return l.want
		}, "%ss from %d on read row %d of %s: they are taken as out of the table, which goes on to %d", of, lowest, u, x.name, n-1)
	}
	for bits := 16; bits > 0; bits-- {
		m := 1 << bits
		if m < n {
			add(0, func(l lookup) int { return l.want % m }, "the %s is taken modulo %d = 2^%d, as in %d bits: row %d of %s is read for %s %d",
				of, m, bits, bits, w.got, x.name, of, w.want)
		}
	}
	for _, bits := range []int{8, 16} {
		wrap := func(v int) int {
			v &= 1<<bits - 1
			if v >= 1<<(bits-1) {
				v -= 1 << bits
			}
			return v
		}
		add(0, func(l lookup) int { return (wrap(l.want) + n) % n },
			"the %s wraps in a signed integer of %d bits (int%d), and a negative one counts from the end of %s: row %d is read for %s %d, which is %d; use 32 bits",
			of, bits, bits, x.name, w.got, of, w.want, wrap(w.want))
		add(0, func(l lookup) int { return max(wrap(l.want), 0) },
			"the %s wraps in a signed integer of %d bits (int%d), and a negative one reads row 0 of %s, as for %s %d; use 32 bits", of, bits, bits, x.name, of, w.want)
	}
	if m := w.want - w.got; m > 1 && w.got < m {
		add(2, func(l lookup) int { return l.want % m }, "the %s is taken modulo %d: row %d of %s is read for %s %d", of, m, w.got, x.name, of, w.want)
	}
	if stage == "wpe" {
		c := w.got - w.t
		add(1, func(l lookup) int { return l.t + c }, "positions of every step begin at %d: the first new one is at P, the length of the cache", c)
		c2 := w.got - w.t - w.Step
		add(1, func(l lookup) int { return l.Step + l.t + c2 }, "positions count steps: position t of step n reads row n%+d+t of wpe, where P+t belongs", c2)
		c3 := w.got + w.t - w.Dims.P - w.Dims.T
		add(1, func(l lookup) int { return l.Dims.P + l.Dims.T - l.t + c3 }, "positions of a step are in reverse order, offset by %d", c3+1)
	}
	if one {
		add(1, func(lookup) int { return w.got }, "every row is row %d of %s, whatever the %s", w.got, x.name, of)
	}
	// What is there, with no rule to it.
	rows, order := map[int]int{}, []int(nil)
	for _, l := range wrong {
		if _, ok := rows[l.want]; !ok {
			order = append(order, l.want)
		}
		rows[l.want] = l.got
	}
	slices.Sort(order)
	var parts []string
	for _, want := range order[:min(len(order), 4)] {
		parts = append(parts, fmt.Sprintf("%d reads row %d", want, rows[want]))
	}
	if len(order) > 4 {
		parts = append(parts, fmt.Sprintf("… (%d in all)", len(order)))
	}
	add(2+len(order), func(l lookup) int {
		if row, ok := rows[l.want]; ok {
			return row
		}
		return l.want
	}, "other rows of %s are read: %s %s", x.name, of, strings.Join(parts, ", "))
	return all
}

// wteRules are those in which another token of the run stands in the place of one.
var wteRules = []rule{
	{text: "each token is embedded as the one before it, the first as itself: ids are one late", row: func(l lookup) int { return l.token(l.b, max(l.t-1, 0)) }},
	{text: "each token is embedded as the one before it, from the step before where it is the first: the ids of the step before are fed again", row: func(l lookup) int { return l.earlier(1) }},
	{text: "each token is embedded as the one before it, the first as the last: ids are rolled by one", row: func(l lookup) int { return l.token(l.b, (l.t-1+l.Dims.T)%l.Dims.T) }},
	{text: "each token is embedded as the one after it, the last as itself: ids are one early", row: func(l lookup) int { return l.token(l.b, min(l.t+1, l.Dims.T-1)) }},
	{text: "each token is embedded as the one after it, the last as the first: ids are rolled by one", row: func(l lookup) int { return l.token(l.b, (l.t+1)%l.Dims.T) }},
	{text: "the tokens of a step are embedded in reverse order", row: func(l lookup) int { return l.token(l.b, l.Dims.T-1-l.t) }},
	{text: "every position of a step has the embedding of its first token", row: func(l lookup) int { return l.token(l.b, 0) }},
	{text: "every position of a step has the embedding of its last token", row: func(l lookup) int { return l.token(l.b, l.Dims.T-1) }},
	{text: "every batch row has the embeddings of row 0's tokens", row: func(l lookup) int { return l.token(0, l.t) }},
	{text: "every batch row has the embeddings of the last row's tokens", row: func(l lookup) int { return l.token(l.Dims.B-1, l.t) }},
	{text: "each batch row has the embeddings of the row before it, the first those of the last", row: func(l lookup) int { return l.token((l.b-1+l.Dims.B)%l.Dims.B, l.t) }},
	{text: "each batch row has the embeddings of the row after it, the last those of the first", row: func(l lookup) int { return l.token((l.b+1)%l.Dims.B, l.t) }},
	{text: "batch rows have each other's embeddings, in reverse order", row: func(l lookup) int { return l.token(l.Dims.B-1-l.b, l.t) }},
	{text: "[B,T] ids are read as [T,B]: batch and position are exchanged", row: func(l lookup) int {
		i := l.t*l.Dims.B + l.b
		return l.token(i/l.Dims.T, i%l.Dims.T)
	}},
	{text: "the embedding is that of the token's position, not of its id", row: func(l lookup) int { return l.Dims.P + l.t }},
}

// wpeRules are those without a number.
var wpeRules = []rule{
	{text: "positions begin at 0 in every step: they go on from P, the length of the cache", row: func(l lookup) int { return l.t }},
	{text: "every position of a step reads the row of its first, P: positions are P+t", row: func(l lookup) int { return l.Dims.P }},
	{text: "every position of a step reads the row of its last: positions are P+t", row: func(l lookup) int { return l.Dims.P + l.Dims.T - 1 }},
	{text: "the positions of a step are in reverse order", row: func(l lookup) int { return l.Dims.P + l.Dims.T - 1 - l.t }},
	{text: "positions count steps, one for each: they count tokens, P+t", row: func(l lookup) int { return l.Step + l.t }},
	{text: "in steps with a past the position is one too early, P-1: it is P", row: func(l lookup) int {
		if l.Dims.P > 0 {
			return l.Dims.P - 1 + l.t
		}
		return l.t
	}},
	{text: "positions count the tokens of all rows of the batch: each row begins at P", row: func(l lookup) int { return l.Dims.P*l.Dims.B + l.t }},
	{text: "positions advance by 2 for each token", row: func(l lookup) int { return 2 * l.want }},
	{text: "positions advance by 1 for every second token", row: func(l lookup) int { return l.want / 2 }},
}

// token returns the id at a place of the step.
func (l lookup) token(b, t int) int { return int(l.ids[b*l.Dims.T+t]) }

// earlier returns the id n tokens before, of this step or the one before; the token's own where
// there is none.
func (l lookup) earlier(n int) int {
	if l.t >= n {
		return l.token(l.b, l.t-n)
	}
	if l.Step == 0 {
		return l.token(l.b, l.t)
	}
	before := l.At(l.Step-1, "tokens")
	T := len(before) / max(l.Dims.B, 1)
	if i := T - n + l.t; i >= 0 && T > 0 {
		return int(before[l.b*T+i])
	}
	return -1
}

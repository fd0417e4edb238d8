package fit

import (
	"math"
	"slices"

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

func (x *table) len() int { return len(x.rows) / x.width }

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

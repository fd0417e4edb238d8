package fit

import (
	"fmt"
	"strings"

	"checkpoint12/model"
)

// PatternColumns is the id of a q, k or v that is read from other columns of c_attn.
const PatternColumns = "pattern_columns"

func init() {
	for _, word := range []string{"attn.q", "attn.k", "attn.v"} {
		searches[word] = append(searches[word], columns)
	}
}

// everyTwo is how pairs of heads are exchanged.
const everyTwo = "every two heads are exchanged"

// A split says which column of c_attn is channel d of head h of a third.
type split struct {
	text    string
	numbers int
	of      func(third, h, d int) int
}

// splits returns the ways to lay out c_attn's columns for H heads of D channels that engines have.
func splits(H, D int) (all []split) {
	C := H * D
	thirds := []string{"q", "k", "v"}
	add := func(numbers int, of func(third, h, d int) int, format string, args ...any) {
		all = append(all, split{fmt.Sprintf(format, args...), numbers, of})
	}
	layouts := []split{
		{"[3, H, D]", 0, func(s, h, d int) int { return s*C + h*D + d }},
		{"[H, 3, D]", 0, func(s, h, d int) int { return h*3*D + s*D + d }},
		{"[H, D, 3]", 0, func(s, h, d int) int { return h*3*D + d*3 + s }},
		{"[3, D, H]", 0, func(s, h, d int) int { return s*C + d*H + h }},
		{"[D, 3, H]", 0, func(s, h, d int) int { return d*3*H + s*H + h }},
		{"[D, H, 3]", 0, func(s, h, d int) int { return (d*H+h)*3 + s }},
	}
	for n := 2; n < H; n++ {
		if H%n == 0 {
			layouts = append(layouts, split{fmt.Sprintf("[%d, 3, %d, D], as for %d tensor-parallel shards or groups of heads", n, H/n, n), 0,
				func(s, h, d int) int { return h/(H/n)*3*C/n + s*C/n + h%(H/n)*D + d }})
		}
	}
	// An order of the thirds other than q, k, v is 1 more.
	for i, x := range layouts {
		if i > 0 {
			add(0, x.of, "c_attn's columns are read as %s: they lie as [3, H, D], all of q first", x.text)
		}
		for _, order := range [][]int{{0, 2, 1}, {1, 0, 2}, {2, 1, 0}, {1, 2, 0}, {2, 0, 1}} {
			at := [3]int{}
			for place, s := range order {
				at[s] = place
			}
			name := thirds[order[0]] + ", " + thirds[order[1]] + ", " + thirds[order[2]]
			add(1, func(s, h, d int) int { return x.of(at[s], h, d) }, "c_attn's columns are read as %s in the order %s: they lie as [3, H, D], q, k, v", x.text, name)
		}
	}
	for from := range 3 {
		add(2, func(_, h, d int) int { return from*C + h*D + d }, "the %s third of c_attn is read", thirds[from])
	}
	own := func(s, h, d int) int { return s*C + h*D + d }
	for by := 1; by < H; by++ {
		add(1, func(s, h, d int) int { return own(s, (h+by)%H, d) }, "head h is that of h%+d, rolled over the end", by)
	}
	add(0, func(s, h, d int) int { return own(s, H-1-h, d) }, "heads are in reverse order")
	add(0, func(s, h, d int) int { return own(s, h, D-1-d) }, "the channels of each head are in reverse order")
	if H%2 == 0 {
		add(0, func(s, h, d int) int { return own(s, h^1, d) }, everyTwo)
	}
	if D%2 == 0 {
		add(0, func(s, h, d int) int { return own(s, h, (d+D/2)%D) }, "the halves of each head are exchanged")
		add(0, func(s, h, d int) int { return own(s, h, d^1) }, "every two channels of a head are exchanged")
		add(0, func(s, h, d int) int { return own(s, h, d%2*(D/2)+d/2) }, "the halves of each head are interleaved, as weights are permuted for rotary embeddings")
		add(0, func(s, h, d int) int { return own(s, h, d%(D/2)*2+d/(D/2)) }, "even and odd channels of each head are put in halves, as weights are permuted for rotary embeddings")
	}
	for g := 2; g <= H; g++ {
		if H%g != 0 {
			continue
		}
		add(1, func(s, h, d int) int { return own(s, h-h%g, d) }, "every %d heads share the first's, as in grouped-query attention: GPT-2's heads have their own", g)
		add(1, func(s, h, d int) int { return own(s, h/g, d) }, "head h is that of h/%d, as where %d heads of keys are repeated (grouped-query attention): GPT-2's heads have their own", g, H/g)
		if g < H {
			add(1, func(s, h, d int) int { return own(s, h%g, d) }, "head h is that of h mod %d, as where %d heads are tiled: GPT-2's heads have their own", g, g)
		}
	}
	for _, by := range []int{-1, 1, D, -D} {
		add(1, func(s, h, d int) int { return (own(s, h, d) + by + 3*C) % (3 * C) }, "c_attn's columns are read %+d off their place", by)
	}
	for to := range 3 {
		for from := range 3 {
			for head := range H {
				if from != to {
					add(2, func(s, h, d int) int {
						if s == to && h == head {
							s = from
						}
						return own(s, h, d)
					}, "head %d of attn.%s has the values of the same of attn.%s", head, thirds[to], thirds[from])
				}
			}
		}
	}
	return all
}

// hypothesis returns the split as what q, k or v are.
func (x split) hypothesis(cfg model.Config) Hypothesis {
	H, C := cfg.Heads, cfg.Embd
	D := C / H
	return Hypothesis{ID: PatternColumns, Text: x.text, Numbers: x.numbers, Stages: []string{"h.*.attn.[qkv]"}, Output: func(s *Stage) []float32 {
		at, _ := model.ParseStage(s.Name)
		third := strings.Index("qkv", strings.TrimPrefix(at.Word, "attn."))
		in, T := s.In(model.Reads(cfg, s.Name)[0]), s.Dims.T
		out := make([]float32, len(in)/3)
		for i := range out {
			b, h, t, d := i/(H*T*D), i/(T*D)%H, i/D%T, i%D
			out[i] = in[(b*T+t)*3*C+x.of(third, h, d)]
		}
		return out
	}}
}

// columns proposes the columns of c_attn that q, k or v is read from.
func columns(r *Row) (all []Hypothesis) {
	cfg := r.Model.Config()
	H, C := cfg.Heads, cfg.Embd
	D, T := C/H, r.Dims.T
	in := r.In(model.Reads(cfg, r.Name)[0])
	if len(in) != 3*len(r.Got) {
		return nil
	}
	s, _ := model.ParseStage(r.Name)
	third := strings.Index("qkv", strings.TrimPrefix(s.Word, "attn."))
	// The columns that each head's channel can be read from: of the last position, then of all.
	at := map[float32][]int{}
	last := len(in) - 3*C
	for c, v := range in[last:] {
		at[v] = append(at[v], c)
	}
	found, first, moved := make([]int, C), -1, map[int]bool{} // moved are heads
	for c := range found {
		h, d := c/D, c%D
		place := func(row int) int { return ((row/T*H+h)*T+row%T)*D + d }
		rows := len(in) / (3 * C)
		same := func(col int) bool {
			for row := range rows {
				if i := place(row); (r.Part == nil || r.Part[i]) && in[row*3*C+col] != r.Got[i] {
					return false
				}
			}
			return true
		}
		own := third*C + c
		if found[c] = own; same(own) {
			continue
		}
		found[c] = -1
		for _, col := range at[r.Got[place(rows-1)]] {
			if same(col) {
				found[c] = col
				break
			}
		}
		if moved[h] = true; found[c] < 0 {
			return nil
		}
		if first < 0 {
			first = c
		}
	}
	if first < 0 {
		return nil
	}
	add := func(x split) { all = append(all, x.hypothesis(cfg)) }
	for _, x := range splits(H, D) {
		holds := x.text != everyTwo || len(moved) != 2 || H == 2 // else it is these two
		for c := 0; c < C && holds; c++ {
			col := x.of(third, c/D, c%D)
			holds = col == found[c] || r.sameColumns(in, col, found[c])
		}
		if holds {
			add(x)
		}
	}
	if len(all) > 0 {
		return all
	}
	// No rule: whole heads, or the first column that is another.
	name := func(col int) string { return fmt.Sprintf("head %d of %c", col%C/D, "qkv"[col/C]) }
	var parts []string
	whole := true
	for h := range H {
		for d := range D {
			whole = whole && found[h*D]%D == 0 && found[h*D+d] == found[h*D]+d
		}
		if whole && found[h*D] != third*C+h*D {
			parts = append(parts, fmt.Sprintf("head %d is %s", h, name(found[h*D])))
		}
	}
	text := fmt.Sprintf("columns of c_attn are read from other places: channel %d of head %d is column %d, where %d belongs", first%D, first/D, found[first], third*C+first)
	numbers := C
	if whole {
		text = "heads are read from other places of c_attn: " + strings.Join(parts[:min(len(parts), 8)], ", ")
		numbers = len(parts)
	}
	add(split{text, numbers, func(s, h, d int) int {
		if s != third {
			return s*C + h*D + d
		}
		return found[h*D+d]
	}})
	return all
}

// sameColumns reports whether two columns of a tensor [rows,3C] hold the same values.
func (r *Row) sameColumns(in []float32, a, b int) bool {
	width := 3 * r.Model.Config().Embd
	for lo := 0; lo < len(in); lo += width {
		if in[lo+a] != in[lo+b] {
			return false
		}
	}
	return true
}

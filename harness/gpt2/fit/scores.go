package fit

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/model"
)

// PatternScores is the id of scores with another mask, or with a term by the distance from query
// to key; PatternHeads of queries and keys that are something else than columns of c_attn.
const (
	PatternScores = "pattern_scores"
	PatternHeads  = "pattern_heads"
)

func init() {
	searches["attn.scores"] = append(searches["attn.scores"], hiddenKeys, byDistance, atKey)
	for _, word := range []string{"attn.q", "attn.k"} {
		blind[word] = append(blind[word], ofQueriesAndKeys)
	}
	for _, word := range []string{"attn.q", "attn.k", "attn.v"} {
		blind[word] = append(blind[word], withoutSign)
	}
}

// noDistance is what to do about scores that depend on distances.
const noDistance = ": GPT-2 has learned positions and none in attention"

// farBelow is the score from which on downwards a key counts as hidden.
const farBelow = -1e3

// hiddenKeys proposes scores in which other keys are hidden than those after the query.
func hiddenKeys(r *Row) (all []Hypothesis) {
	rows := func(do func(row *softmaxRow, lo int)) bool {
		return scoreRows(&r.Stage, r.Right, r.ofPart(func(row *softmaxRow, lo int) {
			row.known = make([]bool, len(row.right))
			for j := range row.known {
				row.known[j] = r.Got[lo+j] > farBelow
			}
			do(row, lo)
		}))
	}
	if !leavesOut(rows) {
		return nil
	}
	for _, k := range keepings(rows, "keys") {
		if !k.fits(rows) {
			continue
		}
		all = append(all, Hypothesis{ID: PatternScores, Text: k.text + ": a score of -inf hides it", Numbers: k.numbers, OfRow: true, Queries: k.queries, Output: func(s *Stage) []float32 {
			out := slices.Clone(s.Correct())
			if !scoreRows(s, out, func(row *softmaxRow, lo int) {
				for j := range row.right {
					if !k.keeps(row, j) {
						out[lo+j] = float32(math.Inf(-1))
					}
				}
			}) {
				return nil
			}
			return out
		}})
	}
	return all
}

// scoreRows calls do with each query's row of scores; its right is 1 for a key that the query sees.
func scoreRows(s *Stage, scores []float32, do func(row *softmaxRow, lo int)) bool {
	S, H, T := s.Dims.P+s.Dims.T, s.Model.Config().Heads, s.Dims.T
	if len(scores) != s.Dims.B*H*T*S {
		return false
	}
	for lo := 0; lo < len(scores); lo += S {
		i := lo / S
		row := &softmaxRow{b: i / T / H, head: i / T % H, query: s.Dims.P + i%T, right: make([]float64, S)}
		for j, v := range scores[lo : lo+S] {
			if finite(v) {
				row.right[j] = 1
			}
		}
		do(row, lo)
	}
	return true
}

// byDistance proposes scores with a number added that depends on the distance from query to key:
// in proportion to it, by head, or any of a table, for all heads or each.
func byDistance(r *Row) (all []Hypothesis) {
	cfg, name := r.Model.Config(), stageName(r.Name)
	lines := make([]regression, cfg.Heads)     // by head
	tables := make([][][]float64, cfg.Heads+1) // differences by head, of all heads last, and distance
	largest, scale := 0.0, 0.0                 // of the differences and of the scores
	for step := range r.Step + 1 {
		if r.Part != nil && step != r.Step {
			continue // of which other places may be wrong
		}
		got, right, s := r.scoresAt(step)
		scoreRows(s, right, func(row *softmaxRow, lo int) {
			for j, seen := range row.right {
				off := float64(got[lo+j]) - float64(right[lo+j])
				if seen == 0 || off-off != 0 || r.Part != nil && !r.Part[lo+j] {
					continue
				}
				d := row.query - j
				largest, scale = max(largest, math.Abs(off)), max(scale, math.Abs(float64(right[lo+j])))
				lines[row.head].add(float64(d), off, 1)
				for _, h := range []int{row.head, cfg.Heads} {
					for len(tables[h]) <= d {
						tables[h] = append(tables[h], nil)
					}
					tables[h][d] = append(tables[h][d], off)
				}
			}
		})
	}
	if len(tables[cfg.Heads]) < 3 {
		return nil
	}
	add := func(numbers int, text string, of func(head, distance int) float64) {
		all = append(all, Hypothesis{ID: PatternScores, Text: text + noDistance, Numbers: numbers, Output: func(s *Stage) []float32 {
			out := slices.Clone(s.Correct())
			if !scoreRows(s, out, func(row *softmaxRow, lo int) {
				for j, seen := range row.right {
					if seen > 0 {
						out[lo+j] += float32(of(row.head, row.query-j))
					}
				}
			}) {
				return nil
			}
			return out
		}})
	}
	slopes := make([]float64, cfg.Heads)
	for h, l := range lines {
		slopes[h] = l.xy / l.xx
	}
	headSlopes(cfg, name.Layer, slopes, func(numbers int, text string, of func(h int) float64) {
		add(numbers, text, func(head, distance int) float64 { return of(head) * float64(distance) })
	})
	means, hold := make([][]float64, len(tables)), make([]bool, len(tables))
	for h, table := range tables {
		n := 0
		hold[h] = true
		for _, x := range table {
			n += len(x)
			mean := sumOf(x) / float64(max(len(x), 1))
			if math.Abs(mean) <= 1e-5*scale {
				mean = 0
			}
			means[h] = append(means[h], mean)
			hold[h] = hold[h] && !slices.ContainsFunc(x, func(v float64) bool { return math.Abs(v-mean) > 1e-3*largest+1e-5*scale })
		}
		if n < 2*len(table) { // each number would be of its own place alone
			return all
		}
	}
	words := func(means []float64) string {
		var parts []string
		for d, v := range means {
			if v != 0 && len(parts) < 6 {
				parts = append(parts, fmt.Sprintf("%.3g at %d", v, d))
			}
		}
		if len(parts) == 6 {
			return strings.Join(parts, ", ") + ", …"
		}
		return strings.Join(parts, ", ") + ", and 0 elsewhere"
	}
	const bias = "the scores have a relative bias added, a number for each distance from query to key"
	terms := newByPosition()
	for d, x := range tables[cfg.Heads] {
		if d > 0 {
			terms.sum(0, d, float64(len(x)), sumOf(x), scale/(1<<22)*math.Sqrt(float64(len(x))))
		}
	}
	for _, c := range terms.courses("d", 0) {
		if c.where == "" {
			add(c.numbers, "the scores have "+c.text+" added, at the distance d from query to key", func(_, distance int) float64 {
				k, _ := c.of(distance)
				return k
			})
		}
	}
	n, of := len(means[cfg.Heads]), func(table, distance int) float64 { // a head may see few distances, or none
		if t := means[table]; len(t) > 0 {
			return t[min(distance, len(t)-1)]
		}
		return 0
	}
	switch k, some := means[cfg.Heads], func(v float64) bool { return v != 0 }; {
	case !hold[cfg.Heads]:
	case k[0] != 0 && !slices.ContainsFunc(k[1:], some):
		text, k := Spell(cfg, k[0], 1e-5)
		add(1, "the score of each query with its own key, on the diagonal, has "+text+" added", func(_, distance int) float64 {
			if distance == 0 {
				return k
			}
			return 0
		})
	default:
		add(n, bias+": "+words(k), func(_, distance int) float64 { return of(cfg.Heads, distance) })
	}
	if !slices.Contains(hold[:cfg.Heads], false) {
		add(n*cfg.Heads, bias+" and head: in head 0 "+words(means[0]), of)
	}
	return all
}

// atKey proposes a number for each head that is added to the scores of one key.
func atKey(r *Row) []Hypothesis {
	p, H := newValues(r), r.Model.Config().Heads
	if p == nil {
		return nil
	}
	key, offs, scale := p.wrong[0]%p.width, make([][]float64, H), 0.0
	for _, i := range p.wrong {
		if i%p.width != key {
			return nil
		}
	}
	scoreRows(&r.Stage, r.Right, func(row *softmaxRow, lo int) {
		if i := lo + key; row.right[key] > 0 {
			offs[row.head], scale = append(offs[row.head], float64(r.Got[i])-float64(r.Right[i])), max(scale, math.Abs(float64(r.Right[i])))
		}
	})
	by, texts := make([]float64, H), make([]string, H)
	for h, x := range offs {
		by[h] = sumOf(x) / float64(len(x))
		if texts[h] = fmt.Sprintf("%.4g", by[h]); len(x) < 2 || slices.ContainsFunc(x, func(v float64) bool { return math.Abs(v-by[h]) > 1e-3*math.Abs(by[h])+1e-5*scale }) {
			return nil
		}
	}
	text := fmt.Sprintf("the scores of key %d have a number added for each head, %s: GPT-2 adds none", key, strings.Join(texts, ", "))
	return []Hypothesis{{ID: PatternScores, Text: text, Numbers: H, Output: func(s *Stage) []float32 {
		out := slices.Clone(s.Correct())
		if !scoreRows(s, out, func(row *softmaxRow, lo int) {
			if key < len(row.right) && row.right[key] > 0 {
				out[lo+key] += float32(by[row.head])
			}
		}) {
			return nil
		}
		return out
	}}}
}

// scoresAt returns the engine's scores of a step and the correct ones for what it has there; nothing
// where that is not known.
func (r *Row) scoresAt(step int) (got, right []float32, s *Stage) {
	if step == r.Step {
		return r.Got, r.Right, &r.Stage
	}
	cfg, at := r.Model.Config(), r.Stage
	if at.At == nil || at.Has != nil && !at.Has(step, r.Name) {
		return nil, nil, &at
	}
	reads := model.Reads(cfg, r.Name)
	q, k := at.At(step, reads[0]), at.At(step, reads[1])
	got = at.At(step, r.Name)
	at.Step = step
	at.Dims.T = len(q) / (at.Dims.B * cfg.Embd)
	at.Dims.P = len(k)/(at.Dims.B*cfg.Embd) - at.Dims.T
	right = make([]float32, at.Dims.B*cfg.Heads*at.Dims.T*(at.Dims.P+at.Dims.T))
	if len(got) != len(right) || len(got) == 0 || r.Model.Apply(r.Name, at.Dims, func(name string) []float32 {
		if name == reads[0] {
			return q
		}
		return k
	}, right) != nil {
		return nil, nil, &at
	}
	return got, right, &at
}

// withoutSign proposes heads' vectors of which a sign is lost.
func withoutSign(r *Row) (all []Hypothesis) {
	for _, of := range []struct {
		text string
		f    func(v float32) float32
	}{
		{"the values have lost their signs: they are the absolute values of the correct ones", func(v float32) float32 { return max(v, -v) }},
		{"values below 0 are cut to 0: nothing cuts them in GPT-2", func(v float32) float32 { return max(v, 0) }},
		{"the values have the other sign", func(v float32) float32 { return -v }},
	} {
		all = append(all, Hypothesis{ID: PatternHeads, Text: of.text, Output: ofHeads(func(x []float32, _ int) {
			for i, v := range x {
				x[i] = of.f(v)
			}
		})})
	}
	return all
}

// headSlopes proposes, of slopes over the distance read off each head, those of ALiBi, one for all
// heads, and any.
func headSlopes(cfg model.Config, layer int, slopes []float64, add func(numbers int, text string, of func(h int) float64)) {
	alibi := func(h int) float64 { return -math.Pow(2, -8*float64(h+1)/float64(cfg.Heads)) }
	is := func(of func(h int) float64) bool {
		for h, k := range slopes {
			if !(math.Abs(k-of(h)) <= 1e-3*math.Abs(of(h))) {
				return false
			}
		}
		return true
	}
	if is(alibi) {
		add(0, "ALiBi: scores fall with the distance from query to key, by 2^(-8(h+1)/H) for each position in head h", alibi)
	}
	if is(func(int) float64 { return slopes[0] }) {
		text, as := Spell(cfg, slopes[0], 1e-3)
		add(1, "the scores have "+text+" times the distance from query to key added", func(int) float64 { return as })
	}
	var texts []string
	some := false
	for h, k := range slopes {
		if !(math.Abs(k) >= sameNumber) {
			slopes[h] = 0
		}
		some, texts = some || slopes[h] != 0, append(texts, fmt.Sprintf("%.4g", slopes[h]))
	}
	if some {
		add(len(slopes), "the scores have the distance from query to key added, times "+strings.Join(texts, ", ")+" by head", func(h int) float64 { return slopes[h] })
	}
}

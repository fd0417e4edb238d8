package fit

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/model"
)

// PatternDropout is the id of values that are 0 at random, and the others larger for it.
const PatternDropout = "pattern_dropout"

// leastDropped is how many values there must be to see by their share what was dropped.
const leastDropped = 32

const trainingWords = "; the engine is in training mode, put it in evaluation mode, as by model.eval()"

// dropouts proposes that what a stage puts out, or of a residual sum the branch, went through
// dropout: where the engine has 0 is read off at every place, and holds only with one factor
// elsewhere that belongs to the share of zeros.
func (p *values) dropouts() []Hypothesis {
	// base is what stays without the part that is dropped.
	base := func(*Stage) []float32 { return nil }
	what := "its output"
	if s, _ := model.ParseStage(p.Name); strings.HasPrefix(s.Word, "resid_") {
		base = func(s *Stage) []float32 { return s.In(model.Reads(s.Model.Config(), s.Name)[0]) }
		what = "the branch, " + seenFrom(p.Model.Config(), s, model.Reads(p.Model.Config(), p.Name)[1])
	}
	x := base(&p.Stage)
	kept := func(x []float32, i int) float64 {
		if x == nil {
			return 0
		}
		return float64(x[i])
	}
	if x != nil && len(x) != len(p.Got) {
		return nil
	}
	dropped, all := 0, 0
	var sum, squares float64
	for _, i := range p.at {
		b := kept(x, i)
		part := float64(p.Right[i]) - b
		if part == 0 {
			continue
		}
		if all++; p.agrees(i, b, 1) && math.Abs(part) > 4*p.bound(i) {
			dropped++
			continue
		}
		sum, squares = sum+part*(float64(p.Got[i])-b), squares+part*part
	}
	k := sum / squares
	if x == nil && p.zeros() {
		text := fmt.Sprintf("dropout without its factor: the output is 0 at random places, %.2g%% of them, and correct elsewhere", 100*float64(dropped)/float64(all)) + trainingWords
		return []Hypothesis{{ID: PatternDropout, Text: text, Numbers: 1, Output: func(s *Stage) []float32 {
			out := slices.Clone(s.Correct())
			if len(s.Seen) != len(out) {
				return nil
			}
			for i, v := range s.Seen {
				if v == 0 {
					out[i] = 0
				}
			}
			return out
		}}}
	}
	if s := stageName(p.Name); s.Word == "attn.probs" && p.Part == nil && (dropped == 0 || all < leastDropped) {
		k, dropped, all = p.inAll()
	}
	if dropped == 0 || all < leastDropped || !(k > 1) {
		return nil
	}
	share, rate := float64(dropped)/float64(all), 1-1/k
	if math.Abs(share-rate) > 4*math.Sqrt(rate*(1-rate)/float64(all))+1/float64(all) {
		return nil
	}
	rate = roundest(rate*(1-1e-5), rate*(1+1e-5))
	output := func(b, right, got, rate float64) float64 {
		with := b + (right-b)/(1-rate)
		if math.Abs(got-b) < math.Abs(got-with) {
			return b
		}
		return with
	}
	if !p.holds(func(i int) float64 { return output(kept(x, i), float64(p.Right[i]), float64(p.Got[i]), rate) }) {
		return nil
	}
	where := "at random places"
	if p.byChannel(func(i int) bool { return math.Abs(float64(p.Right[i])-kept(x, i)) > 4*p.bound(i) }, func(i int) bool { return p.agrees(i, kept(x, i), 1) }) {
		where = "in random channels, at every position the same,"
	}
	text := fmt.Sprintf("dropout of p = %s is on: %s is 0 %s and 1/(1-p) times as large elsewhere", decimal(rate), what, where) + trainingWords
	return []Hypothesis{{ID: PatternDropout, Text: text, Numbers: 1, Output: func(s *Stage) []float32 {
		right, x := s.Correct(), base(s)
		if len(s.Seen) != len(right) || x != nil && len(x) != len(right) {
			return nil
		}
		out := make([]float32, len(right))
		for i, v := range right {
			out[i] = float32(output(kept(x, i), float64(v), float64(s.Seen[i]), rate))
		}
		return out
	}}}
}

// byChannel reports whether all that is dropped, of what tells, is of channels that are dropped in each of
// several rows.
func (p *values) byChannel(tells, dropped func(i int) bool) bool {
	gone, seen, rows := map[int]bool{}, map[int]int{}, 0
	for _, i := range p.at {
		if !tells(i) {
			continue
		}
		c, is := i%p.width, dropped(i)
		if seen[c] > 0 && gone[c] != is {
			return false
		}
		gone[c] = is
		seen[c]++
		rows = max(rows, seen[c])
	}
	return rows > 1
}

// inAll returns of the probabilities that are not right, in all layers and at steps near the row's, how
// many there are, how many of them are 0, and how many times as large as they should be the others are;
// nothing if these are not all alike.
func (r *Row) inAll() (k float64, dropped, all int) {
	cfg, here := r.Model.Config(), stageName(r.Name)
	if r.Has == nil || r.At == nil {
		return 0, 0, 0
	}
	var sum float64
	for step := max(0, r.Step-stepsRead); step <= r.Step+stepsRead; step++ {
		for here.Layer = 0; here.Layer < cfg.Layers && all < mostRead; here.Layer++ {
			if !r.Has(step, here.String()) {
				continue
			}
			reads := model.Reads(cfg, here.String())
			got, x := r.At(step, here.String()), r.At(step, reads[0])
			S := len(r.At(step, model.StageName{Layer: here.Layer, Word: "attn.cache_k"}.String())) / (r.Dims.B * cfg.Embd)
			if S == 0 || len(got) != len(x) || len(x)%S != 0 {
				continue
			}
			zeros, n, own := 0, 0, 0.0
			for lo := 0; lo < len(x); lo += S {
				row := make([]float64, S)
				for j, v := range x[lo:][:S] {
					row[j] = float64(v)
				}
				normalise(row)
				for j, right := range row {
					switch g := float64(got[lo+j]); {
					case right < 1e-6:
					case g == 0:
						zeros++
					case n > 0 && math.Abs(g/right*float64(n)-own) > sameNumber*own:
						return 0, 0, 0
					default:
						n, own = n+1, own+g/right
					}
				}
			}
			if zeros == 0 && math.Abs(own-float64(n)) <= sameNumber*own {
				continue // it is right
			}
			if mean := own / float64(max(n, 1)); n > 0 && sum > 0 && math.Abs(mean*float64(all-dropped)-sum) > sameNumber*sum {
				return 0, 0, 0
			}
			dropped, all, sum = dropped+zeros, all+zeros+n, sum+own
		}
	}
	return sum / float64(max(all-dropped, 1)), dropped, all
}

// zeros reports whether all that is wrong is 0, at places that look random: no row, channel or
// run of neighbours has more of them than chance gives, and they follow neither from the right values
// nor from the size of these.
func (p *values) zeros() bool {
	n, C := len(p.at), p.width
	share := float64(len(p.wrong)) / float64(n)
	if n < 200 || len(p.wrong) < leastDropped || share > 0.7 || n != len(p.Got) {
		return false
	}
	isWrong, rows, channels := make([]bool, n), make([]int, n/C), make([]int, C)
	for _, i := range p.wrong {
		if p.Got[i] != 0 {
			return false
		}
		isWrong[i] = true
		rows[i/C]++
		channels[i%C]++
	}
	pairs := 0
	for _, i := range p.at {
		if i+1 < n && isWrong[i] && isWrong[i+1] {
			pairs++
		}
	}
	const sigmas = 4.5
	chance := func(count, of int, share float64) bool {
		return math.Abs(float64(count)-float64(of)*share) <= sigmas*math.Sqrt(float64(of)*share*(1-share))+1
	}
	for _, k := range rows {
		if !chance(k, C, share) {
			return false
		}
	}
	for _, k := range channels {
		if !chance(k, n/C, share) {
			return false
		}
	}
	value := func(i int) float64 { return float64(p.Right[i]) }
	size := func(i int) float64 { return math.Abs(value(i)) }
	return chance(pairs, n-1, share*share) && !p.follow(value) && !p.follow(size)
}

// follow reports whether which places are wrong follows from a number of each place: whether those
// are of other numbers than all are, by Kolmogorov and Smirnov's test.
func (p *values) follow(of func(i int) float64) bool {
	const most = 2.5 // which chance exceeds once in a hundred thousand
	n, k, wrong, seen, furthest := float64(len(p.at)), float64(len(p.wrong)), map[int]bool{}, 0.0, 0.0
	for _, i := range p.wrong {
		wrong[i] = true
	}
	order := slices.Clone(p.at)
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(of(i), of(j)) })
	for j, i := range order {
		if wrong[i] {
			seen++
		}
		if j+1 == len(order) || of(order[j+1]) != of(i) {
			furthest = max(furthest, math.Abs(seen/k-float64(j+1)/n))
		}
	}
	return furthest*math.Sqrt(k) > most
}

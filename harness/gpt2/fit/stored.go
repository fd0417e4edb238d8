package fit

import (
	"fmt"
	"math"
)

// A grouping says which weights of a matrix share a scale as they are stored in few bits.
type grouping struct {
	text      string
	ins, outs int // of a group; 0 is all
}

// groupings are those that engines and file formats have.
var groupings = func() []grouping {
	all := []grouping{{"of the whole matrix", 0, 0}, {"of each output", 0, 1}, {"of each input", 1, 0}}
	for _, n := range []int{16, 32, 64, 128} {
		all = append(all,
			grouping{fmt.Sprintf("of each group of %d inputs of an output", n), n, 1},
			grouping{fmt.Sprintf("of each group of %d outputs of an input", n), 1, n})
	}
	return all
}()

// ranges returns the least and the largest weight of the group in which a weight is.
func (g grouping) ranges(m matrix) func(k, j int) (lo, hi float32) {
	ins, outs := g.ins, g.outs
	if ins == 0 {
		ins = m.in
	}
	if outs == 0 {
		outs = m.out
	}
	across := (m.out + outs - 1) / outs
	known := make([][2]float32, (m.in+ins-1)/ins*across)
	done := make([]bool, len(known))
	return func(k, j int) (lo, hi float32) {
		at := k/ins*across + j/outs
		if !done[at] {
			lo, hi = float32(math.Inf(1)), float32(math.Inf(-1))
			for a := k / ins * ins; a < min((k/ins+1)*ins, m.in); a++ {
				for b := j / outs * outs; b < min((j/outs+1)*outs, m.out); b++ {
					v := float32(m.at(a, b))
					lo, hi = min(lo, v), max(hi, v)
				}
			}
			known[at], done[at] = [2]float32{lo, hi}, true
		}
		return known[at][0], known[at][1]
	}
}

// A storage is what a weight is as it is stored in few bits: a function of it and of the least and
// the largest of its group.
type storage struct {
	text string
	of   func(v, lo, hi float32) float64
}

// storages are those that are looked at for each grouping, with %s for its name.
var storages = func() (all []storage) {
	scaled := func(text string, most float32, round func(q float64) float64) {
		all = append(all, storage{text, func(v, lo, hi float32) float64 {
			h := max(-lo, hi) / most
			if h == 0 {
				return 0
			}
			return float64(max(-most, min(float32(round(float64(v/h))), most)) * h)
		}})
	}
	for _, x := range []struct {
		bits int
		most float32
	}{{8, 127}, {4, 7}, {8, 128}, {4, 8}, {3, 3}, {2, 1}} {
		scaled(fmt.Sprintf("%d bits, integers times the largest absolute value %%s over %v", x.bits, x.most), x.most, math.RoundToEven)
	}
	for _, bits := range []int{8, 4} {
		steps := float32(int(1)<<bits - 1)
		all = append(all, storage{fmt.Sprintf("%d bits, integers up to %v from the least value %%s to the largest", bits, steps), func(v, lo, hi float32) float64 {
			h := (hi - lo) / steps
			if h == 0 {
				return float64(v)
			}
			return float64(float32(math.RoundToEven(float64((v-lo)/h)))*h + lo)
		}})
	}
	for _, n := range float8s {
		scaled(fmt.Sprintf("8 bits, %s, scaled by the largest absolute value %%s over %v", n.text, n.most), float32(n.most), n.round)
	}
	return all
}()

// mostStored is the number of weights up to which groups as large as all of them are looked at.
const mostStored = 1 << 22

// stored proposes weights that are stored in few bits, or of which two of every four are 0.
func (w *weighing) stored() []Hypothesis {
	is := func(what string, of func(m matrix) func(k, j int) float64) []Hypothesis {
		return []Hypothesis{ofWeights("the weights are quantised to "+what+": take the file's as they are", 0, of)}
	}
	for _, n := range float8s {
		of := func(m matrix) func(k, j int) float64 { return func(k, j int) float64 { return n.round(m.at(k, j)) } }
		if w.fits(of(w.matrix)) {
			return is("8 bits, "+n.text, of)
		}
	}
	for _, g := range groupings {
		if g.outs == 0 && w.in*w.out > mostStored {
			continue
		}
		ranges := g.ranges(w.matrix)
		for _, s := range storages {
			of := func(m matrix, ranges func(k, j int) (lo, hi float32)) func(k, j int) float64 {
				return func(k, j int) float64 {
					lo, hi := ranges(k, j)
					return s.of(float32(m.at(k, j)), lo, hi)
				}
			}
			if w.fits(of(w.matrix, ranges)) {
				return is(fmt.Sprintf(s.text, g.text), func(m matrix) func(k, j int) float64 { return of(m, g.ranges(m)) })
			}
		}
	}
	for _, along := range []string{"inputs", "outputs"} {
		of := func(m matrix) func(k, j int) float64 {
			return func(k, j int) float64 {
				v, larger := math.Abs(m.at(k, j)), 0
				for i := range 4 {
					a, b := k/4*4+i, j
					if along == "outputs" {
						a, b = k, j/4*4+i
					}
					if a >= m.in || b >= m.out {
						return m.at(k, j)
					}
					if math.Abs(m.at(a, b)) > v {
						larger++
					}
				}
				if larger >= 2 {
					return 0
				}
				return m.at(k, j)
			}
		}
		if w.fits(of(w.matrix)) {
			return []Hypothesis{ofWeights("of every 4 weights along the "+along+" the 2 smaller are 0: they are pruned, 2:4 sparse, where the file's are not", 0, of)}
		}
	}
	return nil
}

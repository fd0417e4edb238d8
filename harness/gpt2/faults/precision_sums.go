package faults

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/rounding"
	"checkpoint12/harness/internal/words"
	"checkpoint12/model/parallel"
)

// Sums in a narrow type cannot be computed again bit for bit: that takes their order. They are
// known by the error of a whole row. An engine that accumulates in float32 rounds the sum, the sum
// with its bias, and partial sums of 512 terms:
//
//	σ² = u²·(0.42²·((Σt)² + y²) + ⌈K/512⌉·((Σt)²/3 + ‖t‖²/6))
//
// The RMS of its errors over σ is 0.75 at most, in any row of the runs in numpy that CHECKPOINTS.md
// has for bfloat16 and float16. One that rounds at each of K terms has 0.4·√K. The error of neither
// has a structure.
const (
	leastSpread  = 1.5 // from where on sums are in a narrow type, twice what a correct engine has
	mostSpread   = 0.8 // of √K, above which there must be more to it
	oneRounding  = 0.42
	summed       = 512 // terms of a partial sum that may be rounded
	leastSummed  = 48  // places of a row that it takes
	mostSummed   = 128 // that are looked at, in runs of
	summedAtOnce = 16  // which are in one part of memory
)

// A sum is a place of a product: K terms, a part of each in x and in w, w's so many apart.
type sum struct {
	x, w        []float32
	apart       int
	bias, scale float64
}

// InNarrowSums finds in a replay in a narrow type, with its unit roundoff, the matrix products that
// are summed in that type: among the rows that are right place by place, and among those without
// a cause. It marks them as introduced and returns all causes, by place.
func (x *Explainer) InNarrowSums(rows []harness.Replayed, causes []harness.Explanation, name string, round rounding.Rounding, unit float64) []harness.Explanation {
	in := &narrowSums{&x.candidateRun, round, unit}
	pools := map[string][]int{} // indices of rows: of small ones all that are alike
	for i, row := range rows {
		if len(row.Span) != 1 || row.Verdict == harness.ReplayUnknown || row.Status == harness.WrongShape || row.Status == harness.Nonfinite ||
			row.Verdict == harness.ReplayIntroduced && !unnamed(causes, row) {
			continue
		}
		key := row.String()
		if d, _ := x.dims(row.Step); row.Elements < mostSummed {
			key = fmt.Sprint(wordOf(row.Stage), d.T > 1)
		}
		pools[key] = append(pools[key], i)
	}
	found, terms := map[harness.Place]bool{}, map[int]float64{}
	keys := slices.Sorted(maps.Keys(pools))
	spreads := make([]errorsOf, len(keys))
	parallel.For(len(keys), func(i int) {
		var pool []harness.Place
		for _, row := range pools[keys[i]] {
			pool = append(pool, rows[row].Place)
		}
		spreads[i] = in.measure(pool)
	})
	for i, e := range spreads {
		if e.n == 0 {
			continue
		}
		terms[e.terms] = max(terms[e.terms], math.Sqrt(e.errors/e.one)/unit)
		for _, row := range pools[keys[i]] {
			found[rows[row].Place] = true
			rows[row].Verdict, rows[row].Status = harness.ReplayIntroduced, harness.Fail
		}
	}
	if len(found) == 0 {
		return causes
	}
	var sizes []int
	for K := range terms {
		sizes = append(sizes, K)
	}
	slices.Sort(sizes)
	if most := 4; len(sizes) > most { // the smallest and the largest
		sizes = append(sizes[:most-1], sizes[len(sizes)-1])
	}
	var parts []string
	for _, K := range sizes {
		parts = append(parts, fmt.Sprintf("%.2g with %d terms", terms[K], K))
	}
	text := fmt.Sprintf("matrix products are summed in %s, each partial sum rounded: no structure was found in the error, which is up to "+
		"%s times what one rounding leaves; accumulate in float32", name, words.And(parts))
	var all []harness.Explanation
	for _, row := range rows {
		if found[row.Place] {
			all = append(all, harness.Explanation{Step: row.Step, Stage: row.Stage, Fault: name + "_sums", Text: text})
			continue
		}
		for _, c := range causes {
			if c.Step == row.Step && c.Stage == row.Stage {
				all = append(all, c)
			}
		}
	}
	return all
}

// fewBeyond is of how many values one may be beyond its bound for a fit to say nothing of the row.
const fewBeyond = 20

// unnamed reports whether a row has no cause of the catalogue, nor a fit of more than a few values.
func unnamed(causes []harness.Explanation, row harness.Replayed) bool {
	return !slices.ContainsFunc(causes, func(c harness.Explanation) bool {
		fit := strings.HasPrefix(c.Fault, "pattern_") && row.Mismatched <= row.Elements/fewBeyond
		return c.Step == row.Step && c.Stage == row.Stage && c.Explains > 0 && !fit
	})
}

// narrowSums looks for sums in a type with this unit roundoff.
type narrowSums struct {
	*candidateRun
	round rounding.Rounding
	unit  float64
}

// measure returns the errors of places, if they are those of sums in the type; else none.
func (c *narrowSums) measure(pool []harness.Place) errorsOf {
	e := c.errors(pool, c.round, c.round)
	if s := e.spread() / c.unit; e.n < leastSummed || !(s > leastSpread) || s > mostSpread*math.Sqrt(float64(e.terms)) || e.hasStructure() {
		return errorsOf{}
	}
	// Outputs, or factors, that are stored in the other narrow type are another matter.
	for _, other := range []rounding.Rounding{rounding.Float16, rounding.BFloat16} {
		if !other.Holds(c.round.Of([]float32{1 + 0x1p-10})) && c.held(pool, other) {
			return errorsOf{}
		}
	}
	all := []rounding.Rounding{nil, rounding.Float16, rounding.BFloat16}
	for _, ofX := range all {
		for _, ofW := range all {
			if o := c.errors(pool, ofX, ofW); o.spread() < e.spread()/2 {
				return errorsOf{}
			}
		}
	}
	return e
}

// held reports whether every value of places is one of a type.
func (c *narrowSums) held(pool []harness.Place, in rounding.Rounding) bool {
	for _, at := range pool {
		if t, err := c.candidate.Tensor(at.Step, at.Stage); err != nil || !in.Holds(t.F32) {
			return false
		}
	}
	return true
}

// errors measures products whose factors go through roundings.
func (c *narrowSums) errors(pool []harness.Place, ofX, ofW rounding.Rounding) (e errorsOf) {
	for _, at := range pool {
		t, err := c.candidate.Tensor(at.Step, at.Stage)
		d, ok := c.dims(at.Step)
		if err != nil || !ok || !c.has(at) {
			continue
		}
		x := &Context{Model: c.model, Dims: d, Stage: at.Stage, In: func(name string) []float32 { return c.input(c.run, at.Step, name) }}
		place := x.sums()
		if place == nil {
			continue
		}
		for _, i := range someOf(len(t.F32)) {
			s, ok := place(i)
			if got := float64(t.F32[i]); ok && got-got == 0 {
				e.add(got, s, ofX, ofW, c.round)
			}
		}
	}
	return e
}

func sq(x float64) float64 { return x * x }

// someOf returns indices of n values, in runs that are spread over all of them.
func someOf(n int) (all []int) {
	runs := mostSummed / summedAtOnce
	for r := range min(runs, (n+summedAtOnce-1)/summedAtOnce) {
		from := r * summedAtOnce
		if n > mostSummed {
			from = r * (n - summedAtOnce) / (runs - 1)
		}
		for i := from; i < min(from+summedAtOnce, n); i++ {
			all = append(all, i)
		}
	}
	return all
}

// errorsOf are sums over the errors of a row, as times the unit roundoff.
type errorsOf struct {
	n, terms       int     // places, and the most terms of one
	squares, along float64 // of errors over σ; times the output over σ
	outputs, total float64
	errors, one    float64 // squares of errors, and of one rounding
	sizes          []float64
}

// add adds the error of a value from a sum whose factors go through roundings, and its bias.
func (e *errorsOf) add(got float64, s sum, ofX, ofW, round rounding.Rounding) {
	column := make([]float32, len(s.x))
	for k := range column {
		column[k] = s.w[k*s.apart]
	}
	x, w := ofX.Of(s.x), ofW.Of(column)
	var total, norm float64
	for k, v := range x {
		t := float64(v) * float64(w[k]) * s.scale
		total, norm = total+t, norm+sq(t)
	}
	y := total + float64(round.Of([]float32{float32(s.bias)})[0])
	parts := math.Ceil(float64(len(x)) / summed)
	sigma := math.Sqrt(sq(oneRounding)*(sq(total)+sq(y)) + parts*(sq(total)/3+norm/6))
	if sigma == 0 {
		return
	}
	z, v := (got-y)/sigma, y/sigma
	e.n, e.terms = e.n+1, max(e.terms, len(x))
	e.squares, e.along, e.outputs, e.total = e.squares+z*z, e.along+z*v, e.outputs+v*v, e.total+z
	e.errors, e.one = e.errors+sq(got-y), e.one+sq(oneRounding*y)
	e.sizes = append(e.sizes, math.Abs(z))
}

// spread returns the RMS of the errors over σ.
func (e *errorsOf) spread() float64 { return math.Sqrt(e.squares / float64(e.n)) }

// hasStructure reports whether the errors follow the output, lean to one side or are those of a
// part of the places: of a normal distribution the median is 0.67 of the RMS.
func (e *errorsOf) hasStructure() bool {
	n := float64(e.n)
	chance := math.Max(0.1, 4/math.Sqrt(n))
	slices.Sort(e.sizes)
	return math.Abs(e.along) > chance*math.Sqrt(e.squares*e.outputs) || math.Abs(e.total) > chance*math.Sqrt(n*e.squares) ||
		e.sizes[e.n/2] < 0.4*e.spread()
}

// sums returns the terms of a product's output at an index, ok unless it is masked; nil for what is
// no product, or one of inputs that are not known.
func (c *Context) sums() (at func(i int) (s sum, ok bool)) {
	defer func() {
		if p := recover(); p != nil {
			if _, lacks := p.(unknown); !lacks {
				panic(p)
			}
			at = nil
		}
	}()
	D, S, T, H := c.width(), c.keys(), c.Dims.T, c.heads()
	switch word := wordOf(c.Stage); {
	case word == "logits":
		x, w, b, N, K := c.reads(0), c.unembedding(), c.headBias(), c.vocab(), c.embd()
		return func(i int) (sum, bool) {
			s := sum{x[i/N*K:][:K], w[i%N*K:][:K], 1, 0, 1}
			if b != nil {
				s.bias = float64(b[i%N])
			}
			return s, true
		}
	case isProduct(c.Stage):
		x, w, b := c.reads(0), c.gain(), c.bias()
		N, K := len(b), len(w)/len(b)
		return func(i int) (sum, bool) {
			return sum{x[i/N*K:][:K], w[i%N:], N, float64(b[i%N]), 1}, true
		}
	case word == "attn.scores":
		q, k, scale := c.in(c.block("attn.q")), c.in(c.block("attn.cache_k")), c.scale()
		return func(i int) (sum, bool) {
			row, j := i/S, i%S // B,H,T and key
			return sum{q[row*D:][:D], k[(row/T*S+j)*D:][:D], 1, 0, scale}, j <= c.Dims.P+row%T
		}
	case word == "attn.context":
		p, v := c.in(c.block("attn.probs")), c.in(c.block("attn.cache_v"))
		return func(i int) (sum, bool) {
			t, h, d := i/(H*D), i/D%H, i%D // B·T, head and channel
			row := t/T*H + h
			seen := c.Dims.P + t%T + 1
			return sum{p[(row*T+t%T)*S:][:seen], v[row*S*D+d:], D, 0, 1}, true
		}
	}
	return nil
}

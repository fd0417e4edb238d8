package replay

import (
	"maps"
	"slices"
	"sync"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/shapes"
)

// byRow is a Replayer that knows which stages, of inputs and an output [B,T,N], compute each
// position from the same position of their inputs alone, to the same bits whatever the others are.
// Several steps of such a stage are computed as one, so that its weights are read once.
type byRow interface {
	ByRow(stage string) bool
}

// mostTogether bounds the elements of a stage's steps that are computed together.
const mostTogether = 4 << 20

// shares returns the indices of places in at most n shares of about as many elements, by stages
// in execution order, those that are computed together together.
func (r *Run) shares(places []harness.Place, n int) (shares [][][]int) {
	rows, _ := r.replayer.(byRow)
	of, total := map[string][]int{}, 0
	elements := func(i int) int {
		shape, _ := r.candidate.Shape(places[i].Step, places[i].Stage)
		n, _ := shapes.Size(shape)
		return n + 1
	}
	var stages []string
	for i, at := range places {
		if of[at.Stage] == nil {
			stages = append(stages, at.Stage)
		}
		of[at.Stage] = append(of[at.Stage], i)
		total += elements(i)
	}
	before := 0
	for _, stage := range r.schedule.Sorted(stages) {
		for all := of[stage]; len(all) > 0; {
			if len(shares) == 0 || before >= len(shares)*total/n {
				shares = append(shares, nil)
			}
			count, size := 0, 0
			for count < len(all) && (count == 0 || rows != nil && rows.ByRow(stage) && size < mostTogether) {
				size += elements(all[count])
				count++
			}
			last := &shares[len(shares)-1]
			*last, all, before = append(*last, all[:count]), all[count:], before+size
		}
	}
	return shares
}

// alone returns a Run that may be at work beside n-1 others of the same candidate.
func (r *Run) alone(n int) *Run {
	next := *r
	next.mu, next.derived, next.ahead = new(sync.Mutex), maps.Clone(r.derived), map[harness.Place]Value{}
	next.read = newTensors(r.candidate, keptElements/n)
	return &next
}

// together computes a stage at several of the places in one, for replay to find. It leaves out
// steps whose inputs must be computed themselves or do not go together.
func (r *Run) together(places []harness.Place, some []int) {
	if len(some) < 2 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	stage := places[some[0]].Stage
	reads := r.replayer.Reads(stage)
	joined := map[string]Value{}
	var have [][]int // [B,T] of each step
	var done []harness.Place
	for _, i := range some {
		step := places[i].Step
		var in []Value
		for _, name := range reads {
			v, computed, err := r.input(step, name, false)
			if err != nil || len(computed) > 0 || v.Bound != nil || v.IDs() || len(v.Shape) != 3 ||
				!slices.Equal(v.Shape[:2], append(in, v)[0].Shape[:2]) ||
				done != nil && joined[name].Shape[2] != v.Shape[2] {
				break
			}
			in = append(in, v)
		}
		if len(in) < len(reads) || len(in) == 0 {
			continue
		}
		for i, name := range reads {
			j, v := joined[name], in[i]
			j.F32 = append(j.F32, v.F32...)
			j.Shape = []int{v.Shape[0] * v.Shape[1], 1, v.Shape[2]}
			if done != nil {
				j.Shape[0] += joined[name].Shape[0]
			}
			joined[name] = j
		}
		have, done = append(have, in[0].Shape[:2]), append(done, places[i])
	}
	if len(done) < 2 {
		return
	}
	all, err := r.replayer.Replay(done[0].Step, stage, func(name string) (Value, bool) {
		v, ok := joined[name]
		return v, ok
	})
	if err != nil {
		return
	}
	width, from := all.Shape[2], 0
	for i, at := range done {
		v, end := all, from+have[i][0]*have[i][1]*width
		v.Shape, v.F32 = []int{have[i][0], have[i][1], width}, all.F32[from:end]
		if v.Bound != nil {
			v.Bound = all.Bound[from:end]
		}
		r.ahead[at], from = v, end
	}
}

package replay_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/harness/replay"
)

// meter is a model of a few layers, small enough to reckon by hand. A step is fed ids [B,T]:
//
//	embed      [B,T]  id + position/2
//	h.N.scaled [B,T]  3 times what comes in
//	h.N.kept   [B,S]  the scaled ones of all steps so far
//	h.N.out    [B,T]  scaled times the sum of what is kept
//	next_id    [B]    the last of the last out, modulo 7
type meter struct{ layers int }

func (m meter) schedule(t harnesstest.Tester) *harness.Schedule {
	names := []string{"embed"}
	for n := range m.layers {
		for _, word := range []string{"scaled", "kept", "out"} {
			names = append(names, fmt.Sprintf("h.%d.%s", n, word))
		}
	}
	return harnesstest.MustSchedule(t, append(names, "next_id")...)
}

func (m meter) Reads(stage string) []string {
	var n int
	in := func() string {
		if n == 0 {
			return "embed"
		}
		return fmt.Sprintf("h.%d.out", n-1)
	}
	switch {
	case stage == "embed":
		return []string{"tokens", "pos"}
	case stage == "next_id":
		n = m.layers
		return []string{in()}
	}
	var word string
	if _, err := fmt.Sscanf(strings.Replace(stage, ".", " ", -1), "h %d %s", &n, &word); err != nil {
		return nil
	}
	h := fmt.Sprintf("h.%d.", n)
	switch word {
	case "scaled":
		return []string{in()}
	case "kept":
		return []string{"prev:" + stage, h + "scaled"}
	case "out":
		return []string{h + "scaled", h + "kept"}
	}
	return nil
}

func (m meter) Shape(stage string, f replay.StepDims) []int {
	switch {
	case stage == "next_id":
		return []int{f.B}
	case strings.HasSuffix(stage, "kept"):
		return []int{f.B, f.P + f.T}
	}
	return []int{f.B, f.T}
}

// meterUnit is the rounding bound relative to the value.
const meterUnit = 1e-6

func (m meter) Replay(_ int, stage string, in replay.Inputs) (replay.Value, error) {
	var v []replay.Value
	for _, name := range m.Reads(stage) {
		x, ok := in(name)
		if !ok {
			return replay.Value{}, fmt.Errorf("%s is missing", name)
		}
		v = append(v, x)
	}
	bound := func(v replay.Value, i int) float64 {
		if v.Bound == nil {
			return 0
		}
		return float64(v.Bound[i])
	}
	switch word := stage[strings.LastIndexByte(stage, '.')+1:]; word {
	case "embed":
		out := harness.Tensor{Shape: v[0].Shape}
		for i, id := range v[0].I64 {
			out.F32 = append(out.F32, float32(id)+0.5*float32(v[1].I64[i%len(v[1].I64)]))
		}
		return replay.Value{Tensor: out}, nil
	case "scaled":
		out := replay.Value{Tensor: harness.Tensor{Shape: v[0].Shape}}
		for i, x := range v[0].F32 {
			out.F32 = append(out.F32, 3*x)
			out.Bound = append(out.Bound, float32(meterUnit*math.Abs(float64(3*x))+3*bound(v[0], i)))
		}
		return out, nil
	case "kept":
		B := v[1].Shape[0]
		P, T := len(v[0].F32)/B, v[1].Shape[1]
		out := replay.Value{Tensor: harness.Tensor{Shape: []int{B, P + T}}}
		for b := range B {
			out.F32 = append(append(out.F32, v[0].F32[b*P:(b+1)*P]...), v[1].F32[b*T:(b+1)*T]...)
			for i := range P {
				out.Bound = append(out.Bound, float32(bound(v[0], b*P+i)))
			}
			for i := range T {
				out.Bound = append(out.Bound, float32(bound(v[1], b*T+i)))
			}
		}
		return out, nil
	case "out":
		if len(v[0].Shape) != 2 || len(v[1].Shape) != 2 || v[0].Shape[0] != v[1].Shape[0] || v[0].Shape[1] > v[1].Shape[1] {
			return replay.Value{}, fmt.Errorf("shapes %v and %v do not go together", v[0].Shape, v[1].Shape)
		}
		out := replay.Value{Tensor: harness.Tensor{Shape: v[0].Shape}}
		for i, x := range v[0].F32 {
			S := v[1].Shape[1]
			b := i / v[0].Shape[1]
			var sum, off float64
			for j := range S {
				sum, off = sum+float64(v[1].F32[b*S+j]), off+bound(v[1], b*S+j)
			}
			y := float64(x) * sum
			out.F32 = append(out.F32, float32(y))
			out.Bound = append(out.Bound, float32(meterUnit*math.Abs(y)+math.Abs(float64(x))*off+bound(v[0], i)*math.Abs(sum)))
		}
		return out, nil
	case "next_id":
		B, T := v[0].Shape[0], v[0].Shape[1]
		out := replay.Value{Tensor: harness.Tensor{Shape: []int{B}}}
		for b := range B {
			id := int64(0)
			if last := float64(v[0].F32[b*T+T-1]); !math.IsNaN(last) && !math.IsInf(last, 0) {
				id = int64(math.Abs(last)) % 7
			}
			out.I64 = append(out.I64, id)
		}
		out.Accepts = func(i int, id int64) bool { return id == out.I64[i]+10 }
		return out, nil
	}
	return replay.Value{}, errors.New("no such stage")
}

// run runs 4 steps from 2 rows of 3 tokens. fault, if set, may change each tensor.
func (m meter) run(t harnesstest.Tester, fault func(at harness.Place, x *harness.Tensor)) *harnesstest.Memory {
	t.Helper()
	s := m.schedule(t)
	tokens := [][]int{{1, 2, 3}, {4, 5, 6}}
	have := harnesstest.Steps{}
	for step := range 4 {
		have[step] = map[string]harness.Tensor{}
		T := 3
		if step > 0 {
			T = 1
		}
		for _, st := range s.Stages() {
			v, err := m.Replay(step, st.Name, func(name string) (replay.Value, bool) {
				in := harness.InputPlace(step, name)
				x := have[in.Step][in.Stage] // of step -1: nothing
				switch name {
				case "pos":
					x.Shape = []int{T}
					for i := range T {
						x.I64 = append(x.I64, int64(len(tokens[0])-T+i))
					}
				case "tokens":
					x.Shape = []int{2, T}
					for _, row := range tokens {
						for _, id := range row[len(row)-T:] {
							x.I64 = append(x.I64, int64(id))
						}
					}
				}
				return replay.Value{Tensor: x}, true
			})
			if err != nil {
				t.Fatal(err)
			}
			x := harness.Tensor{Shape: v.Shape, F32: slices.Clone(v.F32), I64: slices.Clone(v.I64)}
			if fault != nil {
				fault(harness.Place{Step: step, Stage: st.Name}, &x)
			}
			have[step][st.Name] = x
		}
		for b := range tokens {
			tokens[b] = append(tokens[b], int(have[step]["next_id"].I64[b]))
		}
	}
	return &harnesstest.Memory{Of: s, Title: "candidate", Fed: tokens, Kept: have}
}

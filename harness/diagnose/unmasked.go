package diagnose

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/shapes"
	"checkpoint12/harness/replay"
)

// unmasked replays a row of a padded batch: keys at padding that a stage does not mask are
// inputs of the stages that read it, as they were the engine's.
type unmasked struct {
	replay.Replayer
	row   *harness.BatchRow
	given map[harness.Place]bool // places whose keys at padding are masked, whatever the engine has there
}

// Given returns the Replayer for a run in which a place has a correct value.
func (r unmasked) Given(at harness.Place) replay.Replayer {
	given := map[harness.Place]bool{at: true}
	maps.Copy(given, r.given)
	r.given = given
	return r
}

// Replay computes a stage from its inputs and, before these, what they have at padding.
func (r unmasked) Replay(step int, stage string, in replay.Inputs) (replay.Value, error) {
	seenIn := map[string]string{"probs": "scores", "context": "probs"} // where padding shows
	attn, word, _ := strings.Cut(stage, ".attn.")
	from, ok := seenIn[word]
	at := func(word string) harness.Place { return harness.Place{Step: step, Stage: attn + ".attn." + word} }
	if !ok || r.given[at(from)] {
		return r.Replayer.Replay(step, stage, in)
	}
	pads, seen, err := r.row.AtPadding(at(from))
	if err != nil {
		return replay.Value{}, err
	}
	if _, there := r.row.Shape(step, at("probs").Stage); !seen && !there && word == "context" {
		if _, seen, err := r.row.AtPadding(at("scores")); err != nil || seen {
			return replay.Value{}, fmt.Errorf("keys at padding are not masked, and %s is not there", at("probs").Stage)
		}
	}
	if !seen {
		return r.Replayer.Replay(step, stage, in)
	}
	var failed error
	v, err := r.Replayer.Replay(step, stage, func(name string) (replay.Value, bool) {
		v, ok := in(name)
		more := pads
		if name == at("cache_v").Stage {
			var there bool
			if more, there, failed = r.row.AtPadding(at("cache_v")); !there && failed == nil {
				failed = fmt.Errorf("keys at padding are not masked, and %s is not there", name)
			}
		}
		return before(more, v, keysOf(name)), ok && failed == nil
	})
	if failed != nil {
		return replay.Value{}, failed
	}
	if err == nil && word == "probs" {
		v = without(pads.Shape[len(pads.Shape)-1], v)
	}
	return v, err
}

// keysOf returns the dimension of the keys of an input: the last, but of a cache the one
// before.
func keysOf(name string) int {
	if strings.HasSuffix(name, "cache_v") {
		return 2
	}
	return 3
}

// before returns a value with what stands at padding before it along an axis.
func before(pads harness.Tensor, v replay.Value, axis int) replay.Value {
	if len(v.Shape) != 4 || len(pads.Shape) != 4 {
		return v
	}
	outer, _ := shapes.Size(v.Shape[:axis])
	join := func(pads, own []float32) (all []float32) {
		n, m := len(pads)/outer, len(own)/outer
		for o := range outer {
			all = append(append(all, pads[o*n:][:n]...), own[o*m:][:m]...)
		}
		return all
	}
	out := replay.Value{Tensor: harness.Tensor{Shape: slices.Clone(v.Shape), F32: join(pads.F32, v.F32)}}
	out.Shape[axis] += pads.Shape[axis]
	if v.Bound != nil {
		out.Bound = join(make([]float32, len(pads.F32)), v.Bound)
	}
	return out
}

// without returns a value without its first n columns.
func without(n int, v replay.Value) replay.Value {
	width := v.Shape[len(v.Shape)-1]
	cut := func(x []float32) (kept []float32) {
		for ; len(x) >= width && x != nil; x = x[width:] {
			kept = append(kept, x[n:width]...)
		}
		return kept
	}
	v.Shape = slices.Clone(v.Shape)
	v.Shape[len(v.Shape)-1] -= n
	v.F32, v.Bound = cut(v.F32), cut(v.Bound)
	return v
}

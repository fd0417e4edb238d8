package diagnose

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
)

// Merged is the goldens of several engines as one: each tensor is the first
// engine's that has it, but no outlier's, and of other engines only in steps
// that were fed what the first was.
type Merged struct {
	name   string
	voters []Voter
	until  []int // the first step in which the engine was fed something else
	q      *Quorum
}

// Merge makes one golden of all that the quorum has judged.
func (q *Quorum) Merge(dir string, s *harness.Schedule, voters []Voter) (*Merged, error) {
	if len(voters) == 0 {
		return nil, errors.New("no goldens to merge")
	}
	m := &Merged{voters: voters, q: q, until: []int{math.MaxInt}}
	for _, v := range voters[1:] {
		r, err := harness.Compare(s, voters[0].Source, v.Source, harness.CompareOptions{Match: func(_ int, stage string) bool { return stage == "next_token" }})
		until := math.MaxInt
		switch {
		case errors.Is(err, harness.ErrNothingCompared):
			until = 1 // the prompt is the same; of the rest nobody knows
		case err != nil:
			return nil, err
		default:
			for _, row := range r.Stages {
				if row.Status == harness.Skipped {
					until = min(until, row.Step)
				}
			}
		}
		m.until = append(m.until, until)
	}
	m.name = fmt.Sprintf("%s (%s)", dir, strings.Join(q.Engines, ", "))
	return m, nil
}

// of is the engine whose tensor a place is, or nil.
func (m *Merged) of(step int, stage string) harness.Source {
	for i, v := range m.voters {
		if step >= m.until[i] || m.q.Outlier(v.Engine, harness.Place{Step: step, Stage: stage}) != nil {
			continue
		}
		if _, ok := v.Source.Shape(step, stage); ok {
			return v.Source
		}
	}
	return nil
}

// Name is the folder and its engines.
func (m *Merged) Name() string { return m.name }

// Tokens is the first engine's.
func (m *Merged) Tokens() harness.Tensor { return m.voters[0].Source.Tokens() }

// Manifest is the first engine's.
func (m *Merged) Manifest() *harness.Manifest { return m.voters[0].Source.Manifest() }

// Steps is the steps of which any engine has something.
func (m *Merged) Steps() []int {
	steps := map[int]bool{}
	for i, v := range m.voters {
		for _, k := range v.Source.Steps() {
			if k < m.until[i] {
				steps[k] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(steps))
}

// Stages is the stages that any engine has at the step.
func (m *Merged) Stages(step int) []string {
	names := map[string]bool{}
	for _, v := range m.voters {
		for _, stage := range v.Source.Stages(step) {
			if m.of(step, stage) != nil {
				names[stage] = true
			}
		}
	}
	return slices.Collect(maps.Keys(names))
}

// Shape is the stage's shape.
func (m *Merged) Shape(step int, stage string) ([]int, bool) {
	if src := m.of(step, stage); src != nil {
		return src.Shape(step, stage)
	}
	return nil, false
}

// Tensor is the stage's tensor.
func (m *Merged) Tensor(step int, stage string) (harness.Tensor, error) {
	if src := m.of(step, stage); src != nil {
		return src.Tensor(step, stage)
	}
	return harness.Tensor{}, fmt.Errorf("%s: no stage %s at step %d", m.name, stage, step)
}

// Err returns nil: the goldens were opened.
func (m *Merged) Err() error { return nil }

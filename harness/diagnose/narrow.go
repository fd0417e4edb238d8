package diagnose

import (
	"cmp"
	"errors"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/rounding"
	"checkpoint12/harness/internal/shapes"
)

// asStored returns the type of the candidate's values if that is narrower than was asked for,
// and the comparison in the precision of that type, if there is one, so that nothing else
// fails for it.
func (c Comparison) asStored() (Comparison, *harness.Narrow, error) {
	t, err := c.narrowest()
	if err != nil || t == nil {
		return c, nil, err
	}
	n := &harness.Narrow{Type: t.Name, Asked: cmp.Or(c.Precision.Stored, "float32")}
	for _, p := range gpt2.Precisions {
		if p.Stored != t.Name {
			continue
		}
		if c.Precision.Stored != "" && p.Coarseness() <= c.Precision.Coarseness() {
			return c, nil, nil
		}
		if n.DType = p.Name; c.Model != nil {
			c.Precision = p
		}
	}
	return c, n, nil
}

// narrowest returns the smallest type that holds every value of the candidate's, of a large
// tensor the first, but for the probabilities of a sampler, which works on logits in a type of its own; nil if none does, or
// if only embedding rows are there, which may be as the model's file has them, or hardly any
// values: NaN alone, or one number everywhere, tell no type.
func (c *Comparison) narrowest() (*rounding.Type, error) {
	left, values := rounding.Types, map[float32]bool{}
	for _, at := range c.Schedule.Places(c.Candidate, nil) {
		if st, _ := c.Schedule.Stage(at.Stage); st.IDs || strings.HasPrefix(at.Stage, "probs_t") {
			continue
		}
		parts, err := harness.Open(c.Candidate, at.Step, at.Stage)
		if err != nil {
			return nil, err
		}
		shape, _ := c.Candidate.Shape(at.Step, at.Stage)
		n, _ := shapes.Size(shape)
		n = min(n, narrowMost)
		var mem harness.Tensor
		for lo := 0; lo < n && len(left) > 0; lo += narrowBlock {
			x, err := parts.Part(lo, min(narrowBlock, n-lo), &mem)
			if err != nil {
				return nil, errors.Join(err, parts.Close())
			}
			left = rounding.Holding(left, x.F32)
			for _, v := range x.F32 {
				if len(values) < narrowValues && v-v == 0 && at.Stage != "wte" && at.Stage != "wpe" {
					values[v] = true
				}
			}
		}
		if err := parts.Close(); err != nil || len(left) == 0 {
			return nil, err
		}
	}
	if len(values) < narrowValues {
		return nil, nil
	}
	return &left[0], nil
}

// How many values are looked at: at a time, and of a tensor; and how many that differ tell a type.
const narrowBlock, narrowMost, narrowValues = 1 << 14, 1 << 22, 16

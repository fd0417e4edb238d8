package harness

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
)

// WeightsStage stands for the weights as loaded where a stage is named: they come before
// every stage, and are of no step.
const WeightsStage = "weights"

// A Weight is a weight as an engine uses it that is not the model's. Its Stage is the name.
// It passes if the difference is a rounding or a quantisation.
type Weight struct {
	Row
	Difference string  `json:"difference"`
	Quantised  *Scheme `json:"quantised,omitempty"`
}

// A Scheme is how a weight was quantised.
type Scheme struct {
	Bits   int    `json:"bits"`
	Float  string `json:"float,omitempty"` // the type, if it is not a whole number
	By     string `json:"by"`              // what has a scale of its own
	Group  int    `json:"group,omitempty"` // how many values that is, of a group
	Least  Float  `json:"least_step"`
	Most   Float  `json:"most_step"`
	Offset bool   `json:"zero_point"`       // 0 is not always one of the levels
	Uneven bool   `json:"uneven,omitempty"` // the levels are on no even grid
	In     string `json:"in,omitempty"`     // the type that the levels are in, if not float32
}

// String says how a weight was quantised: "int8 by column, steps 0.0024 to 0.003".
func (s *Scheme) String() string {
	text := fmt.Sprintf("int%d", s.Bits)
	switch s.Float {
	case "":
	case "nf4":
		text = s.Float
	default:
		text = fmt.Sprintf("fp%d (%s)", s.Bits, s.Float)
	}
	if kind, way, _ := strings.Cut(s.By, ", "); s.Group > 0 {
		text += fmt.Sprintf(" by %ss of %d %s", kind, s.Group, way)
	} else {
		text += " by " + s.By
	}
	step := "step"
	if s.Float != "" {
		step = "scale"
	}
	switch {
	case s.Uneven:
		text += ", levels on no even grid"
	case s.Most > s.Least*(1+1e-6):
		text += fmt.Sprintf(", %ss %.3g to %.3g", step, float64(s.Least), float64(s.Most))
	default:
		text += fmt.Sprintf(", %s %.3g", step, float64(s.Least))
	}
	if s.Offset && !s.Uneven && s.Bits > 1 { // of 1 bit the levels are on both sides of 0
		text += ", with a zero point"
	}
	if s.In != "" {
		text += ", in " + s.In
	}
	return text
}

// With returns the scheme of two weights, with the steps of both; nil if it is not the same.
func (s *Scheme) With(o *Scheme) *Scheme {
	if s == nil || o == nil {
		return nil
	}
	both := *s
	both.Least, both.Most = min(s.Least, o.Least), max(s.Most, o.Most)
	if own := *o; func() bool { own.Least, own.Most = both.Least, both.Most; return own != both }() {
		return nil
	}
	return &both
}

// A WeightsCost is what weights as loaded change: how far the logits of a right run on them
// are from the golden's, and which tokens it chooses otherwise.
type WeightsCost struct {
	Golden  string  `json:"golden"`
	Logits  int     `json:"logits"` // values compared
	MaxAbs  Float   `json:"max_abs"`
	MaxRel  Float   `json:"max_rel"`
	RMS     Float   `json:"rms"`
	Step    int     `json:"step"`   // of MaxAbs
	Tokens  int     `json:"tokens"` // compared
	Changed []Token `json:"changed"`
}

// A Token is one that is chosen otherwise.
type Token struct {
	Step   int   `json:"step"`
	Row    int   `json:"row"`
	Golden int64 `json:"golden"`
	Loaded int64 `json:"loaded"`
}

// A Divergence is a place, or the weights as loaded.
type Divergence struct{ Place }

// MarshalJSON writes a place; of the weights without a step.
func (d Divergence) MarshalJSON() ([]byte, error) {
	if d.Stage == WeightsStage {
		return json.Marshal(map[string]string{"stage": d.Stage})
	}
	return json.Marshal(d.Place)
}

// WrongWeight returns the first weight that is not the model's nor rounded or quantised; nil
// if all are.
func (r *Report) WrongWeight() *Weight {
	if i := slices.IndexFunc(r.Weights, func(w Weight) bool { return w.Status.Diverges() }); i >= 0 {
		return &r.Weights[i]
	}
	return nil
}

// AddWeights adds the weights of another run of the same engine: each once, the cost of
// all.
func (r *Report) AddWeights(o *Report) {
	if r.Weights == nil && o.Weights != nil {
		r.Weights = []Weight{}
	}
	for _, w := range o.Weights {
		if !slices.ContainsFunc(r.Weights, func(have Weight) bool { return have.Stage == w.Stage }) {
			r.Weights = append(r.Weights, w)
		}
	}
	switch c := o.Cost; {
	case c == nil:
	case r.Cost == nil:
		own := *c
		own.Changed = slices.Clone(c.Changed)
		r.Cost = &own
	default:
		r.Cost.add(c)
	}
}

// add adds the cost in other runs.
func (c *WeightsCost) add(o *WeightsCost) {
	sq := func(c *WeightsCost) float64 { return float64(c.RMS) * float64(c.RMS) * float64(c.Logits) }
	sum := sq(c) + sq(o)
	c.Logits, c.Tokens, c.Changed = c.Logits+o.Logits, c.Tokens+o.Tokens, append(c.Changed, o.Changed...)
	c.RMS = Float(math.Sqrt(sum / float64(max(c.Logits, 1))))
	if o.MaxAbs > c.MaxAbs {
		c.MaxAbs, c.MaxRel, c.Step, c.Golden = o.MaxAbs, o.MaxRel, o.Step, o.Golden
	}
}

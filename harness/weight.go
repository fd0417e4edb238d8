package harness

import (
	"encoding/json"
	"slices"
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
	Offset bool   `json:"zero_point"` // 0 is not always one of the levels
	Uneven bool   `json:"uneven,omitempty"`
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

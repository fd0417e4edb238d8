package harness

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"checkpoint12/harness/internal/words"
)

// Status is the outcome of comparing one stage of one step.
type Status string

// The statuses of a row. Pass, Fail, WrongShape and Nonfinite are compared rows; the
// last three of these are divergences.
const (
	Pass       Status = "pass"      // every value is within the tolerance
	Fail       Status = "fail"      // some value is outside the tolerance
	Missing    Status = "missing"   // the golden has it, the candidate has not
	WrongShape Status = "shape"     // the shapes differ
	Nonfinite  Status = "nonfinite" // a NaN, or an infinity the golden does not have there
	Skipped    Status = "skipped"   // the two were fed different tokens
)

// Compared reports whether a row of the status counts as compared.
func (s Status) Compared() bool { return s != Missing && s != Skipped }

// Diverges reports whether a row of the status is a divergence.
func (s Status) Diverges() bool { return s == Fail || s == WrongShape || s == Nonfinite }

// Row is the comparison of one stage at one step. Where no values were compared
// (missing, shape, skipped) the four measures are NaN, Mismatched and Elements
// are 0, and Worst is nil.
type Row struct {
	Place
	Shape  []int  `json:"shape"` // the golden's
	Status Status `json:"status"`

	// Origin is "introduced", "inherited" or "unknown" after a replay, else "".
	Origin string `json:"origin"`

	// MaxAbs is |got − want| at Worst: NaN if one of the two is NaN, +Inf if one
	// is an infinity and the other is not the same.
	MaxAbs Float `json:"max_abs"`

	// MaxRel is MaxAbs / max|want|, over the golden's finite values; 0/0 is 0.
	MaxRel Float `json:"max_rel"`

	// RMS is the root of the mean of (got − want)² and Cosine the cosine of got
	// and want, both over the places finite in both; NaN if there are none.
	// Cosine is 1 if both are all zero and 0 if only one is.
	RMS    Float `json:"rms"`
	Cosine Float `json:"cosine"`

	Mismatched int    `json:"mismatched"` // the number of places that do not pass
	Elements   int    `json:"elements"`   // the number that were compared
	Worst      *Worst `json:"worst"`

	// Position is the first that is wrong, of a missing row the first that is missing;
	// nil if none is or it is not known.
	Position *int `json:"position,omitempty"`

	Tolerance Tolerance `json:"tolerance"` // the stage's; Abs includes what its Extra added

	// Accepted is why a row that fails, or whose stage is wrong, is passed over; "" if it is not.
	Accepted string `json:"accepted,omitempty"`

	Doubt string `json:"doubt,omitempty"` // why it says little that the row passes; "" if it does not

	Distance Distance `json:"-"` // of what was compared, its At counted in Shape

	IDs        bool    `json:"-"` // the stage's
	Scale      float64 `json:"-"` // max|want| over the golden's finite values
	GotShape   []int   `json:"-"` // the candidate's; nil where it has none
	Detail     string  `json:"-"` // the finding of the stage's own Check, or why a row was skipped
	Checkpoint int     `json:"-"` // the stage's
}

// Worst is the first place with the largest violation; an unequal infinity or a
// NaN is the largest there is.
type Worst struct {
	Index []int `json:"index"`
	Got   Float `json:"got"`
	Want  Float `json:"want"`
}

// Share returns the worst error as a fraction of its tolerance: at most 1 for a row
// that passes, +Inf for one of another shape or with a NaN, NaN for a row that was
// not compared.
func (r *Row) Share() float64 {
	d := float64(r.MaxAbs)
	switch {
	case !r.Status.Compared():
		return math.NaN()
	case r.Status == WrongShape || r.Status == Nonfinite:
		return math.Inf(1)
	case d == 0:
		return 0
	}
	return d / r.Tolerance.At(r.Scale)
}

// OfGolden reports whether the row is of a step of the golden, of which a candidate that is
// cut otherwise lacks a position. The steps of all other rows are the candidate's.
func (r *Row) OfGolden() bool { return r.Status == Missing && r.Position != nil }

// FailsOwnCheck reports whether the row is within its tolerance of the golden and
// fails the stage's own Check.
func (r *Row) FailsOwnCheck() bool {
	return r.Status == Fail && r.Detail != "" && r.Mismatched == 0
}

// String returns what became of the row and, of one that diverges, where it is
// worst and what is allowed there.
func (r *Row) String() string {
	s := fmt.Sprintf("step %d, stage %s: ", r.Step, r.Stage)
	switch {
	case r.Status == Missing:
		return s + "missing: the golden has it, the candidate does not"
	case r.Status == WrongShape:
		return s + fmt.Sprintf("shape %v, want %v", r.GotShape, r.Shape)
	case r.Worst == nil || r.Mismatched == 0:
		s += string(r.Status)
	default:
		s += fmt.Sprintf("%d of %s wrong, worst at %v: got %v, want %v; allowed is %s",
			r.Mismatched, words.Count(r.Elements, "value"), r.Worst.Index, r.Worst.Got, r.Worst.Want, r.Allowed())
	}
	if r.Tolerance.Reason != "" && r.Mismatched > 0 {
		s += " (" + r.Tolerance.Reason + ")"
	}
	if r.Detail != "" {
		s += ": " + r.Detail
	}
	return s
}

// Allowed returns the row's tolerance and what it is made of, in figures.
func (r *Row) Allowed() string {
	t := r.Tolerance
	switch {
	case t.Abs == 0 && t.Rel == 0:
		return "0: exact"
	case t.Rel == 0:
		return fmt.Sprintf("%.3g", t.Abs)
	}
	return fmt.Sprintf("%.3g = %.3g + %.3g * max|want|", t.At(r.Scale), t.Abs, t.Rel)
}

// Float is a float64 whose JSON knows the numbers that JSON lacks: they are the
// strings "NaN", "+Inf" and "-Inf".
type Float float64

// MarshalJSON writes a number, or one of the three strings.
func (f Float) MarshalJSON() ([]byte, error) {
	if !finite(float64(f)) {
		return json.Marshal(strconv.FormatFloat(float64(f), 'g', -1, 64))
	}
	return json.Marshal(float64(f))
}

// UnmarshalJSON reads what MarshalJSON writes.
func (f *Float) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case "null":
		return fmt.Errorf("null is not a number")
	case `"NaN"`, `"+Inf"`, `"-Inf"`:
		v, err := strconv.ParseFloat(string(b[1:len(b)-1]), 64)
		*f = Float(v)
		return err
	}
	return json.Unmarshal(b, (*float64)(f))
}

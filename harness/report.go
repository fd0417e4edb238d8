package harness

import (
	"math"
	"slices"
)

// The verdicts of a report.
const (
	VerdictPass = "pass"
	VerdictFail = "fail"
)

// Report is the result of [Compare]. Its JSON is the report that the compare command
// writes; no list in it is null.
type Report struct {
	Schema   int    `json:"schema"` // 1
	Verdict  string `json:"verdict"`
	Compared int    `json:"compared"` // rows of status pass, fail, shape and nonfinite

	// Missing lists the places that the golden has and the candidate lacks.
	Missing []Absence `json:"missing"`

	// First is the weights as loaded if they are wrong, else FirstDivergence.
	First *Divergence `json:"first_divergence"`

	// FirstDivergence is the first stage in execution order, over all steps,
	// that is outside its tolerance and not accepted; nil if none is.
	FirstDivergence *Place `json:"-"`

	// Introduced lists the stages whose own computation is wrong, as a replay
	// finds them; a comparison alone finds none.
	Introduced []Introduced `json:"introduced"`

	// Stages has a row for each stage that the golden has at each step, by step
	// and in execution order.
	Stages []Row `json:"stages"`

	// Explanations names the faults that explain introduced stages.
	Explanations []Explanation `json:"explanations"`

	// Weights lists the weights as loaded that are not the model's, in the order of use;
	// nil if the candidate does not say what it loaded. Cost is what they change.
	Weights []Weight     `json:"weights,omitzero"`
	Cost    *WeightsCost `json:"weights_cost,omitempty"`

	// Replayed has the rows given to AddReplay, with each stage's amplification;
	// nil without a replay. GoldenReplayed is the golden's, where it was replayed.
	Replayed       []Replayed `json:"replayed,omitempty"`
	GoldenReplayed []Replayed `json:"-"`

	// Violations lists the places at which the candidate contradicts itself.
	Violations []Violation `json:"violations"`

	// Unusable lists the tensors of the candidate whose shape is none of their
	// stages', whether or not the golden has those.
	Unusable []Place `json:"unusable,omitempty"`

	// DType is the precision that was asked for, if it is not float32. Narrow is the type of
	// the candidate's values if that is a narrower one: it fails for that.
	DType  string  `json:"dtype,omitempty"`
	Narrow *Narrow `json:"narrow,omitempty"`

	// Cut says in words how the candidate was cut, if otherwise than the golden. Rows
	// then are of the candidate's steps, but those that are missing of the golden's.
	Cut string `json:"cut,omitempty"`

	Unseen `json:"unseen"`

	Bounds   *Bounds              `json:"-"` // what was asked to be accepted
	accepted map[Place]acceptance // whether or not it fails

	Golden       string    `json:"-"` // the source's name, as Candidate
	Candidate    string    `json:"-"`
	Notes        []string  `json:"-"` // remarks for stderr
	LeftOut      []LeftOut `json:"-"` // of the golden's manifest
	RequireAll   bool      `json:"-"` // a stage missing or skipped is a failure
	OtherWeights bool      `json:"-"` // by the manifests the two were made from different weights
	Checked      int       `json:"-"` // places judged for Violations
}

// Unseen counts what the verdict is not about, or says little of.
type Unseen struct {
	Missing   int `json:"missing"`            // tensors of the golden that the candidate lacks
	Skipped   int `json:"skipped"`            // tensors of positions that were fed other tokens
	Unjudged  int `json:"unjudged"`           // stages that could not be replayed
	Unknown   int `json:"unknown"`            // names of the candidate's tensors that are no stage's
	Unmatched int `json:"unmatched"`          // tensors of the candidate that the golden lacks
	Rows      int `json:"rows"`               // rows of the candidate's batch that no golden was fed
	Shared    int `json:"shared"`             // tensors of the candidate that lie in the golden's own files
	Doubted   int `json:"doubted"`            // tensors that pass, which says little: rows with a doubt
	Accepted  int `json:"accepted,omitempty"` // tensors that fail or are computed wrong, and are passed over
}

// Absence is a place of the golden that the candidate lacks, or the first position of
// it, where it is cut otherwise.
type Absence struct {
	Place
	Position *int `json:"position,omitempty"`
}

// Violation is a stage of a dump that contradicts the stages it is computed from.
// Neither weights nor a golden are needed to see it.
type Violation struct {
	Place
	Rule   string `json:"rule"`   // what does not hold, in a few words
	Detail string `json:"detail"` // how many values are off, and the worst

	Accepted string `json:"accepted,omitempty"` // as a Row's
}

// Narrow is a type with fewer bits than were asked for that has every value of a dump.
type Narrow struct {
	Type  string `json:"type"`            // in words, as Asked
	Asked string `json:"asked"`           //
	DType string `json:"dtype,omitempty"` // to judge it by; "" if there is none
}

// Introduced is a stage whose own computation is wrong. Span lists the stages
// that were judged as one, the last of which is Stage.
type Introduced struct {
	Step  int      `json:"step"`
	Stage string   `json:"stage"`
	Span  []string `json:"span"`

	Accepted string `json:"accepted,omitempty"` // as a Row's
}

// OtherPoint is the fault of a stage that is dumped at another point than the schedule's: what
// reads it follows from the correct output, not from this one.
const OtherPoint = "dumped_at_other_point"

// IsOtherPoint reports whether a place is only dumped at another point.
func (r *Report) IsOtherPoint(at Place) bool {
	return slices.ContainsFunc(r.Explanations, func(e Explanation) bool {
		return e.Step == at.Step && e.Stage == at.Stage && e.Fault == OtherPoint
	})
}

// Explanation names a known fault that reproduces what an introduced stage gave.
type Explanation struct {
	Step     int    `json:"step"`
	Stage    string `json:"stage"`
	Fault    string `json:"fault"`
	Explains Float  `json:"explains"` // which part of the error, 1 being all
	Text     string `json:"text"`

	At   []string `json:"-"` // the stages that the fault sits in, if that is known
	Or   []string `json:"-"` // other stages, in each of which it would give the same
	Rest bool     `json:"-"` // more is wrong than the fault explains
}

// Judge works out Compared, Missing, FirstDivergence, First and Verdict from the rows,
// Introduced, Violations, Unusable, Weights and RequireAll. Compare has done so; whoever adds to a
// report does it again.
func (r *Report) Judge() {
	r.Compared, r.Missing, r.FirstDivergence = 0, []Absence{}, nil
	r.Unseen = Unseen{Unknown: r.Unknown, Unmatched: r.Unmatched, Shared: r.Shared, Rows: r.Rows}
	unjudged := map[Place]string{}
	for i := range r.Replayed {
		if p := &r.Replayed[i]; p.Verdict == ReplayUnknown {
			unjudged[p.Place] = p.Why
			r.Unjudged++
		}
	}
	for i := range r.Stages {
		row := &r.Stages[i]
		if row.Status.Compared() {
			r.Compared++
		}
		if row.Doubt != "" {
			r.Doubted++
		}
		row.Accepted = ""
		if row.Status.Diverges() || row.Origin == OriginIntroduced && !row.OfGolden() {
			row.Accepted = r.Accepted(row.Place)
		}
		if why, own := unjudged[row.Place]; row.Status == Skipped && !(own && row.Detail == why) {
			r.Skipped++ // a row that could not be judged, without a golden, is none
		}
		if row.Status == Missing {
			r.Missing = append(r.Missing, Absence{row.Place, row.Position})
		}
		if row.Status.Diverges() && row.Accepted == "" && r.FirstDivergence == nil {
			first := row.Place
			r.FirstDivergence = &first
		}
	}
	r.Unseen.Missing = len(r.Missing)
	r.Verdict, r.First = VerdictPass, nil
	if r.FirstDivergence != nil {
		r.First = &Divergence{*r.FirstDivergence}
	}
	if r.WrongWeight() != nil {
		r.First = &Divergence{Place{Stage: WeightsStage}}
	}
	wrong := 0
	for i := range r.Introduced {
		in := &r.Introduced[i]
		if in.Accepted = r.Accepted(Place{in.Step, in.Stage}); in.Accepted == "" {
			wrong++
		}
	}
	for i := range r.Violations {
		v := &r.Violations[i]
		if v.Accepted = r.Accepted(v.Place); v.Accepted == "" {
			wrong++
		}
	}
	for _, at := range r.Unusable {
		if r.Accepted(at) == "" {
			wrong++
		}
	}
	if len(r.accepted) > 0 {
		r.Unseen.Accepted = len(r.acceptedPlaces())
	}
	if r.First != nil || r.Narrow != nil || wrong > 0 ||
		r.RequireAll && (r.Compared < len(r.Stages) || r.Rows > 0) || r.Compared == 0 {
		r.Verdict = VerdictFail
	}
}

// Match counts the tensors of the candidate that have no row, of those that match, if it
// is set, does not decline, and judges again.
func (r *Report) Match(s *Schedule, candidate Source, match func(step int, stage string) bool) {
	rows := map[Place]bool{}
	for i := range r.Stages {
		if r.Stages[i].Status != Missing {
			rows[r.Stages[i].Place] = true
		}
	}
	r.Unmatched = 0
	for _, p := range s.Places(candidate, match) {
		if !rows[p] {
			r.Unmatched++
		}
	}
	r.Judge()
}

// Passed reports whether the verdict is a pass.
func (r *Report) Passed() bool { return r.Verdict == VerdictPass }

// Row returns the row of a place of the candidate, or nil.
func (r *Report) Row(p Place) *Row {
	for i := range r.Stages {
		if r.Stages[i].Place == p && !r.Stages[i].OfGolden() {
			return &r.Stages[i]
		}
	}
	return nil
}

// The verdicts of a replay.
const (
	ReplayIntroduced = "introduced" // the correct function of the candidate's inputs does not give its output
	ReplayClean      = "clean"      // it does: what is wrong with the output came in with the inputs
	ReplayUnknown    = "unknown"    // it cannot be said, for the reason in Why
)

// The origins of a row's error.
const (
	OriginIntroduced = ReplayIntroduced
	OriginInherited  = "inherited" // outside its tolerance of the golden, but correct for its inputs
	OriginUnknown    = ReplayUnknown
)

// Replayed is the result of replaying one stage of one step: a row whose golden is
// the replayed value and whose tolerance is the rounding bound. Its Status is Skipped
// where the Verdict is ReplayUnknown.
type Replayed struct {
	Row

	Verdict string `json:"verdict"` // ReplayIntroduced, ReplayClean or ReplayUnknown

	// Span lists the stages that were computed to judge this one, in execution
	// order; this one is the last. It has more than one where the candidate lacks
	// inputs. Earlier lists those of them that belong to earlier steps; their
	// names are in Span too.
	Span    []string `json:"span"`
	Earlier []Place  `json:"earlier,omitempty"`

	Inputs []Place `json:"-"` // of the candidate, from which it was computed

	// Amplification is the relative error against the golden at this stage over
	// the largest of what it reads; NaN where one is not known or there is none.
	Amplification Float `json:"amplification"`

	Why string `json:"why,omitempty"` // of an unknown verdict, or of a wrong shape
}

// AddReplay puts what a replay found into the report: Introduced, each row's
// Origin, and how each stage amplifies the error of what it reads. reads returns the
// stages that a stage reads, as Reads of a replay.Replayer does.
func (r *Report) AddReplay(rows []Replayed, reads func(stage string) []string) {
	r.Replayed = slices.Clone(rows)
	r.Introduced = []Introduced{}
	at := make(map[Place]*Row, len(r.Stages))
	for i := range r.Stages {
		if !r.Stages[i].OfGolden() {
			at[r.Stages[i].Place] = &r.Stages[i]
		}
	}
	for i := range r.Replayed {
		p := &r.Replayed[i]
		p.Amplification = amplification(*p, at, reads)
		row := at[p.Place]
		if row == nil {
			row = new(Row) // a stage that the golden lacks
		}
		if p.Verdict == ReplayIntroduced {
			r.Introduced = append(r.Introduced, Introduced{Step: p.Step, Stage: p.Stage, Span: p.Span})
		}
		switch {
		case p.Verdict != ReplayClean:
			row.Origin = p.Verdict
		case row.Status.Diverges() && !row.FailsOwnCheck():
			row.Origin = OriginInherited
		}
	}
	r.Judge()
}

// amplification returns the relative error of a place over the largest of what was
// read to compute it; NaN where one is not known, nothing was wrong there, or the
// stage is exact, such as ids, which are correct or wrong and never off by a part.
func amplification(p Replayed, at map[Place]*Row, reads func(string) []string) Float {
	out, most := at[p.Place], 0.0
	if out == nil || !(out.MaxRel >= 0) || out.Tolerance.Abs == 0 && out.Tolerance.Rel == 0 {
		return Float(math.NaN())
	}
	for _, stage := range p.Span {
		for _, name := range reads(stage) {
			if row := at[InputPlace(p.Step, name)]; row != nil && !slices.Contains(p.Span, name) && row.MaxRel >= 0 {
				most = max(most, float64(row.MaxRel))
			}
		}
	}
	if most == 0 || math.IsInf(most, 1) {
		return Float(math.NaN())
	}
	return out.MaxRel / Float(most)
}

package harness

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
	Missing []Place `json:"missing"`

	// FirstDivergence is the first stage in execution order, over all steps,
	// that is outside its tolerance; nil if none is.
	FirstDivergence *Place `json:"first_divergence"`

	// Introduced lists the stages whose own computation is wrong, as a replay
	// finds them; a comparison alone finds none.
	Introduced []Introduced `json:"introduced"`

	// Stages has a row for each stage that the golden has at each step, by step
	// and in execution order.
	Stages []Row `json:"stages"`

	// Explanations names the faults that explain introduced stages.
	Explanations []Explanation `json:"explanations"`

	// Replayed has the rows given to AddReplay, with each stage's amplification;
	// nil without a replay. GoldenReplayed is the golden's, where it was replayed.
	Replayed       []Replayed `json:"replayed,omitempty"`
	GoldenReplayed []Replayed `json:"-"`

	Golden     string    `json:"-"` // the source's name, as Candidate
	Candidate  string    `json:"-"`
	Notes      []string  `json:"-"` // remarks for stderr
	LeftOut    []LeftOut `json:"-"` // of the golden's manifest
	RequireAll bool      `json:"-"` // a missing stage is a failure
}

// Introduced is a stage whose own computation is wrong. Span lists the stages
// that were judged as one, the last of which is Stage.
type Introduced struct {
	Step  int      `json:"step"`
	Stage string   `json:"stage"`
	Span  []string `json:"span"`
}

// Explanation names a known fault that reproduces what an introduced stage gave.
type Explanation struct {
	Step     int    `json:"step"`
	Stage    string `json:"stage"`
	Fault    string `json:"fault"`
	Explains Float  `json:"explains"` // which part of the error, 1 being all
	Text     string `json:"text"`

	At []string `json:"-"` // the stages that the fault sits in, if that is known
}

// Judge works out Compared, Missing, FirstDivergence and Verdict from the rows,
// Introduced and RequireAll. Compare has done so; whoever adds to a report does
// it again.
func (r *Report) Judge() {
	r.Compared, r.Missing, r.FirstDivergence = 0, []Place{}, nil
	for i := range r.Stages {
		row := &r.Stages[i]
		if row.Status.Compared() {
			r.Compared++
		}
		if row.Status == Missing {
			r.Missing = append(r.Missing, row.Place)
		}
		if row.Status.Diverges() && r.FirstDivergence == nil {
			first := row.Place
			r.FirstDivergence = &first
		}
	}
	r.Verdict = VerdictPass
	if r.FirstDivergence != nil || len(r.Introduced) > 0 || r.RequireAll && len(r.Missing) > 0 || r.Compared == 0 {
		r.Verdict = VerdictFail
	}
}

// Passed reports whether the verdict is a pass.
func (r *Report) Passed() bool { return r.Verdict == VerdictPass }

// Row returns the row of a place, or nil.
func (r *Report) Row(p Place) *Row {
	for i := range r.Stages {
		if r.Stages[i].Place == p {
			return &r.Stages[i]
		}
	}
	return nil
}

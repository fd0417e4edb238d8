package diagnose

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
)

// Quorum is what comparing the goldens of several engines shows of them and of a
// candidate.
type Quorum struct {
	Engines []string `json:"engines"`

	// Spread is how far each engine comes from the yardstick, as a fraction of the
	// tolerance: its worst, by checkpoint and engine. It is empty without a
	// yardstick.
	Spread []Spread `json:"spread"`

	// Outliers are the tensors in which one engine is wrong and not the candidate:
	// it is outside tolerance of the candidate and of every other engine, while
	// the candidate is within tolerance of them all, the yardstick or two at least.
	Outliers []Outlier `json:"outliers"`
}

// Spread is the worst of one engine at one checkpoint.
type Spread struct {
	Checkpoint int    `json:"checkpoint"`
	Engine     string `json:"engine"`
	harness.Place
	Share harness.Float `json:"share"` // the distance from the yardstick as a fraction of the tolerance
}

// Outlier is a golden's tensor that is wrong.
type Outlier struct {
	Engine string `json:"engine"`
	harness.Place
	Share   harness.Float `json:"share"`   // its distance from the nearest of the others as a fraction of the tolerance
	Against []string      `json:"against"` // the engines that agree with the candidate
}

// NewQuorum compares the goldens of a case with each other. Each engine's Report is
// of the same candidate.
func NewQuorum(s *harness.Schedule, engines []EngineResult) (*Quorum, error) {
	spread, err := SpreadOf(s, engines)
	if err != nil {
		return nil, err
	}
	return QuorumOf(s, engines, spread)
}

// QuorumOf is NewQuorum with what SpreadOf returned for the same goldens.
func QuorumOf(s *harness.Schedule, engines []EngineResult, spread []Spread) (*Quorum, error) {
	q := &Quorum{Engines: []string{}, Spread: spread, Outliers: []Outlier{}}
	for _, v := range engines {
		q.Engines = append(q.Engines, v.Engine)
	}
	return q, q.findOutliers(s, engines)
}

// SpreadOf compares each engine with the yardstick.
func SpreadOf(s *harness.Schedule, engines []EngineResult) ([]Spread, error) {
	all := []Spread{}
	yard := slices.IndexFunc(engines, func(v EngineResult) bool { return v.Engine == Yardstick })
	if yard < 0 {
		return all, nil
	}
	for i, v := range engines {
		if i == yard {
			continue
		}
		r, err := harness.Compare(s, engines[yard].Source, v.Source, harness.CompareOptions{})
		if errors.Is(err, harness.ErrNothingCompared) {
			continue
		}
		if err != nil {
			return nil, err
		}
		worst := map[int]*Spread{}
		for i := range r.Stages {
			row := &r.Stages[i]
			share := row.Share()
			if !row.Status.Compared() {
				continue
			}
			if w := worst[row.Checkpoint]; w == nil || share > float64(w.Share) {
				worst[row.Checkpoint] = &Spread{row.Checkpoint, v.Engine, row.Place, harness.Float(share)}
			}
		}
		for _, w := range worst {
			all = append(all, *w)
		}
	}
	slices.SortFunc(all, func(a, b Spread) int {
		return cmp.Or(cmp.Compare(a.Checkpoint, b.Checkpoint), cmp.Compare(a.Engine, b.Engine))
	})
	return all, nil
}

// findOutliers looks at each tensor in which the candidate is outside tolerance of
// one engine.
func (q *Quorum) findOutliers(s *harness.Schedule, engines []EngineResult) error {
	for _, e := range engines {
		for i := range e.Report.Stages {
			row := &e.Report.Stages[i]
			if !row.Status.Diverges() {
				continue
			}
			agree := agreeing(engines, e.Engine, row.Place)
			o := Outlier{Engine: e.Engine, Place: row.Place, Share: harness.Float(math.Inf(1))}
			for _, other := range agree {
				apart, err := compareAt(s, o.Place, other.Source, e.Source)
				if err != nil {
					return err
				}
				if apart.Status == harness.Pass { // the candidate and e are on opposite sides of it
					agree = nil
					break
				}
				o.Share = min(o.Share, harness.Float(apart.Share()))
				o.Against = append(o.Against, other.Engine)
			}
			if agree != nil {
				q.Outliers = append(q.Outliers, o)
			}
		}
	}
	return nil
}

// agreeing returns the engines with which the candidate agrees at a place, if all
// but one do that have it, and enough to outvote that one: the yardstick, or two.
func agreeing(engines []EngineResult, but string, p harness.Place) (agree []EngineResult) {
	enough := false
	for _, e := range engines {
		row := e.Report.Row(p)
		switch {
		case e.Engine == but || row == nil:
		case row.Status.Diverges():
			return nil
		case row.Status == harness.Pass:
			agree = append(agree, e)
			enough = enough || e.Engine == Yardstick || len(agree) > 1
		}
	}
	if !enough {
		return nil
	}
	return agree
}

// report returns how the candidate compares with the first engine's golden and,
// where that is the outlier, with one that agrees with the candidate.
func (q *Quorum) report(engines []EngineResult) *harness.Report {
	r := *engines[0].Report
	r.Stages = slices.Clone(r.Stages)
	for _, o := range q.Outliers {
		if o.Engine != engines[0].Engine {
			continue
		}
		i := slices.IndexFunc(engines, func(e EngineResult) bool { return e.Engine == o.Against[0] })
		*r.Row(o.Place) = *engines[i].Report.Row(o.Place)
	}
	r.Judge()
	return &r
}

// compareAt compares one tensor of two sources.
func compareAt(s *harness.Schedule, p harness.Place, golden, candidate harness.Source) (harness.Row, error) {
	st, _ := s.Stage(p.Stage)
	want, err := golden.Tensor(p.Step, p.Stage)
	if err != nil {
		return harness.Row{}, err
	}
	got, err := candidate.Tensor(p.Step, p.Stage)
	if err != nil {
		return harness.Row{}, err
	}
	extra := 0.0
	if st.Extra != nil {
		extra = st.Extra(golden, candidate, p.Step)
	}
	return harness.CompareTensor(st, want, got, extra)
}

// Outlier returns the outlier at a place, or nil.
func (q *Quorum) Outlier(engine string, p harness.Place) *Outlier {
	for i := range q.Outliers {
		if o := &q.Outliers[i]; o.Engine == engine && o.Place == p {
			return o
		}
	}
	return nil
}

// String returns the outlier in a line.
func (o *Outlier) String() string {
	far := "another shape or not finite"
	if share := float64(o.Share); !math.IsInf(share, 1) {
		far = fmt.Sprintf("%.3g times the tolerance", share)
	}
	return fmt.Sprintf("the golden of %s is the outlier, not the candidate: at %s it is %s from %s, with which the candidate agrees",
		o.Engine, o.Place, far, strings.Join(o.Against, " and "))
}

// Lines returns the quorum for people: the first outlier of each engine, with how
// many more there are, and spreads of more than half the tolerance.
func (q *Quorum) Lines() []string {
	var lines []string
	for _, engine := range q.Engines {
		var of []*Outlier
		for i := range q.Outliers {
			if q.Outliers[i].Engine == engine {
				of = append(of, &q.Outliers[i])
			}
		}
		if len(of) == 0 {
			continue
		}
		line := of[0].String()
		if len(of) > 1 {
			line += fmt.Sprintf("; so in %d of its tensors", len(of))
		}
		lines = append(lines, line)
	}
	for _, w := range q.Spread {
		share := float64(w.Share)
		switch {
		case q.Outlier(w.Engine, w.Place) != nil || q.Outlier(Yardstick, w.Place) != nil || share <= 0.5:
		case share <= 1:
			lines = append(lines, fmt.Sprintf("checkpoint %d: %s comes to %.2g of the tolerance away from %s, at %s: little room for correct engines",
				w.Checkpoint, w.Engine, share, Yardstick, w.Place))
		default:
			lines = append(lines, fmt.Sprintf("checkpoint %d: the goldens of %s and %s are %.3g times the tolerance apart at %s, and the others do not tell which is wrong",
				w.Checkpoint, w.Engine, Yardstick, share, w.Place))
		}
	}
	return lines
}

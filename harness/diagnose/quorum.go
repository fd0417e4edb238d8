package diagnose

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"

	gocmp "github.com/google/go-cmp/cmp"

	"checkpoint12/harness"
	"checkpoint12/harness/dump"
)

// Yardstick is the engine that says which of the others is nearer to the truth:
// the plain forward pass in float64.
const Yardstick = "float64"

// EngineResult is one engine's golden of a case and how the candidate compares with it.
type EngineResult struct {
	Engine string
	Source harness.Source
	Report *harness.Report
}

// Quorum is what the goldens of several engines say of each other and, together,
// of a candidate.
type Quorum struct {
	Engines []string `json:"engines"`

	// Spread is how far each engine comes from the yardstick, as a part of the
	// stage's bound: its worst, by checkpoint and engine. Where there is no
	// yardstick it is empty.
	Spread []Spread `json:"spread"`

	// Outliers are the tensors in which one engine is wrong and not the candidate:
	// it is outside the bound of the candidate and of every other engine, while
	// the candidate is within the bound of them all, the yardstick or two at least.
	Outliers []Outlier `json:"outliers"`
}

// Spread is the worst of one engine at one checkpoint.
type Spread struct {
	Checkpoint int    `json:"checkpoint"`
	Engine     string `json:"engine"`
	harness.Place
	Share harness.Float `json:"share"` // the distance from the yardstick as a part of the bound
}

// Outlier is a golden's tensor that is wrong.
type Outlier struct {
	Engine string `json:"engine"`
	harness.Place
	Share   harness.Float `json:"share"`   // its distance from the nearest of the others as a part of the bound
	Against []string      `json:"against"` // the engines that agree with the candidate
}

// NewQuorum lets the goldens of a case judge each other. Each engine's Report is
// of the same candidate.
func NewQuorum(s *harness.Schedule, engines []EngineResult) (*Quorum, error) {
	spread, err := SpreadOf(s, engines)
	if err != nil {
		return nil, err
	}
	return QuorumOf(s, engines, spread)
}

func QuorumOf(s *harness.Schedule, engines []EngineResult, spread []Spread) (*Quorum, error) {
	q := &Quorum{Engines: []string{}, Spread: spread, Outliers: []Outlier{}}
	for _, v := range engines {
		q.Engines = append(q.Engines, v.Engine)
	}
	return q, q.outliers(s, engines)
}

// spreadOf compares each engine with the yardstick.
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
				worst[row.Checkpoint] = &Spread{row.Checkpoint, v.Engine, row.Place(), harness.Float(share)}
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

// outliers looks at each tensor that the candidate does not agree with one
// engine on, but with others.
func (q *Quorum) outliers(s *harness.Schedule, engines []EngineResult) error {
	against := map[harness.Place][]int{} // engines by place
	agree := map[harness.Place][]int{}
	var places []harness.Place
	for i, v := range engines {
		for j := range v.Report.Stages {
			row := &v.Report.Stages[j]
			switch p := row.Place(); {
			case row.Status == harness.Pass:
				agree[p] = append(agree[p], i)
			case row.Status.Diverges():
				if against[p] == nil {
					places = append(places, p)
				}
				against[p] = append(against[p], i)
			}
		}
	}
	sortPlaces(s, places)
	for _, p := range places {
		yes, no := agree[p], against[p]
		if len(no) != 1 || len(yes) < 2 && !slices.ContainsFunc(yes, func(i int) bool { return engines[i].Engine == Yardstick }) {
			continue
		}
		o := Outlier{Engine: engines[no[0]].Engine, Place: p, Share: harness.Float(math.Inf(1))}
		for _, i := range yes {
			row, err := compareAt(s, p, engines[i].Source, engines[no[0]].Source)
			if err != nil {
				return err
			}
			if row.Status == harness.Pass { // the candidate and it lie on opposite sides of this one
				o.Engine = ""
				break
			}
			o.Share = min(o.Share, harness.Float(row.Share()))
			o.Against = append(o.Against, engines[i].Engine)
		}
		if o.Engine != "" {
			q.Outliers = append(q.Outliers, o)
		}
	}
	return nil
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

func sortPlaces(s *harness.Schedule, places []harness.Place) {
	slices.SortFunc(places, func(a, b harness.Place) int {
		i, _ := s.Index(a.Stage)
		j, _ := s.Index(b.Stage)
		return cmp.Or(cmp.Compare(a.Step, b.Step), cmp.Compare(i, j))
	})
}

// Outlier is the outlier at a place, or nil.
func (q *Quorum) Outlier(engine string, p harness.Place) *Outlier {
	for i := range q.Outliers {
		if o := &q.Outliers[i]; o.Engine == engine && o.Place == p {
			return o
		}
	}
	return nil
}

// String is the outlier in a line.
func (o *Outlier) String() string {
	far := "another shape or not finite"
	if share := float64(o.Share); !math.IsInf(share, 1) {
		far = fmt.Sprintf("%.3g times the bound", share)
	}
	return fmt.Sprintf("the golden of %s is the outlier, not the candidate: at %s it is %s from %s, with which the candidate agrees",
		o.Engine, o.Place, far, strings.Join(o.Against, " and "))
}

// Lines is what a person reads of the quorum: the first outlier of each engine,
// with how many more there are, and spreads of more than half a bound.
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
			lines = append(lines, fmt.Sprintf("checkpoint %d: %s comes to %.2g of the bound away from %s, at %s: little room for right engines",
				w.Checkpoint, w.Engine, share, Yardstick, w.Place))
		default:
			lines = append(lines, fmt.Sprintf("checkpoint %d: the goldens of %s and %s are %.3g times the bound apart at %s, and the others do not tell which is wrong",
				w.Checkpoint, w.Engine, Yardstick, share, w.Place))
		}
	}
	return lines
}

// OpenEngines opens the goldens in the folders below dir, one for each engine,
// the yardstick first and then by name. None is no error. All must be of the
// same weights and have the same prompt.
func OpenEngines(dir string, s *harness.Schedule) ([]EngineResult, error) {
	paths, err := Folders(dir)
	if err != nil {
		return nil, err
	}
	var engines []EngineResult
	for _, path := range paths {
		d, notes, err := dump.Open(path, s, dump.Options{})
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return nil, &GoldenError{path, err}
		case d.Manifest() == nil:
			continue // no golden: nothing binds it
		case len(notes) > 0:
			return nil, &GoldenError{path, errors.New(notes[0])}
		}
		if len(engines) > 0 {
			first := engines[0].Source
			if err := d.Manifest().CheckWeights(first.Manifest().Model.Name, first.Manifest().Model.WeightsSHA256); err != nil {
				return nil, &GoldenError{path, err}
			}
			if want, got := first.Manifest().Tokens, d.Manifest().Tokens; !gocmp.Equal(want, got) {
				return nil, &harness.DiffError{
					Line: fmt.Sprintf("golden %s: its prompt tokens are not those of %s for the same case", path, first.Name()),
					Diff: gocmp.Diff(want, got),
				}
			}
		}
		engines = append(engines, EngineResult{Engine: filepath.Base(path), Source: d})
	}
	slices.SortStableFunc(engines, func(a, b EngineResult) int {
		return cmp.Compare(btoi(a.Engine != Yardstick), btoi(b.Engine != Yardstick))
	})
	return engines, nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

package diagnose

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
)

// A Quorum is the comparison of several engines' goldens with each other and with a
// candidate.
type Quorum struct {
	Engines []string `json:"engines"`

	// Spread is by checkpoint and engine; empty without a reference.
	Spread []Spread `json:"spread"`

	// Outliers are the tensors in which one engine is outside tolerance of the
	// candidate and of every other engine, while the candidate is within tolerance of
	// them all. They are the reference or two at least, of which those that hold the
	// same bytes are one; then the one engine is wrong and not the candidate. The
	// reference, where it is the one, is not outvoted by any.
	Outliers []Outlier `json:"outliers"`
}

// A Spread is one engine's largest distance from the reference at one checkpoint.
type Spread struct {
	Checkpoint int    `json:"checkpoint"`
	Engine     string `json:"engine"`
	harness.Place
	Share harness.Float `json:"share"` // the distance from the reference as a fraction of the tolerance
}

// An Outlier is a golden's tensor from which the candidate and all others differ.
type Outlier struct {
	Engine string `json:"engine"`
	harness.Place
	Share   harness.Float `json:"share"`   // its distance from the nearest of the others as a fraction of the tolerance
	Against []string      `json:"against"` // the engines that agree with the candidate
}

// NewQuorum compares the goldens of a case with each other. Each engine's Report is
// of the same candidate.
func NewQuorum(s *harness.Schedule, engines []EngineResult) (*Quorum, error) {
	spread, err := spreadOf(s, engines)
	if err != nil {
		return nil, err
	}
	q := &Quorum{Engines: []string{}, Spread: spread, Outliers: []Outlier{}}
	for _, e := range engines {
		q.Engines = append(q.Engines, e.Engine)
		for i := range e.Report.Stages {
			row := &e.Report.Stages[i]
			if !row.Status.Diverges() {
				continue
			}
			o, err := outlier(s, engines, e, row.Place)
			if err != nil {
				return nil, err
			}
			if o != nil {
				q.Outliers = append(q.Outliers, *o)
			}
		}
	}
	return q, nil
}

// spreadOf compares each engine with the reference.
func spreadOf(s *harness.Schedule, engines []EngineResult) ([]Spread, error) {
	all := []Spread{}
	reference := slices.IndexFunc(engines, isReference)
	for i, e := range engines {
		if reference < 0 || i == reference {
			continue
		}
		r, err := harness.Compare(s, engines[reference].Source, e.Source, harness.CompareOptions{})
		if errors.Is(err, harness.ErrNothingCompared) {
			continue
		}
		if err != nil {
			return nil, err
		}
		worst := map[int]Spread{}
		for i := range r.Stages {
			row := &r.Stages[i]
			share := harness.Float(row.Share())
			if w, ok := worst[row.Checkpoint]; row.Status.Compared() && (!ok || share > w.Share) {
				worst[row.Checkpoint] = Spread{row.Checkpoint, e.Engine, row.Place, share}
			}
		}
		all = slices.AppendSeq(all, maps.Values(worst))
	}
	slices.SortFunc(all, func(a, b Spread) int {
		return cmp.Or(cmp.Compare(a.Checkpoint, b.Checkpoint), cmp.Compare(a.Engine, b.Engine))
	})
	return all, nil
}

// outlier returns the engine wrong, from which the candidate diverges at a place, as an
// outlier, or nil if another diverges too or they are too few to tell.
func outlier(s *harness.Schedule, engines []EngineResult, wrong EngineResult, p harness.Place) (*Outlier, error) {
	o := &Outlier{Engine: wrong.Engine, Place: p, Share: harness.Float(math.Inf(1))}
	enough := isReference(wrong)
	var agree []EngineResult
	for _, e := range engines {
		row := e.Report.Row(p)
		switch {
		case e.Engine == wrong.Engine || row == nil || !row.Status.Compared():
			continue
		case row.Status.Diverges():
			return nil, nil
		}
		apart, err := harness.CompareAt(s, e.Source, wrong.Source, p)
		if err != nil || apart.Status == harness.Pass || !apart.Status.Compared() { // the candidate and wrong are on opposite sides of e
			return nil, err
		}
		o.Share = min(o.Share, harness.Float(apart.Share()))
		same := func(other EngineResult) bool { return sameBytes(other.Source, e.Source) }
		enough = enough || isReference(e) || len(agree) > 0 && !slices.ContainsFunc(agree, same)
		o.Against, agree = append(o.Against, e.Engine), append(agree, e)
	}
	if !enough || len(agree) == 0 {
		return nil, nil
	}
	return o, nil
}

// sameBytes reports whether two goldens hold the same bytes in all files that the manifests
// of both list.
func sameBytes(a, b harness.Source) bool {
	if a.Manifest() == nil || b.Manifest() == nil {
		return false
	}
	hashes := map[string]string{}
	for _, f := range a.Manifest().Files {
		hashes[f.Path] = f.SHA256
	}
	return !slices.ContainsFunc(b.Manifest().Files, func(f harness.File) bool {
		return hashes[f.Path] != "" && hashes[f.Path] != f.SHA256
	})
}

// report returns the candidate's comparison with all goldens. At a place that is the
// reference's row or, without one, that of an engine from which the candidate differs
// there and which is not outvoted, or else any engine's.
func (q *Quorum) report(s *harness.Schedule, engines []EngineResult) *harness.Report {
	r := *engines[0].Report
	type key struct {
		harness.Place
		goldens bool // a step of the golden's, where the candidate has others
	}
	rows, settled := map[key]harness.Row{}, map[key]bool{}
	for _, e := range engines {
		for _, row := range e.Report.Stages {
			at := key{row.Place, row.OfGolden()}
			if settled[at] || q.Outvoted(e.Engine, row.Place) != nil {
				continue
			}
			if old, ok := rows[at]; !ok || !old.Status.Compared() || row.Status.Diverges() {
				rows[at] = row
			}
			settled[at] = row.Status.Diverges() || isReference(e) && row.Status.Compared()
		}
	}
	r.Stages = slices.SortedFunc(maps.Values(rows), func(a, b harness.Row) int { return s.Compare(a.Place, b.Place) })
	r.Judge()
	return &r
}

// Outvoted returns the outlier at a place if the engine is, and is not the reference; else
// nil.
func (q *Quorum) Outvoted(engine string, p harness.Place) *Outlier {
	if engine == Reference {
		return nil
	}
	return q.at(engine, p)
}

// at returns the outlier at a place, or nil.
func (q *Quorum) at(engine string, p harness.Place) *Outlier {
	for i := range q.Outliers {
		if o := &q.Outliers[i]; o.Engine == engine && o.Place == p {
			return o
		}
	}
	return nil
}

// String returns the outlier, or the reference that differs alone, in a line.
func (o *Outlier) String() string {
	far := "another shape or not finite"
	if share := float64(o.Share); !math.IsInf(share, 1) {
		far = fmt.Sprintf("%.3g times the tolerance", share)
	}
	which := "the golden of " + o.Engine + " is the outlier, not the candidate"
	if o.Engine == Reference {
		which = o.Engine + " alone differs, and is never outvoted"
	}
	return fmt.Sprintf("%s: at %s it is %s from %s, with which the candidate agrees",
		which, o.Place, far, strings.Join(o.Against, " and "))
}

// Lines returns the quorum for people: the first outlier of each engine, with how
// many more there are, and spreads of more than half the tolerance.
func (q *Quorum) Lines() []string {
	var lines []string
	for _, engine := range q.Engines {
		of := slices.DeleteFunc(slices.Clone(q.Outliers), func(o Outlier) bool { return o.Engine != engine })
		if len(of) == 0 {
			continue
		}
		line := of[0].String()
		if len(of) > 1 {
			line += fmt.Sprintf("; as in %d of its tensors", len(of))
		}
		lines = append(lines, line)
	}
	for _, w := range q.Spread {
		share := float64(w.Share)
		switch {
		case q.at(w.Engine, w.Place) != nil || q.at(Reference, w.Place) != nil || share <= 0.5:
		case share <= 1:
			lines = append(lines, fmt.Sprintf("checkpoint %d: %s is %.2g of the tolerance away from %s at %s: "+
				"little room for correct engines", w.Checkpoint, w.Engine, share, Reference, w.Place))
		default:
			lines = append(lines, fmt.Sprintf("checkpoint %d: the goldens of %s and %s are %.3g times the tolerance apart at %s, "+
				"and the others do not show which is wrong", w.Checkpoint, w.Engine, Reference, share, w.Place))
		}
	}
	return lines
}

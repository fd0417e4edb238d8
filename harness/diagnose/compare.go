// Package diagnose finds what is wrong with a dump of GPT-2: it compares, replays,
// names causes, certifies tokens, and sets goldens against each other.
package diagnose

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/replay"
	"checkpoint12/harness/weights"
	"checkpoint12/model"
)

// A Comparison is a candidate with a model, goldens, or both to judge it by.
type Comparison struct {
	Schedule  *harness.Schedule
	Model     *model.Model   // nil: only what needs no weights is replayed
	Goldens   []EngineResult // of one case, by engine; their Reports are not read
	Candidate harness.Source
	Cut       harness.Cut    // of the candidate, if otherwise than prompt, then tokens; the goldens then are a harness.Recut
	Rows      []Row          // of Candidate, if its batch is another than the goldens', or padded; else nil
	Precision gpt2.Precision // that the candidate is meant to compute in; needs a Model unless it is float32
	harness.CompareOptions
	Progress func(done, all int) // if set, called with how many stages of all are replayed

	widened   bool     // Schedule has the tolerances of Precision
	notes     []string // on how the candidate was read
	unmatched int      // rows of its batch that no golden was fed

	loaded *weights.Loaded      // nil if the candidate does not say what it loaded
	base   *model.Model         // the Model that was given, if there is loaded
	cost   *harness.WeightsCost // of loaded
}

// A Result is the report on a candidate. Its JSON is that of the compare command.
type Result struct {
	*harness.Report
	Tokens *Tokens `json:"tokens,omitempty"` // nil without a golden
	Quorum *Quorum `json:"quorum,omitempty"` // of several goldens; else nil

	Engines []EngineResult `json:"-"` // the goldens compared
	Judged  []Judged       `json:"-"` // the run or, with Rows, each that was judged
}

// Compare compares the candidate with its goldens. Of several the reference
// decides; where it has nothing to compare, any that is not outvoted fails the
// candidate.
//
// With a model each stage of the candidate is replayed on its own inputs; where the
// candidate diverges from the golden before any stage of its own is wrong, the
// golden is replayed too. Without a model the stages that need no weights are
// replayed for Violations. Without a golden the replay alone is the report.
//
// With Rows each row is judged so, and the Result is of the whole batch: see
// harness.MergeRows.
//
// Weights as loaded that are wrong fail a candidate even where no stage of it can be compared.
//
// An error is harness.Compare's, a ModelError, a GoldenError, or the model's.
func Compare(ctx context.Context, c Comparison) (*Result, error) {
	if err := c.checkModel(); err != nil {
		return nil, err
	}
	asked := c.Precision
	c, narrow, err := c.asStored()
	if err != nil {
		return nil, err
	}
	r, err := compare(ctx, c)
	if errors.Is(err, harness.ErrNothingCompared) && c.loaded != nil {
		r, err = c.weightsAlone(err)
	}
	if err != nil {
		return nil, err
	}
	r.addWeights(c.loaded, c.cost)
	if r.Narrow = narrow; narrow != nil {
		r.Judge()
	}
	if !asked.IsFloat32() {
		r.DType = asked.Name
	}
	return r, nil
}

// compare is Compare but for the weights as loaded.
func compare(ctx context.Context, c Comparison) (*Result, error) {
	c, err := c.Widened(ctx)
	if err != nil {
		return nil, err
	}
	if c.Rows != nil {
		return compareRows(ctx, c)
	}
	r := new(Result)
	var golden harness.Source
	if len(c.Goldens) > 0 {
		if err = r.compareGoldens(c); err == nil {
			golden = r.Engines[0].Source
		}
	}
	if err == nil && c.Model != nil {
		err = c.whileWeightsAgree(ctx, golden, func(ctx context.Context) (err error) {
			if golden == nil {
				r.Report, err = c.withoutGolden(ctx)
				return err
			}
			return c.addReplay(ctx, golden, r.Report)
		})
	}
	if err == nil {
		err = r.findViolations(ctx, c, golden)
	}
	if err == nil {
		r.Accept()
	}
	if err == nil && golden != nil {
		r.Tokens, err = CertifyTokens(r.Report, golden, c.Candidate)
	}
	if err != nil {
		return nil, err
	}
	r.Notes = append(slices.Clone(c.notes), r.Notes...)
	r.Judged = []Judged{{Comparison: c, Report: r.Report, Engines: r.Engines}}
	return r, nil
}

// compareGoldens compares the candidate with each golden. Goldens that have nothing
// in common with the candidate are left out, unless that goes for all.
func (r *Result) compareGoldens(c Comparison) error {
	var nothing error
	for _, g := range c.Goldens {
		err := gpt2.CheckComplete(c.Schedule, harness.Uncut(g.Source))
		if err != nil {
			return &GoldenError{g.Source.Name(), err}
		}
		g.Report, err = harness.Compare(c.Schedule, g.Source, c.Candidate, c.CompareOptions)
		switch {
		case err == nil:
			r.Engines = append(r.Engines, g)
		case !errors.Is(err, harness.ErrNothingCompared):
			return err
		case nothing == nil:
			nothing = err
		}
	}
	if len(r.Engines) == 0 {
		return nothing
	}
	first := r.Engines[0]
	if r.Report = first.Report; len(c.Goldens) == 1 {
		return nil
	}
	var err error
	if r.Quorum, err = NewQuorum(c.Schedule, r.Engines); err != nil {
		return err
	}
	r.Report = r.Quorum.report(c.Schedule, r.Engines)
	r.Match(c.Schedule, c.Candidate, c.CompareOptions.Match)
	r.Golden = fmt.Sprintf("%s (%s)", filepath.Dir(first.Source.Name()), strings.Join(r.Quorum.Engines, ", "))
	return nil
}

// withoutGolden judges a candidate without a golden: each of its stages is replayed
// on its own inputs. The report's rows are the replays, with the rounding bounds
// for tolerances. An error wraps harness.ErrNothingCompared if no stage could be
// judged.
func (c Comparison) withoutGolden(ctx context.Context) (*harness.Report, error) {
	name := c.Candidate.Name()
	report := &harness.Report{
		Schema: 1, Violations: []harness.Violation{}, Unusable: c.Unusable, Unseen: harness.Unseen{Unknown: c.Unknown},
		Bounds: c.Bounds,
		Golden: "the replay by " + c.Model.Name(), Candidate: name,
		Notes: []string{name + ": no golden was compared: each stage is judged on its own inputs alone, " +
			"and no other engine confirms the result"},
	}
	if c.Cut != nil {
		report.Notes = append(report.Notes, fmt.Sprintf("%s: runs %v", name, c.Cut))
	}
	rows, causes, err := c.judge(ctx, nil)
	if err != nil {
		return nil, err
	}
	why := "it holds no stage files"
	for _, p := range rows {
		row := p.Row
		st, _ := c.Schedule.Stage(row.Stage)
		row.Checkpoint, row.Detail = st.Checkpoint, p.Why
		if row.GotShape == nil {
			row.GotShape, _ = c.Candidate.Shape(row.Step, row.Stage)
		}
		if row.Shape == nil {
			row.Shape = row.GotShape
		}
		if row.Status == harness.Skipped {
			why = "no stage could be replayed: " + p.Why
		}
		report.Stages = append(report.Stages, row)
	}
	report.AddReplay(rows, c.replayer(c.Candidate).Reads)
	report.Explanations = causes
	if report.Compared == 0 {
		return nil, fmt.Errorf("%w: %s: %s", harness.ErrNothingCompared, name, why)
	}
	return report, nil
}

// whileWeightsAgree calls judge and meanwhile checks that what is judged was made from
// the model's weights: hashing them takes as long as replaying a few steps.
func (c Comparison) whileWeightsAgree(
	ctx context.Context, golden harness.Source, judge func(context.Context) error,
) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	weights := make(chan error, 1)
	go func() {
		var err error
		if c.loaded == nil { // else it says itself which it used
			err = checkWeights(c.Model, "candidate", c.Candidate)
		}
		if golden != nil {
			err = cmp.Or(checkWeights(c.Model, "golden", golden), err)
		}
		if err != nil {
			cancel()
		}
		weights <- err
	}()
	err := judge(ctx)
	return cmp.Or(<-weights, err)
}

// addReplay adds the replay to a comparison with a golden.
func (c Comparison) addReplay(ctx context.Context, golden harness.Source, report *harness.Report) error {
	rows, causes, err := c.judge(ctx, golden)
	report.AddReplay(rows, c.replayer(c.Candidate).Reads)
	report.Explanations = causes
	if err == nil && goldenInDoubt(c.Schedule, report) {
		o := c.replayOptions(nil)
		o.Cut, o.Bounds = nil, nil
		if r, ok := golden.(*harness.Recut); ok {
			golden, o.Cut = r.Source, r.Own
		}
		report.GoldenReplayed, err = replay.Judge(ctx, c.Schedule, golden, newReplayer(c.Model, golden, gpt2.Float32), o)
	}
	return err
}

// judge replays every stage that the candidate has, and explains those whose own
// computation is wrong.
func (c Comparison) judge(
	ctx context.Context, golden harness.Source,
) ([]harness.Replayed, []harness.Explanation, error) {
	run, err := replay.NewRun(c.Schedule, c.Candidate, c.replayer(c.Candidate), c.replayOptions(golden))
	if err != nil {
		return nil, nil, err
	}
	rows, err := run.Judge(ctx)
	if err != nil {
		return nil, nil, err
	}
	if row, ok := c.Candidate.(*harness.BatchRow); ok {
		for i := range rows {
			if err := row.JudgePadding(&rows[i]); err != nil {
				return nil, nil, err
			}
		}
	}
	x := faults.NewExplainer(c.Model, c.Candidate)
	if err := c.learn(ctx, x, golden, run, rows); err != nil {
		return nil, nil, fmt.Errorf("explain: %w", err)
	}
	causes, err := coverRows(run, rows, func(run *replay.Run, some []harness.Replayed) ([]faults.Cause, error) {
		return x.Explain(ctx, run, rows, some)
	})
	if err != nil {
		return nil, nil, fmt.Errorf("explain: %w", err)
	}
	if p := c.Precision; p.Round != nil {
		causes = x.InNarrowSums(rows, causes, p.Stored, p.Round, p.Unit())
	}
	return rows, causes, nil
}

// replayer returns the Replayer of a source that the model is to judge.
func (c Comparison) replayer(src harness.Source) replay.Replayer {
	return newReplayer(c.Model, src, c.Precision)
}

// newReplayer returns the Replayer of a source, which may be a row of a padded batch.
func newReplayer(m *model.Model, src harness.Source, p gpt2.Precision) replay.Replayer {
	r := gpt2.NewReplayer(m, src, p)
	if row, ok := src.(*harness.BatchRow); ok && row.Padding().Padded {
		return unmasked{Replayer: r, row: row}
	}
	return r
}

// replayOptions returns the options of a replay that a golden may lend its tokens.
func (c Comparison) replayOptions(golden harness.Source) replay.Options {
	return replay.Options{Golden: golden, Prompt: c.Prompt, Cut: c.Cut, Match: c.Match, Bounds: c.Bounds, Progress: c.Progress}
}

// goldenInDoubt reports whether the candidate diverges from the golden before any
// stage of its own is wrong.
func goldenInDoubt(s *harness.Schedule, r *harness.Report) bool {
	if r.FirstDivergence == nil || len(r.Introduced) == 0 {
		return r.FirstDivergence != nil
	}
	first, wrong := *r.FirstDivergence, harness.Place{Step: r.Introduced[0].Step, Stage: r.Introduced[0].Stage}
	return r.Row(first).Origin == harness.OriginInherited && s.Compare(first, wrong) < 0
}

// A ModelError reports that a source is not a run of the model that is to judge it.
type ModelError struct {
	Role  string // of the source: "golden", "candidate"
	Model string // that made it; "" if nothing tells
	Err   error
}

// Source returns the source by its role, and the model that made it if it is known:
// "the golden (gpt2-medium)".
func (e *ModelError) Source() string {
	if e.Model == "" {
		return "the " + e.Role
	}
	return fmt.Sprintf("the %s (%s)", e.Role, e.Model)
}

// Error names the source and the reason.
func (e *ModelError) Error() string { return fmt.Sprintf("not the model of %s: %v", e.Source(), e.Err) }

// Unwrap returns the reason.
func (e *ModelError) Unwrap() error { return e.Err }

// checkModel returns a ModelError if a golden or the candidate is of a model of
// another shape than the one that is to judge it.
func (c Comparison) checkModel() error {
	if c.Model == nil {
		return nil
	}
	sources := []harness.Source{}
	for _, g := range c.Goldens {
		sources = append(sources, g.Source)
	}
	for i, src := range append(sources, c.Candidate) {
		err := gpt2.CheckModel(c.Model, src)
		if err == nil {
			continue
		}
		e := &ModelError{Role: "golden", Err: err}
		if i == len(sources) {
			e.Role = "candidate"
		}
		if man := src.Manifest(); man != nil {
			e.Model = man.Model.Name
		}
		return e
	}
	return nil
}

// checkWeights returns a ModelError if the source, a "golden" or "candidate", was made
// from other weights than the model has, and a GoldenError if the manifest of a golden
// does not tell which made it. One without a manifest is bound to none.
func checkWeights(m *model.Model, role string, src harness.Source) error {
	man := src.Manifest()
	if man == nil || role != "golden" && man.Model.WeightsSHA256 == "" {
		return nil
	}
	sum, err := m.WeightsSHA256()
	if err != nil {
		return fmt.Errorf("hash the weights: %w", err)
	}
	err = man.CheckWeights(m.Name(), sum)
	switch {
	case err == nil:
		return nil
	case man.Model.WeightsSHA256 == "":
		return &GoldenError{src.Name(), err}
	}
	return &ModelError{role, man.Model.Name, fmt.Errorf("%s was %w", src.Name(), err)}
}

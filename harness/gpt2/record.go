package gpt2

import (
	"context"
	"fmt"
	"runtime"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/words"
	"checkpoint12/harness/replay"
	"checkpoint12/model"
)

// A Run describes the tokens to feed a model and the stages to keep.
type Run struct {
	Tokens       [][]int   // the prompt, B rows of equal length
	Mask         [][]int   // of Tokens, 0 where one is padding, else 1; nil is no padding
	New          int       // steps, each choosing a token, at least 1; the last choice is not fed
	Feed         [][]int   // B rows of New-1 ids to feed on decode steps instead of the choices; or nil
	Temperatures []float64 // of the stages probs_t*; nil means [Temperatures], empty none
	Threads      int       // 0 means GOMAXPROCS

	// Cut, if set, is the steps in which Tokens are fed, and New and Feed say nothing. Each
	// begins where the one before ended or, with an empty cache, at the first position.
	Cut harness.Cut

	// Match, if set, reports whether to keep a stage.
	Match func(step int, stage string) bool

	// Tap, if set, is called with each live buffer before it is recorded, and may
	// write to it.
	Tap model.Tap
}

// Record runs the model and returns its stages. The recorder's tokens are the
// prompt, the ids fed after it and the last choice.
func Record(ctx context.Context, m *model.Model, run Run) (*harness.Recorder, error) {
	t, err := RecordTrace(ctx, m, run)
	if err != nil {
		return nil, err
	}
	if n := len(t.Fed); n < run.New && run.Cut == nil {
		return nil, fmt.Errorf("step %d chose no token: its logits are NaN", n-1)
	}
	return t.Recorder, nil
}

// Trace is a recording and the tokens fed.
type Trace struct {
	*harness.Recorder
	Fed []replay.StepDims // of each step that ran; P is the session's position before

	batch int
}

// RecordTrace is Record, but ends early, without an error, at a step that chooses
// nothing, which is for the checkpoints to report.
func RecordTrace(ctx context.Context, m *model.Model, run Run) (*Trace, error) {
	if err := run.Check(); err != nil {
		return nil, err
	}
	if run.Temperatures == nil {
		run.Temperatures = Temperatures
	}
	t := &Trace{Recorder: harness.NewRecorder(harness.RecorderOptions{
		Schedule: Schedule(m.Config().Layers, run.Temperatures), Match: run.Match, Name: "the Go model",
	}), batch: len(run.Tokens)}
	if run.Cut != nil {
		return t, t.recordCut(ctx, m, run)
	}
	prompt := len(run.Tokens[0])
	if n := m.Config().Positions; run.New-1 > n-prompt {
		return nil, fmt.Errorf("%w: a prompt of length %d leaves room for %d more, not %d (n_positions is %d)",
			model.ErrTooLong, prompt, max(0, n-prompt+1), run.New, n)
	}
	session, err := t.session(m, run, prompt+run.New-1)
	if err != nil {
		return nil, err
	}
	var rows [][]int // the prompt, the ids fed after it, and the last choice
	for _, row := range run.Tokens {
		rows = append(rows, slices.Clone(row))
	}
	fed := slices.Concat(run.Tokens...)
	for k := range run.New {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		next, err := t.step(k, session, fed)
		if err != nil {
			return nil, err
		}
		fed = slices.Clone(next)
		for b := range rows {
			if run.Feed != nil && k < run.New-1 {
				fed[b] = run.Feed[b][k]
			}
			rows[b] = append(rows[b], fed[b])
		}
		if slices.Min(fed) < 0 {
			for b := range rows {
				rows[b] = rows[b][:prompt+k]
			}
			break
		}
	}
	t.SetTokens(rows)
	t.setMask(run, len(rows[0]))
	return t, t.Err()
}

// setMask keeps the mask of the run, with ones up to n for what was fed after it.
func (t *Trace) setMask(run Run, n int) {
	var mask [][]int
	for _, row := range run.Mask {
		mask = append(mask, append(slices.Clone(row), slices.Repeat([]int{1}, max(0, n-len(row)))...)[:n])
	}
	t.SetMask(mask)
}

// session returns a session whose stages the trace records.
func (t *Trace) session(m *model.Model, run Run, length int) (*model.Session, error) {
	return m.NewSession(model.SessionOptions{
		Batch: t.batch, Length: length, Temperatures: run.Temperatures, Threads: run.Threads, Mask: run.Mask,
		Tap: func(stage string, shape []int, data []float32) {
			if run.Tap != nil {
				run.Tap(stage, shape, data)
			}
			t.Tap(stage, shape, data)
		},
	})
}

// step feeds a step of the session, all rows one after the other.
func (t *Trace) step(k int, session *model.Session, fed []int) (next []int, err error) {
	t.Step(k)
	t.Fed = append(t.Fed, replay.StepDims{B: t.batch, T: len(fed) / t.batch, P: session.Pos()})
	if next, err = session.Step(fed); err != nil {
		return nil, fmt.Errorf("step %d: %w", k, err)
	}
	return next, nil
}

// recordCut records the run in the steps of its cut.
func (t *Trace) recordCut(ctx context.Context, m *model.Model, run Run) error {
	var session *model.Session
	length := 1 // of what is fed, which the last of the tokens may not be
	for _, span := range run.Cut {
		length = max(length, min(span.End(), len(run.Tokens[0])))
	}
	for k, span := range run.Cut {
		if err := ctx.Err(); err != nil {
			return err
		}
		if session == nil || span.P == 0 {
			var err error
			if session, err = t.session(m, run, length); err != nil {
				return err
			}
		}
		if span.P != session.Pos() || span.End() > len(run.Tokens[0]) {
			return fmt.Errorf("step %d of positions %v does not go on at %d, of %d", k, span, session.Pos(), len(run.Tokens[0]))
		}
		var fed []int
		for _, row := range run.Tokens {
			fed = append(fed, row[span.P:span.End()]...)
		}
		if _, err := t.step(k, session, fed); err != nil {
			return err
		}
	}
	t.SetTokens(run.Tokens)
	t.setMask(run, len(run.Tokens[0]))
	return t.Err()
}

// Check returns an error for a run that cannot be made.
func (r Run) Check() error {
	if len(r.Tokens) == 0 || len(r.Tokens[0]) == 0 {
		return fmt.Errorf("no prompt tokens: give at least one")
	}
	for i, row := range r.Tokens {
		if len(row) != len(r.Tokens[0]) {
			return fmt.Errorf("prompt %d has %s, prompt 0 has %d: a batch needs rows of equal length",
				i, words.Count(len(row), "token"), len(r.Tokens[0]))
		}
	}
	for i, row := range r.Mask {
		if len(r.Mask) != len(r.Tokens) || len(row) != len(r.Tokens[0]) || !slices.Contains(row, 1) {
			return fmt.Errorf("mask: row %d: want the shape of the prompts, and a token in each", i)
		}
	}
	if r.Cut != nil {
		return nil
	}
	if r.New < 1 {
		return fmt.Errorf("%d new tokens: want 1 or more", r.New)
	}
	if r.Feed == nil {
		return nil
	}
	if len(r.Feed) != len(r.Tokens) {
		return fmt.Errorf("%s to feed for a batch of %d", words.Count(len(r.Feed), "row"), len(r.Tokens))
	}
	for i, row := range r.Feed {
		if len(row) != r.New-1 {
			return fmt.Errorf("row %d feeds %s: %d new ones take %d, for the last is never fed",
				i, words.Count(len(row), "token"), r.New, r.New-1)
		}
	}
	return nil
}

// EngineName is the engine in the manifest of a dump of the Go model.
const EngineName = "go"

// Manifest returns the manifest of a dump of the run, without its files. It hashes
// the weights. caseName and prompt may be empty.
func Manifest(m *model.Model, run Run, caseName, prompt string) (harness.Manifest, error) {
	sum, err := m.WeightsSHA256()
	if err != nil {
		return harness.Manifest{}, fmt.Errorf("hash the weights: %w", err)
	}
	temperatures := run.Temperatures
	if temperatures == nil {
		temperatures = Temperatures
	}
	return harness.Manifest{
		Schema: 1,
		Model:  harness.ManifestModel{Name: m.Name(), Config: m.Config().JSON(), WeightsSHA256: sum},
		Case:   caseName, Prompt: prompt, Tokens: run.Tokens, New: run.New, Temperatures: temperatures,
		Engine: harness.Engine{Name: EngineName, Version: runtime.Version(), DType: "float32"},
	}, nil
}

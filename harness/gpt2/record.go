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
	New          int       // steps, each choosing a token, at least 1; the last choice is not fed
	Feed         [][]int   // B rows of New-1 ids to feed on decode steps instead of the choices; or nil
	Temperatures []float64 // of the stages probs_t*; nil means [Temperatures], empty none
	Threads      int       // 0 means GOMAXPROCS

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
	if n := len(t.Fed); n < run.New {
		return nil, fmt.Errorf("step %d chose no token: its logits are NaN", n-1)
	}
	return t.Recorder, nil
}

// Trace is a recording and the tokens fed.
type Trace struct {
	*harness.Recorder
	Fed []replay.StepDims // of each step that ran; P is the session's position before
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
	batch, prompt := len(run.Tokens), len(run.Tokens[0])
	if n := m.Config().Positions; run.New-1 > n-prompt {
		return nil, fmt.Errorf("%w: a prompt of length %d leaves room for %d more, not %d (n_positions is %d)",
			model.ErrTooLong, prompt, max(0, n-prompt+1), run.New, n)
	}
	t := &Trace{Recorder: harness.NewRecorder(harness.RecorderOptions{
		Schedule: Schedule(m.Config().Layers, run.Temperatures), Match: run.Match, Name: "the Go model",
	})}
	session, err := m.NewSession(model.SessionOptions{
		Batch: batch, Length: prompt + run.New - 1, Temperatures: run.Temperatures, Threads: run.Threads,
		Tap: func(stage string, shape []int, data []float32) {
			if run.Tap != nil {
				run.Tap(stage, shape, data)
			}
			t.Tap(stage, shape, data)
		},
	})
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
		t.Step(k)
		t.Fed = append(t.Fed, replay.StepDims{B: batch, T: len(fed) / batch, P: session.Pos()})
		next, err := session.Step(fed)
		if err != nil {
			return nil, fmt.Errorf("step %d: %w", k, err)
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
	return t, t.Err()
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

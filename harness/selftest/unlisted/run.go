package unlisted

import (
	"context"
	"fmt"
	"math"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/internal/names"
	"checkpoint12/harness/selftest/naive"
	"checkpoint12/model"
)

// modules are the stages that hooks on a model's modules give, and the output of its blocks.
var modules = []string{
	"wte", "wpe", "h.*.ln_1", "h.*.attn.c_attn", "h.*.attn.c_proj", "h.*.ln_2", "h.*.mlp.c_fc", "h.*.mlp.act",
	"h.*.mlp.c_proj", "h.*.resid_post", "ln_f", "logits",
}

// isModule reports whether a stage is one of modules.
func isModule(stage string) bool { return slices.Contains(modules, names.Family(stage)) }

// A runner makes and judges runs of one model, on one goroutine.
type runner struct {
	model    *model.Model
	schedule *harness.Schedule
	right    map[string]*harness.Recorder // of a naive engine, by batch and of which stages
}

func newRunner(c model.Config) (*runner, error) {
	m, err := open(c)
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", nameOf(c), err)
	}
	return &runner{m, gpt2.Schedule(c.Layers, nil), map[string]*harness.Recorder{}}, nil
}

// A verdict is what the harness says of a run.
type verdict struct {
	config       model.Config
	planted      []planting
	introduced   []harness.Place
	explanations []harness.Explanation
}

// A planting is a fault of a run.
type planting struct {
	*Fault
	moved  float64         // by how many tolerances it moves a stage at most
	places []harness.Place // that it changes
}

// seen reports whether every fault of the run is outside the tolerance of goldens somewhere,
// or the one that there is is seen by the replay.
func (r *verdict) seen() bool {
	return len(r.planted) == 1 && len(r.introduced) > 0 || !slices.ContainsFunc(r.planted, func(p planting) bool { return p.moved < 1 })
}

// headline returns the first explanation of the first stage that is wrong, as the report's
// first lines have it.
func (r *verdict) headline() string {
	for _, e := range r.explanations {
		if len(r.introduced) > 0 && e.Step == r.introduced[0].Step && e.Stage == r.introduced[0].Stage {
			return e.Text
		}
	}
	return ""
}

// record returns a run in which output, where it is not nil, stands for a stage's.
func (r *runner) record(
	ctx context.Context, batch int, fromModules bool, output func(at harness.Place, c *faults.Context) []float32,
) (*harness.Recorder, error) {
	rows := tokens(r.model.Config(), batch)
	run := gpt2.Run{New: steps, Threads: 1}
	for _, row := range rows {
		run.Tokens, run.Feed = append(run.Tokens, row[:prompt]), append(run.Feed, row[prompt:])
	}
	if fromModules {
		run.Match = func(_ int, stage string) bool { return isModule(stage) }
	}
	planter := faults.Planter{Model: r.model, Plant: output}
	override := &gpt2.Override{Value: planter.Value}
	if output != nil {
		run.Tap = override.Tap
	}
	rec, err := gpt2.Record(ctx, r.model, run)
	if err == nil {
		err = override.Err
	}
	return rec, err
}

// plant makes a run with faults, and judges it.
func (r *runner) plant(ctx context.Context, fromModules bool, planted ...Fault) (*verdict, error) {
	rec, batch, found, err := r.withFaults(ctx, fromModules, planted...)
	if err != nil {
		return nil, err
	}
	return found, r.judge(ctx, rec, batch, fromModules, found)
}

// withFaults makes a run with faults of so many rows.
func (r *runner) withFaults(ctx context.Context, fromModules bool, planted ...Fault) (
	rec *harness.Recorder, batch int, found *verdict, err error,
) {
	found = &verdict{config: r.model.Config()}
	batch = 1
	for i := range planted {
		batch = max(batch, planted[i].Batch)
		found.planted = append(found.planted, planting{Fault: &planted[i]})
	}
	rows := tokens(r.model.Config(), batch)
	rec, err = r.record(ctx, batch, fromModules, func(at harness.Place, c *faults.Context) []float32 {
		for i := range found.planted {
			p := &found.planted[i]
			if !p.At(at.Step, at.Stage) {
				continue
			}
			out := p.Output(newSite(at, c, rows))
			if out == nil {
				return nil
			}
			if by := r.distance(at.Stage, c.Right(), out); by > 0 {
				p.moved = max(p.moved, by)
				p.places = append(p.places, at)
			}
			return out
		}
		return nil
	})
	if err != nil {
		err = fmt.Errorf("%s in %s: %w", planted[0].ID, r.model.Name(), err)
	}
	return rec, batch, found, err
}

// distance returns how far two outputs of a stage are apart, in its tolerances.
func (r *runner) distance(stage string, want, got []float32) (most float64) {
	st, _ := r.schedule.Stage(stage)
	scale := 0.0
	for _, v := range want {
		if v := math.Abs(float64(v)); !math.IsInf(v, 0) {
			scale = max(scale, v)
		}
	}
	for i, v := range want {
		if v != got[i] {
			most = max(most, math.Abs(float64(v)-float64(got[i]))/st.Tolerance.At(scale))
		}
	}
	return most
}

// golden returns the run of a naive engine by which a run is judged.
func (r *runner) golden(ctx context.Context, batch int, fromModules bool) (*harness.Recorder, error) {
	key := fmt.Sprint(batch, fromModules)
	if r.right[key] == nil {
		rec, err := r.engine(ctx, batch, fromModules, naive.Engine{Sum: naive.Pairwise})
		if err != nil {
			return nil, err
		}
		r.right[key] = rec
	}
	return r.right[key], nil
}

// engine returns a run of a right engine.
func (r *runner) engine(ctx context.Context, batch int, fromModules bool, e naive.Engine) (*harness.Recorder, error) {
	return r.record(ctx, batch, fromModules, func(_ harness.Place, c *faults.Context) []float32 { return e.Output(c) })
}

// judge compares a run with the golden and the model, as the compare command does.
func (r *runner) judge(ctx context.Context, candidate harness.Source, batch int, fromModules bool, found *verdict) error {
	golden, err := r.golden(ctx, batch, fromModules)
	if err != nil {
		return err
	}
	c := diagnose.Comparison{
		Schedule: r.schedule, Model: r.model, Candidate: candidate,
		Goldens: []diagnose.EngineResult{{Source: golden, Engine: diagnose.Reference}},
	}
	result, err := diagnose.Compare(ctx, c)
	if err != nil {
		return fmt.Errorf("judge a run of %s: %w", r.model.Name(), err)
	}
	for _, in := range result.Introduced {
		found.introduced = append(found.introduced, harness.Place{Step: in.Step, Stage: in.Stage})
	}
	found.explanations = result.Explanations
	return nil
}

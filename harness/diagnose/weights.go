package diagnose

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/weights"
	"checkpoint12/model"
)

// LoadWeights compares the weights that an engine says it uses with the Model's. If they
// differ, the Model on the weights as loaded takes the Model's place: it replays, and
// View puts runs of it in the place of the goldens, which then say only what the weights
// cost. It is called before View and does nothing for a source without weights.
func (c *Comparison) LoadWeights(src weights.Source) error {
	if len(src.Weights()) == 0 {
		return nil
	}
	if c.Model == nil {
		return fmt.Errorf("%s: holds weights as loaded, which are compared with the model's: give --model and the model that ran",
			src.Name())
	}
	c.base = c.Model
	err := c.Model.Guard(func() (err error) {
		c.loaded, err = weights.Compare(c.base, src)
		return err
	})
	if err == nil {
		c.Model = c.loaded.Model
	}
	return err
}

// Close gives back what the weights as loaded take; not the model that was given.
func (c *Comparison) Close() error {
	if c.loaded == nil {
		return nil
	}
	return c.loaded.Close()
}

// Given returns the model that was given, on its own weights.
func (c *Comparison) Given() *model.Model {
	if c.base != nil {
		return c.base
	}
	return c.Model
}

// weightsAlone returns the result on a candidate of which nothing but the weights as loaded
// was compared, for the given reason: a failure if one is wrong; else what is right is no pass,
// but an error that says so.
func (c Comparison) weightsAlone(nothing error) (*Result, error) {
	r := &Result{Report: &harness.Report{
		Schema: 1, Stages: []harness.Row{}, Introduced: []harness.Introduced{}, Explanations: []harness.Explanation{},
		Violations: []harness.Violation{}, Unusable: c.Unusable, Unseen: harness.Unseen{Unknown: c.Unknown},
		Golden: c.Model.Name(), Candidate: c.Candidate.Name(), Bounds: c.Bounds, Notes: []string{nothing.Error()},
	}}
	if len(c.Goldens) > 0 {
		r.Golden = c.Goldens[0].Source.Name()
	}
	if r.Weights = c.loaded.Differ; r.WrongWeight() != nil {
		return r, nil
	}
	rounded := ""
	if n := len(r.Weights); n > 0 {
		rounded = fmt.Sprintf(", %d of them rounded or quantised, as %s (%s)", n, r.Weights[0].Stage, r.Weights[0].Difference)
	}
	return nil, fmt.Errorf("%w; its weights as loaded are right%s, which alone is no pass", nothing, rounded)
}

// addWeights adds what the weights as loaded are and cost.
func (r *Result) addWeights(l *weights.Loaded, cost *harness.WeightsCost) {
	if l == nil {
		return
	}
	r.Weights, r.Cost = l.Differ, cost
	r.Notes = append(slices.Clone(l.Notes), r.Notes...)
	r.Judge()
}

// A standIn is a run of the model on the weights as loaded, in the place of a golden.
type standIn struct {
	*harness.Recorder
	name     string
	manifest *harness.Manifest // the golden's, of another engine; nil if it has none
}

// Name returns what it is a run of.
func (s *standIn) Name() string { return s.name }

// Manifest returns what binds the golden, or nil.
func (s *standIn) Manifest() *harness.Manifest { return s.manifest }

// standIns puts runs of the model on the weights as loaded in the place of the goldens,
// one for each case, cut as given. Goldens that the candidate was not fed alike stay. It
// adds up what the weights cost, by runs on the goldens' tokens. What the candidate chose or
// was fed itself after the prompt, the runs are fed too; of one that is judged row by row each
// row finds one among those of the case.
func (c *Comparison) standIns(
	ctx context.Context, candidate Folder, rows bool, cuts []harness.Cut,
) (own []harness.Cut, err error) {
	var goldens []EngineResult
	cases := map[string]bool{}
	for i, g := range c.Goldens {
		dir := filepath.Dir(g.Source.Name())
		if cases[dir] {
			continue // of another engine
		}
		cases[dir] = true
		if len(cuts[i]) > 0 && c.fedAlike(g.Source, candidate, cuts[i]) {
			golden, feeds := g.Source, [][][]int{nil} // of the runs: nil is the golden's tokens
			if rows {
				feeds = append(feeds, c.rowChoices(golden, candidate)...)
			} else if fed := ownChoices(golden.Tokens(), candidate.Tokens(), promptOf(golden)); fed != nil {
				feeds = [][][]int{fed}
			}
			err := c.base.Guard(func() error {
				run, err := c.standIn(ctx, golden, golden.Tokens(), cuts[i])
				if err == nil {
					err = c.addCost(golden, run)
				}
				for _, fed := range feeds {
					if g.Source = run; err == nil && fed != nil {
						g.Source, err = c.standIn(ctx, golden, fed, cuts[i])
					}
					goldens, own = append(goldens, g), append(own, cuts[i])
				}
				return err
			})
			if err != nil {
				return nil, err
			}
			continue
		}
		goldens, own = append(goldens, g), append(own, cuts[i])
	}
	c.Goldens = goldens
	return own, nil
}

// fedAlike reports whether a row of the candidate begins with the prompt of one of a
// golden's. Without tokens it may.
func (c *Comparison) fedAlike(golden harness.Source, candidate Folder, cut harness.Cut) bool {
	tokens := candidate.Tokens()
	for b := range tokens {
		fed := harness.NewBatchRow(c.Schedule, candidate, nil, b).Tokens()[0]
		for _, row := range rowsOf(c.Schedule, golden, cut) {
			if matching(row.tokens, fed, promptOf(row.Source)) > 0 {
				return true
			}
		}
	}
	return tokens == nil
}

// ownChoices returns the tokens of a golden with the candidate's in their place, if the two
// begin with the same prompt and go on otherwise; else nil.
func ownChoices(golden, candidate [][]int, prompt int) (fed [][]int) {
	other := false
	for b, row := range golden {
		if len(candidate) != len(golden) || matching(row, candidate[b], prompt) == 0 {
			return nil
		}
		fed = append(fed, slices.Clone(row))
		copy(fed[b], candidate[b])
		other = other || !slices.Equal(fed[b], row)
	}
	if !other {
		return nil
	}
	return fed
}

// rowChoices returns the tokens of a golden with those of the candidate's rows in the place of
// the row that begins with the same prompt, as often as it takes for each row of the candidate
// that goes on otherwise than the golden's.
func (c *Comparison) rowChoices(golden harness.Source, candidate Folder) (feeds [][][]int) {
	tokens, prompt := golden.Tokens(), promptOf(golden)
	if harness.MaskOf(golden) != nil {
		return nil
	}
	for b := range candidate.Tokens() {
		fed := harness.NewBatchRow(c.Schedule, candidate, nil, b).Tokens()[0]
		at, most := 0, 0
		for j, row := range tokens {
			if n := matching(row, fed, prompt); n > most {
				at, most = j, n
			}
		}
		if most == 0 || most == min(len(tokens[at]), len(fed)) {
			continue
		}
		to := slices.IndexFunc(feeds, func(feed [][]int) bool {
			return slices.Equal(feed[at], tokens[at]) || sameStart(feed[at], fed)
		})
		if to < 0 {
			to, feeds = len(feeds), append(feeds, slices.Clone(tokens))
		}
		feeds[to][at] = slices.Clone(tokens[at])
		copy(feeds[to][at], fed)
	}
	return feeds
}

// standIn runs the model as a golden was run, on its tokens or others, and keeps what the
// golden has.
func (c *Comparison) standIn(
	ctx context.Context, golden harness.Source, tokens [][]int, cut harness.Cut,
) (*standIn, error) {
	if tokens == nil {
		return nil, fmt.Errorf("golden %s: has no %s, so that no run on the weights as loaded can stand in for it",
			golden.Name(), harness.TokensFile)
	}
	run := gpt2.Run{Tokens: tokens, Mask: harness.MaskOf(golden), Cut: cut, Temperatures: []float64{}}
	for _, st := range c.Schedule.Stages() {
		if name, _ := model.ParseStage(st.Name); name.Temperature > 0 {
			run.Temperatures = append(run.Temperatures, name.Temperature)
		}
	}
	run.Match = func(step int, stage string) bool {
		_, ok := golden.Shape(step, stage)
		return ok
	}
	rec, err := gpt2.RecordTrace(ctx, c.Model, run)
	if err != nil {
		return nil, fmt.Errorf("run %s on the weights as loaded: %w", c.Model.Name(), err)
	}
	s := &standIn{Recorder: rec.Recorder, name: fmt.Sprintf("a run of %s on the weights as loaded", c.Model.Name())}
	if man := golden.Manifest(); man != nil {
		own := *man
		own.Engine, own.Files = harness.Engine{Name: gpt2.EngineName, DType: "float32"}, nil
		s.manifest = &own
	}
	return s, nil
}

// addCost adds how far a run on the weights as loaded is from the golden.
func (c *Comparison) addCost(golden, run harness.Source) error {
	if c.cost == nil {
		c.cost = &harness.WeightsCost{Golden: golden.Name(), Changed: []harness.Token{}}
	}
	cost, sq := c.cost, float64(c.cost.RMS)*float64(c.cost.RMS)*float64(c.cost.Logits)
	for _, step := range golden.Steps() {
		stage := "logits"
		if _, ok := golden.Shape(step, stage); !ok {
			stage = "logits_last"
		}
		want, got, err := pair(golden, run, step, stage)
		if err != nil {
			return err
		}
		if d := harness.Between(want.F32, got.F32, nil); d.Finite > 0 {
			cost.Logits, sq = cost.Logits+d.Finite, sq+d.SqDiff
			if most := gpt2.MaxDifference(want.F32, got.F32); most > float64(cost.MaxAbs) || cost.Logits == d.Finite {
				cost.MaxAbs, cost.MaxRel, cost.Step = harness.Float(most), harness.Float(most/d.MaxWant), step
			}
		}
		if want, got, err = pair(golden, run, step, "next_token"); err != nil {
			return err
		}
		for b, id := range want.I64 {
			if cost.Tokens++; got.I64[b] != id {
				cost.Changed = append(cost.Changed, harness.Token{Step: step, Row: b, Golden: id, Loaded: got.I64[b]})
			}
		}
	}
	cost.RMS = harness.Float(math.Sqrt(sq / float64(max(cost.Logits, 1))))
	return nil
}

// pair returns a stage of two sources in which it has the same shape; else none.
func pair(a, b harness.Source, step int, stage string) (x, y harness.Tensor, err error) {
	shape, ok := a.Shape(step, stage)
	if other, too := b.Shape(step, stage); !ok || !too || !slices.Equal(shape, other) {
		return x, y, nil
	}
	if x, err = a.Tensor(step, stage); err == nil {
		y, err = b.Tensor(step, stage)
	}
	return x, y, err
}

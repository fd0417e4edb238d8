package verify

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/words"
	"checkpoint12/harness/verify/engine"
	"checkpoint12/harness/verify/figures"
	"checkpoint12/model"
	"checkpoint12/model/tokenizer"
	"checkpoint12/model/zoo"
)

// Case is one prompt of a model with its goldens and figures.
type Case struct {
	Name    string
	Prompt  string           // the text; "" where only tokens are known
	Tokens  [][]int          // the prompt, B rows of equal length
	New     int              // tokens to generate
	Goldens []*Golden        // by engine's name
	Greedy  []figures.Figure // of reduce Text or Tokens, which the run's tokens must be, or begin with

	parts   []*Case     // of a padded case, those whose prompts are its rows; else nil
	right   bool        // padded on the right
	given   engine.Case // what an engine is given of it, once it runs
	outcome *outcome    // once it has run
}

// Suite is a model with all its cases. A case runs when a checkpoint first asks for it;
// its findings are kept. Methods are not for several goroutines at once.
type Suite struct {
	Model *model.Model
	Name  string // as goldens are filed under and reports say
	Cases []*Case

	o         Options
	schedule  *harness.Schedule
	temps     []float64
	tokenizer *tokenizer.Tokenizer

	figures   []figures.Figure
	ofWeights []Finding // once the weights have been compared with the figures
	byFigures []Finding // of checkpoints 1 to 11 with the figures, once they have run
}

// Options configures Open and Verify.
type Options struct {
	Model    string    // NAME or DIR, as zoo.Load takes it
	Goldens  string    // folder with MODEL/CASE/ENGINE; "" is "goldens"
	Command  string    // how the user runs this program, for the commands in reports; "" is "checkpoint12"
	Line     string    // the command line that the user gave it; "" if there is none
	Progress io.Writer // gets a line for each case that is run; nil: none
	Tap      model.Tap // if set, called with each live buffer in every run, to plant faults

	Bounds *harness.Bounds // if set, what is known to deviate

	// Judged, if set, is called with each case that was judged, while its tensors are at hand.
	Judged func(name string, r *diagnose.Result) error

	// Engine, if set, is judged in the place of the Go model, on the cases that have goldens.
	Engine     *engine.Runner
	RequireAll bool           // a stage that an engine's dump lacks fails
	Precision  gpt2.Precision // that the engine is meant to compute in
}

// Open loads a model and finds its goldens and figures, if any, by the model's name or,
// for a folder, by the hash of its weights. The caller closes the suite.
func Open(o Options) (*Suite, error) {
	m, err := zoo.Load(o.Model)
	if err != nil {
		return nil, err
	}
	s, err := open(m, o)
	if err != nil {
		m.Close()
		return nil, err
	}
	return s, nil
}

func open(m *model.Model, o Options) (*Suite, error) {
	o.Goldens, o.Command = cmp.Or(o.Goldens, "goldens"), cmp.Or(o.Command, "checkpoint12")
	s := &Suite{Model: m, Name: m.Name(), o: o, temps: slices.Clone(gpt2.Temperatures)}
	var err error
	if s.tokenizer, err = tokenizer.New(); err != nil {
		return nil, err
	}
	sum, err := m.WeightsSHA256()
	if err != nil {
		return nil, err
	}
	name := s.Name
	if isFolder(o.Model) || strings.ContainsAny(name, `/\`) {
		name = "" // a folder's name says nothing; its weights do
	}
	folders := []string{filepath.Join(o.Goldens, name)}
	if name == "" {
		if folders, err = diagnose.Folders(o.Goldens); err != nil {
			return nil, err
		}
	}
	if s.Cases, err = findGoldens(o.Goldens, folders, name, sum); err != nil {
		return nil, err
	}
	if o.Engine != nil {
		s.Cases = append(s.Cases, paddedCases(s.Cases)...)
	} else {
		if err := s.findFigures(folders, name, sum); err != nil {
			return nil, err
		}
	}
	for _, c := range s.Cases {
		for _, g := range c.Goldens {
			s.temps = append(s.temps, g.manifest.Temperatures...)
		}
	}
	for _, f := range s.figures {
		if st, _ := model.ParseStage(f.Stage); st.Temperature > 0 {
			s.temps = append(s.temps, st.Temperature)
		}
	}
	slices.Sort(s.temps)
	s.temps = slices.Compact(s.temps)
	s.schedule = gpt2.Schedule(m.Config().Layers, s.temps)
	return s, nil
}

// findFigures finds the figures of the model and adds the cases that only they have.
func (s *Suite) findFigures(folders []string, name, sum string) (err error) {
	if s.figures, err = findFigures(folders, name, sum); err != nil {
		return err
	}
	if err := s.addFigures(); err != nil {
		return err
	}
	for _, p := range prompts[name] {
		ids, err := s.tokenizer.Encode(p.text)
		if err != nil {
			return fmt.Errorf("prompt %s: %w", p.name, err)
		}
		s.caseOf(p.name, p.text, ids, 10)
	}
	return nil
}

// prompts, by model, are continued greedily even without goldens: three runs must agree.
var prompts = map[string][]struct{ name, text string }{
	"gpt2-medium": {{"quick-brown", "The quick brown"}, {"once-upon", "Once upon a time"}},
}

// Close lets go of the model, and of the engine's folder.
func (s *Suite) Close() error {
	if s.o.Engine != nil {
		s.o.Engine.Close()
	}
	return s.Model.Close()
}

// Check runs one checkpoint, 1 to 12, [CheckEmbeddings] or [CheckWeights], on every case.
// It returns findings by case, step and stage, then those of figures. None means that
// there is neither golden nor figure, which is not a pass.
func (s *Suite) Check(ctx context.Context, n int) ([]Finding, error) {
	if n < CheckWeights || n > CheckpointCount {
		return nil, fmt.Errorf("there is no checkpoint %d: want 1 to %d", n, CheckpointCount)
	}
	var all []Finding
	for _, c := range s.Cases {
		if n == CheckWeights && s.o.Engine == nil {
			break // the figures alone know the weights
		}
		found, err := s.CheckCase(ctx, c, n)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	figures := func() ([]Finding, error) { return s.checkFigures(ctx, n) }
	if n == CheckWeights {
		figures = s.checkWeights
	}
	found, err := figures()
	if err != nil {
		return nil, err
	}
	return append(all, found...), nil
}

// CheckCase runs one checkpoint on one case, without figures of other runs.
func (s *Suite) CheckCase(ctx context.Context, c *Case, n int) ([]Finding, error) {
	if c.outcome == nil {
		s.say("%s: case %s: %s", s.Name, c.Name, words.Count(c.New, "step"))
		run := s.run
		if s.o.Engine != nil {
			run = s.judge
		}
		var err error
		if c.outcome, err = run(ctx, c); err != nil {
			return nil, err
		}
	}
	return of(n, c.outcome.findings), nil
}

// of returns the findings of checkpoint n.
func of(n int, found []Finding) []Finding {
	return slices.DeleteFunc(slices.Clone(found), func(f Finding) bool { return f.Checkpoint != n })
}

func (s *Suite) say(format string, args ...any) {
	if s.o.Progress != nil {
		fmt.Fprintf(s.o.Progress, format+"\n", args...)
	}
}

// isFolder reports whether the user named a folder that holds a model.
func isFolder(nameOrDir string) bool {
	_, err := os.Stat(filepath.Join(nameOrDir, "config.json"))
	return err == nil
}

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
	"sync"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/words"
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

	temperatures []float64
	mu           sync.Mutex
	stages       *outcome          // checkpoints 1 to 11, once they have run
	text         []Finding         // checkpoint 12, once it has run
	spread       []diagnose.Spread // of the goldens around the reference, once measured
}

// Suite is a model with all its cases. Its methods run a case when a checkpoint
// first asks for it and remember what was found, not the tensors.
type Suite struct {
	Model *model.Model
	Name  string // as goldens are filed under and reports say
	Cases []*Case

	argument  string // the model as the user named it
	command   string // the program as the user runs it
	schedule  *harness.Schedule
	temps     []float64
	tokenizer *tokenizer.Tokenizer
	progress  io.Writer
	tap       model.Tap

	figures []figures.Figure

	mu        sync.Mutex
	ofWeights []Finding // once the weights have been compared with the figures
	byFigures []Finding // of checkpoints 1 to 11 with the figures, once they have run
}

// Options configures Open and Verify.
type Options struct {
	Model    string    // NAME or DIR, as zoo.Load takes it
	Goldens  string    // folder with MODEL/CASE/ENGINE; "" is "goldens"
	Command  string    // how the user runs this program, for the commands in reports; "" is "checkpoint12"
	Progress io.Writer // gets a line for each case that is run; nil: none

	// Tap, if set, is called with each live buffer of the model in every run, and
	// may plant a fault there.
	Tap model.Tap
}

// Open loads a model and finds its goldens and figures: by the model's name or,
// for a folder, by the hash of its weights. It is no error if there are none. The
// caller closes the suite.
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
	if o.Goldens == "" {
		o.Goldens = "goldens"
	}
	s := &Suite{
		Model: m, Name: m.Name(), argument: o.Model, command: cmp.Or(o.Command, "checkpoint12"),
		temps: slices.Clone(gpt2.Temperatures), progress: o.Progress, tap: o.Tap,
	}
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
	if s.Cases, err = findGoldens(o.Goldens, name, sum); err != nil {
		return nil, err
	}
	if s.figures, err = findFigures(o.Goldens, name, sum); err != nil {
		return nil, err
	}
	if err := s.addFigures(); err != nil {
		return nil, err
	}
	if err := s.addPrompts(name); err != nil {
		return nil, err
	}
	for _, c := range s.Cases {
		s.temps = append(s.temps, c.temperatures...)
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

// prompts are continued greedily by models that may have no goldens. Nobody has
// published their continuations: three runs must agree.
var prompts = []struct {
	model, name, prompt string
	new                 int // tokens
}{
	{"gpt2-medium", "quick-brown", "The quick brown", 10},
	{"gpt2-medium", "once-upon", "Once upon a time", 10},
}

// addPrompts makes cases of the prompts that the model has no golden of.
func (s *Suite) addPrompts(name string) error {
	for _, p := range prompts {
		if p.model != name {
			continue
		}
		ids, err := s.tokenizer.Encode(p.prompt)
		if err != nil {
			return fmt.Errorf("prompt %s: %w", p.name, err)
		}
		s.caseOf(p.name, p.prompt, ids, p.new)
	}
	return nil
}

// Close lets go of the model.
func (s *Suite) Close() error { return s.Model.Close() }

// Check runs one checkpoint, 1 to 12, [CheckEmbeddings] or [CheckWeights], on
// every case. It returns the findings in the order of cases, steps and stages, and
// then those of figures. No findings means that there is neither golden nor
// figure, which is not a pass.
func (s *Suite) Check(ctx context.Context, n int) ([]Finding, error) {
	if n == CheckWeights {
		return s.checkWeights()
	}
	if n < 0 || n > CheckpointCount {
		return nil, fmt.Errorf("there is no checkpoint %d: want 1 to %d", n, CheckpointCount)
	}
	var all []Finding
	for _, c := range s.Cases {
		found, err := s.CheckCase(ctx, c, n)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	found, err := s.checkFigures(ctx, n)
	if err != nil {
		return nil, err
	}
	return append(all, found...), nil
}

// CheckCase is Check of one case, without figures of other runs.
func (s *Suite) CheckCase(ctx context.Context, c *Case, n int) ([]Finding, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stages == nil {
		s.say("%s: case %s: %s", s.Name, c.Name, words.Count(c.New, "step"))
		o, err := s.run(ctx, c)
		if err != nil {
			return nil, err
		}
		c.stages = o
	}
	if n < CheckpointCount {
		return slices.DeleteFunc(slices.Clone(c.stages.findings), func(f Finding) bool { return f.Checkpoint != n }), nil
	}
	if c.text == nil {
		s.say("%s: case %s: text", s.Name, c.Name)
		found, err := s.endToEnd(ctx, c, c.stages)
		if err != nil {
			return nil, err
		}
		c.text = found
	}
	return slices.Clone(c.text), nil
}

func (s *Suite) say(format string, args ...any) {
	if s.progress != nil {
		fmt.Fprintf(s.progress, format+"\n", args...)
	}
}

// isFolder reports whether the user named a folder that holds a model.
func isFolder(nameOrDir string) bool {
	_, err := os.Stat(filepath.Join(nameOrDir, "config.json"))
	return err == nil
}

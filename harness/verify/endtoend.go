package verify

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/verify/figures"
	"checkpoint12/model/sample"
)

// The three ways in which checkpoint 12 fails, each with its causes.
var (
	otherText = failure{"other text", []string{
		"start_pos does not advance by what was fed",
		"the cache is not kept, or not read",
		"the token list does not begin with the prompt",
		"the tokenizer does not give back what it took",
		"one of checkpoints 1 to 11",
	}}
	notDeterministic = failure{"not deterministic", []string{
		"temperature is not exactly 0",
		"the seed is not fixed",
		"the order of a sum depends on threads",
		"memory is read before it is written",
	}}
	wrongLength = failure{"wrong length", []string{
		"it ended early, at end-of-text or at a NaN",
		"one iteration too few or too many",
		"the last choice was not appended, or was fed",
	}}
)

type failure struct {
	kind   string
	causes []string
}

// endToEnd is checkpoint 12: the owner's list, each item an assertion of its own.
func (s *Suite) endToEnd(ctx context.Context, c *Case, o *outcome) ([]Finding, error) {
	e := ending{suite: s, c: c, o: o}
	e.positions()
	e.length()
	e.cache()
	e.text()
	if err := e.runs(ctx); err != nil {
		return nil, err
	}
	for _, g := range c.Goldens {
		if err := e.sameAs(g); err != nil {
			return nil, err
		}
	}
	return e.findings, nil
}

// ending gathers the assertions on one case.
type ending struct {
	suite    *Suite
	c        *Case
	o        *outcome
	findings []Finding
}

// assert adds one assertion; it fails when problem is not "".
func (e *ending) assert(engine, name, what string, looked int, kind failure, problem string) *Finding {
	f := Finding{
		Checkpoint: 12, Case: e.c.Name, Engine: engine, Step: e.c.New - 1, Stage: name, What: what, Elements: looked,
	}
	if problem != "" {
		f.Failed, f.Share, f.Detail, f.Kind = true, harness.Float(math.Inf(1)), problem, kind.kind
		f.causes = kind.causes
		f.Closer = e.suite.closer(e.c, nil)
	}
	e.findings = append(e.findings, f)
	return &e.findings[len(e.findings)-1]
}

// positions: start_pos is 0, then advances by what was fed.
func (e *ending) positions() {
	want, problem := 0, ""
	for k, got := range e.o.trace.Starts {
		if got != want && problem == "" {
			problem = fmt.Sprintf("step %d started at position %d, want %d", k, got, want)
		}
		want += len(e.o.trace.Fed[k]) / len(e.c.Tokens)
	}
	e.assert(Self, "start_pos", "0, then on by what was fed", len(e.o.trace.Starts), otherText, problem)
}

// length: the token list begins with the prompt, there were as many iterations
// as new tokens, and the list is as long as prompt and new tokens together.
func (e *ending) length() {
	t, c := e.o.trace, e.c
	prompt, begin, length := len(c.Tokens[0]), "", ""
	for b, row := range t.Rows {
		if len(row) < prompt || !slices.Equal(row[:prompt], c.Tokens[b]) {
			begin = fmt.Sprintf("row %d is %v, the prompt %v", b, row, c.Tokens[b])
		}
		if len(row) != prompt+c.New {
			length = fmt.Sprintf("row %d has %d tokens, want %d and %d new", b, len(row), prompt, c.New)
		}
	}
	e.assert(Self, "prompt", "the token list begins with the prompt", prompt*len(c.Tokens), otherText, begin)
	iterations := ""
	if n := len(t.Chosen); n != c.New {
		iterations = fmt.Sprintf("%d iterations for %d new tokens", n, c.New)
	}
	e.assert(Self, "iterations", fmt.Sprintf("%d iterations", c.New), len(t.Chosen), wrongLength, iterations)
	e.assert(Self, "new_tokens", fmt.Sprintf("%d new tokens, %d in all", c.New, prompt+c.New), c.New*len(c.Tokens), wrongLength, length)
}

// cache: made on the first pass, longer by what was fed on each, read by the
// attention, and never changed once written.
func (e *ending) cache() {
	lengths, layers := e.o.self.lengths, e.suite.Model.Config().Layers
	created, updated, total := "", "", 0
	for k, fed := range e.o.trace.Fed {
		total += len(fed) / len(e.c.Tokens)
		problem := ""
		if n := len(lengths[k]); n != 2*layers {
			problem = fmt.Sprintf("step %d: %d caches, want k and v of %d layers", k, n, layers)
		}
		for _, stage := range sortedKeys(lengths[k]) {
			if n := lengths[k][stage]; n != total && problem == "" {
				problem = fmt.Sprintf("step %d: %s holds %d positions, want %d", k, stage, n, total)
			}
		}
		switch {
		case k == 0:
			created = problem
		case updated == "":
			updated = problem
		}
	}
	e.assert(Self, "cache_created", "the first pass leaves the prompt in every cache", 2*layers, otherText, created)
	e.assert(Self, "cache_updated", "every pass adds what it was fed to every cache", 2*layers*(len(e.o.trace.Fed)-1), otherText, updated)

	var read, kept tally
	for _, f := range e.o.self.findings {
		switch f.Checkpoint {
		case 12:
			read.add(f)
		case 3:
			kept.add(f)
		}
	}
	if e.c.New > 1 {
		if read.n == 0 {
			read.problem = "no decode step read it"
		}
		f := e.assert(Self, "cache_retrieved", "scores and context follow from the cached k and v", read.n, otherText, read.problem)
		f.Share = max(f.Share, read.share)
	}
	e.assert(Self, "cache_uncorrupted", "new rows are own k and v, old rows unchanged, bit for bit", kept.n, otherText, kept.problem)
}

// tally is several findings as one assertion.
type tally struct {
	n       int
	share   harness.Float
	problem string
}

func (t *tally) add(f Finding) {
	t.n++
	t.share = max(t.share, f.Share)
	if f.Failed && t.problem == "" {
		t.problem = fmt.Sprintf("step %d, %s: %s", f.Step, f.Stage, f.Detail)
	}
}

// text: the tokens decode to a text that begins with the prompt, the tokenizer
// gives back what it took, and they are those of the figures.
func (e *ending) text() {
	got, err := e.suite.Text(e.o.trace.Rows)
	problem := ""
	switch {
	case err != nil:
		problem = err.Error()
	case e.c.Prompt != "" && len(got) > 0:
		ids, err := e.suite.tokenizer.Encode(e.c.Prompt)
		switch {
		case err != nil:
			problem = err.Error()
		case !slices.Equal(ids, e.c.Tokens[0]):
			problem = fmt.Sprintf("the prompt %q encodes to %v, the case has %v", e.c.Prompt, ids, e.c.Tokens[0])
		case !strings.HasPrefix(got[0], e.c.Prompt):
			problem = fmt.Sprintf("%q does not begin with the prompt %q", got[0], e.c.Prompt)
		}
	}
	e.assert(Self, "decoded_text", "the text begins with the prompt", len(got), otherText, problem)
	for _, g := range e.c.Greedy {
		e.greedy(g)
	}
}

// greedy: the tokens, as many as the figure has, are the figure's, or their text
// is.
func (e *ending) greedy(g figures.Greedy) {
	name, want, got, problem := "text", strconv.Quote(g.Text), "nothing", ""
	var ids []int
	if len(e.o.trace.Rows) > 0 {
		ids = e.o.trace.Rows[0]
		ids = ids[:min(len(ids), len(e.c.Tokens[0])+g.New)]
	}
	if g.Text == "" {
		name, want, got = "tokens", fmt.Sprint(g.AllTokens), fmt.Sprint(ids)
	} else if text, err := e.suite.tokenizer.Decode(ids); err != nil {
		got = err.Error()
	} else {
		got = strconv.Quote(text)
	}
	if got != want {
		problem = fmt.Sprintf("got  %s\n  want %s", got, want)
	}
	f := e.assert(Figures, name, g.Source, g.New, otherText, problem)
	f.Step, f.Figure, f.Source = g.New-1, "greedy."+g.Name, g.Source
}

// runs: three runs give the same tokens: the recorded one and two without taps.
func (e *ending) runs(ctx context.Context) error {
	var runs [3][][]int
	runs[0] = e.o.trace.Rows
	kind, problem := notDeterministic, ""
	for n := 1; n < 3; n++ {
		for b, prompt := range e.c.Tokens {
			got, err := e.suite.generate(ctx, prompt, e.c.New)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil && problem == "" {
				problem = fmt.Sprintf("run %d, row %d: %v", n+1, b, err)
			}
			runs[n] = append(runs[n], got)
		}
	}
	for b := range e.c.Tokens {
		a, second, third := runs[0][b], runs[1][b], runs[2][b]
		switch {
		case problem != "":
		case !slices.Equal(second, third):
			problem = fmt.Sprintf("row %d: run 2 gave %v, run 3 gave %v", b, second, third)
		case !slices.Equal(a, second):
			kind = otherText
			problem = fmt.Sprintf("row %d: runs 2 and 3 gave %v, the first, tapped and in its batch, %v: "+
				"something is read that was not written, or from another row", b, second, a)
		}
	}
	e.assert(Self, "runs", "three runs give the same tokens", 3*len(e.c.Tokens), kind, problem)
	return nil
}

// generate is one more greedy run of one row, with the planted fault if there is one.
func (s *Suite) generate(ctx context.Context, prompt []int, n int) ([]int, error) {
	if s.tap == nil {
		return sample.Generate(ctx, s.Model, prompt, n, sample.Options{}, nil)
	}
	t, err := gpt2.RecordTrace(ctx, s.Model, gpt2.Run{
		Tokens: [][]int{prompt}, New: n, Temperatures: s.temps, Tap: s.tap, Match: func(int, string) bool { return false },
	})
	if err != nil {
		return nil, err
	}
	return t.Rows[0], nil
}

// sameAs: the tokens are those of an engine that chose its own.
func (e *ending) sameAs(g *Golden) error {
	fed, err := g.fed()
	if err != nil || fed {
		return err
	}
	t, prompt := g.dump.Tokens(), len(e.c.Tokens[0])
	problem, kind := "", otherText
	for b, row := range e.o.trace.Rows {
		want := make([]int, t.Shape[1])
		for i := range want {
			want[i] = int(t.I64[b*len(want)+i])
		}
		n := min(len(row), len(want))
		i := 0
		for i < n && row[i] == want[i] {
			i++
		}
		switch {
		case i < n:
			problem = fmt.Sprintf("row %d: step %d chose %d, %s chose %d%s\n  got  %s\n  want %s",
				b, i-prompt, row[i], g.Engine, want[i], e.tie(g, i-prompt), e.suite.quote(row), e.suite.quote(want))
		case len(row) < len(want):
			problem, kind = fmt.Sprintf("row %d: %d tokens, %s has %d", b, len(row), g.Engine, len(want)), wrongLength
		}
		if problem != "" {
			break
		}
	}
	e.assert(g.Engine, "text", "the same tokens", t.Elements()-len(e.c.Tokens)*prompt, kind, problem)
	return nil
}

// tie is the near tie that checkpoint 10 found there, if it did.
func (e *ending) tie(g *Golden, step int) string {
	for _, f := range e.o.findings {
		if f.Checkpoint == 10 && f.Engine == g.Engine && f.Step == step && strings.HasPrefix(f.Note, diagnose.NearTie) {
			return " (" + f.Note + ")"
		}
	}
	return ""
}

// Text decodes rows of tokens.
func (s *Suite) Text(rows [][]int) ([]string, error) {
	var texts []string
	var errs []error
	for _, row := range rows {
		text, err := s.tokenizer.Decode(row)
		texts, errs = append(texts, text), append(errs, err)
	}
	return texts, errors.Join(errs...)
}

func (s *Suite) quote(row []int) string {
	text, err := s.tokenizer.Decode(row)
	if err != nil {
		return fmt.Sprint(row)
	}
	return fmt.Sprintf("%q", text)
}

// closer is the command that looks closer at a case: it dumps every stage and
// compares the dump with one golden, or with the case's first.
func (s *Suite) closer(c *Case, g *Golden) string {
	var b strings.Builder
	out := "checkpoint12-dump"
	fmt.Fprintf(&b, "go run . dump --model %s", s.argument)
	for _, row := range c.Tokens {
		fmt.Fprintf(&b, " --tokens %s", join(row))
	}
	n := c.New
	if g != nil {
		n = g.manifest.New
	}
	fmt.Fprintf(&b, " --new %d", n)
	if g != nil {
		for _, row := range g.feed() {
			if len(row) > 0 {
				fmt.Fprintf(&b, " --feed %s", join(row))
			}
		}
	} else if len(c.Goldens) > 0 {
		g = c.Goldens[0]
	}
	fmt.Fprintf(&b, " --out %s", out)
	if g != nil {
		fmt.Fprintf(&b, " && go run . compare --golden %s --candidate %s", g.Dir, out)
	}
	return b.String()
}

func join(ids []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(ids), " ", ","), "[]")
}

func sortedKeys(m map[string]int) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

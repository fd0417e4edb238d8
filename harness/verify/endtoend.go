package verify

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/words"
	"checkpoint12/harness/verify/figures"
	"checkpoint12/model/parallel"
	"checkpoint12/model/sample"
)

// endToEnd is checkpoint 12 of one case: a list of assertions.
type endToEnd struct {
	s        *Suite
	c        *Case
	t        *gpt2.Trace
	stages   []Finding // of checkpoints 1 to 11 and of the self-check
	findings []Finding
}

func (s *Suite) endToEnd(ctx context.Context, c *Case, t *gpt2.Trace, stages []Finding) ([]Finding, error) {
	s.say("%s: case %s: text", s.Name, c.Name)
	e := endToEnd{s: s, c: c, t: t, stages: stages}
	e.lists()
	e.cache()
	e.text()
	for i := range c.Greedy {
		e.greedy(&c.Greedy[i])
	}
	if err := e.runs(ctx); err != nil {
		return nil, err
	}
	for _, g := range c.Goldens {
		if !g.fedOther {
			e.sameAs(g)
		}
	}
	return e.findings, nil
}

// assert adds an assertion on n values of the model's own run. It fails unless problem is "".
func (e *endToEnd) assert(name, what string, n int, kind, problem string) {
	e.add(Finding{Engine: Self, Step: e.c.New - 1, Stage: name, What: what, Elements: n}, kind, problem)
}

// add adds an assertion.
func (e *endToEnd) add(f Finding, kind, problem string) {
	f.Checkpoint, f.Case = CheckpointCount, e.c.Name
	if problem != "" {
		f = f.failing("%s", problem)
		f.Kind, f.Closer = kind, e.s.closer(e.c, nil)
	}
	e.findings = append(e.findings, f)
}

// lists asserts that start_pos is 0 and advances by the tokens fed, and that the token
// list is the prompt and the new tokens.
func (e *endToEnd) lists() {
	var start, begin, iterations, length string
	prompt, batch, n, want := len(e.c.Tokens[0]), len(e.c.Tokens), e.c.New, 0
	for k, fed := range e.t.Fed {
		if fed.P != want && start == "" {
			start = fmt.Sprintf("step %d started at position %d, want %d", k, fed.P, want)
		}
		want += fed.T
	}
	for b, row := range e.t.Tokens() {
		if len(row) < prompt || !slices.Equal(row[:prompt], e.c.Tokens[b]) {
			begin = fmt.Sprintf("row %d is %v, the prompt %v", b, row, e.c.Tokens[b])
		}
		if len(row) != prompt+n {
			length = fmt.Sprintf("row %d has %s, want %d and %d new", b, words.Count(len(row), "token"), prompt, n)
		}
	}
	ran := len(e.t.Fed)
	if ran != n {
		iterations = fmt.Sprintf("%s for %s", words.Count(ran, "iteration"), words.Count(n, "new token"))
	}
	e.assert("start_pos", "0, then on by the number of tokens fed", ran, otherText, start)
	e.assert("prompt", "the token list begins with the prompt", prompt*batch, otherText, begin)
	e.assert("iterations", words.Count(n, "iteration"), ran, wrongLength, iterations)
	e.assert("new_tokens", fmt.Sprintf("%s, %d in all",
		words.Count(n, "new token"), prompt+n), n*batch, wrongLength, length)
}

// cache asserts that the cache is made on the first pass, grows by the tokens fed, is
// read by the attention, and never changes once written.
func (e *endToEnd) cache() {
	problems := make([]string, max(1, len(e.t.Fed))) // of each step
	caches, total := 2*e.s.Model.Config().Layers, 0
	for k, fed := range e.t.Fed {
		total += fed.T
		n := 0
		for _, stage := range e.t.Stages(k) {
			if !strings.Contains(stage, ".cache_") {
				continue
			}
			n++
			if shape, _ := e.t.Shape(k, stage); shape[2] != total && problems[k] == "" {
				problems[k] = fmt.Sprintf("step %d: %s holds %s, want %d",
					k, stage, words.Count(shape[2], "position"), total)
			}
		}
		if n != caches {
			problems[k] = fmt.Sprintf("step %d: %s, want k and v of %s",
				k, words.Count(n, "cache"), words.Count(caches/2, "layer"))
		}
	}
	e.assert("cache_created", "the first pass leaves the prompt in every cache", caches, otherText, problems[0])
	e.assert("cache_updated", "every pass adds the tokens fed to every cache", caches*(len(e.t.Fed)-1),
		otherText, cmp.Or(problems[1:]...))
	if e.c.New > 1 {
		e.merge(CheckpointCount, "cache_retrieved",
			"scores and context follow from the cached k and v", "no decode step read it")
	}
	e.merge(3, "cache_uncorrupted", "new rows are own k and v, old rows unchanged, bit for bit", "")
}

// merge makes one assertion of the self-check's findings of a checkpoint; none is the
// problem without any.
func (e *endToEnd) merge(checkpoint int, name, what, none string) {
	f, problem := Finding{Engine: Self, Step: e.c.New - 1, Stage: name, What: what}, ""
	for _, w := range e.stages {
		if w.Engine != Self || w.Checkpoint != checkpoint {
			continue
		}
		f.Elements++
		f.Share = max(f.Share, w.Share)
		f.Accepted = cmp.Or(f.Accepted, w.Accepted)
		if w.Failed && problem == "" {
			problem = fmt.Sprintf("step %d, %s: %s", w.Step, w.Stage, w.Detail)
		}
	}
	if f.Elements == 0 {
		problem = none
	}
	e.add(f, otherText, problem)
}

// text asserts that the text begins with the prompt, and the tokenizer round-trips.
func (e *endToEnd) text() {
	problem := ""
	for b, row := range e.t.Tokens() {
		switch text, err := e.s.tokenizer.Decode(row); {
		case problem != "":
		case err != nil:
			problem = err.Error()
		case b == 0 && !strings.HasPrefix(text, e.c.Prompt):
			problem = fmt.Sprintf("%q does not begin with the prompt %q", text, e.c.Prompt)
		}
	}
	if ids, _ := e.s.tokenizer.Encode(e.c.Prompt); e.c.Prompt != "" && !slices.Equal(ids, e.c.Tokens[0]) {
		problem = fmt.Sprintf("the prompt %q encodes to %v, the case has %v", e.c.Prompt, ids, e.c.Tokens[0])
	}
	e.assert("decoded_text", "the text begins with the prompt", len(e.t.Tokens()), otherText, problem)
}

// greedy asserts that the run begins with the figure's tokens or text.
func (e *endToEnd) greedy(g *figures.Figure) {
	ids := e.t.Tokens()[0][:min(len(e.t.Tokens()[0]), len(e.c.Tokens[0])+g.New)]
	got, want := fmt.Sprint(ids), fmt.Sprint(g.Want.IDs())
	if g.Reduce == figures.Text {
		got, want = e.s.quote(ids), strconv.Quote(g.Want.Text)
	}
	problem := ""
	if got != want {
		problem = fmt.Sprintf("got %s, want %s", got, want)
	}
	e.add(Finding{
		Engine: Figures, Step: g.New - 1, Stage: string(g.Reduce), What: g.Source,
		Elements: g.New, Figure: g.Name, Source: g.Source,
	}, otherText, problem)
}

// runs asserts that two runs without taps give the recorded one's tokens.
func (e *endToEnd) runs(ctx context.Context) error {
	kind, problem := notDeterministic, ""
	again, errs := make([][2][]int, len(e.c.Tokens)), make([][2]error, len(e.c.Tokens))
	run := func(i int) {
		b, n := i/2, i%2
		again[b][n], errs[b][n] = e.s.generate(ctx, e.c.Tokens[b], e.c.New)
	}
	if e.s.o.Tap == nil {
		parallel.For(2*len(again), run)
	} else { // which is called by one run at a time
		for i := range 2 * len(again) {
			run(i)
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for b, again := range again {
		for n, err := range errs[b] {
			if err != nil && problem == "" {
				problem = fmt.Sprintf("run %d, row %d: %v", n+2, b, err)
			}
		}
		switch row := e.t.Tokens()[b]; {
		case problem != "":
		case !slices.Equal(again[0], again[1]):
			problem = fmt.Sprintf("row %d: run 2 gave %v, run 3 gave %v", b, again[0], again[1])
		case !slices.Equal(row, again[0]):
			kind = otherText
			problem = fmt.Sprintf("row %d: runs 2 and 3 gave %v, the first, tapped and in its batch, %v: "+
				"something is read that was not written, or from another row", b, again[0], row)
		}
	}
	e.assert("runs", "three runs give the same tokens", 3*len(e.c.Tokens), kind, problem)
	return nil
}

// generate makes one more greedy run of one row, with the planted fault if any.
func (s *Suite) generate(ctx context.Context, prompt []int, n int) ([]int, error) {
	if s.o.Tap == nil {
		rows, err := sample.Generate(ctx, s.Model, [][]int{prompt}, n, sample.Options{}, nil)
		if err != nil {
			return nil, err
		}
		return rows[0], nil
	}
	t, err := gpt2.RecordTrace(ctx, s.Model, gpt2.Run{
		Tokens: [][]int{prompt}, New: n, Temperatures: []float64{}, Tap: s.o.Tap,
		Match: func(int, string) bool { return false },
	})
	if err != nil {
		return nil, err
	}
	return t.Tokens()[0], nil
}

// sameAs asserts that the tokens are those of an engine that chose its own.
func (e *endToEnd) sameAs(g *Golden) {
	problem, kind, n := "", otherText, 0
	accepted := ""
	for b, want := range g.tokens {
		row := e.t.Tokens()[b]
		n += len(want) - g.prompt()
		i := firstOther(row, want)
		if i >= 0 && i < len(row) {
			accepted = cmp.Or(accepted, e.accepted(g, i-g.prompt()))
		}
		switch {
		case i < 0 || problem != "":
		case i == len(row):
			problem, kind = fmt.Sprintf("row %d: %s, %s has %d",
				b, words.Count(len(row), "token"), g.Engine, len(want)), wrongLength
		default:
			problem = fmt.Sprintf("row %d: step %d chose %d, %s chose %d%s; got %s, want %s",
				b, i-g.prompt(), row[i], g.Engine, want[i], e.tie(g, i-g.prompt()), e.s.quote(row), e.s.quote(want))
		}
	}
	f := Finding{Engine: g.Engine, Step: e.c.New - 1, Stage: "text", What: "the same tokens", Elements: n}
	e.add(f, kind, problem)
	last := &e.findings[len(e.findings)-1]
	*last = last.accept(accepted)
}

// accepted returns why a token is passed over that is not the golden's, or "".
func (e *endToEnd) accepted(g *Golden, step int) string {
	for _, f := range e.stages {
		if f.Stage == "next_token" && f.Engine == g.Engine && f.Step == step {
			return f.Accepted
		}
	}
	return ""
}

// tie returns the near tie that checkpoint 10 found there; "" if there is none.
func (e *endToEnd) tie(g *Golden, step int) string {
	for _, f := range e.stages {
		if f.Checkpoint == 10 && f.Engine == g.Engine && f.Step == step && strings.HasPrefix(f.Note, diagnose.NearTie) {
			return " (" + f.Note + ")"
		}
	}
	return ""
}

// quote returns the text of a row of tokens, or the ids of one that has none.
func (s *Suite) quote(row []int) string {
	text, err := s.tokenizer.Decode(row)
	if err != nil {
		return fmt.Sprint(row)
	}
	return strconv.Quote(text)
}

// closer returns the command that dumps every stage of a case and compares the dump
// with one golden, by default the case's first.
func (s *Suite) closer(c *Case, g *Golden) string {
	run, golden := gpt2.Run{Tokens: c.Tokens, New: c.New}, ""
	if g != nil {
		run.New, run.Feed = g.manifest.New, g.feed()
	} else if len(c.Goldens) > 0 {
		g = c.Goldens[0]
	}
	if g != nil {
		golden = g.Dir
	}
	if s.o.Engine != nil {
		return s.engineCommand(c, g)
	}
	return s.dumpCommand(run, golden)
}

// dumpCommand returns the command that dumps a run and, with a golden, compares the dump
// with it.
func (s *Suite) dumpCommand(run gpt2.Run, golden string) string {
	command := fmt.Sprintf("%s dump --model %s%s --new %d%s --out %s",
		s.o.Command, words.Shell(s.o.Model), flags("--tokens", run.Tokens), run.New, flags("--feed", run.Feed), dumpFolder)
	if golden != "" {
		command += s.thenCompare(golden)
	}
	return command
}

// dumpFolder is where the commands in reports put a dump.
const dumpFolder = "checkpoint12-dump"

// thenCompare returns the end of a command, which compares the dump that it has made.
func (s *Suite) thenCompare(golden string) string {
	args := []string{"compare", "--golden", golden, "--candidate", dumpFolder, "--model", s.o.Model}
	if s.o.Engine != nil && s.o.Precision.Name != "" && !s.o.Precision.IsFloat32() {
		args = append(args, "--dtype", s.o.Precision.Name)
	}
	if s.o.Bounds != nil {
		args = append(args, "--bounds", s.o.Bounds.File)
	}
	return " && " + s.o.Command + " " + words.Shell(args...)
}

// flags returns a flag for each row of ids, as a command line has them.
func flags(name string, rows [][]int) (list string) {
	for _, row := range rows {
		if len(row) > 0 {
			list += " " + name + " " + strings.Trim(strings.ReplaceAll(fmt.Sprint(row), " ", ","), "[]")
		}
	}
	return list
}

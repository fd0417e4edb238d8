package verify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/words"
	"checkpoint12/harness/verify/figures"
	"checkpoint12/model/sample"
)

// The three ways in which checkpoint 12 fails.
var (
	otherText = failureKind{"other text", []string{
		"start_pos does not advance by the number of tokens fed",
		"the cache is not kept, or not read",
		"the token list does not begin with the prompt",
		"the tokenizer does not round-trip",
		"one of checkpoints 1 to 11",
	}}
	notDeterministic = failureKind{"not deterministic", []string{
		"temperature is not exactly 0",
		"the seed is not fixed",
		"the order of a sum depends on threads",
		"memory is read before it is written",
	}}
	wrongLength = failureKind{"wrong length", []string{
		"it ended early, at end-of-text or at a NaN",
		"one iteration too few or too many",
		"the last choice was not appended, or was fed",
	}}
)

type failureKind struct {
	name   string
	causes []string
}

// endToEnd is checkpoint 12 of one case: each item of its list is an assertion of
// its own.
type endToEnd struct {
	suite    *Suite
	c        *Case
	o        *outcome
	findings []Finding
}

func (s *Suite) endToEnd(ctx context.Context, c *Case, o *outcome) ([]Finding, error) {
	e := endToEnd{suite: s, c: c, o: o}
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

// assert adds one assertion of the model's own run, on n values; it fails when
// problem is not "".
func (e *endToEnd) assert(name, what string, n int, kind failureKind, problem string) {
	e.add(Finding{Engine: Self, Step: e.c.New - 1, Stage: name, What: what, Elements: n}, kind, problem)
}

// add adds an assertion.
func (e *endToEnd) add(f Finding, kind failureKind, problem string) {
	f.Checkpoint, f.Case = CheckpointCount, e.c.Name
	if problem != "" {
		f = f.failing("%s", problem)
		f.Kind, f.causes, f.Closer = kind.name, kind.causes, e.suite.closer(e.c, nil)
	}
	e.findings = append(e.findings, f)
}

// positions asserts that start_pos is 0 and advances by the number of tokens fed.
func (e *endToEnd) positions() {
	want, problem := 0, ""
	for k, got := range e.o.trace.Starts {
		if got != want && problem == "" {
			problem = fmt.Sprintf("step %d started at position %d, want %d", k, got, want)
		}
		want += len(e.o.trace.Fed[k]) / len(e.c.Tokens)
	}
	e.assert("start_pos", "0, then on by the number of tokens fed", len(e.o.trace.Starts), otherText, problem)
}

// length asserts that the token list begins with the prompt, that there were as
// many iterations as new tokens, and that the list is as long as prompt and new
// tokens together.
func (e *endToEnd) length() {
	t, c := e.o.trace, e.c
	prompt, begin, length := len(c.Tokens[0]), "", ""
	for b, row := range t.Rows {
		if len(row) < prompt || !slices.Equal(row[:prompt], c.Tokens[b]) {
			begin = fmt.Sprintf("row %d is %v, the prompt %v", b, row, c.Tokens[b])
		}
		if len(row) != prompt+c.New {
			length = fmt.Sprintf("row %d has %s, want %d and %d new", b, words.Count(len(row), "token"), prompt, c.New)
		}
	}
	e.assert("prompt", "the token list begins with the prompt", prompt*len(c.Tokens), otherText, begin)
	iterations := ""
	if n := len(t.Chosen); n != c.New {
		iterations = fmt.Sprintf("%s for %s", words.Count(n, "iteration"), words.Count(c.New, "new token"))
	}
	e.assert("iterations", words.Count(c.New, "iteration"), len(t.Chosen), wrongLength, iterations)
	e.assert("new_tokens", fmt.Sprintf("%s, %d in all", words.Count(c.New, "new token"), prompt+c.New), c.New*len(c.Tokens), wrongLength, length)
}

// cache asserts that the cache is made on the first pass, grows on each by the
// number of tokens fed, is read by the attention, and never changes once written.
func (e *endToEnd) cache() {
	lengths, layers := e.o.self.lengths, e.suite.Model.Config().Layers
	created, updated, total := "", "", 0
	for k, fed := range e.o.trace.Fed {
		total += len(fed) / len(e.c.Tokens)
		problem := ""
		if n := len(lengths[k]); n != 2*layers {
			problem = fmt.Sprintf("step %d: %s, want k and v of %s", k, words.Count(n, "cache"), words.Count(layers, "layer"))
		}
		for _, stage := range slices.Sorted(maps.Keys(lengths[k])) {
			if n := lengths[k][stage]; n != total && problem == "" {
				problem = fmt.Sprintf("step %d: %s holds %s, want %d", k, stage, words.Count(n, "position"), total)
			}
		}
		switch {
		case k == 0:
			created = problem
		case updated == "":
			updated = problem
		}
	}
	e.assert("cache_created", "the first pass leaves the prompt in every cache", 2*layers, otherText, created)
	e.assert("cache_updated", "every pass adds the tokens fed to every cache", 2*layers*(len(e.o.trace.Fed)-1), otherText, updated)

	// merge makes one assertion of the findings of a checkpoint on the single steps.
	merge := func(checkpoint int, name, what, none string) {
		f, problem := Finding{Engine: Self, Step: e.c.New - 1, Stage: name, What: what}, ""
		for _, w := range e.o.self.findings {
			if w.Checkpoint != checkpoint {
				continue
			}
			f.Elements++
			f.Share = max(f.Share, w.Share)
			if w.Failed && problem == "" {
				problem = fmt.Sprintf("step %d, %s: %s", w.Step, w.Stage, w.Detail)
			}
		}
		if f.Elements == 0 {
			problem = none
		}
		e.add(f, otherText, problem)
	}
	if e.c.New > 1 {
		merge(CheckpointCount, "cache_retrieved", "scores and context follow from the cached k and v", "no decode step read it")
	}
	merge(3, "cache_uncorrupted", "new rows are own k and v, old rows unchanged, bit for bit", "")
}

// text asserts that the tokens decode to a text that begins with the prompt, that
// the tokenizer round-trips, and that the tokens are those of the figures.
func (e *endToEnd) text() {
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
	e.assert("decoded_text", "the text begins with the prompt", len(got), otherText, problem)
	for i := range e.c.Greedy {
		e.greedy(&e.c.Greedy[i])
	}
}

// greedy asserts that the tokens, as many as the figure has, are the figure's, or
// their text is.
func (e *endToEnd) greedy(g *figures.Figure) {
	got, want := "nothing", fmt.Sprint(g.Want.IDs())
	var ids []int
	if len(e.o.trace.Rows) > 0 {
		ids = e.o.trace.Rows[0]
		ids = ids[:min(len(ids), len(e.c.Tokens[0])+g.New)]
	}
	if g.Reduce == figures.Tokens {
		got = fmt.Sprint(ids)
	} else {
		want = strconv.Quote(g.Want.Text)
		if text, err := e.suite.tokenizer.Decode(ids); err != nil {
			got = err.Error()
		} else {
			got = strconv.Quote(text)
		}
	}
	problem := ""
	if got != want {
		problem = fmt.Sprintf("got  %s\n  want %s", got, want)
	}
	e.add(Finding{
		Engine: Figures, Step: g.New - 1, Stage: string(g.Reduce), What: g.Source, Elements: g.New, Figure: g.Name, Source: g.Source,
	}, otherText, problem)
}

// runs asserts that three runs give the same tokens: the recorded one and two
// without taps.
func (e *endToEnd) runs(ctx context.Context) error {
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
	e.assert("runs", "three runs give the same tokens", 3*len(e.c.Tokens), kind, problem)
	return nil
}

// generate makes one more greedy run of one row, with the planted fault if there is
// one.
func (s *Suite) generate(ctx context.Context, prompt []int, n int) ([]int, error) {
	if s.tap == nil {
		return sample.Generate(ctx, s.Model, prompt, n, sample.Options{}, nil)
	}
	t, err := gpt2.RecordTrace(ctx, s.Model, gpt2.Run{
		Tokens: [][]int{prompt}, New: n, Temperatures: []float64{}, Tap: s.tap, Match: func(int, string) bool { return false },
	})
	if err != nil {
		return nil, err
	}
	return t.Rows[0], nil
}

// sameAs asserts that the tokens are those of an engine that chose its own.
func (e *endToEnd) sameAs(g *Golden) error {
	forced, err := g.forced()
	if err != nil || forced {
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
			problem, kind = fmt.Sprintf("row %d: %s, %s has %d", b, words.Count(len(row), "token"), g.Engine, len(want)), wrongLength
		}
		if problem != "" {
			break
		}
	}
	e.add(Finding{
		Engine: g.Engine, Step: e.c.New - 1, Stage: "text", What: "the same tokens", Elements: t.Elements() - len(e.c.Tokens)*prompt,
	}, kind, problem)
	return nil
}

// tie returns the near tie that checkpoint 10 found there; "" if there is none.
func (e *endToEnd) tie(g *Golden, step int) string {
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

// closer returns the command that looks closer at a case: it dumps every stage and
// compares the dump with one golden, or with the case's first.
func (s *Suite) closer(c *Case, g *Golden) string {
	var b strings.Builder
	const out = "checkpoint12-dump"
	fmt.Fprintf(&b, "%s dump --model %s", s.command, s.argument)
	for _, row := range c.Tokens {
		fmt.Fprintf(&b, " --tokens %s", join(row))
	}
	n := c.New
	if g != nil {
		n = g.manifest.New
	}
	fmt.Fprintf(&b, " --new %d", n)
	if g != nil {
		for _, row := range g.forcedTokens() {
			if len(row) > 0 {
				fmt.Fprintf(&b, " --feed %s", join(row))
			}
		}
	} else if len(c.Goldens) > 0 {
		g = c.Goldens[0]
	}
	fmt.Fprintf(&b, " --out %s", out)
	if g != nil {
		fmt.Fprintf(&b, " && %s compare --golden %s --candidate %s --model %s", s.command, g.Dir, out, s.argument)
	}
	return b.String()
}

func join(ids []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(ids), " ", ","), "[]")
}

package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/dump"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/maps"
	"checkpoint12/harness/npy"
	"checkpoint12/harness/verify/engine"
	"checkpoint12/model"
	"checkpoint12/model/atomicfile"
	"checkpoint12/model/synthetic"
	"checkpoint12/model/zoo"
)

// outName stands for the folder of a dump, which is gone when the report is read.
const outName = "{out}"

// A CaseError is a case of which an engine's dump could not be judged.
type CaseError struct {
	Case    string   `json:"case"`
	Command string   `json:"command"` // as a shell takes it; where that can be, it runs the case by hand
	Reason  string   `json:"reason"`
	Stderr  []string `json:"stderr"` // its last lines
}

// Error returns the case and the reason, with the last line of stderr.
func (e *CaseError) Error() string {
	return fmt.Sprintf("case %s: %v", e.Case, &engine.Failure{Reason: e.Reason, Stderr: e.Stderr})
}

// judge runs the engine on the case, one case three times, and judges its dump.
func (s *Suite) judge(ctx context.Context, c *Case) (*outcome, error) {
	goldens := slices.Clone(c.Goldens)
	slices.SortStableFunc(goldens, func(a, b *Golden) int { // the reference first
		return strings.Compare(rank(a), rank(b))
	})
	for _, g := range goldens {
		if err := g.open(s); err != nil {
			return nil, err
		}
	}
	dir, in, err := s.engineCase(ctx, c, goldens[0])
	if err != nil {
		return nil, err
	}
	if s.o.Engine.Keep == "" {
		defer os.RemoveAll(dir)
	}
	c.given = in
	var o *outcome
	if err = s.o.Engine.Run(ctx, in); err == nil {
		o, err = s.judgeDump(ctx, c, goldens, in)
	}
	if failure, ok := errors.AsType[*engine.Failure](err); ok {
		failed := &CaseError{
			Case:    c.Name,
			Command: cmp.Or(s.engineCommand(c, goldens[0]), s.o.Engine.Command.String()),
			Reason:  strings.ReplaceAll(failure.Reason, in.Out, outName), Stderr: []string{},
		}
		for _, line := range failure.Stderr {
			failed.Stderr = append(failed.Stderr, strings.ReplaceAll(line, in.Out, outName))
		}
		return &outcome{failure: failed}, nil
	}
	if errors.Is(err, engine.ErrCannotDo) {
		return &outcome{cannotDo: true}, nil
	}
	return o, err
}

// rank orders goldens, the reference first.
func rank(g *Golden) string {
	if g.Engine == diagnose.Reference {
		return ""
	}
	return g.Engine
}

// engineCase returns a new folder and what the engine gets of the case in it: the tokens
// are those of a golden.
func (s *Suite) engineCase(ctx context.Context, c *Case, g *Golden) (dir string, in engine.Case, err error) {
	folder, err := s.o.Engine.Folder()
	if err != nil {
		return "", in, err
	}
	if in.Model, err = s.modelFolder(ctx, folder); err != nil {
		return "", in, err
	}
	dir = filepath.Join(folder, c.Name)
	if err = os.Mkdir(dir, 0o777); err != nil {
		return "", in, err
	}
	rows, ones, prompt := c.feed(g)
	in.Prompt, in.New, in.DType = prompt, len(rows[0])-prompt, cmp.Or(s.o.Precision.Name, gpt2.Float32.Name)
	in.Tokens, in.Mask, in.Out = filepath.Join(dir, "tokens.npy"), filepath.Join(dir, "mask.npy"), filepath.Join(dir, "dump")
	tokens := harness.Tensor{Shape: []int{len(rows), len(rows[0])}}
	mask := tokens
	for b, row := range rows {
		for i, id := range row {
			tokens.I64, mask.I64 = append(tokens.I64, int64(id)), append(mask.I64, int64(ones[b][i]))
		}
	}
	err = errors.Join(writeNPY(in.Tokens, tokens), writeNPY(in.Mask, mask), os.Mkdir(in.Out, 0o777))
	return dir, in, err
}

func writeNPY(path string, t harness.Tensor) error {
	var b strings.Builder
	if err := npy.Write(&b, t); err != nil {
		return err
	}
	return atomicfile.WriteFile(path, []byte(b.String()))
}

// modelFolder returns the absolute path of a folder with the model's files. Those of a
// synthetic one are made below dir.
func (s *Suite) modelFolder(ctx context.Context, dir string) (string, error) {
	if isFolder(s.o.Model) {
		return filepath.Abs(s.o.Model)
	}
	if found, ok, err := zoo.Locate(s.o.Model); err != nil {
		return "", err
	} else if ok {
		return filepath.Abs(found)
	}
	dir = filepath.Join(dir, s.Name)
	if _, err := os.Stat(filepath.Join(dir, "model.safetensors")); err == nil {
		return dir, nil
	}
	s.say("%s: write it for the engine", s.Name)
	return dir, synthetic.Write(ctx, s.Name, dir)
}

// judgeDump judges what the engine wrote for a case. An [engine.Failure] is of the dump.
func (s *Suite) judgeDump(ctx context.Context, c *Case, goldens []*Golden, in engine.Case) (*outcome, error) {
	o := new(outcome)
	j, d, err := s.openEngine(ctx, o, c, goldens, in)
	if err != nil {
		j.Close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, &engine.Failure{Reason: err.Error()}
	}
	defer j.Close()
	j.Progress = func(done, all int) { s.say("%s: case %s: replaying stage %d of %d", s.Name, c.Name, done, all) }
	r, err := s.compareDump(ctx, j)
	if golden, ok := errors.AsType[*diagnose.GoldenError](err); ok {
		return nil, golden
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err == nil {
		err = s.addFindings(o, c, goldens, j, r)
	}
	if err == nil && s.o.Judged != nil {
		if err := s.o.Judged(c.Name, r); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, &engine.Failure{Reason: err.Error()}
	}
	if c.Name == s.repeated() {
		err = s.runAgain(ctx, c, in, d, o)
	}
	for i := range o.notes {
		o.notes[i] = strings.ReplaceAll(o.notes[i], in.Out, outName)
	}
	return o, err
}

// compareDump compares a dump with its goldens. One that has nothing in common with them,
// which a case's need not have, is judged by itself, if there is anything to judge.
func (s *Suite) compareDump(ctx context.Context, j diagnose.Comparison) (*diagnose.Result, error) {
	r, err := diagnose.Compare(ctx, j)
	if !errors.Is(err, harness.ErrNothingCompared) || s.o.RequireAll {
		return r, err
	}
	places := s.schedule.Places(j.Candidate, nil)
	for _, g := range j.Goldens {
		if len(places) == 0 || slices.ContainsFunc(places, func(p harness.Place) bool {
			_, ok := g.Source.Shape(p.Step, p.Stage)
			return ok
		}) {
			return nil, err
		}
	}
	j.Goldens = nil
	if r, err = diagnose.Compare(ctx, j); errors.Is(err, harness.ErrNothingCompared) {
		return &diagnose.Result{Report: new(harness.Report)}, nil
	}
	return r, err
}

// addFindings turns the judgement of a dump into findings.
func (s *Suite) addFindings(o *outcome, c *Case, goldens []*Golden, j diagnose.Comparison, r *diagnose.Result) error {
	o.report, o.quorum = r.Report, r.Quorum
	if err := s.extent(o, c, goldens[0], j.Candidate, j.Cut); err != nil {
		return err
	}
	o.notes = append(o.notes, r.Notes...)
	for _, e := range r.Engines {
		e.Report.AddReplay(r.Replayed, gpt2.NewReplayer(s.Model, nil, gpt2.Float32).Reads)
		e.Report.Explanations, e.Report.Violations = r.Explanations, r.Violations
		e.Report.Weights, e.Report.Cost, e.Report.DType, e.Report.Narrow = r.Weights, r.Cost, r.DType, r.Narrow
		e.Report.AcceptAs(r.Report)
		g := goldens[slices.IndexFunc(goldens, func(g *Golden) bool { return g.Engine == e.Engine })]
		found, err := s.findings(c, g, e.Source, j.Candidate, e.Report)
		if err != nil {
			return err
		}
		for i := range found {
			found[i].overrule(r.Report)
		}
		o.runs = append(o.runs, RunReport{s.Name, c.Name, g.Engine, e.Report})
		o.findings = append(o.findings, found...)
		if j.Model != s.Model {
			chosen, err := onLoaded(c, g, e, j.Candidate)
			if err != nil {
				return err
			}
			if o.choices || c.parts != nil || len(chosen) > 0 && chosen[0].Failed {
				o.findings = append(o.findings, chosen...)
			}
		}
	}
	for _, g := range goldens {
		if c.parts != nil || j.Model != s.Model { // its steps' next_token says it all
			break
		}
		text, err := s.sameChoices(c, g, j.Candidate, j.Cut, r.Report)
		if err != nil {
			return err
		}
		o.findings = append(o.findings, text...)
	}
	o.findings = append(append(o.findings, s.replayed(c, r.Report)...), asLoaded(c, r.Report)...)
	return nil
}

// openEngine opens a dump and the goldens to judge it by.
func (s *Suite) openEngine(
	ctx context.Context, o *outcome, c *Case, goldens []*Golden, in engine.Case,
) (j diagnose.Comparison, d *dump.Dump, err error) {
	if written, err := os.ReadDir(in.Out); err != nil || len(written) == 0 {
		return j, nil, errors.Join(err, errors.New("the engine wrote nothing into "+outName))
	}
	mapping, err := maps.Fitting(in.Out)
	if err != nil {
		return j, nil, err
	}
	asked, err := gpt2.DumpSchedule(s.Model.Config().Layers, gpt2.Folder{Dir: in.Out, Map: mapping})
	if err != nil {
		return j, nil, err
	}
	for _, st := range asked.Stages() {
		if name, _ := model.ParseStage(st.Name); name.Temperature > 0 {
			s.temps = append(s.temps, name.Temperature)
		}
	}
	slices.Sort(s.temps)
	s.temps = slices.Compact(s.temps)
	s.schedule = gpt2.Schedule(s.Model.Config().Layers, s.temps)
	d, hints, notes, err := maps.Open(in.Out, s.schedule, mapping)
	if err != nil {
		return j, nil, err
	}
	if err := maps.CheckKnown(d); err != nil {
		return j, nil, fmt.Errorf("%s: %w: name them as CHECKPOINTS.md does", in.Out, err)
	}
	if mapping != nil {
		notes = append(notes, fmt.Sprintf("%s: names are read by the map %s", in.Out, mapping.Name))
	}
	j = diagnose.Comparison{Schedule: s.schedule, Model: s.Model, Precision: s.o.Precision}
	j.Bounds = s.o.Bounds
	j.RequireAll, j.Unknown = s.o.RequireAll, len(d.Unknown())
	for _, g := range goldens {
		j.Goldens = append(j.Goldens, diagnose.EngineResult{Engine: g.Engine, Source: g.dump})
	}
	if err := j.LoadWeights(d); err != nil {
		return j, nil, err
	}
	config := s.Model.Config()
	run := diagnose.Folder(d)
	if c.parts != nil {
		tokens, mask, _ := c.feed(nil)
		run = fedAs{d, tokens, mask}
	}
	views, err := j.View(ctx, run, hints, &config)
	for _, v := range views {
		notes = append(notes, v.Notes()...)
	}
	o.notes = append(o.notes, notes...)
	if err == nil && c.parts != nil && (len(j.Rows) < len(c.parts) ||
		slices.ContainsFunc(j.Rows, func(r diagnose.Row) bool { return len(r.Goldens) == 0 })) {
		err = fmt.Errorf("%s: its %s and %s have other rows than {tokens} and {mask}", in.Out, harness.TokensFile, harness.MaskFile)
	}
	return j, d, err
}

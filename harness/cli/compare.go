package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"checkpoint12/harness"
	"checkpoint12/harness/faults"
	"checkpoint12/harness/gpt2"
	"checkpoint12/model"
)

type compareOptions struct {
	golden, candidate string
	model             string
	requireAll        bool
	json              string
	verbose           bool
}

func (t *terminal) compareCommand() *cobra.Command {
	var o compareOptions
	c := &cobra.Command{
		Use:   "compare",
		Short: "compare a dump, from any engine in any language, with a golden",
		Long: t.text(`
Compares each stage of the candidate with the golden's, in execution order over
all steps, and names the first one outside its bound. A value passes when

  |got - want| <= abs + rel * max|want|

with the bounds of the twelve checkpoints. The candidate is a folder:

  DIR/tokens.npy             ids [B, prompt + new], int64
  DIR/step_00/STAGE.npy      the prompt, float32
  DIR/step_01/STAGE.npy      the first new token, and so on

It needs no manifest and may hold a subset: what the golden has and it lacks is
listed as missing, and fails only under --require-all. A file whose name is no
stage is named on stderr. A step for which the two were fed different tokens is
skipped. CHECKPOINTS.md lists the stages, README.md shows how to write them.

With --model, the model that both engines ran, each stage is computed again from
the candidate's own inputs to it. That tells a stage whose own computation is
wrong from one that only passes on what was wrong before it, finds all of the
former, also after the tokens went apart, and names the mistake where it is a
known one. Inputs that the candidate lacks are computed from what it has.

Exit status: 0 all within bounds, 1 a divergence was found, 2 it could not be
said (bad usage, a file that cannot be read, nothing to compare).`),
		Example: t.text(`
  {} compare --golden goldens/synthetic-tiny/hello/float64 --candidate my-dump
  {} compare --golden goldens/synthetic-tiny/hello/candle --candidate my-dump --require-all --verbose
  {} compare --golden goldens/synthetic-tiny/hello/float64 --candidate my-dump --model synthetic-tiny
  {} compare --golden their-dump --candidate my-dump --json - | jq .first_divergence`),
	}
	f := c.Flags()
	f.StringVar(&o.golden, "golden", "", "`DIR` with the dump to be right by")
	f.StringVar(&o.candidate, "candidate", "", "`DIR` with the dump to judge")
	f.StringVar(&o.model, "model", "", "replay each stage with this model: a `NAME`, or a folder with config.json and model.safetensors")
	f.BoolVar(&o.requireAll, "require-all", false, "fail when the candidate lacks a stage that the golden has")
	f.StringVar(&o.json, "json", "", "write the report as JSON to `FILE`; - is stdout, which then has nothing else")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "print each stage that was compared")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if o.golden == "" || o.candidate == "" {
			return need(c, "--golden DIR and --candidate DIR")
		}
		return t.compare(c.Context(), o)
	}
	return c
}

func (t *terminal) compare(ctx context.Context, o compareOptions) error {
	out, err := openReport(o.json)
	if err != nil {
		return err
	}
	defer out.discard()
	for _, dir := range []struct{ flag, path string }{{"--golden", o.golden}, {"--candidate", o.candidate}} {
		if err := t.checkDump(dir.flag, dir.path); err != nil {
			return err
		}
	}
	c, err := t.openComparison(ctx, o)
	if err != nil {
		return err
	}
	defer c.close(ctx)
	report, err := t.judge(ctx, c, o)
	if err != nil {
		return err
	}
	t.notes(report.Notes)
	if !out.alone() {
		w := &sticky{w: t.stdout}
		_ = report.WriteText(w, t.textOptions(c, o))
		if w.err != nil {
			return w.err
		}
	}
	if err := out.commit(report, t.stdout); err != nil {
		return err
	}
	if !report.Passed() {
		return errDivergence
	}
	return nil
}

// comparison is what is compared, opened.
type comparison struct {
	schedule          *harness.Schedule
	golden, candidate harness.Source
	model             *model.Model // nil without --model
}

func (c *comparison) close(ctx context.Context) {
	if c.model != nil {
		closeUnless(ctx, c.model)
	}
}

// openComparison opens both dumps, and the model if there is one.
func (t *terminal) openComparison(ctx context.Context, o compareOptions) (_ *comparison, err error) {
	c := &comparison{}
	defer func() {
		if err != nil {
			c.close(ctx)
		}
	}()
	var config *model.Config
	if o.model == "" {
		c.schedule, err = gpt2.DumpSchedule(o.golden, o.candidate)
	} else {
		if c.model, err = wait(ctx, func() (*model.Model, error) { return model.Load(o.model) }); err != nil {
			return nil, err
		}
		cfg := c.model.Config()
		config = &cfg
		c.schedule, err = gpt2.ModelSchedule(c.model, o.golden, o.candidate)
	}
	if err != nil {
		return nil, err
	}
	golden, notes, err := harness.OpenDump(o.golden, c.schedule, harness.OpenOptions{Foreign: true})
	if err != nil {
		return nil, fmt.Errorf("--golden: %w", err)
	}
	if golden.Manifest() == nil {
		t.note("%s: has no %s, so nothing binds it to what made it", o.golden, harness.ManifestFile)
	}
	t.notes(notes)
	candidate, notes, err := harness.OpenDump(o.candidate, c.schedule, harness.OpenOptions{Foreign: true})
	if err != nil {
		return nil, fmt.Errorf("--candidate: %w", err)
	}
	t.notes(notes)
	view, err := gpt2.View(c.schedule, golden, candidate, config)
	if err != nil {
		return nil, fmt.Errorf("--candidate: %w", err)
	}
	c.golden, c.candidate = golden, view
	return c, nil
}

// judge compares and, where there is a model, replays and explains.
func (t *terminal) judge(ctx context.Context, c *comparison, o compareOptions) (*harness.Report, error) {
	options := harness.CompareOptions{RequireAll: o.requireAll}
	if c.model == nil {
		return harness.Compare(c.schedule, c.golden, c.candidate, options)
	}
	progress := t.progress()
	defer progress.clear()
	return wait(ctx, func() (*harness.Report, error) {
		return gpt2.Diagnose(ctx, c.schedule, c.model, c.golden, c.candidate, gpt2.DiagnoseOptions{
			CompareOptions: options, Explain: faults.Explain,
			Progress: func(done, all int) { progress.step("replaying stage", done, all) },
		})
	})
}

// textOptions says how the report is written.
func (t *terminal) textOptions(c *comparison, o compareOptions) harness.TextOptions {
	return harness.TextOptions{
		Color: colour(t.stdout), Verbose: o.verbose,
		Causes: func(stage string) []string {
			s, _ := c.schedule.Stage(stage)
			return gpt2.Describe(s.Checkpoint).Causes
		},
		Closer: func(int, string) string {
			command := fmt.Sprintf("%s compare --golden %s --candidate %s", t.program, quote(o.golden), quote(o.candidate))
			switch man := c.golden.Manifest(); {
			case o.model != "" && o.verbose:
				return ""
			case o.model != "":
				return command + " --model " + quote(o.model) + " --verbose"
			case man != nil && man.Model.Name != "":
				return command + " --model " + quote(man.Model.Name)
			}
			return command + " --model MODEL"
		},
	}
}

// checkDump says what is wrong with the folder of a flag, where the reason is
// one that the flag's user can have made.
func (t *terminal) checkDump(flag, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		if info, e := os.Stat(dir); e == nil && !info.IsDir() {
			return fmt.Errorf("%s %s: is a file; want the folder of a dump", flag, dir)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return &hinted{fmt.Errorf("%s %s: no such folder", flag, dir), "ls " + quote(existing(dir))}
		}
		return fmt.Errorf("%s %s: %w", flag, dir, cause(err))
	}
	var dumps, tensors []string
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(dir, e.Name(), harness.ManifestFile)); err == nil {
			dumps = append(dumps, e.Name())
		}
		if filepath.Ext(e.Name()) == ".npy" && e.Name() != "tokens.npy" {
			tensors = append(tensors, e.Name())
		}
	}
	steps, _ := filepath.Glob(filepath.Join(dir, "step_*"))
	switch {
	case len(steps) > 0:
	case len(dumps) > 0:
		return fmt.Errorf("%s %s: is a folder of dumps, %s: choose one", flag, dir, strings.Join(dumps, ", "))
	case len(tensors) > 0:
		return fmt.Errorf("%s %s: %s and the other tensors of the prompt belong in %s",
			flag, dir, tensors[0], filepath.Join(dir, "step_00"))
	}
	return nil
}

// existing is the nearest folder above dir that is there.
func existing(dir string) string {
	for {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "."
		}
		dir = parent
	}
}

// quote makes s one word of a shell's command line.
func quote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:,@%+") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

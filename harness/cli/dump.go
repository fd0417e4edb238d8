package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"checkpoint12/harness"
	"checkpoint12/harness/dump"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/names"
	"checkpoint12/harness/internal/words"
	"checkpoint12/model"
	"checkpoint12/model/tokenizer"
	"checkpoint12/model/zoo"
)

// dumpOptions holds the flags of dump.
type dumpOptions struct {
	gpt2.Run
	model   string
	prompts []string
	stages  []string
	out     string
}

func (a *app) dumpCommand() *cobra.Command {
	var o dumpOptions
	c := &cobra.Command{
		Use:   "dump",
		Short: "write every tensor between the stages of the Go model as .npy files",
		Long: a.text(`
Runs the Go GPT-2 on a prompt, then --new tokens greedily, and writes every stage
of every step into a folder that "compare" reads, with a manifest of what made it.

N new tokens are N steps: the last one is chosen and never fed. --prompt or
--tokens, repeated, make a batch; shorter rows are padded on the left with id 0, and
attention_mask.npy says where.
--feed gives the tokens to feed after the prompt in place of the model's own choice,
so that two engines stay comparable after a near tie.

The folder is whole or absent, whatever ends the run: what is left beside it, hidden,
the next run removes. Only an empty folder, or another dump of the Go model with
nothing else in it, is ever replaced.`),
		Example: a.text(`
  {} dump --model synthetic-tiny --prompt "Hello." --new 10 --out my-dump
  {} dump --model synthetic-tiny --tokens 15496,13 --new 3 --feed 11,50 --out my-dump
  {} dump --model gpt2 --tokens 464,2068 --tokens 7454,2402 --new 1 --out my-batch
  {} dump --model gpt2 --prompt "Hello." --new 1 --stages 'h.3.*' --out my-block`),
	}
	f := c.Flags()
	f.StringVar(&o.model, "model", "", modelHelp)
	f.StringArrayVar(&o.prompts, "prompt", nil, "prompt as `TEXT`; repeated, a batch")
	f.Func("tokens", "prompt as token `IDS`, such as 15496,13; repeated, a batch", row(&o.Tokens))
	f.IntVar(&o.New, "new", 0, "choose `N` new tokens, at least 1")
	f.Func("feed", "feed these N-1 `IDS` after the prompt; once for each row", row(&o.Feed))
	f.Float64SliceVar(&o.Temperatures, "temperatures", nil, "write probs_t… for each temperature in `LIST`")
	f.Lookup("temperatures").DefValue = "0.5,1,2"
	f.StringArrayVar(&o.stages, "stages", nil,
		"only stages that match `PATTERN`, where * matches anything; repeated, any of them")
	f.StringVar(&o.out, "out", "", "write to `DIR`")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := o.check(c); err != nil {
			return err
		}
		return a.dump(c.Context(), o)
	}
	return c
}

// row returns a flag's function that adds a row, "1,2,3", to a batch.
func row(rows *[][]int) func(string) error {
	return func(s string) error {
		var row []int
		for field := range strings.SplitSeq(s, ",") {
			field = strings.TrimSpace(field)
			id, err := strconv.ParseInt(field, 10, 32)
			if err != nil || id < 0 {
				return fmt.Errorf("%q is not a token id (write ids with commas between them, such as 15496,13)", field)
			}
			row = append(row, int(id))
		}
		*rows = append(*rows, row)
		return nil
	}
}

// check completes the run and checks the flags, as far as no model is needed.
func (o *dumpOptions) check(c *cobra.Command) error {
	if err := need(c, "model", "new", "out"); err != nil {
		return err
	}
	switch {
	case (len(o.prompts) > 0) == (len(o.Tokens) > 0):
		return usage(c, "dump: give either --prompt TEXT or --tokens IDS, and not both")
	case slices.Contains(o.stages, ""):
		return errors.New("--stages: an empty pattern matches no stage")
	}
	for i, t := range o.Temperatures {
		if !(t > 0) || math.IsInf(t, 0) || slices.Contains(o.Temperatures[:i], t) {
			return fmt.Errorf("--temperatures: %v: want numbers above 0, none of them twice", t)
		}
	}
	for _, text := range o.prompts {
		tokenizer, err := tokenizer.New()
		if err != nil {
			return err
		}
		ids, err := tokenizer.Encode(text)
		if err != nil {
			return fmt.Errorf("--prompt: %w", err)
		}
		o.Tokens = append(o.Tokens, ids)
	}
	o.Tokens, o.Mask = model.Pad(o.Tokens, 0, false)
	if err := o.Run.Check(); err != nil {
		return err
	}
	out, err1 := filepath.Abs(o.out)
	here, err2 := filepath.Abs(".")
	if in, err := filepath.Rel(out, here); errors.Join(err1, err2, err) == nil && filepath.IsLocal(in) {
		return fmt.Errorf("--out %s: is the folder that this runs in, or above it: name another", o.out)
	}
	if err := dump.Replaceable(o.out, gpt2.EngineName); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	return nil
}

// wanted reports whether --stages names a stage.
func (o *dumpOptions) wanted(stage string) bool {
	return len(o.stages) == 0 || slices.ContainsFunc(o.stages, func(p string) bool { return names.Match(p, stage) })
}

// dump runs the model and writes each stage as it is computed.
func (a *app) dump(ctx context.Context, o dumpOptions) error {
	m, err := zoo.Load(o.model)
	if err != nil {
		return err
	}
	defer func() {
		if ctx.Err() == nil { // else the computation goes on behind and reads the weights
			m.Close()
		}
	}()
	schedule := gpt2.Schedule(m.Config().Layers, o.Temperatures)
	for _, p := range o.stages {
		if !slices.ContainsFunc(schedule.Stages(), func(s harness.Stage) bool { return names.Match(p, s.Name) }) {
			return fmt.Errorf("--stages %s: matches no stage of %s", p, m.Name())
		}
	}
	w, err := dump.Create(o.out)
	if err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	var mu sync.Mutex // of w
	defer func() {
		mu.Lock() // for good: at an interrupt the model still runs
		w.Abort()
	}()
	p := a.progress()
	step, files, bytes := -1, 0, 0
	o.Match = func(int, string) bool { return false } // the tap writes what the recorder need not keep
	o.Tap = func(stage string, shape []int, data []float32) {
		if i, _ := schedule.Index(stage); i == 0 {
			step++
			fmt.Fprintf(p, "step %d of %d", step+1, o.New)
		}
		if o.wanted(stage) {
			mu.Lock()
			defer mu.Unlock()
			s, _ := schedule.Stage(stage)
			w.Put(step, stage, tensor(s, shape, data)) // Commit returns the error
			files, bytes = files+1, bytes+4*len(data)
		}
	}
	var recorder *harness.Recorder
	err = wait(ctx, func() error {
		return m.Guard(func() (err error) {
			recorder, err = gpt2.Record(ctx, m, o.Run)
			return err
		})
	})
	p.clear()
	if err != nil {
		return err
	}
	manifest, err := o.manifest(m, schedule)
	if err != nil {
		return err
	}
	if err := w.Commit(recorder.Tokens(), harness.MaskOf(recorder), manifest); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	return a.print("%s: %s, %s, %.1f MB\n",
		o.out, words.Count(o.New, "step"), words.Count(files, "tensor"), float64(bytes)/1e6)
}

// tensor returns a stage's live buffer, of ids a copy.
func tensor(s harness.Stage, shape []int, data []float32) harness.Tensor {
	if !s.IDs {
		return harness.Tensor{Shape: shape, F32: data}
	}
	ids := make([]int64, len(data))
	for i, v := range data {
		ids[i] = int64(v)
	}
	return harness.Tensor{Shape: shape, I64: ids}
}

// manifest returns the manifest of the run, without its files.
func (o *dumpOptions) manifest(m *model.Model, schedule *harness.Schedule) (harness.Manifest, error) {
	prompt := ""
	if len(o.prompts) == 1 {
		prompt = o.prompts[0]
	}
	manifest, err := gpt2.Manifest(m, o.Run, "", prompt)
	for _, s := range schedule.Stages() {
		if !o.wanted(s.Name) {
			left := harness.LeftOut{Stages: s.Name, Steps: "all", Reason: "not among --stages"}
			manifest.LeftOut = append(manifest.LeftOut, left)
		}
	}
	return manifest, err
}

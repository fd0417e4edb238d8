package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"checkpoint12/harness"
	"checkpoint12/harness/dump"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/words"
	"checkpoint12/model/tokenizer"
	"checkpoint12/model/zoo"
)

// dumpOptions holds the flags of dump.
type dumpOptions struct {
	model   string
	prompts []string
	tokens  rows
	feed    rows
	new     int
	temps   temperatures
	stages  []string
	out     string
}

func (a *app) dumpCommand() *cobra.Command {
	o := dumpOptions{temps: temperatures{0.5, 1, 2}}
	c := &cobra.Command{
		Use:   "dump",
		Short: "write every tensor between the stages of the Go model as .npy files",
		Long: a.text(`
Runs the Go GPT-2 on a prompt, then --new tokens greedily, and writes every
stage of every step:

  DIR/manifest.json          what made it
  DIR/tokens.npy             the prompt and the new tokens
  DIR/step_00/STAGE.npy      the prompt
  DIR/step_01/STAGE.npy      the first new token, and so on

N new tokens are N steps: the last one is chosen and never fed. --prompt or
--tokens, repeated, make a batch, whose rows must have as many tokens as each
other. --feed, once for each row, gives the steps after the first these tokens
instead of the model's own choice, so that two engines remain comparable after a
near tie.

The folder is whole or absent: an interrupt leaves nothing half-written. Only an
empty folder or another dump of the Go model is ever replaced.`),
		Example: a.text(`
  {} dump --model synthetic-tiny --prompt "Hello." --new 10 --out my-dump
  {} dump --model synthetic-tiny --tokens 15496,13 --new 3 --feed 11,50 --out my-dump
  {} dump --model gpt2 --tokens 464,2068 --tokens 7454,2402 --new 1 --out my-batch
  {} dump --model gpt2 --prompt "Hello." --new 1 --stages 'h.3.*' --out my-block`),
	}
	f := c.Flags()
	f.StringVar(&o.model, "model", "", "`NAME` of a model, or a folder with config.json and model.safetensors")
	f.StringArrayVar(&o.prompts, "prompt", nil, "prompt as `TEXT`; repeated, a batch")
	f.Var(&o.tokens, "tokens", "prompt as token ids, such as 15496,13; repeated, a batch")
	f.IntVar(&o.new, "new", 0, "how many tokens to choose, `N`, at least 1")
	f.Var(&o.feed, "feed", "the N-1 ids to feed after the prompt; once for each row")
	f.Var(&o.temps, "temperatures", "temperatures of the stages probs_t…")
	f.StringArrayVar(&o.stages, "stages", nil, "only stages that match `PATTERN`, where * matches anything; repeated, any of them")
	f.StringVar(&o.out, "out", "", "`DIR` to write")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := o.check(c); err != nil {
			return err
		}
		if err := replacesOwn(o.out); err != nil {
			return err
		}
		return a.dump(c.Context(), o)
	}
	return c
}

// replacesOwn returns an error for a folder that holds another engine's dump: a golden, or
// what somebody wants to compare.
func replacesOwn(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	man, err := dump.ReadManifest(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("--out: %s is not empty and has no %s that says the Go model wrote it: choose another folder", dir, dump.ManifestFile)
	}
	if err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	if man.Engine.Name != gpt2.EngineName {
		return fmt.Errorf("--out: %s holds a dump of engine %q, which is not replaced: choose another folder", dir, man.Engine.Name)
	}
	return nil
}

// check returns an error for flags that are wrong whatever the model.
func (o *dumpOptions) check(c *cobra.Command) error {
	switch {
	case o.model == "":
		return need(c, "--model NAME or DIR")
	case len(o.prompts) == 0 && len(o.tokens) == 0:
		return need(c, "--prompt TEXT or --tokens IDS")
	case len(o.prompts) > 0 && len(o.tokens) > 0:
		return errors.New("--prompt and --tokens are two ways to say the same: give one of them")
	case o.new < 1:
		return need(c, "--new N of at least 1")
	case o.out == "":
		return need(c, "--out DIR")
	}
	for _, p := range o.stages {
		if p == "" {
			return errors.New("--stages: an empty pattern matches no stage")
		}
	}
	return nil
}

// rows returns the prompts as token ids: a batch of the right shape.
func (o *dumpOptions) rows() ([][]int, error) {
	prompt, flag := [][]int(o.tokens), "--tokens"
	if len(o.prompts) > 0 {
		flag = "--prompt"
		tokenizer, err := tokenizer.New()
		if err != nil {
			return nil, err
		}
		for _, text := range o.prompts {
			ids, err := tokenizer.Encode(text)
			if err != nil {
				return nil, fmt.Errorf("--prompt: %w", err)
			}
			if len(ids) == 0 {
				return nil, errors.New("--prompt: the text is empty")
			}
			prompt = append(prompt, ids)
		}
	}
	if err := equalRows(flag, prompt); err != nil {
		return nil, err
	}
	if len(o.feed) == 0 {
		return prompt, nil
	}
	if len(o.feed) != len(prompt) {
		return nil, fmt.Errorf("--feed: want one for each row of the batch, %d, got %d", len(prompt), len(o.feed))
	}
	for i, row := range o.feed {
		if len(row) != o.new-1 {
			return nil, fmt.Errorf("--feed: want %s, one less than --new %d since the last choice is never fed; row %d has %d",
				words.Count(o.new-1, "id"), o.new, i+1, len(row))
		}
	}
	return prompt, nil
}

// dump runs the model and writes each stage as it is computed, so that memory
// does not grow with the size of the dump.
func (a *app) dump(ctx context.Context, o dumpOptions) error {
	prompt, err := o.rows()
	if err != nil {
		return err
	}
	m, err := zoo.Load(o.model)
	if err != nil {
		return err
	}
	defer closeUnless(ctx, m)
	w, err := newDumpTap(ctx, m, o)
	if err != nil {
		return err
	}
	defer w.abort()
	run := gpt2.Run{Tokens: prompt, New: o.new, Feed: o.feed, Temperatures: o.temps, Tap: w.tap, Match: w.match}
	done := a.progress()
	w.each = func(step int) { done.step("step", step+1, o.new) }
	recorder, err := wait(ctx, func() (*harness.Recorder, error) { return gpt2.Record(ctx, m, run) })
	done.clear()
	if err != nil {
		return err
	}
	manifest, err := gpt2.Manifest(m, run, "", "")
	if err != nil {
		return err
	}
	if len(o.prompts) == 1 {
		manifest.Prompt = o.prompts[0]
	}
	files, bytes, err := w.commit(recorder.Tokens(), manifest)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "%s: %s, %s, %s\n", o.out, words.Count(o.new, "step"), words.Count(files, "tensor"), size(bytes))
	return err
}

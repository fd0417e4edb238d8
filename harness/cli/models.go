package cli

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"checkpoint12/harness/internal/words"
	"checkpoint12/harness/report"
	"checkpoint12/model"
	"checkpoint12/model/hub"
	"checkpoint12/model/sample"
	"checkpoint12/model/synthetic"
	"checkpoint12/model/tokenizer"
	"checkpoint12/model/zoo"
)

func (a *app) fetchCommand() *cobra.Command {
	var revision string
	c := &cobra.Command{
		Use:   "fetch NAME",
		Short: "download a model from the Hugging Face hub",
		Long: a.text(`
Downloads config.json and the safetensors of NAME into the cache that Python's
huggingface_hub keeps, where every --model NAME finds them, and prints each weight
file with its SHA-256. NAME is gpt2, gpt2-medium, gpt2-large or gpt2-xl (0.5, 1.5,
3.2 and 6.4 GB), each at the commit that published figures refer to, or owner/name
of any GPT-2 on the hub.

A file appears only when it is whole and has the hash that the hub gives for it. A
download that was cut off resumes where it ended when the same command is run
again. Pickled weights (pytorch_model.bin) are programs and are never downloaded.

The environment variables are huggingface_hub's: HF_HOME and HF_HUB_CACHE place the
cache, HF_ENDPOINT is the hub's address, HF_TOKEN (or the file of "hf auth login")
gives access to gated models, and HF_HUB_OFFLINE=1 keeps off the network.`),
		Example: a.text(`
  {} fetch gpt2-medium
  {} fetch distilbert/distilgpt2 --revision main
  HF_HOME=/data/hf {} fetch gpt2-xl`),
		Args: oneName,
	}
	c.Flags().StringVar(&revision, "revision", "",
		"fetch `REV`, a branch, a tag or a commit (default: the commit of the figures, or main)")
	c.RunE = func(c *cobra.Command, args []string) error {
		return a.fetch(c.Context(), args[0], revision)
	}
	return c
}

func (a *app) fetch(ctx context.Context, name, revision string) error {
	repo, commit, err := zoo.Source(name)
	if err != nil {
		return err
	}
	if revision == "" {
		revision = commit
	}
	client, err := hub.New()
	if err != nil {
		return err
	}
	p := a.progress()
	client.Progress = download(p)
	client.Note = func(message string) {
		p.clear()
		a.note("%s", message)
	}
	snapshot, err := client.Fetch(ctx, hub.Request{Repo: repo, Revision: revision, Check: func(config []byte) error {
		_, err := model.ParseConfig(config)
		return err
	}})
	p.clear()
	if err != nil {
		if ctx.Err() != nil {
			a.note("what was downloaded is kept, and the same command resumes from there")
		}
		return err
	}
	for _, f := range snapshot.Files {
		if filepath.Ext(f.Name) != ".safetensors" {
			continue
		}
		if err := a.printWeights(name, filepath.Join(snapshot.Dir, f.Name), f.SHA256); err != nil {
			return err
		}
	}
	if dir, ok, err := zoo.Locate(name); err == nil && ok && dir != snapshot.Dir {
		a.note("--model %s is %s, not the folder just fetched: to use that, give --model %s", name, dir, snapshot.Dir)
	}
	return nil
}

// printWeights prints the place of a weight file and, if it is known, its hash.
func (a *app) printWeights(name, path, sum string) error {
	if sum != "" {
		sum = "sha256 " + sum
	}
	return a.print("%s: %s  %s\n", name, path, report.Unbroken(sum))
}

// download shows on p how much of a file is there, the rate, and the time left.
func download(p *progress) func(file string, done, total int64) {
	var last string
	var began time.Time
	var from int64 // what was there when it began has no rate
	return func(file string, done, total int64) {
		if file != last || done < from {
			last, began, from = file, time.Now(), done
		}
		rate := float64(done-from) / time.Since(began).Seconds()
		left := "unknown time"
		if rate >= 1 {
			left = (time.Duration(float64(total-done)/rate) * time.Second).String()
		}
		fmt.Fprintf(p, "%s: %.1f of %.1f MB, %.1f MB/s, %s left",
			file, float64(done)/1e6, float64(total)/1e6, rate/1e6, left)
	}
}

func (a *app) synthCommand() *cobra.Command {
	var out string
	names := strings.Join(synthetic.Names(), ", ")
	c := &cobra.Command{
		Use:   "synth NAME",
		Short: "write a synthetic model, so that any engine can load it",
		Long: a.text(`
Writes the synthetic model NAME as config.json and model.safetensors, in Hugging
Face layout. No weights are shipped: a synthetic model is a formula, from which every
machine makes the same bytes. NAME is one of: `) + names + `.

Each file is whole or absent: an interrupt leaves neither.`,
		Example: a.text(`
  {} synth synthetic-tiny --out my-tiny
  {} synth synthetic-medium --out my-medium     # 1.4 GB`),
		Args: oneName,
	}
	c.Flags().StringVar(&out, "out", "", "write to `DIR`")
	c.RunE = func(c *cobra.Command, args []string) error {
		name := args[0]
		if !slices.Contains(synthetic.Names(), name) {
			return usage(c, "there is no synthetic model %q, only %s", name, names)
		}
		if err := need(c, "out"); err != nil {
			return err
		}
		p := a.progress()
		fmt.Fprintln(p, "making", name)
		err := synthetic.Write(c.Context(), name, out)
		p.clear()
		if err == nil {
			err = a.printWeights(name, filepath.Join(out, "model.safetensors"), synthetic.SHA256(name))
		}
		return err
	}
	return c
}

func (a *app) generateCommand() *cobra.Command {
	var name string
	var prompts []string
	var n int
	s := sample.Options{TopP: 1}
	c := &cobra.Command{
		Use:   "generate",
		Short: "continue a text, printing the tokens as they come",
		Long: a.text(`
Prints the prompt and the model's continuation on stdout, token by token. At
temperature 0 each token is the one with the highest logit (the lowest id on a
tie). Above 0 tokens are drawn from the softmax of logits / temperature, cut to
the --top-k likeliest tokens and to the smallest set whose probabilities reach
--top-p; the same --seed draws the same text. A synthetic model prints noise.

--prompt, repeated, makes a batch, padded on the left: each text is printed by itself,
one after the other.`),
		Example: a.text(`
  {} generate --model gpt2-medium --prompt "Hello." --new 10
  {} generate --model gpt2 --prompt "Once upon a time" --new 40 \
    --temperature 0.8 --top-k 40 --seed 7`),
	}
	f := c.Flags()
	f.StringVar(&name, "model", "", modelHelp)
	f.StringArrayVar(&prompts, "prompt", nil, "`TEXT` to continue; repeated, a batch")
	f.IntVar(&n, "new", 0, "add `N` tokens")
	f.Float64Var(&s.Temperature, "temperature", 0, "sample at temperature `T`; 0 always takes the likeliest token")
	f.IntVar(&s.TopK, "top-k", 0, "draw from the `K` likeliest tokens; 0 is all")
	f.Float64Var(&s.TopP, "top-p", 1, "draw from the likeliest tokens whose probabilities add up to `P`")
	f.Uint64Var(&s.Seed, "seed", 0, "seed the random numbers with `S`")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := need(c, "model", "prompt", "new"); err != nil {
			return err
		}
		return a.generate(c.Context(), name, prompts, n, s)
	}
	return c
}

// printTokens prints text as it is but, on a terminal, with all but its lines' ends visible, and
// to the log of GitHub Actions by whole lines, none of which is a command.
func (a *app) printTokens(text string) error {
	if inActions() && !isFile(a.stdout.w) {
		a.unprinted += text
		end := strings.LastIndexAny(a.unprinted, "\r\n") + 1
		text, a.unprinted = inertLines(a.unprinted[:end]), a.unprinted[end:]
	}
	if isTerminal(a.stdout.w) {
		lines := strings.Split(text, "\n")
		for i := range lines {
			lines[i] = words.Visible(lines[i])
		}
		text = strings.Join(lines, "\n")
	}
	_, err := io.WriteString(a.stdout, text)
	return err
}

// inertLines returns lines, each of which ends, without commands.
func inertLines(text string) string {
	var out strings.Builder
	for text != "" {
		end := strings.IndexAny(text, "\r\n") + 1
		out.WriteString(report.Inert(text[:end]))
		text = text[end:]
	}
	return out.String()
}

func (a *app) generate(ctx context.Context, name string, prompts []string, n int, s sample.Options) error {
	if _, err := sample.New(s); err != nil {
		return err
	}
	return wait(ctx, func() error {
		tok, err := tokenizer.New()
		if err != nil {
			return err
		}
		var ids [][]int
		for _, prompt := range prompts {
			row, err := tok.Encode(prompt)
			if err != nil {
				return err
			}
			ids = append(ids, row)
		}
		m, err := zoo.Load(name)
		if err != nil {
			return err
		}
		defer m.Close()
		texts := slices.Clone(prompts) // not yet printed: the first's is with its first token
		streams := make([]*tokenizer.Stream, len(ids))
		for b := range streams {
			streams[b] = tok.Stream()
		}
		err = m.Guard(func() error {
			_, err := sample.Generate(ctx, m, ids, n, s, func(b, id int) error {
				more, err := streams[b].Push(id)
				if texts[b] += more; b == 0 && err == nil {
					err = a.printTokens(texts[b])
					texts[b] = ""
				}
				return err
			})
			return err
		})
		for b := range texts {
			if err == nil {
				err = a.printTokens(texts[b] + streams[b].Flush() + "\n")
			}
		}
		if a.unprinted != "" { // after an error
			io.WriteString(a.stdout, report.Inert(a.unprinted))
		}
		return err
	})
}

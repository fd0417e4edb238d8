package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"checkpoint12/model/sample"
	"checkpoint12/model/tokenizer"
	"checkpoint12/model/zoo"
)

func (a *app) generateCommand() *cobra.Command {
	var name, prompt string
	var n int
	s := sample.Options{TopP: 1}
	c := &cobra.Command{
		Use:   "generate",
		Short: "continue a text, printing the tokens as they come",
		Long: a.text(`
Prints the prompt and the model's continuation on stdout, token by token. At
temperature 0, the default, each token is the one with the highest logit (the
lowest id on a tie), so every run prints the same text. Above 0 tokens are drawn
from the softmax of logits / temperature, cut to the --top-k likeliest tokens
and to the smallest set whose probabilities reach --top-p; the same --seed draws
the same text.

A synthetic model prints noise: its weights are a formula, and it has learned
nothing.`),
		Example: a.text(`
  {} generate --model gpt2-medium --prompt "Hello." --new 10
  {} generate --model gpt2 --prompt "Once upon a time" --new 40 --temperature 0.8 --top-k 40 --seed 7`),
	}
	f := c.Flags()
	f.StringVar(&name, "model", "", "`NAME` of a model, or a folder with config.json and model.safetensors")
	f.StringVar(&prompt, "prompt", "", "`TEXT` to continue")
	f.IntVar(&n, "new", 0, "how many tokens to add, `N`")
	f.Float64Var(&s.Temperature, "temperature", 0, "`T`; 0 always takes the likeliest token")
	f.IntVar(&s.TopK, "top-k", 0, "draw from the `K` likeliest tokens; 0 is all")
	f.Float64Var(&s.TopP, "top-p", 1, "draw from the likeliest tokens whose probabilities add up to `P`")
	f.Uint64Var(&s.Seed, "seed", 0, "`S` of the random numbers")
	c.RunE = func(c *cobra.Command, _ []string) error {
		switch {
		case name == "":
			return need(c, "--model NAME or DIR")
		case prompt == "":
			return need(c, "--prompt TEXT")
		case n < 1:
			return need(c, "--new N of at least 1")
		}
		return a.generate(c.Context(), name, prompt, n, s)
	}
	return c
}

func (a *app) generate(ctx context.Context, name, prompt string, n int, s sample.Options) error {
	if _, err := sample.New(s); err != nil {
		return err
	}
	return wait(ctx, func() error {
		tokenizer, err := tokenizer.New()
		if err != nil {
			return err
		}
		ids, err := tokenizer.Encode(prompt)
		if err != nil {
			return err
		}
		m, err := zoo.Load(name)
		if err != nil {
			return err
		}
		defer m.Close()
		stream := tokenizer.Stream()
		before := prompt // printed with the first token: the model has taken it
		_, err = sample.Generate(ctx, m, ids, n, s, func(id int) error {
			text, err := stream.Push(id)
			if err == nil {
				_, err = fmt.Fprint(a.stdout, before+text)
				before = ""
			}
			return err
		})
		if err == nil {
			_, err = fmt.Fprintln(a.stdout, stream.Flush())
		}
		return err
	})
}

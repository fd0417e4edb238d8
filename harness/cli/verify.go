package cli

import (
	"io"

	"github.com/spf13/cobra"

	"checkpoint12/harness/report"
	"checkpoint12/harness/verify"
)

func (a *app) verifyCommand() *cobra.Command {
	o := verify.Options{Command: a.program}
	var verbose bool
	c := &cobra.Command{
		Use:   "verify",
		Short: "run the twelve checkpoints of the Go model against its goldens and figures",
		Long: a.text(`
Runs the Go GPT-2 on every case for which there are goldens of the model, and
compares each stage with each engine's golden, in the order of the checkpoints:

   1 LayerNorm            5 attention output     9 last-position logits
   2 QKV                  6 feed-forward        10 argmax
   3 KV cache             7 first block         11 softmax
   4 attention scores     8 all layers, logits  12 end to end

A checkpoint for which nothing was compared is "not checked", never passed; the
report then has the command that makes the missing goldens.

The released models are checked by published figures too: the weights first, so
that a wrong file is named before any stage is blamed, then 8 to 12. --verbose
prints each figure, with its source.

Goldens and figures are found by the model's name or, for a folder, by the SHA-256
of its weights. Without --goldens they are those in the folder goldens here or above.

Exit status: 0 all passed, 1 a divergence was found, 2 nothing could be judged (bad
usage or input, no weights, nothing to check by).`),
		Example: a.text(`
  {} verify
  {} verify --model gpt2-medium
  {} verify --model path/to/folder --json report.json
  {} verify --json - | jq '.checkpoints[] | select(.verdict == "fail")'`),
	}
	f := c.Flags()
	f.StringVar(&o.Model, "model", "synthetic-tiny", "`NAME` of a model, or a folder with config.json and model.safetensors")
	f.StringVar(&o.Goldens, "goldens", goldensFolder, "`DIR` with the goldens, MODEL/CASE/ENGINE")
	f.BoolVarP(&verbose, "verbose", "v", false, "print each stage that was compared")
	a.judges(c, func(c *cobra.Command, p *progress) (*judgement, error) {
		var err error
		if o.Goldens, err = a.findGoldens(c); err != nil {
			return nil, err
		}
		o.Progress = p
		r, err := verify.Verify(c.Context(), o)
		if err != nil {
			return nil, err
		}
		return &judgement{r, !r.Failed(), func(w io.Writer, s report.Style) error {
			return r.WriteText(w, verify.TextOptions{Style: s, Verbose: verbose})
		}}, nil
	})
	return c
}

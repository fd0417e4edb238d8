package cli

import (
	"github.com/spf13/cobra"

	"checkpoint12/harness/verify"
)

func (a *app) verifyCommand() *cobra.Command {
	var model, goldens, jsonPath string
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
	f.StringVar(&model, "model", "synthetic-tiny", "`NAME` of a model, or a folder with config.json and model.safetensors")
	f.StringVar(&goldens, "goldens", goldensFolder, "`DIR` with the goldens, MODEL/CASE/ENGINE")
	f.StringVar(&jsonPath, "json", "", "write the report as JSON to `FILE`; - is stdout, which then has nothing else")
	f.BoolVarP(&verbose, "verbose", "v", false, "print each stage that was compared")
	c.RunE = func(c *cobra.Command, _ []string) error {
		out, err := openJSON(jsonPath)
		if err != nil {
			return err
		}
		defer out.discard()
		if goldens, err = a.findGoldens(c); err != nil {
			return err
		}
		progress := a.progress()
		report, err := wait(c.Context(), func() (*verify.Report, error) {
			return verify.Verify(c.Context(), verify.Options{Model: model, Goldens: goldens, Command: a.program, Progress: progress})
		})
		progress.clear()
		if err != nil {
			return err
		}
		return out.finish(a.stdout, report, !report.Failed(), func() error {
			return report.WriteText(a.stdout, verify.TextOptions{Style: style(a.stdout), Verbose: verbose})
		})
	}
	return c
}

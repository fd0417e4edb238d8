package cli

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"checkpoint12/model/synthetic"
)

func (a *app) synthCommand() *cobra.Command {
	var out string
	names := strings.Join(synthetic.Names(), ", ")
	c := &cobra.Command{
		Use:   "synth NAME",
		Short: "write a synthetic model, so that any engine can load it",
		Long: a.text(`
Writes the synthetic model NAME as config.json and model.safetensors, in Hugging
Face layout. No weights are shipped: a synthetic model is a formula, and every
machine makes the same bytes of it. NAME is one of: `) + names + `.

Each file is whole or absent: an interrupt leaves nothing half-written.`,
		Example: a.text(`
  {} synth synthetic-tiny --out my-tiny
  {} synth synthetic-medium --out my-medium     # 1.4 GB`),
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return need(c, "one NAME ("+names+")")
			}
			return nil
		},
	}
	c.Flags().StringVar(&out, "out", "", "`DIR` to write")
	c.RunE = func(c *cobra.Command, args []string) error {
		name := args[0]
		if !slices.Contains(synthetic.Names(), name) {
			return a.hint(fmt.Errorf("there is no synthetic model %q, only %s", name, names), "synth --help")
		}
		if out == "" {
			return need(c, "--out DIR")
		}
		done := a.progress()
		done.say("making " + name)
		err := synthetic.Write(c.Context(), name, out)
		done.clear()
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.stdout, "%s: %s  sha256 %s\n", name, filepath.Join(out, "model.safetensors"), synthetic.SHA256(name))
		return err
	}
	return c
}

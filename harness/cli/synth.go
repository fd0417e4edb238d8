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
		Args: cobra.ArbitraryArgs,
	}
	c.Flags().StringVar(&out, "out", "", "`DIR` to write")
	c.RunE = func(c *cobra.Command, args []string) error {
		switch {
		case len(args) != 1:
			return need(c, "one NAME ("+names+")")
		case !slices.Contains(synthetic.Names(), args[0]):
			return usage(c, "there is no synthetic model %q, only %s", args[0], names)
		case out == "":
			return need(c, "--out DIR")
		}
		name := args[0]
		p := a.progress()
		fmt.Fprintln(p, "making", name)
		err := synthetic.Write(c.Context(), name, out)
		p.clear()
		if err == nil {
			_, err = fmt.Fprintf(a.stdout, "%s: %s  sha256 %s\n", name, filepath.Join(out, "model.safetensors"), synthetic.SHA256(name))
		}
		return err
	}
	return c
}

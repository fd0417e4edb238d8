package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"checkpoint12/model"
	"checkpoint12/model/hub"
	"checkpoint12/model/zoo"
)

func (a *app) fetchCommand() *cobra.Command {
	var revision string
	c := &cobra.Command{
		Use:   "fetch NAME",
		Short: "download a model from the Hugging Face hub",
		Long: a.text(`
Downloads config.json and the safetensors of NAME into the cache that Python's
huggingface_hub keeps, where every --model NAME finds them. NAME is gpt2,
gpt2-medium, gpt2-large or gpt2-xl (0.5, 1.5, 3.2 and 6.4 GB), each at the commit
that published figures refer to, or owner/name of any GPT-2 on the hub.

A file is visible only when it is whole and has the hash that the hub names for
it. Files that huggingface_hub has fetched are used as they are; a download that was
cut or interrupted goes on where it ended when the same command is run again. Weights as pickles
(pytorch_model.bin) are programs and are never downloaded.

The variables are huggingface_hub's: HF_HOME and HF_HUB_CACHE are the place of the
cache, HF_ENDPOINT that of the hub, HF_TOKEN (or the file of "hf auth login") is for
gated models, HF_HUB_OFFLINE=1 never asks the network.

Prints each weight file with its SHA-256.`),
		Example: a.text(`
  {} fetch gpt2-medium
  {} fetch distilbert/distilgpt2 --revision main
  HF_HOME=/data/hf {} fetch gpt2-xl`),
		Args: cobra.ArbitraryArgs,
	}
	c.Flags().StringVar(&revision, "revision", "", "a branch, a tag or a commit, `REV`; else the commit of the figures, or main")
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) != 1 {
			return need(c, "one NAME, such as gpt2-medium,")
		}
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
	bars := &bars{app: a}
	client.Progress, client.Note = bars.set, bars.note
	snapshot, err := client.Fetch(ctx, hub.Request{Repo: repo, Revision: revision, Check: func(config []byte) error {
		_, err := model.ParseConfig(config)
		return err
	}})
	bars.end()
	if err != nil {
		if ctx.Err() != nil && bars.file != "" {
			a.note("what has come is kept, and the same command goes on from there")
		}
		return err
	}
	for _, w := range snapshot.Weights() {
		sum := ""
		if w.SHA256 != "" {
			sum = "  sha256 " + w.SHA256
		}
		if _, err := fmt.Fprintf(a.stdout, "%s: %s%s\n", name, filepath.Join(snapshot.Dir, w.Name), sum); err != nil {
			return err
		}
	}
	if dir, ok, err := zoo.Locate(name); err == nil && ok && dir != snapshot.Dir {
		a.note("--model %s is %s, not the folder just fetched: to use that, give --model %s", name, dir, snapshot.Dir)
	}
	return nil
}

// bars shows how files come in, one after the other: what has come, the rate and the
// time left; where stderr is no terminal it shows nothing.
type bars struct {
	app  *app
	file string        // the one that comes, or came last
	all  *mpb.Progress // nil: no terminal, or no file yet
	bar  *mpb.Bar      // of file
	at   time.Time     // when bar was last moved
}

// set shows that done of total bytes of a file are there.
func (b *bars) set(file string, done, total int64) {
	before := b.file
	b.file = file
	if !isTerminal(b.app.stderr) {
		return
	}
	if b.all == nil {
		b.all = mpb.New(mpb.WithOutput(b.app.stderr), mpb.WithWidth(100))
	}
	now := time.Now()
	switch {
	case file != before || b.bar.Completed() && done < total: // the first time, or all over again
		b.bar = b.all.AddBar(total,
			mpb.PrependDecorators(decor.Name(file+" "), decor.Counters(decor.SizeB1000(0), "% .1f of % .1f")),
			mpb.AppendDecorators(
				decor.EwmaSpeed(decor.SizeB1000(0), "% .1f", 0), decor.Name("  "),
				decor.OnComplete(decor.EwmaETA(decor.ET_STYLE_GO, 0, decor.WCSyncWidth), "done"),
			))
		b.bar.SetRefill(done)
		b.bar.SetCurrent(done) // what was there before has no rate
	case done < b.bar.Current(): // from the start
		b.bar.SetCurrent(done)
	case done < total && now.Sub(b.at) < 100*time.Millisecond:
		return
	default:
		b.bar.EwmaSetCurrent(done, now.Sub(b.at))
	}
	b.at = now
}

// note prints a note above the bars.
func (b *bars) note(message string) {
	above := app{stderr: b.app.stderr}
	if b.all != nil {
		above.stderr = b.all
	}
	above.note("%s", message)
}

// end leaves the bars as they are. A file that is not whole has one that stops.
func (b *bars) end() {
	if b.all != nil {
		b.bar.Abort(false)
		b.all.Wait()
	}
}

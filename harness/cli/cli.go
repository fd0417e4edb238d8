// Package cli is the command line: it reads flags, calls the packages that do
// the work, and turns their answers into text, JSON and an exit status.
//
// Results go to stdout; notes, errors and progress go to stderr. An error is one
// lower-case line and, where one command would help, a hint line that is it.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"checkpoint12/harness/report"
	"checkpoint12/model/memory"
)

// Exit statuses of the binary. "go run ." turns every one but 0 into 1.
const (
	StatusPass        = 0   // everything compared is within tolerance
	StatusDivergence  = 1   // a divergence was found, and the report says where
	StatusError       = 2   // bad usage, bad input, or something needed is not there
	StatusInterrupted = 130 // as a shell has it of a program that an interrupt ended
)

// modelHelp is the help of --model.
const modelHelp = "`NAME` of a model, or a folder with config.json and model.safetensors"

// errDivergence ends a command whose report, already written, has the verdict fail.
var errDivergence = errors.New("a divergence was found")

// Main runs one command line, args without the program's name, and returns the
// exit status. An interrupt, also one by the end of the terminal or of what reads
// stdout, ends the command with StatusInterrupted and leaves no half-written file; a
// second one ends the process at once.
func Main(args []string, stdout, stderr io.Writer) int {
	a := &app{program: programName(), args: args, stdout: &output{w: stdout}, stderr: stderr}
	if err := memory.CheckLimit(); err != nil { // first, since what follows starts threads
		a.fail(err)
		return StatusError
	}
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}
	ends = slices.DeleteFunc(ends, signal.Ignored) // as nohup has it
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	defer stop()
	context.AfterFunc(ctx, stop)
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE) // so that it is an error of the write
	defer signal.Stop(pipe)

	err := a.root(args).ExecuteContext(ctx)
	switch {
	case err == nil:
		return StatusPass
	case errors.Is(err, errDivergence):
		return StatusDivergence
	case errors.Is(err, syscall.EPIPE): // nobody reads on
		return StatusInterrupted
	case ctx.Err() != nil:
		a.fail(errors.New("interrupted"))
		return StatusInterrupted
	}
	a.fail(err)
	a.annotate(err)
	return StatusError
}

// An app holds the program's name, arguments and output for all commands.
type app struct {
	program string   // as the person typed it: "go run ." or "checkpoint12"
	args    []string // without the program
	again   []string // of these, of a command that judges, what overwrites no report
	stdout  *output

	unprinted string // of a text in a log, the begin of a line
	told      bool   // annotations have been written
	stderr    io.Writer
}

func (a *app) root(args []string) *cobra.Command {
	root := a.verifyCommand()
	root.Use = "checkpoint12"
	root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: a.program}
	root.Short = "find the first stage at which a GPT-2 engine goes wrong"
	root.Long = a.text(`
checkpoint12 tells you whether a GPT-2 engine is correct and, if it is not, at
which stage its numbers first go wrong. Without a command it does what "verify"
does: it runs the twelve checkpoints of the Go GPT-2 in model/.

To check an engine of your own, in any language: let it write its tensors as
.npy files, one folder a step, then "compare" that folder with a golden. "verify
--engine" runs it on every case there is.`)
	root.Example = a.text(`
  {} verify
  {} dump --model synthetic-tiny --prompt "Hello." --new 10 --out my-dump
  {} compare --golden goldens/synthetic-tiny/hello/float64 --candidate my-dump
  {} generate --model gpt2-medium --prompt "Hello." --new 10`)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetArgs(args)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.Version = version()
	root.SetVersionTemplate("{{.Version}}\n")
	help := root.HelpFunc()
	root.SetHelpFunc(func(c *cobra.Command, args []string) {
		var text strings.Builder
		c.SetOut(&text)
		help(c, args)
		w := report.NewWriter(a.stdout, style(a.stdout.w))
		w.Prose(report.Text(text.String()))
		w.Flush()
	})
	root.SetFlagErrorFunc(flagError)
	root.SuggestionsMinimumDistance = 2
	cobra.EnableCommandSorting = false
	root.AddCommand(a.verifyCommand(), a.compareCommand(), a.dumpCommand(), a.generateCommand(), a.synthCommand(),
		a.fetchCommand(), a.selftestCommand())
	for _, c := range append(root.Commands(), root) {
		if c.Args == nil {
			c.Args = noArguments
		}
		c.Flags().SortFlags = false
		c.Example = string(report.Unbroken(report.Text(c.Example)))
	}
	return root
}

// text returns a raw string with the program's name for each {}.
func (a *app) text(s string) string {
	return strings.ReplaceAll(strings.TrimPrefix(s, "\n"), "{}", a.program)
}

// version returns the version, the commit and Go's version, as the binary has them.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "checkpoint12, built without version"
	}
	commit := "unknown"
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			commit = s.Value
		}
	}
	return fmt.Sprintf("checkpoint12 %s, commit %.12s, %s", info.Main.Version, commit, info.GoVersion)
}

// programName returns the program as typed: "go run ." or "checkpoint12".
func programName() string {
	exe, _ := os.Executable() // "" if that is not known
	if strings.Contains(exe, string(filepath.Separator)+"go-build") {
		return "go run ."
	}
	return "checkpoint12"
}

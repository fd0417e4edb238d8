// Package cli is the command line: it reads flags, calls the packages that do
// the work, and turns their answers into text, JSON and an exit status.
//
// Results go to stdout. Notes, errors and progress go to stderr, and progress
// only where stderr is a terminal. An error is one lower-case line that names
// the file and what is wrong, and where one command would help, a hint line
// that is that command.
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
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/report"
	"checkpoint12/model/zoo"
)

// Exit statuses of the binary. "go run ." turns every one but 0 into 1 and adds
// a line of its own.
const (
	StatusPass        = 0   // everything compared is within tolerance
	StatusDivergence  = 1   // a divergence was found, and the report says where
	StatusError       = 2   // bad usage, bad input, or something needed is not there
	StatusInterrupted = 130 // as a shell has it of a program that an interrupt ended
)

// errDivergence ends a command whose report, already written, has the verdict fail.
var errDivergence = errors.New("a divergence was found")

// Main runs one command line, args without the program's name, and returns the
// exit status. An interrupt ends the command with StatusInterrupted and leaves no
// half-written file; a second one ends the process at once.
func Main(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	a := &app{program: programName(), stdout: stdout, stderr: stderr}
	err := a.root(args).ExecuteContext(ctx)
	switch {
	case err == nil:
		return StatusPass
	case errors.Is(err, errDivergence):
		return StatusDivergence
	case ctx.Err() != nil:
		a.fail(errors.New("interrupted"))
		return StatusInterrupted
	}
	a.fail(err)
	return StatusError
}

// app is what all commands share.
type app struct {
	program        string // as the person typed it: "go run ." or "checkpoint12"
	stdout, stderr io.Writer
}

func (a *app) root(args []string) *cobra.Command {
	root := a.verifyCommand()
	root.Use = "checkpoint12"
	root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: a.program}
	root.Short = "find the first stage at which a GPT-2 engine goes wrong"
	root.Long = a.text(`
checkpoint12 tells you whether a GPT-2 engine is correct and, if it is not, at
which stage its numbers first go wrong. It compares the tensors between the stages
of a forward pass with goldens that other engines exported.

Without a command it does what "verify" does: it runs the twelve checkpoints of
the Go GPT-2 in model/ against the goldens in goldens/.

To check an engine of your own, in any language: let it write its tensors as
.npy files, one folder a step, then "compare" that folder with a golden.`)
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
	root.SetFlagErrorFunc(flagError)
	root.SuggestionsMinimumDistance = 2
	cobra.EnableCommandSorting = false
	root.AddCommand(a.verifyCommand(), a.compareCommand(), a.dumpCommand(), a.generateCommand(), a.synthCommand(), a.fetchCommand(), a.selftestCommand())
	for _, c := range append(root.Commands(), root) {
		c.Args = noArguments(c.Args)
		c.Flags().SortFlags = false
	}
	return root
}

// text returns a raw string without its first line break and with the program's
// name for each {}.
func (a *app) text(s string) string {
	return strings.ReplaceAll(strings.TrimPrefix(s, "\n"), "{}", a.program)
}

// hint returns err with a hint, a command of this program.
func (a *app) hint(err error, format string, args ...any) error {
	return &hintError{err, a.program + " " + fmt.Sprintf(format, args...)}
}

// hintError is an error with a command that helps to mend it.
type hintError struct {
	err  error
	hint string
}

func (h *hintError) Error() string { return h.err.Error() }
func (h *hintError) Unwrap() error { return h.err }

// fail prints an error and its hint, each on a line of its own.
func (a *app) fail(err error) {
	var other *diagnose.ModelError
	if errors.As(err, &other) {
		err = fmt.Errorf("--model must be the model of %s: %w", other.Source(), other.Err)
	}
	fmt.Fprintf(a.stderr, "checkpoint12: error: %s\n", oneLine(err.Error()))
	var h *hintError
	var golden *diagnose.GoldenError
	var weights *zoo.NotFoundError
	switch {
	case errors.As(err, &h):
		fmt.Fprintf(a.stderr, "checkpoint12: hint: %s\n", h.hint)
	case errors.As(err, &weights):
		fmt.Fprintf(a.stderr, "checkpoint12: hint: %s fetch %s\n", a.program, quote(weights.Name))
	case other != nil && other.Model != "":
		fmt.Fprintf(a.stderr, "checkpoint12: hint: --model %s\n", quote(other.Model))
	case errors.As(err, &golden):
		fmt.Fprintf(a.stderr, "checkpoint12: hint: git checkout -- %s, or make it anew: python3 scripts/regenerate_goldens.py\n", quote(golden.Path))
	}
}

// note prints a remark on what the command does or has read: on a terminal wrapped,
// elsewhere on one line.
func (a *app) note(format string, args ...any) {
	text := strings.ReplaceAll(strings.TrimSpace(fmt.Sprintf(format, args...)), "\n", "\n  ")
	if !isTerminal(a.stderr) {
		fmt.Fprintf(a.stderr, "checkpoint12: note: %s\n", text)
		return
	}
	w := report.NewWriter(a.stderr, style(a.stderr))
	fmt.Fprintf(w, "checkpoint12: note: %s\n", text)
	w.Flush()
}

func (a *app) notes(notes []string) {
	for _, n := range notes {
		a.note("%s", n)
	}
}

func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), " ")
}

// version returns the version, the commit and Go's version, as far as the go command
// has put them into the binary.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "checkpoint12, built without version"
	}
	commit, changed := "unknown", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = " with changes"
		}
	}
	return fmt.Sprintf("checkpoint12 %s, commit %s%s, %s", info.Main.Version, commit, changed, info.GoVersion)
}

func lowerFirst(err error) error {
	s := err.Error()
	if s == "" {
		return err
	}
	return errors.New(strings.ToLower(s[:1]) + s[1:])
}

// programName returns the program as the person typed it, so that the commands in
// a hint can be pasted: "go run ." where
// the go command built this binary for one run, else "checkpoint12".
func programName() string {
	exe, err := os.Executable()
	if err != nil {
		return "checkpoint12"
	}
	for dir := filepath.Dir(exe); dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if strings.HasPrefix(filepath.Base(dir), "go-build") {
			return "go run ."
		}
	}
	return "checkpoint12"
}

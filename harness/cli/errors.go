package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/internal/words"
	"checkpoint12/harness/report/ci"
	"checkpoint12/harness/selftest"
	"checkpoint12/model/zoo"
)

// hintError is an error with a command that helps to mend it.
type hintError struct {
	error
	hint string
}

// usage returns an error in how a command was called; the hint is its help.
func usage(c *cobra.Command, format string, args ...any) error {
	return &hintError{fmt.Errorf(format, args...), c.CommandPath() + " --help"}
}

// need returns an error for the first of the flags that was not given.
func need(c *cobra.Command, flags ...string) error {
	for _, name := range flags {
		if f := c.Flag(name); !f.Changed || f.Value.String() == "" {
			value, _ := pflag.UnquoteUsage(f)
			return usage(c, "%s: --%s %s is needed", c.Name(), name, value)
		}
	}
	return nil
}

// flagError returns the error for a flag that cannot be parsed, with the one meant.
func flagError(c *cobra.Command, err error) error {
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		var names []string
		c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near := words.Nearest(unknown.GetSpecifiedName(), 2, names); near != "" {
			return usage(c, "%w; did you mean --%s?", err, near)
		}
	}
	return usage(c, "%w", err)
}

// noArguments refuses words that belong to no flag.
func noArguments(c *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case c.HasParent():
		return usage(c, "%s: unexpected argument %q", c.Name(), args[0])
	}
	path := c.CommandPath()
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		path += " " + near[0]
	}
	return &hintError{fmt.Errorf("there is no command %q", args[0]), path + " --help"}
}

// oneName refuses all but one word.
func oneName(c *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usage(c, "%s: one NAME is needed", c.Name())
	}
	return nil
}

// fail prints an error and its hint, a command that can be run as it is printed.
func (a *app) fail(err error) {
	a.stdout.endLine()
	hint := ""
	if e, ok := errors.AsType[*hintError](err); ok {
		hint = e.hint
	} else if e, ok := errors.AsType[*zoo.NotFoundError](err); ok {
		hint = a.line("fetch", e.Name)
	} else if e, ok := errors.AsType[*diagnose.ModelError](err); ok {
		err = fmt.Errorf("--model must be the model of %s: %w", e.Source(), e.Err)
		if _, _, e2 := zoo.Locate(e.Model); e.Model != "" && (e2 == nil || isFolder(e.Model)) {
			hint = a.with("--model", e.Model)
		}
	} else if e, ok := errors.AsType[*diagnose.GoldenError](err); ok && isTracked(e.Path) {
		hint = "git checkout -- " + words.Shell(e.Path)
	} else if e, ok := errors.AsType[*selftest.NoGoldensError](err); ok {
		hint = e.Command()
	}
	a.say("error", err.Error())
	if hint != "" {
		a.say("hint", hint)
	}
}

// inActions reports whether the output is read by GitHub Actions.
func inActions() bool { return os.Getenv("GITHUB_ACTIONS") == "true" }

// annotate writes an error for GitHub Actions, unless what was judged has said it.
func (a *app) annotate(err error) {
	if inActions() && !a.told {
		ci.WriteAnnotations(a.stderr, &ci.Report{Name: "checkpoint12", Problems: []ci.Problem{{Title: err.Error()}}})
	}
}

// isTracked reports whether git can restore a path.
func isTracked(path string) bool {
	return exec.Command("git", "ls-files", "--error-unmatch", "--", path).Run() == nil
}

// with returns the command line as typed, but for the value of a flag; "" if it has
// that value already.
func (a *app) with(flag, value string) string {
	args := slices.Clone(a.args)
	for i, arg := range args {
		if strings.HasPrefix(arg, flag+"=") {
			args[i] = flag + "=" + value
		} else if i > 0 && args[i-1] == flag {
			args[i] = value
		}
	}
	if slices.Equal(args, a.args) {
		return ""
	}
	return a.line(args...)
}

// line returns a command line of the program.
func (a *app) line(args ...string) string {
	return strings.TrimSpace(a.program + " " + words.Shell(args...))
}

// without returns the arguments of a command without flags and their values.
func without(args []string, c *cobra.Command, names ...string) (rest []string) {
	for i := 0; i < len(args); i++ {
		name, _, whole := strings.Cut(strings.TrimPrefix(args[i], "--"), "=")
		f := c.Flags().Lookup(name)
		n := 1 // arguments that belong together
		if strings.HasPrefix(args[i], "--") && f != nil && f.NoOptDefVal == "" && !whole {
			n = min(2, len(args)-i)
		}
		if !strings.HasPrefix(args[i], "--") || !slices.Contains(names, name) {
			rest = append(rest, args[i:i+n]...)
		}
		i += n - 1
	}
	return rest
}

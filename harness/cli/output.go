package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/term"

	"checkpoint12/harness/report"
	"checkpoint12/model/atomicfile"
)

// isTerminal reports whether w is a terminal, which alone gets progress and colour.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// style returns how to write text to w: in colours if it is a terminal and the
// person did not say otherwise (https://no-color.org), and as wide as it is.
func style(w io.Writer) report.Style {
	if !isTerminal(w) {
		return report.Style{}
	}
	s := report.Style{Color: os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
	if columns, _, err := term.GetSize(int(w.(*os.File).Fd())); err == nil {
		s.Width = columns
	}
	return s
}

// jsonOutput is where --json wants the report of a command.
type jsonOutput struct {
	path  string           // as in --json: "" nowhere, "-" stdout
	file  *atomicfile.File // what becomes path
	other *os.File         // in the place of file: a pipe or a device
}

// openJSON makes sure, before long work begins, that the JSON can be written. Until
// commit the file that stood there is untouched.
func openJSON(path string) (*jsonOutput, error) {
	j := &jsonOutput{path: path}
	if path == "" || path == "-" {
		return j, nil
	}
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil, fmt.Errorf("--json %s: is a folder, not a file", path)
	case err == nil && !info.Mode().IsRegular(): // there is nothing to keep whole
		j.other, err = os.OpenFile(path, os.O_WRONLY, 0)
	default:
		j.file, err = atomicfile.Create(path)
	}
	if err != nil {
		return nil, fmt.Errorf("--json %s: cannot be written: %w", path, cause(err))
	}
	return j, nil
}

// alone reports whether stdout is for the JSON and nothing else may be written there.
func (j *jsonOutput) alone() bool { return j.path == "-" }

// commit writes v as JSON to where the person asked for it, if they did.
func (j *jsonOutput) commit(v any, stdout io.Writer) error {
	var err error
	switch {
	case j.path == "":
		return nil
	case j.alone():
		return stdoutError(report.WriteJSON(stdout, v))
	case j.other != nil:
		err = report.WriteJSON(j.other, v)
		if e := j.other.Close(); err == nil {
			err = e
		}
	default:
		if err = report.WriteJSON(j.file, v); err == nil {
			err = j.file.Commit()
		}
	}
	if err != nil {
		return fmt.Errorf("--json %s: %w", j.path, cause(err))
	}
	return nil
}

// finish ends a command that judges: with text for a person, unless stdout is for the
// JSON, the JSON, and errDivergence if the report has not passed.
func (j *jsonOutput) finish(stdout io.Writer, report any, passed bool, text func() error) error {
	if !j.alone() {
		if err := text(); err != nil {
			return stdoutError(err)
		}
	}
	if err := j.commit(report, stdout); err != nil {
		return err
	}
	if !passed {
		return errDivergence
	}
	return nil
}

// discard removes what was begun; after a commit it does nothing.
func (j *jsonOutput) discard() {
	if j.file != nil {
		j.file.Discard()
	}
}

// cause returns the reason alone of an error that repeats the path, which the
// message around it has already named.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	var l *os.LinkError
	if errors.As(err, &l) {
		return l.Err
	}
	return err
}

// stdoutError returns err as one of writing to stdout.
func stdoutError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("stdout: %w", cause(err))
}

// errWriter keeps the first error of writing to stdout and then writes no more.
type errWriter struct {
	w   io.Writer
	mu  sync.Mutex
	err error
}

func (w *errWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.w.Write(p)
	w.err = stdoutError(err)
	return n, w.err
}

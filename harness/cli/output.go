package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/term"

	"checkpoint12/harness/report"
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

// answerFile is a command's answer: text for a person on stdout, or JSON, in a file
// or alone on stdout.
type answerFile struct {
	path string   // as in --json: "" no JSON, "-" stdout
	file *os.File // what becomes path; nil for "" and "-"
	temp string   // the name of file until it is complete; "" when file is path itself
}

// openReport makes sure, before long work begins, that the JSON can be written.
// Until commit the file that stood there is untouched.
func openReport(path string) (*answerFile, error) {
	r := &answerFile{path: path}
	if path == "" || path == "-" {
		return r, nil
	}
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil, fmt.Errorf("--json %s: is a folder, not a file", path)
	case err == nil && !info.Mode().IsRegular(): // a pipe or a device: there is nothing to keep whole
		r.file, err = os.OpenFile(path, os.O_WRONLY, 0)
	default:
		r.file, err = createTemp(path)
		if err == nil {
			r.temp = r.file.Name()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("--json %s: cannot be written: %w", path, cause(err))
	}
	return r, nil
}

// createTemp makes a new file beside path, with the permissions that path
// itself would get.
func createTemp(path string) (*os.File, error) {
	for n := os.Getpid(); ; n++ {
		name := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.%d.tmp", filepath.Base(path), n))
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
}

// alone says that stdout is for the JSON and nothing else may be written there.
func (r *answerFile) alone() bool { return r.path == "-" }

// commit writes v as JSON to where the person asked for it, if they did.
func (r *answerFile) commit(v any, stdout io.Writer) error {
	if r.path == "" {
		return nil
	}
	if r.file == nil {
		if err := report.WriteJSON(stdout, v); err != nil {
			return fmt.Errorf("stdout: %w", cause(err))
		}
		return nil
	}
	err := report.WriteJSON(r.file, v)
	if e := r.file.Close(); err == nil {
		err = e
	}
	if err == nil && r.temp != "" {
		err = os.Rename(r.temp, r.path)
	}
	if err != nil {
		return fmt.Errorf("--json %s: %w", r.path, cause(err))
	}
	r.file, r.temp = nil, ""
	return nil
}

// discard removes what was begun; after a commit it does nothing.
func (r *answerFile) discard() {
	if r.file != nil {
		r.file.Close()
	}
	if r.temp != "" {
		os.Remove(r.temp)
	}
}

// cause is the reason alone of an error that repeats the path, which the
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

// errWriter remembers the first error of a writer, so that a report of many lines
// is checked once, at its end.
type errWriter struct {
	w   io.Writer
	mu  sync.Mutex
	err error
}

func (s *errWriter) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.w.Write(p)
	if err != nil {
		s.err = fmt.Errorf("stdout: %w", cause(err))
	}
	return n, s.err
}

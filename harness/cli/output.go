package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"checkpoint12/harness/internal/words"
	"checkpoint12/harness/report"
	"checkpoint12/model/atomicfile"
	"checkpoint12/model/parallel"
	"checkpoint12/model/zoo"
)

// output is stdout. Its errors say so, and it may be written to at any time.
type output struct {
	mu    sync.Mutex
	w     io.Writer
	begun bool // a line, without its end
}

// Write writes to stdout.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := o.w.Write(p)
	if n > 0 {
		o.begun = p[n-1] != '\n'
	}
	if err != nil {
		err = fmt.Errorf("stdout: %w", cause(err))
	}
	return n, err
}

// endLine ends the line that was begun.
func (o *output) endLine() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.begun {
		fmt.Fprintln(o.w)
	}
}

// cause returns the reason alone of an error that names the path.
func cause(err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	return err
}

// isTerminal reports whether w is a terminal, which alone gets progress and colour.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// style returns how to write text to w: in colours (https://no-color.org), and its width.
func style(w io.Writer) report.Style {
	if !isTerminal(w) {
		return report.Style{}
	}
	columns, _, _ := term.GetSize(int(w.(*os.File).Fd())) // 0 if that is not known
	return report.Style{Color: os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb", Width: columns}
}

// print prints a result on stdout, wrapped.
func (a *app) print(format string, args ...any) error {
	w := report.NewWriter(a.stdout, style(a.stdout.w))
	w.Printf(format, args...)
	return w.Flush()
}

// say prints a message, wrapped, but for a hint, which is a command, and for an error
// that no terminal shows, which is one line.
func (a *app) say(kind, text string) {
	s := style(a.stderr)
	if kind == "hint" || kind == "error" && !isTerminal(a.stderr) {
		s.Width = math.MaxInt
	}
	w := report.NewWriter(a.stderr, s)
	w.Printf("checkpoint12: %s: %s\n", kind, strings.TrimSpace(text))
	w.Flush()
}

// note prints a remark.
func (a *app) note(format string, args ...any) { a.say("note", fmt.Sprintf(format, args...)) }

// notes prints remarks, of many the first and how many more there are.
func (a *app) notes(notes []string) {
	for i, n := range notes {
		if i == 20 {
			a.note("and %d more like these", len(notes)-i)
			break
		}
		a.note("%s", n)
	}
}

// progress is one line on a terminal, written over ten times a second at most. To what is
// no terminal it says only what takes long.
type progress struct {
	w    io.Writer         // nil: no terminal
	note func(text string) // says what takes long where there is none
	mu   sync.Mutex
	last time.Time   // when it was written; zero: there is none
	long *time.Timer // until that is said; nil: nothing is to be
}

func (a *app) progress() *progress {
	p := &progress{note: func(text string) { a.note("%s", text) }}
	if isTerminal(a.stderr) {
		p.w = a.stderr
	}
	return p
}

// soon is how long something takes before it is said where there is no terminal.
const soon = 5 * time.Second

// begin shows what may take long.
func (p *progress) begin(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.w != nil:
		fmt.Fprintf(p.w, "\r\x1b[K%s", text)
		p.last = time.Now()
	case p.long == nil:
		p.long = time.AfterFunc(soon, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.long != nil { // it is not over
				p.note(text)
			}
		})
	}
}

// Write shows a line in the place of the one before.
func (p *progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.w != nil && time.Since(p.last) >= 100*time.Millisecond {
		fmt.Fprintf(p.w, "\r\x1b[K%s", words.Visible(strings.TrimSpace(string(b))))
		p.last = time.Now()
	}
	return len(b), nil
}

// clear removes the line, so that what follows stands alone.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.long != nil {
		p.long.Stop()
		p.long = nil
	}
	if !p.last.IsZero() {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.last = time.Time{}
	}
}

// wait runs f and returns its error, or at an interrupt the context's at once. Then
// f goes on behind, so it must leave nothing half done that looks whole.
func wait(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	go func() {
		var err error
		lost := parallel.Protect(func() { err = f() })
		done <- cmp.Or(lost, err)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// judgement is the answer of a command that judges.
type judgement struct {
	report any // as JSON
	passed bool
	text   func(w io.Writer, s report.Style) error
	err    error // of what could not be judged, beside what was
}

// judges makes c a command that judges by run: it writes a report for a person, and
// for --json, and has failed if the judgement has. An interrupt leaves run behind.
func (a *app) judges(c *cobra.Command, run func(c *cobra.Command, p *progress) (*judgement, error)) {
	c.Long += `

Exit status: 0 all passed, 1 something failed, 2 nothing could be judged (bad usage or
input, no weights, nothing to compare), 130 interrupted.`
	path := c.Flags().String("json", "", "write the report as JSON to `FILE`; - is stdout, which then has nothing else")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *path == "" && c.Flags().Changed("json") {
			return usage(c, "--json: no file is named; - is stdout")
		}
		err := besideInputs(c, *path)
		var out *jsonFile
		if err == nil {
			out, err = openJSON(c.Context(), a.stdout, *path)
		}
		if err != nil {
			return fmt.Errorf("--json %s: %w", *path, err)
		}
		defer out.discard()
		var j *judgement
		p := a.progress()
		err = wait(c.Context(), func() (err error) {
			j, err = run(c, p)
			return err
		})
		p.clear()
		if err != nil {
			return err
		}
		if *path != "-" {
			err = j.text(a.stdout, style(a.stdout.w))
		}
		if err == nil && *path != "" {
			if err = writeJSON(out, j.report); err == nil {
				err = out.commit()
			}
			if err != nil {
				err = fmt.Errorf("--json %s: %w", *path, cause(err))
			}
		}
		if err == nil && !j.passed {
			err = errDivergence
		}
		if err == nil {
			err = j.err
		}
		return err
	}
}

// writeJSON writes v as one line of JSON, in which what is not printed is escaped.
func writeJSON(w io.Writer, v any) error {
	data, err := json.Marshal(v)
	var line []byte
	for _, r := range string(data) {
		if strconv.IsPrint(r) {
			line = utf8.AppendRune(line, r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			line = fmt.Appendf(line, `\u%04x`, unit)
		}
	}
	if err == nil {
		_, err = w.Write(append(line, '\n'))
	}
	return err
}

// A jsonFile is the file of --json.
type jsonFile struct {
	io.Writer
	commit  func() error // puts the file in place
	discard func()       // removes what was begun; after commit it does nothing
}

// besideInputs returns an error if path lies in a folder that the flags of c name.
func besideInputs(c *cobra.Command, path string) (err error) {
	if path == "" || path == "-" {
		return nil
	}
	places := []string{filepath.Join(realPath(filepath.Dir(path)), filepath.Base(path)), realPath(path)}
	c.Flags().VisitAll(func(f *pflag.Flag) {
		dir := f.Value.String()
		switch {
		case f.Name == "goldens" && dir == "":
			dir = nearest(goldensFolder)
		case f.Name == "model" && !isFolder(dir):
			dir, _, _ = zoo.Locate(dir)
		case !slices.Contains([]string{"golden", "goldens", "candidate", "model", "map", "bounds"}, f.Name):
			return
		}
		for _, place := range places {
			if in, e := filepath.Rel(realPath(dir), place); dir != "" && e == nil && filepath.IsLocal(in) {
				err = fmt.Errorf("is in %s, which --%s reads: name another file", dir, f.Name)
			}
		}
	})
	return err
}

// realPath returns path from the root and without links, as far as it is there.
func realPath(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return path
}

// openJSON makes sure, before long work begins, that the JSON can be written. A file that
// is there keeps its permissions, and a link leads to the new one. A pipe that nobody
// reads is an error, and one that nobody reads on is closed when ctx ends.
func openJSON(ctx context.Context, stdout io.Writer, path string) (*jsonFile, error) {
	if path == "" || path == "-" {
		return &jsonFile{stdout, func() error { return nil }, func() {}}, nil
	}
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		return nil, errors.New("is a folder, not a file")
	}
	if err == nil && !info.Mode().IsRegular() { // a pipe or a device
		f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		switch {
		case errors.Is(err, syscall.ENXIO):
			return nil, errors.New("is a pipe that nobody reads")
		case err != nil:
			return nil, fmt.Errorf("cannot be written: %w", cause(err))
		}
		stop := context.AfterFunc(ctx, func() { f.Close() })
		return &jsonFile{f, f.Close, func() { stop() }}, nil
	}
	path = realPath(path)
	if link, _ := os.Readlink(path); link == "" { // else to nowhere
		var f *atomicfile.File
		if f, err = atomicfile.Create(path); err == nil {
			if info != nil {
				f.Chmod(info.Mode().Perm())
			}
			return &jsonFile{f, f.Commit, f.Discard}, nil
		}
	}
	return nil, fmt.Errorf("cannot be written: %w", cause(err))
}

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/term"

	"checkpoint12/harness/internal/words"
	"checkpoint12/harness/report"
	"checkpoint12/model/parallel"
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

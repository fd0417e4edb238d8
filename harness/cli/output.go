package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
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

// isFile reports whether w is a file, which no log shows.
func isFile(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode().IsRegular()
}

// style returns how to write text to w: in colours (https://no-color.org), and its width.
func style(w io.Writer) report.Style {
	if !isTerminal(w) {
		columns, _ := strconv.Atoi(os.Getenv("COLUMNS")) // 0 if that says nothing
		return report.Style{Width: columns}
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
// no terminal it is a remark once in a while, so that a long run in a log is not silent.
type progress struct {
	w    io.Writer         // nil: no terminal
	wide int               // columns of the terminal; 0: not known
	note func(text string) // makes the remark
	mu   sync.Mutex
	last time.Time // when the line was written; zero: there is none

	text  string      // what the next remark says
	since time.Time   // when the first text came
	next  *time.Timer // until that remark; nil: none is to come
}

func (a *app) progress() *progress {
	p := &progress{note: func(text string) { a.note("%s", text) }}
	if isTerminal(a.stderr) {
		p.w, p.wide = a.stderr, style(a.stderr).Width
	}
	return p
}

// inAWhile is the time between two remarks; tests that ask for none have a longer one.
var inAWhile = 10 * time.Second

// begin shows at once what may take long.
func (p *progress) begin(text string) { p.show(text, 0) }

// Write shows a line in the place of the one before.
func (p *progress) Write(b []byte) (int, error) {
	p.show(strings.TrimSpace(string(b)), 100*time.Millisecond)
	return len(b), nil
}

// show shows text; on a terminal, if the one before has been there for so long.
func (p *progress) show(text string, after time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text = text
	switch {
	case p.w != nil && time.Since(p.last) >= after:
		line := []rune(words.Visible(text))
		if p.wide > 1 && len(line) >= p.wide { // else it could not be removed
			line = append(line[:p.wide-2], '…')
		}
		fmt.Fprintf(p.w, "\r\x1b[K%s", string(line))
		p.last = time.Now()
	case p.w == nil && p.next == nil:
		p.since = time.Now()
		p.next = time.AfterFunc(inAWhile, p.remark)
	}
}

// remark says how far it is, and for how long it has run.
func (p *progress) remark() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next != nil { // it is not over
		p.note(fmt.Sprintf("%s (after %.0f s)", p.text, time.Since(p.since).Seconds()))
		p.next.Reset(inAWhile)
	}
}

// clear removes the line, so that what follows stands alone, and makes no remark any more.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next != nil {
		p.next.Stop()
		p.next = nil
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

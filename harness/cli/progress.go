package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// progress is one line on the terminal that is written over; where stderr is no
// terminal it is nothing.
type progress struct {
	w io.Writer // nil: no terminal

	mu    sync.Mutex
	last  time.Time
	shown bool
}

func (a *app) progress() *progress {
	if isTerminal(a.stderr) {
		return &progress{w: a.stderr}
	}
	return &progress{}
}

// step shows that the n-th of total is being worked on.
func (p *progress) step(noun string, n, total int) { p.say(fmt.Sprintf("%s %d of %d", noun, n, total)) }

// say shows a line in the place of the one before, ten times a second at most.
func (p *progress) say(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.w == nil || p.shown && time.Since(p.last) < 100*time.Millisecond {
		return
	}
	fmt.Fprintf(p.w, "\r\x1b[K%s", line)
	p.last, p.shown = time.Now(), true
}

// Write shows the last line of what is written.
func (p *progress) Write(b []byte) (int, error) {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	p.say(lines[len(lines)-1])
	return len(b), nil
}

// clear removes the line, so that what follows stands alone.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}

// size returns a number of bytes for a person, in powers of ten.
func size(bytes int64) string {
	switch {
	case bytes < 1e6:
		return fmt.Sprintf("%.1f kB", float64(bytes)/1e3)
	case bytes < 1e9:
		return fmt.Sprintf("%.1f MB", float64(bytes)/1e6)
	}
	return fmt.Sprintf("%.2f GB", float64(bytes)/1e9)
}

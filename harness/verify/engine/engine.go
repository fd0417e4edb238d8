// Package engine runs a GPT-2 engine, a command in any language, on one case at a time.
package engine

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// CannotDo is the exit status by which an engine says that it cannot do a case.
const CannotDo = 77

// ErrCannotDo is the error of a case that the engine says it cannot do.
var ErrCannotDo = errors.New("the engine cannot do this case")

// A Failure is the error of a case at which the engine failed.
type Failure struct {
	Reason string   // such as "exit status 3"
	Stderr []string // its last lines
}

// Error returns the reason and the last line.
func (f *Failure) Error() string {
	if len(f.Stderr) == 0 {
		return f.Reason
	}
	return f.Reason + ": " + f.Stderr[len(f.Stderr)-1]
}

// A Runner runs an engine.
type Runner struct {
	Command Command
	Timeout time.Duration // of one run; 0 is none
	Keep    string        // the folder for the runs' files, new or empty, which stay; "" is one that goes with Close

	mu     sync.Mutex // held while the engine runs
	closed bool
	dir    string
}

// Run runs the engine on a case and waits for its end, at which whatever it has started
// ends too, as at the end of the context and of the time. The engine reads nothing from
// stdin, and its stdout is discarded. The error is ErrCannotDo, a [*Failure], the
// context's, or says why the command could not be started.
func (r *Runner) Run(ctx context.Context, c Case) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return os.ErrClosed
	}
	limit, cancel := ctx, context.CancelFunc(func() {})
	if r.Timeout > 0 {
		limit, cancel = context.WithTimeout(ctx, r.Timeout)
	}
	defer cancel()
	words := r.Command.Words(c)
	cmd := exec.CommandContext(limit, words[0], words[1:]...)
	cmd.Env = append(os.Environ(), c.environment()...)
	tail, err := start(cmd)
	switch {
	case ctx.Err() != nil && err != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("start the engine %s: %w", r.Command, err)
	}
	err = cmd.Wait()
	lines := tail()
	exit, _ := errors.AsType[*exec.ExitError](err)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err == nil:
		return nil
	case limit.Err() != nil:
		return &Failure{"ran longer than " + r.Timeout.String(), lines}
	case exit != nil && exit.ExitCode() == CannotDo:
		return ErrCannotDo
	}
	return &Failure{err.Error(), lines}
}

// Folder returns the folder for the runs' files, from the root.
func (r *Runner) Folder() (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return "", os.ErrClosed
	}
	if r.dir != "" {
		return r.dir, nil
	}
	var err error
	if r.Keep == "" {
		r.dir, err = os.MkdirTemp("", "checkpoint12-")
		return r.dir, err
	}
	if err = os.MkdirAll(r.Keep, 0o777); err != nil {
		return "", err
	}
	if held, err := os.ReadDir(r.Keep); err != nil || len(held) > 0 {
		return "", cmp.Or(err, fmt.Errorf("%s: is not empty: name a new folder", r.Keep))
	}
	r.dir, err = filepath.Abs(r.Keep)
	return r.dir, err
}

// Close waits for the engine's end, which that of its context brings about, and removes
// the folder, if it is not to stay. Nothing runs after it.
func (r *Runner) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.dir == "" || r.Keep != "" {
		return nil
	}
	return os.RemoveAll(r.dir)
}

// start starts a command in a group of its own, which ends with it and with its context.
// The function that it returns ends the group and returns the last lines of stderr.
func start(cmd *exec.Cmd) (tail func() []string, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = w
	var g group
	if err = g.prepare(cmd); err == nil {
		err = cmd.Start()
	}
	w.Close()
	if err == nil {
		if err = g.join(cmd); err != nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	lines := make(chan []string, 1)
	go func() { lines <- lastLines(r) }()
	return func() []string {
		g.end()
		r.SetReadDeadline(time.Now().Add(time.Second)) // what has left the group may hold the pipe
		defer r.Close()
		return <-lines
	}, nil
}

const (
	tailLines = 10
	tailBytes = 4096
)

// lastLines reads to the end and returns the last lines.
func lastLines(r io.Reader) []string {
	var tail []byte
	buffer := make([]byte, tailBytes)
	for {
		n, err := r.Read(buffer)
		tail = append(tail, buffer[:n]...)
		tail = tail[max(0, len(tail)-tailBytes):]
		if err != nil {
			break
		}
	}
	tail = bytes.TrimSpace(tail)
	if len(tail) == 0 {
		return nil
	}
	lines := strings.Split(string(tail), "\n")
	return lines[max(0, len(lines)-tailLines):]
}

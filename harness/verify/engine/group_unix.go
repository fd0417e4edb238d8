//go:build unix

package engine

import (
	"os/exec"
	"syscall"
)

// A group is a command and all that it starts: a process group, which a process may leave.
type group struct{ id int }

func (g *group) prepare(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return nil
}

func (g *group) join(cmd *exec.Cmd) error {
	g.id = cmd.Process.Pid
	return nil
}

func (g *group) end() { syscall.Kill(-g.id, syscall.SIGKILL) }

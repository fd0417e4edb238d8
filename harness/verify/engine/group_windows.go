package engine

import (
	"os/exec"
	"unsafe"

	"golang.org/x/sys/windows"
)

// A group is a command and all that it starts once it has joined: a job object, which ends
// with this process too.
type group struct{ job windows.Handle }

func (g *group) prepare(cmd *exec.Cmd) (err error) {
	cmd.Cancel = func() error {
		windows.TerminateJobObject(g.job, 1)
		return cmd.Process.Kill() // if it has not joined yet
	}
	if g.job, err = windows.CreateJobObject(nil, nil); err != nil {
		return err
	}
	var info windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
	info.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
	_, err = windows.SetInformationJobObject(g.job, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info)))
	return err
}

func (g *group) join(cmd *exec.Cmd) error {
	const access = windows.PROCESS_SET_QUOTA | windows.PROCESS_TERMINATE
	process, err := windows.OpenProcess(access, false, uint32(cmd.Process.Pid))
	if err != nil {
		return err
	}
	defer windows.CloseHandle(process)
	return windows.AssignProcessToJobObject(g.job, process)
}

func (g *group) end() { windows.CloseHandle(g.job) }

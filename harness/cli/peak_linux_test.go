package cli

import (
	"os"
	"syscall"
)

func init() {
	peakMemory = func(s *os.ProcessState) int64 { return s.SysUsage().(*syscall.Rusage).Maxrss << 10 }
}

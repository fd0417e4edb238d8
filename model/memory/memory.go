// Package memory tells whether there is room for large values, since Go ends the process
// where there is none.
package memory

import (
	"fmt"
	"runtime"

	"github.com/edsrzf/mmap-go"
)

// large is the size from which on it is asked; Go reserves so much at once.
const large = 64 << 20

// least is how many bytes of addresses Go, which uses few of them, reserves at most.
const least = 3000e6

// CheckLimit returns an error if the process may have fewer addresses than Go reserves.
func CheckLimit() error {
	if n, ok := addresses(); ok && n < least {
		return fmt.Errorf("the process may have %d MB of addresses, and needs %d MB and the size of the weights: "+
			"raise the limit (ulimit -v)", n/1e6, int(least/1e6))
	}
	return nil
}

// Room returns an error if there is no memory for so many bytes more.
func Room(bytes int) error {
	if bytes < large {
		return nil
	}
	trial, err := mmap.MapRegion(nil, bytes+large, mmap.COPY, mmap.ANON, 0)
	if err == nil {
		return trial.Unmap()
	}
	var m runtime.MemStats
	runtime.GC()
	if runtime.ReadMemStats(&m); m.HeapIdle/2 > uint64(bytes) {
		return nil // what was collected is in pieces, of which one will do
	}
	return fmt.Errorf("needs %d MB of memory, and there is less: %w", bytes/1e6, err)
}

//go:build !linux

package memory

// addresses is not known here: Go tells if there are too few.
func addresses() (n uint64, ok bool) { return 0, false }

// LargePages does nothing here.
func LargePages([]byte) {}

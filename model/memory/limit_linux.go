package memory

import "golang.org/x/sys/unix"

// addresses returns how many bytes of addresses the process may have; ok is false if
// that is not known.
func addresses() (n uint64, ok bool) {
	var limit unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_AS, &limit)
	return limit.Cur, err == nil
}

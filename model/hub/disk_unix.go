//go:build linux || darwin || freebsd

package hub

import "golang.org/x/sys/unix"

// freeBytes returns how many bytes a user may still write to the file system of dir.
func freeBytes(dir string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return uint64(max(0, s.Bavail)) * uint64(s.Bsize), nil
}

//go:build !linux && !darwin && !freebsd && !windows

package hub

import "errors"

// freeBytes is not known here: a full disk shows when it is full.
func freeBytes(string) (uint64, error) { return 0, errors.ErrUnsupported }

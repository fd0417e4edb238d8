package hub

import (
	"errors"

	"golang.org/x/sys/windows"
)

// freeBytes returns how many bytes a user may still write to the file system of dir.
func freeBytes(dir string) (n uint64, err error) {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	err = windows.GetDiskFreeSpaceEx(path, &n, nil, nil)
	return n, err
}

// diskFull reports whether there was no room to write.
func diskFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}

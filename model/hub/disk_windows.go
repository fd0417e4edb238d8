package hub

import "golang.org/x/sys/windows"

// freeBytes returns how many bytes a user may still write to the file system of dir.
func freeBytes(dir string) (n uint64, err error) {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	err = windows.GetDiskFreeSpaceEx(path, &n, nil, nil)
	return n, err
}

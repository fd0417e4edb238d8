package hub

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// publish makes the blob visible as a file of a snapshot, by a relative link;
// where there can be no links the blob itself moves there if it is new, and is
// copied otherwise, as huggingface_hub does.
func (c *Client) publish(blob, file string, fresh bool) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		return err
	}
	relative, err := filepath.Rel(filepath.Dir(file), blob)
	if err != nil {
		return err
	}
	if target, err := os.Readlink(file); err == nil && target == relative {
		return nil
	}
	temp := fmt.Sprintf("%s.%08x.tmp", file, os.Getpid())
	os.Remove(temp)
	if err := c.symlink(relative, temp); err != nil {
		if fresh {
			return os.Rename(blob, file)
		}
		if err := copyFile(blob, temp); err != nil {
			os.Remove(temp)
			return err
		}
	}
	if err := os.Rename(temp, file); err != nil {
		os.Remove(temp)
		return err
	}
	return nil
}

func copyFile(from, to string) error {
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	if err == nil {
		err = w.Sync()
	}
	if e := w.Close(); err == nil {
		err = e
	}
	return err
}

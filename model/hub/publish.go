package hub

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"checkpoint12/model/atomicfile"
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
	switch err := c.symlink(relative, temp); {
	case err != nil && fresh:
		return os.Rename(blob, file)
	case err != nil:
		return atomicfile.Write(file, func(w io.Writer) error {
			r, err := os.Open(blob)
			if err != nil {
				return err
			}
			defer r.Close()
			_, err = io.Copy(w, r)
			return err
		})
	}
	if err := os.Rename(temp, file); err != nil {
		os.Remove(temp)
		return err
	}
	return nil
}

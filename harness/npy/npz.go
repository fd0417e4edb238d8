package npy

import (
	"archive/zip"
	"compress/flate"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
)

// Limits of what a .npz unpacks to, so that no bomb is unpacked. Activations are packed
// to no less than half; caches that are mostly zeros, to a hundredth.
const (
	maxUnpacked = 200 // times the archive's size
	freeBytes   = 64 << 20
)

// readZip returns the files in a .npz, none of which has been read.
func readZip(r io.ReaderAt, size int64) (map[string]*member, error) {
	z, err := zip.NewReader(r, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // names are checked by the caller
		return nil, fmt.Errorf("not a .npz file: %w", err)
	}
	members := make(map[string]*member, len(z.File))
	var packed, unpacked int64
	for _, f := range z.File {
		if strings.HasSuffix(f.Name, "/") && f.UncompressedSize64 == 0 {
			continue // a folder
		}
		switch {
		case members[f.Name] != nil:
			return nil, fmt.Errorf("%.80q is there twice", f.Name)
		case f.Flags&1 != 0:
			return nil, fmt.Errorf("%.80q is encrypted: np.savez writes what can be read", f.Name)
		case f.Method != zip.Store && f.Method != zip.Deflate:
			return nil, fmt.Errorf("%.80q is packed by method %d: np.savez writes what can be read", f.Name, f.Method)
		case f.CompressedSize64 > uint64(size) || f.Method == zip.Store && f.UncompressedSize64 != f.CompressedSize64:
			return nil, fmt.Errorf("%.80q says a size that it cannot have", f.Name)
		case f.UncompressedSize64 > maxBytes+maxHeader:
			return nil, fmt.Errorf("%.80q unpacks to more than %d GiB", f.Name, maxBytes>>30)
		}
		e := &member{
			packed: int64(f.CompressedSize64), size: int64(f.UncompressedSize64), deflated: f.Method == zip.Deflate, sum: f.CRC32,
			save: func(array string) string {
				return fmt.Sprintf("np.savez(…, **{%q: %s, …})", strings.TrimSuffix(f.Name, ".npy"), array)
			},
		}
		if e.offset, err = f.DataOffset(); err != nil {
			return nil, fmt.Errorf("%.80q: %w", f.Name, err)
		}
		if packed, unpacked = packed+e.packed, unpacked+e.size; packed > size || e.offset+e.packed > size {
			return nil, errors.New("its files overlap")
		}
		if unpacked/maxUnpacked > size && unpacked > freeBytes {
			return nil, fmt.Errorf("%d bytes that unpack to %d or more are refused: np.savez leaves arrays as they are",
				size, unpacked)
		}
		members[f.Name] = e
	}
	return members, nil
}

// unpack returns a reader of a member's bytes. All are read once, before any is used, to
// see that they are as many as the directory says and that their sum is right.
func (e *member) unpack(packed *io.SectionReader) (io.ReaderAt, error) {
	var r io.ReaderAt = packed
	var all io.Reader = packed
	if e.deflated {
		r, all = &inflater{packed: packed}, flate.NewReader(packed)
	}
	e.once.Do(func() {
		h := crc32.NewIEEE()
		n, err := io.Copy(h, io.LimitReader(all, e.size+1))
		switch {
		case err != nil:
			e.err = fmt.Errorf("cannot be unpacked: %w", err)
		case n != e.size:
			e.err = fmt.Errorf("unpacks to other than the %d bytes that the directory says", e.size)
		case h.Sum32() != e.sum:
			e.err = errors.New("was damaged: its CRC-32 is not that of the directory")
		}
	})
	return r, e.err
}

// An inflater reads compressed bytes as if they were not; forward without delay.
type inflater struct {
	packed *io.SectionReader
	r      io.Reader // nil before the first read
	at     int64     // where r is
}

// ReadAt reads the bytes from offset off on.
func (z *inflater) ReadAt(p []byte, off int64) (int, error) {
	if z.r == nil || off < z.at {
		z.r, z.at = flate.NewReader(io.NewSectionReader(z.packed, 0, z.packed.Size())), 0
	}
	skipped, err := io.CopyN(io.Discard, z.r, off-z.at)
	if z.at += skipped; err != nil {
		return 0, err
	}
	n, err := io.ReadFull(z.r, p)
	z.at += int64(n)
	return n, err
}

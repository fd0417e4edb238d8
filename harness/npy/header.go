package npy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/sbinet/npyio/npy"

	"checkpoint12/harness/internal/shapes"
)

const (
	magic = "\x93NUMPY"

	// maxHeader bounds what is read as a header. Version 1 cannot say more, and
	// a plain array of numpy's most dimensions needs less than 2 KiB.
	maxHeader = 64 << 10

	// maxDims is numpy's NPY_MAXDIMS since 2.0.
	maxDims = 64

	// maxBytes bounds the payload: sixteen times the logits of GPT-2 XL over a
	// full context. A sparse file can claim to be far larger than memory.
	maxBytes = 8 << 30
)

// dtypes is the whitelist, by numpy's array-protocol typestring.
var dtypes = map[string]struct {
	memory      string // the type in memory
	size, width int64  // bytes of an element in the file and in memory
	foreign     bool   // forgiven only in foreign mode
}{
	"<f4": {"float32", 4, 4, false},
	"<i8": {"int64", 8, 8, false},
	"<f2": {"float32", 2, 4, true},
	"<f8": {"float32", 8, 4, true},
	">f4": {"float32", 4, 4, true},
	"<i4": {"int64", 4, 8, true},
	bf16:  {"float32", 2, 4, true},
}

// bf16 is a type that safetensors has, and numpy has not.
const bf16 = "BF16"

// readHeader reads and checks everything before the payload. save returns the numpy call
// that an error recommends, which saves an array.
func readHeader(r io.ReaderAt, size int64, foreign bool, save func(array string) string) (Info, error) {
	text, offset, err := readHeaderText(r, size)
	if err != nil {
		return Info{}, err
	}
	d, known := agreed.get(text)
	if !known {
		if d, err = parseDict(text); err != nil {
			return Info{}, fmt.Errorf("bad .npy header: %w", err)
		}
	}
	dt, ok := dtypes[d.descr]
	if !ok || dt.foreign && !foreign || d.descr == bf16 {
		return Info{}, refuseDtype(d.descr, save)
	}
	if d.fortran {
		return Info{}, fmt.Errorf("array is in Fortran order: %s", save("np.ascontiguousarray(a)"))
	}
	// 16 times the elements fit, so that their bytes and the offset do too.
	sixteen, ok := shapes.Size(append([]int{16}, d.shape...))
	if !ok {
		return Info{}, fmt.Errorf("bad .npy header: dimensions %v overflow", tuple(d.shape))
	}
	elems := int64(sixteen / 16)
	if want := offset + elems*dt.size; want != size {
		return Info{}, fmt.Errorf("file has %d bytes, but shape %v of %s needs %d: write it again with %s",
			size, tuple(d.shape), d.descr, want, save("a"))
	}
	if elems > maxBytes/dt.width {
		return Info{}, tooLarge(d.shape)
	}
	if !known {
		if err := agree(text, d); err != nil {
			return Info{}, fmt.Errorf("bad .npy header: %w", err)
		}
		agreed.put(text, d)
	}
	info := Info{Shape: d.shape, DType: dt.memory, stored: d.descr, offset: offset, elems: int(elems)}
	if dt.foreign {
		info.Note = fmt.Sprintf("converted from %s to %s", d.descr, dt.memory)
	}
	return info, nil
}

// headers are dicts by their text. Of the thousands of files in a few dumps, each opened
// more than once, some dozens of headers differ.
type headers struct {
	mu sync.Mutex
	of map[string]dict
}

// agreed are headers that npyio reads as parseDict does.
var agreed = headers{of: map[string]dict{}}

// What is kept of headers at most: ten times the texts of a dump, of plain files.
const (
	mostHeaders    = 1000
	longestHeaders = 256
)

func (h *headers) get(text string) (dict, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d, ok := h.of[text]
	d.shape = slices.Clone(d.shape)
	return d, ok
}

func (h *headers) put(text string, d dict) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.of) < mostHeaders && len(text) <= longestHeaders {
		d.shape = slices.Clone(d.shape)
		h.of[text] = d
	}
}

// readHeaderText reads magic, version and length, and returns the dict's text
// and where the payload starts.
func readHeaderText(r io.ReaderAt, size int64) (string, int64, error) {
	// Nearly every header is within the first 256 bytes: one read.
	pre := make([]byte, min(size, 256))
	if err := readFull(r, pre, 0); err != nil {
		return "", 0, err
	}
	if len(pre) < 10 || string(pre[:6]) != magic {
		return "", 0, errors.New("not a .npy file: it does not start with \\x93NUMPY")
	}
	var start, length int64
	switch major, minor := pre[6], pre[7]; {
	case minor != 0 || major < 1 || major > 3:
		return "", 0, fmt.Errorf(".npy version %d.%d is not 1.0, 2.0 or 3.0", major, minor)
	case major == 1:
		start, length = 10, int64(binary.LittleEndian.Uint16(pre[8:]))
	case len(pre) < 12:
		return "", 0, errors.New("file ends inside its header")
	default:
		start, length = 12, int64(binary.LittleEndian.Uint32(pre[8:]))
	}
	end := start + length
	if end > maxHeader {
		return "", 0, fmt.Errorf("header of %d bytes, more than %d are not read", length, maxHeader)
	}
	if end > size {
		return "", 0, fmt.Errorf("file ends inside its header: it has %d bytes, the header %d", size, end)
	}
	buf := pre
	if end > int64(len(pre)) {
		buf = make([]byte, end)
		if err := readFull(r, buf, 0); err != nil {
			return "", 0, err
		}
	}
	if length == 0 || buf[end-1] != '\n' {
		return "", 0, errors.New("bad .npy header: it does not end in a newline")
	}
	return string(buf[start:end]), end, nil
}

func refuseDtype(descr string, save func(array string) string) error {
	as := "<f4"
	switch kind := strings.TrimLeft(descr, "<>=|"); {
	case kind == "O":
		return fmt.Errorf("dtype %q is neither float32 nor int64 but a pickle, which is never opened: %s",
			descr, save("np.array(a.tolist(), '<f4')"))
	case kind != "" && strings.ContainsAny(kind[:1], "iub"):
		as = "<i8"
	}
	return fmt.Errorf("dtype %q is neither float32 nor int64: %s", descr, save("a.astype('"+as+"')"))
}

// saveAs returns the numpy call that saves an array at path.
func saveAs(path string) func(array string) string {
	return func(array string) string { return fmt.Sprintf("np.save(%q, %s)", path, array) }
}

func tooLarge(shape []int) error {
	return fmt.Errorf("array of shape %v is larger than %d GiB", tuple(shape), maxBytes>>30)
}

// npyioReads is the spelling that npyio can read: numpy's, and Candle's. It
// panics on others, or takes them for something else.
var npyioReads = regexp.MustCompile(`^\{'descr': '[^']*', 'fortran_order': (True|False), 'shape': \([0-9, ]*\), \} *\n$`)

// agree asks npyio to read the same header: its own text where npyio can, else
// the dict in numpy's spelling.
func agree(text string, d dict) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("npyio cannot read it: %v", p)
		}
	}()
	b := header(d.descr, d.shape)
	if npyioReads.MatchString(text) && len(text) <= math.MaxUint16 {
		b = version1(text)
	}
	r, err := npy.NewReader(bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("npyio cannot read it: %w", err)
	}
	h := r.Header.Descr
	if h.Type != d.descr || h.Fortran != d.fortran || !slices.Equal(h.Shape, d.shape) {
		return fmt.Errorf("npyio reads it as %q %v", h.Type, tuple(h.Shape))
	}
	return nil
}

func readFull(r io.ReaderAt, buf []byte, off int64) error {
	if len(buf) == 0 {
		return nil
	}
	n, err := r.ReadAt(buf, off)
	if n == len(buf) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read at byte %d: %w", off, err)
}

// tuple prints a shape as Python does: (), (3,), (2, 3).
type tuple []int

func (t tuple) String() string {
	s := "("
	for i, d := range t {
		if i > 0 {
			s += ", "
		}
		s += strconv.Itoa(d)
	}
	if len(t) == 1 {
		s += ","
	}
	return s + ")"
}

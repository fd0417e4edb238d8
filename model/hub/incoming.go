package hub

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
)

// incoming is a file as far as it has come: in memory, or in HASH.incomplete, from
// which a later fetch goes on.
type incoming struct {
	entry
	have int64 // bytes that have come
	most int64 // bytes that it can have
	sum  hash.Hash
	out  io.Writer // file or memory, through Client.disk

	memory bytes.Buffer
	file   *os.File // nil: memory
}

// inMemory begins a small file, of limit bytes if nobody knows its size.
func inMemory(e entry, limit int64) *incoming {
	in := &incoming{entry: e, sum: e.hash.start(e.size), most: e.size}
	if e.size < 0 {
		in.most = limit
	}
	in.out = &in.memory
	return in
}

// inFile continues a file that has come in part, or begins it.
func (c *Client) inFile(e entry, path string) (*incoming, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	in := &incoming{entry: e, sum: e.hash.start(e.size), most: e.size, file: f, out: c.disk(f)}
	in.have, err = io.Copy(in.sum, f) // and now the offset is the end
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return in, nil
}

// restart discards the bytes that have come.
func (in *incoming) restart() error {
	in.have, in.sum = 0, in.hash.start(in.size)
	in.memory.Reset()
	if in.file == nil {
		return nil
	}
	if err := in.file.Truncate(0); err != nil {
		return err
	}
	_, err := in.file.Seek(0, io.SeekStart)
	return err
}

// writeError is a failure to write here, for which no server is to blame.
type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }
func (e *writeError) Unwrap() error { return e.err }

// Write takes the next bytes.
func (in *incoming) Write(p []byte) (int, error) {
	n, err := in.out.Write(p)
	in.have += int64(n)
	in.sum.Write(p[:n])
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return n, &writeError{err}
	}
	return n, nil
}

// check returns an error if the bytes that have come are not the file.
func (in *incoming) check() error {
	if in.size < 0 { // git's hash begins with the size
		in.size = in.have
		in.sum = in.hash.start(in.size)
		in.sum.Write(in.memory.Bytes())
	}
	if got := hex.EncodeToString(in.sum.Sum(nil)); got != string(in.hash) {
		return &corruptError{fmt.Sprintf("%d bytes came, but they are not the file: their hash is %.16s…, the hub says %.16s…", in.have, got, in.hash)}
	}
	return nil
}

// close puts the file's bytes on the disk.
func (in *incoming) close(sync func(*os.File) error) error {
	return errors.Join(sync(in.file), in.file.Close())
}

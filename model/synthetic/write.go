package synthetic

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/edsrzf/mmap-go"

	"checkpoint12/model"
	"checkpoint12/model/atomicfile"
	"checkpoint12/model/internal/safetensors"
	"checkpoint12/model/parallel"
)

const (
	chunk = 1 << 16 // elements made in one call of fill
	batch = 1 << 22 // elements written at a time, 16 MiB
)

// Open makes a model in memory, without a file. Medium takes 1.42 GB, which Close
// gives back. WeightsSHA256 is that of the file which Write writes.
func Open(name string) (*model.Model, error) {
	s, err := find(name)
	if err != nil {
		return nil, err
	}
	cfg, err := model.ParseConfig(s.config())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	header := safetensors.Header(s.tensors())
	size := len(header)
	for _, t := range s.tensors() {
		size += 4 * t.Size()
	}
	// Mapped, private and without a file, so that it goes when the model is
	// closed: in Go's heap it would double what the collector lets pile up.
	data, err := mmap.MapRegion(nil, size, mmap.COPY, mmap.ANON, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: memory for %d MB of weights: %w", name, size/1e6, err)
	}
	at := copy(data, header)
	for _, t := range s.tensors() {
		end := at + 4*t.Size()
		s.make(data[at:end], t, 0)
		at = end
	}
	m, err := model.FromBytes(name, cfg, data, data.Unmap)
	if err != nil {
		return nil, errors.Join(err, data.Unmap())
	}
	return m, nil
}

// make is fill on all cores.
func (s *formula) make(dst []byte, t safetensors.Info, first int) {
	parts := slices.Collect(slices.Chunk(dst, 4*chunk))
	parallel.For(len(parts), func(i int) { s.fill(parts[i], t, first+i*chunk) })
}

// stream writes the file's bytes to w, a batch at a time.
func (s *formula) stream(ctx context.Context, w io.Writer) error {
	if _, err := w.Write(safetensors.Header(s.tensors())); err != nil {
		return err
	}
	buf := make([]byte, 4*batch)
	for _, t := range s.tensors() {
		for first := 0; first < t.Size(); first += batch {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			part := buf[:4*min(batch, t.Size()-first)]
			s.make(part, t, first)
			if _, err := w.Write(part); err != nil {
				return err
			}
		}
	}
	return nil
}

// Write writes a synthetic model into a folder, made if need be, as config.json
// and model.safetensors, which has the hash SHA256 and is there whole or not at
// all. A folder that holds another model is refused.
func Write(ctx context.Context, name, dir string) error {
	s, err := find(name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make folder for %s: %w", name, err)
	}
	config, weights := filepath.Join(dir, "config.json"), filepath.Join(dir, "model.safetensors")
	switch old, err := os.ReadFile(config); {
	case err == nil && !bytes.Equal(old, s.config()):
		return fmt.Errorf("%s is another model's: choose another folder for %s", config, name)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("read what is there for %s: %w", name, err)
	case err != nil:
		if _, err := os.Lstat(weights); err == nil {
			return fmt.Errorf("%s is there without a config.json that says it is %s: choose another folder", weights, name)
		}
		// First, so that what a crash leaves is seen to be of this model.
		if err := atomicfile.WriteFile(config, s.config()); err != nil {
			return err
		}
	}
	return atomicfile.Write(weights, func(w io.Writer) error {
		hash := sha256.New()
		if err := s.stream(ctx, io.MultiWriter(w, hash)); err != nil {
			return err
		}
		if got := hex.EncodeToString(hash.Sum(nil)); got != s.sha256 {
			return fmt.Errorf("sha-256 of %s is %s, want %s: the formula does not give its bytes on this machine", name, got, s.sha256)
		}
		return nil
	})
}

package model

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"checkpoint12/model/hub"
)

// WeightsSHA256 returns the SHA-256 of the safetensors file in hexadecimal; of
// several files that of the lines "sha256  name", sorted, each ended by a line
// feed. It is computed at the first call.
func (m *Model) WeightsSHA256() (string, error) { return m.sha256() }

func (m *Model) computeSHA256() (string, error) {
	if m.closed.Load() {
		return "", errClosed
	}
	sum, _ := m.combine(func(f file) (string, bool) { return fmt.Sprintf("%x", sha256.Sum256(f.data)), true })
	return sum, nil
}

// HubSHA256 returns the hash that the Hugging Face hub gives for the weights: its
// cache keeps large files under their SHA-256. ok is false for a model that is not
// in a cache with such names. The weights are not read. If WeightsSHA256 differs
// they are not the hub's: huggingface_hub does not check its downloads, and a file
// may have been written over.
func (m *Model) HubSHA256() (sum string, ok bool) {
	return m.combine(func(f file) (string, bool) {
		named, ok := hub.NamedHash(filepath.Clean(f.path))
		return named, ok && len(named) == 2*sha256.Size
	})
}

// combine returns the hash of the model from those of its files, if all have one.
func (m *Model) combine(hash func(file) (string, bool)) (string, bool) {
	var lines []string
	for _, f := range m.files {
		sum, ok := hash(f)
		switch {
		case !ok:
			return "", false
		case len(m.files) == 1:
			return sum, true
		}
		lines = append(lines, fmt.Sprintf("%s  %s\n", sum, filepath.Base(f.path)))
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "")))
	return hex.EncodeToString(sum[:]), len(lines) > 0
}

// WeightsSize returns the size of the safetensors file in bytes; of several files
// that of all of them.
func (m *Model) WeightsSize() int64 {
	var n int64
	for _, f := range m.files {
		n += int64(len(f.data))
	}
	return n
}

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
func (m *Model) WeightsSHA256() (string, error) {
	m.hash.Do(func() {
		if m.closed.Load() {
			m.hashErr = errClosed
			return
		}
		sums := map[string]string{}
		for _, f := range m.files {
			sums[f.name] = fmt.Sprintf("%x", sha256.Sum256(f.data))
		}
		m.sha256 = combine(sums)
	})
	return m.sha256, m.hashErr
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

// combine returns the hash of a model from those of its files, by their names: the
// hash of the one file, or that of the lines "sha256  name", sorted.
func combine(sums map[string]string) string {
	var lines []string
	for name, sum := range sums {
		if len(sums) == 1 {
			return sum
		}
		lines = append(lines, fmt.Sprintf("%s  %s\n", sum, name))
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "")))
	return hex.EncodeToString(sum[:])
}

// HubSHA256 returns the hash that the Hugging Face hub gives for the weights: its
// cache keeps large files under their SHA-256. ok is false for a model that is not
// in a cache with such names. The weights are not read. If WeightsSHA256 differs
// they are not the hub's: huggingface_hub does not check its downloads, and a file
// may have been written over.
func (m *Model) HubSHA256() (sum string, ok bool) {
	sums := map[string]string{}
	for _, f := range m.files {
		named, ok := hub.NamedHash(filepath.Clean(f.path))
		if !ok || len(named) != 2*sha256.Size {
			return "", false
		}
		sums[f.name] = named
	}
	return combine(sums), len(sums) > 0
}

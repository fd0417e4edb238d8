package cli

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/harness/verify"
	"checkpoint12/model"
	"checkpoint12/model/hub"
	"checkpoint12/model/hub/hubtest"
	"checkpoint12/model/synthetic"
	"checkpoint12/model/zoo"
)

// fullFetch is the variable that has the full-shape model fetched in tests: it
// takes 3 GB of memory and 1.5 GB of disk.
const fullFetch = "CHECKPOINT12_FETCH_MEDIUM"

// From a hub to checkpoint 12, by name alone: the weights are laid out as files of
// real models are, fetched, found, read and judged.
func TestFetchToCheckpoint12(t *testing.T) {
	t.Run("synthetic-tiny", func(t *testing.T) {
		fetchToCheckpoint12(t, "synthetic-tiny", "transformer.")
		if harnesstest.Full() {
			fetchToCheckpoint12(t, "synthetic-tiny", "")
		}
	})
	t.Run("synthetic-medium", func(t *testing.T) {
		if os.Getenv(fullFetch) == "" {
			t.Skipf("the full shape takes 3 GB of memory and 1.5 GB of disk: %s=1 go test -run FetchToCheckpoint12 ./harness/cli", fullFetch)
		}
		weights := fetchToCheckpoint12(t, "synthetic-medium", "")
		if peakMemory == nil {
			t.Skip("how much memory a process has had is not known here")
		}
		// 128 positions, untapped, need no more than the weights once and 300 MB.
		c := exec.Command("checkpoint12", "generate", "--model", "someone/model", "--prompt", "Hello.", "--new", "127")
		path := filepath.Join(t.TempDir(), "peak")
		c.Env = append(os.Environ(), "CHECKPOINT12_TEST_PEAK="+path)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		peak := peakMemory(t, path)
		t.Logf("128 positions: at most %d MB of memory, weights %d MB", peak/1e6, weights/1e6)
		if peak > weights+300e6 {
			t.Errorf("128 positions take %d MB of memory, want at most %d MB of weights and 300 MB", peak/1e6, weights/1e6)
		}
	})
}

// fetchToCheckpoint12 does so with a synthetic model, and returns the bytes of its
// weights.
func fetchToCheckpoint12(t *testing.T, name, prefix string) (weights int64) {
	h, _ := newHub(t)
	m, err := zoo.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	file, weights := realLayout(m, prefix)
	hash := file.Hash()
	h.Add("someone/model", mediumCommit, map[string]hubtest.File{
		hub.ConfigFile: hubtest.Bytes(m.Config().JSON(), false), hub.WeightsFile: file,
	})
	status, stdout, stderr := run("fetch", "someone/model")
	if status != StatusPass || !strings.HasSuffix(stdout, "  sha256 "+hash+"\n") {
		t.Fatalf("status %d, %q, %q; want the hash %s", status, stdout, stderr, hash)
	}
	m.Close()

	s, err := verify.Open(verify.Options{Model: "someone/model", Goldens: goldensFor(t, name, hash)})
	if err != nil {
		t.Fatal(err)
	}
	found, err := s.Check(t.Context(), verify.CheckpointCount)
	if err != nil {
		t.Fatal(err)
	}
	texts := 0
	for _, f := range found {
		if f.Failed {
			t.Error(f.Line())
		}
		if f.Stage == "text" && f.Engine != verify.Self {
			texts++
		}
	}
	if texts < 2 {
		t.Errorf("%d texts were compared with an engine's, want two or more", texts)
	}
	if sum, ok := s.Model.HubSHA256(); !ok || sum != hash {
		t.Errorf("the hub's hash is %q, %v; want %s", sum, ok, hash)
	}
	s.Close()
	return weights
}

// peakMemory returns the most memory, mapped files included, that a process of this program had,
// from what it wrote at its end; nil where that is not known.
var peakMemory func(t *testing.T, path string) (bytes int64)

// goldensFor copies goldens of a synthetic model, bound to a file of another
// layout with the same weights in it.
func goldensFor(t *testing.T, name, sha256 string) string {
	t.Helper()
	root := t.TempDir()
	if err := os.CopyFS(filepath.Join(root, "model", "hello"), os.DirFS(filepath.Join("../../goldens", name, "hello"))); err != nil {
		t.Fatal(err)
	}
	manifests, err := filepath.Glob(filepath.Join(root, "model", "*", "*", "manifest.json"))
	if err != nil || len(manifests) < 2 {
		t.Fatalf("manifests %q, %v; want two engines", manifests, err)
	}
	for _, path := range manifests {
		data, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(data, []byte(synthetic.SHA256(name))) {
			t.Fatalf("%s: %v, or bound to other weights than %s's", path, err, name)
		}
		if err := os.WriteFile(path, bytes.ReplaceAll(data, []byte(synthetic.SHA256(name)), []byte(sha256)), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// realLayout lays a model's weights out as released files have them: sorted by
// name, with metadata, and among the weights the causal masks, attn.bias, and what
// masked places were once filled with, attn.masked_bias. It returns the size of the
// weights alone, too. The file's bytes are the model's own memory.
func realLayout(m *model.Model, prefix string) (file hubtest.File, weights int64) {
	cfg := m.Config()
	tensors := map[string][]float32{}
	shapes := map[string][]int{}
	add := func(name string) {
		data, shape, ok := m.Weight(name)
		if !ok {
			panic(name)
		}
		tensors[name], shapes[name] = data, shape
		weights += 4 * int64(len(data))
	}
	for _, name := range []string{"wte.weight", "wpe.weight", "ln_f.weight", "ln_f.bias"} {
		add(name)
	}
	mask := make([]float32, cfg.Positions*cfg.Positions)
	for i := range cfg.Positions {
		for j := range i + 1 {
			mask[i*cfg.Positions+j] = 1
		}
	}
	for n := range cfg.Layers {
		at := fmt.Sprintf("h.%d.", n)
		for _, part := range []string{"ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj"} {
			add(at + part + ".weight")
			add(at + part + ".bias")
		}
		tensors[at+"attn.bias"], shapes[at+"attn.bias"] = mask, []int{1, 1, cfg.Positions, cfg.Positions}
		tensors[at+"attn.masked_bias"], shapes[at+"attn.masked_bias"] = []float32{-1e4}, []int{}
	}
	header := map[string]any{"__metadata__": map[string]string{"format": "pt"}}
	parts := pieces{nil}
	offset := 0
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		data := tensors[name]
		header[prefix+name] = map[string]any{"dtype": "F32", "shape": shapes[name], "data_offsets": []int{offset, offset + 4*len(data)}}
		parts = append(parts, unsafe.Slice((*byte)(unsafe.Pointer(&data[0])), 4*len(data))) // little-endian, as every system that Go's tests run on
		offset += 4 * len(data)
	}
	text, err := json.Marshal(header)
	if err != nil {
		panic(err)
	}
	parts[0] = append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...)
	return hubtest.File{Content: parts, Size: int64(len(parts[0]) + offset), Large: true}, weights
}

// pieces are bytes that follow each other.
type pieces [][]byte

// ReadAt is io.ReaderAt's.
func (p pieces) ReadAt(b []byte, at int64) (n int, err error) {
	for _, piece := range p {
		if at < int64(len(piece)) {
			n += copy(b[n:], piece[at:])
			at = 0
		} else {
			at -= int64(len(piece))
		}
		if n == len(b) {
			return n, nil
		}
	}
	return n, io.EOF
}

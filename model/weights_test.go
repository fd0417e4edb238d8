package model_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"checkpoint12/model"
	"checkpoint12/model/modeltest"
)

// entry is a tensor on its way into a file.
type entry struct {
	dtype string
	shape []int
	data  []byte
}

// entries turns random weights into tensors of a dtype, by name.
func entries(cfg model.Config, weights map[string][]float32, dtype string) map[string]entry {
	all := map[string]entry{}
	for name, shape := range cfg.Weights() {
		w, ok := weights[name]
		if !ok {
			continue
		}
		e := entry{dtype: dtype, shape: shape}
		for _, v := range w {
			switch dtype {
			case "F32":
				e.data = binary.LittleEndian.AppendUint32(e.data, math.Float32bits(v))
			case "BF16":
				e.data = binary.LittleEndian.AppendUint16(e.data, uint16(math.Float32bits(v)>>16))
			case "F16":
				e.data = binary.LittleEndian.AppendUint16(e.data, toFloat16(v))
			}
		}
		all[name] = e
	}
	return all
}

// toFloat16 cuts a number down to binary16; those too small for a normal one
// become zero.
func toFloat16(v float32) uint16 {
	b := math.Float32bits(v)
	e := int(b>>23&0xff) - 127 + 15
	if e <= 0 {
		return uint16(b >> 16 & 0x8000)
	}
	return uint16(b>>16&0x8000) | uint16(e)<<10 | uint16(b>>13&0x3ff)
}

// encode returns a file with the tensors in the order of their names, as the hub
// has them.
func encode(tensors map[string]entry) []byte {
	header := map[string]any{"__metadata__": map[string]string{"format": "pt"}}
	var data []byte
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		e := tensors[name]
		header[name] = map[string]any{"dtype": e.dtype, "shape": e.shape, "data_offsets": []int{len(data), len(data) + len(e.data)}}
		data = append(data, e.data...)
	}
	h, err := json.Marshal(header)
	if err != nil {
		panic(err)
	}
	h = append(h, strings.Repeat(" ", -len(h)&7)...)
	return slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(len(h))), h, data)
}

// writeModel writes a model folder with one file or several.
func writeModel(t *testing.T, cfg model.Config, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	files["config.json"] = cfg.JSON()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Every way in which files lay out the same weights gives the same logits.
func TestOpenLayouts(t *testing.T) {
	weights := modeltest.Weights(modeltest.Micro, 1)
	plain := entries(modeltest.Micro, weights, "F32")
	want := logitsOf(t, modeltest.New(t, modeltest.Micro, 1), model.SessionOptions{}, []int{1, 2, 3}, []int{4})

	// OpenAI's files have causal masks among the weights, files saved from a whole
	// GPT2LMHeadModel a prefix too.
	masked := maps.Clone(plain)
	for n := range modeltest.Micro.Layers {
		masked[fmt.Sprintf("h.%d.attn.bias", n)] = entry{"BOOL", []int{1, 1, 2, 2}, []byte{1, 0, 1, 1}}
		masked[fmt.Sprintf("h.%d.attn.masked_bias", n)] = entry{"F32", []int{}, []byte{0, 0, 0x80, 0xff}} // -Inf is fine there
	}
	prefixed, both := map[string]entry{}, map[string]entry{}
	for name, e := range masked {
		both["transformer."+name] = e
		if _, ok := plain[name]; ok {
			prefixed["transformer."+name] = e
		}
	}
	tied := maps.Clone(prefixed)
	tied["lm_head.weight"] = plain["wte.weight"]
	shards, shardedSum := sharded(t, plain)

	for _, test := range []struct {
		name  string
		files map[string][]byte
		sha   string
	}{
		{"plain", map[string][]byte{"model.safetensors": encode(plain)}, fmt.Sprintf("%x", sha256.Sum256(encode(plain)))},
		{"prefixed", map[string][]byte{"model.safetensors": encode(prefixed)}, ""},
		{"mask buffers", map[string][]byte{"model.safetensors": encode(masked)}, ""},
		{"prefixed mask buffers", map[string][]byte{"model.safetensors": encode(both)}, ""},
		{"head of its own, the same as wte", map[string][]byte{"model.safetensors": encode(tied)}, ""},
		{"header of odd length", map[string][]byte{"model.safetensors": misalign(encode(plain))}, ""},
		{"two files", shards, shardedSum},
	} {
		dir := writeModel(t, modeltest.Micro, test.files)
		m, err := model.Open("some", dir)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		wantSameBits(t, test.name, logitsOf(t, m, model.SessionOptions{}, []int{1, 2, 3}, []int{4}), want)
		if m.Name() != "some" {
			t.Errorf("%s: Name() = %q, want the one given", test.name, m.Name())
		}
		for range 2 {
			sha, err := m.WeightsSHA256()
			if err != nil || test.sha != "" && sha != test.sha || len(sha) != 64 {
				t.Errorf("%s: WeightsSHA256() = %q, %v; want %q", test.name, sha, err, test.sha)
			}
		}
		size := 0
		for file, data := range test.files {
			if strings.HasSuffix(file, ".safetensors") {
				size += len(data)
			}
		}
		if got := m.WeightsSize(); got != int64(size) {
			t.Errorf("%s: WeightsSize() = %d, want %d", test.name, got, size)
		}
		for name, w := range weights {
			data, _, ok := m.Weight(name)
			if i := differAt(w, data); !ok || i >= 0 {
				t.Errorf("%s: Weight(%s) differs at %d", test.name, name, i)
			}
		}
		if _, _, ok := m.Weight("h.0.attn.bias"); ok {
			t.Errorf("%s: the mask buffer is a weight", test.name)
		}
		if err := m.Close(); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if err := m.Close(); err != nil {
			t.Errorf("%s: closing twice: %v", test.name, err)
		}
	}
}

// What a config says of the head holds for the file: one that is tied is wte, and one that is
// not is there.
func TestTying(t *testing.T) {
	plain := modeltest.Weights(modeltest.Micro, 1)
	same, other := maps.Clone(plain), maps.Clone(plain)
	same["lm_head.weight"] = plain["wte.weight"]
	other["lm_head.weight"] = modeltest.Weights(modeltest.Micro, 2)["wte.weight"]
	for _, test := range []struct {
		name    string
		tying   model.Tying
		weights map[string][]float32
		want    string // in the error
	}{
		{"not said", model.Unsaid, plain, ""},
		{"not said, and there", model.Unsaid, other, ""},
		{"tied", model.Tied, plain, ""},
		{"tied, and there all the same", model.Tied, same, ""},
		{"tied, and another is there", model.Tied, other, `"lm_head.weight" is not wte.weight, and tie_word_embeddings is true`},
		{"untied", model.Untied, other, ""},
		{"untied, and not there", model.Untied, plain, `"lm_head.weight" is missing: tie_word_embeddings is false`},
	} {
		cfg := modeltest.Micro
		cfg.Tying = test.tying
		_, err := model.FromBytes("micro", cfg, modeltest.Encode(cfg, test.weights), nil)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q in it", test.name, err, test.want)
		}
	}
}

// misalign makes the header one byte longer, so that no value lies at a
// multiple of four.
func misalign(file []byte) []byte {
	n := binary.LittleEndian.Uint64(file)
	out := binary.LittleEndian.AppendUint64(nil, n+1)
	out = append(append(out, file[8:8+n]...), ' ')
	return append(out, file[8+n:]...)
}

// sharded returns the weights in two files and their hash, as the contract has it.
func sharded(t *testing.T, weights map[string]entry) (files map[string][]byte, sum string) {
	t.Helper()
	first, second := maps.Clone(weights), map[string]entry{}
	for _, name := range []string{"wte.weight", "h.1.mlp.c_fc.bias", "ln_f.weight"} {
		second[name] = first[name]
		delete(first, name)
	}
	index, err := json.Marshal(map[string]any{"metadata": map[string]any{"total_size": 1}, "weight_map": map[string]string{
		"wte.weight": "model-00002-of-00002.safetensors", "wpe.weight": "model-00001-of-00002.safetensors",
	}})
	if err != nil {
		t.Fatal(err)
	}
	a, b := encode(first), encode(second)
	lines := []string{
		fmt.Sprintf("%x  model-00001-of-00002.safetensors\n", sha256.Sum256(a)),
		fmt.Sprintf("%x  model-00002-of-00002.safetensors\n", sha256.Sum256(b)),
	}
	slices.Sort(lines)
	return map[string][]byte{
		"model.safetensors.index.json":     index,
		"model-00001-of-00002.safetensors": a, "model-00002-of-00002.safetensors": b,
	}, fmt.Sprintf("%x", sha256.Sum256([]byte(lines[0]+lines[1])))
}

// Half precision is widened, not rounded again: the model of weights that are
// cut to it is the same to the bit in F32.
func TestHalfPrecision(t *testing.T) {
	for dtype, lost := range map[string]uint32{"F16": 1<<13 - 1, "BF16": 1<<16 - 1} { // bits of a float32
		cut := modeltest.Weights(modeltest.Micro, 1)
		for _, w := range cut {
			for i, v := range w {
				w[i] = math.Float32frombits(math.Float32bits(v) &^ lost)
				if dtype == "F16" && math.Abs(float64(v)) < 0x1p-14 {
					w[i] = 0
				}
			}
		}
		got, err := model.FromBytes(dtype, modeltest.Micro, encode(entries(modeltest.Micro, cut, dtype)), nil)
		if err != nil {
			t.Fatal(err)
		}
		want := modeltest.Of(t, modeltest.Micro, cut)
		wantSameBits(t, dtype, logitsOf(t, got, model.SessionOptions{}, []int{1, 2}), logitsOf(t, want, model.SessionOptions{}, []int{1, 2}))
	}
}

// A bad file is one line that names the file and the tensor.
func TestWeightErrors(t *testing.T) {
	plain := entries(modeltest.Micro, modeltest.Weights(modeltest.Micro, 1), "F32")
	good := encode(plain)
	change := func(edit func(map[string]entry)) []byte {
		tensors := maps.Clone(plain)
		edit(tensors)
		return encode(tensors)
	}
	set := func(name string, i int, v float32) []byte {
		return change(func(m map[string]entry) {
			e := m[name]
			e.data = slices.Clone(e.data)
			binary.LittleEndian.PutUint32(e.data[4*i:], math.Float32bits(v))
			m[name] = e
		})
	}
	header := func(from, to string) []byte {
		n := binary.LittleEndian.Uint64(good)
		h := string(good[8 : 8+n])
		if !strings.Contains(h, from) {
			t.Fatalf("the header has no %s", from)
		}
		h = strings.Replace(h, from, to, 1)
		return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(h))), h...), good[8+n:]...)
	}
	const fc = "h.1.mlp.c_fc.weight"
	for _, test := range []struct {
		name string
		file []byte
		want []string
	}{
		{"missing", change(func(m map[string]entry) { delete(m, fc) }), []string{fc, "missing"}},
		{"missing bias", change(func(m map[string]entry) {
			m["h.1.attn.bias"] = m["h.1.attn.c_attn.bias"]
			delete(m, "h.1.attn.c_attn.bias")
		}), []string{"h.1.attn.c_attn.bias", "missing"}},
		{"surplus layer", change(func(m map[string]entry) { m["h.3.ln_1.bias"] = m["ln_f.bias"] }), []string{"h.3.ln_1.bias", "does not belong"}},
		{"surplus word", change(func(m map[string]entry) { m["score.weight"] = m["ln_f.bias"] }), []string{"score.weight", "does not belong"}},
		{"transposed", change(func(m map[string]entry) {
			e := m[fc]
			e.shape = []int{20, 12}
			m[fc] = e
		}), []string{fc, "[20 12]", "[12 20]"}},
		{"integers", change(func(m map[string]entry) {
			e := m["ln_f.bias"]
			e.dtype = "I32"
			m["ln_f.bias"] = e
		}), []string{"ln_f.bias", "I32", "F32"}},
		{"NaN", set(fc, 7, float32(math.NaN())), []string{fc, "NaN", "element 7"}},
		{"infinity, last", set("wte.weight", 37*12-1, float32(math.Inf(-1))), []string{"wte.weight", "-Inf", "element 443"}},
		{"both key styles", change(func(m map[string]entry) { m["transformer."+fc] = m[fc] }), []string{fc, "twice"}},
		{"a key twice", header(`"ln_f.bias"`, `"ln_f.weight"`), []string{"ln_f.weight", "twice"}},
		{"an inner key twice", header(`"dtype":"F32"`, `"dtype":"F32","dtype":"F32"`), []string{"dtype", "twice"}},
		{"null header", append([]byte{4, 0, 0, 0, 0, 0, 0, 0}, "null"...), []string{"JSON object"}},
		{"null tensor", header(`"ln_f.bias":{`, `"x":null,"ln_f.bias":{`), []string{`"x"`, "JSON object"}},
		{"unknown type", header(`"dtype":"F32"`, `"dtype":"F33"`), []string{"F33"}},
		{"shape overflows", header(`"shape":[12]`, `"shape":[9223372036854775807,4]`), []string{"overflow"}},
		{"cut short", good[:len(good)-1], []string{"safetensors"}},
		{"cut in the header", good[:100], []string{"cut short"}},
		{"something after it", append(slices.Clone(good), 0), []string{"safetensors"}},
		{"huge header", append([]byte{255, 255, 255, 255, 255, 255, 255, 127}, good[8:]...), []string{"header claims"}},
		{"longer header than any", append(binary.LittleEndian.AppendUint64(nil, 17<<20), make([]byte, 17<<20)...), []string{"longer than"}},
		{"empty", nil, []string{"0 bytes"}},
	} {
		dir := writeModel(t, modeltest.Micro, map[string][]byte{"model.safetensors": test.file})
		m, err := model.Open("some", dir)
		if err == nil {
			t.Errorf("%s: no error", test.name)
			m.Close()
			continue
		}
		for _, want := range append(test.want, filepath.Join(dir, "model.safetensors")) {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %q does not say %q", test.name, err, want)
			}
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error has several lines: %q", test.name, err)
		}
	}
}

// The cache's name of a file is the hub's word, and its content may be another.
func TestHubSHA256(t *testing.T) {
	plain := entries(modeltest.Micro, modeltest.Weights(modeltest.Micro, 1), "F32")
	weights := encode(plain)
	sum := fmt.Sprintf("%x", sha256.Sum256(weights))
	// cached puts files into a folder like the hub's cache, by the names of their blobs.
	cached := func(files map[string][]byte, blob map[string]string) *model.Model {
		t.Helper()
		dir := writeModel(t, modeltest.Micro, files)
		for file, blob := range blob {
			target := filepath.Join(t.TempDir(), "blobs", blob)
			if err := os.Mkdir(filepath.Dir(target), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(filepath.Join(dir, file), target); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(target, filepath.Join(dir, file)); err != nil {
				t.Skipf("no symbolic links here: %v", err)
			}
		}
		m, err := model.Open("cached", dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		return m
	}
	for name, want := range map[string]string{sum: sum, strings.Repeat("ab", 32): strings.Repeat("ab", 32), strings.Repeat("ab", 20): "", "x": ""} {
		m := cached(map[string][]byte{"model.safetensors": weights}, map[string]string{"model.safetensors": name})
		if got, ok := m.HubSHA256(); got != want || ok != (want != "") {
			t.Errorf("blob %s: HubSHA256() = %q, %v; want %q", name, got, ok, want)
		}
		if got, err := m.WeightsSHA256(); err != nil || got != sum {
			t.Errorf("blob %s: WeightsSHA256() = %q, %v; want that of the content", name, got, err)
		}
	}
	if got, ok := modeltest.New(t, modeltest.Micro, 1).HubSHA256(); ok {
		t.Errorf("a model in memory: %q", got)
	}
	// Of several files it is what WeightsSHA256 is made of.
	files, want := sharded(t, plain)
	blobs := map[string]string{}
	for name, data := range files {
		if strings.HasSuffix(name, ".safetensors") {
			blobs[name] = fmt.Sprintf("%x", sha256.Sum256(data))
		}
	}
	if got, ok := cached(files, blobs).HubSHA256(); !ok || got != want {
		t.Errorf("two files: HubSHA256() = %q, %v; want %q", got, ok, want)
	}
}

func TestFolderErrors(t *testing.T) {
	index := func(name string) []byte { return fmt.Appendf(nil, `{"weight_map":{"wte.weight":%q}}`, name) }
	for _, test := range []struct {
		name  string
		files map[string][]byte
		want  string
	}{
		{"no weights", map[string][]byte{}, "no model.safetensors"},
		{"pickled weights", map[string][]byte{"pytorch_model.bin": {1}}, "use model.safetensors"},
		{"index is no JSON", map[string][]byte{"model.safetensors.index.json": []byte("x")}, "index.json"},
		{"index lists nothing", map[string][]byte{"model.safetensors.index.json": []byte("{}")}, "lists 0 files"},
		{"index leads out of the folder", map[string][]byte{"model.safetensors.index.json": index("../x.safetensors")}, "not a file of this folder"},
		{"a file of the index is missing", map[string][]byte{"model.safetensors.index.json": index("x.safetensors")}, "x.safetensors"},
	} {
		dir := writeModel(t, modeltest.Micro, test.files)
		if _, err := model.Open("some", dir); err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: error %v does not name the folder and say %q", test.name, err, test.want)
		}
	}
}

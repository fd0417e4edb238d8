package synthetic

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"checkpoint12/model"
	"checkpoint12/model/safetensors"
)

func TestSHA256(t *testing.T) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			s, err := find(name)
			if err != nil {
				t.Fatal(err)
			}
			if s.layers > 3 && (os.Getenv("CHECKPOINT12_FULL") == "" || testing.Short() || raceDetector) {
				t.Skip("1.4 GB to make and hash: CHECKPOINT12_FULL=1 go test -run SHA256 ./model/synthetic, without -short and -race")
			}
			hash := sha256.New()
			if err := s.stream(t.Context(), hash); err != nil {
				t.Fatal(err)
			}
			want := SHA256(name)
			if got := hex.EncodeToString(hash.Sum(nil)); got != want || len(want) != 64 {
				t.Errorf("sha-256 of model.safetensors is %s, pinned is %q", got, want)
			}
		})
	}
	if got := SHA256("gpt2"); got != "" {
		t.Errorf("SyntheticSHA256 of a released model = %q", got)
	}
}

// TestSyntheticSHA256InEveryLanguage: each implementation tests its bytes
// against the hash it has pinned; here is that they pinned the same one.
func TestSyntheticSHA256InEveryLanguage(t *testing.T) {
	for _, path := range []string{"../../reference/float64/synthetic.py", "../../reference/candle/src/synth.rs"} {
		source, err := os.ReadFile(filepath.FromSlash(path))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range Names() {
			if !bytes.Contains(source, []byte(`"`+SHA256(name)+`"`)) {
				t.Errorf("%s: the hash of %s is not there", path, name)
			}
		}
	}
}

// TestSyntheticElements checks single elements of the model that is seldom hashed
// against those that reference/float64/synthetic.py computes in numpy, every rule
// among them.
func TestSyntheticElements(t *testing.T) {
	s, err := find("synthetic-medium")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		tensor string
		at     int
		want   float32
		rule   string
	}{
		{"wte.weight", 0, 0.0959419, "seed enters"},
		{"wte.weight", 909, -0.19844075, "spike column, first row"},
		{"wte.weight", 51463053, -0.20024095, "spike column, last row"},
		{"wte.weight", 51463167, -0.15190749, "last"},
		{"wpe.weight", 1, 0.02559492, "name enters"},
		{"h.0.ln_1.weight", 909, 0.035969518, "spike gain"},
		{"h.23.ln_2.weight", 909, 0.07294513, "spike gain, last layer"},
		{"h.23.ln_2.weight", 910, 0.5045802, "beside the spike"},
		{"h.0.mlp.c_proj.bias", 909, 127.93237, "spike bias"},
		{"h.1.mlp.c_proj.bias", 909, -0.008931443, "no spike bias in other layers"},
		{"h.23.attn.c_attn.weight", 3145727, 0.06739377, "projection"},
		{"h.1.mlp.c_fc.weight", 4096, 0.019149864, "projection"},
		{"ln_f.weight", 909, 10.097, "final gain of the spike"},
		{"ln_f.weight", 0, -0.6243657, "odd hash: negative"},
		{"ln_f.weight", 1, 0.7135473, "even hash: positive"},
		{"ln_f.bias", 1023, -0.031068265, "last of the file"},
	} {
		i := slices.IndexFunc(s.tensors(), func(t safetensors.Info) bool { return t.Name == tt.tensor })
		if i < 0 {
			t.Errorf("there is no %s", tt.tensor)
			continue
		}
		// From its own place, and as the middle of a chunk that starts before it.
		for _, before := range []int{0, min(tt.at, 2*s.embd+7)} {
			b := make([]byte, 4*(before+1))
			s.fill(b, s.tensors()[i], tt.at-before)
			if got := math.Float32frombits(binary.LittleEndian.Uint32(b[4*before:])); got != tt.want {
				t.Errorf("%s[%d], %d into a chunk: got %v, want %v (%s)", tt.tensor, tt.at, before, got, tt.want, tt.rule)
			}
		}
	}
}

func TestSyntheticInMemory(t *testing.T) {
	m, err := Open("synthetic-tiny")
	if err != nil {
		t.Fatal(err)
	}
	if m.Name() != "synthetic-tiny" {
		t.Errorf("name %q", m.Name())
	}
	want := model.Config{Vocab: 50257, Positions: 48, Embd: 80, Layers: 3, Heads: 4, Inner: 320, Eps: 1e-5}
	if got := m.Config(); got.Vocab != want.Vocab || got.Positions != want.Positions || got.Embd != want.Embd ||
		got.Layers != want.Layers || got.Heads != want.Heads || got.Inner != want.Inner || got.Eps != want.Eps {
		t.Errorf("config %+v, want %+v", got, want)
	}
	if got, err := m.WeightsSHA256(); err != nil || got != SHA256("synthetic-tiny") {
		t.Errorf("hash of the weights in memory %s, %v", got, err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if m, err := Open("synthetic-huge"); err == nil || !strings.Contains(err.Error(), "synthetic-tiny, synthetic-medium") {
		t.Errorf("unknown name: %v, %v", m, err)
	}
}

func TestSyntheticMediumConfig(t *testing.T) {
	s, err := find("synthetic-medium")
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := model.ParseConfig(s.config())
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Layers != 24 || cfg.Heads != 16 || cfg.Embd != 1024 || cfg.Vocab != 50257 || cfg.Positions != 1024 || cfg.Inner != 4096 {
		t.Errorf("%+v is not the shape of GPT-2 Medium", cfg)
	}
	parameters := 0
	for _, tensor := range s.tensors() {
		parameters += tensor.Size()
	}
	if parameters != 354823168 { // as published: 355 M
		t.Errorf("%d parameters", parameters)
	}
}

func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "tiny")
	for _, when := range []string{"into a new folder", "again"} {
		if err := Write(t.Context(), "synthetic-tiny", dir); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
	}
	if got, want := list(t, dir), []string{"config.json", "model.safetensors"}; !slices.Equal(got, want) {
		t.Errorf("folder holds %q, want %q", got, want)
	}
	for _, name := range []string{"config.json", "model.safetensors"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o444 != 0o444 {
			t.Errorf("%s has mode %v: others cannot read it", name, info.Mode())
		}
	}
	m, err := model.Open("tiny", dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if got, err := m.WeightsSHA256(); err != nil || got != SHA256("synthetic-tiny") {
		t.Errorf("hash of what was written: %s, %v", got, err)
	}
}

func TestWriteSyntheticRefuses(t *testing.T) {
	folder := func(files ...string) string {
		dir := t.TempDir()
		for _, f := range files {
			if err := os.WriteFile(filepath.Join(dir, f), []byte("mine"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	other := folder("config.json")
	weights := folder("model.safetensors")
	file := filepath.Join(folder("file"), "file")
	occupied := folder()
	if err := os.MkdirAll(filepath.Join(occupied, "model.safetensors", "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(occupied, "config.json"), formulas[0].config(), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, dir, want, why string }{
		{"synthetic-tiny", other, "another model's", "would turn somebody's model into this one"},
		{"synthetic-tiny", weights, "without a config.json", "would replace weights of unknown origin"},
		{"synthetic-tiny", file, "not a directory", "a file of that name"},
		{"synthetic-tiny", occupied, "write " + occupied, "a folder where the file should be"},
		{"gpt2", folder(), "not a synthetic model", "not ours to make"},
		{"../x", folder(), "not a synthetic model", "no name"},
	} {
		before := tree(t, filepath.Dir(tt.dir))
		err := Write(t.Context(), tt.name, tt.dir)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one saying %q", tt.why, err, tt.want)
		}
		if after := tree(t, filepath.Dir(tt.dir)); !slices.Equal(before, after) {
			t.Errorf("%s: left behind %q", tt.why, after)
		}
	}
	for _, f := range []string{filepath.Join(other, "config.json"), filepath.Join(weights, "model.safetensors")} {
		if b, err := os.ReadFile(f); err != nil || string(b) != "mine" {
			t.Errorf("%s now holds %.20q, %v", f, b, err)
		}
	}
}

// failAfter is a disk that fills up.
type failAfter struct{ left int }

func (w *failAfter) Write(b []byte) (int, error) {
	if w.left -= len(b); w.left < 0 {
		return 0, errors.New("full")
	}
	return len(b), nil
}

func TestSyntheticStreamStops(t *testing.T) {
	s := formulas[0]
	var whole bytes.Buffer
	if err := s.stream(t.Context(), &whole); err != nil {
		t.Fatal(err)
	}
	for _, left := range []int{0, 1000, 5 << 20, whole.Len() - 1} {
		if err := s.stream(t.Context(), &failAfter{left}); err == nil || err.Error() != "full" {
			t.Errorf("disk full after %d bytes: error %v", left, err)
		}
	}
	if err := s.stream(t.Context(), &failAfter{whole.Len()}); err != nil {
		t.Errorf("disk just large enough: %v", err)
	}
}

func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func tree(t *testing.T, dir string) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		paths = append(paths, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

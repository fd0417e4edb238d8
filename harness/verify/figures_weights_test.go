package verify

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/verify/figures"
	"checkpoint12/model/synthetic"
	"checkpoint12/model/zoo"
)

// tinyFiles writes synthetic-tiny once and returns config.json and the
// safetensors.
func tinyFiles(t *testing.T) (config, weights []byte) {
	t.Helper()
	dir := t.TempDir()
	if err := synthetic.Write(t.Context(), "synthetic-tiny", dir); err != nil {
		t.Fatal(err)
	}
	config, err1 := os.ReadFile(filepath.Join(dir, "config.json"))
	weights, err2 := os.ReadFile(filepath.Join(dir, "model.safetensors"))
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	return config, weights
}

// rename rewrites a safetensors file with other names, and the same data.
func rename(t *testing.T, file []byte, name func(string) string) []byte {
	t.Helper()
	n := 8 + binary.LittleEndian.Uint64(file)
	var header map[string]json.RawMessage
	if err := json.Unmarshal(file[8:n], &header); err != nil {
		t.Fatal(err)
	}
	renamed := map[string]json.RawMessage{}
	for k, v := range header {
		renamed[name(k)] = v
	}
	h, err := json.Marshal(renamed)
	if err != nil {
		t.Fatal(err)
	}
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(h)))
	return append(append(out, h...), file[n:]...)
}

// A wrong file is named before any stage is blamed.
func TestWeightsComeFirst(t *testing.T) {
	config, right := tinyFiles(t)
	end := 8 + int(binary.LittleEndian.Uint64(right))
	damage := func(at int) []byte {
		b := slices.Clone(right)
		b[at] ^= 0x80 // the sign
		return b
	}
	for _, tt := range []struct {
		name    string
		weights []byte
		failed  []string // figures, and no others
		stages  bool     // something computed is off too
		says    string   // of the first failure
	}{
		{"the right file", right, nil, false, ""},
		{"the sign of one value of wte", damage(end + 4*80*15496 + 3), []string{"weights.sha256", "weights.wte.weight"}, true, "model.safetensors: not the file that the figures are of"},
		{"the sign of one value of the last tensor", damage(len(right) - 1), []string{"weights.sha256", "weights.ln_f.bias"}, true, "SHA-256"},
		{"stored with the prefix", rename(t, right, func(s string) string { return "transformer." + s }), []string{"weights.sha256", "weights.bytes"}, false, "stored in another way"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			home := t.TempDir()
			write(t, filepath.Join(home, "synthetic-tiny", "config.json"), config)
			write(t, filepath.Join(home, "synthetic-tiny", "model.safetensors"), tt.weights)
			t.Setenv(zoo.ModelsVariable, home)
			s, err := Open(Options{Model: "synthetic-tiny", Goldens: figuresOnly(t), Command: "go run ."})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			s.Cases = nil                                                          // no texts: it is not about them
			s.figures = slices.DeleteFunc(s.figures, func(f figures.Figure) bool { // one of a stage shows as much
				return !strings.HasPrefix(f.Name, "weights.") && !strings.HasPrefix(f.Name, "ln_f.")
			})
			r, err := s.Verify(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var bad []string
			stages := false
			for _, f := range r.Failures {
				if f.Checkpoint == CheckWeights {
					bad = append(bad, f.Figure)
				} else {
					stages = true
				}
			}
			if !slices.Equal(bad, tt.failed) || r.Failed() != (bad != nil) || stages && !tt.stages {
				t.Errorf("%v fail, stages too %t; want %v, %t", bad, stages, tt.failed, tt.stages)
			}
			if bad == nil {
				return
			}
			if r.First.Checkpoint != CheckWeights || !strings.Contains(full(*r.First), tt.says) {
				t.Errorf("first is %s, want the weights and %q", full(*r.First), tt.says)
			}
			text := textOf(t, r)
			if strings.Contains(text, "checkpoint 12 (end to end):") {
				t.Errorf("a text is blamed though the weights are wrong:\n%s", text)
			}
			for _, want := range []string{"FAIL: weights first fails at weights/figures/sha256", "look at: " + Info(CheckWeights).Fix} {
				if !strings.Contains(text, want) {
					t.Errorf("report lacks %q:\n%s", want, text)
				}
			}
		})
	}
}

func TestEachFigureOfTheWeightsPerturbedFails(t *testing.T) {
	t.Parallel()
	s := withFigures(t, nil)
	check := func(change string, list []figures.Figure, want string) {
		t.Helper()
		found, err := s.judgeWeights(list)
		if err != nil {
			t.Fatal(err)
		}
		if bad := strings.Join(failed(found), " "); bad != want {
			t.Errorf("%s: %q fail, want %q", change, bad, want)
		}
	}
	for _, f := range s.figures {
		if !f.Reduce.OfWeights() {
			continue
		}
		with := []figures.Figure{f}
		g := &with[0]
		check("unperturbed", with, "")
		switch f.Reduce {
		case figures.SHA256:
			g.Want.Text = strings.Repeat("ab", 32)
			check("another hash", with, f.Name)
			continue
		case figures.Bytes:
			g.Want.Values = []float64{f.Want.Values[0] + 1}
			check("another size", with, f.Name)
			continue
		}
		for n := range f.Want.Values {
			for _, change := range []float64{1 + 2e-7, 1 - 2e-7} {
				g.Want.Values = slices.Clone(f.Want.Values)
				g.Want.Values[n] *= change
				check(fmt.Sprintf("value %d of %s", n, f.Name), with, f.Name)
			}
			if f.Stage == "wte.weight" {
				break // summing it each time takes long
			}
		}
		*g = f
		g.Shape = append([]int{1}, f.Shape...)
		check("another shape", with, f.Name)
		*g = f
		g.Stage = "h.7.ln_1.weight"
		check("another tensor", with, f.Name)
	}
}

// Where the figures have no hash, as of the larger released models, the one under
// which the hub's cache keeps the file stands in for it.
func TestWeightsByTheHubsHash(t *testing.T) {
	published, err := figures.Published()
	if err != nil {
		t.Fatal(err)
	}
	const name = "gpt2-medium"
	medium := published.Models[name]
	commit := medium[slices.IndexFunc(medium, func(f figures.Figure) bool { return f.Reduce == figures.Commit })].Want.Text
	config, weights := tinyFiles(t)
	sum := fmt.Sprintf("%x", sha256.Sum256(weights))
	pinned, other := commit, strings.Repeat("0", 40)
	for _, tt := range []struct {
		name, blob, commit string // blob "": not in the hub's cache
		failed             bool
		note, unknown      string
	}{
		{"as it was fetched", sum, pinned, false, "", ""},
		{"damaged since, or on its way", strings.Repeat("ab", 32), pinned, true, "", ""},
		{"of another revision", sum, other, false, "fetched at commit 000000000000", ""},
		{"from elsewhere", "", "", false, "", "go run . fetch gpt2-medium"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cache, home := t.TempDir(), t.TempDir()
			t.Setenv("HF_HUB_CACHE", cache)
			t.Setenv(zoo.ModelsVariable, home)
			if tt.blob == "" {
				write(t, filepath.Join(home, name, "config.json"), config)
				write(t, filepath.Join(home, name, "model.safetensors"), weights)
			} else {
				repo := filepath.Join(cache, "models--openai-community--"+name)
				write(t, filepath.Join(repo, "blobs", tt.blob), weights)
				snapshot := filepath.Join(repo, "snapshots", tt.commit)
				write(t, filepath.Join(snapshot, "config.json"), config)
				if err := os.Symlink(filepath.Join("..", "..", "blobs", tt.blob), filepath.Join(snapshot, "model.safetensors")); err != nil {
					t.Skipf("no symbolic links here: %v", err)
				}
			}
			m, err := zoo.Load(name)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			// Not by open, which would say at once that so small a model is no Medium.
			s := &Suite{Model: m, Name: name, o: Options{Model: name, Command: "go run ."}, figures: medium}
			found, err := s.Check(t.Context(), CheckWeights)
			if err != nil {
				t.Fatal(err)
			}
			if tt.unknown != "" {
				if why := s.WeightsUnknown(); len(found) > 0 || !strings.Contains(why, tt.unknown) {
					t.Errorf("%v, unknown because %q; want nothing found and %q", found, why, tt.unknown)
				}
				if c := s.summarize(CheckWeights, found); c.Verdict != NotChecked || c.Compared != 0 {
					t.Errorf("%+v, want not checked", c)
				}
				return
			}
			if len(found) != 1 || found[0].Figure != "weights.hub_sha256" || found[0].Failed != tt.failed || s.WeightsUnknown() != "" {
				t.Fatalf("%+v, failed should be %t", found, tt.failed)
			}
			if f := found[0]; tt.note != "" && !strings.Contains(f.Note, tt.note) || (f.Closer == "go run . fetch gpt2-medium") != tt.failed {
				t.Errorf("note %q, closer %q; want %q", f.Note, f.Closer, tt.note)
			}
		})
	}
	// And a model that cannot be Medium is refused before anything is computed.
	home := t.TempDir()
	write(t, filepath.Join(home, name, "config.json"), config)
	write(t, filepath.Join(home, name, "model.safetensors"), weights)
	t.Setenv(zoo.ModelsVariable, home)
	if _, err := Open(Options{Model: name, Goldens: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "not of the model gpt2-medium") {
		t.Errorf("error %v, want one that says so", err)
	}
}

// A folder's figures are found by the hash of its weights.
func TestFiguresByHash(t *testing.T) {
	config, weights := tinyFiles(t)
	for _, tt := range []struct {
		name    string
		weights []byte
		want    bool
	}{
		{"the weights of the figures", weights, true},
		{"others", rename(t, weights, func(s string) string { return "transformer." + s }), false},
	} {
		dir := filepath.Join(t.TempDir(), "synthetic-tiny") // a name that says nothing
		write(t, filepath.Join(dir, "config.json"), config)
		write(t, filepath.Join(dir, "model.safetensors"), tt.weights)
		s, err := Open(Options{Model: dir, Goldens: figuresOnly(t)})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if (len(s.figures) > 0) != tt.want || (len(s.Cases) > 0) != tt.want {
			t.Errorf("%s: %d figures and %d cases, want some: %t", tt.name, len(s.figures), len(s.Cases), tt.want)
		}
	}
	published, err := figures.Published()
	if err != nil {
		t.Fatal(err)
	}
	// The released models' are found in the same way, and by their names.
	gpt2 := published.Models["gpt2"]
	sum := gpt2[slices.IndexFunc(gpt2, func(f figures.Figure) bool { return f.Reduce == figures.SHA256 })].Want.Text
	for _, by := range [][2]string{{"gpt2", ""}, {"", sum}} {
		if found, err := findFigures(nil, by[0], by[1]); err != nil || len(found) != len(gpt2) || found[0].Name != gpt2[0].Name {
			t.Errorf("by %q: %d figures, %v", by, len(found), err)
		}
	}
	for name := range maps.Keys(published.Models) {
		if _, _, err := zoo.Source(name); err != nil {
			t.Errorf("figures of %s, which cannot be fetched: %v", name, err)
		}
	}
}

func TestFiguresDoNotBlameBeforeGoldens(t *testing.T) {
	s := &Suite{schedule: gpt2.Schedule(2, nil)}
	weights := Finding{Checkpoint: CheckWeights, Engine: Figures, Stage: "weights", Failed: true}
	golden := Finding{Checkpoint: 4, Engine: "float64", Step: 7, Stage: "h.1.attn.scores", Failed: true}
	figure := Finding{Checkpoint: 8, Engine: Figures, Stage: "ln_f", Failed: true}
	later := Finding{Checkpoint: 11, Engine: Figures, Stage: "probs_t1", Failed: true}
	text := Finding{Checkpoint: 12, Engine: Figures, Stage: "text", Failed: true}
	passed := Finding{Checkpoint: 1, Engine: "float64", Stage: "h.0.ln_1", Share: harness.Float(0.5)}
	for _, tt := range []struct {
		name  string
		found []Finding
		want  Finding
	}{
		{"the weights come before all", []Finding{passed, text, golden, figure, weights}, weights},
		{"a golden knows the stage, though at a later step", []Finding{text, later, figure, golden}, golden},
		{"figures in execution order", []Finding{text, later, figure}, figure},
		{"a text comes last", []Finding{text, later}, later},
	} {
		if got := s.first(tt.found); got == nil || got.Stage != tt.want.Stage || got.Checkpoint != tt.want.Checkpoint {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

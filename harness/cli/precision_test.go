package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/internal/rounding"
	"checkpoint12/model"
	"checkpoint12/model/zoo"
)

// writeRun writes a run of a model that computes in a precision, and the weights that it uses
// if these are given.
func writeRun(t *testing.T, dir string, m *model.Model, p gpt2.Precision, weights map[string][]float32) {
	t.Helper()
	planter := faults.Planter{Model: m, Plant: faults.InTF32(nil)}
	products := gpt2.Override{Value: planter.Value}
	rec, err := gpt2.Record(t.Context(), m, gpt2.Run{Tokens: [][]int{{5, 7, 9}}, New: 3, Feed: [][]int{{11, 13}}, Tap: func(stage string, shape []int, data []float32) {
		if p.Name == gpt2.TF32.Name {
			products.Tap(stage, shape, data)
		}
		p.Tap(stage, shape, data)
	}})
	if err != nil {
		t.Fatal(err)
	}
	put := func(name string, x harness.Tensor) {
		path := filepath.Join(dir, name+".npy")
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), writeTensor(path, x)); err != nil {
			t.Fatal(err)
		}
	}
	put("tokens", harness.Tensor{Shape: []int{1, 5}, I64: []int64{5, 7, 9, 11, 13}})
	for _, at := range gpt2.Schedule(m.Config().Layers, nil).Places(rec, nil) {
		x, err := rec.Tensor(at.Step, at.Stage)
		if err != nil {
			t.Fatal(err)
		}
		put(strings.TrimSuffix(at.File(), ".npy"), x)
	}
	for name, x := range weights {
		_, shape, _ := m.Weight(name)
		put(filepath.Join("weights", name), harness.Tensor{Shape: shape, F32: x})
	}
}

// An engine passes where it is asked for its own precision or a coarser one, on weights of its
// own or the model's; where it is asked for a finer one, what it computes in is named in the
// first lines.
func TestPrecisionsAskedAndGot(t *testing.T) {
	t.Setenv("CHECKPOINT12_MODELS", t.TempDir())
	t.Chdir(t.TempDir())
	if err := microModel([]string{"micro"}); err != nil {
		t.Fatal(err)
	}
	if status, _, stderr := run("dump", "--model", "micro", "--tokens", "5,7,9", "--feed", "11,13", "--new", "3", "--out", "golden"); status != StatusPass {
		t.Fatal(stderr)
	}
	m, err := zoo.Load("micro")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	rounded := map[string][]float32{}
	for name := range m.Config().Weights() {
		if x, _, ok := m.Weight(name); ok {
			rounded[name] = rounding.BFloat16.Of(x)
		}
	}
	on, err := m.With(rounded)
	if err != nil {
		t.Fatal(err)
	}
	says := map[string]string{"tf32": "10 bits of mantissa (TF32)", "f16": "computes in float16", "bf16": "computes in bfloat16"}
	for i, got := range gpt2.Precisions {
		writeRun(t, got.Name, m, got, nil)
		writeRun(t, got.Name+" on bf16", on, got, rounded)
		for j, asked := range gpt2.Precisions {
			for _, dir := range []string{got.Name, got.Name + " on bf16"} {
				status, stdout, stderr := run("compare", "--golden", "golden", "--model", "micro", "--dtype", asked.Name, "--candidate", dir)
				first := strings.Join(strings.Fields(strings.Join(strings.SplitAfterN(stdout, "\n", 4)[:3], "")), " ")
				switch {
				case i <= j && (status != StatusPass || !strings.HasPrefix(first, "PASS")):
					t.Errorf("%s, asked for %s: status %d\n%s%s", dir, asked.Name, status, stdout, stderr)
				case i > j && (status != StatusDivergence || !strings.Contains(first, says[got.Name])):
					t.Errorf("%s, asked for %s: status %d, without %q\n%s%s", dir, asked.Name, status, says[got.Name], stdout, stderr)
				case i > j && got.Stored != "" && (strings.Count(first, "--dtype") != 2 || !strings.Contains(first, "--candidate "+quoted(dir)+" --dtype "+got.Name)):
					t.Errorf("%s, asked for %s: another command than one --dtype %s:\n%s", dir, asked.Name, got.Name, stdout)
				}
				if named := strings.Contains(stdout, "rounded to bf16"); named != (dir != got.Name) {
					t.Errorf("%s, asked for %s: weights are named: %v\n%s", dir, asked.Name, named, stdout)
				}
			}
		}
	}
}

// quoted returns an argument as a shell needs it.
func quoted(arg string) string {
	if strings.Contains(arg, " ") {
		return "'" + arg + "'"
	}
	return arg
}

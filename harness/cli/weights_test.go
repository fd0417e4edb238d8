package cli

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/rounding"
	"checkpoint12/model/zoo"
)

// Weights as loaded, well or badly written.
func TestCompareWeights(t *testing.T) {
	t.Setenv("CHECKPOINT12_MODELS", t.TempDir())
	from := t.TempDir()
	t.Chdir(from)
	if err := microModel([]string{"micro"}); err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{"golden", "whole"} {
		if status, _, stderr := run("dump", "--model", "micro", "--tokens", "5,7,9", "--new", "3", "--out", out); status != StatusPass {
			t.Fatal(stderr)
		}
	}
	m, err := zoo.Load("micro")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	file, err := os.ReadFile("micro/model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	const fc = "h.0.mlp.c_fc.weight"
	of := func(name string) harness.Tensor {
		x, shape, _ := m.Weight(name)
		return harness.Tensor{Shape: shape, F32: append([]float32{}, x...)}
	}
	tensor := func(name string, edit func(x *harness.Tensor)) func(t *testing.T) {
		return func(t *testing.T) {
			x := of(fc)
			edit(&x)
			if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o777), writeTensor(name, x)); err != nil {
				t.Fatal(err)
			}
		}
	}
	whole := func(name string, data []byte) func(t *testing.T) {
		return func(t *testing.T) {
			if err := os.WriteFile(name, data, 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	as := func(x *harness.Tensor) {}
	const path = "mine/weights/" + fc + ".npy"
	model := []string{"--model", "micro"}
	for _, c := range []struct {
		reason string
		put    puts
		args   []string
		status int
		stdout string
		stderr string
	}{
		{"the model's file", puts{whole("mine/weights.safetensors", file)}, model, StatusPass, "PASS  mine agrees with golden", ""},
		{"without the model", puts{tensor(path, as)}, nil, StatusError, "",
			"error: --candidate mine: holds weights as loaded, which are compared with the model's: give --model"},
		{"one by its longer name", puts{tensor("mine/weights/transformer."+fc+".npy", as)}, model, StatusPass, "PASS  mine agrees with golden", ""},
		{"one twice", puts{tensor("mine/weights/transformer."+fc+".npy", as), tensor(path, as)}, model, StatusError, "", `weight "` + fc + `" is there twice`},
		{"another name as well", puts{tensor(path, as), tensor("mine/weights/h.0.mlp.c_fx.weight.npy", as)}, model, StatusPass,
			"PASS  mine agrees with golden", `note: mine: no weight of micro is called h.0.mlp.c_fx.weight; did you mean "h.0.mlp.c_fc.weight"?`},
		{"another name alone", puts{tensor("mine/weights/fc1.npy", as)}, model, StatusError, "", "no weight of micro is called fc1"},
		{"a mask among them", puts{tensor(path, as), tensor("mine/weights/h.0.attn.bias.npy", as)}, model, StatusPass, "PASS  mine agrees with golden", ""},
		{"rounded, on which the dump was not made", puts{tensor(path, func(x *harness.Tensor) { x.F32 = rounding.BFloat16.Of(x.F32) })}, model, StatusDivergence,
			"computes stage h.0.mlp.c_fc wrong at step 0", ""},
		{"too few", puts{tensor(path, func(x *harness.Tensor) { x.Shape, x.F32 = []int{7, 32}, x.F32[:7*32] })}, model, StatusDivergence,
			"loads weight h.0.mlp.c_fc.weight wrong: shape [7 32], not [8 32]: 1 row missing", ""},
		{"another number of axes", puts{tensor(path, func(x *harness.Tensor) { x.Shape = []int{2, 4, 32} })}, model, StatusPass,
			"PASS  mine agrees with golden", "has the model's values in shape [2 4 32], not [8 32]"},
		{"NaN", puts{tensor(path, func(x *harness.Tensor) { x.F32[3] = float32(math.NaN()) })}, model, StatusDivergence, "1 of 256 values is not finite, the first at [0 3] is NaN", ""},
		{"ids", puts{tensor(path, func(x *harness.Tensor) { x.I64, x.F32 = make([]int64, len(x.F32)), nil })}, model, StatusError, "", "holds int64: want values, dequantised"},
		{"cut short", puts{tensor(path, as), func(*testing.T) { os.Truncate(path, 300) }}, model, StatusError, "", "mine/weights/" + fc + ".npy: "},
		{"a file cut short", puts{whole("mine/weights.safetensors", file[:len(file)-4])}, model, StatusError, "", "mine/weights.safetensors: "},
		{"a header that lies", puts{whole("mine/weights.safetensors", append([]byte{0, 0, 0, 0, 0, 1, 0, 0}, file[8:]...))}, model, StatusError, "",
			"mine/weights.safetensors: header claims "},
		{"a folder for a file", puts{func(*testing.T) { os.MkdirAll(path, 0o777) }}, model, StatusError, "", "mine/weights/" + fc + ".npy"},
		{"a pickle beside them", puts{tensor(path, as), whole("mine/weights.pt", nil)}, model, StatusPass, "PASS", "a pickle is never opened"},
		{"both", puts{tensor(path, as), whole("mine/weights.safetensors", file[:9])}, model, StatusPass, "PASS", "not part of a dump, ignored: weights.safetensors"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			defer os.RemoveAll("mine")
			if err := os.CopyFS("mine", os.DirFS("whole")); err != nil {
				t.Fatal(err)
			}
			for _, put := range c.put {
				put(t)
			}
			status, stdout, stderr := run(append([]string{"compare", "--golden", "golden", "--candidate", "mine"}, c.args...)...)
			flat := func(s string) string { return strings.Join(strings.Fields(s), " ") }
			if status != c.status || !strings.Contains(flat(stdout), flat(c.stdout)) || !strings.Contains(flat(stderr), c.stderr) {
				t.Fatalf("status %d, want %d with %q, %q:\n%s%s", status, c.status, c.stdout, c.stderr, stdout, stderr)
			}
			if c.status == StatusError && (stdout != "" || strings.Count(stderr, "error: ") != 1) {
				t.Errorf("want one error alone:\n%s%s", stdout, stderr)
			}
		})
	}
	if _, err := fs.Stat(os.DirFS(from), "mine"); err == nil {
		t.Error("a folder is left")
	}
}

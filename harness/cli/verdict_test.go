package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/shapes"
	"checkpoint12/harness/npy"
)

// editTensor changes the tensor in a .npy file.
func editTensor(t *testing.T, path string, edit func(x *harness.Tensor)) {
	t.Helper()
	x, _, err := npy.Read(path, true)
	if err != nil {
		t.Fatal(err)
	}
	edit(&x)
	if err := writeTensor(path, x); err != nil {
		t.Fatal(err)
	}
}

// writeTensor writes a .npy file.
func writeTensor(path string, x harness.Tensor) error {
	var b bytes.Buffer
	if err := npy.Write(&b, x); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o666)
}

// puts are changes of the folders that a comparison reads.
type puts []func(t *testing.T)

// Exit status 0 means that nothing which the program saw is wrong; the same line says
// how much it did not see.
func TestVerdicts(t *testing.T) {
	t.Setenv("CHECKPOINT12_MODELS", t.TempDir())
	from := t.TempDir()
	t.Chdir(from)
	if err := microModel([]string{"micro"}); err != nil {
		t.Fatal(err)
	}
	status, _, stderr := run("dump", "--model", "micro", "--tokens", "5,7,9", "--new", "3", "--out", "bound")
	if status != StatusPass {
		t.Fatal(stderr)
	}
	add := func(path string, by float32) func(t *testing.T) {
		return func(t *testing.T) { editTensor(t, path, func(x *harness.Tensor) { x.F32[0] += by }) }
	}
	shape := func(path string, shape ...int) func(t *testing.T) {
		return func(t *testing.T) {
			editTensor(t, path, func(x *harness.Tensor) {
				n, _ := shapes.Size(shape)
				*x = harness.Tensor{Shape: shape, F32: make([]float32, n)}
			})
		}
	}
	remove := func(path string) func(t *testing.T) {
		return func(t *testing.T) {
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	cut := func(n int) func(t *testing.T) {
		return func(t *testing.T) {
			editTensor(t, "mine/tokens.npy", func(x *harness.Tensor) { x.Shape, x.I64 = []int{1, n}, x.I64[:n] })
		}
	}
	huge := func(path string, exponent byte) func(t *testing.T) { // the first value is of that exponent
		return func(t *testing.T) {
			if err := widen([]string{path}); err != nil {
				t.Fatal(err)
			}
			data, _ := os.ReadFile(path)
			begin := 10 + int(data[8]) + 256*int(data[9])
			data[begin+7] = exponent
			if err := os.WriteFile(path, data, 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	const act = "step_00/h.1.mlp.c_proj.npy"
	golden := []string{"--golden", "golden", "--candidate", "mine"}
	alone := []string{"--candidate", "mine", "--model", "micro"}
	otherToken := func(t *testing.T) {
		editTensor(t, "mine/tokens.npy", func(x *harness.Tensor) { x.I64[3] ^= 1 })
	}
	lastChoice := func(t *testing.T) {
		editTensor(t, "mine/tokens.npy", func(x *harness.Tensor) { x.I64[5] ^= 1 })
	}
	for _, c := range []struct {
		reason string
		put    puts
		args   []string
		status int
		words  string
	}{
		{"a right dump", nil, golden, StatusPass, "PASS mine agrees with golden"},
		{"a right dump, replayed", nil, alone, StatusPass, "PASS mine agrees with the replay by micro"},
		{"an old row of the cache moves", puts{add("mine/step_02/h.1.attn.cache_v.npy", 5e-6)},
			golden, StatusDivergence, "contradicts itself"},
		{"logits_last is nearly the last row", puts{add("mine/step_00/logits_last.npy", 1e-4)},
			golden, StatusDivergence, "contradicts itself"},
		{"a shape that is no stage's", puts{shape("mine/step_00/logits.npy", 7)},
			golden, StatusDivergence, "logits"},
		{"another width", puts{shape("mine/step_00/logits.npy", 1, 3, 64)},
			golden, StatusDivergence, "logits"},
		{"a shape that nothing can judge", puts{
			shape("mine/step_00/wte.npy", 5, 7), func(*testing.T) { os.Remove("mine/tokens.npy") },
		}, alone, StatusDivergence, "1 tensor of a wrong shape"},
		{"another fed token", puts{otherToken}, golden, StatusPass, "skipped"},
		{"another fed token where all is required", puts{otherToken},
			append(slices.Clone(golden), "--require-all"), StatusDivergence, "skipped"},
		{"tokens that end within the prompt", puts{cut(2)},
			golden, StatusError, "2 tokens, golden's prompt has 3"},
		{"tokens that end within the prompt, replayed", puts{cut(2)},
			alone, StatusError, "tokens.npy ends within the prompt, after 2 of 3 ids"},
		{"tokens that end after the prompt", puts{cut(3)},
			golden, StatusPass, "tokens.npy ends before what step 2 was fed"},
		{"tokens without the last choice", puts{cut(5)}, golden, StatusPass, "PASS"},
		{"a last choice that is not next_token", puts{lastChoice}, golden, StatusDivergence,
			"step 2, stage next_token: is not the last choice of tokens.npy"},
		{"a last choice that is not next_token, replayed", puts{lastChoice}, alone, StatusDivergence, "leave the column out: tokens = tokens[:, :-1]"},
		{"a last choice that is none of the logits'", puts{remove("mine/step_02/next_token.npy"), lastChoice}, golden, StatusDivergence,
			"is not what the logits choose: the last choice of tokens.npy: row 0: they choose"},
		{"a last choice that is none of the last row's", puts{
			remove("mine/step_02/next_token.npy"), remove("mine/step_02/logits_last.npy"), lastChoice,
		}, alone, StatusDivergence, "is not what the logits choose"},
		{"the golden's last choice, of logits without next_token", puts{remove("mine/step_02/next_token.npy")}, golden, StatusPass, "PASS"},
		{"a last choice that is no token", puts{func(t *testing.T) {
			editTensor(t, "mine/tokens.npy", func(x *harness.Tensor) { x.I64[5] = 50 })
		}}, golden, StatusDivergence, "tokens.npy has a last choice that is no token: row 0: it is 50, and the vocabulary has 50"},
		{"a last choice that is no token, replayed", puts{func(t *testing.T) {
			editTensor(t, "mine/tokens.npy", func(x *harness.Tensor) { x.I64[5] = 1 << 20 })
		}}, alone, StatusDivergence, "last choice that is no token"},
		{"tokens that end long after the last step", puts{func(t *testing.T) {
			editTensor(t, "mine/tokens.npy", func(x *harness.Tensor) { x.Shape, x.I64 = []int{1, 9}, append(x.I64, 1, 2, 3) })
		}}, golden, StatusPass, "tokens.npy has 3 ids after the last choice"},
		{"a step that the golden lacks", puts{remove("golden/step_02")}, golden, StatusPass, " without a golden"},
		{"logits where the golden has only the last row", puts{
			remove("golden/step_02/logits.npy"), remove("mine/step_02/logits_last.npy"), add("mine/step_02/logits.npy", 1),
		}, golden, StatusDivergence, "first differs from golden at step 2, stage logits:"},
		{"the golden itself", nil,
			[]string{"--golden", "golden", "--candidate", "golden"}, StatusError, "is the golden golden itself"},
		{"links to the golden's files", puts{func(t *testing.T) {
			os.RemoveAll("mine")
			if err := os.Mkdir("mine", 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("../golden/step_00", "mine/step_00"); err != nil {
				t.Skip(err)
			}
		}}, golden, StatusError, "or links to its files"},
		{"a link to one of the golden's steps", puts{remove("mine/step_00"), func(t *testing.T) {
			if err := os.Symlink("../golden/step_00", "mine/step_00"); err != nil {
				t.Skip(err)
			}
		}}, golden, StatusPass, "in the golden's own files"},
		{"a manifest of other weights", puts{func(t *testing.T) {
			if err := os.CopyFS("others", os.DirFS("bound")); err != nil {
				t.Fatal(err)
			}
			editJSON(t, "others/manifest.json", func(m map[string]any) {
				m["model"].(map[string]any)["weights_sha256"] = strings.Repeat("0", 64)
			})
		}}, []string{"--candidate", "others", "--model", "micro"}, StatusError, "--model must be the model of the candidate"},
		{"numbers that no float32 holds", puts{huge("golden/"+act, 0x7e), huge("mine/"+act, 0x6e)},
			golden, StatusDivergence, "numbers beyond float32 are read as NaN"},
		{"zeros for what is below the tolerance", puts{
			func(t *testing.T) {
				editTensor(t, "golden/step_00/ln_f.npy", func(x *harness.Tensor) {
					for i := range x.F32 {
						x.F32[i] *= 1e-7
					}
				})
			},
			func(t *testing.T) { editTensor(t, "mine/step_00/ln_f.npy", func(x *harness.Tensor) { clear(x.F32) }) },
		}, golden, StatusPass, "within tolerance, 1 in doubt"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			for _, dir := range []string{"golden", "mine"} {
				if err := os.RemoveAll(dir); err != nil {
					t.Fatal(err)
				}
				if err := os.CopyFS(dir, os.DirFS("bound")); err != nil {
					t.Fatal(err)
				}
				if err := os.Remove(filepath.Join(dir, "manifest.json")); err != nil {
					t.Fatal(err)
				}
			}
			for _, put := range c.put {
				put(t)
			}
			status, stdout, stderr := run(slices.Concat([]string{"compare"}, c.args)...)
			said := strings.Join(strings.Fields(stdout+" "+stderr), " ")
			if status != c.status || !strings.Contains(said, c.words) {
				t.Errorf("exit status %d, want %d and %q:\n%.1500s\n%.1500s", status, c.status, c.words, stdout, stderr)
			}
		})
	}
}

package cli

import (
	"cmp"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"checkpoint12/harness/npy"
	"checkpoint12/model"
	"checkpoint12/model/modeltest"
)

// differs reports whether a tensor is another than the golden's, by far more than any
// tolerance. What an engine may have at a masked place is not.
func differs(got, want *array) bool {
	if got.damaged || !slices.Equal(got.shape, want.shape) {
		return true
	}
	scale := 1.0
	for _, v := range want.values {
		if !math.IsInf(v, 0) {
			scale = max(scale, math.Abs(v))
		}
	}
	for i, v := range want.values {
		masked := math.IsInf(v, -1) && got.values[i] < -100
		if g := got.values[i]; g != v && !masked && !(math.Abs(g-v) < 0.1*scale) {
			return true
		}
	}
	return false
}

// hooks are the files that transformers' modules give, by what they are here.
var hooks = map[string]string{
	"wte.npy": "wte.npy", "wpe.npy": "wpe.npy", "embed.npy": "drop.npy", "h.0.ln_1.npy": "h.0.ln_1.npy",
	"h.0.attn.c_attn.npy": "h.0.attn.c_attn.npy", "h.0.attn.probs.npy": "h.0.attn.attn_dropout.npy",
	"h.0.attn.c_proj.npy": "h.0.attn.npy", "h.0.ln_2.npy": "h.0.ln_2.npy", "h.0.mlp.c_fc.npy": "h.0.mlp.c_fc.npy",
	"h.0.mlp.act.npy": "h.0.mlp.act.npy", "h.0.mlp.c_proj.npy": "h.0.mlp.npy", "h.0.resid_post.npy": "h.0.npy",
	"ln_f.npy": "ln_f.npy", "logits.npy": "lm_head.npy",
}

// FuzzCompare takes a correct dump apart in any way: axes, types, values, names, files.
// compare may find it correct only if it is, and ends with a verdict or one error.
func FuzzCompare(f *testing.F) {
	weights, golden := filepath.Join(f.TempDir(), "micro"), filepath.Join(f.TempDir(), "golden")
	cfg := model.Config{Vocab: 11, Positions: 12, Embd: 12, Layers: 1, Heads: 2, Inner: 20, Eps: 1e-5}
	if err := modeltest.Write(weights, cfg, 1); err != nil {
		f.Fatal(err)
	}
	if status, _, stderr := run("dump", "--model", weights, "--tokens", "3,1,4,1,5", "--new", "2", "--temperatures", "2", "--out", golden); status != 0 {
		f.Fatal(stderr)
	}
	right := map[string]*array{}
	err := fs.WalkDir(os.DirFS(golden), ".", func(path string, d fs.DirEntry, err error) error {
		if filepath.Ext(path) != ".npy" {
			return err
		}
		x, _, err := npy.Read(filepath.Join(golden, path), false)
		a := &array{shape: x.Shape, descr: "<f4"}
		for _, v := range x.F32 {
			a.values = append(a.values, float64(v))
		}
		for _, v := range x.I64 {
			a.values, a.descr = append(a.values, float64(v)), "<i8"
		}
		for i := range x.Shape {
			a.perm = append(a.perm, i)
		}
		right[path] = a
		return err
	})
	if err != nil {
		f.Fatal(err)
	}
	tokens := right["tokens.npy"]
	delete(right, "tokens.npy")
	wild := folder{filepath.Join(f.TempDir(), "wild"), map[string]string{}}
	f.Add([]byte{}, false, false)
	f.Add([]byte{}, false, true)
	for i := range 7 {
		f.Add([]byte{0, 0, 12, byte(i)}, true, false)
		f.Add([]byte{byte(11 + 14*(i%2)), 0, 16, byte(i % 3), byte(i)}, false, true) // of lm_head
	}
	for op := range 17 {
		f.Add([]byte{byte(3 * op), 2, byte(op), 1, 2, 3}, op%2 == 0, op%4 > 1)
	}
	f.Fuzz(func(t *testing.T, program []byte, all, mapped bool) {
		w := &wrecker{program: program, files: map[string]*array{}, tokens: tokens.clone()}
		for path, a := range right {
			if _, ok := hooks[filepath.Base(path)]; ok || !mapped {
				w.files[path] = a.clone()
			}
		}
		for len(w.program) > 0 && len(w.files) > 1 {
			w.step()
		}
		files := map[string]*array{"tokens.npy": w.tokens}
		for path, a := range w.files {
			if hook, ok := hooks[filepath.Base(path)]; ok && mapped {
				path = filepath.Join(filepath.Dir(path), hook)
			}
			files[path] = a
		}
		if err := wild.write(files); err != nil {
			t.Fatal(err)
		}
		fed := func(a *array) []float64 { return a.values[:len(a.values)-1] }
		sameTokens := slices.Equal(fed(w.tokens), fed(tokens))
		different, missing := "", ""
		for path, want := range right {
			if got, ok := w.files[path]; !ok {
				missing = path + " is missing"
			} else if differs(got, want) {
				different = path + " differs"
			}
		}
		if !sameTokens { // then what follows from them is not compared
			different, missing = "", "other tokens were fed"
		}
		compare := func(golden, candidate, wrong string, more ...string) {
			args := append([]string{"compare", "--golden", golden, "--candidate", candidate}, more...)
			status, stdout, stderr := run(args...)
			if status < StatusPass || status > StatusError || status == StatusError && stderr == "" {
				t.Errorf("%q: exit status %d: %s", args, status, stderr)
			}
			if (status == StatusPass) != (wrong == "") && (wrong != "" || len(program) == 0) {
				t.Errorf("%q: exit status %d, and wrong is %q:\n%s%s", args, status, wrong, stdout, stderr)
			}
		}
		if mapped {
			compare(golden, wild.dir, different, "--map", "transformers")
			compare(golden, wild.dir, different, "--map", "transformers", "--model", weights)
			return
		}
		if all {
			compare(golden, wild.dir, cmp.Or(different, missing), "--require-all")
			compare(golden, wild.dir, cmp.Or(different, missing), "--require-all", "--model", weights)
		} else {
			compare(golden, wild.dir, different)
			compare(golden, wild.dir, different, "--model", weights)
		}
		compare(wild.dir, golden, different)
	})
}

// FuzzLists asks that dump refuses a list of tokens, of temperatures or of patterns, or
// does what it says.
func FuzzLists(f *testing.F) {
	weights := filepath.Join(f.TempDir(), "micro")
	cfg := model.Config{Vocab: 50, Positions: 12, Embd: 4, Layers: 1, Heads: 2, Inner: 4, Eps: 1e-5}
	if err := modeltest.Write(weights, cfg, 1); err != nil {
		f.Fatal(err)
	}
	f.Add("1,2,3", "", "0.5,1", "*")
	f.Add(" 1 , 49", "4", "1e-9", "h.0.*")
	f.Add("1,,2", "+4", "1,1.0", "")
	f.Add("0x1", "-0", "NaN,Inf", "../*")
	f.Add("99999999999999999999", "1_0", "1e400", "[a")
	f.Fuzz(func(t *testing.T, tokens, feed, temperatures, pattern string) {
		out := filepath.Join(t.TempDir(), "out")
		args := []string{"dump", "--model", weights, "--tokens", tokens, "--new", "2", "--stages", pattern, "--out", out}
		if feed != "" {
			args = append(args, "--feed", feed)
		}
		if temperatures != "" {
			args = append(args, "--temperatures", temperatures)
		}
		status, _, stderr := run(args...)
		if status == StatusError {
			if _, err := os.Stat(out); stderr == "" || err == nil {
				t.Errorf("%q: refused with %q, and %v", args, stderr, err)
			}
			return
		}
		x, _, err := npy.Read(filepath.Join(out, "tokens.npy"), false)
		if status != StatusPass || err != nil {
			t.Fatalf("%q: exit status %d, %v: %s", args, status, err, stderr)
		}
		var want []string
		for _, list := range []string{tokens, feed} {
			for id := range strings.SplitSeq(list, ",") {
				if n, err := strconv.Atoi(strings.TrimSpace(id)); list != "" && err == nil {
					want = append(want, strconv.Itoa(n))
				}
			}
		}
		if got := strings.Fields(strings.Trim(fmt.Sprint(x.I64), "[]")); !slices.Equal(got[:len(want)], want) {
			t.Errorf("--tokens %q --feed %q: fed %q, want %q first", tokens, feed, got, want)
		}
	})
}

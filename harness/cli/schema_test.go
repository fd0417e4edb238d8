package cli

import (
	"encoding/json"
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/harness/internal/rounding"
	"checkpoint12/model/zoo"
)

// Reports of all kinds are as the schema says, and as the exit status and JUnit's XML do; each
// key that the schema has is in one of them, but for those that other tests write.
func TestReportsFollowTheSchema(t *testing.T) {
	t.Setenv("CHECKPOINT12_MODELS", t.TempDir())
	repository, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Chdir(dir)
	if err := microModel([]string{"micro"}); err != nil {
		t.Fatal(err)
	}
	dump := func(out string, more ...string) error {
		args := append([]string{"dump", "--model", "micro", "--tokens", "5,7,9", "--new", "3", "--out", out}, more...)
		if status, _, stderr := run(args...); status != StatusPass {
			return errors.New(stderr)
		}
		return nil
	}
	m, err := zoo.Load("micro")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	weight := func(name string, edit func(x []float32) []float32) error {
		x, shape, _ := m.Weight(name)
		to := filepath.Join("mine/weights", name+".npy")
		return errors.Join(os.MkdirAll(filepath.Dir(to), 0o777),
			writeTensor(to, harness.Tensor{Shape: shape, F32: edit(append([]float32{}, x...))}))
	}
	mine := func(file, index, value string) func() error {
		return func() error { return plant([]string{"mine", file, index, value}) }
	}
	rules := func(text string) func() error {
		return func() error {
			return errors.Join(plant([]string{"mine", "step_00/h.1.mlp.act.npy", "3", "9"}), os.WriteFile("rules.json", []byte(text), 0o666))
		}
	}
	err = errors.Join(dump("golden"), dump("other", "--feed", "11,13"), os.CopyFS("case/float64", os.DirFS("golden")),
		os.CopyFS("case/candle", os.DirFS("golden")), byEngine([]string{"case/float64"}), byEngine([]string{"case/candle"}))
	if err != nil {
		t.Fatal(err)
	}
	p, _ := gpt2.ParsePrecision("bf16")
	writeRun(t, "narrow", m, p, nil)
	model := []string{"--model", "micro"}
	seen := map[string]bool{}
	for _, c := range []struct {
		why    string
		put    func() error
		golden string
		more   []string
		status int
		has    string // in the JSON
	}{
		{"pass", nil, "golden", nil, StatusPass, `"verdict":"pass"`},
		{"pass, replayed", nil, "golden", model, StatusPass, `"replayed":[`},
		{"fail", mine("step_00/h.1.mlp.act.npy", "3", "9"), "golden", nil, StatusDivergence, `"status":"fail"`},
		{"fail, replayed", mine("step_00/h.1.mlp.act.npy", "3", "9"), "golden", model, StatusDivergence, `"origin":"introduced"`},
		{"without a golden", mine("step_00/h.1.mlp.act.npy", "3", "9"), "", model, StatusDivergence, `"introduced":[{`},
		{"missing", func() error { return os.Remove("mine/step_01/ln_f.npy") }, "golden", nil, StatusPass, `"missing":[{`},
		{"missing, all required", func() error { return os.Remove("mine/step_01/ln_f.npy") }, "golden", []string{"--require-all"}, StatusDivergence, `"missing":[{`},
		{"NaN", mine("step_00/h.1.ln_1.npy", "3", "NaN"), "golden", model, StatusDivergence, `"nonfinite"`},
		{"skipped", nil, "other", model, StatusPass, `"status":"skipped"`},
		{"contradicts itself", mine("step_01/h.1.attn.cache_k.npy", "1", "7"), "golden", nil, StatusDivergence, `"violations":[{`},
		{"accepted", rules(`[{"stages": "h.1.mlp.act", "accept": true, "why": "so it is"}]`), "golden",
			[]string{"--bounds", "rules.json", "--model", "micro"}, StatusPass, `"accepted":"so it is"`},
		{"another shape", func() error {
			return writeTensor("mine/step_00/h.0.ln_1.npy", harness.Tensor{Shape: []int{1, 3, 7}, F32: make([]float32, 21)})
		}, "golden", nil, StatusDivergence, `"shape"`},
		{"weights rounded", func() error { return weight("h.0.mlp.c_fc.weight", rounding.BFloat16.Of) }, "golden", model, StatusDivergence, `"weights":[{`},
		{"weights quantised", func() error {
			return weight("h.0.mlp.c_fc.weight", func(x []float32) []float32 {
				for i := range x {
					x[i] = float32(math.Round(float64(x[i])*32)) / 32
				}
				return x
			})
		}, "golden", model, StatusDivergence, `"quantised":{`},
		{"weights wrong", func() error {
			return weight("h.0.mlp.c_fc.weight", func(x []float32) []float32 { return make([]float32, len(x)) })
		}, "golden", model, StatusDivergence, `"first_divergence":{"stage":"weights"}`},
		{"narrow", func() error { return errors.Join(os.RemoveAll("mine"), os.Rename("narrow", "mine")) }, "golden", model, StatusDivergence, `"narrow":{`},
		{"in its precision", func() error { return os.RemoveAll("mine/weights") }, "golden", append(model, "--dtype", "bf16"), StatusPass, `"dtype":"bf16"`},
		{"several engines", nil, "case", nil, StatusPass, `"quorum":{`},
		{"a batch", func() error { return dump("mine", "--tokens", "3,1") }, "golden", model, StatusPass, `"unseen":`},
		{"cut otherwise", func() error {
			return errors.Join(os.CopyFS("mine", os.DirFS("golden")), os.Remove("mine/manifest.json"),
				os.RemoveAll("mine/step_00"), os.Rename("mine/step_01", "mine/step_00"), os.Rename("mine/step_02", "mine/step_01"),
				os.WriteFile("mine/cut.json", []byte("[[3,1],[4,1]]"), 0o666))
		}, "golden", nil, StatusPass, `"cut":"`},
	} {
		if c.why != "in its precision" { // which is of the one before
			os.RemoveAll("mine")
		}
		if c.why != "a batch" && c.why != "cut otherwise" && c.why != "in its precision" && c.why != "narrow" {
			if err := errors.Join(os.CopyFS("mine", os.DirFS("golden")), os.Remove("mine/manifest.json")); err != nil {
				t.Fatal(err)
			}
		}
		if c.put != nil {
			if err := c.put(); err != nil {
				t.Fatalf("%s: %v", c.why, err)
			}
		}
		args := append([]string{"compare", "--candidate", "mine", "--json", "r.json", "--junit", "r.xml", "--markdown", "r.md"}, c.more...)
		if c.golden != "" {
			args = append(args, "--golden", c.golden)
		}
		status, _, stderr := run(args...)
		checkReports(t, c.why, status, c.status, c.has, stderr, seen)
	}
	t.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
	if self, err := os.Executable(); err != nil || os.Symlink(self, "engine") != nil {
		t.Skip("no symbolic links here")
	}
	for _, at := range []string{"one-token/float64", "one-token/candle"} {
		if err := os.CopyFS(filepath.Join("goldens/synthetic-tiny", at), os.DirFS(filepath.Join(repository, "goldens/synthetic-tiny", at))); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		engine string // "" is the Go model
		status int
		has    string
	}{
		{"", StatusPass, `"runs":[{`},
		{"logits", StatusPass, `"not checked"`},
		{`"erf GELU"`, StatusDivergence, `"introduced":[{`},
		{"fails", StatusError, `"verdict":"not checked"`},
		{"one-by-one", StatusPass, `"engine":"engine `},
		{"bf16-weights", StatusPass, `"weights_cost":{`},
		{"zero-bias", StatusDivergence, `"stage":"weights"`},
	} {
		args := []string{"verify", "--goldens", "goldens", "--json", "r.json", "--junit", "r.xml", "--markdown", "r.md"}
		if c.engine != "" {
			args = append(args, "--engine", "engine {model} {tokens} {out} "+c.engine)
		}
		status, _, stderr := run(args...)
		checkReports(t, "verify "+c.engine, status, c.status, c.has, stderr, seen)
	}
	for key := range harnesstest.SchemaKeys() {
		if !seen[key] && !rare[key] {
			t.Errorf("no report has %q", key)
		}
	}
	for key := range rare {
		if seen[key] {
			t.Errorf("%q is not rare", key)
		}
	}
}

// rare are the keys that only reports of other tests have.
var rare = setOf("graft before after logits_before logits_after next places repaired " + // of the Go model that fails
	"kind note nonfinite figure source outlier against earlier float group uneven in")

func setOf(words string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(words) {
		set[w] = true
	}
	return set
}

// optional are the keys that an object may lack.
var optional = setOf("accepted position doubt earlier why weights weights_cost replayed unusable dtype narrow cut tokens quorum " +
	"quantised float group uneven in command graft next nonfinite outlier what figure source note kind detail own cause begin closer " +
	"engine introduced explanations") // the last three only beside an engine

// A report that is changed anywhere, by a key more, a key less or another type, is not as the
// schema says.
func mutate(t *testing.T, why string, data []byte) {
	t.Helper()
	var report any
	if err := json.Unmarshal(data, &report); err != nil {
		t.Fatal(err)
	}
	report = shortened("", report)
	n := 0
	check := func(path string, valid bool) {
		n++
		changed, err := json.Marshal(report)
		if err != nil {
			t.Fatal(err)
		}
		if err := harnesstest.CheckSchema(changed); (err == nil) != valid {
			t.Errorf("%s: %s: %v", why, path, err)
		}
	}
	check("as it is, but shorter", true)
	done := map[string]bool{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			if done[path] {
				return
			}
			done[path] = true
			v["surplus"] = 1
			check(path+" with a key more", false)
			delete(v, "surplus")
			for _, k := range slices.Sorted(maps.Keys(v)) {
				old := v[k]
				if delete(v, k); !optional[k] && !(path == "" && setOf("cannot_do errors")[k]) {
					check(path+" without "+k, false)
				}
				v[k] = map[string]any{"surplus": 1}
				check(path+"."+k+" of another type", false)
				v[k] = old
				walk(path+"."+k, old)
			}
		case []any:
			for _, e := range v {
				walk(path+"[]", e)
			}
		}
	}
	walk("", report)
	if n < 100 {
		t.Errorf("%s: only %d changes", why, n)
	}
}

// shortened returns a value whose lists, but for the twelve checkpoints, have two elements at most.
func shortened(key string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			v[k] = shortened(k, e)
		}
	case []any:
		if key != "checkpoints" {
			v = v[:min(len(v), 2)]
		}
		for i, e := range v {
			v[i] = shortened("", e)
		}
		return v
	}
	return v
}

// checkReports checks the files of one run.
func checkReports(t *testing.T, why string, status, want int, has, stderr string, seen map[string]bool) {
	t.Helper()
	data, err := os.ReadFile("r.json")
	if status != want || err != nil || !strings.Contains(string(data), has) {
		t.Errorf("%s: exit status %d, want %d; %v; %s in %.400s\n%s", why, status, want, err, has, data, stderr)
		return
	}
	if err := harnesstest.CheckSchema(data); err != nil {
		t.Errorf("%s: %v", why, err)
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	keysOf(v, seen)
	if why == "fail, replayed" || strings.Contains(why, "GELU") || strings.HasPrefix(why, "weights quant") {
		mutate(t, why, data)
	}
	verdict := map[int]string{StatusPass: "pass", StatusDivergence: "fail", StatusError: "not checked"}[status]
	if report, _ := v.(map[string]any); report["verdict"] != verdict {
		t.Errorf("%s: exit status %d, but the verdict is %v", why, status, report["verdict"])
	}
	xml, err := os.ReadFile("r.xml")
	if err != nil {
		t.Fatal(err)
	}
	failed, errored := !strings.Contains(string(xml), ` failures="0" `), !strings.Contains(string(xml), ` errors="0"`)
	if failed != (status == StatusDivergence) || errored != (status == StatusError) {
		t.Errorf("%s: exit status %d, but JUnit's XML has failures: %v, errors: %v\n%s", why, status, failed, errored, xml)
	}
	if md, err := os.ReadFile("r.md"); err != nil || len(md) > 64<<10 || strings.HasPrefix(string(md), "### PASS") != (status == StatusPass) {
		t.Errorf("%s: exit status %d, %v: %.100s", why, status, err, md)
	}
	os.Remove("r.json")
}

// keysOf adds the keys of all objects in a JSON value.
func keysOf(v any, keys map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			keys[k] = true
			keysOf(e, keys)
		}
	case []any:
		for _, e := range v {
			keysOf(e, keys)
		}
	}
}

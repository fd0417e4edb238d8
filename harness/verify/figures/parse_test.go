package figures

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
)

func TestPublished(t *testing.T) {
	f, err := Published()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		model, commit string
		kinds         string
		reason        string
	}{
		{"gpt2", "607a30d783dfa663caf39e06633721c8d4cfcd7e", "weights ln_f logits greedy token_logprobs ln_f_hello_world next_logit", "the model that most tests use"},
		{"gpt2-medium", "6dcaa7a952f72f9298047fd5137cd6e4f05f41da", "weights ln_f logits greedy", "the model of checkpoint 12's sentences"},
		{"gpt2-large", "32b71b12589c2f8d625668d2335a01cac3249519", "weights ln_f logits", "no text of it is published"},
		{"gpt2-xl", "15ea56dee5df4983c59b2538573817e1667135e2", "weights ln_f logits", "no text of it is published"},
	} {
		m := f.Models[tt.model]
		if m == nil {
			t.Errorf("%s: no figures", tt.model)
			continue
		}
		if m.Weights.Commit != tt.commit {
			t.Errorf("%s: commit %s, want %s", tt.model, m.Weights.Commit, tt.commit)
		}
		if got := strings.Join(m.kinds(), " "); got != tt.kinds {
			t.Errorf("%s: has %s, want %s: %s", tt.model, got, tt.kinds, tt.reason)
		}
		// A log-sum-exp is at least the largest logit, and more than it by log V at
		// most: a digit lost in copying would most likely show here.
		for b, row := range m.Logits.LogSumExp {
			for i, lse := range row {
				if top := m.Logits.Top3[b][i][0]; lse < top || lse > top+math.Log(50257) {
					t.Errorf("%s: row %d, position %d: logsumexp %v of logits up to %v", tt.model, b, i, lse, top)
				}
			}
		}
		for b, row := range m.LnF.L2 {
			for i, l2 := range row {
				if peak := math.Abs(m.LnF.AbsMax[b][i].Value); l2 < peak {
					t.Errorf("%s: row %d, position %d: norm %v of values up to %v", tt.model, b, i, l2, peak)
				}
			}
		}
	}
}

// kinds lists the keys of a model that are there, in the order of the file.
func (m *Model) kinds() []string {
	var names []string
	for _, k := range []struct {
		name  string
		there bool
	}{
		{"weights", m.Weights != nil}, {"ln_f", m.LnF != nil}, {"logits", m.Logits != nil}, {"greedy", m.Greedy != nil},
		{"token_logprobs", m.TokenLogprobs != nil}, {"ln_f_hello_world", m.FirstHidden != nil}, {"next_logit", m.NextLogit != nil},
	} {
		if k.there {
			names = append(names, k.name)
		}
	}
	return names
}

// synthetic is a file with every kind of figure.
func synthetic(t testing.TB) []byte {
	t.Helper()
	data, err := os.ReadFile("../../../goldens/synthetic-tiny/" + FileName)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestParseRefuses(t *testing.T) {
	type object = map[string]any
	model := func(f object) object { return f["models"].(object)["synthetic-tiny"].(object) }
	kind := func(name string, change func(object)) func(object) {
		return func(f object) { change(model(f)[name].(object)) }
	}
	set := func(name, key string, value any) func(object) {
		return kind(name, func(o object) { o[key] = value })
	}
	drop := func(name, key string) func(object) {
		return kind(name, func(o object) { delete(o, key) })
	}
	greedy := func(n int, change func(object)) func(object) {
		return func(f object) { change(model(f)["greedy"].([]any)[n].(object)) }
	}
	row := func(o any, at ...int) []any {
		for _, i := range at {
			o = o.([]any)[i]
		}
		return o.([]any)
	}
	for _, tt := range []struct {
		name   string
		change func(object)
		want   string
	}{
		{"another schema", func(f object) { f["schema"] = 2 }, "schema 2"},
		{"no models", func(f object) { f["models"] = object{} }, "models"},
		{"a model that is null", func(f object) { f["models"].(object)["x"] = nil }, "x: null"},
		{"a model without figures", func(f object) { f["models"].(object)["x"] = object{} }, "x: no figures"},
		{"an unknown kind", func(f object) { model(f)["logit"] = object{} }, "logit"},
		{"an unknown key", set("logits", "lst", 1), "lst"},
		{"no source", set("ln_f", "source", " "), "ln_f: no source"},
		{"no tolerance", drop("ln_f", "tolerance"), "ln_f: tolerance"},
		{"a tolerance without a reason", set("next_logit", "tolerance", object{"abs": 1, "rel": 0}), "next_logit: tolerance: no reason"},
		{"a negative tolerance", set("next_logit", "tolerance", object{"abs": -1, "rel": 2, "reason": "x"}), "next_logit: tolerance"},
		{"no tolerance of the mean", drop("logits", "mean_nll_tolerance"), "mean_nll_tolerance"},
		{"no tolerance of the sum", drop("token_logprobs", "sum_tolerance"), "sum_tolerance"},
		{"a short hash", set("weights", "sha256", "abc"), "weights: sha256"},
		{"no hash and no commit", kind("weights", func(o object) { delete(o, "sha256"); delete(o, "file"); delete(o, "bytes") }), "neither commit nor sha256"},
		{"a hash of no file", drop("weights", "file"), "file, bytes and sha256"},
		{"a commit that is none", set("weights", "commit", "main"), "commit"},
		{"a tensor twice", kind("weights", func(o object) { o["tensors"] = append(o["tensors"].([]any), row(o["tensors"])[0]) }), "wte.weight"},
		{"a tensor without shape", kind("weights", func(o object) { delete(row(o["tensors"])[0].(object), "shape") }), "shape"},
		{"a minimum above the maximum", kind("weights", func(o object) { row(o["tensors"])[0].(object)["min"] = 9 }), "wte.weight"},
		{"no tokens", set("ln_f", "tokens", []any{}), "ln_f: no tokens"},
		{"rows of other lengths", kind("ln_f", func(o object) { row(o["tokens"])[1] = []any{1} }), "ln_f: tokens"},
		{"a negative id", kind("ln_f", func(o object) { row(o["tokens"], 1)[3] = -1 }), "ln_f: tokens: -1"},
		{"a fraction for an id", kind("ln_f", func(o object) { row(o["tokens"], 1)[3] = 1.5 }), "1.5"},
		{"a row too few", kind("ln_f", func(o object) { o["l2"] = row(o["l2"])[:1] }), "ln_f: l2: 1 rows"},
		{"a position too few", kind("ln_f", func(o object) { row(o["l2"])[1] = row(o["l2"], 1)[:9] }), "ln_f: l2: row 1"},
		{"a value too few", kind("ln_f", func(o object) { row(o["first4"], 1)[2] = row(o["first4"], 1, 2)[:3] }), "ln_f: first4: row 1, position 2"},
		{"a channel alone", kind("ln_f", func(o object) { row(o["absmax"], 1)[2] = []any{3} }), "index, value"},
		{"a negative channel", kind("ln_f", func(o object) { row(o["absmax"], 1, 2)[0] = -3 }), "absmax"},
		{"three for four", kind("logits", func(o object) { o["first4"] = o["top3"] }), "logits: first4"},
		{"logits out of order", kind("logits", func(o object) { row(o["top3"], 0, 0)[0] = -99 }), "logits: top3: row 0, position 0"},
		{"a label that is no id", kind("logits", func(o object) { row(o["labels"], 0)[0] = -2 }), "labels: -2"},
		{"no ids", drop("logits", "top3_ids"), "logits: top3_ids"},
		{"a name for two", greedy(1, func(o object) { o["name"] = "hello" }), "greedy: name"},
		{"a name that is a path", greedy(1, func(o object) { o["name"] = "../x" }), "greedy: name"},
		{"nothing new", greedy(0, func(o object) { o["new"] = 0 }), "new 0"},
		{"text and tokens", greedy(0, func(o object) { o["tokens"] = []any{1} }), "want either"},
		{"another prompt", greedy(0, func(o object) { o["prompt"] = "Bye" }), "does not go on"},
		{"a text that is its prompt", greedy(0, func(o object) { o["text"] = "Hello." }), "does not go on"},
		{"tokens of another length", greedy(3, func(o object) { o["new"] = 3 }), "all_tokens"},
		{"a probability above 1", kind("token_logprobs", func(o object) { row(o["logprobs"])[0] = 0.1 }), "more than 0"},
		{"no log-probability", drop("token_logprobs", "logprobs"), "logprobs"},
		{"nothing before the text", drop("token_logprobs", "prefix_tokens"), "prefix_tokens"},
		{"nine values", kind("ln_f_hello_world", func(o object) { o["first10"] = row(o["first10"])[:9] }), "first10"},
		{"no text", drop("next_logit", "text"), "next_logit: no text"},
		{"an argmax that is no id", set("next_logit", "argmax", -5), "-5"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var f object
			if err := json.Unmarshal(synthetic(t), &f); err != nil {
				t.Fatal(err)
			}
			tt.change(f)
			data, err := json.Marshal(f)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse(data)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, want one line with %q", err, tt.want)
			}
		})
	}
}

func TestParseRefusesText(t *testing.T) {
	whole := string(synthetic(t))
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", "", "EOF"},
		{"a file cut short", whole[:len(whole)/2], "unexpected EOF"},
		{"more after the end", whole + "{}", "follows the end"},
		{"a key twice", strings.Replace(whole, `"logsumexp"`, `"last"`, 1), "logits.last: there twice"},
		{"a number too large", strings.Replace(whole, `"logit": -`, `"logit": -1e999, "x": -`, 1), "line"},
		{"lists without end", strings.Repeat("[", 1<<20), "nested too deeply"},
		{"too much", whole + strings.Repeat(" ", MaxSize), "at most"},
	} {
		if _, err := Parse([]byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		}
	}
}

// Whatever is parsed is whole: nothing that a check would index is missing.
func FuzzParse(f *testing.F) {
	f.Add(published)
	f.Add(synthetic(f))
	f.Add([]byte(`{"schema":1,"about":"","models":{"x":{"next_logit":{"source":"s","tolerance":{"abs":1,"rel":0,"reason":"r"},"text":"t","argmax":1,"logit":2}}}}`))
	f.Add([]byte(`{"schema":1,"models":{"x":{"greedy":[{"name":"a","source":"s","new":1,"tokens":[1],"all_tokens":[1,2]}]}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse(data)
		if err != nil {
			return
		}
		for name, m := range file.Models {
			if len(m.kinds()) == 0 && m.Greedy == nil {
				t.Errorf("%s: no figures", name)
			}
			if l := m.Logits; l != nil {
				for b, row := range l.Tokens {
					for i := range row {
						_ = fmt.Sprint(l.Top3IDs[b][i][2], l.Top3[b][i][2], l.First4[b][i][3], l.Last[b][i], l.LogSumExp[b][i], l.Labels[b][i])
					}
				}
			}
			if l := m.LnF; l != nil {
				for b, row := range l.Tokens {
					for i := range row {
						_ = fmt.Sprint(l.First4[b][i][3], l.AbsMax[b][i], l.L2[b][i])
					}
				}
			}
			for _, g := range m.Greedy {
				if g.Source == "" || g.New < 1 || (g.Text == "") == (g.AllTokens == nil) {
					t.Errorf("%s: %+v", name, g)
				}
			}
		}
	})
}

package figures

import (
	"encoding/json"
	"math"
	"os"
	"slices"
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
		list := f.Models[tt.model]
		var kinds []string
		scales, of := map[string]float64{}, map[string][]float64{}
		for _, g := range list {
			if !slices.Contains(kinds, g.Kind()) {
				kinds = append(kinds, g.Kind())
			}
			if g.Reduce == Commit && g.Want.Text != tt.commit {
				t.Errorf("%s: commit %s, want %s", tt.model, g.Want.Text, tt.commit)
			}
			if of[g.Name] != nil {
				continue // again, of the last position
			}
			if of[g.Name] = g.Want.Values; g.Reduce == Value && g.Scale > 0 {
				for _, v := range g.Want.Values {
					scales[g.Kind()] = max(scales[g.Kind()], math.Abs(v))
				}
			}
		}
		if got := strings.Join(kinds, " "); got != tt.kinds {
			t.Errorf("%s: has %s, want %s: %s", tt.model, got, tt.kinds, tt.reason)
		}
		for _, g := range list {
			if g.Scale > 0 && g.Scale != scales[g.Kind()] {
				t.Errorf("%s: %s: scale %v, the largest value is %v", tt.model, g.Name, g.Scale, scales[g.Kind()])
			}
		}
		// A digit lost in copying would most likely show here: a log-sum-exp is at least
		// the largest logit, and more by log V at most; a norm is no less than a value.
		for i, lse := range of["logits.logsumexp"] {
			top := of["logits.top3"][3*i:][:3]
			if lse < top[0] || lse > top[0]+math.Log(50257) || top[0] < top[1] || top[1] < top[2] {
				t.Errorf("%s: position %d: logsumexp %v of logits %v", tt.model, i, lse, top)
			}
			if l2, peak := of["ln_f.l2"][i], math.Abs(of["ln_f.absmax"][i]); l2 < peak {
				t.Errorf("%s: position %d: norm %v of values up to %v", tt.model, i, l2, peak)
			}
		}
		for k, p := range of["logits.top3_probs"] {
			i := 10*(k/3) + 9
			if want := math.Exp(of["logits.top3"][3*i+k%3] - of["logits.logsumexp"][i]); math.Abs(p-want) > 1e-8 {
				t.Errorf("%s: probability %d is %v, its logit says %v", tt.model, k, p, want)
			}
		}
	}
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
	for _, tt := range []struct {
		name   string
		figure string // to change
		change string // JSON: keys to set, or with null to delete
		want   string
	}{
		{"an unknown key", "ln_f.l2", `{"wnat": 1}`, "wnat"},
		{"no name", "ln_f.l2", `{"name": null}`, "name"},
		{"a name without a part", "ln_f.l2", `{"name": "ln_f"}`, "name"},
		{"a name that is a path", "ln_f.l2", `{"name": "../x.y"}`, "name"},
		{"a name for two", "ln_f.l2", `{"name": "ln_f.absmax"}`, "there twice"},
		{"no source", "ln_f.l2", `{"source": " "}`, "no source"},
		{"no tolerance", "ln_f.l2", `{"abs": null, "rel": null}`, "abs 0"},
		{"a negative tolerance", "ln_f.l2", `{"abs": -1}`, "abs -1"},
		{"a tolerance without a reason", "ln_f.l2", `{"reason": ""}`, "no reason"},
		{"a tolerance of what is exact", "next_logit.argmax", `{"abs": 1, "reason": "x"}`, "exact"},
		{"an unknown reduce", "ln_f.l2", `{"reduce": "l3"}`, `"l3"`},
		{"no stage", "ln_f.l2", `{"stage": null}`, "no stage"},
		{"text and tokens", "ln_f.l2", `{"text": "Hello"}`, "either text or tokens"},
		{"neither", "ln_f.l2", `{"tokens": null}`, "either text or tokens"},
		{"a prefix of tokens", "ln_f.l2", `{"prefix": [1]}`, "prefix"},
		{"no tokens", "ln_f.l2", `{"tokens": []}`, "no tokens"},
		{"rows of other lengths", "ln_f.l2", `{"tokens": [[1, 2], [1]]}`, "tokens"},
		{"a negative id", "ln_f.l2", `{"tokens": [[1, -2]]}`, "tokens"},
		{"a fraction for an id", "ln_f.l2", `{"tokens": [[1, 1.5]]}`, "1.5"},
		{"lists of other lengths", "ln_f.l2", `{"want": [[1, 2], [1]]}`, "different lengths"},
		{"null for a number", "ln_f.l2", `{"want": [[1, null]]}`, "null"},
		{"nothing wanted", "ln_f.l2", `{"want": null}`, "want"},
		{"a text for numbers", "ln_f.l2", `{"want": "long"}`, "another kind"},
		{"numbers for a text", "greedy.hello", `{"want": [1]}`, "another kind"},
		{"an index of no element", "ln_f.first4", `{"index": [-2]}`, "index"},
		{"an index that nothing reads", "ln_f.l2", `{"index": [1]}`, "index"},
		{"no labels", "logits.mean_nll", `{"index": null}`, "index"},
		{"labels of one row", "logits.mean_nll", `{"index": [1, 2]}`, "label"},
		{"more labels than tokens", "logits.mean_nll", `{"tokens": [[1], [2]]}`, "label"},
		{"a row of a mean", "logits.mean_nll", `{"row": 1}`, "row"},
		{"ranks that are no indices", "logits.top3_ids", `{"want": [[[1.5, 2, 3]]]}`, "whole"},
		{"a probability above 1", "token_logprobs.logprobs", `{"want": [0.1]}`, "more than 0"},
		{"no token of which it is the probability", "token_logprobs.logprobs", `{"prefix": null}`, "index"},
		{"nothing new", "greedy.hello", `{"new": 0}`, "new 0"},
		{"something new of a stage", "ln_f.l2", `{"new": 3}`, "new 3"},
		{"another prompt", "greedy.hello", `{"text": "Bye"}`, "does not go on"},
		{"a text that is its prompt", "greedy.hello", `{"want": "Hello."}`, "does not go on"},
		{"tokens of another length", "greedy.the-dog", `{"new": 3}`, "3 new ones"},
		{"a short hash", "weights.sha256", `{"want": "abc"}`, "sha256 has 64"},
		{"a commit that is none", "weights.sha256", `{"reduce": "commit", "want": "main"}`, "commit"},
		{"a size that is no number", "weights.bytes", `{"want": "large"}`, "another kind"},
		{"weights of a run", "weights.bytes", `{"text": "Hello"}`, "not for weights"},
		{"a weight without shape", "weights.wte.weight", `{"shape": null}`, "shape"},
		{"a minimum above the maximum", "weights.wte.weight", `{"want": [1, 2, 3, 2]}`, "minimum"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var f struct {
				Schema int                         `json:"schema"`
				Models map[string][]map[string]any `json:"models"`
			}
			change := map[string]any{}
			if err := json.Unmarshal(synthetic(t), &f); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(tt.change), &change); err != nil {
				t.Fatal(err)
			}
			list := f.Models["synthetic-tiny"]
			i := slices.IndexFunc(list, func(g map[string]any) bool { return g["name"] == tt.figure })
			for k, v := range change {
				if list[i][k] = v; v == nil {
					delete(list[i], k)
				}
			}
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
		{"nothing", "", "unexpected end"},
		{"a file cut short", whole[:len(whole)/2], "unexpected end"},
		{"more after the end", whole + "{}", "after top-level value"},
		{"a key twice", strings.Replace(whole, `"reduce"`, `"name"`, 1), "there twice"},
		{"a number too large", strings.Replace(whole, `"want": [-`, `"want": [-1e999, -`, 1), "1e999"},
		{"another schema", strings.Replace(whole, `"schema": 2`, `"schema": 1`, 1), "schema 1"},
		{"no models", `{"schema": 2, "models": {}}`, "models"},
		{"a model without figures", `{"schema": 2, "models": {"x": []}}`, "x: no figures"},
	} {
		if _, err := Parse([]byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		}
	}
}

// A parsed file is whole: nothing that a check would index is missing.
func FuzzParse(f *testing.F) {
	f.Add(published)
	f.Add(synthetic(f))
	f.Add([]byte(`{"schema":2,"models":{"x":[{"name":"a.b","stage":"logits","reduce":"value","source":"s","text":"t","want":2,"abs":1,"reason":"r"}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse(data)
		if err != nil {
			return
		}
		for name, list := range file.Models {
			for _, g := range list {
				n := 1
				for _, d := range g.Want.Shape {
					n *= d
				}
				isText := g.Reduce == Text || g.Reduce == SHA256 || g.Reduce == Commit
				if g.Source == "" || isText != (g.Want.Text != "") || !isText && (n < 1 || n != len(g.Want.Values)) {
					t.Errorf("%s: %+v", name, g)
				}
			}
		}
	})
}

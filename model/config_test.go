package model_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"checkpoint12/model"
	"checkpoint12/model/modeltest"
	"checkpoint12/model/strictjson"
)

// releasedConfig is GPT-2 Medium's config.json as its hub has it, shortened.
const releasedConfig = `{
  "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1,
  "bos_token_id": 50256, "embd_pdrop": 0.1, "eos_token_id": 50256, "initializer_range": 0.02,
  "layer_norm_epsilon": 1e-05, "model_type": "gpt2", "n_ctx": 1024, "n_embd": 1024, "n_head": 16,
  "n_layer": 24, "n_positions": 1024, "n_special": 0, "predict_special_tokens": true,
  "resid_pdrop": 0.1, "task_specific_params": {"text-generation": {"do_sample": true}},
  "vocab_size": 50257
}`

func TestParseConfig(t *testing.T) {
	want := model.Config{Vocab: 50257, Positions: 1024, Embd: 1024, Layers: 24, Heads: 16, Inner: 4096, Eps: 1e-5}
	base := `"vocab_size":9,"n_positions":8,"n_embd":6,"n_layer":4,"n_head":3`
	small := model.Config{Vocab: 9, Positions: 8, Embd: 6, Layers: 4, Heads: 3, Inner: 24, Eps: 1e-5}
	inner, eps := small, small
	inner.Inner, eps.Eps = 7, 0.5
	for _, test := range []struct {
		name, json string
		want       model.Config
	}{
		{"as released", releasedConfig, want},
		{"only what is needed", "{" + base + "}", small},
		{"inner width null is 4C", "{" + base + `,"n_inner":null}`, small},
		{"inner width", "{" + base + `,"n_inner":7}`, inner},
		{"eps", "{" + base + `,"layer_norm_epsilon":0.5}`, eps},
		{"the other name of the tanh form", "{" + base + `,"activation_function":"gelu_pytorch_tanh"}`, small},
		{"defaults spelled out", "{" + base + `,"scale_attn_weights":true,"scale_attn_by_inverse_layer_idx":false,"add_cross_attention":false}`, small},
	} {
		got, err := model.ParseConfig([]byte(test.json))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if diff := cmp.Diff(test.want, got, cmpopts.IgnoreUnexported(model.Config{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
		if string(got.JSON()) != test.json {
			t.Errorf("%s: JSON() is not what was read: %s", test.name, got.JSON())
		}
	}
	made, err := model.ParseConfig(small.JSON())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(small, made, cmpopts.IgnoreUnexported(model.Config{})); diff != "" {
		t.Errorf("JSON of a config made in code (-want +got):\n%s", diff)
	}
}

func TestParseConfigErrors(t *testing.T) {
	for _, test := range []struct{ name, from, to, want string }{
		{"empty", releasedConfig, "", "not a model config"},
		{"null", releasedConfig, "null", "want a JSON object"},
		{"array", releasedConfig, "[]", "want a JSON object"},
		{"cut short", releasedConfig, releasedConfig[:40], "not a model config"},
		{"something after it", releasedConfig, releasedConfig + "{}", "after top-level value"},
		{"garbage after it", releasedConfig, releasedConfig + "\x00", "after top-level value"},
		{"a key twice", `"n_head": 16`, `"n_head": 16, "n_head": 8`, `key "n_head" is there twice`},
		{"no vocabulary", `"vocab_size": 50257`, `"vocab": 50257`, "vocab_size is missing"},
		{"no layers", `"n_layer": 24`, `"n_layer": 0`, "n_layer is 0"},
		{"layers beyond reason", `"n_layer": 24`, `"n_layer": 1000000000`, "n_layer is 1000000000"},
		{"a fraction", `"n_embd": 1024`, `"n_embd": 1024.5`, "n_embd is 1024.5"},
		{"a string", `"n_embd": 1024`, `"n_embd": "1024"`, "n_embd is"},
		{"heads do not divide", `"n_head": 16`, `"n_head": 15`, "not a multiple"},
		{"an activation with weights", `"gelu_new"`, `"prelu"`, `activation_function is "prelu": want one of gelu_new, gelu_pytorch_tanh`},
		{"another model", `"model_type": "gpt2"`, `"model_type": "llama"`, "model_type"},
		{"negative eps", `1e-05`, `-1`, "layer_norm_epsilon"},
		{"eps no number", `1e-05`, `"x"`, "layer_norm_epsilon"},
		{"cross attention", `"n_ctx": 1024`, `"add_cross_attention": true`, "add_cross_attention"},
	} {
		if !strings.Contains(releasedConfig, test.from) {
			t.Fatalf("%s: the config has no %s", test.name, test.from)
		}
		_, err := model.ParseConfig([]byte(strings.Replace(releasedConfig, test.from, test.to, 1)))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v does not say %q", test.name, err, test.want)
		}
	}
	path := filepath.Join(t.TempDir(), "config.json")
	if _, err := model.ReadConfig(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a missing file: error %v does not name it", err)
	}
	if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := model.ReadConfig(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("an empty config: error %v does not name the file", err)
	}
}

// family is testdata/family.json, which the readers in Python and Rust are tried on too:
// configs of models on Hugging Face's hub with what they say otherwise than GPT-2 as released,
// and changes to the first that are refused, with the key that the message names.
type family struct {
	Models []struct {
		Name   string          `json:"name"`
		Config json.RawMessage `json:"config"`
		Want   map[string]any  `json:"want"`
	} `json:"models"`
	Refused []struct {
		Change map[string]any `json:"change"`
		Names  string         `json:"names"`
	} `json:"refused"`
}

func readFamily(t *testing.T) (f family) {
	data, err := os.ReadFile("testdata/family.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := strictjson.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFamily(t *testing.T) {
	f := readFamily(t)
	if len(f.Models) < 6 || len(f.Refused) < 15 {
		t.Fatalf("%d models and %d refusals", len(f.Models), len(f.Refused))
	}
	for _, one := range f.Models {
		t.Run(one.Name, func(t *testing.T) {
			cfg, err := model.ParseConfig(one.Config)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]any{}
			if cfg.Activation != "" {
				got["activation_function"] = cfg.Activation
			}
			if cfg.Unscaled {
				got["scale_attn_weights"] = false
			}
			if cfg.ScaleByLayer {
				got["scale_attn_by_inverse_layer_idx"] = true
			}
			if cfg.Tying != model.Unsaid {
				got["tie_word_embeddings"] = cfg.Tying == model.Tied
			}
			if diff := cmp.Diff(one.Want, got); diff != "" {
				t.Errorf("otherwise than as released (-want +got):\n%s", diff)
			}
			small := modeltest.Micro
			small.Activation, small.Unscaled, small.ScaleByLayer, small.Tying = cfg.Activation, cfg.Unscaled, cfg.ScaleByLayer, cfg.Tying
			if again, err := model.ParseConfig(small.JSON()); err != nil || cmp.Diff(small, again, cmpopts.IgnoreUnexported(model.Config{})) != "" {
				t.Errorf("in a small shape it is read back as %+v, %v", again, err)
			}
			if err := cfg.CheckSettings(one.Config); err != nil {
				t.Errorf("it asks for another function than itself: %v", err)
			}
			if err := (model.Config{}).CheckSettings(one.Config); (err != nil) != (len(one.Want) > 0) {
				t.Errorf("against GPT-2 as released: %v, want one of %v", err, one.Want)
			}
		})
	}
	for _, r := range f.Refused {
		var keys map[string]any
		if err := json.Unmarshal(f.Models[0].Config, &keys); err != nil {
			t.Fatal(err)
		}
		maps.Copy(keys, r.Change)
		data, err := json.Marshal(keys)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := model.ParseConfig(data); err == nil || !strings.Contains(err.Error(), r.Names) {
			t.Errorf("%v: error %v does not name %s", r.Change, err, r.Names)
		}
	}
}

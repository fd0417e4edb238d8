package model_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"checkpoint12/model"
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
		{"erf GELU", `"gelu_new"`, `"gelu"`, `activation_function is "gelu": want "gelu_new"`},
		{"another model", `"model_type": "gpt2"`, `"model_type": "llama"`, "model_type"},
		{"negative eps", `1e-05`, `-1`, "layer_norm_epsilon"},
		{"eps no number", `1e-05`, `"x"`, "layer_norm_epsilon"},
		{"unscaled attention", `"n_ctx": 1024`, `"scale_attn_weights": false`, "scale_attn_weights"},
		{"scaled by layer", `"n_ctx": 1024`, `"scale_attn_by_inverse_layer_idx": true`, "scale_attn_by_inverse_layer_idx"},
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

package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"

	"checkpoint12/model/strictjson"
)

// Config is the shape of a GPT-2 model, as its config.json gives it.
type Config struct {
	Vocab     int     // V: tokens in the vocabulary (vocab_size)
	Positions int     // longest sequence (n_positions)
	Embd      int     // C: width of the residual stream (n_embd)
	Layers    int     // number of blocks (n_layer)
	Heads     int     // H: attention heads (n_head); D = C/H
	Inner     int     // F: width of the feed-forward layer (n_inner, or 4C)
	Eps       float64 // added to the variance by LayerNorm (layer_norm_epsilon)

	raw json.RawMessage
}

// The largest values that a config may have. Real models are far below, and
// nothing is allocated by a config whose weights are not there.
const (
	maxDimension = 1 << 24 // token ids stay exact as float32
	maxLayers    = 4096
)

// JSON returns the config.json that c was read from, or an equivalent one when
// c was made in code.
func (c Config) JSON() json.RawMessage {
	if c.raw != nil {
		return c.raw
	}
	b, err := json.Marshal(map[string]any{
		"model_type": "gpt2", "activation_function": "gelu_new",
		"vocab_size": c.Vocab, "n_positions": c.Positions, "n_embd": c.Embd, "n_layer": c.Layers,
		"n_head": c.Heads, "n_inner": c.Inner, "layer_norm_epsilon": c.Eps,
	})
	if err != nil { // only an Eps that is no number; Validate refuses it
		return json.RawMessage("{}")
	}
	return b
}

// ReadConfig reads the config.json at path.
func ReadConfig(path string) (Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("read model config: %w; want a folder with config.json and model.safetensors, as Hugging Face lays them out", err)
	}
	c, err := ParseConfig(data)
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// ParseConfig reads a config in Hugging Face's format. Keys that do not change
// the model's numbers are ignored. A value that asks for anything but GPT-2 as
// released (another activation, cross attention, scaling by layer) is an error,
// since ignoring it would give wrong numbers in silence.
func ParseConfig(data []byte) (Config, error) {
	keys, err := strictjson.Object(data)
	if err != nil {
		return Config{}, fmt.Errorf("not a model config: %w", err)
	}
	c := Config{Eps: 1e-5, raw: bytes.Clone(data)}
	r := configReader{keys: keys}
	r.one("model_type", "gpt2")
	c.Vocab = r.size("vocab_size", maxDimension)
	c.Positions = r.size("n_positions", maxDimension)
	c.Embd = r.size("n_embd", maxDimension)
	c.Layers = r.size("n_layer", maxLayers)
	c.Heads = r.size("n_head", maxDimension)
	c.Inner = 4 * c.Embd
	if r.has("n_inner") {
		c.Inner = r.size("n_inner", maxDimension)
	}
	r.number("layer_norm_epsilon", &c.Eps)
	r.one("activation_function", "gelu_new", "gelu_pytorch_tanh")
	r.flag("scale_attn_weights", true)
	r.flag("scale_attn_by_inverse_layer_idx", false)
	r.flag("add_cross_attention", false)
	if r.err != nil {
		return Config{}, r.err
	}
	if err := c.Validate(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// Validate returns an error for the first dimension that no model can have.
func (c Config) Validate() error {
	for _, d := range []struct {
		key   string
		value int
		at    int
	}{
		{"vocab_size", c.Vocab, maxDimension}, {"n_positions", c.Positions, maxDimension},
		{"n_embd", c.Embd, maxDimension}, {"n_layer", c.Layers, maxLayers},
		{"n_head", c.Heads, maxDimension}, {"n_inner", c.Inner, maxDimension},
	} {
		if d.value < 1 || d.value > d.at {
			return fmt.Errorf("%s is %d: want 1 to %d", d.key, d.value, d.at)
		}
	}
	if c.Embd%c.Heads != 0 {
		return fmt.Errorf("n_embd %d is not a multiple of n_head %d", c.Embd, c.Heads)
	}
	if !(c.Eps >= 0) || math.IsInf(c.Eps, 0) {
		return fmt.Errorf("layer_norm_epsilon is %v: want a finite number, 0 or more", c.Eps)
	}
	return nil
}

// configReader takes values out of a config and keeps the first error.
type configReader struct {
	keys map[string]json.RawMessage
	err  error
}

func (r *configReader) has(key string) bool {
	raw, ok := r.keys[key]
	return ok && string(raw) != "null"
}

func (r *configReader) fail(key, want string) {
	if r.err == nil {
		r.err = fmt.Errorf("%s is %.40s: want %s", key, r.keys[key], want)
	}
}

func (r *configReader) size(key string, most int) (n int) {
	if !r.has(key) {
		if r.err == nil {
			r.err = fmt.Errorf("%s is missing", key)
		}
		return 0
	}
	if json.Unmarshal(r.keys[key], &n) != nil || n < 1 || n > most {
		r.fail(key, fmt.Sprintf("a whole number from 1 to %d", most))
		return 0
	}
	return n
}

func (r *configReader) number(key string, v *float64) {
	if r.has(key) && json.Unmarshal(r.keys[key], v) != nil {
		r.fail(key, "a number")
	}
}

// one checks that a key, where it is given, is one of the accepted strings.
func (r *configReader) one(key string, accepted ...string) {
	if !r.has(key) {
		return
	}
	var s string
	if json.Unmarshal(r.keys[key], &s) == nil {
		for _, a := range accepted {
			if s == a {
				return
			}
		}
	}
	r.fail(key, fmt.Sprintf("%q, the only one that is GPT-2 as released", accepted[0]))
}

func (r *configReader) flag(key string, want bool) {
	var b bool
	if r.has(key) && (json.Unmarshal(r.keys[key], &b) != nil || b != want) {
		r.fail(key, fmt.Sprint(want, ", as in GPT-2 as released"))
	}
}

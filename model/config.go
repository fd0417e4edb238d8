package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"

	"checkpoint12/model/hub"
	"checkpoint12/model/regularfile"
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

// The largest values that a config may have. Real models are far below.
const (
	maxDimension = 1 << 24 // token ids stay exact as float32
	maxLayers    = 4096
)

// sizes lists the dimensions by their keys in config.json.
func (c *Config) sizes() []size {
	return []size{
		{"vocab_size", &c.Vocab, maxDimension}, {"n_positions", &c.Positions, maxDimension},
		{"n_embd", &c.Embd, maxDimension}, {"n_layer", &c.Layers, maxLayers},
		{"n_head", &c.Heads, maxDimension}, {"n_inner", &c.Inner, maxDimension},
	}
}

type size struct {
	key   string
	value *int
	most  int
}

// JSON returns the config.json that c was read from, or an equivalent one.
func (c Config) JSON() json.RawMessage {
	if c.raw != nil {
		return c.raw
	}
	keys := map[string]any{"model_type": "gpt2", "activation_function": "gelu_new", "layer_norm_epsilon": c.Eps}
	for _, d := range c.sizes() {
		keys[d.key] = *d.value
	}
	b, err := json.Marshal(keys)
	if err != nil { // only an Eps that is no number; Validate refuses it
		return json.RawMessage("{}")
	}
	return b
}

// ReadConfig reads the config.json at path.
func ReadConfig(path string) (Config, error) {
	data, err := regularfile.Read(path, hub.MaxConfig)
	if err != nil {
		return Config{}, fmt.Errorf("read model config: %w; want a folder with config.json and model.safetensors, as Hugging Face lays them out",
			err)
	}
	c, err := ParseConfig(data)
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// asReleased are the values that keys must have if given: GPT-2's first, then equals.
var asReleased = []struct {
	key    string
	values []any
}{
	{"model_type", []any{"gpt2"}},
	{"activation_function", []any{"gelu_new", "gelu_pytorch_tanh"}},
	{"scale_attn_weights", []any{true}},
	{"scale_attn_by_inverse_layer_idx", []any{false}},
	{"add_cross_attention", []any{false}},
}

// CheckReleased returns an error if a config, which may lack keys, asks for anything but
// GPT-2 as released.
func CheckReleased(data []byte) error {
	keys, err := strictjson.Object(data)
	if err != nil {
		return fmt.Errorf("not a model config: %w", err)
	}
	return checkReleased(keys)
}

func checkReleased(keys map[string]json.RawMessage) error {
	for _, k := range asReleased {
		var value any
		raw, ok := keys[k.key]
		if !ok || string(raw) == "null" {
			continue
		}
		if json.Unmarshal(raw, &value) != nil || !slices.Contains(k.values, value) {
			return fmt.Errorf("%s is %.40s: want %#v, as in GPT-2 as released", k.key, raw, k.values[0])
		}
	}
	return nil
}

// ParseConfig reads a config in Hugging Face's format. Keys that do not change the
// model's numbers are ignored. A value that asks for anything but GPT-2 as released,
// such as another activation, is an error.
func ParseConfig(data []byte) (Config, error) {
	keys, err := strictjson.Object(data)
	if err != nil {
		return Config{}, fmt.Errorf("not a model config: %w", err)
	}
	maps.DeleteFunc(keys, func(_ string, value json.RawMessage) bool { return string(value) == "null" })
	if err := checkReleased(keys); err != nil {
		return Config{}, err
	}
	c := Config{Eps: 1e-5, raw: bytes.Clone(data)}
	for _, d := range c.sizes() {
		value, ok := keys[d.key]
		switch {
		case !ok && d.key == "n_inner":
			c.Inner = 4 * c.Embd
		case !ok:
			return Config{}, fmt.Errorf("%s is missing", d.key)
		case json.Unmarshal(value, d.value) != nil:
			return Config{}, fmt.Errorf("%s is %.40s: want a whole number from 1 to %d", d.key, value, d.most)
		}
	}
	if value, ok := keys["layer_norm_epsilon"]; ok && json.Unmarshal(value, &c.Eps) != nil {
		return Config{}, fmt.Errorf("layer_norm_epsilon is %.40s: want a number", value)
	}
	return c, c.Validate()
}

// Validate returns an error for the first value that no model can have.
func (c Config) Validate() error {
	for _, d := range c.sizes() {
		if *d.value < 1 || *d.value > d.most {
			return fmt.Errorf("%s is %d: want 1 to %d", d.key, *d.value, d.most)
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

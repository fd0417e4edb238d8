package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"

	"checkpoint12/model/activation"
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

	// What members of GPT-2's family do otherwise; the zero values are GPT-2 as released.
	Activation   string // name of activation_function's row in package activation; "" is gelu_new's
	Unscaled     bool   // scores are not divided by √D (scale_attn_weights is false)
	ScaleByLayer bool   // those of layer n are divided by n+1 (scale_attn_by_inverse_layer_idx)
	Tying        Tying  // tie_word_embeddings

	raw json.RawMessage
}

// Tying is what a config says of the head's matrix.
type Tying int

// What a config says of the head's matrix.
const (
	Unsaid Tying = iota // lm_head.weight if the file has it, else wte.weight
	Tied                // wte.weight, and an lm_head.weight in the file is the same
	Untied              // lm_head.weight, which must be there
)

// ActivationFunction returns the function between the two feed-forward layers.
func (c Config) ActivationFunction() *activation.Function {
	f, _ := activation.Named(c.Activation)
	return f
}

// AttentionScale returns what q·k is multiplied by in a layer, 1/√D in GPT-2 as released.
func (c Config) AttentionScale(layer int) float64 {
	scale := 1.0
	if !c.Unscaled {
		scale /= math.Sqrt(float64(c.Embd / c.Heads))
	}
	if c.ScaleByLayer {
		scale /= float64(layer + 1)
	}
	return scale
}

// The largest values that a config may have. Real models are far below.
const (
	maxDimension = 1 << 24 // token ids stay exact as float32
	maxLayers    = 4096
)

// sizes lists the dimensions by their keys in config.json.
func (c *Config) sizes() []size {
	return []size{
		{"vocab_size", "", &c.Vocab, maxDimension}, {"n_positions", "max_position_embeddings", &c.Positions, maxDimension},
		{"n_embd", "hidden_size", &c.Embd, maxDimension}, {"n_layer", "num_hidden_layers", &c.Layers, maxLayers},
		{"n_head", "num_attention_heads", &c.Heads, maxDimension}, {"n_inner", "", &c.Inner, maxDimension},
	}
}

type size struct {
	key   string
	alias string // Hugging Face's other name for it
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
	if c.Activation != "" {
		keys["activation_function"] = c.Activation
	}
	if c.Unscaled {
		keys["scale_attn_weights"] = false
	}
	if c.ScaleByLayer {
		keys["scale_attn_by_inverse_layer_idx"] = true
	}
	if c.Tying != Unsaid {
		keys["tie_word_embeddings"] = c.Tying == Tied
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

// only lists the keys that must have one value, if they are given: any other would make it
// another function than the forward pass computes.
var only = []struct{ key, value string }{
	{"model_type", `"gpt2"`},
	{"add_cross_attention", "false"},
	{"is_encoder_decoder", "false"},
	{"is_causal", "true"},
	{"pruned_heads", "{}"},
	{"quantization_config", "null"},
	{"compression_config", "null"},
	{"auto_map", "{}"}, // code of the model's own
}

// settings reads what is no size, as far as keys say it.
func (c *Config) settings(keys map[string]json.RawMessage) error {
	for _, k := range only {
		raw, ok := keys[k.key]
		if !ok {
			continue
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, raw); err != nil || compact.String() != k.value {
			return fmt.Errorf("%s is %.40s: want %s, as in GPT-2 as released", k.key, raw, k.value)
		}
	}
	if raw, ok := keys["activation_function"]; ok {
		var name string
		f, known := activation.Released, false
		if json.Unmarshal(raw, &name) == nil && name != "" {
			f, known = activation.Named(name)
		}
		if !known {
			return fmt.Errorf("activation_function is %.40s: want one of %s", raw, activation.Known())
		}
		c.Activation = ""
		if f != activation.Released {
			c.Activation = f.Name()
		}
	}
	scale, tied := !c.Unscaled, c.Tying == Tied
	var upcast bool // of engines in less than float32 alone
	for _, k := range []struct {
		key   string
		value *bool
	}{
		{"scale_attn_weights", &scale}, {"scale_attn_by_inverse_layer_idx", &c.ScaleByLayer},
		{"reorder_and_upcast_attn", &upcast}, {"tie_word_embeddings", &tied},
	} {
		if raw, ok := keys[k.key]; ok && json.Unmarshal(raw, k.value) != nil {
			return fmt.Errorf("%s is %.40s: want true or false", k.key, raw)
		}
	}
	c.Unscaled = !scale
	if _, ok := keys["tie_word_embeddings"]; ok {
		c.Tying = Untied
		if tied {
			c.Tying = Tied
		}
	}
	if raw, ok := keys["layer_norm_epsilon"]; ok && json.Unmarshal(raw, &c.Eps) != nil {
		return fmt.Errorf("layer_norm_epsilon is %.40s: want a number", raw)
	}
	return nil
}

// object returns the keys of a config that have a value.
func object(data []byte) (map[string]json.RawMessage, error) {
	keys, err := strictjson.Object(data)
	if err != nil {
		return nil, fmt.Errorf("not a model config: %w", err)
	}
	maps.DeleteFunc(keys, func(_ string, value json.RawMessage) bool { return string(value) == "null" })
	return keys, nil
}

// CheckSettings returns an error if a config, which may lack keys, asks for another function
// than c. Sizes are not compared.
func (c Config) CheckSettings(data []byte) error {
	keys, err := object(data)
	if err != nil {
		return err
	}
	other := c
	if err := other.settings(keys); err != nil {
		return err
	}
	switch {
	case other.Activation != c.Activation:
		return fmt.Errorf("activation_function is %q: want %q", other.ActivationFunction().Name(), c.ActivationFunction().Name())
	case other.Unscaled != c.Unscaled:
		return fmt.Errorf("scale_attn_weights is %t: want %t", !other.Unscaled, !c.Unscaled)
	case other.ScaleByLayer != c.ScaleByLayer:
		return fmt.Errorf("scale_attn_by_inverse_layer_idx is %t: want %t", other.ScaleByLayer, c.ScaleByLayer)
	}
	return nil
}

// ParseConfig reads a config in Hugging Face's format. Keys that do not change the
// model's numbers are ignored. A value that asks for anything but GPT-2 or a member of its
// family that Config has fields for is an error.
func ParseConfig(data []byte) (Config, error) {
	keys, err := object(data)
	if err != nil {
		return Config{}, err
	}
	c := Config{Eps: 1e-5, raw: bytes.Clone(data)}
	if err := c.settings(keys); err != nil {
		return Config{}, err
	}
	for _, d := range c.sizes() {
		value, ok := keys[d.key]
		other, aliased := keys[d.alias]
		switch {
		case ok && aliased && string(value) != string(other):
			return Config{}, fmt.Errorf("%s is %.40s and %s, which is another name for it, %.40s", d.key, value, d.alias, other)
		case !ok && aliased:
			value, ok = other, true
		case !ok && d.key == "n_positions":
			value, ok = keys["n_ctx"] // of older files
		}
		switch {
		case !ok && d.key == "n_inner":
			c.Inner = 4 * c.Embd
		case !ok:
			return Config{}, fmt.Errorf("%s is missing", d.key)
		case json.Unmarshal(value, d.value) != nil:
			return Config{}, fmt.Errorf("%s is %.40s: want a whole number from 1 to %d", d.key, value, d.most)
		}
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
	if _, ok := activation.Named(c.Activation); !ok {
		return fmt.Errorf("activation_function is %.40q: want one of %s", c.Activation, activation.Known())
	}
	if !(c.Eps >= 0) || math.IsInf(c.Eps, 0) {
		return fmt.Errorf("layer_norm_epsilon is %v: want a finite number, 0 or more", c.Eps)
	}
	return nil
}

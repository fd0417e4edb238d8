package synthetic

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"strings"

	"checkpoint12/model"
	"checkpoint12/model/safetensors"
)

// Random returns a model in memory of any config, of the weights that RandomWeights draws.
func Random(name string, cfg model.Config, seed uint64) (*model.Model, error) {
	return model.FromBytes(name, cfg, Encode(cfg, RandomWeights(cfg, seed)), nil)
}

// RandomWeights draws every weight of a config, lm_head excepted. Gains stay around 1
// and no bias is zero, so that nothing drops out of the result.
func RandomWeights(cfg model.Config, seed uint64) map[string][]float32 {
	rng := rand.New(rand.NewPCG(seed, 1))
	all := map[string][]float32{}
	for name, shape := range cfg.Weights() {
		scale, shift := 1.5/math.Sqrt(float64(shape[0])), 0.0
		switch {
		case strings.HasPrefix(name, "lm_head."):
			continue
		case len(shape) == 1:
			scale = 0.3
			if strings.HasSuffix(name, ".weight") {
				shift = 1
			}
		case name == "wte.weight" || name == "wpe.weight":
			scale = 1
		}
		w := make([]float32, safetensors.Info{Shape: shape}.Size())
		for i := range w {
			w[i] = float32(rng.NormFloat64()*scale + shift)
		}
		all[name] = w
	}
	return all
}

// Encode returns the bytes of a safetensors file with those of a config's weights
// that there are.
func Encode(cfg model.Config, weights map[string][]float32) []byte {
	var tensors []safetensors.Info
	var data []byte
	for name, shape := range cfg.Weights() {
		if w, ok := weights[name]; ok {
			tensors = append(tensors, safetensors.Info{Name: name, Shape: shape})
			for _, v := range w {
				data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
			}
		}
	}
	return append(safetensors.Header(tensors), data...)
}

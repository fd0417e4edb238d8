package model

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"checkpoint12/model/internal/kernel"
)

// stage is one line of the forward pass.
type stage struct {
	name  string      // the contract's, with N for the layer
	shape string      // dimensions by their letters
	reads string      // stages and inputs, in the order of call.in
	run   func(*call) // computes call.out from call.in
}

// inputShapes are what a stage may read that is no stage.
var inputShapes = map[string]string{
	"tokens":                "B T", // ids
	"pos":                   "1",   // P
	"prev:h.N.attn.cache_k": "B H P D",
	"prev:h.N.attn.cache_v": "B H P D",
}

// Dims are the dimensions of one step that the config does not fix.
type Dims struct {
	B int // rows of the batch
	T int // new positions
	P int // positions already in the cache
}

// call is one stage at work: inputs, output and the weights it uses.
type call struct {
	Dims
	m      *Model
	pool   *kernel.Pool
	block  *block  // weights of the layer, for stages within one
	temp   float64 // temperature, for probs_t
	in     [2][]float32
	out    []float32
	last   []float32 // [B,C] scratch of unembedLast
	prev   int       // positions between two heads in in[0] of appendCache
	stride int       // positions between two heads in caches otherwise
}

// StageNames lists the stages of one step in the order in which they are
// computed and tapped, with a probs_t for each temperature.
func StageNames(cfg Config, temperatures []float64) []string {
	var names []string
	for _, p := range plan(cfg, temperatures) {
		names = append(names, p.name)
	}
	return names
}

// placed is a stage at its place: in a layer, at a temperature.
type placed struct {
	*stage
	name  string // N replaced
	layer int    // n_layer for the stages after the last block
	temp  float64
}

// plan is the forward pass with its layers and temperatures written out.
func plan(cfg Config, temperatures []float64) []placed {
	var all []placed
	add := func(stages []stage, layer int) {
		for i := range stages {
			s := &stages[i]
			if s.name != "probs_t" {
				all = append(all, placed{stage: s, name: atLayer(s.name, layer), layer: layer})
				continue
			}
			for _, t := range temperatures {
				all = append(all, placed{stage: s, name: probsName(t), layer: layer, temp: t})
			}
		}
	}
	add(embedStages, 0)
	for n := range cfg.Layers {
		add(blockStages, n)
	}
	add(headStages, cfg.Layers)
	return all
}

// find places a stage by its name.
func find(cfg Config, name string) (placed, error) {
	unknown := fmt.Errorf("%.80q is no stage of a GPT-2 of %d layers", name, cfg.Layers)
	if digits, ok := strings.CutPrefix(name, "probs_t"); ok {
		t, err := strconv.ParseFloat(digits, 64)
		if err != nil || checkTemperature(t) != nil || probsName(t) != name {
			return placed{}, unknown
		}
		return placed{stage: &headStages[len(headStages)-1], name: name, layer: cfg.Layers, temp: t}, nil
	}
	layer, general, stages := 0, name, embedStages
	if rest, ok := strings.CutPrefix(name, "h."); ok {
		digits, rest, _ := strings.Cut(rest, ".")
		n, err := strconv.Atoi(digits)
		if err != nil || n < 0 || n >= cfg.Layers || strconv.Itoa(n) != digits {
			return placed{}, unknown
		}
		layer, general, stages = n, "h.N."+rest, blockStages
	}
	for i := range stages {
		if stages[i].name == general {
			return placed{stage: &stages[i], name: name, layer: layer}, nil
		}
	}
	for i := range headStages {
		if headStages[i].name == general {
			return placed{stage: &headStages[i], name: name, layer: cfg.Layers}, nil
		}
	}
	return placed{}, unknown
}

// inputs are the names of what the stage reads.
func (p placed) inputs() []string {
	names := strings.Fields(p.reads)
	for i, n := range names {
		names[i] = atLayer(n, p.layer)
	}
	return names
}

func atLayer(name string, layer int) string {
	if name == "h.N.in" {
		if layer == 0 {
			return "embed"
		}
		return fmt.Sprintf("h.%d.resid_post", layer-1)
	}
	return strings.Replace(name, "h.N.", "h."+strconv.Itoa(layer)+".", 1)
}

func probsName(t float64) string { return "probs_t" + strconv.FormatFloat(t, 'f', -1, 64) }

func checkTemperature(t float64) error {
	if !(t > 0) || math.IsInf(t, 0) {
		return fmt.Errorf("temperature %v: want a finite number above 0", t)
	}
	return nil
}

// Reads lists what a stage is computed from besides weights: stages of the same
// step, "tokens" (ids [B,T]), "pos" (the one number P), and "prev:" with a
// stage of the step before ([B,H,P,D]; empty at the first). It is nil for a
// name that is no stage.
func Reads(cfg Config, stage string) []string {
	p, err := find(cfg, stage)
	if err != nil {
		return nil
	}
	return p.inputs()
}

// Shape returns the shape of a stage, or of something that Reads names.
func Shape(cfg Config, name string, d Dims) ([]int, error) {
	letters := ""
	if p, err := find(cfg, name); err == nil {
		letters = p.shape
	} else if base, ok := strings.CutPrefix(name, "prev:"); ok {
		p, err := find(cfg, base)
		if err != nil {
			return nil, err
		}
		letters = inputShapes["prev:"+p.stage.name]
	} else if letters, ok = inputShapes[name]; !ok {
		return nil, err
	}
	if letters == "" {
		return nil, fmt.Errorf("%.80q is nothing that a stage reads", name)
	}
	return shapeOf(letters, cfg, d), nil
}

// shapeOf replaces the letters of a shape by numbers.
func shapeOf(letters string, cfg Config, d Dims) []int {
	shape := make([]int, 0, 4)
	for f := range strings.FieldsSeq(letters) {
		shape = append(shape, dimension(f, cfg, d))
	}
	return shape
}

func dimension(letter string, cfg Config, d Dims) int {
	switch letter {
	case "B":
		return d.B
	case "T":
		return d.T
	case "P":
		return d.P
	case "S":
		return d.P + d.T
	case "C":
		return cfg.Embd
	case "3C":
		return 3 * cfg.Embd
	case "H":
		return cfg.Heads
	case "D":
		return cfg.Embd / cfg.Heads
	case "F":
		return cfg.Inner
	case "V":
		return cfg.Vocab
	case "1":
		return 1
	}
	panic("model: unknown dimension " + letter)
}

// elements is the number of values of a shape.
func elements(letters string, cfg Config, d Dims) int {
	n := 1
	for f := range strings.FieldsSeq(letters) {
		n *= dimension(f, cfg, d)
	}
	return n
}

// check refuses dimensions that no step of the model has, and those whose
// arrays no memory holds.
func (d Dims) check(cfg Config) error {
	if d.B < 1 || d.T < 1 || d.P < 0 || d.T > cfg.Positions || d.P > cfg.Positions-d.T {
		return fmt.Errorf("step of B=%d, T=%d, P=%d: want B and T of 1 or more, P of 0 or more, and P+T of at most n_positions, %d", d.B, d.T, d.P, cfg.Positions)
	}
	widest := float64(max(cfg.Vocab, 3*cfg.Embd, cfg.Inner, cfg.Heads*(d.P+d.T)))
	if float64(d.B)*float64(d.P+d.T)*widest > 1<<40 {
		return fmt.Errorf("step of B=%d, T=%d, P=%d: too large for any memory", d.B, d.T, d.P)
	}
	return nil
}

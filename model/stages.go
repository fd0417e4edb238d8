package model

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"

	"checkpoint12/model/internal/kernel"
)

// stage is a row of the forward pass.
type stage struct {
	name  string      // the contract's, with * for the layer or the temperature
	axes  string      // as Axes returns them
	reads string      // stages and inputs, in the order of call.in
	run   func(*call) // computes call.out from call.in
}

// rows are the stages by their names in the forward pass.
var rows = func() map[string]*stage {
	all := map[string]*stage{}
	for _, table := range [][]stage{embedStages, blockStages, headStages, probsStages} {
		for i := range table {
			all[table[i].name] = &table[i]
		}
	}
	return all
}()

// inputs are the axes of the inputs that are not stages.
var inputs = map[string]string{
	"tokens":                "B T", // ids
	"pos":                   "1",   // P
	"prev:h.*.attn.cache_k": "B H P D",
	"prev:h.*.attn.cache_v": "B H P D",
}

// Dims are the dimensions of one step that the config does not fix.
type Dims struct {
	B int // rows of the batch
	T int // new positions
	P int // positions already in the cache

	// Mask, if set, tells which of the B rows of S = P+T columns are tokens; the others are
	// padding, T and P then count columns, and the positions of a row count its tokens.
	Mask []bool
}

// isToken reports whether a column of a row is a token, not padding.
func (d Dims) isToken(b, column int) bool { return d.Mask == nil || d.Mask[b*(d.P+d.T)+column] }

// position returns the position of a column of a row: the number of tokens before it; of
// padding, that of the last token before it, or 0.
func (d Dims) position(b, column int) int {
	if d.Mask == nil {
		return column
	}
	n := -1
	for s := range column + 1 {
		if d.isToken(b, s) {
			n++
		}
	}
	return max(n, 0)
}

// call is a stage being computed: its inputs, output and weights.
type call struct {
	Dims
	m       *Model
	pool    *kernel.Pool
	layer   int     // -1 outside the blocks
	block   *block  // weights of the layer, for stages within one
	temp    float64 // temperature, for probs_t
	in      [3][]float32
	out     []float32
	last    []float32 // [B,C] scratch of unembedLast
	scratch []float32 // of attend, a share for each head
	prev    int       // positions between two heads in in[0] of appendCache
	stride  int       // positions between two heads in caches otherwise

	part  func(c *call, i int) // of a stage computed in parts, of heads or rows
	third int                  // of c_attn's columns, for splitHeads
}

// StageName is the name of a stage taken apart.
type StageName struct {
	Layer       int     // -1 outside the blocks
	Word        string  // the name without the layer or the temperature: "attn.q", "ln_f", "probs_t"
	Temperature float64 // 0 but for probs_t
}

// ParseStage takes apart the name of a stage of a GPT-2 of any number of layers.
// For any other string, ok is false and the whole of it is the Word.
func ParseStage(name string) (s StageName, ok bool) {
	s = StageName{Layer: -1, Word: name}
	if rest, inBlock := strings.CutPrefix(name, "h."); inBlock {
		layer, word, _ := strings.Cut(rest, ".")
		s.Layer, _ = strconv.Atoi(layer)
		s.Word = word
	} else if t, isProbs := strings.CutPrefix(name, "probs_t"); isProbs {
		s.Temperature, _ = strconv.ParseFloat(t, 64)
		s.Word = "probs_t"
	}
	// Every stage is spelled in one way, which is String's.
	if rows[s.Kind()] == nil || s.String() != name || math.IsInf(s.Temperature, 0) {
		return StageName{Layer: -1, Word: name}, false
	}
	return s, true
}

// String returns the name: "h.3.attn.q", "ln_f", "probs_t0.5".
func (s StageName) String() string {
	if kind := s.Kind(); kind != s.Word {
		return strings.Replace(kind, "*", s.number(), 1)
	}
	return s.Word
}

// Kind returns the name with * for the layer or the temperature.
func (s StageName) Kind() string {
	switch {
	case s.Layer >= 0:
		return "h.*." + s.Word
	case s.Temperature > 0:
		return s.Word + "*"
	}
	return s.Word
}

// number returns what replaces the * of the kind.
func (s StageName) number() string {
	if s.Layer >= 0 {
		return strconv.Itoa(s.Layer)
	}
	return strconv.FormatFloat(s.Temperature, 'f', -1, 64)
}

// StageNames lists the stages of one step in the order in which they are computed.
func StageNames(cfg Config, temperatures []float64) []string {
	var names []string
	for _, p := range plan(cfg, blockStages, headStages, temperatures) {
		names = append(names, p.name)
	}
	return names
}

// placed is a stage at its place in the forward pass of a model.
type placed struct {
	*stage
	name   string
	layer  int // -1 outside the blocks
	temp   float64
	inputs []string // names of what it reads
	shape  shape    // of its output
}

// plan returns the forward pass with its layers and temperatures written out.
func plan(cfg Config, block, head []stage, temperatures []float64) []placed {
	var all []placed
	add := func(stages []stage, layer int, temp float64) {
		for i := range stages {
			all = append(all, place(cfg, &stages[i], layer, temp))
		}
	}
	add(embedStages, -1, 0)
	for n := range cfg.Layers {
		add(block, n, 0)
	}
	add(head, -1, 0)
	for _, t := range temperatures {
		add(probsStages, -1, t)
	}
	return all
}

// find returns the stage of a name.
func find(cfg Config, name string) (placed, error) {
	s, ok := ParseStage(name)
	if !ok || s.Layer >= cfg.Layers {
		return placed{}, fmt.Errorf("%.80q is not a stage of a GPT-2 of %d layers", name, cfg.Layers)
	}
	return place(cfg, rows[s.Kind()], s.Layer, s.Temperature), nil
}

// shapeOf returns the shape of a stage or an input by its axes. With padding the rows of a
// batch have other positions.
func (d Dims) shapeOf(name, axes string) shape {
	if name == "wpe" && d.Mask != nil {
		axes = "B T C"
	}
	return parseShape(axes)
}

// place returns a row with its layer or temperature filled in.
func place(cfg Config, s *stage, layer int, temp float64) placed {
	number := StageName{Layer: layer, Temperature: temp}.number()
	fill := func(name string) string { return strings.Replace(name, "*", number, 1) }
	p := placed{stage: s, name: fill(s.name), layer: layer, temp: temp}
	p.inputs, p.shape = strings.Fields(s.reads), parseShape(s.axes)
	for i, name := range p.inputs {
		before := layer - 1
		if layer < 0 { // after the last block
			before = cfg.Layers - 1
		}
		switch {
		case name != "h.*.in":
			p.inputs[i] = fill(name)
		case before < 0:
			p.inputs[i] = "embed"
		default:
			p.inputs[i] = StageName{Layer: before, Word: "resid_post"}.String()
		}
	}
	return p
}

// Reads returns the inputs of a stage other than weights: stages of the same step,
// "tokens" (ids [B,T]), "pos" (the number P), and "prev:" with a stage of the step
// before ([B,H,P,D]). It is nil for a name that is no stage.
func Reads(cfg Config, stage string) []string {
	p, err := find(cfg, stage)
	if err != nil {
		return nil
	}
	return p.inputs
}

// Axes returns the axes of a stage, or of something that Reads names, outermost
// first: "B H T D". A number is an axis of that length, and axes in parentheses are
// one dimension: "B T (3 H D)". It is "" for any other name.
func Axes(name string) string {
	_, axes := parseInput(name)
	return axes
}

// parseInput is ParseStage and Axes of something that Reads names.
func parseInput(name string) (s StageName, axes string) {
	earlier, prev := strings.CutPrefix(name, "prev:")
	s, ok := ParseStage(earlier)
	switch {
	case prev:
		return s, inputs["prev:"+s.Kind()]
	case ok:
		return s, rows[s.Kind()].axes
	}
	return s, inputs[name]
}

// Shape returns the shape of a stage, or of something that Reads names.
func Shape(cfg Config, name string, d Dims) ([]int, error) {
	s, axes := parseInput(name)
	if axes == "" || s.Layer >= cfg.Layers {
		return nil, fmt.Errorf("%.80q is nothing that a GPT-2 of %d layers computes or reads", name, cfg.Layers)
	}
	return d.shapeOf(name, axes).of(cfg, d), nil
}

// shape is the dimensions of an array, each the axes whose product it is.
type shape [][]string

// parseShape reads axes as Axes returns them, each text once.
func parseShape(axes string) (s shape) {
	if s, ok := parsedShapes.Load(axes); ok {
		return s.(shape)
	}
	defer func() { parsedShapes.Store(axes, s) }()
	merging := false
	for _, f := range strings.Fields(axes) {
		if !merging {
			s = append(s, nil)
		}
		s[len(s)-1] = append(s[len(s)-1], strings.Trim(f, "()"))
		merging = (merging || f[0] == '(') && f[len(f)-1] != ')'
	}
	return s
}

var parsedShapes sync.Map

// of replaces the axes by their lengths.
func (s shape) of(cfg Config, d Dims) []int {
	lengths := make([]int, len(s))
	for i := range s {
		lengths[i] = s[i:i+1].elements(cfg, d)
	}
	return lengths
}

// elements returns the number of values of the shape.
func (s shape) elements(cfg Config, d Dims) int {
	n := 1
	for _, axes := range s {
		for _, a := range axes {
			n *= d.Length(cfg, a)
		}
	}
	return n
}

// Length returns the length of one of the axes of Axes.
func (d Dims) Length(cfg Config, axis string) int {
	switch axis {
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
	case "H":
		return cfg.Heads
	case "D":
		return cfg.Embd / max(cfg.Heads, 1)
	case "F":
		return cfg.Inner
	case "V":
		return cfg.Vocab
	}
	n, err := strconv.Atoi(axis)
	if err != nil {
		panic("model: unknown axis " + axis)
	}
	return n
}

// check returns an error for dimensions that no step of the model has.
func (d Dims) check(cfg Config) error {
	if d.B < 1 || d.T < 1 || d.P < 0 || d.T > cfg.Positions || d.P > cfg.Positions-d.T {
		return fmt.Errorf("step of B=%d, T=%d, P=%d: want B and T of 1 or more, P of 0 or more, and P+T of at most n_positions, %d",
			d.B, d.T, d.P, cfg.Positions)
	}
	if n := d.B * (d.P + d.T); d.Mask != nil && len(d.Mask) != n {
		return fmt.Errorf("step of B=%d, T=%d, P=%d: a mask of %d, want %d", d.B, d.T, d.P, len(d.Mask), n)
	}
	widest := float64(max(cfg.Vocab, 3*cfg.Embd, cfg.Inner, cfg.Heads*(d.P+d.T)))
	if float64(d.B)*float64(d.P+d.T)*widest > 1<<40 {
		return fmt.Errorf("step of B=%d, T=%d, P=%d: too large for any memory", d.B, d.T, d.P)
	}
	return nil
}

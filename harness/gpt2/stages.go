// Package gpt2 binds the harness to GPT-2: its stages, their tolerances, layouts
// and inputs, the recording of the Go model, and the replay of a stage within the
// rounding that a correct engine may show.
package gpt2

import (
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"slices"
	"strings"
	"sync"

	"checkpoint12/harness"
	"checkpoint12/harness/align"
	"checkpoint12/harness/dump"
	"checkpoint12/harness/internal/names"
	"checkpoint12/model"
)

// stage is a row of the table of stages; model/forward.go has their names, axes and inputs.
type stage struct {
	pattern    string // as names.Match takes it
	label      string // see Label
	checkpoint int    // 0: a stage that no checkpoint names
	abs, rel   float64
	rounding   func(*stageCall) []float32 // see bound.go; nil for ids
	layouts    []string                   // engines', besides the model's
	reason     string                     // for the tolerance
}

// relTol is the relative part of tolerances. The absolute parts are the owner's, for
// values of order one, and suffice on the committed goldens: correct engines use at
// most 72% of them (h.22.ln_1 of synthetic-medium), elsewhere 38%, but for h.0.resid_post.
// But real GPT-2 has channels in the thousands, where one float32 rounding is 1.2e-4.
// Where a tensor's maximum is 4 or more, engines are within 3.1e-6 (transformers), 2.3e-6
// (tinygrad), 2.1e-6 (Candle) and 1.4e-6 (mistral.rs) of it from float64, so two could be
// 5.4e-6 apart; none are more than 3.4e-6. Measured with scripts/engine_distance.py --above 4, and with
// go run . verify --json of both synthetic models.
const relTol = 4e-6

// Layouts that engines use, not every order there could be: interleaved heads are a
// fault. A batch of one may lack its axis; rows of a batch may be merged into the next.
var (
	streamLayouts = []string{"T B C", "B C T"}
	headLayouts   = []string{"B T H D", "B T (H D)", "B H D T", "T B H D", "T B (H D)"}
	cacheLayouts  = []string{"B S H D", "B S (H D)", "B H D S", "S B H D", "S B (H D)"}
	keyLayouts    = []string{"B T H S", "B H S T"}
	innerLayouts  = []string{"T B F", "B F T"}
	lastLayouts   = []string{"V B"}
)

// stages has a row for each stage, the first that matches. model.Axes is its layout.
var stages = []stage{
	{"wte", "", 0, 0, 0, (*stageCall).moved, streamLayouts,
		"rows copied from a table; nothing is computed"},
	{"wpe", "", 0, 0, 0, (*stageCall).moved, []string{"B T C", "C T"},
		"rows copied from a table; nothing is computed"},
	{"embed", "", 0, 1e-6, 0, (*stageCall).boundAdd, streamLayouts,
		"one addition, which rounds a value below 8 by 2.4e-7 at most"},
	{"h.*.ln_1", "", 1, 1e-5, relTol, (*stageCall).boundNorm, streamLayouts,
		"normed values are of order one; correct engines are up to 7.2e-6 apart"},
	{"h.*.attn.c_attn", "", 2, 1e-4, relTol, (*stageCall).boundLinear, []string{"B T 3 H D", "3 B T (H D)", "3 B H T D", "T B (3 H D)", "B (3 H D) T"},
		"sums of C products of normed values; correct engines are up to 1.2e-5 apart"},
	{"h.*.attn.[qkv]", "", 2, 1e-4, relTol, (*stageCall).moved, headLayouts,
		"c_attn, moved but not computed with"},
	{"h.*.attn.cache_k", "ck", 3, 1e-4, relTol, (*stageCall).moved, cacheLayouts,
		"the tolerance of the k that it copies; that it copies its own exactly is checked separately"},
	{"h.*.attn.cache_v", "cv", 3, 1e-4, relTol, (*stageCall).moved, cacheLayouts,
		"the tolerance of the v that it copies; that it copies its own exactly is checked separately"},
	{"h.*.attn.scores", "score", 4, 1e-4, relTol, (*stageCall).boundScores, keyLayouts,
		"sums of D products over sqrt(D), -inf exactly where masked; correct engines are up to 1.7e-5 apart"},
	{"h.*.attn.probs", "prob", 5, 1e-4, 0, (*stageCall).boundSoftmax, keyLayouts,
		"probabilities are at most 1, and move by no more than half of what scores do"},
	{"h.*.attn.context", "ctx", 5, 1e-4, relTol, (*stageCall).boundContext, []string{"B T H D", "B H T D", "T B (H D)", "T B H D", "B (H D) T"},
		"means of values weighted by probabilities; correct engines are up to 1.2e-5 apart"},
	{"h.*.attn.c_proj", "proj", 5, 1e-4, relTol, (*stageCall).boundLinear, streamLayouts,
		"sums of C products; correct engines are up to 8.3e-6 apart"},
	{"h.0.resid_mid", "mid", 7, 1e-4, relTol, (*stageCall).boundAdd, streamLayouts, firstBlock},
	{"h.*.resid_mid", "mid", 8, 1e-3, relTol, (*stageCall).boundAdd, streamLayouts, laterBlocks},
	{"h.*.ln_2", "", 6, 1e-4, relTol, (*stageCall).boundNorm, streamLayouts,
		"the feed-forward's tolerance; correct engines are up to 7.6e-6 apart"},
	{"h.*.mlp.c_fc", "", 6, 1e-4, relTol, (*stageCall).boundLinear, innerLayouts,
		"sums of C products of normed values; correct engines are up to 1.2e-5 apart"},
	{"h.*.mlp.act", "", 6, 1e-4, 0, (*stageCall).boundActivation, innerLayouts,
		"absolute whatever the maximum: the erf form of GELU must fail, and differs by 4.7e-4 at most"},
	{"h.*.mlp.c_proj", "down", 6, 1e-4, relTol, (*stageCall).boundLinear, streamLayouts,
		"sums of 4C products, where the outliers are made; correct engines are up to 2.6e-5 apart"},
	{"h.0.resid_post", "post", 7, 1e-4, relTol, (*stageCall).boundAdd, streamLayouts, firstBlock},
	{"h.*.resid_post", "post", 8, 1e-3, relTol, (*stageCall).boundAdd, streamLayouts, laterBlocks},
	{"ln_f", "", 8, 1e-3, relTol, (*stageCall).boundNorm, streamLayouts,
		"the rounding of all blocks times a gain that takes one channel to 229; correct engines are up to 3.8e-4 apart"},
	{"logits", "", 8, 1e-3, relTol, (*stageCall).boundLinear, []string{"T B V", "B V T"},
		"the rounding of all blocks; correct engines are up to 7.3e-5 apart"},
	{"logits_last", "", 9, 1e-3, relTol, (*stageCall).moved, lastLayouts,
		"the tolerance of the logits that it selects; correct engines are up to 1.1e-4 apart; that it is this engine's own last row is checked separately"},
	{"next_token", "", 10, 0, 0, nil, nil,
		"a token is the same or it is not"},
	{"probs_t*", "", 11, 1e-6, 0, (*stageCall).boundSoftmax, lastLayouts,
		"within 1e-6 of the float64 softmax of the dump's own logits_last; against the golden, 1e-6 plus what the difference of the logits can cause, 2*max|dlogit|/t*max p"},
}

const (
	firstBlock  = "one block's rounding; correct engines are up to 2.6e-4 apart, 17 units in the last place of a value above 128"
	laterBlocks = "each block adds its rounding to what came in; correct engines are up to 2.8e-4 apart after 24"
)

// rowOf returns the row of a stage. It panics for one that is none of GPT-2's.
func rowOf(name string) *stage {
	if row, ok := rowsByName.Load(name); ok {
		return row.(*stage)
	}
	for i := range stages {
		if names.Match(stages[i].pattern, name) {
			rowsByName.Store(name, &stages[i])
			return &stages[i]
		}
	}
	panic("gpt2: stage " + name + " has no row in the table of stages")
}

// rowsByName holds the rows that were looked up.
var rowsByName sync.Map

// ToleranceOf returns the tolerance of a stage of GPT-2.
func ToleranceOf(stage string) harness.Tolerance {
	row := rowOf(stage)
	return harness.Tolerance{Abs: row.abs, Rel: row.rel, Reason: row.reason}
}

// Label returns a stage's short name for the head of a column, or "" where the last
// part of its name is short enough.
func Label(stage string) string { return rowOf(stage).label }

// Temperatures are the ones a dump has probabilities for unless told otherwise.
var Temperatures = []float64{0.5, 1, 2}

// Schedule returns the stages of one step in execution order, with a stage probs_t*
// for each temperature (nil: [Temperatures]). It panics if layers or a temperature is
// not positive, or a temperature comes twice.
func Schedule(layers int, temperatures []float64) *harness.Schedule {
	if temperatures == nil {
		temperatures = Temperatures
	}
	var all []harness.Stage
	for _, name := range model.StageNames(model.Config{Layers: layers}, temperatures) {
		s := harness.Stage{
			Name: name, Checkpoint: rowOf(name).checkpoint, Tolerance: ToleranceOf(name), IDs: name == "next_token",
			Axes: model.Axes(name), Layouts: rowOf(name).layouts,
		}
		switch of, _ := model.ParseStage(name); of.Word {
		case "attn.cache_k", "attn.cache_v":
			s.Same, s.Slack = strings.Replace(name, "cache_", "", 1), "S"
		case "attn.scores":
			s.Convert, s.Absent = convertScores(name), float32(math.Inf(-1))
		case "logits":
			s.Same, s.LastAlone = "logits_last", true
		case "logits_last":
			s.Same = "logits"
		case "probs_t":
			s.Extra, s.Check = softmaxSlack(name, of.Temperature), softmaxCheck(name, of.Temperature, s.Tolerance.Abs)
		}
		all = append(all, s)
	}
	s, err := harness.NewSchedule(all)
	if err != nil {
		panic("gpt2: " + err.Error())
	}
	return s
}

// A Folder is the folder of a dump.
type Folder struct {
	Dir string
	Map *align.Map // joins another program's names to stages; nil for a folder of the stages' own
}

// DumpSchedule returns a schedule with every layer and temperature that a manifest or
// a file name in the folders asks for, at least one layer and at least the given
// number, such as the model's, and [Temperatures].
func DumpSchedule(layers int, folders ...Folder) (*harness.Schedule, error) {
	layers = max(layers, 1)
	temperatures := slices.Clone(Temperatures)
	for _, f := range folders {
		man, err := dump.ReadManifest(f.Dir)
		switch {
		case err == nil:
			var c struct {
				Layers int `json:"n_layer"`
			}
			// A manifest of another engine may have no config: names tell it then.
			if json.Unmarshal(man.Model.Config, &c) == nil && c.Layers <= maxLayers {
				layers = max(layers, c.Layers)
			}
			temperatures = append(temperatures, man.Temperatures...)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
		list := dump.List
		if f.Map != nil {
			list = f.Map.List
		}
		listed, err := list(f.Dir)
		if err != nil {
			return nil, err
		}
		for _, stage := range listed.Stages() {
			s, _ := model.ParseStage(stage)
			if s.Layer < maxLayers {
				layers = max(layers, s.Layer+1)
			}
			if s.Temperature > 0 {
				temperatures = append(temperatures, s.Temperature)
			}
		}
	}
	slices.Sort(temperatures)
	return Schedule(layers, slices.Compact(temperatures)), nil
}

// maxLayers bounds what the names in a folder can ask a schedule to hold.
const maxLayers = 4096

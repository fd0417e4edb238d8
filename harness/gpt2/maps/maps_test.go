package maps_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/dump"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/maps"
	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/harness/internal/names"
	"checkpoint12/harness/npy"
	"checkpoint12/model"
)

const golden = "../../../goldens/synthetic-tiny/hello/float64"

// written describes a program's tensor of one stage: its name, its axes, and its
// places along S if they are more than there are positions. It is set down here from
// the programs' sources, not from the maps.
type written struct {
	name, axes string
	room       int
}

type program struct {
	mapping string
	stages  map[string]written
	more    []string // files besides, which the map knows not to use
	unseen  []string // stages that the program shows at no step
}

var programs = []program{
	{"transformers", map[string]written{
		"wte": {"transformer.wte", "B T C", 0}, "wpe": {"transformer.wpe", "B T C", 0},
		"embed":    {"transformer.drop", "B T C", 0},
		"h.N.ln_1": {"transformer.h.N.ln_1", "B T C", 0}, "h.N.attn.c_attn": {"transformer.h.N.attn.c_attn", "B T (3 H D)", 0},
		"h.N.attn.probs":  {"transformer.h.N.attn.attn_dropout", "B H T S", 0},
		"h.N.attn.c_proj": {"transformer.h.N.attn.c_proj", "B T C", 0},
		"h.N.ln_2":        {"transformer.h.N.ln_2", "B T C", 0}, "h.N.mlp.c_fc": {"transformer.h.N.mlp.c_fc", "B T F", 0},
		"h.N.mlp.act": {"transformer.h.N.mlp.act", "B T F", 0}, "h.N.mlp.c_proj": {"transformer.h.N.mlp.c_proj", "B T C", 0},
		"h.N.resid_post": {"transformer.h.N", "B T C", 0}, "ln_f": {"transformer.ln_f", "B T C", 0},
		"logits": {"lm_head", "B T V", 0}, "h.N.attn.cache_k": {"past_key_values.N.key", "B H S D", 0},
		"h.N.attn.cache_v": {"past_key_values.N.value", "B H S D", 0},
	}, []string{"hidden_states.0", "transformer.h.0.attn.resid_dropout", "transformer.h.0.mlp.dropout", "transformer.h.1.attn"},
		[]string{"h.*.attn.[qkv]", "h.*.attn.scores", "h.*.attn.context", "h.*.resid_mid", "next_token", "probs_t*"}},
	{"transformerlens", map[string]written{
		"wte": {"hook_embed", "B T C", 0}, "wpe": {"hook_pos_embed", "B T C", 0},
		"embed": {"blocks.0.hook_resid_pre", "B T C", 0}, "h.N.ln_1": {"blocks.N.ln1.hook_normalized", "B T C", 0},
		"h.N.attn.q": {"blocks.N.attn.hook_q", "B T H D", 0}, "h.N.attn.k": {"blocks.N.attn.hook_k", "B T H D", 0},
		"h.N.attn.v":       {"blocks.N.attn.hook_v", "B T H D", 0},
		"h.N.attn.scores":  {"blocks.N.attn.hook_attn_scores", "B H T S", 0},
		"h.N.attn.probs":   {"blocks.N.attn.hook_pattern", "B H T S", 0},
		"h.N.attn.context": {"blocks.N.attn.hook_z", "B T H D", 0},
		"h.N.attn.c_proj":  {"blocks.N.hook_attn_out", "B T C", 0}, "h.N.resid_mid": {"blocks.N.hook_resid_mid", "B T C", 0},
		"h.N.ln_2": {"blocks.N.ln2.hook_normalized", "B T C", 0}, "h.N.mlp.c_fc": {"blocks.N.mlp.hook_pre", "B T F", 0},
		"h.N.mlp.act": {"blocks.N.mlp.hook_post", "B T F", 0}, "h.N.mlp.c_proj": {"blocks.N.hook_mlp_out", "B T C", 0},
		"h.N.resid_post": {"blocks.N.hook_resid_post", "B T C", 0}, "ln_f": {"ln_final.hook_normalized", "B T C", 0},
		"logits": {"unembed.hook_out", "B T V", 0},
	}, []string{"blocks.1.hook_resid_pre", "blocks.0.ln1.hook_scale", "ln_final.hook_scale", "unembed.hook_in"},
		[]string{"h.*.attn.c_attn", "h.*.attn.cache_[kv]", "next_token", "probs_t*"}},
	{"llama.cpp", map[string]written{
		"wte": {"embd", "1 B T C", 0}, "wpe": {"pos_embd", "1 B T C", 0}, "embed": {"inpL", "1 B T C", 0},
		"h.N.ln_1": {"attn_norm-N", "1 B T C", 0}, "h.N.attn.c_attn": {"wqkv_b-N", "1 B T (3 H D)", 0},
		"h.N.attn.q": {"Qcur-N", "B T H D", 0}, "h.N.attn.k": {"Kcur-N", "B T H D", 0}, "h.N.attn.v": {"Vcur-N", "B T H D", 0},
		"h.N.attn.cache_k": {"cache_k_lN (view)", "B S H D", 256}, "h.N.attn.cache_v": {"cache_v_lN (view)", "B D H S", 256},
		"h.N.attn.probs":   {"kq_soft_max-N", "B H T S", 256},
		"h.N.attn.context": {"kqv_out-N", "1 B T (H D)", 0}, "h.N.resid_mid": {"ffn_inp-N", "1 B T C", 0},
		"h.N.ln_2": {"ffn_norm-N", "1 B T C", 0}, "h.N.mlp.c_fc": {"ffn_up_b-N", "1 B T F", 0},
		"h.N.mlp.act": {"ffn_gelu-N", "1 B T F", 0}, "h.N.mlp.c_proj": {"ffn_out-N", "1 B T C", 0},
		"h.N.resid_post": {"l_out-N", "1 B T C", 0},
		"ln_f":           {"result_norm", "1 B T C", 0}, "logits": {"result_output", "1 B T V", 0},
	}, []string{"norm-0", "norm_w-0", "wqkv-0", "kq-0", "ffn_up-0", "ffn_down-0", "node_31", " (view)", "kqv-0 (permuted)", "kqv-0",
		"Vcur-0 (cont) (reshaped)", "cache_v_l0 (reshaped)", "cache_k_l0 (view) (permuted)"},
		[]string{"h.*.attn.scores", "h.*.attn.c_proj", "next_token", "probs_t*"}},
}

// A golden written as each program shows it is read through its map bit by bit:
// prompt and decode steps, and what the program does not show is missing.
func TestReadyMaps(t *testing.T) {
	g, _, err := dump.Open(golden, gpt2.Schedule(3, nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range programs {
		t.Run(p.mapping, func(t *testing.T) {
			dir := t.TempDir()
			for _, step := range []int{0, 1, 9} {
				for _, stage := range g.Stages(step) {
					x, err := g.Tensor(step, stage)
					if err != nil {
						t.Fatal(err)
					}
					if stage == "logits_last" && step > 0 { // of one position: all the logits there are
						stage = "logits"
					}
					if w, n, ok := lookUp(p.stages, stage); ok {
						write(t, dir, step, strings.Replace(w.name, "N", n, 1), w.show(stage, x, step))
					}
				}
			}
			for _, name := range p.more {
				write(t, dir, 0, name, harness.Tensor{Shape: []int{1}, F32: []float32{1}})
			}
			row := g.Tokens()[0]
			tokens := harness.Tensor{Shape: []int{1, len(row)}}
			for _, id := range row {
				tokens.I64 = append(tokens.I64, int64(id))
			}
			save(t, filepath.Join(dir, "tokens.npy"), tokens)

			m, err := maps.Read(p.mapping)
			if err != nil {
				t.Fatal(err)
			}
			s, err := gpt2.DumpSchedule(1, gpt2.Folder{Dir: dir, Map: m})
			if err != nil {
				t.Fatal(err)
			}
			d, hints, notes, err := m.Open(dir, s)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range notes {
				if !strings.Contains(n, "not use") {
					t.Errorf("note %q", n)
				}
			}
			v, err := gpt2.View(s, g, d, nil, hints, nil)
			if err != nil {
				t.Fatal(err)
			}
			r, err := harness.Compare(s, g, v, harness.CompareOptions{Match: func(step int, _ string) bool { return step < 2 || step == 9 }})
			if err != nil {
				t.Fatal(err)
			}
			for i := range r.Stages {
				row := &r.Stages[i]
				unseen := slices.ContainsFunc(p.unseen, func(pattern string) bool { return names.Match(pattern, row.Stage) }) ||
					row.Stage == "logits_last" && row.Step == 0
				switch {
				case unseen && row.Status != harness.Missing:
					t.Errorf("%s: %s, want missing", row.Place, row.Status)
				case !unseen && (row.Status != harness.Pass || row.MaxAbs != 0):
					t.Errorf("%s: %s, off by %v, shape %v of %v", row.Place, row.Status, row.MaxAbs, row.GotShape, row.Shape)
				}
			}
		})
	}
}

var layer = regexp.MustCompile(`^h\.([0-9]+)\.`)

func lookUp(stages map[string]written, stage string) (written, string, bool) {
	n := ""
	if m := layer.FindStringSubmatch(stage); m != nil {
		n, stage = m[1], "h.N."+stage[len(m[0]):]
	}
	w, ok := stages[stage]
	return w, n, ok
}

// show is the stage's tensor as the program shows it.
func (w written) show(stage string, x harness.Tensor, step int) harness.Tensor {
	size := map[string]int{"B": 1, "T": 2, "S": 2 + step, "H": 4, "D": 20, "C": 80, "F": 320, "V": 50257} // of synthetic-tiny
	if step > 0 {
		size["T"] = 1
	}
	own := model.Axes(stage)
	if w.room > 0 {
		inner := 1
		if strings.HasSuffix(own, "S D") {
			inner = size["D"]
		}
		var wide []float32
		for row := range slices.Chunk(x.F32, size["S"]*inner) {
			wide = append(append(wide, row...), make([]float32, (w.room-size["S"])*inner)...)
		}
		x.F32, size["S"] = wide, w.room
	}
	return harnesstest.Arrange(x, own, w.axes, size)
}

func write(t *testing.T, dir string, step int, name string, x harness.Tensor) {
	t.Helper()
	dir = filepath.Join(dir, fmt.Sprintf("step_%02d", step))
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	save(t, filepath.Join(dir, name+".npy"), x)
}

func save(t *testing.T, path string, a harness.Tensor) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := npy.Write(f, a); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// Every built-in map has a test here, fits the schedule and says what it is.
func TestReadyMapsAreTested(t *testing.T) {
	for _, name := range maps.Names() {
		m, err := maps.Read(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Check(gpt2.Schedule(1, nil)); err != nil {
			t.Error(err)
		}
		if m.Name != name || m.About == "" {
			t.Errorf("map %s calls itself %q, about %q", name, m.Name, m.About)
		}
		if !slices.ContainsFunc(programs, func(p program) bool { return p.mapping == name }) {
			t.Errorf("map %s has no test", name)
		}
	}
}

func TestReadSaysWhichMapsThereAre(t *testing.T) {
	_, err := maps.Read("pytorch")
	if err == nil || err.Error() != "pytorch: no such file, and no built-in map: those are llama.cpp, transformerlens, transformers" {
		t.Errorf("%v", err)
	}
	path := filepath.Join(t.TempDir(), "mine.json")
	if err := os.WriteFile(path, []byte(`{"schema": 1}`), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := maps.Read(path); err == nil || !strings.HasPrefix(err.Error(), path+": ") {
		t.Errorf("%v, want one that names the file", err)
	}
}

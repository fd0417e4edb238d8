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
	"checkpoint12/harness/internal/names"
	"checkpoint12/harness/npy"
)

const golden = "../../../goldens/synthetic-tiny/hello/float64"

// What synthetic-tiny has of each axis.
const H, D, C, F, V = 4, 20, 80, 320, 50257

// written is how a program shows one stage: under which name, in which shape,
// and turned from [B,H,T,D] to [B,T,H,D] if it shows it so. It is set down here
// from the programs' sources, not from the maps.
type written struct {
	name  string
	shape func(T, S int) []int
	turn  bool
}

func fixed(shape ...int) func(int, int) []int {
	return func(T, S int) []int {
		out := slices.Clone(shape)
		for i, n := range out {
			switch n {
			case -1:
				out[i] = T
			case -2:
				out[i] = S
			}
		}
		return out
	}
}

const T, S = -1, -2

type program struct {
	mapping string
	stages  map[string]written
	more    []string // files besides, which the map knows not to use
	unseen  []string // stages that the program shows at no step
}

var programs = []program{
	{"transformers", map[string]written{
		"wte": {"transformer.wte", fixed(1, T, C), false}, "wpe": {"transformer.wpe", fixed(1, T, C), false},
		"embed":    {"transformer.drop", fixed(1, T, C), false},
		"h.N.ln_1": {"transformer.h.N.ln_1", fixed(1, T, C), false}, "h.N.attn.c_attn": {"transformer.h.N.attn.c_attn", fixed(1, T, 3*C), false},
		"h.N.attn.probs":  {"transformer.h.N.attn.attn_dropout", fixed(1, H, T, S), false},
		"h.N.attn.c_proj": {"transformer.h.N.attn.c_proj", fixed(1, T, C), false},
		"h.N.ln_2":        {"transformer.h.N.ln_2", fixed(1, T, C), false}, "h.N.mlp.c_fc": {"transformer.h.N.mlp.c_fc", fixed(1, T, F), false},
		"h.N.mlp.act": {"transformer.h.N.mlp.act", fixed(1, T, F), false}, "h.N.mlp.c_proj": {"transformer.h.N.mlp.c_proj", fixed(1, T, C), false},
		"h.N.resid_post": {"transformer.h.N", fixed(1, T, C), false}, "ln_f": {"transformer.ln_f", fixed(1, T, C), false},
		"logits": {"lm_head", fixed(1, T, V), false}, "h.N.attn.cache_k": {"past_key_values.N.key", fixed(1, H, S, D), false},
		"h.N.attn.cache_v": {"past_key_values.N.value", fixed(1, H, S, D), false},
	}, []string{"hidden_states.0", "transformer.h.0.attn.resid_dropout", "transformer.h.0.mlp.dropout", "transformer.h.1.attn"},
		[]string{"h.*.attn.[qkv]", "h.*.attn.scores", "h.*.attn.context", "h.*.resid_mid", "next_token", "probs_t*"}},
	{"transformerlens", map[string]written{
		"wte": {"hook_embed", fixed(1, T, C), false}, "wpe": {"hook_pos_embed", fixed(1, T, C), false},
		"embed": {"blocks.0.hook_resid_pre", fixed(1, T, C), false}, "h.N.ln_1": {"blocks.N.ln1.hook_normalized", fixed(1, T, C), false},
		"h.N.attn.q": {"blocks.N.attn.hook_q", fixed(1, T, H, D), true}, "h.N.attn.k": {"blocks.N.attn.hook_k", fixed(1, T, H, D), true},
		"h.N.attn.v":       {"blocks.N.attn.hook_v", fixed(1, T, H, D), true},
		"h.N.attn.scores":  {"blocks.N.attn.hook_attn_scores", fixed(1, H, T, S), false},
		"h.N.attn.probs":   {"blocks.N.attn.hook_pattern", fixed(1, H, T, S), false},
		"h.N.attn.context": {"blocks.N.attn.hook_z", fixed(1, T, H, D), false},
		"h.N.attn.c_proj":  {"blocks.N.hook_attn_out", fixed(1, T, C), false}, "h.N.resid_mid": {"blocks.N.hook_resid_mid", fixed(1, T, C), false},
		"h.N.ln_2": {"blocks.N.ln2.hook_normalized", fixed(1, T, C), false}, "h.N.mlp.c_fc": {"blocks.N.mlp.hook_pre", fixed(1, T, F), false},
		"h.N.mlp.act": {"blocks.N.mlp.hook_post", fixed(1, T, F), false}, "h.N.mlp.c_proj": {"blocks.N.hook_mlp_out", fixed(1, T, C), false},
		"h.N.resid_post": {"blocks.N.hook_resid_post", fixed(1, T, C), false}, "ln_f": {"ln_final.hook_normalized", fixed(1, T, C), false},
		"logits": {"unembed.hook_out", fixed(1, T, V), false},
	}, []string{"blocks.1.hook_resid_pre", "blocks.0.ln1.hook_scale", "ln_final.hook_scale", "unembed.hook_in"},
		[]string{"h.*.attn.c_attn", "h.*.attn.cache_[kv]", "next_token", "probs_t*"}},
	{"llama.cpp", map[string]written{
		"wte": {"embd", fixed(1, 1, T, C), false}, "wpe": {"pos_embd", fixed(1, 1, T, C), false}, "embed": {"inpL", fixed(1, 1, T, C), false},
		"h.N.ln_1": {"attn_norm-N", fixed(1, 1, T, C), false}, "h.N.attn.c_attn": {"wqkv_b-N", fixed(1, 1, T, 3*C), false},
		"h.N.attn.q": {"Qcur-N", fixed(1, T, H, D), true}, "h.N.attn.k": {"Kcur-N", fixed(1, T, H, D), true}, "h.N.attn.v": {"Vcur-N", fixed(1, T, H, D), true},
		"h.N.attn.cache_k": {"cache_k_lN (view)", fixed(1, 256, H, D), false}, "h.N.attn.cache_v": {"cache_v_lN (view)", fixed(1, D, H, 256), false},
		"h.N.attn.probs":   {"kq_soft_max-N", fixed(1, H, T, 256), false},
		"h.N.attn.context": {"kqv_out-N", fixed(1, 1, T, C), false}, "h.N.resid_mid": {"ffn_inp-N", fixed(1, 1, T, C), false},
		"h.N.ln_2": {"ffn_norm-N", fixed(1, 1, T, C), false}, "h.N.mlp.c_fc": {"ffn_up_b-N", fixed(1, 1, T, F), false},
		"h.N.mlp.act": {"ffn_gelu-N", fixed(1, 1, T, F), false}, "h.N.mlp.c_proj": {"ffn_out-N", fixed(1, 1, T, C), false},
		"h.N.resid_post": {"l_out-N", fixed(1, 1, T, C), false},
		"ln_f":           {"result_norm", fixed(1, 1, T, C), false}, "logits": {"result_output", fixed(1, 1, T, V), false},
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
						write(t, dir, step, strings.Replace(w.name, "N", n, 1), w.show(x, step))
					}
				}
			}
			for _, name := range p.more {
				write(t, dir, 0, name, harness.Tensor{Shape: []int{1}, F32: []float32{1}})
			}
			tokens := g.Tokens()
			save(t, filepath.Join(dir, "tokens.npy"), npy.Array{Kind: npy.Int64, Shape: tokens.Shape, I64: tokens.I64})

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
			v, err := gpt2.View(s, g, d, hints, nil)
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

// show is the tensor as the program shows it.
func (w written) show(x harness.Tensor, step int) harness.Tensor {
	T, S := 2, 2+step
	if step > 0 {
		T = 1
	}
	out := harness.Tensor{Shape: w.shape(T, S), F32: x.F32}
	if w.turn {
		out.F32 = make([]float32, len(x.F32))
		for i, v := range x.F32 { // [1,H,T,D] to [1,T,H,D]
			h, t, d := i/(T*D), i/D%T, i%D
			out.F32[(t*H+h)*D+d] = v
		}
	}
	at := slices.Index(out.Shape, 256) // rows of S, and more behind
	if at < 0 {
		return out
	}
	n := 1
	for _, d := range out.Shape {
		n *= d
	}
	out.F32 = make([]float32, n)
	for i, v := range x.F32 {
		switch {
		case at == 1: // [1,H,S,D] to [1,256,H,D]
			h, s, d := i/(S*D), i/D%S, i%D
			out.F32[(s*H+h)*D+d] = v
		case out.Shape[1] == D: // [1,H,S,D] to [1,D,H,256]
			h, s, d := i/(S*D), i/D%S, i%D
			out.F32[(d*H+h)*256+s] = v
		default: // [1,H,T,S] to [1,H,T,256]
			out.F32[i/S*256+i%S] = v
		}
	}
	return out
}

func write(t *testing.T, dir string, step int, name string, x harness.Tensor) {
	t.Helper()
	dir = filepath.Join(dir, fmt.Sprintf("step_%02d", step))
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	save(t, filepath.Join(dir, name+".npy"), npy.Array{Shape: x.Shape, F32: x.F32})
}

func save(t *testing.T, path string, a npy.Array) {
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

// Every ready map has a test here, fits the schedule and says what it is.
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
	if err == nil || err.Error() != "pytorch: no such file, and no ready map: those are llama.cpp, transformerlens, transformers" {
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

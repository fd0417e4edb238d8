package verify

import (
	"math"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/report"
	"checkpoint12/harness/verify/engine"
)

// What the goldens that decide do not confirm is a note, not a failure.
func TestOverrule(t *testing.T) {
	at := harness.Place{Step: 1, Stage: "ln_f"}
	for _, tt := range []struct {
		why    string
		failed bool
		rows   []harness.Row // of the report by all goldens
		want   bool
	}{
		{"the reference fails too", true, []harness.Row{{Place: at, Status: harness.Fail}}, true},
		{"the reference agrees", true, []harness.Row{{Place: at, Status: harness.Pass}}, false},
		{"the reference lacks it", true, nil, true},
		{"nothing failed", false, []harness.Row{{Place: at, Status: harness.Pass}}, false},
	} {
		f := Finding{Step: at.Step, Stage: at.Stage, Share: 2, Failed: tt.failed, Detail: "off"}
		f.overrule(&harness.Report{Stages: tt.rows})
		if f.Failed != tt.want || (f.Note != "") != (tt.failed && !tt.want) || f.Share != 2 {
			t.Errorf("%s: %+v", tt.why, f)
		}
	}
}

// A place that is wrong in two cases is there once, with the causes of the first that has any.
func TestCausesMergeOverCases(t *testing.T) {
	at := func(step int) harness.Place { return harness.Place{Step: step, Stage: "h.0.mlp.act"} }
	wrong := func(causes ...string) *harness.Report {
		r := new(harness.Report)
		for step := range 2 {
			r.Introduced = append(r.Introduced, harness.Introduced{Step: step, Stage: at(step).Stage})
			r.Replayed = append(r.Replayed, harness.Replayed{
				Row: harness.Row{Place: at(step)}, Verdict: harness.ReplayIntroduced,
			})
		}
		for _, c := range causes {
			r.Explanations = append(r.Explanations, harness.Explanation{Step: 1, Stage: at(1).Stage, Fault: c})
		}
		return r
	}
	e := &EngineReport{merged: new(harness.Report), unseen: map[harness.Status]int{}}
	for _, r := range []*harness.Report{wrong(), wrong("gelu_erf"), wrong("other"), new(harness.Report)} {
		e.merge(r)
	}
	m := e.merged
	if len(m.Introduced) != 2 || len(m.Replayed) != 2 || len(m.Explanations) != 1 || m.Explanations[0].Fault != "gelu_erf" {
		t.Errorf("%+v", m)
	}
	e.cases = 4
	if all, other := e.inCases(), e.inCases(harness.Place{Stage: "wte"}); all != "in 3 of 4 cases" || e.inCases(at(1)) != all || other != "in 0 of 4 cases" {
		t.Errorf("%s; another stage %s", all, other)
	}
}

// Two runs have the same bits where both have a NaN, whatever its payload.
func TestSameBits(t *testing.T) {
	nan := func(payload uint32) float32 { return math.Float32frombits(0x7fc00000 | payload) }
	zero := float32(0)
	for _, tt := range []struct {
		why  string
		a, b float32
		want bool
	}{
		{"equal", 1.5, 1.5, true},
		{"one NaN", nan(0), nan(0), true},
		{"NaN of another payload", nan(1), nan(2), true},
		{"NaN of another sign", nan(0), -nan(0), true},
		{"a NaN and a number", nan(0), 1.5, false},
		{"zeros of two signs", zero, -1 / float32(math.Inf(1)), false},
	} {
		of := func(v float32) harness.Tensor { return harness.Tensor{Shape: []int{1}, F32: []float32{v}} }
		if got := sameBits(of(tt.a), of(tt.b)); got != tt.want {
			t.Errorf("%s: %t", tt.why, got)
		}
	}
}

// A failure with a NaN says so, in the table as in full, and has causes of its own.
func TestNaNIsNamed(t *testing.T) {
	s := &Suite{schedule: gpt2.Schedule(1, nil)}
	place := harness.Place{Stage: "h.0.attn.probs"}
	row := harness.Row{
		Place: place, Status: harness.Nonfinite, Checkpoint: 5, Elements: 4, Mismatched: 2,
		MaxAbs: harness.Float(math.NaN()), Worst: &harness.Worst{Index: []int{1}, Got: harness.Float(math.NaN()), Want: 0.5},
	}
	golden := &Golden{Engine: "float64", manifest: &harness.Manifest{Tokens: [][]int{{1}}}}
	found, err := s.findings(&Case{Name: "hello"}, golden, nil, nil, &harness.Report{Stages: []harness.Row{row}, FirstDivergence: &place})
	if err != nil || len(found) != 1 {
		t.Fatalf("%v, %v", found, err)
	}
	var l line
	l.add(found[0])
	for _, tt := range []struct{ text, want string }{
		{l.remark(report.Style{}).(string), "1 fail: NaN at hello, step 0, h.0.attn.probs"},
		{full(found[0]), "usual causes: " + texts.Causes["not finite"][0]},
		{(&Report{First: &found[0]}).verdict(), "checkpoint 5 (attention output) first fails at hello/float64/step_00/h.0.attn.probs with NaN; "},
	} {
		if !strings.Contains(tt.text, tt.want) || strings.Contains(tt.text, "difference NaN") {
			t.Errorf("%q lacks %q", tt.text, tt.want)
		}
	}
}

// An infinity in scores is a mask's, and has the causes of scores.
func TestInfinityInScores(t *testing.T) {
	f := Finding{Checkpoint: 4, Stage: "h.0.attn.scores", Nonfinite: "-Inf"}
	if got, want := f.usualCauses(), Info(4).CausesAt(f.Stage); !slices.Equal(got, want) {
		t.Errorf("usual causes %q, want %q", got, want)
	}
}

// The lines of a checkpoint's engines are one, which counts those that have anything to compare if
// not all have, and names those that fail where others pass.
func TestTogether(t *testing.T) {
	at := func(engine string, compared, failed int, share float64) line {
		return line{engine: engine, compared: compared, values: 10 * compared, failed: failed, worst: &Worst{Engine: engine, Share: harness.Float(share)}}
	}
	none := line{engine: "c", why: "never has them"}
	for _, tt := range []struct {
		why     string
		lines   []line
		values  int
		remarks string
	}{
		{"one engine", []line{at("a", 2, 1, 3)}, 20, ""},
		{"one, and the model's own", []line{at("a", 2, 0, 0.5), at(Self, 4, 0, 0.1)}, 20, ""},
		{"all pass", []line{at("a", 2, 0, 0.5), at("b", 2, 0, 0.7), at(Self, 4, 0, 0.1)}, 40, ""},
		{"all fail", []line{at("a", 2, 1, 3), at("b", 2, 2, 7), at(Self, 4, 1, 2)}, 40, ""},
		{"one fails", []line{at("a", 2, 0, 0.5), at("b", 2, 2, 7)}, 40, "fails by b alone"},
		{"one has nothing", []line{at("a", 2, 0, 0.5), at("b", 2, 0, 0.7), none}, 40, "2 of 3 engines"},
		{"only itself fails", []line{at("a", 2, 0, 0.5), at("b", 2, 0, 0.7), at(Self, 4, 1, 9)}, 40, "fails by self alone"},
	} {
		l := together(tt.lines)
		worst, compared := tt.lines[0], 0
		for _, o := range tt.lines {
			compared += o.compared
			if o.worst != nil && o.worst.Share > worst.worst.Share {
				worst = o
			}
		}
		if l.compared != compared || l.values != tt.values || l.worst != worst.worst || strings.Join(l.remarks(), "; ") != tt.remarks {
			t.Errorf("%s: %+v", tt.why, l)
		}
	}
}

// The command in a report runs a case by hand with what is at hand, or keeps what it needs.
func TestEngineCommand(t *testing.T) {
	t.Setenv("CHECKPOINT12_MODELS", t.TempDir())
	const fresh, compare = "rm -rf checkpoint12-dump && mkdir checkpoint12-dump && ", " && ck compare --golden goldens/m"
	const keep = "rm -rf checkpoint12-cases && ck verify 'e' --keep checkpoint12-cases"
	kept := engine.Case{Model: "/k/m", Tokens: "/k/c/tokens.npy", Mask: "/k/c/mask.npy", Prompt: 1, New: 2, DType: "f32"}
	for _, tt := range []struct {
		why     string
		command engine.Command
		keep    string
		padded  bool
		want    string
	}{
		{"a golden has its tokens", engine.Command{"e", "{model}", "{tokens}", "{out}"}, "", false,
			"ck synth synthetic-tiny --out checkpoint12-model && " + fresh + "e checkpoint12-model goldens/m/c/float64/tokens.npy checkpoint12-dump" + compare + "/c "},
		{"none has a mask", engine.Command{"e", "{mask}", "{out}"}, "", false, keep},
		{"none has padding", engine.Command{"e", "{tokens}", "{out}"}, "", true, keep},
		{"it may read the mask from its environment", engine.Command{"e"}, "", false, keep},
		{"kept", engine.Command{"e", "{tokens}", "{mask}", "{out}"}, "k", false,
			fresh + "e /k/c/tokens.npy /k/c/mask.npy checkpoint12-dump" + compare + "/c "},
		{"kept, for the environment", engine.Command{"e"}, "k", false,
			fresh + "env CHECKPOINT12_MODEL=/k/m CHECKPOINT12_TOKENS=/k/c/tokens.npy CHECKPOINT12_MASK=/k/c/mask.npy " +
				"CHECKPOINT12_PROMPT=1 CHECKPOINT12_NEW=2 CHECKPOINT12_DTYPE=f32 CHECKPOINT12_OUT=checkpoint12-dump e" + compare + "/c "},
		{"kept, padded", engine.Command{"e", "{out}"}, "k", true,
			fresh + "e checkpoint12-dump && cp /k/c/tokens.npy checkpoint12-dump/tokens.npy && " +
				"cp /k/c/mask.npy checkpoint12-dump/attention_mask.npy" + compare + " "},
	} {
		s := &Suite{o: Options{
			Model: "synthetic-tiny", Command: "ck", Line: "ck verify 'e'",
			Engine: &engine.Runner{Command: tt.command, Keep: tt.keep},
		}}
		c := &Case{Name: "c", given: kept}
		if tt.padded {
			c.parts = []*Case{{}, {}}
		}
		if got := s.engineCommand(c, &Golden{Engine: "float64", Dir: "goldens/m/c/float64"}); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s:\n%s\nwant\n%s", tt.why, got, tt.want)
		}
	}
}

// A command in a report asks for the same judgement, whatever the names are.
func TestThenCompare(t *testing.T) {
	bf16, _ := gpt2.ParsePrecision("bf16")
	s := &Suite{o: Options{
		Model: "-my model", Command: "ck", Engine: &engine.Runner{}, Precision: bf16, Bounds: &harness.Bounds{File: "it's.json"},
	}}
	want := ` && ck compare --golden '-g/c d' --candidate checkpoint12-dump --model '-my model' --dtype bf16 --bounds 'it'\''s.json'`
	if got := s.thenCompare("-g/c d"); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// A failure keeps how far it is past a tolerance.
func TestFailingKeepsItsShare(t *testing.T) {
	inf := harness.Float(math.Inf(1))
	for share, want := range map[harness.Float]harness.Float{0: inf, 0.5: inf, 3: 3, inf: inf, harness.Float(math.NaN()): inf} {
		if f := (Finding{Share: share}).failing("off by %d", 1); f.Share != want || !f.Failed || f.Detail != "off by 1" {
			t.Errorf("%v: %+v", share, f)
		}
	}
}

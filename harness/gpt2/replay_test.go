package gpt2

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/dump"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/harness/replay"
	"checkpoint12/model"
	"checkpoint12/model/modeltest"
	"checkpoint12/model/zoo"
)

// allowed is the largest part of its bound that a correct engine may use here: the
// bound is no narrower than twice what is seen.
const allowed = 0.5

// shares is the largest part of its bound, and where, by what a stage is.
type shares map[string]struct {
	share float64
	at    string
}

func (s shares) add(rows []harness.Replayed, name string) {
	for _, r := range rows {
		stage, _ := model.ParseStage(r.Stage)
		word := stage.Word
		if len(r.Span) > 1 {
			word += " (span)"
		}
		if best, ok := s[word]; !ok || r.Share() > best.share {
			best.share, best.at = r.Share(), name+" "+r.Place.String()
			s[word] = best
		}
	}
}

func (s shares) String() string {
	var b strings.Builder
	for _, word := range slices.Sorted(maps.Keys(s)) {
		if s[word].share > 0 {
			fmt.Fprintf(&b, "\n  %-24s %.3f  %s", word, s[word].share, s[word].at)
		}
	}
	return b.String()
}

// clean replays a correct run and fails on every alarm.
func clean(t *testing.T, m *model.Model, c harness.Source, match func(int, string) bool) []harness.Replayed {
	t.Helper()
	s := Schedule(m.Config().Layers, nil)
	rows, err := replay.Judge(t.Context(), s, c, NewReplayer(m, c, Float32), replay.Options{Match: match})
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) == 0 {
		t.Fatalf("%s: nothing was replayed", c.Name())
	}
	for _, r := range rows {
		if r.Verdict != harness.ReplayClean || r.Share() > allowed {
			t.Errorf("%s: %s is %s at %v of its bound %v, span %v: %s", c.Name(), r.Place, r.Verdict, r.Share(), r.Tolerance.Abs, r.Span, r.Why)
		}
	}
	return rows
}

// goldensIn opens goldens of a model, of every engine.
func goldensIn(t *testing.T, name string) map[string][]*dump.Dump {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(gpt2test.Dir, name, "*", "*"))
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no goldens of %s: %v", name, err)
	}
	found := map[string][]*dump.Dump{}
	if len(dirs) > 4 {
		dirs = harnesstest.Draw(dirs, 0, 7)
	}
	for _, dir := range dirs {
		s, err := DumpSchedule(1, Folder{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		d, _, err := dump.Open(dir, s)
		if err != nil {
			t.Fatal(err)
		}
		found[filepath.Base(dir)] = append(found[filepath.Base(dir)], d)
	}
	return found
}

// Right engines raise no alarm, whatever their order of summation, and use less
// than half of their bounds; nor do they where a dump lacks stages, which are
// computed then.
func TestReplayOfGoldensIsClean(t *testing.T) {
	m := gpt2test.Tiny(t)
	for engine, dumps := range goldensIn(t, "synthetic-tiny") {
		for name, keep := range map[string]func(stage string) bool{
			"every stage":    func(string) bool { return true },
			"module outputs": gpt2test.IsModule,
			"blocks alone":   func(stage string) bool { return strings.HasSuffix(stage, "resid_post") },
			"logits alone":   func(stage string) bool { return stage == "logits_last" },
		} {
			if name != "every stage" && engine != "candle" {
				continue
			}
			used, n := shares{}, 0
			for _, d := range dumps {
				some := gpt2test.Only{Source: d, Keep: func(_ int, stage string) bool { return keep(stage) }}
				if len(some.Steps()) > 0 {
					rows := clean(t, m, some, nil)
					used.add(rows, filepath.Base(filepath.Dir(d.Name())))
					n += len(rows)
				}
			}
			t.Logf("%s, %s: %d stages of %d cases, largest share of the bound:%s", engine, name, n, len(dumps), used)
		}
	}
}

// The Go model's own runs are correct too.
func TestReplayOfOwnRunsIsClean(t *testing.T) {
	m := gpt2test.Tiny(t)
	rec, err := Record(t.Context(), m, Run{Tokens: [][]int{{15496, 13}}, New: 10})
	if err != nil {
		t.Fatal(err)
	}
	clean(t, m, rec, nil)
}

// A run is replayed without weights, in the dimensions that its shapes show, and
// found correct wherever no weights are needed.
func TestReplayWithoutWeights(t *testing.T) {
	m := modeltest.New(t, micro, 1)
	rec, err := Record(t.Context(), m, Run{Tokens: [][]int{{5, 7, 11}, {6, 8, 2}}, New: 3})
	if err != nil {
		t.Fatal(err)
	}
	s := Schedule(micro.Layers, nil)
	cfg := ConfigOf(s, rec)
	want := micro
	if cfg.Vocab != want.Vocab || cfg.Embd != want.Embd || cfg.Layers != want.Layers || cfg.Heads != want.Heads || cfg.Inner != want.Inner {
		t.Errorf("config %+v, want the dimensions of %+v", cfg, want)
	}
	replayed := func(cfg model.Config) (clean int) {
		rows, err := replay.Judge(t.Context(), s, rec, NewReplayer(model.WithoutWeights(cfg), nil, Float32), replay.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			switch {
			case row.Verdict == harness.ReplayClean:
				clean++
			case row.Verdict != harness.ReplayUnknown:
				t.Errorf("%s: %s, %s", row.Place, row.Verdict, row.Why)
			}
		}
		return clean
	}
	const outside, attention, others = 6, 8, 3 // embed, logits_last, next_token, three of probs_t; act and two sums
	if n := replayed(cfg); n != 3*(outside+2*(attention+others)) {
		t.Errorf("%d places are right, want those of every stage without weights", n)
	}
	cfg.Heads = 0
	if n := replayed(cfg); n != 3*(outside+2*others) {
		t.Errorf("%d places are right where the heads are not known, want all but attention's", n)
	}
}

// Both at GPT-2 Medium's width, where sums have up to 4096 terms: no alarm for a correct
// run, and lesser precision is seen (replay_precision_test.go).
func TestReplayAtMediumWidth(t *testing.T) {
	if testing.Short() {
		t.Skip("short: twelve million weights")
	}
	m := modeltest.New(t, model.Config{Vocab: 300, Positions: 8, Embd: 1024, Layers: 1, Heads: 16, Inner: 4096, Eps: 1e-5}, 1)
	rec, err := Record(t.Context(), m, Run{Tokens: [][]int{{17, 4}}, New: 3})
	if err != nil {
		t.Fatal(err)
	}
	clean(t, m, rec, nil)
	separate(t, m, rec, func(stage string) bool {
		return stage != "h.0.ln_1" && !strings.HasPrefix(stage, "probs_t") // its weights are not such that these move
	})
}

// The same at Medium's whole shape, for goldens of every engine.
func TestReplayAtMediumShape(t *testing.T) {
	if testing.Short() || !harnesstest.Full() {
		t.Skip("makes the weights of synthetic-medium, 1.4 GB: CHECKPOINT12_FULL=1 go test -run ReplayAtMediumShape ./harness/gpt2")
	}
	m, err := zoo.Load("synthetic-medium")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	prompt := func(step int, _ string) bool { return step == 0 }
	dumps := goldensIn(t, "synthetic-medium")
	for engine, dumps := range dumps {
		used := shares{}
		for _, d := range dumps {
			used.add(clean(t, m, d, prompt), filepath.Base(filepath.Dir(d.Name())))
		}
		t.Logf("%s, largest share of the bound:%s", engine, used)
	}
	separate(t, m, dumps["candle"][0], func(stage string) bool {
		return strings.HasPrefix(stage, "h.0.") || strings.HasPrefix(stage, "h.17.") || strings.HasPrefix(stage, "ln_f") || stage == "logits"
	})
}

// BenchmarkReplayMedium replays a dump of every stage at GPT-2 Medium's shape,
// prompt of 2 and ten new tokens, held in memory.
func BenchmarkReplayMedium(b *testing.B) {
	m, err := zoo.Load("synthetic-medium")
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	c, err := Record(b.Context(), m, Run{Tokens: [][]int{{15496, 13}}, New: 10})
	if err != nil {
		b.Fatal(err)
	}
	s := Schedule(m.Config().Layers, nil)
	for b.Loop() {
		rows, err := replay.Judge(b.Context(), s, c, NewReplayer(m, nil, Float32), replay.Options{Prompt: 2})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(rows)), "stages")
	}
}

// oneByOne counts the stages that are replayed, and does not say which could be together.
type oneByOne struct {
	replay.Replayer
	calls *atomic.Int64
}

func (r oneByOne) Replay(step int, stage string, in replay.Inputs) (replay.Value, error) {
	r.calls.Add(1)
	return r.Replayer.Replay(step, stage, in)
}

// together counts too.
type together struct{ oneByOne }

func (r together) ByRow(stage string) bool { return r.Replayer.(*replayer).ByRow(stage) }

// cutShort lacks the last value of the first row of a place.
type cutShort struct {
	harness.Source
	at harness.Place
}

func (n cutShort) Shape(step int, stage string) ([]int, bool) {
	shape, ok := n.Source.Shape(step, stage)
	if step == n.at.Step && stage == n.at.Stage {
		shape = []int{1, 1, shape[2] - 1}
	}
	return shape, ok
}

func (n cutShort) Tensor(step int, stage string) (harness.Tensor, error) {
	x, err := n.Source.Tensor(step, stage)
	if shape, _ := n.Shape(step, stage); err == nil && x.F32 != nil {
		size := 1
		for _, n := range shape {
			size *= n
		}
		x.Shape, x.F32 = shape, x.F32[:size]
	}
	return x, err
}

// Steps that are replayed together are judged as one by one, to the bit, also where one has an
// input of a wrong shape.
func TestReplayOfStepsTogether(t *testing.T) {
	m := gpt2test.Tiny(t)
	s := Schedule(m.Config().Layers, nil)
	golden := gpt2test.Golden(t, s, "synthetic-tiny/hello/float64")
	short := cutShort{golden, harness.Place{Step: 4, Stage: "h.1.ln_2"}}
	for _, c := range []harness.Source{golden, short} {
		var rows [2][]harness.Replayed
		var calls [2]atomic.Int64
		one := oneByOne{NewReplayer(m, c, Float32), &calls[0]}
		for i, r := range []replay.Replayer{one, together{oneByOne{one.Replayer, &calls[1]}}} {
			var err error
			if rows[i], err = replay.Judge(t.Context(), s, c, r, replay.Options{}); err != nil {
				t.Fatal(err)
			}
		}
		for i, want := range rows[0] {
			got := rows[1][i]
			got.Worst, want.Worst = nil, nil // pointers
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("together %+v, one by one %+v", got, want)
			}
		}
		if one, all := calls[0].Load(), calls[1].Load(); all > one*7/10 {
			t.Errorf("%d replays together, %d one by one: nothing is saved", all, one)
		}
	}
}

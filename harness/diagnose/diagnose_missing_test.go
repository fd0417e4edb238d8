package diagnose

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/internal/harnesstest"
)

// A dump without the stage itself, or of module outputs alone, names spans that
// hold the stage, and nothing else: one for each time that it was wrong.
func TestDiagnoseNamesTheSpan(t *testing.T) {
	m := gpt2test.Tiny(t)
	g := gpt2test.Golden(t, gpt2.Schedule(3, nil), "synthetic-tiny/hello/float64")
	for _, b := range append(harnesstest.Draw(gpt2test.Faults, 1, 3), gpt2test.Fault{Name: "none"}) {
		for name, keep := range map[string]func(stage string) bool{
			"without the stage": func(stage string) bool { return stage != b.Stage },
			"module outputs":    gpt2test.IsModule,
		} {
			t.Run(b.Name+"/"+name, func(t *testing.T) {
				c, changed := faulty(t, m, g, true, b)
				r := diagnosed(t, m, g, gpt2test.Only{Source: c, Keep: func(_ int, stage string) bool { return keep(stage) }})
				if b.Stage != "" && keep(b.Stage) {
					if diff := cmp.Diff(changed, placesOf(t, r)); diff != "" {
						t.Errorf("introduced (-want +got):\n%s", diff)
					}
					return
				}
				last := b.Stage == "" || b.Stage == "next_token" || strings.HasPrefix(b.Stage, "probs_t") // nothing reads these
				if last != (len(r.Introduced) == 0) {
					t.Fatalf("introduced %v", r.Introduced)
				}
				for _, in := range r.Introduced {
					if !slices.Contains(in.Span, b.Stage) || keep(in.Span[0]) {
						t.Errorf("introduced %+v, want a span with %s", in, b.Stage)
					}
				}
				if last {
					return
				}
				var want, got []int // steps
				for _, p := range changed {
					want = append(want, p.Step)
				}
				for _, in := range r.Introduced {
					got = append(got, in.Step)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s was changed in these steps, and these have a stage introduced (-want +got):\n%s\n%+v", b.Stage, diff, r.Introduced)
				}
			})
		}
	}
}

// An unknown fault in a part of the residual stream that the dump
// lacks is one fault: what was added later tells what the part was.
func TestDiagnoseSubtractsInTheResidualStream(t *testing.T) {
	m := gpt2test.Tiny(t)
	g := gpt2test.Golden(t, gpt2.Schedule(3, nil), "synthetic-tiny/hello/float64")
	odd := gpt2test.Edit(func(data []float32) {
		for i := range data {
			data[i] += 0.1 * float32(i%5)
		}
	})
	for _, tt := range []struct {
		stages []string
		want   []string // the first row with each
	}{
		{[]string{"h.1.resid_mid"}, []string{"h.1.ln_2"}},
		{[]string{"embed"}, []string{"h.0.ln_1"}},
		{[]string{"embed", "h.0.resid_mid"}, []string{"h.0.ln_1", "h.0.ln_2"}}, // ln_2 reads both
		{[]string{"embed", "h.2.resid_mid"}, []string{"h.0.ln_1", "h.2.ln_2"}},
		{[]string{"h.1.resid_post"}, []string{"h.1.resid_post"}}, // in the dump: no ln_2 is blamed for it
		{[]string{"h.1.resid_mid", "h.1.resid_post"}, []string{"h.1.ln_2", "h.1.resid_post"}},
	} {
		t.Run(strings.Join(tt.stages, " and "), func(t *testing.T) {
			var planted []gpt2test.Fault
			for _, stage := range tt.stages {
				planted = append(planted, gpt2test.Fault{Name: "odd", Stage: stage, Plant: odd})
			}
			c, _ := faulty(t, m, g, true, planted...)
			r := diagnosed(t, m, g, gpt2test.Only{Source: c, Keep: func(_ int, stage string) bool { return gpt2test.IsModule(stage) && stage != "embed" }})
			var want []harness.Place
			for step := range fewSteps {
				for _, stage := range tt.want {
					want = append(want, harness.Place{Step: step, Stage: stage})
				}
			}
			if diff := cmp.Diff(want, placesOf(t, r)); diff != "" {
				t.Errorf("introduced (-want +got):\n%s", diff)
			}
		})
	}
}

// A second fault is not taken for one of the few values that fall on the other
// side of a rounding in a missing stage.
func TestDiagnoseKeepsAFaultBehindARounding(t *testing.T) {
	m := gpt2test.Tiny(t)
	g := gpt2test.Golden(t, gpt2.Schedule(3, nil), "synthetic-tiny/hello/float64")
	bfloat16 := gpt2test.Fault{Name: "bfloat16", Stage: "h.1.resid_mid", Plant: gpt2test.Edit(func(data []float32) {
		for i, v := range data {
			bits := math.Float32bits(v)
			data[i] = math.Float32frombits((bits + 0x7fff + bits>>16&1) &^ 0xffff)
		}
	})}
	channel := gpt2test.Fault{Name: "channel", Stage: "h.1.resid_post", Plant: gpt2test.Edit(func(data []float32) {
		for i := 7; i < len(data); i += m.Config().Embd {
			data[i] += 0.005
		}
	})}
	for _, tt := range []struct {
		planted []gpt2test.Fault
		want    []string
	}{
		{[]gpt2test.Fault{bfloat16}, []string{"h.1.ln_2"}},
		{[]gpt2test.Fault{bfloat16, channel}, []string{"h.1.ln_2", "h.1.resid_post"}},
	} {
		c, _ := faulty(t, m, g, true, tt.planted...)
		r := diagnosed(t, m, g, gpt2test.Only{Source: c, Keep: func(_ int, stage string) bool { return stage != "h.1.resid_mid" }})
		var want []harness.Place
		for step := range fewSteps {
			for _, stage := range tt.want {
				want = append(want, harness.Place{Step: step, Stage: stage})
			}
		}
		if diff := cmp.Diff(want, placesOf(t, r)); diff != "" {
			t.Errorf("%d faults: introduced (-want +got):\n%s", len(tt.planted), diff)
		}
	}
}

package diagnose

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/harness"
	"checkpoint12/harness/dump"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/harness/report"
	"checkpoint12/model"
	"checkpoint12/model/modeltest"
)

// fewSteps is the number of the golden's steps that are looked at: the prompt, the
// first that reads a cache, and one more.
const fewSteps = 3

// faulty runs the model on a golden's tokens with faults planted in it, and lists
// the places where a fault changed something. One alone is run once for all tests.
func faulty(t *testing.T, m *model.Model, g *dump.Dump, feed bool, planted ...gpt2test.Fault) (rec *harness.Recorder, changed []harness.Place) {
	t.Helper()
	if feed && (len(planted) == 0 || len(planted) == 1 && planted[0].ID != "") {
		key := g.Name()
		if len(planted) == 1 {
			key += " " + planted[0].Name
		}
		if run, ok := ran[key]; ok {
			return run.rec, run.changed
		}
		defer func() { ran[key] = ranOnce{rec, changed} }()
	}
	plant := gpt2.Override{Value: gpt2test.Planter(m, planted...).Value}
	step := -1
	run := gpt2.Run{Tokens: g.Manifest().Tokens, New: fewSteps, Tap: func(stage string, shape []int, data []float32) {
		if stage == "wte" {
			step++
		}
		before := slices.Clone(data)
		plant.Tap(stage, shape, data)
		if !slices.EqualFunc(before, data, func(a, b float32) bool { return a == b || a != a && b != b }) {
			changed = append(changed, harness.Place{Step: step, Stage: stage})
		}
	}}
	if feed {
		n := len(run.Tokens[0])
		for _, row := range g.Tokens() {
			run.Feed = append(run.Feed, row[n:n+fewSteps-1])
		}
	}
	trace, err := gpt2.RecordTrace(t.Context(), m, run) // which ends where NaN chose no token
	if err != nil {
		t.Fatal(err)
	}
	return trace.Recorder, changed
}

// ran are the runs of single faults, by golden and fault.
var ran = map[string]ranOnce{}

type ranOnce struct {
	rec     *harness.Recorder
	changed []harness.Place
}

// comparisonOf is a candidate and, unless it is nil, a golden.
func comparisonOf(m *model.Model, golden, candidate harness.Source) Comparison {
	c := Comparison{Schedule: gpt2.Schedule(m.Config().Layers, nil), Model: m, Candidate: candidate}
	if golden != nil {
		c.Goldens = []EngineResult{{Source: golden}}
	}
	return c
}

// diagnosed compares the first few steps of a candidate with a golden.
func diagnosed(t *testing.T, m *model.Model, golden, candidate harness.Source) *Result {
	t.Helper()
	c := comparisonOf(m, golden, candidate)
	c.Match = func(step int, _ string) bool { return step < fewSteps }
	r, err := Compare(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// places are the introduced ones, each of a span of one stage unless spans says
// otherwise.
func placesOf(t *testing.T, r *Result) (all []harness.Place) {
	t.Helper()
	for _, in := range r.Introduced {
		if in.Span[len(in.Span)-1] != in.Stage {
			t.Errorf("%+v: its span does not end with it", in)
		}
		all = append(all, harness.Place{Step: in.Step, Stage: in.Stage})
	}
	return all
}

func TestDiagnoseNamesEveryPlantedFault(t *testing.T) {
	m := gpt2test.Tiny(t)
	g := gpt2test.Golden(t, gpt2.Schedule(3, nil), "synthetic-tiny/hello/float64")
	var sets [][]gpt2test.Fault
	for i, b := range gpt2test.Faults {
		sets = append(sets, []gpt2test.Fault{b}, []gpt2test.Fault{b, gpt2test.Faults[(i+5)%len(gpt2test.Faults)]})
	}
	for _, set := range append(harnesstest.Draw(sets, 0, 5), nil) {
		var names []string
		for _, b := range set {
			names = append(names, b.Name)
		}
		t.Run(strings.Join(names, " and "), func(t *testing.T) {
			if len(set) == 2 && set[0].Stage == set[1].Stage {
				t.Skip("two faults of one stage are one")
			}
			for _, feed := range []bool{true, false} { // false: from a differing token on, the golden says nothing
				if feed && len(set) == 2 {
					continue
				}
				c, want := faulty(t, m, g, feed, set...)
				r := diagnosed(t, m, g, c)
				if diff := cmp.Diff(want, placesOf(t, r)); diff != "" {
					t.Errorf("fed the golden's tokens %v: introduced (-want +got):\n%s", feed, diff)
				}
				for _, in := range r.Introduced {
					if len(in.Span) != 1 {
						t.Errorf("%+v: nothing is missing, so the span is the stage", in)
					}
				}
				if r.Passed() != (len(set) == 0) {
					t.Errorf("verdict %s", r.Verdict)
				}
				checkOrigins(t, r.Report, want)
			}
		})
	}
}

// checkOrigins checks that each row's origin follows from what was changed.
func checkOrigins(t *testing.T, r *harness.Report, changed []harness.Place) {
	t.Helper()
	for i := range r.Stages {
		row, want := &r.Stages[i], ""
		switch {
		case slices.Contains(changed, row.Place):
			want = harness.OriginIntroduced
		case row.Status == harness.Nonfinite && math.IsNaN(float64(row.RMS)):
			want = harness.OriginUnknown // all of it is NaN, as is what it reads
		case row.Status.Diverges():
			want = harness.OriginInherited
		}
		if row.Origin != want {
			t.Errorf("%s: origin %q, want %q", row.Place, row.Origin, want)
		}
	}
}

// Without tokens it is not known which rows of the tables are correct.
func TestDiagnoseSaysWhatItCannotJudge(t *testing.T) {
	m := gpt2test.Tiny(t)
	g := gpt2test.Golden(t, gpt2.Schedule(3, nil), "synthetic-tiny/hello/float64")
	c, _ := faulty(t, m, g, true)
	nobody := untold{c}
	r := diagnosed(t, m, untold{g}, nobody)
	if len(r.Introduced) > 0 || !r.Passed() {
		t.Errorf("introduced %v, verdict %s", r.Introduced, r.Verdict)
	}
	for i := range r.Stages {
		row, want := &r.Stages[i], ""
		if row.Stage == "wte" || row.Stage == "wpe" {
			want = harness.OriginUnknown
		}
		if row.Origin != want {
			t.Errorf("%s: origin %q, want %q", row.Place, row.Origin, want)
		}
	}
	var text strings.Builder
	if err := report.Write(&text, r.Report, report.Options{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"6 stages could not be judged", "could not be judged:", "the tokens of step 0 are not known"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the report does not say %q:\n%s", want, text.String())
		}
	}
}

// untold is a source that does not say what it was fed.
type untold struct{ harness.Source }

func (untold) Tokens() [][]int             { return nil }
func (untold) Manifest() *harness.Manifest { return nil }

func TestDiagnoseExplains(t *testing.T) {
	m := gpt2test.Tiny(t)
	g := gpt2test.Golden(t, gpt2.Schedule(3, nil), "synthetic-tiny/hello/float64")
	erf := gpt2test.Named("erf GELU")
	c, want := faulty(t, m, g, true, erf)
	var got []harness.Place
	for _, x := range diagnosed(t, m, g, c).Explanations {
		if got = append(got, harness.Place{Step: x.Step, Stage: x.Stage}); x.Fault != "gelu_erf" {
			t.Errorf("%+v, want gelu_erf", x)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("explained (-want +got):\n%s", diff)
	}
}

// A golden of other weights tells nothing of this model, and it is the model that
// is wrong.
func TestDiagnoseRefusesOtherWeights(t *testing.T) {
	m := modeltest.New(t, modeltest.Micro, 1)
	run := gpt2.Run{Tokens: [][]int{{1, 2, 3}}, New: 2}
	c, err := gpt2.Record(t.Context(), m, run)
	if err != nil {
		t.Fatal(err)
	}
	man, err := gpt2.Manifest(m, run, "", "")
	if err != nil {
		t.Fatal(err)
	}
	own := harnesstest.WithManifest{Source: c, Man: &man}
	if _, err := Compare(t.Context(), comparisonOf(m, own, own)); err != nil {
		t.Errorf("its own dump: %v", err)
	}
	man.Model.WeightsSHA256 = strings.Repeat("0", 64)
	other := harnesstest.WithManifest{Source: c, Man: &man}
	var refused *ModelError
	if _, err := Compare(t.Context(), comparisonOf(m, other, own)); !errors.As(err, &refused) || refused.Source() != "the golden (micro)" {
		t.Errorf("got %v, want a ModelError", err)
	}
	bound, err := gpt2.Manifest(m, run, "", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, golden := range []harness.Source{nil, harnesstest.WithManifest{Source: c, Man: &bound}} {
		if _, err := Compare(t.Context(), comparisonOf(m, golden, other)); !errors.As(err, &refused) || refused.Source() != "the candidate (micro)" {
			t.Errorf("golden %v: got %v, want a ModelError", golden, err)
		}
	}
	man.Model.WeightsSHA256 = ""
	var unbound *GoldenError
	if _, err := Compare(t.Context(), comparisonOf(m, other, own)); !errors.As(err, &unbound) {
		t.Errorf("weights that nothing tells: got %v, want a GoldenError", err)
	}
}

// untouched is a source of which no tensor may be read.
type untouched struct {
	harness.Source
	t *testing.T
}

func (u untouched) Tensor(step int, stage string) (harness.Tensor, error) {
	u.t.Errorf("stage %s of step %d is read", stage, step)
	return u.Source.Tensor(step, stage)
}

// A run of a model of another shape is refused before anything is computed: by
// its manifest or, where it has none, by the sizes of its tensors.
func TestDiagnoseRefusesAnotherModel(t *testing.T) {
	m, larger := modeltest.New(t, modeltest.Micro, 1), modeltest.Micro
	larger.Embd, larger.Inner, larger.Layers = 2*larger.Embd, 2*larger.Inner, larger.Layers-1
	run := gpt2.Run{Tokens: [][]int{{1, 2, 3}}, New: 2}
	bound := func(m *model.Model) (src harness.Source) {
		c, err := gpt2.Record(t.Context(), m, run)
		if err != nil {
			t.Fatal(err)
		}
		man, err := gpt2.Manifest(m, run, "", "")
		if err != nil {
			t.Fatal(err)
		}
		return untouched{harnesstest.WithManifest{Source: c, Man: &man}, t}
	}
	own, other := bound(m), bound(modeltest.New(t, larger, 1))
	for _, tt := range []struct {
		name, source, reason string
		golden, candidate    harness.Source
	}{
		{"golden", "the golden (micro)", "was made with n_layer 2; micro has 3", other, own},
		{"candidate", "the candidate (micro)", "was made with n_layer 2; micro has 3", own, other},
		{"golden without a manifest", "the golden", "no tensor fits: wte is 24 wide, micro's is 12", unbound{other}, own},
		{"candidate alone, without a manifest", "the candidate", "no tensor fits", nil, unbound{other}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Compare(t.Context(), comparisonOf(m, tt.golden, tt.candidate))
			var refused *ModelError
			if !errors.As(err, &refused) || refused.Source() != tt.source || !strings.Contains(err.Error(), tt.reason) {
				t.Errorf("got %v, want a ModelError of %s that says %q", err, tt.source, tt.reason)
			}
		})
	}
}

// A golden that lacks a stage and does not say why is refused, with a model and without;
// a candidate may lack any.
func TestAGoldenSaysWhatItLacks(t *testing.T) {
	g := gpt2test.Golden(t, gpt2.Schedule(3, nil), "synthetic-tiny/hello/float64")
	short := gpt2test.Only{Source: g, Keep: func(step int, stage string) bool { return step != 3 || stage != "h.1.mlp.act" }}
	for _, m := range []*model.Model{nil, gpt2test.Tiny(t)} {
		c := comparisonOf(gpt2test.Tiny(t), short, g)
		c.Model, c.Match = m, func(step int, _ string) bool { return step == 0 }
		var golden *GoldenError
		if _, err := Compare(t.Context(), c); !errors.As(err, &golden) || !strings.Contains(err.Error(), "step_03/h.1.mlp.act is neither") {
			t.Errorf("got %v, want a GoldenError that names the place", err)
		}
		c.Goldens, c.Candidate = []EngineResult{{Source: g}}, short
		if _, err := Compare(t.Context(), c); err != nil {
			t.Errorf("a candidate that lacks a stage: %v", err)
		}
	}
}

// Where the candidate is correct throughout, the golden is asked.
func TestDiagnoseReplaysTheGolden(t *testing.T) {
	m := gpt2test.Tiny(t)
	g := gpt2test.Golden(t, gpt2.Schedule(3, nil), "synthetic-tiny/hello/float64")
	right, _ := faulty(t, m, g, true)
	erf := gpt2test.Named("erf GELU")
	wrong, changed := faulty(t, m, g, true, erf)
	r := diagnosed(t, m, wrong, right)
	if r.Passed() || len(r.Introduced) > 0 {
		t.Errorf("verdict %s, introduced %v", r.Verdict, r.Introduced)
	}
	var blamed []harness.Place
	for _, p := range r.GoldenReplayed {
		if p.Verdict == harness.ReplayIntroduced {
			blamed = append(blamed, p.Place)
		}
	}
	if diff := cmp.Diff(changed, blamed); diff != "" {
		t.Errorf("stages of the golden that are wrong (-want +got):\n%s", diff)
	}
	late := gpt2test.Named("missing residual, later block")
	both, _ := faulty(t, m, g, true, late)
	if r := diagnosed(t, m, wrong, both); r.GoldenReplayed == nil || len(r.Introduced) == 0 {
		t.Error("the golden was not replayed though the two part before the candidate is wrong")
	}
	if r := diagnosed(t, m, g, wrong); r.GoldenReplayed != nil {
		t.Error("the golden was replayed though the candidate is wrong")
	}
}

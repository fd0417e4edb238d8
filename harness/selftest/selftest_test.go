package selftest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/harness/internal/names"
	"checkpoint12/harness/report"
	"checkpoint12/model"
)

const goldens = "../../goldens"

// TestMatrix plants every fault at one layer: each is seen, its stage and its
// cause are named, and no correct engine raises an alarm. A sample has
// fewer pairs, and fewer faults in other steps.
func TestMatrix(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: runs the Go model some four hundred times; go test ./harness/selftest does")
	}
	t.Parallel()
	last := 0
	m, err := Run(t.Context(), Options{Goldens: goldens, Quick: true, draw: sample, Progress: func(done, all int) {
		if done != last+1 || done > all {
			t.Errorf("progress: %d of %d after %d", done, all, last)
		}
		last = done
	}})
	if err != nil {
		t.Fatal(err)
	}
	if !m.Passed() || len(m.Wrong) > 0 {
		t.Errorf("verdict %s:\n%s", m.Verdict, strings.Join(m.Wrong, "\n"))
	}
	var text strings.Builder
	if err := m.WriteText(&text, report.Style{}); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`^PASS synthetic-tiny: .* faults planted `, `^gelu_erf +mlp\.act `, `^Go, threads: 3 +.* 0$`,
		`^faults that change nothing where they are planted`,
	} {
		if !regexp.MustCompile("(?m)" + line).MatchString(text.String()) {
			t.Errorf("the text has no line %q", line)
		}
	}
	for _, row := range m.Faults {
		if row.Alone.Visible()+row.Pairs.Visible() == 0 || !row.Alone.right() || !row.Pairs.right() {
			t.Errorf("%+v", row)
		}
	}
	for _, c := range m.Cuts {
		if c.Faults.Visible() == 0 || !c.Faults.right() || len(c.Silent) > 0 && c.Reason == "" {
			t.Errorf("%s: %+v", c.Cut, c)
		}
	}
	if len(m.Cuts) != len(cuttings) {
		t.Errorf("%d ways to run in other steps, want %d", len(m.Cuts), len(cuttings))
	}
	for _, c := range m.Clean {
		if c.Runs == 0 || c.Tensors == 0 || c.Alarms > 0 {
			t.Errorf("%s: %+v", c.Variant, c)
		}
	}
	if len(m.Clean) < 10 || last == 0 {
		t.Errorf("%d kinds of correct engines, %d runs", len(m.Clean), last)
	}
}

// In a narrow precision a fault that moves its stage by less than two rounding bounds need not
// be seen, and how far it moves it stands in the matrix; what moves more is placed and named.
func TestPrecision(t *testing.T) {
	if testing.Short() || !harnesstest.Full() {
		t.Skip("runs the Go model some hundred times: CHECKPOINT12_FULL=1 go test -run Precision ./harness/selftest")
	}
	t.Parallel()
	wanted := []string{"scale_d", "gelu_erf", "ln_gain_dropped", "tie_rule", "padding_seen"}
	m, err := Run(t.Context(), Options{Goldens: goldens, Quick: true, Precision: gpt2.BFloat16, draw: func(all []*trial) []*trial {
		return slices.DeleteFunc(slices.Clone(all), func(t *trial) bool {
			return t.planted != nil && !slices.Contains(wanted, t.planted[0].ID)
		})
	}})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := m.WriteText(&text, report.Style{}); err != nil {
		t.Fatal(err)
	}
	for _, row := range m.Faults {
		switch small := row.Fault == "gelu_erf"; {
		case !slices.Contains(wanted, row.Fault) || row.Fault == "tie_rule":
		case small && (row.Alone.Visible() > 0 || row.Most <= 0 || row.Most > 0.1 || row.MostAt != "h.*.mlp.act"):
			t.Errorf("%+v", row)
		case !small && (row.Alone.Visible() == 0 || !row.Alone.right()):
			t.Errorf("%+v", row)
		}
	}
	for _, c := range m.Clean {
		if c.Tensors == 0 || c.Alarms > 0 {
			t.Errorf("%+v", c)
		}
	}
	if want := "gelu_erf: up to 0.0"; m.DType != "bf16" || !strings.Contains(text.String(), want) {
		t.Errorf("of %q, without %q:\n%s", m.DType, want, &text)
	}
}

// In products of TF32 too, a query that looks at padding takes its context from there, and so
// it is the scores alone that are wrong.
func TestPaddingInTF32(t *testing.T) {
	t.Parallel()
	runners, _, err := open(Options{Goldens: goldens, Precision: gpt2.TF32})
	if err != nil {
		t.Fatal(err)
	}
	m := newMatrix(Model)
	m.DType = gpt2.TF32.Name
	for _, trial := range cutTrials(runners[0].model.Config(), true) {
		if trial.planted == nil || !slices.Contains([]string{"padding_seen", "padding_of_other_row"}, trial.planted[0].ID) {
			continue
		}
		r, err := runners[0].make(t.Context(), trial)
		if err != nil {
			t.Fatal(err)
		}
		m.add(*trial, r)
	}
	if len(m.Wrong) > 0 {
		t.Error(strings.Join(m.Wrong, "\n"))
	}
	for _, id := range []string{"padding_seen", "padding_of_other_row"} {
		if row := m.row(id); row.Alone.Visible() == 0 || !row.Alone.right() {
			t.Errorf("%+v", row)
		}
	}
}

// sample draws from the trials: of each fault alone, in the steps of its golden, the first that
// there is; of the others of these, of pairs and of other steps every seventh; of each fault of
// padding the first two and the last; and every other one without a fault.
func sample(all []*trial) (some []*trial) {
	if harnesstest.Full() {
		return all
	}
	var clean, others []*trial
	padding, alone := map[string][]*trial{}, map[string]bool{}
	for _, t := range all {
		switch {
		case t.planted == nil:
			clean = append(clean, t)
		case t.cutting == nil && len(t.planted) == 1 && !alone[t.planted[0].ID],
			len(t.planted) == 2 && t.planted[1].ID == "tie_rule":
			some = append(some, t)
			alone[t.planted[0].ID] = true
		case t.planted[0].Kind == faults.Padding:
			padding[t.planted[0].ID] = append(padding[t.planted[0].ID], t)
		default:
			others = append(others, t)
		}
	}
	for _, of := range padding {
		some = append(some, of[0], of[1], of[len(of)-1])
	}
	return slices.Concat(some, harnesstest.Draw(clean, 0, 2), harnesstest.Draw(others, 0, 7))
}

// TestIdentities: what is listed as invisible is planted, and the same fault
// is planted where it is to be seen.
func TestIdentities(t *testing.T) {
	trials, err := allFaultTrials(model.Config{Layers: 3}, false)
	if err != nil {
		t.Fatal(err)
	}
	tie := trials[len(trials)-1].planted[1]
	for _, x := range Identities {
		if x.Pairs {
			continue
		}
		excused := map[string]bool{}
		seen := map[string]bool{tie.ID: true}
		for _, run := range plan(model.Config{Layers: 3}, false) {
			switch in := run.planted[0]; {
			case !names.Match(x.Faults, in.ID):
			case names.Match(x.Stages, in.at.Stage):
				excused[in.ID] = true
			case identity(*run, in, within) < 0:
				seen[in.ID] = true
			}
		}
		if len(excused) == 0 {
			t.Errorf("%s at %s: planted nowhere", x.Faults, x.Stages)
		}
		for id := range excused {
			if !seen[id] {
				t.Errorf("%s: nowhere to be seen", id)
			}
		}
	}
}

// TestPlan: the whole plan has each fault at the first, the middle and the last
// layer of each of its stages, at the prompt and at a decode step, and each of
// these once more in the company of another.
func TestPlan(t *testing.T) {
	cfg := model.Config{Layers: 3}
	alone := plan(cfg, false)
	count := map[string]int{}
	for _, run := range alone {
		if len(run.planted) != 1 {
			t.Fatalf("%s: %d faults alone", run, len(run.planted))
		}
		count[run.planted[0].ID+" "+run.planted[0].at.String()]++
	}
	for _, f := range faults.Catalogue() {
		for _, stage := range model.StageNames(cfg, gpt2.Temperatures) {
			for step := range steps {
				at := harness.Place{Step: step, Stage: stage}
				if n := count[f.ID+" "+at.String()]; (n > 0) != (f.At(stage) && f.Kind != faults.Padding) {
					t.Errorf("%s at %s: planted %d times", f.ID, at, n)
				}
			}
		}
	}
	paired := 0
	for _, run := range pairs(alone, 1) {
		p := run.planted
		paired += len(p)
		if len(p) != 2 || p[0].at.Stage == p[1].at.Stage || p[0].ID == p[1].ID {
			t.Errorf("%s: no pair", run)
		}
	}
	if paired < len(alone)*9/10 {
		t.Errorf("%d of %d injections are in a pair", paired, len(alone))
	}
	if quick := plan(cfg, true); len(quick) >= len(alone)/2 {
		t.Errorf("quick injections %d times, the whole plan %d", len(quick), len(alone))
	}
}

// TestAlarm: a runner sees what is planted outside the plan too, so that its
// silence on correct engines means something.
func TestAlarm(t *testing.T) {
	runners, _, err := open(Options{Goldens: goldens})
	if err != nil {
		t.Fatal(err)
	}
	r := runners[0]
	for _, wrong := range []bool{false, true} {
		run := r.run(wholeCase, 2, false)
		run.Tap = func(stage string, _ []int, data []float32) {
			if wrong && stage == "h.1.attn.probs" {
				data[0] *= 1.0001
			}
		}
		rec, err := gpt2.Record(t.Context(), r.model, run)
		if err != nil {
			t.Fatal(err)
		}
		found, err := r.judge(t.Context(), &trial{name: wholeCase}, rec)
		if err != nil {
			t.Fatal(err)
		}
		if alarm := len(found.introduced) > 0; alarm != wrong || found.tensors == 0 {
			t.Errorf("wrong %v: introduced %v of %d tensors", wrong, found.introduced, found.tensors)
		}
	}
}

// TestMissing: without the goldens nothing is said, and what would make them is.
func TestMissing(t *testing.T) {
	_, err := Run(t.Context(), Options{Goldens: t.TempDir()})
	var missing *NoGoldensError
	if !errors.As(err, &missing) || !strings.Contains(missing.Command(), "--engine float64") || !strings.Contains(err.Error(), Model) {
		t.Errorf("no goldens: error %v", err)
	}

	// One that is damaged is refused, by name.
	dir := t.TempDir()
	for _, name := range blockCases {
		part := filepath.Join(Model, name, diagnose.Reference)
		if err := os.CopyFS(filepath.Join(dir, part), os.DirFS(filepath.Join(goldens, part))); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, Model, "quick-brown", diagnose.Reference, "step_00", "embed.npy")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 1
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), Options{Goldens: dir}); err == nil || !strings.Contains(err.Error(), "embed.npy") {
		t.Errorf("damaged golden: error %v, want one that names the file", err)
	}
}

// TestInterrupted: a context that ends, ends the selftest.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Run(ctx, Options{Goldens: goldens, Quick: true, Progress: func(int, int) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that the context was cancelled", err)
	}
}

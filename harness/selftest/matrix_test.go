package selftest

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/report"
)

// planted is an injection of a fault in a stage of the prompt's step.
func planted(t *testing.T, id, stage string) injection {
	t.Helper()
	f, err := faults.ByID(id)
	if err != nil {
		t.Fatal(err)
	}
	return injection{f, harness.Place{Stage: stage}, "hello"}
}

func place(stage string) harness.Place { return harness.Place{Stage: stage} }

func explained(stage, id string) harness.Explanation {
	return harness.Explanation{Stage: stage, Fault: id}
}

// TestJudged: what a run adds to the matrix, and what makes it fail.
func TestJudged(t *testing.T) {
	erf := planted(t, "gelu_erf", "h.0.mlp.act")
	scale := planted(t, "scale_d", "h.1.attn.scores")
	eps := planted(t, "ln_eps_1e-6", "h.1.ln_1")
	act, scores := place("h.0.mlp.act"), place("h.1.attn.scores")
	for _, c := range []struct {
		name string
		run  faultRun
		result
		wrong bool
		alone Tally // of the run's first fault
	}{
		{"right", faultRun{erf}, result{effects: []effect{moved}, introduced: []harness.Place{act}, explanations: []harness.Explanation{explained("h.0.mlp.act", "gelu_erf")}},
			false, Tally{1, 0, 1, 1, 1}},
		{"right, with another that nothing tells apart", faultRun{erf}, result{effects: []effect{moved}, introduced: []harness.Place{act},
			explanations: []harness.Explanation{explained("h.0.mlp.act", "gelu_relu"), explained("h.0.mlp.act", "gelu_erf")}}, false, Tally{1, 0, 1, 1, 1}},
		{"unseen", faultRun{erf}, result{effects: []effect{moved}}, true, Tally{1, 0, 0, 0, 0}},
		{"unseen, within the tolerance, not listed", faultRun{erf}, result{effects: []effect{within}}, true, Tally{1, 0, 0, 0, 0}},
		{"unseen, no change, not listed", faultRun{erf}, result{effects: []effect{identical}}, true, Tally{1, 0, 0, 0, 0}},
		{"another stage", faultRun{erf}, result{effects: []effect{moved}, introduced: []harness.Place{scores}}, true, Tally{1, 0, 0, 0, 0}},
		{"another stage too", faultRun{erf}, result{effects: []effect{moved}, introduced: []harness.Place{act, scores},
			explanations: []harness.Explanation{explained("h.0.mlp.act", "gelu_erf")}}, true, Tally{1, 0, 1, 0, 1}},
		{"another cause", faultRun{erf}, result{effects: []effect{moved}, introduced: []harness.Place{act},
			explanations: []harness.Explanation{explained("h.0.mlp.act", "gelu_relu")}}, true, Tally{1, 0, 1, 1, 0}},
		{"the cause at another place", faultRun{erf}, result{effects: []effect{moved}, introduced: []harness.Place{act},
			explanations: []harness.Explanation{explained("h.1.mlp.act", "gelu_erf")}}, true, Tally{1, 0, 1, 1, 0}},
		{"changes nothing", faultRun{erf}, result{effects: []effect{silent}}, false, Tally{}},
		{"changes nothing, and an alarm", faultRun{erf}, result{effects: []effect{silent}, introduced: []harness.Place{act}}, true, Tally{}},
		{"listed, unseen", faultRun{eps}, result{effects: []effect{within}}, false, Tally{1, 1, 0, 0, 0}},
		{"listed, no change", faultRun{eps}, result{effects: []effect{identical}}, false, Tally{1, 1, 0, 0, 0}},
		{"listed, and yet outside the tolerance", faultRun{eps}, result{effects: []effect{moved}}, true, Tally{1, 0, 0, 0, 0}},
		{"listed, and yet seen", faultRun{eps}, result{effects: []effect{within}, introduced: []harness.Place{place("h.1.ln_1")},
			explanations: []harness.Explanation{explained("h.1.ln_1", "ln_eps_1e-6")}}, false, Tally{1, 0, 1, 1, 1}},
	} {
		m := newMatrix("m")
		m.add(c.run, c.result)
		if got := m.row(c.run[0].ID).Alone; got != c.alone || (len(m.Wrong) > 0) != c.wrong {
			t.Errorf("%s: %+v, wrong %q; want %+v, wrong %v", c.name, got, m.Wrong, c.alone, c.wrong)
		}
	}

	// Pairs: both are to be seen, and one may take from the other what it changes.
	both := result{effects: []effect{moved, moved}, introduced: []harness.Place{act, scores},
		explanations: []harness.Explanation{explained("h.0.mlp.act", "gelu_erf"), explained("h.1.attn.scores", "scale_d")}}
	for _, c := range []struct {
		name  string
		edit  func(r *result)
		wrong bool
		right int // of the second fault
	}{
		{"right", func(*result) {}, false, 1},
		{"one unseen", func(r *result) { r.introduced = r.introduced[:1] }, true, 0},
		{"one left without an effect", func(r *result) { r.introduced, r.effects[1] = r.introduced[:1], identical }, false, 0},
		{"one unseen with an effect", func(r *result) { r.introduced, r.effects[1] = r.introduced[:1], within }, true, 0},
	} {
		r := both
		r.effects, r.introduced = slices.Clone(both.effects), slices.Clone(both.introduced)
		c.edit(&r)
		m := newMatrix("m")
		m.add(faultRun{erf, scale}, r)
		if got := m.row("scale_d").Pairs; got.StageRight != c.right || (len(m.Wrong) > 0) != c.wrong || got.Planted != 1 {
			t.Errorf("pair, %s: %+v, wrong %q", c.name, got, m.Wrong)
		}
	}
}

// TestVerdict: a false alarm fails, and so does a fault that was planted nowhere
// or was nowhere to be seen.
func TestVerdict(t *testing.T) {
	m := newMatrix("m")
	for i := range m.Faults {
		m.Faults[i].Alone = Tally{1, 0, 1, 1, 1}
	}
	m.addClean(cleanRun{variant: "candle", name: "hello"}, result{tensors: 5})
	if m.judge(); !m.Passed() {
		t.Fatalf("wrong %q, want none", m.Wrong)
	}
	m.addClean(cleanRun{variant: "candle", name: "answer"}, result{introduced: []harness.Place{place("ln_f")}})
	if m.judge(); m.Passed() || m.Clean[0] != (CleanRow{"candle", 2, 5, 0, 1}) {
		t.Errorf("after an alarm: %s, %+v", m.Verdict, m.Clean)
	}
	for _, tally := range []Tally{{}, {1, 1, 0, 0, 0}} {
		m.Wrong, m.Faults[3].Alone = []string{}, tally
		if m.judge(); m.Passed() {
			t.Errorf("a fault with %+v passed", tally)
		}
	}
}

// TestText: the matrix is read in one look, plain or in colour, and its JSON has
// no null.
func TestText(t *testing.T) {
	m := newMatrix("m")
	for _, f := range faults.Catalogue() {
		m.add(faultRun{{f, place("h.0.x"), "hello"}}, result{effects: []effect{moved}})
	}
	m.judge()
	var plain, colour bytes.Buffer
	if err := m.WriteText(&plain, report.Style{}); err != nil {
		t.Fatal(err)
	}
	if err := m.WriteText(&colour, report.Style{Color: true}); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(plain.String(), "FAIL m: ") || !strings.Contains(plain.String(), "… 54 in all") {
		t.Errorf("begins %.200q", plain.String())
	}
	if got := regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(colour.String(), ""); got != plain.String() {
		t.Error("colour changes more than the colour")
	}
	for line := range strings.Lines(plain.String()) {
		if strings.HasSuffix(line, " \n") {
			t.Errorf("line %q ends in a space", line)
		}
	}
	data, err := json.Marshal(newMatrix("m"))
	if err != nil || strings.Contains(string(data), "null") {
		t.Errorf("JSON %s, %v: want no null", data, err)
	}
}

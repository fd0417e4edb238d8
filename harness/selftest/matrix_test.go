package selftest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
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
	return injection{f, place(stage)}
}

func place(stage string) harness.Place { return harness.Place{Stage: stage} }

// TestJudged: what a run adds to the matrix, and what makes it fail.
func TestJudged(t *testing.T) {
	erf := planted(t, "gelu_erf", "h.0.mlp.act")
	scale := planted(t, "scale_d", "h.1.attn.scores")
	eps := planted(t, "ln_eps_1e-6", "h.1.ln_1")
	act, scores := place("h.0.mlp.act"), place("h.1.attn.scores")
	shown := func(at harness.Place, ids ...string) (all []harness.Explanation) {
		for _, id := range ids {
			all = append(all, harness.Explanation{Stage: at.Stage, Fault: id})
		}
		return all
	}
	type places = []harness.Place
	for _, c := range []struct {
		name         string
		planted      injection
		effect       effect
		introduced   []harness.Place
		explanations []harness.Explanation
		wrong        bool
		alone        Tally
	}{
		{"right", erf, moved, places{act}, shown(act, "gelu_erf"), false, Tally{1, 0, 1, 1, 1}},
		{"right, with another that nothing tells apart", erf, moved, places{act}, shown(act, "gelu_relu", "gelu_erf"), false, Tally{1, 0, 1, 1, 1}},
		{"unseen", erf, moved, nil, nil, true, Tally{1, 0, 0, 0, 0}},
		{"unseen, within the tolerance, not listed", erf, within, nil, nil, true, Tally{1, 0, 0, 0, 0}},
		{"unseen, no change, not listed", erf, identical, nil, nil, true, Tally{1, 0, 0, 0, 0}},
		{"another stage", erf, moved, places{scores}, nil, true, Tally{1, 0, 0, 0, 0}},
		{"another stage too", erf, moved, places{act, scores}, shown(act, "gelu_erf"), true, Tally{1, 0, 1, 0, 1}},
		{"another cause", erf, moved, places{act}, shown(act, "gelu_relu"), true, Tally{1, 0, 1, 1, 0}},
		{"the cause at another place", erf, moved, places{act}, shown(place("h.1.mlp.act"), "gelu_erf"), true, Tally{1, 0, 1, 1, 0}},
		{"changes nothing", erf, silent, nil, nil, false, Tally{}},
		{"changes nothing, and an alarm", erf, silent, places{act}, nil, true, Tally{}},
		{"listed, unseen", eps, within, nil, nil, false, Tally{1, 1, 0, 0, 0}},
		{"listed, no change", eps, identical, nil, nil, false, Tally{1, 1, 0, 0, 0}},
		{"listed, and yet outside the tolerance", eps, moved, nil, nil, true, Tally{1, 0, 0, 0, 0}},
		{"listed, and yet seen", eps, within, places{eps.at}, shown(eps.at, "ln_eps_1e-6"), false, Tally{1, 0, 1, 1, 1}},
	} {
		m := newMatrix("m")
		m.add(*planting("hello", c.planted), result{effects: []effect{c.effect}, introduced: c.introduced, explanations: c.explanations})
		if got := m.row(c.planted.ID).Alone; got != c.alone || (len(m.Wrong) > 0) != c.wrong {
			t.Errorf("%s: %+v, wrong %q; want %+v, wrong %v", c.name, got, m.Wrong, c.alone, c.wrong)
		}
	}

	// Pairs: both are to be seen, and one may take from the other what it changes.
	for _, c := range []struct {
		name       string
		introduced []harness.Place
		second     effect
		wrong      bool
		right      int // of the second fault
	}{
		{"right", places{act, scores}, moved, false, 1},
		{"one unseen", places{act}, moved, true, 0},
		{"one left without an effect", places{act}, identical, false, 0},
		{"one unseen with an effect", places{act}, within, true, 0},
	} {
		m := newMatrix("m")
		m.add(*planting("hello", erf, scale), result{
			effects: []effect{moved, c.second}, introduced: c.introduced, explanations: append(shown(act, "gelu_erf"), shown(scores, "scale_d")...),
		})
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
	m.addClean(trial{variant: "candle", name: "hello"}, result{tensors: 5})
	if m.judge(); !m.Passed() {
		t.Fatalf("wrong %q, want none", m.Wrong)
	}
	m.addClean(trial{variant: "candle", name: "answer"}, result{introduced: []harness.Place{place("ln_f")}})
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
		m.add(*planting("hello", injection{f, place("h.0.x")}), result{effects: []effect{moved}})
	}
	m.judge()
	var plain, colour bytes.Buffer
	if err := m.WriteText(&plain, report.Style{}); err != nil {
		t.Fatal(err)
	}
	if err := m.WriteText(&colour, report.Style{Color: true}); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(plain.String(), "FAIL m: ") || !strings.Contains(plain.String(), fmt.Sprintf("… %d in all", len(m.Faults))) {
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

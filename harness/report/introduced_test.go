package report

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
)

// introducedReport is a report with nothing but introduced stages.
func introducedReport(introduced []harness.Introduced, explanations ...harness.Explanation) *harness.Report {
	r := &harness.Report{Golden: "g", Candidate: "c", Introduced: introduced, Explanations: explanations, Replayed: []harness.Replayed{}}
	r.Judge()
	return r
}

// What is only dumped at another point is not said to compute wrong, and each is told from the
// other where both are.
func TestTextOfAnotherPoint(t *testing.T) {
	at := func(stage string) harness.Introduced { return harness.Introduced{Stage: stage, Span: []string{stage}} }
	other := harness.Explanation{Stage: "h.0.ln_1", Fault: harness.OtherPoint, Explains: 1, Text: "before the gain"}
	for _, c := range []struct {
		why    string
		wrong  []harness.Introduced
		text   string
		titles []string
	}{
		{"one that computes wrong", []harness.Introduced{at("h.0.ln_2")},
			"stages whose own computation is wrong\n  h.0.ln_2: step 0\n", []string{"h.0.ln_2 computes wrong: step 0"}},
		{"one of another point", []harness.Introduced{at("h.0.ln_1")},
			"stages that are not used as they are dumped\n  h.0.ln_1: step 0\n", []string{"h.0.ln_1 is not used as it is dumped: step 0"}},
		{"both", []harness.Introduced{at("h.0.ln_1"), at("h.0.ln_2")},
			"stages whose own computation is wrong\n  h.0.ln_1: step 0, is not used as it is dumped\n",
			[]string{"h.0.ln_1 is not used as it is dumped: step 0", "h.0.ln_2 computes wrong: step 0"}},
	} {
		r := introducedReport(c.wrong, other)
		var titles []string
		for _, f := range Findings(r) {
			titles = append(titles, f.Title())
		}
		if got := writeText(t, r, Options{}); !strings.Contains(got, c.text) || !slices.Equal(titles, c.titles) {
			t.Errorf("%s: %q\n%s", c.why, titles, got)
		}
	}
}

func TestTextOfAGroup(t *testing.T) {
	at := func(layer int) harness.Introduced {
		stage := fmt.Sprintf("h.%d.ln_1", layer)
		return harness.Introduced{Stage: stage, Span: []string{stage}}
	}
	for _, c := range []struct{ reason, text, want string }{
		{"the layer of each place becomes a *", "in h.%[1]d.ln_1, not h.%[1]d.ln_2: no bias", "    no_bias (explains all of the error), in h.*.ln_1, not h.*.ln_2: no bias\n"},
		{"a text that names no stage is alike anyway", "no bias", "    no_bias (explains all of the error): no bias\n"},
		{"another layer's name stays what it is", "h.%d.ln_1 with the weights of h.%d.ln_1", "    no_bias (explains all of the error): at step_00/h.1.ln_1: h.1.ln_1 with the weights of h.2.ln_1\n"},
	} {
		var all []harness.Explanation
		for _, layer := range []int{1, 2} {
			text := strings.ReplaceAll(c.text, "%[1]d", fmt.Sprint(layer))
			if strings.Contains(text, "%d") {
				text = fmt.Sprintf(text, layer, 3-layer)
			}
			all = append(all, harness.Explanation{Stage: fmt.Sprintf("h.%d.ln_1", layer), Fault: "no_bias", Explains: 1, Text: text})
		}
		got := writeText(t, introducedReport([]harness.Introduced{at(1), at(2)}, all...), Options{})
		if want := "  h.*.ln_1: layers 1 and 2, step 0 (2 tensors)\n" + c.want; !strings.Contains(got, want) {
			t.Errorf("%s: no %q in\n%s", c.reason, want, got)
		}
	}
}

// What a span is judged by is not enough to tell its stages apart, so the report
// says which of them to dump.
func TestTextAdvisesWhatToDump(t *testing.T) {
	attention := []string{"h.0.attn.q", "h.0.attn.k", "h.0.attn.v", "h.0.attn.cache_k", "h.0.attn.cache_v",
		"h.0.attn.scores", "h.0.attn.probs", "h.0.attn.context", "h.0.attn.c_proj"}
	known := harness.Explanation{Stage: "h.0.attn.c_proj", Fault: "scale_c", Explains: 1,
		Text: "in h.0.attn.scores: divided by sqrt(C)", At: []string{"h.0.attn.scores"}}
	for _, c := range []struct {
		reason       string
		span         []string
		explanations []harness.Explanation
		rows         []harness.Row
		want         string
	}{
		{"one stage", attention[7:], nil, nil, "judged together with h.0.attn.context, which the dump lacks: dump it next to tell them apart\n"},
		{"two stages", attention[6:], nil, nil, "judged together with h.0.attn.probs and context, which the dump lacks: dump h.0.attn.probs and h.0.attn.context next to tell them apart\n"},
		{"many", attention, nil, nil, "judged together with h.0.attn.q, k, v, cache_k, cache_v, scores, probs and context, which the dump lacks: dump h.0.attn.scores and h.0.attn.context next to tell them apart\n"},
		{"names that share little are whole", []string{"h.0.ln_1", "h.0.ln_2", "h.0.mid"}, nil, nil, "judged together with h.0.ln_1, h.0.ln_2 and h.0.mid, which the dump lacks: dump h.0.ln_2 and h.0.mid next"},
		{"where a fault is known it says where", attention[5:], []harness.Explanation{known}, nil, "judged together with h.0.attn.scores, probs and context, which the dump lacks\n"},
		{"not where two faults do", attention[7:], []harness.Explanation{known, known}, nil, "dump it next"},
		{"a stage that is there in another shape", attention[7:], nil, []harness.Row{{Place: harness.Place{Stage: "h.0.attn.context"}, Status: harness.WrongShape}}, "which the dump lacks or has in another shape"},
	} {
		r := introducedReport([]harness.Introduced{{Stage: "h.0.attn.c_proj", Span: c.span}}, c.explanations...)
		r.Stages = c.rows
		if got := writeText(t, r, Options{Style: Style{Width: 1000}}); !strings.Contains(got, c.want) {
			t.Errorf("%s: no %q in\n%s", c.reason, c.want, got)
		}
	}
}

// Errors that do not grow are no news.
func TestTextOfGrowth(t *testing.T) {
	for _, c := range []struct {
		growth harness.Float
		want   string
	}{
		{3, "errors inherited from the inputs grow most at step_00/h.1.a: 3 times, relative to each tensor's largest value\n"},
		{1.001, ""},
		{0.5, ""},
	} {
		r := &harness.Report{Golden: "g", Candidate: "c"}
		for i, stage := range []string{"h.0.a", "h.1.a"} {
			row := harness.Row{Place: harness.Place{Stage: stage}, Status: harness.Fail, Origin: harness.OriginInherited, Worst: &harness.Worst{}}
			r.Stages = append(r.Stages, row)
			r.Replayed = append(r.Replayed, harness.Replayed{Row: row, Verdict: harness.ReplayClean, Amplification: harness.Float(i) * c.growth})
		}
		r.Judge()
		got := writeText(t, r, Options{})
		if !strings.Contains(got, c.want) || c.want == "" && strings.Contains(got, "grow") {
			t.Errorf("growth %v: no %q in\n%s", c.growth, c.want, got)
		}
	}
}

// The usual causes of a stage are for those who know no other.
func TestTextOfUsualCauses(t *testing.T) {
	stage := "h.0.act"
	row := harness.Row{Place: harness.Place{Stage: stage}, Shape: []int{1}, Status: harness.Fail,
		Origin: harness.OriginIntroduced, Worst: &harness.Worst{Index: []int{0}}}
	for _, c := range []struct {
		reason      string
		span        []string
		explanation harness.Explanation
		want        bool
	}{
		{"nothing is known", []string{stage}, harness.Explanation{Text: "no known fault"}, true},
		{"a fault is", []string{stage}, harness.Explanation{Fault: "gelu_erf", Explains: 1}, false},
		{"the fault may be in other stages, which have other causes", []string{"h.0.fc", stage}, harness.Explanation{Text: "no known fault"}, false},
	} {
		c.explanation.Stage = stage
		r := introducedReport([]harness.Introduced{{Stage: stage, Span: c.span}}, c.explanation)
		r.Stages = []harness.Row{row}
		r.Replayed = []harness.Replayed{{Row: harness.Row{Place: harness.Place{Stage: stage}}, Verdict: harness.ReplayIntroduced, Span: c.span}}
		r.Judge()
		got := writeText(t, r, Options{Causes: func([]string) []string { return []string{"erf"} }})
		if strings.Contains(got, "usual causes:") != c.want {
			t.Errorf("%s: usual causes %v, want %v:\n%s", c.reason, !c.want, c.want, got)
		}
	}
}

// Where nothing is outside tolerance, the fault is below it only if its stage was compared.
func TestTextOfAFaultWithinTolerance(t *testing.T) {
	wrong := []harness.Introduced{{Stage: "b", Span: []string{"b"}}}
	for _, c := range []struct {
		status harness.Status
		want   string
	}{
		{harness.Pass, "every tensor is within tolerance of g, so the fault is below the tolerance"},
		{harness.Skipped, "what was compared is within tolerance of g, and what is wrong was compared with nothing"},
	} {
		r := introducedReport(wrong)
		r.Stages = []harness.Row{{Place: harness.Place{Stage: "a"}, Status: harness.Pass}, {Place: harness.Place{Stage: "b"}, Status: c.status}}
		r.Judge()
		if got := writeText(t, r, Options{Style: Style{Width: 1000}}); !strings.Contains(got, c.want) {
			t.Errorf("%s: no %q in\n%s", c.status, c.want, got)
		}
	}
}

// A wrong shape is no rounding, whatever else is outside tolerance.
func TestTextOfAShapeBlamesNoRounding(t *testing.T) {
	clean := []harness.Replayed{{Row: harness.Row{Place: harness.Place{Stage: "a"}}, Verdict: harness.ReplayClean}}
	wrong := []harness.Replayed{{Row: harness.Row{Place: harness.Place{Stage: "a"}}, Verdict: harness.ReplayIntroduced}}
	const rounding, shapes = "rounding, which the model amplifies", "1 tensor of another shape than the golden's"
	for _, c := range []struct {
		reason   string
		others   harness.Status // of the stage that has the right shape
		golden   []harness.Replayed
		want, no string
	}{
		{"alone", harness.Pass, clean, shapes + ", which is no rounding", rounding},
		{"alone, with a golden that was not replayed", harness.Pass, nil, shapes + ", which is no rounding", "rounding adds up"},
		{"beside values", harness.Fail, clean, rounding + " beyond tolerance, but for " + shapes, "no rounding"},
		{"beside values, with a golden that was not replayed", harness.Fail, nil, "of another model, but for " + shapes, "no rounding"},
		{"of a golden that is wrong", harness.Pass, wrong, "the golden is wrong in 1 of 1 stage", "rounding"},
	} {
		r := introducedReport(nil)
		r.Replayed, r.GoldenReplayed = clean, c.golden
		r.Stages = []harness.Row{
			{Place: harness.Place{Stage: "a"}, Status: c.others, Worst: &harness.Worst{}},
			{Place: harness.Place{Stage: "b"}, Status: harness.WrongShape},
		}
		r.Judge()
		got := writeText(t, r, Options{Style: Style{Width: 1000}})
		if !strings.Contains(got, c.want) || strings.Contains(got, c.no) {
			t.Errorf("%s: want %q and not %q in\n%s", c.reason, c.want, c.no, got)
		}
	}
}

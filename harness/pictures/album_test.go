package pictures

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/report/page"
	"checkpoint12/harness/verify"
)

// The page of a very large run of verify is below a megabyte: it keeps what is wrong, up to a
// bound, and says what it leaves out.
func TestAlbumIsSmall(t *testing.T) {
	wrong := wrongMedium(t)
	right := *wrong
	report := *wrong.Report
	report.Stages, report.Introduced, report.FirstDivergence, report.Verdict = slices.Clone(report.Stages), nil, nil, harness.VerdictPass
	report.Replayed = slices.Clone(report.Replayed)
	for i := range report.Stages {
		report.Stages[i].Status, report.Stages[i].Mismatched = harness.Pass, 0
		report.Replayed[i].Verdict, report.Replayed[i].Status = harness.ReplayClean, harness.Pass
	}
	right.Report = &report
	right.Judged = slices.Clone(right.Judged)
	right.Judged[0].Report = &report
	for _, c := range []struct {
		cases, wrong int // those at the end
		left         []string
	}{
		{1, 1, nil},
		{12, 2, []string{"maps of cases that are right", "tokens"}},
		{40, 30, []string{"maps of cases in which something is wrong", "10 maps of cases that are right", "steps of maps"}},
	} {
		album := NewAlbum()
		v := &verify.Report{}
		for i := range c.cases {
			r, name := wrong, fmt.Sprintf("wrong%d", i)
			if i < c.cases-c.wrong {
				r, name = &right, fmt.Sprintf("right%d", i)
			}
			if err := album.Add(name, r); err != nil {
				t.Fatal(err)
			}
			album.runs[i].Tokens = make([]page.Token, 200)
			v.Texts = append(v.Texts, verify.TextReport{Case: name, Text: strings.Repeat("a text ", 1000)})
		}
		p := album.Page(v, Options{})
		var out bytes.Buffer
		if err := page.Write(&out, p); err != nil {
			t.Fatal(err)
		}
		if out.Len() > 1_000_000 {
			t.Errorf("%d cases: %d bytes", c.cases, out.Len())
		}
		left := strings.Join(p.Left, ", ")
		for _, want := range c.left {
			if !strings.Contains(left, want) {
				t.Errorf("%d cases: nothing says that it leaves out %s: %s", c.cases, want, left)
			}
		}
		if said := strings.Contains(out.String(), "it leaves out "); said != (c.left != nil) {
			t.Errorf("%d cases: the page says that it leaves something out: %v", c.cases, said)
		}
		if c.left == nil && p.Left != nil {
			t.Errorf("%d cases: leaves out %s", c.cases, left)
		}
		bad := 0
		for _, run := range p.Runs {
			if strings.HasPrefix(run.Name, "wrong") {
				if bad++; len(run.Cards) == 0 || run.Cards[0].Cell != run.Start || run.Marks[run.Start] != page.MarkWrong {
					t.Errorf("%s: %d cards, cell %d is opened", run.Name, len(run.Cards), run.Start)
				}
			}
			n := len(run.Steps) * len(run.Stages)
			for _, l := range run.Layers {
				if len(l.Status) != n || len(l.Share) != n || len(l.Error) != n || len(run.Marks) != n {
					t.Fatalf("%s: %d cells, of layer %s %d", run.Name, n, l.Name, len(l.Status))
				}
			}
		}
		if bad < min(c.wrong, 10) {
			t.Errorf("%d cases: %d of %d that are wrong are there", c.cases, bad, c.wrong)
		}
		for _, f := range p.Findings {
			if f.Cell >= 0 && p.Runs[f.Run].Marks[f.Cell] != page.MarkWrong {
				t.Errorf("finding %s shows cell %d of %s", f.Stage, f.Cell, p.Runs[f.Run].Name)
			}
		}
		t.Logf("%d cases: %d bytes, %d maps, left out: %s", c.cases, out.Len(), len(p.Runs), left)
	}
}

// The page of verify has the twelve checkpoints, a map for each case, and begins with the case
// that fails first.
func TestPageOfVerify(t *testing.T) {
	album := NewAlbum()
	r, err := verify.Verify(t.Context(), verify.Options{
		Model: "synthetic-tiny", Goldens: gpt2test.Dir, Judged: album.Add,
		Tap: func(stage string, shape []int, data []float32) {
			if stage == "h.1.mlp.act" {
				data[3] += 0.5
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	p := album.Page(r, Options{Version: "version 1", Line: "verify"})
	if p.Verdict.State != page.Failed || !strings.Contains(p.Verdict.Lines[0], "first fails at") {
		t.Errorf("verdict %+v", p.Verdict)
	}
	if len(p.Checkpoints) != 12 || p.Checkpoints[5].Verdict != page.Failed || p.Checkpoints[0].Engines == nil {
		t.Errorf("checkpoints %+v", p.Checkpoints)
	}
	if p.Runs[0].Name != r.First.Case || len(p.Runs) < 5 {
		t.Errorf("%d runs, first %s and not %s", len(p.Runs), p.Runs[0].Name, r.First.Case)
	}
	for _, run := range p.Runs {
		n := len(run.Stages)

		if name := run.Stages[run.Start%n].Name; !strings.HasPrefix(name, "h.1.") || run.Marks[run.Start] != page.MarkWrong {
			t.Errorf("%s: %s is opened", run.Name, name)
		}
		if !slices.ContainsFunc(run.Cards, func(c page.Card) bool { return c.Cell == run.Start && c.Golden != nil }) {
			t.Errorf("%s: there is no picture of what is wrong", run.Name)
		}
	}
	if len(p.Findings) == 0 || p.Findings[0].Stage != "h.1.mlp.act" || p.Runs[p.Findings[0].Run].Stages[p.Findings[0].Cell%len(p.Runs[p.Findings[0].Run].Stages)].Name != "h.1.mlp.act" {
		t.Errorf("findings %+v", p.Findings)
	}
	if len(p.Engines) < 5 || len(p.Texts) == 0 {
		t.Errorf("engines %v, texts %v", p.Engines, p.Texts)
	}
	var out bytes.Buffer
	if err := page.Write(&out, p); err != nil {
		t.Fatal(err)
	}
	if out.Len() > 1_000_000 {
		t.Errorf("%d bytes", out.Len())
	}
}

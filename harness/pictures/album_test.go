package pictures

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/report/page"
	"checkpoint12/harness/verify"
)

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

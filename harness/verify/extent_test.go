package verify

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/verify/engine"
)

// A dump that ends early passes neither the cache, which no step read, nor the end.
func TestEarlyEnd(t *testing.T) {
	s, err := open(gpt2test.Tiny(t), Options{Model: "synthetic-tiny", Goldens: gpt2test.Dir, Engine: &engine.Runner{}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range s.Cases {
		if c.Name == "quick-brown" {
			s.Cases = []*Case{c, {Name: "hello", outcome: new(outcome)}} // it is not the one that is run again
			break
		}
	}
	c := s.Cases[0]
	for _, g := range c.Goldens {
		if g.Engine == "float64" {
			c.Goldens = []*Golden{g}
		}
	}
	g := c.Goldens[0]
	if err := g.open(s); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		steps       int
		cache, ends string // the verdicts
		early       string
	}{
		{1, NotChecked, NotChecked, "ends after step 0 of 10 in 1 case"},
		{2, "pass", NotChecked, "ends after step 1 of 10 in 1 case"},
		{10, "pass", "pass", ""},
	} {
		out := t.TempDir()
		for k := range tt.steps {
			step := fmt.Sprintf("step_%02d", k)
			if err := os.CopyFS(filepath.Join(out, step), os.DirFS(filepath.Join(g.Dir, step))); err != nil {
				t.Fatal(err)
			}
		}
		if c.outcome, err = s.judgeDump(t.Context(), c, c.Goldens, engine.Case{Out: out}); err != nil {
			t.Fatal(err)
		}
		for n, want := range map[int]string{checkCache: tt.cache, CheckpointCount: tt.ends} {
			r := s.summarize(n, of(n, c.outcome.findings))
			if r.Verdict != want || (want == NotChecked) != strings.HasPrefix(r.why, "no dump ") {
				t.Errorf("%d steps: checkpoint %d: %s (%s), want %s", tt.steps, n, r.Verdict, r.why, want)
			}
		}
		if got := strings.Join(s.early(), "; "); got != tt.early {
			t.Errorf("%d steps: %q", tt.steps, got)
		}
	}
}

package verify

import (
	"checkpoint12/harness/report"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness/internal/gpt2test"
)

func TestGraftProvesTheStage(t *testing.T) {
	s := tiny(t)
	c := s.Cases[0]
	g := c.Goldens[slices.IndexFunc(c.Goldens, func(g *Golden) bool { return g.Engine == "float64" })]
	erf := gpt2test.Named("erf GELU")
	gelu := func(layer string) gpt2test.Bug {
		return gpt2test.Bug{Stage: "h." + layer + ".mlp.act", Plant: erf.Plant}
	}
	for _, tt := range []struct {
		name     string
		bugs     []gpt2test.Bug
		stages   []string
		text     bool // the bug changes the text
		sentence string
	}{
		{"one that changes the text", []gpt2test.Bug{gpt2test.Named("missing residual")}, []string{"h.0.resid_mid"}, true, "the text is repaired; logits_last off by"},
		{"one that leaves the text", []gpt2test.Bug{erf}, []string{"h.1.mlp.act"}, false, "the text was right without it"},
		{"the same in every layer", []gpt2test.Bug{gelu("0"), gelu("1"), gelu("2")}, []string{"h.*.mlp.act"}, false, "h.*.mlp.act put in (30 tensors of case hello)"},
		{"two at different stages", []gpt2test.Bug{gpt2test.Named("q/k/v order"), gpt2test.Named("missing residual, later block")}, []string{"h.0.attn.q", "h.2.resid_post"}, true, "repaired"},
		{"the cache of later steps", []gpt2test.Bug{gpt2test.Named("cache written at 0")}, []string{"h.1.attn.cache_k"}, true, "repaired"},
		{"the choice alone", []gpt2test.Bug{gpt2test.Named("argmin")}, []string{"next_token"}, true, "repaired"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if testing.Short() && len(tt.bugs) > 1 {
				t.Skip("short: several runs of the model")
			}
			s.plant(tt.bugs...)
			got, err := s.Graft(t.Context(), c, g)
			if err != nil {
				t.Fatal(err)
			}
			if got == nil || !got.Repaired || got.Next != "" || got.After >= 0 || !slices.Equal(got.Stages, tt.stages) {
				t.Fatalf("%+v, want a repair by %v", got, tt.stages)
			}
			if (got.Before >= 0) != tt.text {
				t.Errorf("first other token without grafts: %d", got.Before)
			}
			if !(got.LogitsAfter < 1e-3) {
				t.Errorf("logits_last off by %v after, %v before", got.LogitsAfter, got.LogitsBefore)
			}
			if !strings.Contains(got.String(), tt.sentence) {
				t.Errorf("%q lacks %q", got, tt.sentence)
			}
		})
	}
	t.Run("nothing wrong", func(t *testing.T) {
		s.plant()
		if got, err := s.Graft(t.Context(), c, g); got != nil || err != nil {
			t.Errorf("%+v, %v; want nothing to graft", got, err)
		}
	})
	t.Run("more than grafts can mend", func(t *testing.T) {
		if testing.Short() {
			t.Skip("short: several runs of the model")
		}
		s.plant()
		noise := 0
		s.tap = func(stage string, _ []int, data []float32) {
			if strings.Contains(stage, "c_") || strings.HasPrefix(stage, "ln") || strings.Contains(stage, "attn") || strings.Contains(stage, "resid") {
				noise++
				data[noise%len(data)] += 3
			}
		}
		got, err := s.Graft(t.Context(), c, g)
		if err != nil {
			t.Fatal(err)
		}
		if got == nil || got.Repaired || len(got.Stages) != maxGrafts || !strings.Contains(got.String(), "that is not all") {
			t.Errorf("%+v: %s", got, got)
		}
	})
}

// The proof stands in the report of verify and in the walk, before what to fix.
func TestVerifyProvesTheFirstFailure(t *testing.T) {
	s := tiny(t)
	s.plant(gpt2test.Named("missing residual"))
	r, err := s.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Graft == nil || !r.Graft.Repaired || !slices.Equal(r.Graft.Stages, []string{"h.0.resid_mid"}) {
		t.Fatalf("graft %+v", r.Graft)
	}
	var text strings.Builder
	if err := r.WriteText(&text, TextOptions{Style: report.Style{Width: 1000}}); err != nil {
		t.Fatal(err)
	}
	walk, err := s.Walk(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]string{"verify": text.String(), "walk": walk} {
		proof, fix := strings.Index(got, "\nproof: with "), strings.Index(got, "\nfix: ")
		if proof < 0 || fix < proof || !strings.Contains(got, "h.0.resid_mid put in (10 tensors of case hello), the text is repaired") {
			t.Errorf("%s lacks the proof before the fix:\n%s", name, got)
		}
	}
}

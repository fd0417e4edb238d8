package diagnose

import (
	"math"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/gpt2test"
)

func TestCertifyTokens(t *testing.T) {
	g := gpt2test.Golden(t, gpt2.Schedule(3, nil), "synthetic-tiny/hello/float64")
	last, err := g.Tensor(3, "logits_last")
	if err != nil {
		t.Fatal(err)
	}
	first := 0
	for i, v := range last.F32 {
		if v > last.F32[first] {
			first = i
		}
	}
	for _, tt := range []struct {
		name, want string
		edit       func(step int, stage string, x harness.Tensor) harness.Tensor
	}{
		{"another engine", "tokens: 10 of 10 certified", nil},
		{"logits far off", "tokens: 9 of 10 certified; step 3: not certifiable: logits_last is off by 1, more than its tolerance: margin 0.376, 2*max|dlogit| 2",
			func(step int, stage string, x harness.Tensor) harness.Tensor {
				if step == 3 && stage == "logits_last" {
					x.F32[first]++
				}
				return x
			}},
		{"logits off by more than their tolerance, and by less than half the margin", "tokens: 10 of 10 certified",
			func(step int, stage string, x harness.Tensor) harness.Tensor {
				if step == 3 && stage == "logits_last" {
					x.F32[first] += 0.01
				}
				return x
			}},
		{"not finite", "tokens: 9 of 10 certified; step 3: not certifiable: logits_last is not finite",
			func(step int, stage string, x harness.Tensor) harness.Tensor {
				if step == 3 && stage == "logits_last" {
					x.F32[7] = float32(math.NaN())
				}
				return x
			}},
		{"without logits", "tokens: 0 of 10 certified; steps 0 to 9: not certifiable: the candidate has no such logits_last",
			func(_ int, stage string, x harness.Tensor) harness.Tensor {
				if strings.HasPrefix(stage, "logits") {
					return harness.Tensor{}
				}
				return x
			}},
		{"with the logits of all positions", "tokens: 1 of 10 certified; steps 1 to 9: not certifiable: the candidate has no such logits_last",
			func(_ int, stage string, x harness.Tensor) harness.Tensor {
				if stage == "logits_last" { // the golden has logits at step 0 alone
					return harness.Tensor{}
				}
				return x
			}},
		{"fed another token from step 5 on", "tokens: 5 of 5 certified",
			func(step int, stage string, x harness.Tensor) harness.Tensor {
				if step == 4 && stage == "next_token" {
					x.F32[0] = 1
				}
				return x
			}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := gpt2test.Foreign(t, gpt2.Schedule(3, nil), g, func(step int, stage string, x harness.Tensor, _ map[string]int) harness.Tensor {
				if tt.edit == nil {
					return x
				}
				return tt.edit(step, stage, x)
			})
			if tt.name == "fed another token from step 5 on" {
				row := slices.Clone(g.Tokens()[0])
				row[2+4] = 1
				c.SetTokens([][]int{row})
			}
			r, err := harness.Compare(gpt2.Schedule(3, nil), g, c, harness.CompareOptions{})
			if err != nil {
				t.Fatal(err)
			}
			tokens, err := CertifyTokens(r, g, c)
			if err != nil {
				t.Fatal(err)
			}
			want := strings.Replace(tt.want, "certified", "certified (rounding cannot change them)", 1)
			if got := tokens.String(); got != want {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
	tie := &Tokens{Steps: 2, Certified: 1, NearTies: 1, Notes: []TokenNote{{1, "near tie: margin 1e-4, 2*max|dlogit| 2e-4"}}}
	if got := tie.String(); got != "tokens: 1 of 2 certified (rounding cannot change them); step 1: near tie: margin 1e-4, 2*max|dlogit| 2e-4" {
		t.Errorf("%q", got)
	}
	if got := (&Tokens{}).String(); got != "" {
		t.Errorf("without tokens: %q", got)
	}
}

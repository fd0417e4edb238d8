package verify

import (
	"encoding/json"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/internal/harnesstest"
)

// What rules accept of the Go model fails no checkpoint, and is said; all else fails as ever.
func TestAcceptedFailsNoCheckpoint(t *testing.T) {
	m := gpt2test.Tiny(t)
	type row struct {
		reason     string
		planted    []string
		rules      string
		checkpoint int // that fails first; 0 if none
		stage      string
		accepted   bool
		err        string
	}
	for _, c := range harnesstest.Draw([]row{
		{"whatever the fault", []string{"erf GELU"},
			`[{"stages": "h.*.mlp.act", "accept": true, "why": "erf"}]`, 0, "", true, ""},
		{"another fault", []string{"erf GELU"},
			`[{"stages": "h.*.mlp.act", "accept": true, "fault": "gelu_relu", "why": "relu"}]`, 6, "h.1.mlp.act", false, ""},
		{"a tolerance alone", []string{"erf GELU"},
			`[{"stages": "h.1.mlp.act", "abs": 1e-3, "why": "erf"}]`, 6, "h.1.mlp.c_proj", false, ""},
		{"the rule's fault, which changes tokens", []string{"scale 1/D"},
			`[{"stages": "h.2.attn.scores", "accept": true, "fault": "scale_d", "why": "scale"}]`, 0, "", true, ""},
		{"a check of the run itself", []string{"inverted temperature"},
			`[{"stages": "probs_t2", "accept": true, "why": "colder"}]`, 0, "", true, ""},
		{"a tolerance that holds for it too", []string{"inverted temperature"},
			`[{"stages": "probs_t2", "abs": 1, "why": "colder"}]`, 0, "", false, ""},
		{"a second fault", []string{"erf GELU", "missing residual, later block"},
			`[{"stages": "h.*.mlp.act", "accept": true, "why": "erf"}]`, 8, "h.2.resid_post", true, ""},
		{"a rule of no stage", nil,
			`[{"stages": "h.*.mlp.act", "abs": 1, "why": "w"}, {"stages": "h.3.*", "accept": true, "why": "w"}]`, 0, "", false, `rules.json: rule 2 (stages "h.3.*", steps all)`},
	}, 0, 3) {
		t.Run(c.reason, func(t *testing.T) {
			t.Parallel()
			var planted []gpt2test.Fault
			for _, name := range c.planted {
				planted = append(planted, gpt2test.Named(name))
			}
			s := withTap(t, plant(m, planted...))
			var err error
			if s.o.Bounds, err = harness.ParseBounds([]byte(c.rules)); err != nil {
				t.Fatal(err)
			}
			s.o.Bounds.File = "rules.json"
			r, err := s.Verify(t.Context())
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if f := r.First; (f == nil) != (c.checkpoint == 0) || f != nil && (f.Checkpoint != c.checkpoint || f.Stage != c.stage) {
				t.Errorf("first fails %+v, want checkpoint %d at %s", f, c.checkpoint, c.stage)
			}
			for _, cp := range r.Checkpoints {
				if cp.Verdict != harness.VerdictPass && r.First == nil {
					t.Errorf("checkpoint %d: %s", cp.Checkpoint, cp.Verdict)
				}
			}
			for _, run := range r.Runs {
				if run.Passed() != (c.checkpoint == 0) {
					t.Errorf("%s: %s, first %v, introduced %v", run.Engine, run.Verdict, run.FirstDivergence, run.Introduced)
				}
			}
			text := textOf(t, r)
			lines := strings.Split(text, "\n")
			if head := strings.Join(lines[:3], "\n"); !strings.Contains(head, "rule 1 of rules.json") || (r.Accepted > 0) != c.accepted ||
				strings.Contains(lines[0], " accepted") != c.accepted || strings.Contains(text, "; 1 accepted") && !c.accepted {
				t.Errorf("%d accepted:\n%s", r.Accepted, text)
			}
			b, err := json.Marshal(r)
			if has := strings.Contains(string(b), `"status":"fail","origin":"introduced"`); err != nil || has != strings.Contains(c.rules, "accept") {
				t.Errorf("a row keeps its status: %v, %v", has, err)
			}
			if strings.Contains(string(b), `"accepted":"`) != c.accepted {
				t.Errorf("the JSON says otherwise than %v", c.accepted)
			}
		})
	}
}

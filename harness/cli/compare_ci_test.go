package cli

import (
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/cuttest"
	"checkpoint12/harness/internal/gpt2test"
)

// A failure in JUnit's XML names what is wrong among its own stages or, where they only inherit
// what is wrong, what is so first; there it has no usual causes.
func TestJUnitNamesWhatIsWrong(t *testing.T) {
	m := gpt2test.Tiny(t)
	dir := filepath.Join(gpt2test.Dir, "synthetic-tiny", "one-token")
	golden := gpt2test.Golden(t, gpt2.Schedule(3, nil), "synthetic-tiny/one-token/float64")
	var planted []gpt2test.Fault
	for _, name := range []string{"erf GELU", "scale 1/D", "missing residual, later block"} {
		planted = append(planted, gpt2test.Named(name))
	}
	const first = "h.1.mlp.act"
	for _, c := range []struct {
		why    string
		golden string
		faults []gpt2test.Fault
		model  bool
	}{
		{"one fault, all engines", dir, planted[:1], true},
		{"three faults, all engines", dir, planted, true},
		{"three faults, one engine", dir + "/float64", planted, true},
		{"not replayed", dir, planted[:1], false},
	} {
		t.Run(c.why, func(t *testing.T) {
			t.Chdir(t.TempDir())
			plant := gpt2test.Planter(m, c.faults...).Plant
			writeEngine(t, "mine", cuttest.Run(t, m, golden.Tokens(), harness.PromptCut(1, 4), plant),
				func(_ int, stage string) bool { return !strings.HasPrefix(stage, "probs_t") })
			args := []string{"compare", "--golden", c.golden, "--candidate", "mine", "--junit", "r.xml"}
			if c.model {
				args = append(args, "--model", "synthetic-tiny")
			}
			if status, _, stderr := run(args...); status != StatusDivergence {
				t.Fatalf("status %d: %s", status, stderr)
			}
			data, err := os.ReadFile("r.xml")
			if err != nil {
				t.Fatal(err)
			}
			var suites struct {
				Cases []struct {
					Class   string `xml:"classname,attr"`
					Failure *struct {
						Message string `xml:"message,attr"`
						Text    string `xml:",chardata"`
					} `xml:"failure"`
				} `xml:"testsuite>testcase"`
			}
			if err := xml.Unmarshal(data, &suites); err != nil {
				t.Fatal(err)
			}
			inherited := 0
			for _, tc := range suites.Cases {
				if tc.Failure == nil || strings.HasSuffix(tc.Class, ".verdict") {
					continue
				}
				own := gpt2test.Fault{}
				for _, f := range c.faults {
					if strings.Contains(tc.Class, fmt.Sprintf(".checkpoint %02d ", f.Checkpoint)) {
						own = f
					}
				}
				message, text := tc.Failure.Message, tc.Failure.Text
				usual := strings.Contains(text, "usual causes")
				switch {
				case !c.model:
					if own.Name == "" && (!strings.Contains(text, "the run diverges earlier, at step_00/"+first) || !usual) {
						t.Errorf("%s: %s\n%s", tc.Class, message, text)
					}
				case own.Name != "":
					if !strings.HasPrefix(message, own.Stage+" computes wrong") || !strings.Contains(text, own.Stage+" computes wrong") ||
						!strings.Contains(text, own.ID) || usual {
						t.Errorf("%s does not name %s, %s: %s\n%s", tc.Class, own.Stage, own.ID, message, text)
					}
				default:
					inherited++
					for _, want := range []string{"the run diverges earlier, at step_00/" + first + ", checkpoint 6 (feed-forward)", "gelu_erf"} {
						if !strings.Contains(message, want) || !strings.Contains(strings.Join(strings.Fields(text), " "), want) {
							t.Errorf("%s lacks %q: %s\n%s", tc.Class, want, message, text)
						}
					}
					if !strings.Contains(message, "inherited") || !strings.Contains(text, "the error came in with them") || usual {
						t.Errorf("%s does not say that it inherits: %s\n%s", tc.Class, message, text)
					}
				}
			}
			if c.model && inherited == 0 {
				t.Error("nothing inherits what is wrong")
			}
		})
	}
}

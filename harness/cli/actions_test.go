package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A text in the log of GitHub Actions has no command, however its tokens are cut; elsewhere, and
// in a file, it is as it is.
func TestPrintTokensInActions(t *testing.T) {
	for _, tt := range []struct {
		tokens []string
		want   string
	}{
		{[]string{"plain", " text", "\n"}, "plain text\n"},
		{[]string{":", ":", "error::x\n"}, "\\::error::x\n"},
		{[]string{"a\n", " \t", "::", "stop-commands::x\r::set", "-env::\n"}, "a\n \t\\::stop-commands::x\r\\::set-env::\n"},
		{[]string{"a #", "#", "[error]b", "\n\u00a0::x::y\n"}, "a #\\#[error]b\n\u00a0\\::x::y\n"},
		{[]string{"std::vector\n"}, "std::vector\n"},
	} {
		for _, actions := range []string{"true", ""} {
			t.Setenv("GITHUB_ACTIONS", actions)
			var out strings.Builder
			a := &app{stdout: &output{w: &out}}
			for _, token := range tt.tokens {
				if err := a.printTokens(token); err != nil {
					t.Fatal(err)
				}
			}
			want := tt.want
			if actions == "" {
				want = strings.Join(tt.tokens, "")
			}
			if out.String() != want || a.unprinted != "" {
				t.Errorf("%q, GITHUB_ACTIONS %q: %q, want %q", tt.tokens, actions, out.String(), want)
			}
		}
	}
	t.Setenv("GITHUB_ACTIONS", "true")
	f, err := os.Create(filepath.Join(t.TempDir(), "text"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := (&app{stdout: &output{w: f}}).printTokens("::error::x"); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(f.Name()); err != nil || string(data) != "::error::x" {
		t.Errorf("a file has %q, %v", data, err)
	}
}

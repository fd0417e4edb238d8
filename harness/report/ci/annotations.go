package ci

import (
	"fmt"
	"io"
	"strings"

	"checkpoint12/harness/internal/words"
)

// maxAnnotations is how many errors of one step GitHub shows.
const maxAnnotations = 10

var (
	asData     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	asProperty = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

// WriteAnnotations writes each problem as a command for the log of GitHub Actions, which shows
// it beside the run. Of many the last says how many more there are.
func WriteAnnotations(w io.Writer, r *Report) error {
	var out strings.Builder
	for i, p := range r.Problems {
		if more := len(r.Problems) - i; i == maxAnnotations-1 && more > 1 {
			p = Problem{Title: fmt.Sprintf("and %d more, which the report has", more)}
		}
		if i == maxAnnotations {
			break
		}
		all := []string{words.Visible(cut(p.Title))}
		for _, line := range p.Lines {
			all = append(all, words.Visible(cut(line)))
		}
		fmt.Fprintf(&out, "::error title=%s::%s\n", asProperty.Replace(words.Visible(cut(r.Name))), asData.Replace(strings.Join(all, "\n")))
	}
	_, err := io.WriteString(w, out.String())
	return err
}

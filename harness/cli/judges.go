package cli

import (
	"cmp"
	"errors"
	"io"
	"syscall"

	"github.com/spf13/cobra"

	"checkpoint12/harness/report"
	"checkpoint12/harness/report/ci"
	"checkpoint12/harness/report/page"
)

// judgement is the answer of a command that judges.
type judgement struct {
	report any // as JSON
	passed bool
	ci     func() *ci.Report // nil of a command that no CI system reads
	text   func(w io.Writer, s report.Style) error
	err    error      // of what could not be judged, beside what was
	page   *page.Page // nil unless it is asked for
}

// judges makes c a command that judges by run: it writes a report for a person, and
// to files in the formats, and has failed if the judgement has. An interrupt leaves run
// behind.
func (a *app) judges(c *cobra.Command, formats []format, run func(c *cobra.Command, p *progress) (*judgement, error)) {
	c.Long += `

Exit status: 0 all passed, 1 something failed, 2 nothing could be judged (bad usage or
input, no weights, nothing to compare), 130 interrupted.`
	files := reportFlags(c.Flags(), formats)
	var written []string
	for _, f := range formats {
		written = append(written, f.flag)
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		a.again = without(a.args, c, written...)
		if err := files.open(c, a.stdout); err != nil {
			return err
		}
		defer files.discard()
		var j *judgement
		p := a.progress()
		err := wait(c.Context(), func() (err error) {
			j, err = run(c, p)
			return err
		})
		p.clear()
		if err != nil {
			return err
		}
		err = files.write(j) // before the text, which a reader of its first lines may end
		if !files.takeStdout() {
			if broken := j.text(a.stdout, style(a.stdout.w)); !errors.Is(broken, syscall.EPIPE) {
				err = cmp.Or(err, broken)
			}
		}
		if err == nil && j.ci != nil && inActions() {
			ci.WriteAnnotations(a.stderr, j.ci())
			a.told = j.err != nil
		}
		if err == nil && !j.passed {
			err = errDivergence
		}
		if err == nil {
			err = j.err
		}
		return err
	}
}

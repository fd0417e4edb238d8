package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"checkpoint12/harness/report"
	"checkpoint12/model/atomicfile"
)

// judgement is the answer of a command that judges.
type judgement struct {
	report any // as JSON
	passed bool
	text   func(w io.Writer, s report.Style) error
}

// judges makes c a command that judges by run: it writes a report for a person, and
// for --json, and has failed if the judgement has. An interrupt leaves run behind.
func (a *app) judges(c *cobra.Command, run func(c *cobra.Command, p *progress) (*judgement, error)) {
	path := c.Flags().String("json", "", "write the report as JSON to `FILE`; - is stdout, which then has nothing else")
	c.RunE = func(c *cobra.Command, _ []string) error {
		out, err := openJSON(*path)
		if err != nil {
			return fmt.Errorf("--json %s: %w", *path, err)
		}
		defer out.discard()
		var j *judgement
		p := a.progress()
		err = wait(c.Context(), func() error {
			var err error
			j, err = run(c, p)
			return err
		})
		p.clear()
		switch {
		case err != nil:
			return err
		case *path == "-":
			err = json.NewEncoder(a.stdout).Encode(j.report)
		default:
			if err = j.text(a.stdout, style(a.stdout.w)); err == nil && *path != "" {
				if err = out.finish(j.report); err != nil {
					err = fmt.Errorf("--json %s: %w", *path, cause(err))
				}
			}
		}
		if err == nil && !j.passed {
			err = errDivergence
		}
		return err
	}
}

// jsonFile is the file of --json; the zero jsonFile is none.
type jsonFile struct {
	whole  *atomicfile.File // what becomes it
	device *os.File         // in its place: a pipe or a device
}

// openJSON makes sure, before long work begins, that the JSON can be written. Until
// finish the file that stood there is untouched.
func openJSON(path string) (f jsonFile, err error) {
	if path == "" || path == "-" {
		return f, nil
	}
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return f, fmt.Errorf("is a folder, not a file")
	case err == nil && !info.Mode().IsRegular(): // there is nothing to keep whole
		f.device, err = os.OpenFile(path, os.O_WRONLY, 0)
	default:
		f.whole, err = atomicfile.Create(path)
	}
	if err != nil {
		return f, fmt.Errorf("cannot be written: %w", cause(err))
	}
	return f, nil
}

// finish writes v and puts the file in place.
func (f jsonFile) finish(v any) error {
	if f.device != nil {
		return json.NewEncoder(f.device).Encode(v)
	}
	if err := json.NewEncoder(f.whole).Encode(v); err != nil {
		return err
	}
	return f.whole.Commit()
}

// discard removes what was begun; after finish it does nothing.
func (f jsonFile) discard() {
	if f.whole != nil {
		f.whole.Discard()
	}
	f.device.Close()
}

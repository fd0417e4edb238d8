package harness

import "io"

// TextOptions says how WriteText writes.
type TextOptions struct {
	Color   bool // with colours, for a terminal
	Verbose bool // with a row for every stage of every step

	// Causes, if set, names the usual causes of a failure at a stage.
	Causes func(stage string) []string

	// Closer, if set, is the command that looks closer at a place.
	Closer func(step int, stage string) string
}

// WriteText writes the report for a person.
func (r *Report) WriteText(w io.Writer, o TextOptions) error {
	_, err := io.WriteString(w, r.Verdict+"\n")
	return err
}

package unlisted

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"checkpoint12/harness/internal/words"
	"checkpoint12/harness/report"
)

// WriteText writes the matrix for people.
func (m *Matrix) WriteText(out io.Writer, s report.Style) error {
	w := report.NewWriter(out, s)
	n := 0
	for _, row := range m.Kinds {
		n += row.Faults
	}
	full, modules := m.totals()
	verdict := w.Green("PASS")
	if !m.Passed() {
		verdict = w.Red("FAIL")
	}
	w.Printf("%s %s that no catalogue has, in %s: %.1f%% answered from full dumps, %.1f%% from modules' outputs, %.1f%% of pairs\n",
		verdict, words.Count(n, "fault"), words.Count(len(m.Models), "model"), 100*full.share(), 100*modules.share(), 100*m.Pairs.share())
	for _, s := range m.Failed {
		w.Printf("  %s\n", s)
	}
	w.Printf("\n")
	t := report.NewTable("kind", ">faults", ">full", ">answered", ">other", ">false", ">none", ">modules", ">answered", ">other", ">false", ">none")
	line := func(name string, faults any, tallies ...Tally) {
		cells := []any{name, faults}
		for _, a := range tallies {
			cells = append(cells, a.Runs, a.Words, a.Runs-a.Words-a.False-a.None, a.False, a.None)
		}
		for len(cells) < 12 {
			cells = append(cells, "")
		}
		t.Row(cells...)
	}
	for _, row := range m.Kinds {
		line(string(row.Kind), row.Faults, row.Full, row.Modules)
	}
	line("all", n, full, modules)
	line("pairs", "", m.Pairs)
	w.Table(t)
	w.Printf("\n")
	t = report.NewTable("right engines", ">runs", ">false alarms")
	for _, c := range m.Right {
		t.Row(c.Engine, c.Runs, c.Alarms)
	}
	w.Table(t)
	m.writeOpen(w)
	return w.Flush()
}

// writeOpen writes what has no useful answer, each fault once, and what was said instead.
func (m *Matrix) writeOpen(w *report.Writer) {
	open := slices.DeleteFunc(slices.Clone(m.Open), func(o Open) bool { return strings.Contains(o.Fault, "+") })
	slices.SortStableFunc(open, func(a, b Open) int { return strings.Compare(a.Fault, b.Fault) })
	if len(open) > 0 {
		w.Printf("\nfaults without a useful answer, and what was said of one run instead; --json has all, and the pairs\n")
	}
	for len(open) > 0 {
		n := slices.IndexFunc(open, func(o Open) bool { return o.Fault != open[0].Fault })
		if n < 0 {
			n = len(open)
		}
		full, said := 0, open[0]
		var wrong []string
		for _, o := range open[:n] {
			if !o.Modules {
				full++
			}
			wrong = append(wrong, o.False...)
		}
		where := fmt.Sprintf("%s, of modules' outputs %d", words.Count(full, "full dump"), n-full)
		w.Printf("  %s (%s): %s\n", said.Fault, where, short(said.Said))
		slices.Sort(wrong)
		if wrong = slices.Compact(wrong); len(wrong) > 0 {
			w.Printf("    false: %s\n", words.Some(wrong, 3))
		}
		open = open[n:]
	}
}

// short returns the answer in a text, or that there is none.
func short(text string) string {
	switch text = answer(text); {
	case text == "":
		return "no answer"
	case len(text) > 200:
		return text[:strings.LastIndex(text[:200], " ")] + " …"
	}
	return text
}

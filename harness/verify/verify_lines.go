package verify

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/internal/words"
	"checkpoint12/harness/report"
)

// writeEngines writes the table with a line for each engine. The embeddings stand in it if they fail, or verbose.
func (r *Report) writeEngines(b *report.Writer, o TextOptions) {
	t := report.NewTable("checkpoint", "engine", ">checks", ">values", "", "worst, of its bound")
	command := ""
	for _, c := range r.all {
		d := Info(c.Checkpoint)
		title := d.inTable()
		switch {
		case c.unseen(o):
			continue
		case c.Verdict == NotChecked && c.Checkpoint > 0:
			t.Row(title, "-", "-", "-", b.Yellow("-"), b.Yellow(strings.TrimSuffix(NotChecked+": "+c.why, ": ")))
			command = c.Command
			continue
		}
		for _, l := range c.lines {
			verdict, values := b.Green("pass"), thousands(l.values)
			switch {
			case l.compared == 0:
				verdict = b.Yellow("-")
			case l.failed > 0:
				verdict = b.Red("FAIL")
			}
			if l.engine == Self {
				values = ""
			}
			t.Row(title, l.engine, thousands(l.compared), values, verdict, l.remark(b.Style))
			title = ""
		}
	}
	b.Table(t)
	writeMakeGoldens(b, command)
}

func writeMakeGoldens(b *report.Writer, command string) {
	if command != "" {
		b.Printf("\nto make goldens for what is not checked:\n  %s\n", report.Unbroken(command))
	}
}

// inTable returns the checkpoint's number and title, below those of others.
func (c Checkpoint) inTable() string {
	if c.Number <= CheckEmbeddings {
		return "   " + c.Title
	}
	return fmt.Sprintf("%2d %s", c.Number, c.Title)
}

// unseen reports whether the checkpoint has no line in the table.
func (c *CheckpointReport) unseen(o TextOptions) bool {
	return c.Checkpoint == CheckEmbeddings && !o.Verbose && c.Verdict != harness.VerdictFail
}

// writeLines writes the table with one line for each checkpoint, whatever the width, and below
// it what does not fit on them. The embeddings stand in it if they fail, or verbose.
func (r *Report) writeLines(b *report.Writer, o TextOptions) {
	type row struct {
		Checkpoint
		checks, verdict any
		line
	}
	var rows []row
	command := ""
	for _, c := range r.all {
		if c.unseen(o) {
			continue
		}
		l := together(c.lines)
		switch {
		case c.Verdict == NotChecked && c.Checkpoint > CheckEmbeddings:
			rows = append(rows, row{Info(c.Checkpoint), "-", b.Yellow("-"), line{why: c.why}})
			command = c.Command
		case l.compared == 0 && len(c.lines) > 0:
			rows = append(rows, row{Info(c.Checkpoint), thousands(0), b.Yellow("-"), l})
		case l.failed > 0:
			rows = append(rows, row{Info(c.Checkpoint), thousands(l.failed) + " of " + thousands(l.compared), b.Red("FAIL"), l})
		case len(c.lines) > 0:
			rows = append(rows, row{Info(c.Checkpoint), thousands(l.compared), b.Green("pass"), l})
		}
	}
	table := func(last func(r row) any) *report.Table {
		t := report.NewTable("checkpoint", ">checks", "", "of its bound, case/step/stage")
		for _, r := range rows {
			t.Row(r.inTable(), r.checks, r.verdict, last(r))
		}
		return t
	}
	room := b.Room(table(func(row) any { return "" }))
	var left []string // what does not fit
	b.Table(table(func(r row) any {
		text, more := r.line.brief(room)
		if more != "" {
			left = append(left, r.Checkpoint.String()+": "+more)
		}
		if r.worst == nil {
			return b.Yellow(text)
		}
		return text
	}))
	for i, text := range left {
		if i == 0 {
			b.Printf("\n")
		}
		b.Printf("%s\n", text)
	}
	writeMakeGoldens(b, command)
}

// brief returns the worst error and its place in so many columns, or that there is none, and
// what there is no room for.
func (l *line) brief(room int) (text, more string) {
	if l.worst == nil {
		text = strings.TrimSuffix(NotChecked+": "+l.why, ": ")
		if utf8.RuneCountInString(text) > room {
			return NotChecked, text
		}
		return text, ""
	}
	w := l.worst
	text = cmp.Or(w.Nonfinite, strings.TrimSuffix(extent(w.Share, ""), " times "))
	if w.Share > 1 && w.Nonfinite == "" && !math.IsInf(float64(w.Share), 1) {
		text += "x"
	}
	if w.Share != 0 {
		name, place := w.Case, ""
		if w.Stage != w.Case { // else of a figure
			place = fmt.Sprintf("/%d/%s", w.Step, w.Stage)
		}
		if n := room - utf8.RuneCountInString(text+" "+place); utf8.RuneCountInString(name) > n {
			name = string([]rune(name)[:max(n-1, 0)]) + "…"
			more = fmt.Sprintf("worst at %s, step %d, %s", w.Case, w.Step, w.Stage)
		}
		text += " " + name + place
	}
	for _, part := range l.remarks() {
		switch {
		case more == "" && utf8.RuneCountInString(text+"; "+part) <= room:
			text += "; " + part
		case more == "":
			more = part
		default:
			more += "; " + part
		}
	}
	return text, more
}

// together returns the lines of a checkpoint's engines as one.
func together(lines []line) (all line) {
	passed := false
	for _, l := range lines {
		if l.engine != Self {
			all.engines++
			all.values += l.values
			all.engine = cmp.Or(all.engine, l.engine)
		}
		if l.compared > 0 && l.engine != Self {
			all.comparing++
			passed = passed || l.failed == 0
		}
		if l.failed > 0 {
			all.failing = append(all.failing, l.engine)
		}
		all.compared, all.failed = all.compared+l.compared, all.failed+l.failed
		all.tokens, all.certified, all.ties = all.tokens+l.tokens, all.certified+l.certified, all.ties+l.ties
		all.accepted += l.accepted
		all.why = cmp.Or(all.why, l.why)
		if l.worst != nil && (all.worst == nil || l.worst.Share > all.worst.Share) {
			all.worst = l.worst
		}
	}
	if !passed { // they agree
		all.failing = nil
	}
	return all
}

// remarks returns what is to be known beside the worst error.
func (l *line) remarks() (all []string) {
	if l.tokens > 0 {
		all = append(all, fmt.Sprintf("%d of %d %s", l.certified, l.tokens, diagnose.Certified))
	}
	if l.accepted > 0 {
		all = append(all, fmt.Sprintf("%d accepted", l.accepted))
	}
	if l.ties > 0 {
		all = append(all, words.Count(l.ties, "near tie"))
	}
	if len(l.failing) > 0 {
		all = append(all, "fails by "+words.And(l.failing)+" alone")
	}
	switch {
	case l.comparing < l.engines:
		all = append(all, fmt.Sprintf("%d of %s", l.comparing, words.Count(l.engines, "engine")))
	case l.engines == 1 && l.engine == Figures && l.worst.Stage != l.worst.Case:
		all = append(all, "by "+Figures)
	}
	return all
}

// remark returns the worst error and its place, or why there is none.
func (l *line) remark(s report.Style) any {
	if l.worst == nil {
		return s.Yellow(NotChecked + ": " + l.why)
	}
	w, text := l.worst, ""
	if l.failed > 0 {
		text = fmt.Sprintf("%d fail: ", l.failed)
	}
	text += cmp.Or(w.Nonfinite, extent(w.Share, w.bound()))
	switch {
	case w.Share == 0:
	case w.Stage == w.Case: // of a figure
		text += " at " + w.Case
	default:
		text += fmt.Sprintf(" at %s, step %d, %s", w.Case, w.Step, w.Stage)
	}
	return strings.Join(append([]string{text}, l.remarks()...), "; ")
}

// The bounds of which a share is a part.
const (
	tolerance     = "the tolerance"
	roundingBound = "the rounding bound"
)

// bound returns what the share is a part of: what a replay allows where no golden is.
func (w *Worst) bound() string {
	if w.Engine == Self && !strings.HasPrefix(w.Stage, "probs_t") { // whose own tolerance is narrower
		return roundingBound
	}
	return tolerance
}

// extent returns a share of a bound in per cent or, past it, as a multiple.
func extent(s harness.Float, bound string) string {
	switch share := float64(s); {
	case share == 0:
		return "exact"
	case math.IsInf(share, 1):
		return "not the same"
	case share > 1:
		return fmt.Sprintf("%.3g times %s", share, bound)
	case share < 0.0995:
		return fmt.Sprintf("%.2g%%", 100*share)
	default:
		return fmt.Sprintf("%.0f%%", 100*share)
	}
}

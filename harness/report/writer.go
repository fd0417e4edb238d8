package report

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"checkpoint12/harness/internal/words"
)

// DefaultWidth is the number of columns of text that is not for a terminal.
const DefaultWidth = 100

// A Style configures text for people. The zero Style is plain.
type Style struct {
	Color bool // with colours, for a terminal
	Width int  // columns at which lines wrap; 0 stands for DefaultWidth
}

// A Text is printed as it is. Of any other value a Writer makes what is not printed
// visible, so that no name or reason from outside colours, hides or begins a line.
type Text string

// Bold returns text in bold.
func (s Style) Bold(text string) Text { return s.paint("1", text) }

// Red returns text in bold red.
func (s Style) Red(text string) Text { return s.paint("1;31", text) }

// Green returns text in bold green.
func (s Style) Green(text string) Text { return s.paint("1;32", text) }

// Yellow returns text in yellow.
func (s Style) Yellow(text string) Text { return s.paint("33", text) }

func (s Style) paint(code, text string) Text {
	text = words.Visible(text)
	if !s.Color || text == "" {
		return Text(text)
	}
	return Text("\x1b[" + code + "m" + text + "\x1b[0m")
}

// A Writer wraps the lines that are printed to it at the width of its Style, at
// single spaces only. What a line continues with stands behind its indentation, or
// behind a label that two spaces or more set off. Nothing is written before Flush.
type Writer struct {
	Style
	w    io.Writer
	text strings.Builder
}

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer, s Style) *Writer {
	if s.Width <= 0 {
		s.Width = DefaultWidth
	}
	return &Writer{Style: s, w: w}
}

// Printf appends to the text: lines end where the format has them end.
func (w *Writer) Printf(format string, args ...any) {
	for i, arg := range args {
		if _, ok := arg.(Text); !ok {
			args[i] = words.Arg{Value: arg}
		}
	}
	fmt.Fprintf(&w.text, format, args...)
}

// Prose appends text of which lines that are not indented are joined to paragraphs.
func (w *Writer) Prose(text Text) {
	for line := range strings.Lines(ends.ReplaceAllString(string(text), "$1 $2")) {
		line = strings.TrimSuffix(line, "\n")
		indent := 0
		if margin.FindString(line) != "" {
			indent = hang(line, w.Width)
		}
		for _, part := range wrap(line, w.Width, indent) {
			w.Printf("%s\n", Text(part))
		}
	}
}

// Flush writes the lines, wrapped, the last of which may lack its end.
func (w *Writer) Flush() error {
	var out strings.Builder
	for line := range strings.Lines(w.text.String()) {
		line = index.ReplaceAllStringFunc(strings.TrimSuffix(line, "\n"), func(s string) string { return string(Unbroken(s)) })
		line = strings.ReplaceAll(line, "##[", `#\#[`) // as Inert does, which then makes it no wider
		columns := w.Width
		if strings.Contains(line, "::") {
			columns--
		}
		parts := []string{line}
		if width(line) > columns {
			parts = wrap(line, columns, hang(line, columns))
		}
		for _, part := range parts {
			out.WriteString(strings.TrimRight(Inert(strings.ReplaceAll(part, unbroken, " ")), " ") + "\n")
		}
	}
	w.text.Reset()
	_, err := io.WriteString(w.w, out.String())
	return err
}

// Inert returns a line in which who reads a log finds no command: GitHub's runner obeys ::
// at the beginning of a line, and ##[ anywhere in it.
func Inert(line string) string {
	blank := func(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f || r == 0xfeff }
	if text := strings.TrimLeftFunc(line, blank); strings.HasPrefix(text, "::") {
		line = line[:len(line)-len(text)] + `\` + text
	}
	return strings.ReplaceAll(line, "##[", `#\#[`)
}

// items writes a list on as many lines as it takes, breaking none of its items.
func (w *Writer) items(indent string, items []Text) {
	for i, item := range items {
		if i > 0 {
			indent += unbroken + " "
		}
		indent += string(Unbroken(item))
	}
	if len(items) > 0 {
		w.Printf("%s\n", Text(indent))
	}
}

// unbroken stands for a space at which no line breaks.
const unbroken = "\u00a0"

// Unbroken returns text that a Writer keeps on one line.
func Unbroken[T string | Text](text T) Text {
	if s, ok := any(text).(string); ok {
		text = T(words.Visible(s))
	}
	return Text(strings.ReplaceAll(string(text), " ", unbroken))
}

var (
	colour = regexp.MustCompile("\x1b\\[[0-9;]*m")
	label  = regexp.MustCompile(`^ *\S+( \S+)*  +`)
	index  = regexp.MustCompile(`\[[0-9]+( [0-9]+)+\]`) // is not broken
	ends   = regexp.MustCompile(`(\S)\n([^\s` + unbroken + `])`)
	margin = regexp.MustCompile("^[ " + unbroken + "]*")
)

// width returns the number of columns that text takes.
func width(text string) int { return utf8.RuneCountInString(plain(text)) }

// plain returns text without its colours.
func plain(text string) string {
	if !strings.Contains(text, "\x1b") {
		return text
	}
	return colour.ReplaceAllString(text, "")
}

// hang returns how far to indent what a line continues with.
func hang(line string, columns int) int {
	line = plain(line)
	if n := width(label.FindString(line)); 0 < n && n <= columns/2 {
		return n
	}
	return width(margin.FindString(line)) + 2
}

// wrap cuts a line into lines of at most so many columns, if its words allow it, all
// but the first indented by hang, or by less where a word is too long for that.
func wrap(line string, columns, hang int) []string {
	if width(line) <= columns {
		return []string{line}
	}
	parts := strings.Split(line, " ")
	var lines []string
	current := parts[0]
	for _, word := range parts[1:] {
		if word == "" || strings.Trim(current, " ") == "" || width(current)+1+width(word) <= columns {
			current += " " + word
			continue
		}
		lines = append(lines, current)
		indent := hang
		if hang+width(word) > columns {
			indent = min(hang, width(margin.FindString(line))+2)
		}
		current = strings.Repeat(" ", indent) + word
	}
	return append(lines, current)
}

// A Table has rows of cells below a head, without a frame.
type Table struct {
	head  []Text
	right []bool // columns of numbers, which stand to the right
	rows  [][]Text
	gap   Text // between two columns
}

// NewTable returns a table with these columns; > begins the name of one of numbers.
func NewTable(columns ...string) *Table {
	t := &Table{gap: "  "}
	for _, c := range columns {
		name, right := strings.CutPrefix(c, ">")
		t.head, t.right = append(t.head, Text(words.Visible(name))), append(t.right, right)
	}
	return t
}

// Row adds a row. It may have fewer cells than there are columns.
func (t *Table) Row(cells ...any) {
	var row []Text
	for _, cell := range cells {
		text, ok := cell.(Text)
		if !ok {
			text = Text(words.Visible(fmt.Sprint(cell)))
		}
		row = append(row, text)
	}
	t.rows = append(t.rows, row)
}

// widths returns how wide each column is, and where the last one begins.
func (t *Table) widths() (widths []int, last int) {
	widths = make([]int, len(t.head))
	for _, row := range append([][]Text{t.head}, t.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], width(string(cell)))
		}
	}
	for _, n := range widths[:len(widths)-1] {
		last += n + width(string(t.gap))
	}
	return widths, last
}

// Room returns how many columns of a line a table leaves for its last column.
func (w *Writer) Room(t *Table) int {
	_, last := t.widths()
	return w.Width - last
}

// Table writes a table, of which a last column of text may wrap.
func (w *Writer) Table(t *Table) {
	rows := t.rows
	if !slices.Equal(t.head, make([]Text, len(t.head))) {
		rows = append([][]Text{t.head}, rows...)
	}
	widths, hang := t.widths()
	if hang > w.Width/2 {
		hang = widths[0] + width(string(t.gap)) + 2
	}
	for _, row := range rows {
		var line Text
		for i, cell := range row {
			if i > 0 {
				line += t.gap
			}
			pad := Text(strings.Repeat(" ", widths[i]-width(string(cell))))
			switch {
			case t.right[i]:
				line = Unbroken(line + pad + cell)
			case i < len(t.head)-1:
				line = Unbroken(line + cell + pad)
			default:
				line += cell
			}
		}
		for _, part := range wrap(string(line), w.Width, hang) {
			w.Printf("%s\n", Text(part))
		}
	}
}

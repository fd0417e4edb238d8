package report

import "strings"

// A Table is rows of cells below a head, without a frame.
type Table struct {
	head  []string
	right []bool // columns of numbers, which stand to the right
	rows  [][]string
	gap   string // between two columns
}

// NewTable returns a table with these columns. A name that begins with a > is
// that of a column of numbers, which stand to the right.
func NewTable(columns ...string) *Table {
	t := &Table{gap: "  "}
	for _, c := range columns {
		name, right := strings.CutPrefix(c, ">")
		t.head, t.right = append(t.head, name), append(t.right, right)
	}
	return t
}

// Row adds a row. It may have fewer cells than there are columns.
func (t *Table) Row(cells ...string) { t.rows = append(t.rows, cells) }

// Table writes a table. What is too long for the width in the last column
// continues below it.
func (w *Writer) Table(t *Table) {
	rows := t.rows
	if strings.Join(t.head, "") != "" {
		rows = append([][]string{t.head}, rows...)
	}
	widths := make([]int, len(t.head))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], width(cell))
		}
	}
	for _, row := range rows {
		line, left := "", 0
		for i, cell := range row {
			left = width(line)
			line = Unbroken(line)
			if pad := strings.Repeat(" ", widths[i]-width(cell)); t.right[i] {
				line += pad + cell + t.gap
			} else {
				line += cell + pad + t.gap
			}
		}
		last := len(t.head) - 1
		if len(row) <= last || t.right[last] || w.Width-left < leastCell {
			line = Unbroken(line)
		}
		for _, part := range wrap(strings.TrimRight(line, " "+unbroken), w.Width, left) {
			w.Unwrapped(part)
		}
	}
}

// leastCell is the number of columns from which on a cell is wrapped.
const leastCell = 24

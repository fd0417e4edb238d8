package report

import (
	"fmt"
	"strings"
)

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
// continues below it or, where that leaves no room, stands below the row.
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
	last := len(t.head) - 1
	for _, row := range rows {
		line, left := "", 0
		for i, cell := range row {
			left = width(line)
			short := width(cell) < leastCell || !strings.Contains(cell, " ")
			switch {
			case i < last || t.right[i] || short && w.Width-left < leastCell:
				cell = Unbroken(cell)
			case w.Width-left < leastCell:
				fmt.Fprintln(w, line)
				left = width(margin.FindString(line)) + 2
				line = strings.Repeat(unbroken, left)
			}
			pad := Unbroken(strings.Repeat(" ", widths[i]-width(cell)))
			if t.right[i] {
				line += pad + cell
			} else {
				line += cell + pad
			}
			line += Unbroken(t.gap)
		}
		for _, part := range wrap(strings.TrimRight(line, " "+unbroken), w.Width, left) {
			fmt.Fprintln(w, part)
		}
	}
}

// leastCell is the number of columns from which on a cell is wrapped.
const leastCell = 24

package page

import "fmt"

// A gridView is the map of one step, as the page has it before its script runs.
type gridView struct {
	Title   string
	Columns []string // labels
	Rows    []gridRow
}

type gridRow struct {
	Head  string
	Cells []gridCell
}

type gridCell struct {
	Span  int // columns
	Class string
	Mark  string
	Label string // in words
	Name  string // of a stage that is in no block
	Cell  int
	Gap   bool // no stage
}

// firstMap returns the map that the page begins with; nil if there is none.
func firstMap(p *Page) *gridView {
	if len(p.Runs) == 0 || len(p.Runs[0].Layers) == 0 || len(p.Runs[0].Stages) == 0 {
		return nil
	}
	r := &p.Runs[0]
	step, layer := r.Start/len(r.Stages), &r.Layers[0]
	g := &gridView{Title: fmt.Sprintf("%s, %s", r.Steps[step].Label, layer.against())}
	blocks, columns := 0, 1
	for _, st := range r.Stages {
		if st.Block >= 0 {
			blocks, columns = max(blocks, st.Block+1), max(columns, st.Column+1)
		}
	}
	g.Columns = make([]string, columns)
	rows := map[int][]gridCell{}
	for i, st := range r.Stages {
		at := step*len(r.Stages) + i
		c := gridCell{Span: 1, Class: r.class(layer, at), Mark: r.mark(layer, at), Label: r.words(layer, at), Cell: at}
		if st.Block < 0 {
			c.Name = st.Label
			rows[st.Block] = append(rows[st.Block], c)
			continue
		}
		g.Columns[st.Column] = st.Label
		for len(rows[st.Block]) < st.Column {
			rows[st.Block] = append(rows[st.Block], gridCell{Span: 1, Gap: true})
		}
		rows[st.Block] = append(rows[st.Block], c)
	}
	outer := func(head string, cells []gridCell) {
		if len(cells) > 0 {
			columns = max(columns, len(cells))
			for k := range cells {
				cells[k].Span = (k+1)*columns/len(cells) - k*columns/len(cells)
			}
			g.Rows = append(g.Rows, gridRow{head, cells})
		}
	}
	outer("in", rows[-1])
	for n := range blocks {
		for len(rows[n]) < columns {
			rows[n] = append(rows[n], gridCell{Span: 1, Gap: true})
		}
		g.Rows = append(g.Rows, gridRow{fmt.Sprint(n), rows[n]})
	}
	outer("out", rows[-2])
	if blocks == 0 {
		g.Columns = nil
	}
	return g
}

// against says what the layer's errors are against.
func (l *Layer) against() string {
	if l.Replay {
		return "replayed on its own inputs"
	}
	if l.Name == Together {
		return "against " + l.Name
	}
	return "against the golden of " + l.Name
}

// bound names that of the layer.
func (l *Layer) bound() string {
	if l.Replay {
		return "the rounding bound"
	}
	return "the tolerance"
}

// class returns how the map shows a cell. The script has the same scale.
func (r *Run) class(l *Layer, at int) string {
	class := r.colour(l, at)
	if r.accepted(at) {
		class += " accepted"
	}
	return class
}

// colour returns the class of a cell's colour.
func (r *Run) colour(l *Layer, at int) string {
	switch l.Status[at] {
	case StatusNone:
		return "none"
	case StatusMissing:
		return "missing"
	case StatusSkipped, StatusDoubt, StatusAlone:
		return "grey"
	case StatusShape, StatusNonfinite:
		return "x"
	case StatusCheck:
		return "f1"
	}
	switch s := float64(l.Share[at]); {
	case l.Status[at] == StatusFail && s <= 1: // but for rounding, or of ids
		return "f1"
	case s == 0:
		return "s0"
	case s <= 0.01:
		return "s1"
	case s <= 0.1:
		return "s2"
	case s <= 1:
		return "s3"
	case s <= 10:
		return "f1"
	case s <= 100:
		return "f2"
	case s <= 1e4:
		return "f3"
	case s <= 1e300:
		return "f4"
	}
	return "x"
}

// mark returns what stands in a cell.
func (r *Run) mark(l *Layer, at int) string {
	mark := ""
	switch {
	case r.Marks[at] == MarkWrong:
		mark = "●"
	case r.Marks[at] == MarkUnused:
		mark = "◆"
	case l.Status[at] == StatusShape:
		mark = "S"
	case l.Status[at] == StatusNonfinite:
		mark = "N"
	case r.Marks[at] == MarkInherited:
		mark = "○"
	case r.Marks[at] == MarkUnknown:
		mark = "?"
	}
	if r.accepted(at) {
		mark += "a"
	}
	return mark
}

// accepted reports whether a cell's failure is passed over.
func (r *Run) accepted(at int) bool { return r.Accepted != "" && r.Accepted[at] == 'a' }

// statusWords and markWords are what statuses and marks mean. The script has the same.
var statusWords = map[byte]string{
	StatusNone: "not there", StatusPass: "within its bound", StatusDoubt: "within its bound, which says little",
	StatusFail: "outside its bound", StatusCheck: "fails its own check", StatusMissing: "missing",
	StatusShape: "of another shape", StatusNonfinite: "not finite", StatusSkipped: "not comparable",
	StatusAlone: "no golden",
}

var markWords = map[byte]string{
	MarkWrong: "computed wrong itself", MarkInherited: "inherited", MarkUnknown: "own computation cannot be judged",
	MarkUnused: "not used as it is dumped", MarkClean: "correct for its inputs",
}

// words returns a cell in words.
func (r *Run) words(l *Layer, at int) string {
	text := fmt.Sprintf("%s, %s: %s", r.Stages[at%len(r.Stages)].Name, r.Steps[at/len(r.Stages)].Label, statusWords[l.Status[at]])
	switch l.Status[at] {
	case StatusPass, StatusFail, StatusDoubt, StatusCheck:
		text += fmt.Sprintf(", error %s, %s", l.Error[at], shareOf(l.Share[at], l.bound()))
	}
	if own := markWords[r.Marks[at]]; own != "" {
		text += ", " + own
	}
	if r.accepted(at) {
		text += ", accepted"
	}
	return text
}

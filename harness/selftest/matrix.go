package selftest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/internal/words"
)

// A Matrix is the result of a selftest, and the command's JSON. No list in it is null.
type Matrix struct {
	Schema      int          `json:"schema"` // 1
	Verdict     string       `json:"verdict"`
	Model       string       `json:"model"`
	DType       string       `json:"dtype,omitempty"` // the precision of the runs, if it is not float32
	Faults      []Row        `json:"faults"`          // in the catalogue's order
	Cuts        []CutRow     `json:"cuts"`            // faults in runs cut otherwise than the goldens, or padded
	Clean       []CleanRow   `json:"clean"`           // of correct engines
	NotChecked  []string     `json:"not_checked"`     // correct engines without goldens, and how to make them
	Identities  []Identity   `json:"identities"`      // why faults change nothing where they were planted
	Equivalents []Equivalent `json:"equivalents"`     // faults that nothing told apart at a place
	Wrong       []string     `json:"wrong"`           // the runs that went wrong: the planted and the named
}

// A Row is one fault: alone, and in a pair with another.
type Row struct {
	Fault  string   `json:"fault"`
	Kinds  []string `json:"stages"` // of the stages it was planted in, layers as *
	Alone  Tally    `json:"alone"`
	Pairs  Tally    `json:"pairs"`
	Silent int      `json:"silent"` // places where the fault has no effect, so that nothing was planted

	// Most is the most rounding bounds that the fault moves a stage by where it need not be
	// seen, and MostAt such a kind of stage; in a precision other than float32.
	Most   harness.Float `json:"most,omitempty"`
	MostAt string        `json:"most_at,omitempty"`
}

// A Tally counts the injections of a fault.
type Tally struct {
	Planted    int `json:"planted"`
	Identity   int `json:"identity"`    // of these, such as changed nothing that can be seen, by Identities
	Detected   int `json:"detected"`    // the run failed
	StageRight int `json:"stage_right"` // exactly the stages planted in were named
	CauseRight int `json:"cause_right"` // the fault was named there, alone or among Equivalents
}

// Visible returns how many injections changed something.
func (t Tally) Visible() int { return t.Planted - t.Identity }

// right reports whether every visible injection was seen, placed and named.
func (t Tally) right() bool {
	n := t.Visible()
	return t.Detected == n && t.StageRight == n && t.CauseRight == n
}

// A CleanRow is a kind of correct engine.
type CleanRow struct {
	Variant string `json:"variant"`
	Runs    int    `json:"runs"`
	Tensors int    `json:"tensors"` // that were replayed
	Unknown int    `json:"unknown"` // of these, those that could not be judged
	Alarms  int    `json:"alarms"`  // runs in which a stage was called wrong
}

// An Equivalent is several faults that were named together, and where.
type Equivalent struct {
	Faults []string `json:"faults"`
	Kinds  []string `json:"stages"`
	Times  int      `json:"times"`
}

// Passed reports whether the verdict is a pass.
func (m *Matrix) Passed() bool { return m.Verdict == harness.VerdictPass }

// newMatrix returns the matrix of no runs.
func newMatrix(model string) *Matrix {
	m := &Matrix{
		Schema: 1, Model: model, Faults: []Row{}, Cuts: []CutRow{}, Clean: []CleanRow{}, NotChecked: []string{},
		Identities: slices.Clone(Identities), Equivalents: []Equivalent{}, Wrong: []string{},
	}
	for _, f := range faults.Catalogue() {
		m.Faults = append(m.Faults, Row{Fault: f.ID, Kinds: []string{}})
	}
	return m
}

// add enters the result of a run with faults.
func (m *Matrix) add(t trial, r result) {
	var visible []harness.Place
	for i, in := range t.planted {
		if r.effects[i] != silent && (slices.Contains(r.introduced, in.at) || m.mustSee(t, r, i)) {
			visible = append(visible, in.at)
		}
	}
	extra := slices.ContainsFunc(r.introduced, func(at harness.Place) bool { return !slices.Contains(visible, at) })
	exact := !extra && len(r.introduced) == len(visible)
	wrong := extra
	for i, in := range t.planted {
		row := m.row(in.ID)
		tally, none := &row.Alone, func() { row.Silent++ }
		switch {
		case t.cutting != nil && in.Kind != faults.Padding:
			cut := m.cutRow(t.cutting)
			tally, none = &cut.Faults, func() {}
			cut.shown[in.ID] = cut.shown[in.ID] || r.effects[i] != silent
		case len(t.planted) > 1:
			tally = &row.Pairs
		}
		if r.effects[i] == silent {
			none()
			continue
		}
		if kind := in.kind(); !slices.Contains(row.Kinds, kind) {
			row.Kinds = append(row.Kinds, kind)
		}
		tally.Planted++
		if !slices.Contains(visible, in.at) {
			tally.Identity++
			if excuse := identity(t, in, r.effects[i]); excuse >= 0 {
				m.Identities[excuse].Unseen++
			}
			if m.DType != "" && t.cutting == nil && (row.MostAt == "" || harness.Float(r.moved[i]) > row.Most) {
				row.Most, row.MostAt = harness.Float(r.moved[i]), in.kind()
			}
			continue
		}
		named := m.named(in, r.ids(in.at))
		count(&tally.Detected, slices.Contains(r.introduced, in.at))
		count(&tally.StageRight, exact)
		count(&tally.CauseRight, named)
		wrong = wrong || !named || !exact
	}
	if wrong {
		m.Wrong = append(m.Wrong, fmt.Sprintf("%s: named: %s", t, r))
	}
}

// mustSee reports whether a fault moves its stage so far that it has to be introduced.
func (m *Matrix) mustSee(t trial, r result, i int) bool {
	if m.DType != "" {
		return r.moved[i] > 2
	}
	return identity(t, t.planted[i], r.effects[i]) < 0
}

// count adds one to n if the answer is yes.
func count(n *int, yes bool) {
	if yes {
		*n++
	}
}

// row returns the row of a fault.
func (m *Matrix) row(id string) *Row {
	return &m.Faults[slices.IndexFunc(m.Faults, func(r Row) bool { return r.Fault == id })]
}

// named reports whether the fault is among those named at its place, and enters
// those named together as equivalents.
func (m *Matrix) named(in injection, ids []string) bool {
	slices.Sort(ids)
	if len(ids) > 1 {
		i := slices.IndexFunc(m.Equivalents, func(e Equivalent) bool { return slices.Equal(e.Faults, ids) })
		if i < 0 {
			i = len(m.Equivalents)
			m.Equivalents = append(m.Equivalents, Equivalent{Faults: ids})
		}
		e := &m.Equivalents[i]
		e.Times++
		if kind := in.kind(); !slices.Contains(e.Kinds, kind) {
			e.Kinds = append(e.Kinds, kind)
		}
	}
	return slices.Contains(ids, in.ID)
}

// ids returns the faults that were named at a place.
func (r result) ids(at harness.Place) (ids []string) {
	for _, x := range r.explanations {
		if x.Step == at.Step && x.Stage == at.Stage {
			ids = append(ids, cmp.Or(x.Fault, "no known fault"))
		}
	}
	return ids
}

// String lists the stages and causes that were named.
func (r result) String() string {
	if len(r.introduced) == 0 {
		return "no stage"
	}
	var parts []string
	for _, at := range r.introduced {
		parts = append(parts, fmt.Sprintf("%s (%s)", at, strings.Join(r.ids(at), ", ")))
	}
	return words.Some(parts, 4)
}

// addClean enters the result of a run without faults.
func (m *Matrix) addClean(t trial, r result) {
	i := slices.IndexFunc(m.Clean, func(row CleanRow) bool { return row.Variant == t.variant })
	if i < 0 {
		i = len(m.Clean)
		m.Clean = append(m.Clean, CleanRow{Variant: t.variant})
	}
	row := &m.Clean[i]
	row.Runs++
	row.Tensors += r.tensors
	row.Unknown += r.unknown
	if len(r.introduced) > 0 {
		row.Alarms++
		m.Wrong = append(m.Wrong, fmt.Sprintf("%s: nothing was planted, but named: %s", t, r))
	}
}

// judge sets the verdict: a pass if every fault of the catalogue was planted and seen
// somewhere, and nothing went wrong.
func (m *Matrix) judge() {
	for _, row := range m.Faults {
		switch {
		case row.Alone.Planted+row.Pairs.Planted == 0:
			m.Wrong = append(m.Wrong, row.Fault+": was planted nowhere")
		case row.Alone.Visible()+row.Pairs.Visible() == 0 && m.DType == "":
			m.Wrong = append(m.Wrong, row.Fault+": changed nothing wherever it was planted")
		}
	}
	for i := range m.Cuts {
		for _, id := range slices.Sorted(maps.Keys(m.Cuts[i].shown)) {
			if !m.Cuts[i].shown[id] {
				m.Cuts[i].Silent = append(m.Cuts[i].Silent, id)
			}
		}
	}
	m.Verdict = harness.VerdictPass
	if len(m.Wrong) > 0 {
		m.Verdict = harness.VerdictFail
	}
}

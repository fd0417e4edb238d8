package harness

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strings"

	"checkpoint12/harness/internal/words"
	"checkpoint12/model/regularfile"
	"checkpoint12/model/strictjson"
)

// Bounds are the rules of a file that says where an engine is known to deviate, and why that
// is all right. Of the rules that match a stage at a step the first holds. Nil has no rules.
type Bounds struct {
	File  string
	Rules []Rule
}

// A Rule gives stages at some steps another tolerance, or accepts that they are wrong.
type Rule struct {
	Stages string // a pattern of names, as in LeftOut
	Steps  string // "all", "0", "1-", "1-8", "2,5", or several of these with commas
	Why    string

	// Tolerance is that of the golden, and how much a replay allows where its rounding bound
	// is narrower. Ids, which compare exactly, have none.
	Tolerance Tolerance

	// Accept makes it a rule that accepts: whatever the cause, or only the Fault.
	Accept bool
	Fault  string
}

// maxBounds bounds the size of a file of rules.
const maxBounds = 1 << 20

// ReadBounds reads a file of rules. Errors name it.
func ReadBounds(path string) (*Bounds, error) {
	data, err := regularfile.Read(path, maxBounds)
	if err != nil {
		return nil, err
	}
	b, err := ParseBounds(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	b.File = path
	return b, nil
}

// ParseBounds parses a list of rules. Errors have the number of the rule.
func ParseBounds(data []byte) (*Bounds, error) {
	var list []struct {
		Stages string   `json:"stages"`
		Steps  *string  `json:"steps"`
		Abs    *float64 `json:"abs"`
		Rel    *float64 `json:"rel"`
		Accept *bool    `json:"accept"`
		Fault  *string  `json:"fault"`
		Why    string   `json:"why"`
	}
	if err := strictjson.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf(`%w: want a list of rules, [{"stages": …, "abs": …, "rel": …, "why": …}, …]`, err)
	}
	if len(list) == 0 {
		return nil, errors.New("no rule in it")
	}
	b := new(Bounds)
	for i, l := range list {
		r := Rule{Stages: l.Stages, Steps: "all", Why: strings.TrimSpace(l.Why)}
		if l.Steps != nil {
			r.Steps = *l.Steps
		}
		tolerance := l.Abs != nil || l.Rel != nil
		var err error
		switch {
		case r.Why == "":
			err = errors.New(`has no "why": give the reason`)
		case l.Accept != nil && !*l.Accept:
			err = errors.New(`"accept" is true or left out`)
		case tolerance == (l.Accept != nil):
			err = errors.New(`want a tolerance, "abs" or "rel" or both, or "accept": true, and not the two together`)
		case l.Fault != nil && (tolerance || *l.Fault == ""):
			err = errors.New(`"fault" is the name of one, beside "accept": true`)
		default:
			err = r.where().Check()
		}
		for _, v := range []*float64{l.Abs, l.Rel} {
			if err == nil && v != nil && !(*v >= 0 && *v <= math.MaxFloat32) {
				err = fmt.Errorf("%v is no tolerance: want 0 or more", *v)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("rule %d (stages %.80q): %w", i+1, l.Stages, err)
		}
		r.Tolerance = Tolerance{*cmp.Or(l.Abs, new(float64)), *cmp.Or(l.Rel, new(float64)), "by --bounds: " + r.Why}
		r.Accept, r.Fault = l.Accept != nil, *cmp.Or(l.Fault, new(string))
		b.Rules = append(b.Rules, r)
	}
	return b, nil
}

// where returns the places that the rule is for.
func (r Rule) where() LeftOut { return LeftOut{Stages: r.Stages, Steps: r.Steps, Reason: r.Why} }

// Covers reports whether the rule is for a place, of ids or not.
func (r Rule) Covers(at Place, ids bool) bool {
	return (r.Accept || !ids) && r.where().Covers(at.Step, at.Stage)
}

// first returns the first rule that is for a place, and its index; -1 if there is none.
func (b *Bounds) first(at Place, ids bool) (Rule, int) {
	if b != nil {
		for i, r := range b.Rules {
			if r.Covers(at, ids) {
				return r, i
			}
		}
	}
	return Rule{}, -1
}

// Tolerance returns what a rule allows at a place; ok is false if none does.
func (b *Bounds) Tolerance(at Place, ids bool) (t Tolerance, ok bool) {
	r, i := b.first(at, ids)
	return r.Tolerance, i >= 0 && !r.Accept
}

// Accepts returns the reason of a rule that accepts a place whatever the cause, or "".
func (b *Bounds) Accepts(at Place, ids bool) string {
	if r, _ := b.first(at, ids); r.Accept && r.Fault == "" {
		return r.Why
	}
	return ""
}

// AskCause reports whether the cause decides if a rule accepts a place of values.
func (b *Bounds) AskCause(at Place) bool {
	r, _ := b.first(at, false)
	return r.Accept && r.Fault != ""
}

// stage returns a stage as it is judged at a step. Where a rule gives the tolerance, the
// stage's own Check, which has one too, is left to the replay.
func (b *Bounds) stage(st Stage, step int) Stage {
	if t, ok := b.Tolerance(Place{step, st.Name}, st.IDs); ok {
		st.Tolerance, st.Check = t, nil
	}
	return st
}

// CheckUsed returns an error for the first rule of which no stage was compared, or replayed,
// in any of the reports.
func (b *Bounds) CheckUsed(reports ...*Report) error {
	if b == nil {
		return nil
	}
	used := make([]bool, len(b.Rules))
	use := func(row *Row) {
		for i, r := range b.Rules {
			used[i] = used[i] || row.Status.Compared() && !row.OfGolden() && r.Covers(row.Place, row.IDs)
		}
	}
	for _, r := range reports {
		for i := range r.Stages {
			use(&r.Stages[i])
		}
		for i := range r.Replayed {
			use(&r.Replayed[i].Row)
		}
		for _, a := range r.accepted {
			for _, i := range a.rules {
				used[i] = true
			}
		}
	}
	for i, r := range b.Rules {
		if !used[i] {
			return fmt.Errorf("%s: rule %d (stages %q, steps %s): no stage of it was compared: mend it or leave it out",
				b.File, i+1, r.Stages, r.Steps)
		}
	}
	return nil
}

// Lines says of each rule what it has done in a report, of one that gives a tolerance how
// many tensors were held to it.
func (b *Bounds) Lines(reports ...*Report) (lines []string) {
	if b == nil {
		return nil
	}
	own, inherited, held := make([]int, len(b.Rules)), make([]int, len(b.Rules)), make([]int, len(b.Rules))
	other := make([]string, len(b.Rules)) // where the cause is another
	for _, r := range reports {
		for _, at := range r.acceptedPlaces() {
			a := r.accepted[at]
			if a.inherited {
				inherited[a.rules[0]]++
			} else {
				own[a.rules[0]]++
			}
		}
		for i := range r.Stages {
			row := &r.Stages[i]
			if rule, n := b.first(row.Place, row.IDs); n >= 0 && !rule.Accept && row.Status.Compared() {
				held[n]++
			}
		}
		for _, in := range r.Introduced {
			at := Place{in.Step, in.Stage}
			if rule, n := b.first(at, false); n >= 0 && rule.Accept && in.Accepted == "" && other[n] == "" {
				other[n] = fmt.Sprintf("not at %s, whose cause is not %s alone", at, rule.Fault)
			}
		}
	}
	for i, r := range b.Rules {
		name := fmt.Sprintf("rule %d of %s (%s", i+1, b.File, r.Stages)
		if r.Steps != "all" {
			name += ", steps " + r.Steps
		}
		line := name + fmt.Sprintf(", abs %g, rel %g) is the tolerance of %s: %s",
			r.Tolerance.Abs, r.Tolerance.Rel, words.Count(held[i], "tensor"), r.Why)
		if r.Accept {
			if r.Fault != "" {
				name += ", " + r.Fault
			}
			line = name + fmt.Sprintf(") accepts %s", words.Count(own[i], "tensor"))
			if inherited[i] > 0 {
				line += fmt.Sprintf(" and %d that only inherit", inherited[i])
			}
			line += ": " + r.Why
			if other[i] != "" {
				line += "; " + other[i]
			}
		}
		lines = append(lines, line)
	}
	return lines
}

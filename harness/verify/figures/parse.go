package figures

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"

	"checkpoint12/model/strictjson"
)

// Parse reads a file of figures. A key that is unknown or there twice, a figure without
// source or a tolerance without reason is an error that names the place: a figure passed
// over by a mistyped key would be a check that cannot fail.
func Parse(data []byte) (*File, error) {
	f := new(File)
	if err := strictjson.Unmarshal(data, f); err != nil {
		return nil, err
	}
	switch {
	case f.Schema != 2:
		return nil, fmt.Errorf("schema %d, want 2", f.Schema)
	case len(f.Models) == 0:
		return nil, errors.New("models: there is none")
	}
	for _, model := range slices.Sorted(maps.Keys(f.Models)) {
		if len(f.Models[model]) == 0 {
			return nil, fmt.Errorf("%s: no figures", model)
		}
		seen := map[[2]string]bool{}
		for i := range f.Models[model] {
			g := &f.Models[model][i]
			if err := g.check(); err != nil {
				return nil, fmt.Errorf("%s: figure %d, %.80q: %w", model, i, g.Name, err)
			}
			key := [2]string{g.Name, g.Stage}
			if seen[key] {
				return nil, fmt.Errorf("%s: figure %d, %.80q of %.80q: there twice", model, i, g.Name, g.Stage)
			}
			seen[key] = true
		}
	}
	return f, nil
}

// Array is numbers in lists of lists, each of the same length as its neighbours.
type Array struct {
	Shape  []int
	Values []float64
}

// UnmarshalJSON reads a number, or lists of numbers of equal lengths.
func (a *Array) UnmarshalJSON(data []byte) error {
	if data[0] != '[' {
		if a.Shape, a.Values = nil, make([]float64, 1); string(data) == "null" {
			return errors.New("null for a number")
		}
		return json.Unmarshal(data, &a.Values[0])
	}
	var parts []Array
	if err := json.Unmarshal(data, &parts); err != nil {
		return err
	}
	if len(parts) == 0 {
		return errors.New("an empty list")
	}
	a.Shape, a.Values = append([]int{len(parts)}, parts[0].Shape...), nil
	for _, p := range parts {
		if !slices.Equal(p.Shape, parts[0].Shape) {
			return fmt.Errorf("lists of different lengths in %.40s", data)
		}
		a.Values = append(a.Values, p.Values...)
	}
	return nil
}

// IDs returns the values as integers.
func (a Array) IDs() []int {
	ids := make([]int, len(a.Values))
	for i, v := range a.Values {
		ids[i] = int(v)
	}
	return ids
}

// Want is numbers or, of texts, hashes and commits, a string.
type Want struct {
	Array
	Text string
}

// UnmarshalJSON reads a string, or what an Array reads.
func (w *Want) UnmarshalJSON(data []byte) error {
	if data[0] == '"' {
		return json.Unmarshal(data, &w.Text)
	}
	return w.Array.UnmarshalJSON(data)
}

var (
	nameForm = regexp.MustCompile(`^[a-z0-9_]+\.[a-z0-9][A-Za-z0-9_.-]*$`)
	hexForm  = regexp.MustCompile(`^[0-9a-f]+$`)
)

// check returns what is wrong with the figure, as far as that can be told without
// the model.
func (f *Figure) check() error {
	t := f.Tolerance
	switch {
	case !nameForm.MatchString(f.Name):
		return errors.New(`name: want one such as "logits.top3"`)
	case strings.TrimSpace(f.Source) == "":
		return errors.New("no source")
	case f.Exact() && t != (Tolerance{}):
		return fmt.Errorf("%s is exact: want no tolerance", f.Reduce)
	case f.Exact():
	case !(t.Abs >= 0) || !(t.Rel >= 0) || !(t.Scale >= 0) || math.IsInf(t.Abs+t.Rel+t.Scale, 0) || t.Abs+t.Rel == 0:
		return fmt.Errorf("abs %v, rel %v, scale %v: want none negative, abs or rel positive", t.Abs, t.Rel, t.Scale)
	case strings.TrimSpace(t.Reason) == "":
		return errors.New("no reason for the tolerance")
	}
	if err := f.checkRun(); err != nil {
		return err
	}
	return f.checkWant()
}

// checkRun checks what the model is run on, and what is looked at.
func (f *Figure) checkRun() error {
	ids := slices.Concat(append(slices.Clone(f.Tokens), f.Prefix)...)
	switch {
	case f.Reduce.OfWeights():
		if f.Tokens != nil || f.Text != "" || f.Prefix != nil || f.Row != nil || f.Index.Values != nil {
			return errors.New("tokens, text, prefix, row and index are not for weights")
		}
	case (f.Text == "") == (f.Tokens == nil):
		return errors.New("want either text or tokens")
	case f.Tokens != nil && len(ids) == 0:
		return errors.New("no tokens")
	case f.Prefix != nil && (f.Text == "" || len(ids) == 0):
		return errors.New("prefix: want ids before a text")
	case len(ids) > 0 && slices.Min(ids) < 0 ||
		slices.ContainsFunc(f.Tokens, func(row []int) bool { return len(row) != len(f.Tokens[0]) }):
		return errors.New("tokens: want ids, in rows of one length")
	case f.Stage == "" && !f.Reduce.OfText():
		return errors.New("no stage")
	case f.Row != nil && f.Reduce != Value && f.Reduce != L2 && f.Reduce != LogSumExp:
		return fmt.Errorf("row: %s takes none", f.Reduce)
	}
	if (f.New > 0) != f.Reduce.OfText() || f.New < 0 {
		return fmt.Errorf("new %d: want how many tokens to generate, for a text alone", f.New)
	}
	return nil
}

// checkWant checks what the reduce asks of Index and Want.
func (f *Figure) checkWant() error {
	want, w := f.Want.Text, f.Want.Values
	isText := f.Reduce == Text || f.Reduce == SHA256 || f.Reduce == Commit
	if isText != (want != "") || isText != (w == nil) {
		return fmt.Errorf("want: %s is of another kind", f.Reduce)
	}
	whole := func(values []float64, least float64) bool {
		return !slices.ContainsFunc(values, func(v float64) bool { return v < least || v != math.Trunc(v) || v > 1<<53 })
	}
	switch indexed := len(f.Index.Values) > 0; {
	case !whole(f.Index.Values, -1):
		return errors.New("index: want indices, or -1 for the last")
	case indexed && !slices.Contains([]Reduce{Value, Log, LogSum, NLL}, f.Reduce), !indexed && f.Reduce == NLL,
		!indexed && (f.Reduce == Log || f.Reduce == LogSum) && f.Prefix == nil:
		return fmt.Errorf("index: %s takes none, or needs one", f.Reduce)
	}
	switch f.Reduce {
	case Value, L2, LogSumExp:
	case NLL:
		if len(f.Index.Shape) != 2 || f.Index.Shape[0] != max(1, len(f.Tokens)) ||
			f.Tokens != nil && f.Index.Shape[1] > len(f.Tokens[0]) {
			return errors.New("index: want a label for each of the first tokens of each row")
		}
	case Log, LogSum:
		if slices.Max(w) > 0 {
			return fmt.Errorf("want: the logarithm %v is more than 0", slices.Max(w))
		}
	case Top, AbsMax, Bytes:
		if !whole(w, 0) {
			return fmt.Errorf("want: %s is whole numbers", f.Reduce)
		}
	case Tokens:
		n := len(f.Tokens)
		if n != 1 || !whole(w, 0) || len(w) != len(f.Tokens[0])+f.New ||
			!slices.Equal(f.Want.IDs()[:len(f.Tokens[0])], f.Tokens[0]) {
			return fmt.Errorf("want: not one row of tokens and %d new ones", f.New)
		}
	case Text:
		if f.Text == "" || len(want) <= len(f.Text) || !strings.HasPrefix(want, f.Text) {
			return errors.New("want: does not go on from text")
		}
	case SHA256, Commit:
		digits := map[Reduce]int{SHA256: 64, Commit: 40}[f.Reduce]
		if len(want) != digits || !hexForm.MatchString(want) {
			return fmt.Errorf("want: a %s has %d hexadecimal digits", f.Reduce, digits)
		}
	case Moments:
		if len(w) != 4 || w[1] < 0 || w[2] > w[3] || len(f.Shape) == 0 || slices.Min(f.Shape) < 1 {
			return errors.New("want: not the sum, sum of squares, minimum and maximum of a weight with a shape")
		}
	default:
		return fmt.Errorf("reduce %q: no such reduction", f.Reduce)
	}
	return nil
}

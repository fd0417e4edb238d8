package dump

import (
	"fmt"
	"slices"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/shapes"
)

// readIDs reads a file that belongs to no step, and notes how it was converted.
func (d *Dump) readIDs(path string, notes *[]string) (label string, t harness.Tensor, err error) {
	label = d.archives.label(d.dir, path)
	f, err := d.openFile(path)
	if err != nil {
		return label, t, err
	}
	defer f.Close()
	if t, err = f.Tensor(); err == nil && f.Note != "" {
		*notes = append(*notes, label+": "+f.Note)
	}
	return label, t, err
}

// tokenRows returns the tokens at path as rows. They must be ids [B, L],
// not negative, none empty, and begin with those of the manifest, which may be nil.
func tokenRows(path string, t harness.Tensor, man *harness.Manifest) ([][]int, error) {
	if !t.IDs() {
		return nil, fmt.Errorf("%s: holds %s, but tokens are ids: np.save(%q, a.astype('<i8'))", path, t.DType(), path)
	}
	if len(t.Shape) != 2 || len(t.I64) == 0 {
		return nil, fmt.Errorf("%s: shape %v, want [B, prompt + new]: np.save(%q, a.reshape(B, -1))",
			path, t.Shape, path)
	}
	rows := make([][]int, t.Shape[0])
	for i, id := range t.I64 {
		if id < 0 {
			return nil, fmt.Errorf("%s: id %d at index %v is negative", path, id, shapes.Index(i, t.Shape))
		}
		rows[i/t.Shape[1]] = append(rows[i/t.Shape[1]], int(id))
	}
	return rows, checkTokens(path, rows, man)
}

// addedMask makes a mask of one that is added to scores: 0 for a token, a large negative
// number or -inf for padding.
const addedMask = "(a == 0).astype('<i8')"

// maskRows returns the mask at path: 1 for each of the tokens, 0 for padding. It may lack the
// last, which an engine chose and was not fed.
func maskRows(path string, t harness.Tensor, tokens [][]int) ([][]int, error) {
	if tokens == nil {
		return nil, fmt.Errorf("%s: there is no %s whose padding it could tell: write the ids [B, N] as well",
			path, harness.TokensFile)
	}
	B, N := len(tokens), len(tokens[0])
	n := N
	if slices.Equal(t.Shape, []int{B, N - 1}) {
		n--
	}
	switch {
	case !t.IDs():
		call := "a.astype('<i8')"
		if !slices.Contains(t.F32, 1) { // it is added to the scores: 0 for a token
			call = addedMask
		}
		return nil, fmt.Errorf("%s: holds %s, but a mask is of 1 and 0: np.save(%q, %s)", path, t.DType(), path, call)
	case n == 0 || !slices.Equal(t.Shape, []int{B, n}):
		return nil, fmt.Errorf("%s: shape %v, want %v, as %s: 1 for each token, the new ones too, and 0 for padding",
			path, t.Shape, []int{B, N}, harness.TokensFile)
	}
	rows := make([][]int, B)
	for i, v := range t.I64 {
		if v < 0 {
			return nil, fmt.Errorf("%s: %d at index %v, want 1 for a token and 0 for padding: np.save(%q, %s)",
				path, v, shapes.Index(i, t.Shape), path, addedMask)
		}
		if v > 1 {
			return nil, fmt.Errorf("%s: %d at index %v, want 1 for a token and 0 for padding", path, v, shapes.Index(i, t.Shape))
		}
		rows[i/n] = append(rows[i/n], int(v))
	}
	for i, row := range rows {
		if !slices.Contains(row, 1) {
			return nil, fmt.Errorf("%s: row %d has no token, only padding: leave it out", path, i)
		}
		if n < N {
			rows[i] = append(row, 1)
		}
	}
	return rows, nil
}

// checkTokens returns an error unless the tokens at path begin with those of the
// manifest, if it has any.
func checkTokens(path string, rows [][]int, man *harness.Manifest) error {
	if man == nil || len(man.Tokens) == 0 {
		return nil
	}
	got, n := []int{len(rows), len(rows[0])}, len(man.Tokens[0])
	if want := []int{len(man.Tokens), n + man.New}; !slices.Equal(got, want) {
		return fmt.Errorf("%s: shape %v, but %s says %v: prompt and %d new", path, got, ManifestFile, want, man.New)
	}
	if diff := cmp.Diff(man.Tokens, harness.FirstTokens(rows, n)); diff != "" {
		line := fmt.Sprintf("%s: does not begin with the tokens that %s says", path, ManifestFile)
		return &harness.DiffError{Line: line, Diff: diff}
	}
	return nil
}

package harness

import "fmt"

// TokensFile is the name of the ids in a dump.
const TokensFile = "tokens.npy"

// TokenTensor makes rows of ids a tensor [B, L].
func TokenTensor(rows [][]int) (Tensor, error) {
	if len(rows) == 0 || len(rows[0]) == 0 {
		return Tensor{}, fmt.Errorf("tokens: no ids")
	}
	t := Tensor{Shape: []int{len(rows), len(rows[0])}}
	for i, row := range rows {
		if len(row) != len(rows[0]) {
			return Tensor{}, fmt.Errorf("tokens: row %d has %d ids, row 0 has %d", i, len(row), len(rows[0]))
		}
		for _, id := range row {
			if id < 0 {
				return Tensor{}, fmt.Errorf("tokens: id %d in row %d is negative", id, i)
			}
			t.I64 = append(t.I64, int64(id))
		}
	}
	return t, nil
}

// TokenRows returns the first n ids of each row.
func TokenRows(t Tensor, n int) [][]int {
	rows := make([][]int, t.Shape[0])
	for i := range rows {
		rows[i] = make([]int, n)
		for j := range n {
			rows[i][j] = int(t.I64[i*t.Shape[1]+j])
		}
	}
	return rows
}

// DiffError is an error of one line with a longer account of what differs, by
// go-cmp, where - was wanted and + is there.
type DiffError struct {
	Line string
	Diff string
	Err  error // may be nil
}

// Error returns the line alone.
func (e *DiffError) Error() string { return e.Line }

// Unwrap returns the error behind it, if there is one.
func (e *DiffError) Unwrap() error { return e.Err }

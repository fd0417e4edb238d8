// Package replay recomputes each stage from the candidate's own inputs and
// reports whether its own computation is wrong.
package replay

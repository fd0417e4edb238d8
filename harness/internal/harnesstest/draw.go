package harnesstest

import "os"

// Full reports whether tests are to run their tables whole, as .ci/run has them: if
// $CHECKPOINT12_FULL is set. Else a sample of a table that takes long will do.
func Full() bool { return os.Getenv("CHECKPOINT12_FULL") != "" }

// Draw returns all of a table if Full, else every n-th element of it from the given one on.
func Draw[E any](all []E, from, n int) (some []E) {
	if Full() {
		return all
	}
	for i := from; i < len(all); i += n {
		some = append(some, all[i])
	}
	return some
}

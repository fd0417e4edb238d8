package faults

import (
	"sync/atomic"
	"testing"
)

// CountRuns counts how often a fault of the catalogue is computed, until the test
// ends.
func CountRuns(t *testing.T, id string) *atomic.Int64 {
	var n atomic.Int64
	for i, f := range catalogue {
		if f.ID != id {
			continue
		}
		catalogue[i].Run = func(c *Context) [][]float32 {
			n.Add(1)
			return f.Run(c)
		}
		t.Cleanup(func() { catalogue[i].Run = f.Run })
	}
	return &n
}

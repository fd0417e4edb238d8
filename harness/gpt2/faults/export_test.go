package faults

import (
	"slices"
	"sync/atomic"
	"testing"
)

// CountRuns counts how often a fault of the catalogue is computed, until the test
// ends.
func CountRuns(t *testing.T, id string) *atomic.Int64 {
	var n atomic.Int64
	i := slices.IndexFunc(catalogue, func(f Fault) bool { return f.ID == id })
	usual := catalogue[i].variants
	catalogue[i].variants = []variant{func(c *Context) []float32 {
		n.Add(1)
		return usual[0](c)
	}}
	t.Cleanup(func() { catalogue[i].variants = usual })
	return &n
}

// Fail makes a fault of the catalogue panic until the test ends.
func Fail(t *testing.T, id string) {
	i := slices.IndexFunc(catalogue, func(f Fault) bool { return f.ID == id })
	usual := catalogue[i].variants
	catalogue[i].variants = []variant{func(*Context) []float32 { panic("a mistake") }}
	t.Cleanup(func() { catalogue[i].variants = usual })
}

// MaxSearches and MostSearches say how many rows are searched in vain.
const MaxSearches = maxSearches

var MostSearches = mostSearches

// Package ceiling measures how fast a processor multiplies and reads at most, which no
// forward pass exceeds.
package ceiling

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// FMA returns how many float32 operations a second so many threads do in multiply-adds whose
// operands are in registers, measured for some milliseconds; NaN on a processor without AVX2 and
// FMA.
func FMA(threads int) float64 {
	const rounds = 1 << 21
	if !available {
		return math.NaN()
	}
	var done atomic.Int64
	seconds := together(threads, func(int) { done.Add(int64(multiplyAdd(rounds))) })
	return float64(done.Load()) / seconds
}

// Read returns how many bytes a second so many threads read of the values, each thread a share of
// every slice, by the fastest of several loops, which differ in streams and prefetch; NaN on a
// processor without AVX2. Each loop reads all of it once.
func Read(threads int, values [][]float32) float64 {
	const line = 128 // values: what the widest loop reads at a time
	best := math.NaN()
	for _, loop := range loops {
		read := 0
		for _, v := range values {
			read += 4 * (len(v) / threads / line * line) * threads
		}
		seconds := together(threads, func(thread int) {
			for _, v := range values {
				if n := len(v) / threads / line * line; n > 0 {
					loop(&v[thread*n], 4*n)
				}
			}
		})
		if speed := float64(read) / seconds; !(speed <= best) {
			best = speed
		}
	}
	return best
}

// together runs f on so many goroutines and returns the seconds until all have ended.
func together(threads int, f func(thread int)) float64 {
	var all sync.WaitGroup
	begin := time.Now()
	for thread := range threads {
		all.Go(func() { f(thread) })
	}
	all.Wait()
	return time.Since(begin).Seconds()
}

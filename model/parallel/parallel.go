// Package parallel runs loops on all cores.
package parallel

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// For calls f for every i from 0 to n-1, on all cores, and waits for all calls.
func For(n int, f func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				f(int(i))
			}
		})
	}
	wg.Wait()
}

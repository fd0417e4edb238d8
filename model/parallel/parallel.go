// Package parallel runs loops on all cores, and outlives the loss of mapped memory.
package parallel

import (
	"errors"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// ErrLost is the error of reading memory that is gone: only weights are mapped.
var ErrLost = errors.New("the file of the weights became shorter while it was in use")

// Protect calls f and returns ErrLost, where else the process would end, if f reads what
// a mapped file held before it became shorter. A goroutine that f starts needs its own
// Protect; it may pass ErrLost on to f's as a panic.
func Protect(f func()) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		r := recover()
		if _, ok := r.(interface{ Addr() uintptr }); ok || r == ErrLost {
			err = ErrLost
		} else if r != nil {
			panic(r)
		}
	}()
	f()
	return nil
}

// For calls f for every i from 0 to n-1, on all cores, and waits for all calls.
func For(n int, f func(i int)) {
	var next atomic.Int64
	var lost atomic.Bool
	var wg sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			if Protect(func() {
				for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
					f(int(i))
				}
			}) != nil {
				lost.Store(true)
			}
		})
	}
	wg.Wait()
	if lost.Load() {
		panic(ErrLost)
	}
}

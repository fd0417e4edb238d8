// Package kernel holds the arithmetic of the forward pass and its pool of goroutines.
//
// Each output value is the same sequence of float32 operations for any number of
// threads and of rows computed beside it, in every run on the same CPU; another CPU's
// vector width may change the order of a dot product. No function allocates once a
// Pool has seen the sizes at hand. NaN and infinities propagate as in IEEE arithmetic.
// A slice that does not fit panics.
package kernel

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// A Task is work in parts that may run in any order and at the same time.
type Task interface {
	// Part does part i, with the scratch space of that worker.
	Part(i, worker int)
}

// Pool runs tasks on a fixed number of goroutines, for one caller at a time. It
// keeps a task of every kernel and scratch space, so that kernels allocate nothing.
type Pool struct {
	*workers

	mul  mulTask
	norm normTask
	gelu geluTask
}

// workers is what the goroutines hold on to, so that an abandoned Pool is collected.
type workers struct {
	threads int
	task    Task
	parts   int64
	next    atomic.Int64   // the first part nobody has taken
	wake    chan int       // invitations, each with a worker's number
	busy    sync.WaitGroup // invitations not yet answered
	scratch [][]float32    // [threads+1][whatever was asked for]
}

// NewPool returns a pool of so many threads, or of GOMAXPROCS if that is 0 or less.
func NewPool(threads int) *Pool {
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	w := &workers{threads: threads, wake: make(chan int, threads), scratch: make([][]float32, threads+1)}
	for range threads - 1 {
		go w.loop()
	}
	p := &Pool{workers: w}
	runtime.AddCleanup(p, func(wake chan int) { close(wake) }, w.wake)
	return p
}

// serialWork is the number of multiplications below which one goroutine is faster.
const serialWork = 1 << 15

// Do runs all parts of t. work is about how many multiplications they take together.
func (w *workers) Do(t Task, parts, work int) {
	helpers := min(w.threads, parts) - 1
	if helpers <= 0 || work < serialWork {
		for i := range parts {
			t.Part(i, 0)
		}
		return
	}
	w.task, w.parts = t, int64(parts)
	w.next.Store(0)
	w.busy.Add(helpers)
	for worker := 1; worker <= helpers; worker++ {
		w.wake <- worker
	}
	w.work(0)
	for { // nothing is left: whoever is still asleep may sleep on
		select {
		case <-w.wake:
			w.busy.Done()
			continue
		default:
		}
		break
	}
	w.busy.Wait()
	w.task = nil
}

func (w *workers) loop() {
	for worker := range w.wake {
		w.work(worker)
		w.busy.Done()
	}
}

func (w *workers) work(worker int) {
	for {
		i := w.next.Add(1) - 1
		if i >= w.parts {
			return
		}
		w.task.Part(int(i), worker)
	}
}

// space returns n values of scratch for a worker or, past the last, for the whole task.
func (w *workers) space(worker, n int) []float32 {
	if cap(w.scratch[worker]) < n {
		w.scratch[worker] = make([]float32, n)
	}
	return w.scratch[worker][:n]
}

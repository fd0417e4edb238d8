// Package kernel holds the arithmetic of the forward pass and its pool of goroutines.
//
// Each output value is the same sequence of float32 operations for any number of
// threads and of rows computed beside it, in every run with the same kernels on the same
// CPU; others may change the order of a dot product. No function allocates once a
// Pool has seen the sizes at hand. NaN and infinities propagate as in IEEE arithmetic.
// A slice that does not fit panics.
package kernel

import (
	"runtime"
	"sync"
	"sync/atomic"

	"checkpoint12/model/parallel"
)

// A Task is work in parts that may run in any order and at the same time.
type Task interface {
	// Part does part i.
	Part(i int)
}

// Pool runs tasks on several goroutines, for one caller at a time. It keeps a task of
// every kernel and scratch space, so that kernels allocate nothing.
//
// A helper looks out for the next task for a while before it ends, and the caller waits only
// for helpers that have begun, so that stages may be short.
type Pool struct {
	threads int
	task    Task
	parts   int64
	next    atomic.Int64 // the first part nobody has taken
	work    func()       // does parts until none is left
	help    func()       // takes a seat at tasks while they come
	seats   atomic.Int64 // how many helpers may still join the task
	idle    atomic.Int64 // how many helpers look out for a seat
	lost    atomic.Bool  // a part could not be done, for parallel.ErrLost
	joined  sync.WaitGroup
	scratch []float32
	free    chan []float32 // for each thread scratch space, or nil until it is taken

	mul  mulTask
	norm normTask
	each eachTask
}

// NewPool returns a pool of so many threads, or of GOMAXPROCS if that is 0 or less.
func NewPool(threads int) *Pool {
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	p := &Pool{threads: threads}
	p.refill()
	parts := func() {
		for i := p.next.Add(1) - 1; i < p.parts; i = p.next.Add(1) - 1 {
			p.task.Part(int(i))
		}
	}
	p.work = func() {
		if parallel.Protect(parts) != nil {
			p.lost.Store(true)
		}
	}
	p.help = func() {
		for looks := 0; looks < lookouts; looks++ {
			if p.sit() {
				p.idle.Add(-1)
				p.work()
				p.idle.Add(1)
				p.joined.Done()
				looks = 0
			} else if looks%64 == 63 {
				runtime.Gosched()
			}
		}
		p.idle.Add(-1)
	}
	return p
}

const (
	// serialWork is the number of multiplications below which one goroutine is faster.
	serialWork = 1 << 15
	// lookouts is how often a helper looks for a task before it ends, some tenth of a millisecond.
	lookouts = 1 << 14
)

// sit takes a seat at the task, if one is free.
func (p *Pool) sit() bool {
	for n := p.seats.Load(); n > 0; n = p.seats.Load() {
		if p.seats.CompareAndSwap(n, n-1) {
			return true
		}
	}
	return false
}

// Do runs all parts of t. work is about how many multiplications they take together.
func (p *Pool) Do(t Task, parts, work int) {
	helpers := 0
	if work >= serialWork {
		helpers = max(0, min(p.threads, parts)-1)
	}
	p.task, p.parts = t, int64(parts)
	p.next.Store(0)
	p.joined.Add(helpers)
	for p.seats.Store(int64(helpers)); p.idle.Load() < int64(helpers); {
		p.idle.Add(1)
		go p.help()
	}
	p.work()
	for p.sit() { // nobody is needed any more
		p.joined.Done()
	}
	p.joined.Wait()
	p.task = nil
	if p.lost.Swap(false) {
		p.refill()
		panic(parallel.ErrLost)
	}
}

// space returns n values of scratch, for one task.
func (p *Pool) space(n int) []float32 {
	if cap(p.scratch) < n {
		p.scratch = make([]float32, n)
	}
	return p.scratch[:n]
}

// refill lets every thread make scratch space anew, after a part that did not give it back too.
func (p *Pool) refill() {
	p.free = make(chan []float32, p.threads)
	for range p.threads {
		p.free <- nil
	}
}

// take returns scratch space for one part: panels of a block, and sums of all rows that pass, or
// one tile of y and one of x.
func (p *Pool) take() []float32 {
	s := <-p.free
	if s == nil {
		s = make([]float32, (blockK+passRows)*panelCols)
	}
	return s
}

// give takes back what take returned.
func (p *Pool) give(s []float32) { p.free <- s }

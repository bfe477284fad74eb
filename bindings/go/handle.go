package treecache

import (
	"runtime"
	"sync/atomic"
)

// A handle guards something that C made: calls may use it from any goroutine, and it is freed once, by whoever is the
// last to have to do with it after it was closed. So closing never waits for a call, and no call meets what was freed.
type handle struct {
	state     atomic.Int64 // closedBit, and userUnit for each call under way
	interrupt func()       // ends the calls that wait; nil when none does
	free      func()
}

const (
	closedBit = 1
	userUnit  = 2
)

// newHandle returns the guard of what owner stands for. When owner is forgotten without having been closed, the garbage
// collector closes it; interrupt and free must not refer to owner.
func newHandle[T any](owner *T, interrupt, free func()) *handle {
	h := &handle{interrupt: interrupt, free: free}
	// In a goroutine of its own, as ending a session may take a moment.
	runtime.AddCleanup(owner, func(h *handle) { go h.close() }, h)
	return h
}

// acquire begins a call, and tells whether there is anything left to call. Each true one needs a release. In a call that
// waits, that is a deferred method of the owner, which keeps the owner alive: the garbage collector would end the wait.
func (h *handle) acquire() bool {
	for {
		state := h.state.Load()
		if state&closedBit != 0 {
			return false
		}
		if h.state.CompareAndSwap(state, state+userUnit) {
			return true
		}
	}
}

func (h *handle) release() {
	if h.state.Add(-userUnit) == closedBit {
		h.free()
	}
}

func (h *handle) closed() bool {
	return h.state.Load()&closedBit != 0
}

// close lets no call begin any more, and ends those that wait. The first close does it all.
func (h *handle) close() {
	for {
		state := h.state.Load()
		if state&closedBit != 0 {
			return
		}
		// The closer is a user itself while it interrupts the others.
		if h.state.CompareAndSwap(state, (state|closedBit)+userUnit) {
			break
		}
	}
	if h.interrupt != nil {
		h.interrupt()
	}
	h.release()
}

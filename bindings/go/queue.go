package treecache

// #include "bridge.h"
import "C"

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"
)

// A Queue is what a cache has to tell, from the tree so far on. What waits in it is bounded: a consumer that lags by
// more than its capacity continues with the difference between what it took out last and the newest version. So it is
// slow at its own cost, and never at that of the cache or of another queue.
type Queue struct {
	c      *C.tcgo_queue
	cache  *Cache
	handle *handle

	// A descriptor that becomes readable when there is something to take out, and with it Go's poller, which waits for
	// it without a thread.
	file  *os.File
	ready syscall.RawConn

	turn chan struct{} // held by the one goroutine that deals with the batch
	next int           // of the batch
}

// Queue opens a queue: the tree so far first, as [NodeAdded] (and [Initialized] when the cache is), then what follows,
// without gap or duplicate; or what of that the options leave, such as [WithUnder] and [WithEvents]. Before or after
// [Cache.Start].
//
// Errors: [ErrInvalidArgument] for settings; [ErrConnection] when there is no descriptor left; [ErrClosed].
func (c *Cache) Queue(options ...QueueOption) (*Queue, error) {
	const op = "queue"
	cfg, err := newConfig(op, options, QueueOption.forQueue)
	if err != nil {
		return nil, err
	}
	defer cfg.free()
	if !c.handle.acquire() {
		return nil, closedError(op, c.name)
	}
	defer c.leave()
	var tq *C.tc_queue
	var why *C.tc_error
	status := C.tc_queue_open_or_error(c.c, cfg.c, &tq, &why)
	if err := cfg.failure(status, why); err != nil {
		return nil, err
	}
	q := C.tcgo_queue_new(tq)
	file, ready, err := descriptor(q)
	if err != nil {
		C.tcgo_queue_free(q)
		return nil, &Error{Op: op, Status: ErrConnection, Path: c.name, Message: err.Error()}
	}
	queue := &Queue{c: q, cache: c, file: file, ready: ready, turn: make(chan struct{}, 1)}
	interrupt := func() {
		C.tc_queue_close(tq)
		file.Close()
	}
	queue.handle = newHandle(queue, interrupt, func() { C.tcgo_queue_free(q) })
	return queue, nil
}

func descriptor(q *C.tcgo_queue) (*os.File, syscall.RawConn, error) {
	fd := C.tcgo_queue_dup_fd(q)
	if fd < 0 {
		return nil, nil, errors.New("no descriptor")
	}
	file := os.NewFile(uintptr(fd), "treecache queue")
	ready, err := file.SyscallConn()
	if err == nil {
		err = file.SetReadDeadline(time.Time{}) // fails where Go cannot wait for it
	}
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return file, ready, nil
}

// Next takes the next event out, and waits for it as long as ctx allows. Any number of goroutines may call it at once:
// each event goes to one of them.
//
// It takes up to 64 events out of C at a time, so that a storm costs a fraction of a C call per event. While it waits,
// no thread is held.
//
// Errors: a [WaitError] when ctx ends first; [ErrClosed] when the queue or its cache was closed (what waits is dropped then), or when the
// client was closed and all, the [ConnectionLost] included, has been taken out; another one, such as [ErrLimit], when
// the cache has stopped for good and all has been taken out.
func (q *Queue) Next(ctx context.Context) (Event, error) {
	began := time.Now()
	if err := ctx.Err(); err != nil {
		return Event{}, q.cache.waitError("next", began, err)
	}
	select {
	case q.turn <- struct{}{}:
	case <-ctx.Done():
		select {
		case q.turn <- struct{}{}: // what has come in time is taken
		default:
			return Event{}, q.cache.waitError("next", began, ctx.Err())
		}
	}
	defer func() { <-q.turn }()
	if !q.handle.acquire() {
		return Event{}, q.closedError()
	}
	defer q.leave()

	if q.next == int(q.c.count) {
		q.next = 0
		if err := q.take(ctx, began); err != nil {
			return Event{}, err
		}
	}
	if q.cache.handle.closed() {
		return Event{}, q.closedError()
	}
	i := q.next
	q.next++
	if fault := q.c.faults[i]; fault != nil {
		return goFault(fault), nil
	}
	return goEvent(q.c.events[i]), nil
}

// take waits for the next batch.
func (q *Queue) take(ctx context.Context, began time.Time) error {
	status := C.tcgo_queue_take(q.c)
	if status == C.TC_ERR_TIMEOUT {
		defer context.AfterFunc(ctx, func() { q.file.SetReadDeadline(past) })()
	}
	for status == C.TC_ERR_TIMEOUT {
		// Undoes what an earlier context left, maybe just now. Therefore ctx is asked after it: if it ends later, the
		// deadline that it sets stays.
		q.file.SetReadDeadline(time.Time{})
		if err := ctx.Err(); err != nil {
			// This goroutine may not have run for a while: what has come in time is taken.
			if status = C.tcgo_queue_take(q.c); status != C.TC_ERR_TIMEOUT {
				break
			}
			return q.cache.waitError("next", began, err)
		}
		// The poller is told first and the queue asked then, so nothing can come unnoticed in between.
		err := q.ready.Read(func(uintptr) bool {
			status = C.tcgo_queue_take(q.c)
			return status != C.TC_ERR_TIMEOUT
		})
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return q.closedError() // the file is closed
		}
	}
	if status == C.TC_OK {
		return nil
	}
	// It is over, and stays so: that is said once more, with all that is known of it.
	var item *C.tc_item
	var why *C.tc_error
	status = C.tc_queue_next_or_error(q.c.queue, 0, &item, &why)
	C.tc_item_free(item)
	return failureTold("next", q.cache.name, status, why)
}

var past = time.Unix(1, 0)

// Close ends the queue: what waits in it is dropped, and whoever waits for it gets [ErrClosed]. The error is nil.
func (q *Queue) Close() error {
	q.handle.close()
	return nil
}

func (q *Queue) leave() { q.handle.release() }

func (q *Queue) closedError() error { return closedError("next", q.cache.name) }

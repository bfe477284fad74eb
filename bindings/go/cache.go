package treecache

// #include "bridge.h"
import "C"

import (
	"context"
	"iter"
	"math"
	"time"
)

// A Cache is an in-memory copy of the subtree at one path, which it follows from [Cache.Start] to [Cache.Close].
//
// Reads look at the newest version of the tree, and go on while disconnected and after the client was closed. Two reads
// may see two versions: take a [Cache.Snapshot] to read several things of one.
type Cache struct {
	c      *C.tc_cache
	name   string // what errors call it: the root, or the file that it is attached to
	handle *handle
	client *Client // so that the session lasts while somebody holds a cache; nil when attached
}

// Attach makes a cache of the tree that another cache keeps in a file (its setting "share.file", see [WithShareFile]), in
// whatever process: without a session, and without a thread until a queue is opened. Only on Linux. It is started, and to be
// closed.
//
// Reads, snapshots and queues are as ever. [Cache.State] says what the writer last knew: [StateSuspended] when it was silent for
// longer than its session lasts, dead or not. A writer that comes back is taken up by itself. Without a file the state is
// [StateLoading] until there is one. [Cache.WaitInitialized] waits for the writer; [Cache.Sync] is [ErrUnsupported]. Errors
// about the cache as a whole name the file.
//
// Errors: [ErrInvalidArgument] when there is something else under that name, or a file of another format or on the file system
// of a network, or it cannot be read; [ErrUnsupported] on other systems than Linux.
func Attach(file string, options ...CacheOption) (*Cache, error) {
	const op = "attach"
	cFile, err := cString(op, file)
	if err != nil {
		return nil, err
	}
	logByDefault()
	cfg, err := newConfig(op, options, CacheOption.forCache)
	if err != nil {
		return nil, err
	}
	defer cfg.free()
	var tc *C.tc_cache
	if err := cfg.lastFailure(C.tc_attach(cFile, cfg.c, &tc)); err != nil {
		return nil, err
	}
	return newCache(tc, file, nil), nil
}

func newCache(c *C.tc_cache, name string, client *Client) *Cache {
	cache := &Cache{c: c, name: name, client: client}
	cache.handle = newHandle(cache, func() { C.tc_close(c) }, func() { C.tc_free(c) })
	return cache
}

// Path returns the root of the tree: absolute, relative to the chroot of the client that reads it. It goes on to do so after the
// cache was closed, unless that is attached to a file.
//
// Errors: [ErrNotReady] when it is attached to a file that was not there yet; [ErrClosed], of an attached one.
func (c *Cache) Path() (string, error) {
	if c.client != nil {
		return c.name, nil
	}
	snapshot, err := c.Snapshot()
	if err != nil {
		return "", err
	}
	defer snapshot.Close()
	if snapshot.root == "" {
		return "", &Error{Op: "path", Path: c.name, Status: ErrNotReady,
			Message: "the file is not there yet, so that nobody knows the root"}
	}
	return snapshot.root, nil
}

// Start begins to load and follow the tree, and returns at once. [Cache.WaitInitialized] waits, the event [Initialized]
// tells.
//
// Errors: [ErrState] when it was started before, [ErrClosed].
func (c *Cache) Start() error {
	const op = "start"
	if !c.handle.acquire() {
		return closedError(op, c.name)
	}
	defer c.leave()
	var why *C.tc_error
	status := C.tc_start_or_error(c.c, &why)
	return failureTold(op, c.name, status, why)
}

// StartFrom begins to follow the tree from what a snapshot holds, in place of [Cache.Start]. The snapshot is of a cache of the
// same root, which may be closed, and its client too. Its tree can be read when StartFrom returns, in [StateWarm] until there
// is a connection. Then the tree is verified, and only what differs is told. A snapshot of another ensemble is a fault,
// [ErrReset], and the tree is loaded anew.
//
// Errors: [ErrInvalidArgument] when the snapshot is of another root or chroot, or of a cache with other rules or data, both of
// which it names; [ErrLimit] when it is beyond a limit of this cache; [ErrState] when the cache was started before;
// [ErrClosed], of the snapshot too.
func (c *Cache) StartFrom(snapshot *Snapshot) error {
	const op = "start from"
	if !c.handle.acquire() {
		return closedError(op, c.name)
	}
	defer c.leave()
	if !snapshot.handle.acquire() {
		return closedError(op, snapshot.root)
	}
	defer snapshot.leave()
	var why *C.tc_error
	status := C.tc_start_from_or_error(c.c, snapshot.c, &why)
	return failureTold(op, c.name, status, why)
}

// waitSlice is how long a call of C waits before it looks at its context, and so how late a cancellation may be
// noticed.
const waitSlice = 20 * time.Millisecond

// WaitInitialized waits until the first load is complete (and, after the session was lost, until the tree is verified).
//
// It holds a thread while it waits, and notices within 20 ms that ctx was cancelled.
//
// Errors: a [WaitError] when ctx ends first; [ErrState] when not started; [ErrClosed] when the cache or its client is closed,
// also while waiting; [ErrAuth], [ErrUnsupported], [ErrLimit] or another one, when the load cannot succeed as things stand. A
// later call may, unless a limit stopped the cache.
func (c *Cache) WaitInitialized(ctx context.Context) error {
	const op = "wait"
	if !c.handle.acquire() {
		return closedError(op, c.name)
	}
	defer c.leave()
	began, hasWaited := time.Now(), false
	for ; ; hasWaited = true {
		if err := ctx.Err(); err != nil {
			if hasWaited && bool(C.tc_is_initialized(c.c)) {
				return nil // in time: this goroutine may not have run for a while
			}
			return c.waitError(op, began, err)
		}
		status := C.tc_wait_initialized(c.c, timeout(ctx, waitSlice))
		if status == C.TC_OK {
			return nil
		}
		if Status(status) != statusTimeout {
			// It stays so as a rule, and is said with all that is known of it.
			var why *C.tc_error
			if status = C.tc_wait_initialized_or_error(c.c, 0, &why); Status(status) != statusTimeout {
				return failureTold(op, c.name, status, why)
			}
			C.tc_error_free(why)
		}
	}
}

// Initialized tells whether [Cache.WaitInitialized] would return nil at once.
func (c *Cache) Initialized() bool {
	if !c.handle.acquire() {
		return false
	}
	defer c.leave()
	return bool(C.tc_is_initialized(c.c))
}

// Sync waits until everything that was committed before the call can be read here: it lets the server catch up with its
// leader (ZooKeeper's sync), and waits for a version at or after that point.
//
// It costs a round trip, and a goroutine with a thread while it waits. When ctx is cancelled it returns at once, and
// these two stay until the server has answered, the connection is lost, the cache is closed or the deadline of ctx has
// come.
//
// Errors: a [WaitError] when ctx ends first; [ErrConnection] when there is no connection, or it went while waiting;
// [ErrState] when not started; [ErrClosed]; and those that WaitInitialized has for loads that cannot succeed.
func (c *Cache) Sync(ctx context.Context) error {
	const op = "sync"
	began := time.Now()
	if err := ctx.Err(); err != nil {
		return c.waitError(op, began, err)
	}
	if !c.handle.acquire() {
		return closedError(op, c.name)
	}
	done := make(chan error, 1)
	go func() {
		defer c.leave()
		var why *C.tc_error
		status := C.tc_sync_or_error(c.c, timeout(ctx, math.MaxInt64), &why)
		done <- failureTold(op, c.name, status, why)
	}()
	select {
	case err := <-done:
		if isTimeout(err) {
			<-ctx.Done() // whose deadline it was
			return c.waitError(op, began, ctx.Err())
		}
		return err
	case <-ctx.Done():
		// Where both have come, select takes either: what came in time counts.
		select {
		case err := <-done:
			if err == nil {
				return nil
			}
		default:
		}
		return c.waitError(op, began, ctx.Err())
	}
}

// waitError returns why a wait ended that a context has ended.
func (c *Cache) waitError(op string, began time.Time, err error) error {
	waited := &WaitError{Op: op, Path: c.name, After: time.Since(began), Err: err}
	waited.Last, waited.LastAge = c.lastFault()
	return waited
}

// LastFault returns what went wrong last, of the cache or of its client, whether it is over or not; nil where nothing did, and
// when the cache is closed. [Stats] has how long ago that was.
func (c *Cache) LastFault() *Error {
	last, _ := c.lastFault()
	return last
}

func (c *Cache) lastFault() (*Error, time.Duration) {
	stats, err := c.Stats()
	if err != nil || !c.handle.acquire() {
		return nil, 0
	}
	defer c.leave()
	var f *C.tc_fault
	if C.tc_get_fault(c.c, &f) != C.TC_OK || f == nil {
		return nil, 0
	}
	defer C.tc_fault_free(f)
	return goFault(f).Fault, max(stats.LastFaultAge, 0)
}

// timeout returns in C's milliseconds how long a call may wait: until the deadline of ctx, and no longer than most.
func timeout(ctx context.Context, most time.Duration) C.int32_t {
	if deadline, ok := ctx.Deadline(); ok {
		most = min(most, max(time.Until(deadline), 0))
	}
	if most == math.MaxInt64 {
		return -1
	}
	// Rounded up, so that nobody polls with 0 through the last millisecond.
	return C.int32_t(min((most+time.Millisecond-1)/time.Millisecond, math.MaxInt32))
}

func isTimeout(err error) bool {
	e, ok := err.(*Error)
	return ok && e.Status == statusTimeout
}

// Get reads a node. path is absolute, as in events.
//
// Errors: [ErrNoNode]; [ErrNotReady] when the first load is not complete and the node has not been seen yet;
// [ErrNoPermission]; [ErrOutOfTree]; [ErrInvalidArgument]; [ErrClosed].
func (c *Cache) Get(path string) (Node, error) {
	return get(c.handle, c.c, nil, path)
}

// Children reads the names of a node's children, sorted by their bytes. One that the session may not read is among
// them.
//
// Errors: as [Cache.Get].
func (c *Cache) Children(path string) ([]string, error) {
	return read(c.handle, "children", path, func(cPath *C.char) ([]string, error) {
		var children *C.tc_children
		status := C.tc_get_children(c.c, cPath, &children)
		return childrenResult(path, status, children)
	})
}

// ChildrenData reads a node's children with their data, of one version, sorted by the bytes of their names.
//
// Errors: as [Cache.Get].
func (c *Cache) ChildrenData(path string) ([]Child, error) {
	return read(c.handle, "children data", path, func(cPath *C.char) ([]Child, error) {
		var children *C.tc_children_data
		status := C.tc_get_children_data(c.c, cPath, &children)
		return childrenDataResult(path, status, children)
	})
}

// Snapshot takes a snapshot of the tree as it is now, in constant time. Before the first version it is empty.
//
// Errors: [ErrClosed].
func (c *Cache) Snapshot() (*Snapshot, error) {
	const op = "snapshot"
	if !c.handle.acquire() {
		return nil, closedError(op, c.name)
	}
	defer c.leave()
	var s *C.tc_snapshot
	if err := failure(op, c.name, C.tc_get_snapshot(c.c, &s)); err != nil {
		return nil, err
	}
	snapshot := &Snapshot{c: s, root: c.name}
	if c.client == nil {
		snapshot.root = C.GoString(C.tc_snapshot_root(s)) // "" if the file was not there yet
	}
	snapshot.handle = newHandle(snapshot, nil, func() { C.tc_snapshot_free(s) })
	return snapshot, nil
}

// Events opens a queue, and ranges over what it has to tell: the tree so far first, as [NodeAdded] (and [Initialized]
// when the cache is), then what follows, without gap or duplicate. The last pair has an error that says why there are
// no more; see [Queue.Next]. Each loop has a queue of its own, from its beginning to its end.
//
//	for event, err := range cache.Events(ctx) {
//		if err != nil {
//			return err
//		}
//		...
//	}
func (c *Cache) Events(ctx context.Context, options ...QueueOption) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		queue, err := c.Queue(options...)
		if err != nil {
			yield(Event{}, err)
			return
		}
		defer queue.Close()
		for {
			event, err := queue.Next(ctx)
			if !yield(event, err) || err != nil {
				return
			}
		}
	}
}

// Close ends the cache: calls that wait return [ErrClosed], and so does every call from then on. Its queues end too;
// nodes and snapshots stay. It cannot be started again. It waits for nobody, and the error is nil.
func (c *Cache) Close() error {
	c.handle.close()
	return nil
}

func (c *Cache) leave() { c.handle.release() }

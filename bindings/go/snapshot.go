package treecache

// #include "bridge.h"
//
// #cgo noescape tc_walk_next
// #cgo nocallback tc_walk_next
import "C"

import (
	"errors"
	"iter"
	"unsafe"
)

// A Snapshot is the tree of a cache as it was at one moment. It never changes, and is independent of the cache: it can
// be read when that is closed.
//
// It shares memory with other versions of the tree, so that holding one costs what has changed since.
type Snapshot struct {
	c      *C.tc_snapshot
	root   string
	handle *handle
}

// Zxid returns the zxid that the snapshot is of: a lower bound when it is not a cut; 0 before the first version, and
// when closed.
func (s *Snapshot) Zxid() int64 {
	if !s.handle.acquire() {
		return 0
	}
	defer s.leave()
	return int64(C.tc_snapshot_zxid(s.c))
}

// IsCut tells whether the snapshot equals the server's tree at [Snapshot.Zxid], for all that the session may read;
// false when closed.
func (s *Snapshot) IsCut() bool {
	if !s.handle.acquire() {
		return false
	}
	defer s.leave()
	return bool(C.tc_snapshot_is_cut(s.c))
}

// Len returns how many nodes are in the snapshot, without those that the session may not read; 0 when closed.
func (s *Snapshot) Len() int {
	if !s.handle.acquire() {
		return 0
	}
	defer s.leave()
	return int(C.tc_snapshot_len(s.c))
}

// Get reads a node. Errors: as [Cache.Get].
func (s *Snapshot) Get(path string) (Node, error) {
	return get(s.handle, nil, s.c, path)
}

// Children reads the names of a node's children, as [Cache.Children].
func (s *Snapshot) Children(path string) ([]string, error) {
	return read(s.handle, "children", path, func(cPath *C.char) ([]string, error) {
		var children *C.tc_children
		status := C.tc_snapshot_get_children(s.c, cPath, &children)
		return childrenResult(path, status, children)
	})
}

// ChildrenData reads a node's children with their data, as [Cache.ChildrenData].
func (s *Snapshot) ChildrenData(path string) ([]Child, error) {
	return read(s.handle, "children data", path, func(cPath *C.char) ([]Child, error) {
		var children *C.tc_children_data
		status := C.tc_snapshot_get_children_data(s.c, cPath, &children)
		return childrenDataResult(path, status, children)
	})
}

// SkipChildren is what the function given to [Snapshot.Walk] returns to leave out what is below a node.
var SkipChildren = errors.New("treecache: skip the children")

// Walk calls visit for the nodes from path down, parents before children, siblings in the order of their bytes. Nodes
// that the session may not read are left out. When visit returns an error other than [SkipChildren], the walk ends with
// it. It may do whatever it likes, close the snapshot too.
//
// Errors: as [Cache.Get], for path, and what visit returned.
func (s *Snapshot) Walk(path string, visit func(path string, node Node) error) error {
	const op = "walk"
	cPath, err := cString(op, path)
	if err != nil {
		return err
	}
	if !s.handle.acquire() {
		return closedError(op, path)
	}
	defer s.leave()
	var walk *C.tc_walk
	if err := failure(op, path, C.tc_walk_new(s.c, cPath, &walk)); err != nil {
		return err
	}
	// A panic of visit, or a runtime.Goexit as in t.Fatal, unwinds no frames of C: these have returned.
	defer C.tc_walk_free(walk)
	for {
		var here *C.tc_visit
		if err := failure(op, path, C.tc_walk_next(walk, &here)); err != nil || here == nil {
			return err
		}
		if here.node == nil {
			if here.depth == 0 {
				return failure(op, path, C.TC_ERR_NO_PERMISSION)
			}
			continue
		}
		switch err := visit(goString(here.path, here.path_len), goNode(here.node)); err {
		case nil:
		case SkipChildren:
			if err := failure(op, path, C.tc_walk_skip(walk)); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

// All ranges over all nodes with their paths, in the order of [Snapshot.Walk]. There are none when the snapshot is
// empty or closed.
func (s *Snapshot) All() iter.Seq2[string, Node] {
	return func(yield func(string, Node) bool) {
		stop := errors.New("stop")
		// What else it may return says that there is nothing.
		_ = s.Walk(s.root, func(path string, node Node) error {
			if !yield(path, node) {
				return stop
			}
			return nil
		})
	}
}

// Diff ranges over what has changed from this snapshot to a newer one of the same root, in the form and the order of
// events: removals first, children before their parents; then additions and updates, parents first. The last one has
// LastOfVersion. The difference is computed when the loop begins, at a cost of what has changed, and is held in C until
// it ends.
//
// The one error there can be, [ErrClosed] or [ErrInvalidArgument] for other roots, comes instead of all events.
func (s *Snapshot) Diff(newer *Snapshot) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		const op = "diff"
		if !s.handle.acquire() {
			yield(Event{}, closedError(op, s.root))
			return
		}
		defer s.leave()
		if !newer.handle.acquire() {
			yield(Event{}, closedError(op, newer.root))
			return
		}
		defer newer.leave()
		var diff C.tcgo_diff
		defer C.tcgo_diff_clear(&diff)
		if err := failure(op, newer.root, C.tcgo_snapshot_diff(s.c, newer.c, &diff)); err != nil {
			yield(Event{}, err)
			return
		}
		for _, event := range unsafe.Slice(diff.events, int(diff.len)) {
			if !yield(goEvent(event), nil) {
				return
			}
		}
	}
}

// Close frees the snapshot once no call uses it any more. Nodes read from it stay. The error is nil.
func (s *Snapshot) Close() error {
	s.handle.close()
	return nil
}

func (s *Snapshot) leave() { s.handle.release() }

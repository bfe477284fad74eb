package treecache

// #include "bridge.h"
//
// #cgo noescape tcgo_copy_data
// #cgo nocallback tcgo_copy_data
import "C"

import (
	"time"
	"unsafe"
)

// A Node is a node as it was when it was read.
type Node struct {
	Data []byte // nil when there is none
	Stat Stat
}

// A Child is a child of a node.
type Child struct {
	Name string
	Node *Node // nil when the session may not read it
}

// A Stat is what ZooKeeper knows of a node beside its data.
type Stat struct {
	Czxid          int64     // zxid of the creation: two nodes of one path are the same node only if this is equal
	Mzxid          int64     // zxid of the last change of the data
	Pzxid          int64     // zxid of the last creation or deletion of a child
	Ctime          time.Time // when it was created, by the server's clock
	Mtime          time.Time // when its data last changed
	Version        int32     // changes of the data since the creation
	Cversion       int32     // children created plus children deleted since the creation
	Aversion       int32     // changes of the ACL, as of the last read: ZooKeeper does not notify of these
	EphemeralOwner int64     // the session an ephemeral node belongs to, or 0
	DataLength     int32     // in bytes
	NumChildren    int32
}

func goStat(s *C.tc_stat) Stat {
	return Stat{
		Czxid:          int64(s.czxid),
		Mzxid:          int64(s.mzxid),
		Pzxid:          int64(s.pzxid),
		Ctime:          time.UnixMilli(int64(s.ctime)),
		Mtime:          time.UnixMilli(int64(s.mtime)),
		Version:        int32(s.version),
		Cversion:       int32(s.cversion),
		Aversion:       int32(s.aversion),
		EphemeralOwner: int64(s.ephemeral_owner),
		DataLength:     int32(s.data_length),
		NumChildren:    int32(s.num_children),
	}
}

func goBytes(data *C.uint8_t, length C.size_t) []byte {
	// By hand, as C.GoBytes takes a C.int.
	return append([]byte(nil), unsafe.Slice((*byte)(data), int(length))...)
}

func goString(s *C.char, length C.size_t) string {
	return string(unsafe.Slice((*byte)(unsafe.Pointer(s)), int(length)))
}

func goNode(n *C.tc_node) Node {
	return Node{Data: goBytes(n.data, n.data_len), Stat: goStat(&n.stat)}
}

// read does what all reads of a path have in common: it refuses a path that C would not see as it is, and what is closed.
func read[T any](h *handle, op, path string, call func(cPath *C.char) (T, error)) (T, error) {
	var nothing T
	cPath, err := cString(op, path)
	if err != nil {
		return nothing, err
	}
	if !h.acquire() {
		return nothing, closedError(op, path)
	}
	defer h.release()
	return call(cPath)
}

// usualData is what most nodes have room in: their data is copied here first, as nobody knows how long it is. What is
// longer is copied in a second call, right to where it stays.
const usualData = 512

// get reads a node of a cache, or of a snapshot; the other one is nil. It is one call of C, for which nothing escapes to
// the heap.
func get(h *handle, cache *C.tc_cache, snapshot *C.tc_snapshot, path string) (Node, error) {
	const op = "get"
	if err := checkNul(op, path); err != nil {
		return Node{}, err
	}
	if !h.acquire() {
		return Node{}, closedError(op, path)
	}
	defer h.release()
	var (
		usual  [usualData]byte
		large  []byte
		length C.size_t
		stat   C.tc_stat
	)
	cPath := (*C.char)(unsafe.Pointer(unsafe.StringData(path)))
	status := C.tcgo_copy_data(cache, snapshot, cPath, C.size_t(len(path)),
		(*C.uint8_t)(&usual[0]), usualData, &length, &stat)
	for status == C.TC_ERR_TOO_SMALL { // more than once when it grows meanwhile
		large = make([]byte, length)
		status = C.tcgo_copy_data(cache, snapshot, cPath, C.size_t(len(path)),
			(*C.uint8_t)(&large[0]), C.size_t(len(large)), &length, &stat)
	}
	if status != C.TC_OK {
		return Node{}, failure(op, path, status)
	}
	node := Node{Stat: goStat(&stat)}
	if large != nil && length > 0 {
		node.Data = large[:length]
	} else {
		node.Data = append(node.Data, usual[:length]...) // nil where there is none
	}
	return node, nil
}

// childrenResult makes Go's result of a C call for the names of children.
func childrenResult(path string, status C.int32_t, children *C.tc_children) ([]string, error) {
	if err := failure("children", path, status); err != nil {
		return nil, err
	}
	defer C.tc_children_free(children)
	names := make([]string, children.len)
	for i := range names {
		names[i] = goString(at(children.names, i), at(children.name_lens, i))
	}
	return names, nil
}

// childrenDataResult makes Go's result of a C call for children with their nodes.
func childrenDataResult(path string, status C.int32_t, c *C.tc_children_data) ([]Child, error) {
	if err := failure("children data", path, status); err != nil {
		return nil, err
	}
	defer C.tc_children_data_free(c)
	children := make([]Child, c.len)
	for i := range children {
		children[i].Name = goString(at(c.names, i), at(c.name_lens, i))
		if n := at(c.nodes, i); n != nil {
			node := goNode(n)
			children[i].Node = &node
		}
	}
	return children, nil
}

// at returns an element of an array in C.
func at[T any](array *T, index int) T {
	return unsafe.Slice(array, index+1)[index]
}

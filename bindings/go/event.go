package treecache

// #include "bridge.h"
import "C"

import "fmt"

// An EventType says what happened.
type EventType int32

const (
	// NodeAdded: a node appeared. Node is it.
	NodeAdded EventType = C.TC_EVENT_NODE_ADDED
	// NodeUpdated: a node's data was set. Node is the new one, Old that before.
	NodeUpdated EventType = C.TC_EVENT_NODE_UPDATED
	// NodeRemoved: a node went. Node is as it was last known.
	NodeRemoved EventType = C.TC_EVENT_NODE_REMOVED
	// ConnectionSuspended: disconnected. Reads go on being served.
	ConnectionSuspended EventType = C.TC_EVENT_CONNECTION_SUSPENDED
	// ConnectionReconnected: connected again. What changed meanwhile follows, then InStep (and Initialized after
	// ConnectionLost).
	ConnectionReconnected EventType = C.TC_EVENT_CONNECTION_RECONNECTED
	// ConnectionLost: the session is lost, or the client was closed. A new session is made by itself.
	ConnectionLost EventType = C.TC_EVENT_CONNECTION_LOST
	// Initialized: the first load is complete; again after each ConnectionLost, once the tree is verified.
	Initialized EventType = C.TC_EVENT_INITIALIZED
	// InStep: the tree was loaded or verified on this connection, and the version told last is a cut.
	InStep EventType = C.TC_EVENT_IN_STEP
	// Fault: something went wrong in the background; see WithFaults. It asks for nothing: whatever can go on goes on.
	Fault EventType = -1
)

// String returns the type in words, such as "node added".
func (t EventType) String() string {
	switch t {
	case NodeAdded:
		return "node added"
	case NodeUpdated:
		return "node updated"
	case NodeRemoved:
		return "node removed"
	case ConnectionSuspended:
		return "connection suspended"
	case ConnectionReconnected:
		return "connection reconnected"
	case ConnectionLost:
		return "connection lost"
	case Initialized:
		return "initialized"
	case InStep:
		return "in step"
	case Fault:
		return "fault"
	}
	return fmt.Sprintf("event %d", int32(t))
}

// An Event is something that happened to a cache. What does not apply is zero.
type Event struct {
	Type EventType
	Path string // of the node, relative to the client's chroot
	Node Node
	Old  *Node // before an update

	// Zxid is that of the version that the event belongs to; 0 for events of the connection.
	Zxid int64
	// LastOfVersion marks the last event of a version: what came since the one before may be applied as one, and is
	// then the tree of that version.
	LastOfVersion bool

	Fault *Error // when Type is Fault
}

func goEvent(e *C.tc_event) Event {
	event := Event{
		Type:          EventType(e._type),
		Path:          goString(e.path, e.path_len),
		Zxid:          int64(e.zxid),
		LastOfVersion: e.flags&C.TC_EVENT_LAST_OF_VERSION != 0,
	}
	if e.stat != nil {
		event.Node = Node{Data: goBytes(e.data, e.data_len), Stat: goStat(e.stat)}
	}
	if e.old_stat != nil {
		event.Old = &Node{Data: goBytes(e.old_data, e.old_data_len), Stat: goStat(e.old_stat)}
	}
	return event
}

func goFault(f *C.tc_fault) Event {
	return Event{Type: Fault, Fault: &Error{
		Op:          "fault",
		Status:      Status(f.status),
		Path:        C.GoString(f.path),
		Message:     C.GoString(f.message),
		ServerError: int32(f.server_error),
	}}
}

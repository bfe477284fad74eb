package treecache

// #include <treecache.h>
import "C"

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unsafe"
)

// A Status is why something failed: one of the library's status codes, and an error to compare with.
//
//	if errors.Is(err, treecache.ErrNoNode) { ... }
//
// To switch over it, take it out with [errors.As]. A later version of the library may know more of them.
type Status int32

const (
	// ErrInvalidArgument: a malformed path, hosts, key or value, or a string with a NUL in it.
	ErrInvalidArgument Status = C.TC_ERR_INVALID_ARGUMENT
	// ErrNoNode: there is no such node.
	ErrNoNode Status = C.TC_ERR_NO_NODE
	// ErrOutOfTree: the path is not below the cache's root.
	ErrOutOfTree Status = C.TC_ERR_OUT_OF_TREE
	// ErrNotReady: the first load is not complete, and the node has not been seen yet.
	ErrNotReady Status = C.TC_ERR_NOT_READY
	// ErrState: started twice, or not started; the message says which.
	ErrState Status = C.TC_ERR_STATE
	// ErrClosed: closed, or what it belongs to is.
	ErrClosed Status = C.TC_ERR_CLOSED
	// ErrUnsupported: the server cannot do what a cache needs, or the cache is attached to a file and has no server.
	ErrUnsupported Status = C.TC_ERR_UNSUPPORTED
	// ErrAuth: the server refused the credentials.
	ErrAuth Status = C.TC_ERR_AUTH
	// ErrPanic: a defect in the library; what it happened to refuses further work.
	ErrPanic Status = C.TC_ERR_PANIC
	// ErrNoPermission: the session may not read the node, or one above it.
	ErrNoPermission Status = C.TC_ERR_NO_PERMISSION
	// ErrConnection: no connection, or no means to make one.
	ErrConnection Status = C.TC_ERR_CONNECTION
	// ErrProtocol: the server sent what ZooKeeper's protocol does not allow.
	ErrProtocol Status = C.TC_ERR_PROTOCOL
	// ErrTLS: TLS failed.
	ErrTLS Status = C.TC_ERR_TLS
	// ErrReset: the ensemble went back in time; it was reset or restored.
	ErrReset Status = C.TC_ERR_RESET
	// ErrLimit: the tree is beyond a limit, and the cache has stopped.
	ErrLimit Status = C.TC_ERR_LIMIT
)

// Only told by C, never to callers: deadlines are a matter of contexts here.
const statusTimeout Status = C.TC_ERR_TIMEOUT

// Error says in a few words what the status means.
func (s Status) Error() string {
	switch s {
	case ErrInvalidArgument:
		return "invalid argument"
	case ErrNoNode:
		return "no such node"
	case ErrOutOfTree:
		return "not below the root of the cache"
	case ErrNotReady:
		return "not loaded yet"
	case ErrState:
		return "not possible in this state"
	case ErrClosed:
		return "closed"
	case ErrUnsupported:
		return "not supported by the server"
	case ErrAuth:
		return "credentials refused"
	case ErrPanic:
		return "a defect in libtreecache"
	case ErrNoPermission:
		return "no permission to read"
	case ErrConnection:
		return "no connection"
	case ErrProtocol:
		return "protocol violated"
	case ErrTLS:
		return "TLS failed"
	case ErrReset:
		return "the ensemble went back in time"
	case ErrLimit:
		return "beyond a limit"
	}
	return s.String()
}

// String returns the status's name in C, such as "TC_ERR_NO_NODE".
func (s Status) String() string {
	return C.GoString(C.tc_status_name(C.int32_t(s)))
}

// An Error is what failed and why. All errors of this package are of this type, but those of waits that a context has ended,
// which are a [WaitError].
//
// It wraps its [Status]: both errors.Is(err, treecache.ErrNoNode) and errors.As(err, &status) see it.
type Error struct {
	Op          string // what was asked for, such as "get"; "fault" for what went wrong in the background
	Status      Status
	Key         string // the setting that it is about, such as "session.timeout.ms", or ""
	Path        string // the path that it is about, or the file of an attached cache, or ""
	Message     string // what happened, in a sentence, or ""; never a secret
	ServerError int32  // ZooKeeper's own code, or 0
}

// Error says all of it in a line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("treecache: ")
	b.WriteString(e.Op)
	for _, about := range []string{e.Key, e.Path} {
		if about != "" {
			b.WriteByte(' ')
			b.WriteString(escaped(about))
		}
	}
	b.WriteString(": ")
	if e.Message != "" {
		b.WriteString(e.Message)
	} else {
		b.WriteString(e.Status.Error())
	}
	if e.ServerError != 0 {
		fmt.Fprintf(&b, " (ZooKeeper's error %d)", e.ServerError)
	}
	return b.String()
}

// escaped returns text as it can be shown: who named a node may have had something else in mind.
func escaped(text string) string {
	var b strings.Builder
	for _, r := range text {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "\\u{%x}", r)
		}
	}
	return b.String()
}

// Unwrap returns the Status.
func (e *Error) Unwrap() error {
	return e.Status
}

// failure returns the error that a status means, which is nil for TC_OK.
func failure(op, path string, status C.int32_t) error {
	if status == C.TC_OK {
		return nil
	}
	return &Error{Op: op, Status: Status(status), Path: path}
}

// failureTold returns the error that a status means, with what the library told of it, which is freed.
func failureTold(op, path string, status C.int32_t, why *C.tc_error) error {
	defer C.tc_error_free(why)
	if status == C.TC_OK {
		return nil
	}
	e := &Error{Op: op, Status: Status(status), Path: path}
	if why != nil && e.Status != ErrClosed { // of which the status says all
		e.Key, e.Message = C.GoString(why.key), C.GoString(why.message)
	}
	return e
}

// A WaitError is why a wait ended without success: its context has ended. It wraps the context's error, so that
// errors.Is(err, context.DeadlineExceeded) holds, and says what went wrong last, which may be why the wait was in vain:
//
//	treecache: wait /a: context deadline exceeded after 10 s; last: zk1:2181: Connection refused
type WaitError struct {
	Op      string        // what was waited for: "wait", "sync" or "next"
	Path    string        // the root of the cache, or the file that it is attached to
	After   time.Duration // how long it waited
	Err     error         // of the context
	Last    *Error        // what went wrong last, of the cache or of its client; nil where nothing did
	LastAge time.Duration // how long ago that was
}

// From this age on, the age of a fault is said too: it may have nothing to do with the wait.
const worthSaying = time.Minute

// Error says all of it in a line.
func (e *WaitError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "treecache: %s %s: %v after %v s", e.Op, escaped(e.Path), e.Err,
		float64(e.After.Round(time.Millisecond).Milliseconds())/1000)
	if e.Last != nil {
		b.WriteString("; last")
		if e.LastAge >= worthSaying {
			fmt.Fprintf(&b, ", %d s ago", int64(e.LastAge.Seconds()))
		}
		b.WriteString(": ")
		b.WriteString(e.Last.Message)
	}
	return b.String()
}

// Unwrap returns the context's error.
func (e *WaitError) Unwrap() error { return e.Err }

func closedError(op, path string) error {
	return failure(op, path, C.TC_ERR_CLOSED)
}

// checkNul refuses a string with a NUL in it: C would see only what is before that.
func checkNul(op, s string) error {
	if at := strings.IndexByte(s, 0); at >= 0 {
		return &Error{Op: op, Status: ErrInvalidArgument,
			Message: fmt.Sprintf("a NUL at byte %d of %q", at, s)}
	}
	return nil
}

// cString returns s as C wants it, in Go's memory: it lasts as long as it is referred to.
func cString(op, s string) (*C.char, error) {
	if err := checkNul(op, s); err != nil {
		return nil, err
	}
	bytes := make([]byte, len(s)+1)
	copy(bytes, s)
	return (*C.char)(unsafe.Pointer(&bytes[0])), nil
}

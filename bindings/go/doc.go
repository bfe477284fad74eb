// Package treecache keeps an exact copy of a ZooKeeper subtree in memory, and follows every change of it. It is the Go
// face of the C library libtreecache, which it links; see docs/go.md for a guide, and docs/semantics.md for what the
// library promises.
//
// A [Client] is a session with an ensemble. A [Cache] of it is a subtree: started, it loads the tree, follows it, and
// goes on doing so through lost connections and sessions. Reads look at memory and talk to no server. A [Snapshot] is
// the whole tree of one moment. Events are taken out of a [Queue], or ranged over with [Cache.Events].
//
// # Goroutines and closing
//
// Everything may be used from any goroutine at any time, also while another one closes it. Close may be called more
// than once and on anything in any order; what is used afterwards, and what waited, answers [ErrClosed]. What is
// forgotten without being closed is closed by the garbage collector, some day: rely on it for snapshots, which hold
// memory and nothing else, if you like, but close clients, caches and queues.
//
// # Waiting
//
// Calls that wait take a context, end when it does and then return its error: [Queue.Next], [Cache.WaitInitialized]
// and [Cache.Sync]. A Next that waits is a parked goroutine, not a thread. The other two hold a thread while they wait,
// as C calls do.
//
// # Memory
//
// What is handed out is Go's own: data is copied, and may be kept and changed.
//
// # Threads
//
// The library has two threads for each client. They never call into Go: events and log lines wait in C until goroutines
// take them out.
package treecache

// #cgo !treecache_static pkg-config: treecache
// #cgo treecache_static pkg-config: --static treecache
// #cgo treecache_static LDFLAGS: -Wl,--as-needed -l:libtreecache.a
// #include <treecache.h>
import "C"

// Version returns the version of the library that is linked, such as "0.1.0".
func Version() string {
	return C.GoString(C.tc_version())
}

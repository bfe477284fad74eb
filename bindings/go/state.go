package treecache

// #include "bridge.h"
import "C"

import (
	"fmt"
	"time"
)

// A State is how a cache stands to the server.
type State int32

const (
	// StateLatent: not started.
	StateLatent State = C.TC_STATE_LATENT
	// StateLoading: the first load is under way, or waits for the connection.
	StateLoading State = C.TC_STATE_LOADING
	// StateInStep: nothing is known to be outstanding, as of the last contact.
	StateInStep State = C.TC_STATE_IN_STEP
	// StateCatchingUp: connected, verifying or following.
	StateCatchingUp State = C.TC_STATE_CATCHING_UP
	// StateSuspended: disconnected; the session may still live.
	StateSuspended State = C.TC_STATE_SUSPENDED
	// StateLost: the session is lost; a new one is being made, unless the client was closed.
	StateLost State = C.TC_STATE_LOST
	// StateClosed: closed, or stopped by a limit or a defect.
	StateClosed State = C.TC_STATE_CLOSED
	// StateWarm: begun with a snapshot ([Cache.StartFrom]) or a file ([WithShareFile]), and no server has been heard yet.
	StateWarm State = C.TC_STATE_WARM
	// StateHeld: loaded once, and not followed (follow=false): the tree of a moment that has passed.
	StateHeld State = C.TC_STATE_HELD
)

// String returns the state in words, such as "in step".
func (s State) String() string {
	switch s {
	case StateLatent:
		return "latent"
	case StateLoading:
		return "loading"
	case StateInStep:
		return "in step"
	case StateCatchingUp:
		return "catching up"
	case StateSuspended:
		return "suspended"
	case StateLost:
		return "lost"
	case StateClosed:
		return "closed"
	case StateWarm:
		return "warm"
	case StateHeld:
		return "held"
	}
	return fmt.Sprintf("state %d", int32(s))
}

// State tells how the cache stands to the server, and how long ago it had the last word from one: -1 ms before the
// first.
func (c *Cache) State() (State, time.Duration) {
	state, age := C.tc_state(C.TC_STATE_CLOSED), C.int64_t(-1)
	if c.handle.acquire() {
		defer c.leave()
		C.tc_get_state(c.c, &state, &age) // fails only after a defect, and is CLOSED then
	}
	return State(state), goDuration(age)
}

// Stats are figures of a cache and its client. The counters begin with the cache, Connections with the client.
type Stats struct {
	State       State
	ContactAge  time.Duration // since the last word from a server; -1 ms before the first
	CutAge      time.Duration // since a cut was last known to be current; -1 ms before the first
	Zxid        int64         // of the version that is read now
	Nodes       uint64        // in the tree that is read now
	Bytes       uint64        // of data in them
	Versions    uint64        // published
	Cuts        uint64        // of them, those that are cuts
	Events      uint64        // handed to queues, each counted
	Lags        uint64        // how often a queue fell behind and went on by difference
	Reads       uint64        // nodes asked for
	Batches     uint64        // requests they were asked with
	Resyncs     uint64        // verifications of the tree after a connection was gone
	Connections uint64        // how often the client has connected
	SessionID   int64         // of the client's session; 0 before the first
	Server      string        // "host:port" that the client is connected to, or ""
	Watch       string        // by which watches the cache hears of changes, "recursive" or "one-shot"; "" if not known yet

	Faults          uint64        // of the cache and its client so far
	LastFaultAge    time.Duration // since the last of them; -1 ms where there was none
	LastFaultStatus Status        // of the last of them, which [Cache.LastFault] returns; 0 where there was none
}

// Stats returns figures of the cache and its client.
//
// Errors: [ErrClosed].
func (c *Cache) Stats() (Stats, error) {
	const op = "stats"
	if !c.handle.acquire() {
		return Stats{}, closedError(op, c.name)
	}
	defer c.leave()
	var s *C.tc_stats
	if err := failure(op, c.name, C.tc_get_stats(c.c, &s)); err != nil {
		return Stats{}, err
	}
	defer C.tc_stats_free(s)
	return Stats{
		State:       State(s.state),
		ContactAge:  goDuration(s.contact_age_ms),
		CutAge:      goDuration(s.cut_age_ms),
		Zxid:        int64(s.zxid),
		Nodes:       uint64(s.nodes),
		Bytes:       uint64(s.bytes),
		Versions:    uint64(s.versions),
		Cuts:        uint64(s.cuts),
		Events:      uint64(s.events),
		Lags:        uint64(s.lags),
		Reads:       uint64(s.reads),
		Batches:     uint64(s.batches),
		Resyncs:     uint64(s.resyncs),
		Connections: uint64(s.connections),
		SessionID:   int64(s.session_id),
		Server:      C.GoString(s.server),
		Watch:       C.GoString(s.watch),

		Faults:          uint64(s.faults),
		LastFaultAge:    goDuration(s.last_fault_age_ms),
		LastFaultStatus: Status(s.last_fault_status),
	}, nil
}

func goDuration(ms C.int64_t) time.Duration {
	return time.Duration(ms) * time.Millisecond
}

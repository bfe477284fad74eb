//! What a cache says of itself: its state, and the kinds of its events.

/// How a cache stands to the server. The numbers are the C API's `TC_STATE_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum State {
    /// Not started.
    Latent = 0,
    /// The first load is under way (or waits for the connection).
    Loading = 1,
    /// Nothing is known to be outstanding, as of the last contact.
    InStep = 2,
    /// Connected, verifying or following.
    CatchingUp = 3,
    /// Disconnected, the session may still live.
    Suspended = 4,
    /// The session is lost; a new one is being made.
    Lost = 5,
    /// Closed, or stopped by a limit.
    Closed = 6,
    /// Begun with a known tree (`start_from`, `share.file`), and no server has been heard yet: what is read was kept by an
    /// earlier cache.
    Warm = 7,
    /// Loaded, and not followed (`follow=false`): a tree of the past, whatever the connection is.
    Held = 8,
}

impl State {
    /// The state of that number; `None` where none has it.
    pub fn from_number(number: i32) -> Option<State> {
        const ALL: [State; 9] = [
            State::Latent,
            State::Loading,
            State::InStep,
            State::CatchingUp,
            State::Suspended,
            State::Lost,
            State::Closed,
            State::Warm,
            State::Held,
        ];
        usize::try_from(number).ok().and_then(|number| ALL.get(number).copied())
    }
}

/// Kinds of events. The numbers are the C API's `TC_EVENT_*`, 0 to 6 as in kazoo's `TreeEvent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum EventKind {
    /// A node appeared.
    NodeAdded = 0,
    /// A node's data was set, maybe to the same bytes.
    NodeUpdated = 1,
    /// A node went.
    NodeRemoved = 2,
    /// Disconnected. Reads go on being served.
    ConnectionSuspended = 3,
    /// Connected again. What changed meanwhile follows, then `InStep` (and `Initialized` after `ConnectionLost`).
    ConnectionReconnected = 4,
    /// The session is lost, or the client was closed. The client replaces a lost session by itself.
    ConnectionLost = 5,
    /// The first load is complete; again after each `ConnectionLost`, once the tree is verified.
    Initialized = 6,
    /// The tree was loaded or verified on this connection, and the version told last is a cut.
    InStep = 7,
}

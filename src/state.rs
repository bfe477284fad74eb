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
}

impl State {
    pub const ALL: [State; 7] = [
        State::Latent,
        State::Loading,
        State::InStep,
        State::CatchingUp,
        State::Suspended,
        State::Lost,
        State::Closed,
    ];
}

/// Kinds of events. The numbers are the C API's `TC_EVENT_*`, 0 to 6 as in kazoo's `TreeEvent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum EventKind {
    NodeAdded = 0,
    NodeUpdated = 1,
    NodeRemoved = 2,
    ConnectionSuspended = 3,
    ConnectionReconnected = 4,
    ConnectionLost = 5,
    Initialized = 6,
    InStep = 7,
}

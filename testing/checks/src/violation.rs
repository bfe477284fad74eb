use std::fmt;

/// The guarantees, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Check {
    /// Every cut equals the server's tree at its zxid, for what the session may read; aversion aside.
    Exact,
    /// zxids of versions and of nodes never go back, except across a reset that was reported.
    Monotonic,
    /// No cut shows a part of a `multi`.
    Atomic,
    /// The events, replayed onto an empty map, give the published tree; none makes no sense.
    Complete,
    /// Parents are added before their children and removed after them; states and connection events come in order.
    Ordered,
    /// Once faults stop, the cache is in step within a bound.
    Live,
    /// Whenever a cache says that it is in step, its version is the server's tree as of the last contact.
    Honest,
    /// When a `sync` is answered, the version is a cut that has all that the leader had committed when it was called.
    Synced,
    /// The number of batches of reads between two cuts is bounded.
    Fed,
    /// A reset is told only where history has changed since what the client had seen of it.
    NoFalseAlarm,
    /// What is held, and how long a step takes, grows with the bytes that came and no faster.
    Bounded,
    /// No panic, no call for ever, nothing outside of the protocol.
    Sound,
}

impl Check {
    pub const ALL: [Check; 12] = [
        Check::Exact,
        Check::Monotonic,
        Check::Atomic,
        Check::Complete,
        Check::Ordered,
        Check::Live,
        Check::Honest,
        Check::Synced,
        Check::Fed,
        Check::NoFalseAlarm,
        Check::Bounded,
        Check::Sound,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Check::Exact => "exact",
            Check::Monotonic => "monotonic",
            Check::Atomic => "atomic",
            Check::Complete => "complete",
            Check::Ordered => "ordered",
            Check::Live => "live",
            Check::Honest => "honest",
            Check::Synced => "synced",
            Check::Fed => "fed",
            Check::NoFalseAlarm => "no false alarm",
            Check::Bounded => "bounded",
            Check::Sound => "sound",
        }
    }

    pub fn violated(self, what: impl Into<String>) -> Violation {
        Violation { check: self, what: what.into() }
    }

    /// An error unless `holds`.
    pub fn that(self, holds: bool, what: impl FnOnce() -> String) -> Result<(), Violation> {
        if holds { Ok(()) } else { Err(self.violated(what())) }
    }
}

/// A guarantee that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub check: Check,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not {}: {}", self.check.name(), self.what)
    }
}

impl std::error::Error for Violation {}

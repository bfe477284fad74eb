//! What waits to be told to one consumer, in order, and bounded however long it takes.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::planted::{self, Defect};
use crate::state::EventKind;
use crate::tree::Version;

/// The most versions that may wait.
const MOST_VERSIONS: usize = 4096;

/// What may wait for a consumer before it goes on by difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capacity {
    pub(crate) events: usize,
    /// How many bytes the waiting versions may hold together, not counting what the newest of them holds.
    pub(crate) bytes: usize,
}

/// What waits: a version, or what happened to the connection.
pub(super) enum Pending {
    /// Its events are its difference from the version before; `changes` is about how many they are. `merged`: it
    /// replaces other versions that were waiting.
    Version {
        version: Arc<Version>,
        changes: usize,
        merged: bool,
    },
    Event(EventKind),
}

impl Pending {
    fn weight(&self) -> usize {
        match self {
            Pending::Version { changes, .. } => *changes.max(&1),
            Pending::Event(_) => 1,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Connection {
    #[default]
    Connected,
    Suspended,
    Lost,
}

/// Where a consumer believes the cache to be, by the events it was told.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Belief {
    connection: Connection,
    pub(super) initialized: bool,
}

impl Belief {
    /// The same, but before INITIALIZED was told.
    pub(super) fn uninitialized(self) -> Belief {
        Belief { initialized: false, ..self }
    }

    pub(super) fn after(self, kind: EventKind) -> Belief {
        match kind {
            EventKind::ConnectionSuspended => Belief { connection: Connection::Suspended, ..self },
            EventKind::ConnectionLost => Belief { connection: Connection::Lost, initialized: false },
            EventKind::ConnectionReconnected => Belief { connection: Connection::Connected, ..self },
            EventKind::Initialized => Belief { initialized: true, ..self },
            EventKind::InStep | EventKind::NodeAdded | EventKind::NodeUpdated | EventKind::NodeRemoved => {
                self
            }
        }
    }
}

pub(super) struct Backlog {
    items: VecDeque<Pending>,
    /// The sum of the items' weights: about how many events wait.
    weight: usize,
    /// For each version that waits, in order: its tree's [`let_go`](crate::tree::Tree::let_go).
    let_go: VecDeque<u64>,
    /// If more than this waits, all that waits is collapsed.
    capacity: Capacity,
    /// The belief after the last item that was taken out.
    belief: Belief,
}

impl Backlog {
    pub(super) fn new(capacity: Capacity, belief: Belief) -> Backlog {
        Backlog { items: VecDeque::new(), weight: 0, let_go: VecDeque::new(), capacity, belief }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn push(&mut self, item: Pending) {
        self.append(item);
        self.keep_bounds();
    }

    /// Puts in a version between which and the one before nothing differs that the consumer wants. If a version waits
    /// last, the new one replaces it. Returns what was replaced.
    pub(super) fn renew(&mut self, version: Arc<Version>) -> Option<Arc<Version>> {
        let let_go = version.tree.let_go();
        let Some(Pending::Version { version: last, .. }) = self.items.back_mut() else {
            self.push(Pending::Version { version, changes: 0, merged: false });
            return None;
        };
        let replaced = std::mem::replace(last, version);
        if let Some(last) = self.let_go.back_mut() {
            *last = let_go;
        }
        self.keep_bounds();
        Some(replaced)
    }

    /// An event is not told, though what follows it will be.
    pub(super) fn leave_out(&mut self, kind: EventKind) {
        self.belief = self.belief.after(kind);
    }

    fn keep_bounds(&mut self) {
        let is_beyond = self.weight > self.capacity.events || self.held() > self.capacity.bytes as u64;
        if is_beyond || self.let_go.len() > MOST_VERSIONS {
            self.collapse();
        }
    }

    /// About how many bytes the waiting versions hold together, not counting what the newest of them holds.
    fn held(&self) -> u64 {
        match (self.let_go.front(), self.let_go.back()) {
            (Some(oldest), Some(newest)) if !planted::is(Defect::BacklogNotWeighed) => {
                newest.saturating_sub(*oldest)
            }
            _ => 0,
        }
    }

    pub(super) fn pop(&mut self) -> Option<Pending> {
        let item = self.items.pop_front()?;
        self.weight -= item.weight();
        match &item {
            Pending::Version { .. } => _ = self.let_go.pop_front(),
            Pending::Event(kind) => self.belief = self.belief.after(*kind),
        }
        Some(item)
    }

    fn append(&mut self, item: Pending) {
        self.weight = self.weight.saturating_add(item.weight());
        if let Pending::Version { version, .. } = &item {
            self.let_go.push_back(version.tree.let_go());
        }
        self.items.push_back(item);
    }

    /// Replaces what waits by the shortest honest account of it: the newest version, and the events of the connection.
    /// If these led back to where they started, they are kept the first time only. (Months of a flapping connection
    /// become one SUSPENDED and RECONNECTED; a LOST is told, and that it was made good.)
    fn collapse(&mut self) {
        /// A belief, and whether a disconnect and a loss were told on the way to it. There are few such states, and
        /// each occurs at most once in what is kept: so what is kept is bounded.
        #[derive(Clone, Copy, PartialEq, Eq)]
        struct Reached {
            belief: Belief,
            suspended: bool,
            lost: bool,
        }
        let start = Reached { belief: self.belief, suspended: false, lost: false };
        let mut kept: Vec<(EventKind, Reached)> = Vec::new();
        let mut newest: Option<Arc<Version>> = None;
        let (mut changes, mut merged) = (0usize, false);
        // The last IN_STEP that still holds, and the version that it speaks of (inner `None`: a version that was told
        // before).
        let mut in_step: Option<Option<Arc<Version>>> = None;
        for item in std::mem::take(&mut self.items) {
            match item {
                Pending::Version { version, changes: more, merged: before } => {
                    merged |= before || newest.is_some();
                    newest = Some(version);
                    changes = changes.saturating_add(more);
                }
                Pending::Event(EventKind::InStep) => in_step = Some(newest.clone()),
                Pending::Event(kind) => {
                    in_step = in_step.filter(|_| kind == EventKind::Initialized);
                    let last = kept.last().map_or(start, |(_, reached)| *reached);
                    let reached = Reached {
                        belief: last.belief.after(kind),
                        suspended: last.suspended || kind == EventKind::ConnectionSuspended,
                        lost: last.lost || kind == EventKind::ConnectionLost,
                    };
                    if reached == start {
                        kept.clear();
                    } else if let Some(at) = kept.iter().position(|(_, earlier)| *earlier == reached) {
                        kept.truncate(at + 1);
                    } else {
                        kept.push((kind, reached));
                    }
                }
            }
        }
        // The version goes before INITIALIZED, which speaks of it. Without INITIALIZED it goes behind the last
        // RECONNECTED, since versions come while connected.
        let place = |wanted| kept.iter().position(|(kind, _)| *kind == wanted);
        let version_at = place(EventKind::Initialized)
            .or_else(|| {
                kept.iter().rposition(|(kind, _)| *kind == EventKind::ConnectionReconnected).map(|at| at + 1)
            })
            .unwrap_or(0);
        self.weight = 0;
        self.let_go.clear();
        // IN_STEP speaks of a cut, and is not repeated. So if the newest version is not a cut, IN_STEP comes before
        // that version.
        let behind = match &in_step {
            Some(spoken_of) if newest.as_ref().is_some_and(|newest| !newest.is_cut) => {
                let behind = newest.take();
                newest = spoken_of.clone();
                behind
            }
            _ => None,
        };
        let item = |version, changes| Pending::Version { version, changes, merged };
        let mut newest = newest.map(|version| item(version, changes));
        for (at, (kind, _)) in kept.into_iter().enumerate() {
            if at == version_at
                && let Some(version) = newest.take()
            {
                self.append(version);
            }
            self.append(Pending::Event(kind));
        }
        if let Some(version) = newest {
            self.append(version);
        }
        if in_step.is_some() {
            self.append(Pending::Event(EventKind::InStep));
        }
        if let Some(version) = behind {
            self.append(item(version, 1));
        }
    }
}

#[cfg(test)]
mod tests;

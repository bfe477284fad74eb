//! What a consumer wants to be told.

use std::sync::Arc;

use crate::path::NodePath;
use crate::state::EventKind;
use crate::tree::{Filter, Kinds};

/// Kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EventKinds {
    nodes: Kinds,
    connection: bool,
    initialized: bool,
    in_step: bool,
}

impl EventKinds {
    const NONE: EventKinds = EventKinds {
        nodes: Kinds { added: false, updated: false, removed: false },
        connection: false,
        initialized: false,
        in_step: false,
    };
    pub(crate) const ALL: EventKinds =
        EventKinds { nodes: Kinds::ALL, connection: true, initialized: true, in_step: true };

    /// What [`named`](Self::named) takes, for people.
    pub(crate) const WORDS: &str =
        "all, or any of added, updated, removed, connection, initialized, in_step, with commas between them";

    /// The kinds that these words name, separated by commas; `None` if one of them names none.
    pub(crate) fn named(words: &str) -> Option<EventKinds> {
        if words == "all" {
            return Some(EventKinds::ALL);
        }
        let mut kinds = EventKinds::NONE;
        for word in words.split(',') {
            let kind = match word {
                "added" => &mut kinds.nodes.added,
                "updated" => &mut kinds.nodes.updated,
                "removed" => &mut kinds.nodes.removed,
                "connection" => &mut kinds.connection,
                "initialized" => &mut kinds.initialized,
                "in_step" => &mut kinds.in_step,
                _ => return None,
            };
            *kind = true;
        }
        Some(kinds)
    }

    fn has(self, kind: EventKind) -> bool {
        match kind {
            EventKind::NodeAdded => self.nodes.added,
            EventKind::NodeUpdated => self.nodes.updated,
            EventKind::NodeRemoved => self.nodes.removed,
            EventKind::ConnectionSuspended | EventKind::ConnectionReconnected | EventKind::ConnectionLost => {
                self.connection
            }
            EventKind::Initialized => self.initialized,
            EventKind::InStep => self.in_step,
        }
    }
}

/// Which events somebody wants, of whatever cache: as it is set.
#[derive(Debug, Clone)]
pub(crate) struct Interest {
    /// The subtrees. None: the cache's.
    pub(crate) under: Vec<NodePath>,
    /// How many levels below the root of each subtree; `None`: all.
    pub(crate) depth: Option<usize>,
    pub(crate) kinds: EventKinds,
    /// Whether what has been is told to who joins late.
    pub(crate) initial: bool,
    /// Whether nothing is told before INITIALIZED.
    pub(crate) after_initialized: bool,
}

impl Interest {
    /// Everything.
    pub(crate) fn all() -> Interest {
        let kinds = EventKinds::ALL;
        Interest { under: Vec::new(), depth: None, kinds, initial: true, after_initialized: false }
    }

    /// The same, of the cache with this root. If a subtree is outside of it, that is the error.
    pub(crate) fn below(&self, root: &NodePath) -> Result<Events, &NodePath> {
        let relative = |path| root.relative(NodePath::as_str(path)).ok_or(path);
        let mut under = self.under.iter().map(relative).collect::<Result<Vec<_>, _>>()?;
        if under.is_empty() {
            under.push("");
        }
        let nodes = Filter::new(self.kinds.nodes, under, self.depth);
        Ok(Events {
            nodes: (!nodes.is_all()).then(|| Arc::new(nodes)),
            kinds: self.kinds,
            initial: self.initial,
            after_initialized: self.after_initialized,
        })
    }
}

/// Which events of one cache somebody wants.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    /// `None`: all node events.
    nodes: Option<Arc<Filter>>,
    kinds: EventKinds,
    pub(super) initial: bool,
    pub(super) after_initialized: bool,
}

impl Events {
    const ALL: Events =
        Events { nodes: None, kinds: EventKinds::ALL, initial: true, after_initialized: false };

    /// Which node events; `None`: all.
    pub(super) fn nodes(&self) -> Option<&Arc<Filter>> {
        self.nodes.as_ref()
    }

    pub(super) fn has(&self, kind: EventKind) -> bool {
        self.kinds.has(kind)
    }
}

/// What a consumer wants to be told.
#[derive(Debug, Clone)]
pub(crate) struct Wants {
    /// `None`: no events at all.
    pub(super) events: Option<Events>,
    pub(super) faults: bool,
}

impl Wants {
    /// All events.
    pub(crate) const EVENTS: Wants = Wants { events: Some(Events::ALL), faults: false };
    pub(super) const FAULTS: Wants = Wants { events: None, faults: true };

    /// Some events.
    pub(crate) fn events(events: Events) -> Wants {
        Wants { events: Some(events), faults: false }
    }

    /// The same, and faults if they are wanted.
    pub(crate) fn with_faults(self, faults: bool) -> Wants {
        Wants { faults, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_name_kinds() {
        assert_eq!(EventKinds::named("all"), Some(EventKinds::ALL));
        let every = "added,updated,removed,connection,initialized,in_step";
        assert_eq!(EventKinds::named(every), Some(EventKinds::ALL));
        let some = EventKinds::named("connection,removed,removed").unwrap();
        let has = [
            EventKind::NodeRemoved,
            EventKind::ConnectionSuspended,
            EventKind::ConnectionReconnected,
            EventKind::ConnectionLost,
        ];
        let has_not =
            [EventKind::NodeAdded, EventKind::NodeUpdated, EventKind::Initialized, EventKind::InStep];
        assert!(has.iter().all(|kind| some.has(*kind)) && !has_not.iter().any(|kind| some.has(*kind)));
        for words in ["", ",", "added,", "Added", "added, removed", "all,added", "none"] {
            assert_eq!(EventKinds::named(words), None, "{words:?}");
        }
    }

    #[test]
    fn a_subtree_outside_of_the_cache_is_no_interest_in_it() {
        let path = |path: &str| NodePath::new(path).unwrap();
        let interest =
            |under: &[&str]| Interest { under: under.iter().copied().map(path).collect(), ..Interest::all() };
        for outside in ["/", "/appx", "/ap", "/other/app"] {
            let interest = interest(&["/app/a", outside]);
            assert_eq!(interest.below(&path("/app")).err().map(NodePath::as_str), Some(outside));
        }
        assert!(interest(&["/app/a", "/app"]).below(&path("/app")).unwrap().nodes().is_none(), "all of it");
        assert!(interest(&[]).below(&path("/app")).unwrap().nodes().is_none());
        assert!(interest(&["/app/a"]).below(&path("/")).unwrap().nodes().is_some());
    }
}

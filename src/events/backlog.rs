//! What waits to be told to one consumer, in order, and bounded however long it takes.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::state::EventKind;
use crate::tree::Version;

/// Most versions that wait. Each may hold on to some KiB that the next one replaced.
const MOST_VERSIONS: usize = 4096;

pub(super) enum Item {
    /// Its events are its difference from the version before; `changes` is about how many they are. `merged`: others
    /// that waited were left out for it.
    Version {
        version: Arc<Version>,
        changes: usize,
        merged: bool,
    },
    Event(EventKind),
}

impl Item {
    fn weight(&self) -> usize {
        match self {
            Item::Version { changes, .. } => *changes.max(&1),
            Item::Event(_) => 1,
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
    /// Before INITIALIZED was told.
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
    items: VecDeque<Item>,
    /// Sum of the items' weights.
    weight: usize,
    versions: usize,
    /// A weight beyond it collapses what waits.
    capacity: usize,
    /// After the last item that was taken out.
    belief: Belief,
}

impl Backlog {
    pub(super) fn new(capacity: usize, belief: Belief) -> Backlog {
        Backlog { items: VecDeque::new(), weight: 0, versions: 0, capacity, belief }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn push(&mut self, item: Item) {
        self.append(item);
        if self.weight > self.capacity || self.versions > MOST_VERSIONS {
            self.collapse();
        }
    }

    pub(super) fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.weight -= item.weight();
        match &item {
            Item::Version { .. } => self.versions -= 1,
            Item::Event(kind) => self.belief = self.belief.after(*kind),
        }
        Some(item)
    }

    fn append(&mut self, item: Item) {
        self.weight = self.weight.saturating_add(item.weight());
        self.versions += usize::from(matches!(item, Item::Version { .. }));
        self.items.push_back(item);
    }

    /// Replaces what waits by the shortest honest account of it: the newest version, and the events of the
    /// connection without those that led back to where they started, save the first time. (Months of a flapping
    /// connection become one SUSPENDED and RECONNECTED; a LOST is told, and that it was made good.)
    fn collapse(&mut self) {
        /// A belief, and whether a disconnect and a loss were told on the way to it. The states are few, and none
        /// occurs twice in what is kept: that bounds it.
        #[derive(Clone, Copy, PartialEq, Eq)]
        struct Told {
            belief: Belief,
            suspended: bool,
            lost: bool,
        }
        let start = Told { belief: self.belief, suspended: false, lost: false };
        let mut kept: Vec<(EventKind, Told)> = Vec::new();
        let mut newest: Option<Arc<Version>> = None;
        let (mut changes, mut merged) = (0usize, false);
        // The last IN_STEP that still holds, and the version that it speaks of (`None`: one that was told before).
        let mut in_step: Option<Option<Arc<Version>>> = None;
        for item in std::mem::take(&mut self.items) {
            match item {
                Item::Version { version, changes: more, merged: before } => {
                    merged |= before || newest.is_some();
                    newest = Some(version);
                    changes = changes.saturating_add(more);
                }
                Item::Event(EventKind::InStep) => in_step = Some(newest.clone()),
                Item::Event(kind) => {
                    in_step = in_step.filter(|_| kind == EventKind::Initialized);
                    let last = kept.last().map_or(start, |(_, told)| *told);
                    let told = Told {
                        belief: last.belief.after(kind),
                        suspended: last.suspended || kind == EventKind::ConnectionSuspended,
                        lost: last.lost || kind == EventKind::ConnectionLost,
                    };
                    if told == start {
                        kept.clear();
                    } else if let Some(at) = kept.iter().position(|(_, earlier)| *earlier == told) {
                        kept.truncate(at + 1);
                    } else {
                        kept.push((kind, told));
                    }
                }
            }
        }
        // INITIALIZED speaks of a version that was told; otherwise versions come while connected.
        let place = |wanted| kept.iter().position(|(kind, _)| *kind == wanted);
        let version_at = place(EventKind::Initialized)
            .or_else(|| {
                kept.iter().rposition(|(kind, _)| *kind == EventKind::ConnectionReconnected).map(|at| at + 1)
            })
            .unwrap_or(0);
        (self.weight, self.versions) = (0, 0);
        // IN_STEP speaks of a cut, and is not repeated: where the newest version is none, it comes before that.
        let behind = match &in_step {
            Some(spoken_of) if newest.as_ref().is_some_and(|newest| !newest.is_cut) => {
                let behind = newest.take();
                newest = spoken_of.clone();
                behind
            }
            _ => None,
        };
        let item = |version, changes| Item::Version { version, changes, merged };
        let mut newest = newest.map(|version| item(version, changes));
        for (at, (kind, _)) in kept.into_iter().enumerate() {
            if at == version_at
                && let Some(version) = newest.take()
            {
                self.append(version);
            }
            self.append(Item::Event(kind));
        }
        if let Some(version) = newest {
            self.append(version);
        }
        if in_step.is_some() {
            self.append(Item::Event(EventKind::InStep));
        }
        if let Some(version) = behind {
            self.append(item(version, 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stat::Zxid;
    use EventKind::{
        ConnectionLost as Lost, ConnectionReconnected as Reconnected, ConnectionSuspended as Suspended,
        InStep, Initialized,
    };
    use proptest::prelude::*;

    /// A cut.
    fn version(zxid: i64) -> Item {
        Item::Version {
            version: Arc::new(Version { zxid: Zxid(zxid), is_cut: true, ..Version::default() }),
            changes: 1,
            merged: false,
        }
    }

    fn no_cut(zxid: i64) -> Item {
        let version = Arc::new(Version { zxid: Zxid(zxid), ..Version::default() });
        Item::Version { version, changes: 1, merged: false }
    }

    /// The items in words: versions by their zxid.
    fn drained(backlog: &mut Backlog) -> Vec<String> {
        std::iter::from_fn(|| backlog.pop())
            .map(|item| match item {
                Item::Version { version, .. } => version.zxid.0.to_string(),
                Item::Event(kind) => format!("{kind:?}"),
            })
            .collect()
    }

    #[test]
    fn within_its_capacity_everything_is_kept_in_order() {
        let mut backlog = Backlog::new(4, Belief::default());
        for item in [version(1), Item::Event(Initialized), version(2), version(3)] {
            backlog.push(item);
        }
        assert_eq!(drained(&mut backlog), ["1", "Initialized", "2", "3"]);
        assert!(backlog.belief.initialized);
        assert_eq!((backlog.weight, backlog.versions), (0, 0));
    }

    #[test]
    fn beyond_its_capacity_the_newest_version_is_left() {
        let mut backlog = Backlog::new(2, Belief::default());
        for item in [version(1), version(2), Item::Event(Initialized), Item::Event(InStep), version(3)] {
            backlog.push(item);
        }
        assert_eq!(drained(&mut backlog), ["3", "Initialized", "InStep"]);
    }

    #[test]
    fn in_step_is_told_behind_a_cut_also_where_the_newest_version_is_none() {
        let collapsed = |items: Vec<Item>| {
            let mut backlog = Backlog::new(1, Belief::default());
            items.into_iter().for_each(|item| backlog.push(item));
            backlog.push(no_cut(9));
            drained(&mut backlog)
        };
        let in_step = || Item::Event(InStep);
        assert_eq!(collapsed(vec![version(1), in_step()]), ["1", "InStep", "9"]);
        assert_eq!(collapsed(vec![version(1), version(2), in_step(), no_cut(3)]), ["2", "InStep", "9"]);
        assert_eq!(collapsed(vec![in_step(), no_cut(3)]), ["InStep", "9"], "of what was told before");
        let initialized = vec![version(1), Item::Event(Initialized), in_step()];
        assert_eq!(collapsed(initialized), ["1", "Initialized", "InStep", "9"]);
        let suspended = vec![version(1), in_step(), Item::Event(Suspended)];
        assert_eq!(collapsed(suspended), ["9", "ConnectionSuspended"]);
    }

    #[test]
    fn a_version_says_whether_others_were_left_out_for_it() {
        let mut backlog = Backlog::new(2, Belief::default());
        let mut merged = |items: &[i64]| {
            items.iter().for_each(|zxid| backlog.push(version(*zxid)));
            std::iter::from_fn(|| backlog.pop())
                .map(|item| matches!(item, Item::Version { merged: true, .. }))
                .collect::<Vec<_>>()
        };
        assert_eq!(merged(&[1, 2]), [false, false]);
        assert_eq!(merged(&[3, 4, 5]), [true]);
        assert_eq!(merged(&[6]), [false]);
    }

    #[test]
    fn many_versions_without_changes_are_bounded_too() {
        let mut backlog = Backlog::new(usize::MAX, Belief::default());
        for zxid in 0..10 * MOST_VERSIONS as i64 {
            backlog.push(version(zxid));
            assert!(backlog.items.len() <= MOST_VERSIONS);
        }
    }

    #[test]
    fn a_flapping_connection_is_told_once() {
        let mut backlog = Backlog::new(8, Belief::default());
        backlog.push(version(1));
        backlog.push(Item::Event(Initialized));
        assert_eq!(drained(&mut backlog), ["1", "Initialized"]);
        for zxid in 2..1000 {
            for item in [Item::Event(Suspended), Item::Event(Reconnected), version(zxid), Item::Event(InStep)]
            {
                backlog.push(item);
            }
        }
        backlog.collapse();
        assert_eq!(drained(&mut backlog), ["ConnectionSuspended", "ConnectionReconnected", "999", "InStep"]);
        for item in [Suspended, Lost, Reconnected, Initialized, InStep, Suspended, Lost, Reconnected] {
            backlog.push(Item::Event(item));
        }
        backlog.push(version(1000));
        assert_eq!(
            drained(&mut backlog),
            ["ConnectionSuspended", "ConnectionLost", "ConnectionReconnected", "1000"]
        );
    }

    proptest! {
        #[test]
        fn a_collapsed_backlog_ends_where_the_whole_one_does(
            kinds in prop::collection::vec(0usize..6, 0..200),
            capacity in 1usize..50,
        ) {
            let all = [Suspended, Reconnected, Lost, Initialized, InStep];
            let (mut whole, mut bounded) = (Backlog::new(usize::MAX, Belief::default()), Backlog::new(capacity, Belief::default()));
            for (zxid, kind) in kinds.iter().enumerate() {
                let item = || all.get(*kind).map_or_else(|| version(zxid as i64), |kind| Item::Event(*kind));
                whole.push(item());
                bounded.push(item());
                prop_assert!(bounded.items.len() <= capacity.max(26));
            }
            let newest = |told: &[String]| told.iter().rfind(|item| item.parse::<i64>().is_ok()).cloned();
            let (all, some) = (drained(&mut whole), drained(&mut bounded));
            prop_assert!(whole.belief == bounded.belief);
            prop_assert_eq!(newest(&all), newest(&some));
            prop_assert_eq!(bounded.weight, 0);
            for kind in ["ConnectionSuspended", "ConnectionLost"] {
                prop_assert_eq!(all.iter().any(|item| item == kind), some.iter().any(|item| item == kind));
            }
            // No INITIALIZED before the version it speaks of.
            if let Some(at) = some.iter().position(|item| item == "Initialized")
                && let Some(first) = all.iter().position(|item| item == "Initialized")
                && all[..first].iter().any(|item| item.parse::<i64>().is_ok())
            {
                prop_assert!(some[..at].iter().any(|item| item.parse::<i64>().is_ok()));
            }
        }
    }
}

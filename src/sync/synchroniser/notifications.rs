//! What changes at the server, as notifications tell it.

use std::time::Instant;

use super::reads::HOT_FOR;
use super::{Link, Synchroniser};
use crate::path::NodePath;
use crate::planted::{self, Defect};
use crate::sync::flight::MOST_HOT_READS;
use crate::sync::unread::{History, Want};
use crate::wire::NotificationKind;

impl Synchroniser {
    /// A notification about `path`, which is in this tree.
    pub fn handle_notification(&mut self, kind: NotificationKind, path: &NodePath, now: Instant) {
        let Some(relative) = self.root.relative(path.as_str()) else { return };
        if self.link != Link::Watching || self.stopped || self.is_hidden(relative) {
            return;
        }
        self.note_current(now);
        match kind {
            NotificationKind::Created => self.created(path, relative, now),
            NotificationKind::Deleted => self.deleted(path, relative, now),
            NotificationKind::DataChanged => {
                if self.tree.get(relative).is_some() || self.unread.contains(path.as_str()) {
                    self.suspect(path, now, |want| want.data = true);
                } else {
                    self.look_for_hidden_ancestor(path.as_str());
                }
            }
            NotificationKind::Other(_) => {}
        }
        // A server that notifies and never answers fills no tree, but memory.
        self.check_limits(self.unread.suspects());
        self.note_edits(now);
        self.tell_state();
    }

    fn created(&mut self, path: &NodePath, relative: &str, now: Instant) {
        if self.is_too_long(path.as_str().len()) {
            return;
        }
        if let Some(parent) = self.parent_in_tree(path) {
            let is_known = match self.root.relative(parent).and_then(|parent| self.tree.get(parent)) {
                Some(entry) if entry.node.is_none() => return, // below an opaque node there is nothing
                Some(_) => true,
                None => self.unread.contains(parent),
            };
            if !is_known {
                return self.look_for_hidden_ancestor(parent);
            }
            self.child_changed(path, now, |history| history.created += 1);
        }
        // Where there still is a node, its deletion was hidden. What is read below the new one, maybe before that
        // itself is, must not end below the old one.
        if !planted::is(Defect::OldNodeKept) && self.tree.remove(relative) {
            self.edits += 1;
        }
        self.suspect(path, now, |want| {
            want.data = true;
            want.history = History { born: true, ..History::default() };
        });
    }

    fn deleted(&mut self, path: &NodePath, relative: &str, now: Instant) {
        self.amid = true;
        if self.tree.remove(relative) {
            self.edits += 1;
        }
        match self.unread.get(path.as_str()) {
            // The reply to come says the same, unless the node is created again, which is notified.
            Some(want) if want.in_flight => {
                self.unread.update(path, |want| *want = Want { in_flight: true, ..Want::default() });
            }
            _ => _ = self.unread.remove(path.as_str()),
        }
        self.candidates.read(path, relative, None);
        self.hot.remove(path.as_str());
        self.child_changed(path, now, |history| history.deleted += 1);
    }

    /// The parent's path, where the parent is in this tree too.
    pub(super) fn parent_in_tree<'p>(&self, path: &'p NodePath) -> Option<&'p str> {
        path.parent().filter(|parent| self.root.relative(parent).is_some())
    }

    /// A child was created or deleted: the parent's Stat has changed.
    pub(super) fn child_changed(&mut self, path: &NodePath, now: Instant, change: impl FnOnce(&mut History)) {
        let Some(parent) = self.parent_in_tree(path) else { return };
        if planted::is(Defect::ParentForgotten) {
            return;
        }
        let in_tree = self
            .root
            .relative(parent)
            .and_then(|parent| self.tree.get(parent))
            .is_some_and(|entry| entry.node.is_some());
        if in_tree || self.unread.contains(parent) {
            let Some(parent) = NodePath::of_server(parent) else { return };
            self.suspect(&parent, now, |want| change(&mut want.history));
        }
    }

    /// A node was created below one that is not known. Where the nearest known ancestor is still to be read, that
    /// will find it; otherwise what is in between was hidden from the session, and the ancestor's children show it.
    /// Where not even the root is known, it is the root that appeared unnoticed.
    fn look_for_hidden_ancestor(&mut self, mut path: &str) {
        loop {
            if self.unread.contains(path) {
                return;
            }
            let Some(relative) = self.root.relative(path) else { return };
            match self.tree.get(relative) {
                Some(entry) if entry.node.is_none() => return,
                Some(_) => break,
                None if relative.is_empty() => break,
                None => match path.rfind('/') {
                    Some(0) => path = "/",
                    Some(at) => path = &path[..at],
                    None => return,
                },
            }
        }
        if let Some(ancestor) = NodePath::of_server(path) {
            self.unread.update(&ancestor, |want| (want.suspect, want.children) = (true, true));
        }
    }

    /// The value of `path` in the tree is not, or may not be, the one at the server.
    pub(super) fn suspect(&mut self, path: &NodePath, now: Instant, change: impl FnOnce(&mut Want)) {
        self.amid = true;
        if self.unread.suspects() == 0 {
            self.exact_until = now;
        }
        self.unread.update(path, |want| {
            want.suspect = true;
            change(want);
        });
        self.hot.insert(path.clone(), now);
        if self.hot.len() > 2 * MOST_HOT_READS {
            self.hot.retain(|_, at| now - *at < HOT_FOR);
            if self.hot.len() > 2 * MOST_HOT_READS {
                self.hot.clear();
            }
        }
    }
}

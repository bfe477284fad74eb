//! What changes at the server, as notifications tell it.

use std::time::Instant;

use super::{Link, Synchroniser};
use crate::path::NodePath;
use crate::planted::{self, Defect};
use crate::selection::Kept;
use crate::sync::keeper::RootTold;
use crate::sync::unread::{History, Want};
use crate::wire::NotificationKind;

impl Synchroniser {
    /// A notification about `path`, which is in this tree.
    pub(crate) fn handle_notification(&mut self, kind: NotificationKind, path: &NodePath, now: Instant) {
        let Some(relative) = self.root.relative(path.as_str()) else { return };
        // What a server tells that may be behind the tree may have happened before. What comes later is read later.
        if self.link != Link::Watching || self.stopped || self.is_behind() {
            return;
        }
        if planted::is(Defect::NotifiedSinceForgotten) && self.wants_report().is_some() {
            return;
        }
        let is_kept = self.selection.of(relative) != Kept::Nothing;
        if !is_kept && (!self.is_parent_kept(path) || planted::is(Defect::LeftOutIgnored)) {
            return;
        }
        self.publisher.note_current(now);
        let is_doubtful = relative.is_empty() && self.is_root_in_doubt();
        if relative.is_empty() {
            self.note_root_told(kind);
        }
        match kind {
            _ if self.unread.is_one_shot() => {
                if is_kept {
                    self.told_once(kind, path, relative, now);
                }
            }
            NotificationKind::Created => self.created(path, relative, is_kept, now),
            NotificationKind::Deleted => {
                self.deleted(path, relative, is_kept, now);
                if is_doubtful && !planted::is(Defect::DeletionOfRootBelieved) {
                    self.suspect(path, now, |want| want.data = true);
                }
            }
            NotificationKind::DataChanged if is_kept => {
                if self.tree.get(relative).is_some() || self.unread.contains(path.as_str()) {
                    self.suspect(path, now, |want| want.data = true);
                } else {
                    self.look_for_hidden_ancestor(path.as_str());
                }
            }
            // What is below changes the Stat, and a watch of the node alone tells of it so.
            NotificationKind::ChildrenChanged if self.is_alone() && relative.is_empty() => {
                self.suspect(path, now, |_| {});
            }
            NotificationKind::DataChanged
            | NotificationKind::ChildrenChanged
            | NotificationKind::Other(_) => {}
        }
        // If a server notifies and never answers, the tree stays small, but what is unread fills the memory.
        self.check_limits(self.unread.suspects(), self.tree.bytes());
        self.publisher.note_edits(now);
        self.tell_state();
    }

    /// Whether the root was read on an earlier connection, and not again on this one.
    fn is_root_unverified(&self) -> bool {
        self.plan.is_unverified(&self.root) || self.unread.is_unverified(self.root.as_str())
    }

    /// The recursive watch tells of its root: what the root shows next must bear that out.
    fn note_root_told(&mut self, kind: NotificationKind) {
        let is_verified = !self.unread.is_one_shot() && !self.is_root_unverified();
        let known = self.tree.get("").and_then(|root| root.node()).map(|root| *root.stat());
        if self.root_told.is_none() && is_verified {
            self.root_told = known.map(RootTold::of);
        }
        if let Some(told) = &mut self.root_told {
            told.note(kind);
        }
    }

    /// Whether a deletion of the root may be that of another node, which the watch does not name: the root has children, as far
    /// as is known, so that nobody can delete it; or it may have got some, as something was told of it and it was not read since,
    /// or it was not read on this connection.
    fn is_root_in_doubt(&self) -> bool {
        let Some(root) = self.tree.get("") else { return self.unread.contains(self.root.as_str()) };
        let stat = root.node().map(|root| *root.stat());
        let may_have_children = self.root_told.is_some()
            || self.is_root_unverified() && !planted::is(Defect::EarlierRootBelieved);
        may_have_children || stat.is_none_or(|stat| stat.num_children != 0)
    }

    /// A watch was used up. What it told of is read again, and that sets it anew.
    fn told_once(&mut self, kind: NotificationKind, path: &NodePath, relative: &str, now: Instant) {
        let is_in_tree = self.tree.get(relative).is_some();
        let is_known = is_in_tree || self.unread.contains(path.as_str());
        match kind {
            NotificationKind::DataChanged if is_known => {
                self.suspect(path, now, |want| want.data = true);
                if self.counts_sets {
                    self.child_set(path, now);
                }
            }
            NotificationKind::ChildrenChanged if is_known && !planted::is(Defect::ListsForgotten) => {
                let is_open = self.selection.of(relative) == Kept::Open;
                self.suspect(path, now, |want| want.children |= is_open);
            }
            NotificationKind::Deleted if is_in_tree => {
                self.unread.note_deleted(path, relative.is_empty());
                self.deleted(path, relative, true, now);
                if relative.is_empty() {
                    // It may be created again, and that is told only if it is asked for.
                    self.suspect(path, now, |want| want.data = true);
                }
            }
            // If it is in a list, its parent has changed too, and was watched.
            NotificationKind::Deleted => self.unread.note_deleted(path, relative.is_empty()),
            // Of all that is missing, only the root is watched.
            NotificationKind::Created if relative.is_empty() => {
                self.suspect(path, now, |want| want.data = true);
            }
            _ => {}
        }
    }

    /// Not `is_kept`: the node is left out, and its parent is not.
    fn created(&mut self, path: &NodePath, relative: &str, is_kept: bool, now: Instant) {
        if is_kept && self.is_too_long(path.as_str().len()) {
            return;
        }
        if let Some(parent) = self.parent_in_tree(path) {
            let is_known = match self.root.relative(parent).and_then(|parent| self.tree.get(parent)) {
                Some(entry) if entry.is_opaque() => return, // below an opaque node there is nothing
                Some(_) => true,
                None => self.unread.contains(parent),
            };
            if !is_known {
                return self.look_for_hidden_ancestor(parent);
            }
            self.child_changed(path, now, |parent| {
                parent.history.created += 1;
                parent.history.left_out |= !is_kept;
            });
        }
        if !is_kept {
            return;
        }
        // If there still is a node, its deletion was hidden, and it must go: what is below the new node may be read
        // before the new node itself is, and must not end below the old one. It was not there, so its parent's list is
        // another one, however many it has.
        if !planted::is(Defect::OldNodeKept) && self.tree.remove(relative) {
            self.publisher.count_edit();
            self.candidates.clear();
            // (This finds out the other defect, too.)
            let planted = [Defect::ReplacedChildCounted, Defect::OtherHistoryCounted];
            if !planted.into_iter().any(planted::is) {
                self.child_changed(path, now, |parent| parent.children = true);
            }
        }
        self.suspect(path, now, |want| {
            want.data = true;
            want.history = History { born: true, ..History::default() };
        });
    }

    fn deleted(&mut self, path: &NodePath, relative: &str, is_kept: bool, now: Instant) {
        self.publisher.note_amid();
        if self.tree.remove(relative) {
            self.publisher.count_edit();
        }
        if self.plan.is_of_anchors()
            && self.unread.contains(path.as_str())
            && !planted::is(Defect::DeletedAnchorUnchanged)
        {
            // An anchor that is gone says nothing of what it was.
            self.plan.anchor_differs(self.link == Link::Watching, &self.tree, now);
        }
        self.unread.forget(path);
        self.candidates.read(path, relative, None, None);
        self.plan.note_gone(path);
        let is_one_shot = self.unread.is_one_shot();
        self.child_changed(path, now, |parent| {
            if is_one_shot {
                // Of what was created beside it, nothing tells.
                parent.children = true;
            } else {
                parent.history.deleted += 1;
                parent.history.left_out |= !is_kept;
            }
        });
    }

    /// Whether the Stat of the parent, which counts all children, is in the tree.
    fn is_parent_kept(&self, path: &NodePath) -> bool {
        let parent = self.parent_in_tree(path).and_then(|parent| self.root.relative(parent));
        parent.is_some_and(|parent| self.selection.of(parent) != Kept::Nothing)
    }

    /// The parent's path, where the parent is in this tree too.
    pub(super) fn parent_in_tree<'p>(&self, path: &'p NodePath) -> Option<&'p str> {
        path.parent().filter(|parent| self.root.relative(parent).is_some())
    }

    /// A child was created or deleted: the parent's Stat has changed.
    pub(super) fn child_changed(&mut self, path: &NodePath, now: Instant, change: impl FnOnce(&mut Want)) {
        let Some(parent) = self.parent_in_tree(path) else { return };
        if planted::is(Defect::ParentForgotten) {
            return;
        }
        if self.is_known(parent) {
            let Some(parent) = NodePath::of_server(parent) else { return };
            self.suspect(&parent, now, change);
        }
    }

    /// The data of a child was set, and at this server that counts in the parent's Stat. The parent's own watches are not
    /// used up by that. If it is being read by itself, what it is found to be may be older.
    fn child_set(&mut self, path: &NodePath, now: Instant) {
        let parent = self.parent_in_tree(path).filter(|parent| self.is_known(parent));
        let may_be_older = self.reads_singly && !planted::is(Defect::SingleReadOfParentKept);
        if let Some(parent) = parent.and_then(NodePath::of_server) {
            self.doubt(&parent, now, |want| want.again |= want.in_flight && may_be_older);
        }
    }

    /// Whether there is a Stat of this path, or one is to be read.
    pub(super) fn is_known(&self, path: &str) -> bool {
        let entry = self.root.relative(path).and_then(|relative| self.tree.get(relative));
        entry.is_some_and(|entry| !entry.is_opaque()) || self.unread.contains(path)
    }

    /// A node was created below one that is not known. If the nearest known ancestor, or the node right below it on the
    /// way, is still to be read, that read will find it. Otherwise what is in between was hidden from the session, and
    /// the ancestor's children show it. If not even the root is known, the root itself appeared unnoticed.
    fn look_for_hidden_ancestor(&mut self, path: &str) {
        let Some(relative) = self.root.relative(path) else { return };
        // One walk down the tree: what comes off the wire may be long, and is looked at once.
        let (ancestor, below) = match self.tree.deepest(relative) {
            Some((_, entry)) if entry.is_opaque() => return,
            Some((ancestor, _)) => (ancestor, first_below(relative, ancestor)),
            None => ("", None),
        };
        let ancestor = self.root.absolute(ancestor);
        let is_to_be_read = |path: &NodePath| self.unread.contains(path.as_str());
        if is_to_be_read(&ancestor) || below.is_some_and(|below| is_to_be_read(&self.root.absolute(below))) {
            return;
        }
        // (That it was hidden is one reason; another is that it was created while there was no connection.)
        let unverified = self.plan.is_unverified(&ancestor) && !planted::is(Defect::HiddenAncestorVerified);
        self.unread.update(&ancestor, |want| {
            (want.suspect, want.children) = (true, true);
            want.unverified |= unverified;
        });
    }

    /// The value of `path` in the tree is not, or may not be, the one at the server. Its watch has told of that.
    pub(super) fn suspect(&mut self, path: &NodePath, now: Instant, change: impl FnOnce(&mut Want)) {
        let armed = self.unread.armed();
        self.doubt(path, now, |want| {
            want.used_up(armed);
            change(want);
        });
    }

    /// The same, and no watch of the node has told of it.
    pub(super) fn doubt(&mut self, path: &NodePath, now: Instant, change: impl FnOnce(&mut Want)) {
        self.publisher.note_amid();
        if self.unread.suspects() == 0 {
            self.plan.note_exact(now);
        }
        let unverified = self.plan.is_unverified(path);
        self.unread.update(path, |want| {
            want.suspect = true;
            want.unverified |= unverified;
            change(want);
        });
        self.plan.note_hot(path, now);
    }
}

/// The path that is one name longer than `ancestor` on the way to `path`; both are relative to a root.
fn first_below<'p>(path: &'p str, ancestor: &str) -> Option<&'p str> {
    let behind = if ancestor.is_empty() { 0 } else { ancestor.len() + 1 };
    let rest = path.get(behind..).filter(|rest| !rest.is_empty())?;
    Some(&path[..behind + rest.find('/').unwrap_or(rest.len())])
}

//! What reads find.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use super::{Link, Synchroniser};
use crate::error::{Fault, Status};
use crate::names::Siblings;
use crate::path::{NodePath, is_name};
use crate::planted::{self, Defect};
use crate::selection::Kept;
use crate::stat::{Stat, Zxid};
use crate::sync::Data;
use crate::sync::data::Refusal;
use crate::sync::evidence;
use crate::sync::flight::{Found, MOST_READS, Part};
use crate::sync::runs::{Answer, Arrived};
use crate::sync::unread::Want;
use crate::tree::{Node, NodeRef};
use crate::wire::{Malformed, ServerError};

impl Synchroniser {
    /// The result of one read of a flight; `zxid` is the one in the reply's header.
    pub(crate) fn handle_found(&mut self, path: &NodePath, found: Found<'_>, zxid: Zxid, now: Instant) {
        let Some(relative) = self.root.relative(path.as_str()) else { return };
        if self.stopped {
            return;
        }
        let Some(mut want) = self.unread.remove(path.as_str()) else { return };
        want.in_flight = false;
        if self.counts_sets && !matches!(found, Found::Failed(_)) {
            self.sets.note_read(path);
        }
        self.found(path, relative, found, want, zxid, now);
        let Want { again: is_used_up, unset: is_unset, .. } = want;
        // What is not there needs no watch: its parent's list tells of it. Of the root nothing else tells, and its creation
        // is watched.
        let is_there = self.tree.get(relative).is_some();
        if is_there && (is_used_up || is_unset) || is_used_up && relative.is_empty() {
            self.unread.update(path, |again| {
                again.suspect = true;
                again.data |= want.data;
                again.children |= want.children;
            });
        }
    }

    /// What was `found` of a path of which that was wanted.
    fn found(
        &mut self,
        path: &NodePath,
        relative: &str,
        found: Found<'_>,
        mut want: Want,
        zxid: Zxid,
        now: Instant,
    ) {
        let is_doubtful = std::mem::take(&mut want.again) | std::mem::take(&mut want.unset);
        let is_there = !matches!(found, Found::Missing | Found::Failed(_));
        if relative.is_empty() && is_there {
            self.root_creation.root_found();
        }
        if let (Found::Node { stat, .. } | Found::Stat { stat, .. }, false) = (&found, zxid.is_transaction())
            && stat.newest() < zxid
        {
            self.undated_newest = self.undated_newest.max(stat.newest());
        }
        let known = self.tree.get(relative).map(|entry| entry.node().map(|node| *node.stat()));
        if want.unverified && self.may_have_come_anew(path, &found, &known) {
            self.child_changed(path, now, |parent| parent.children = true);
        }
        let is_other = || !is_as_known(&found, &known);
        self.plan.note_found(relative, found.stat(), is_other);
        let is_anchor = self.plan.is_of_anchors();
        let has_other_children = || match &found {
            Found::Node { children: Some(names), .. } | Found::Stat { children: Some(names), .. } => {
                is_anchor && self.lacks_known_child(relative, names, &want)
            }
            _ => false,
        };
        let was_known = !want.suspect || is_anchor || known.is_some();
        if was_known && (is_other() || has_other_children()) {
            self.found_unexpected(path, &found, &known, &want, now);
        }
        let old = known.flatten();
        // If a notification, or the replacement of an ancestor, took the node out of the tree: the node as it was
        // published.
        let shown = || self.publisher.node(relative).filter(|_| !planted::is(Defect::ShownForgotten));
        let seen = old.or_else(|| shown().map(|node| *node.stat()));
        if let Some(seen) = seen {
            self.look_for_another_history(path, relative, &seen, &found, zxid, &want);
        }
        if relative.is_empty()
            && let Some(told) = self.root_told.take()
            && found.stat().is_some_and(|stat| told.is_refuted_by(stat))
        {
            log::warn!("{path} was told to have changed, and has not: the watch names what is watched");
            self.misnamed = true;
        }
        let (node, children) = match found {
            Found::Node { data, stat, children } => (self.node_of(path, relative, data, stat), children),
            Found::Stat { stat, children } => match self.node_without_data(relative, stat, &children) {
                Some(node) => (node, children),
                None => return self.read_again(path, relative, want),
            },
            Found::Torn => return self.read_again(path, relative, want),
            Found::Missing => return self.found_missing(path, relative, want, now),
            Found::Unreadable => return self.found_unreadable(path, relative, want),
            Found::Failed(error) => return self.found_failed(path, error, want, now),
        };
        // A list may have been read for the sake of the ACL alone.
        let children = children.filter(|_| self.selection.of(relative) == Kept::Open);
        let children = children.map(|names| self.sorted_names(relative, names));
        // What was told amid the reads may have come between node and list.
        let names = children.as_deref().filter(|_| !is_doubtful);
        self.candidates.read(path, relative, Some(&node), names);
        self.put(path, relative, node, old, children, want);
    }

    /// What a read has found is not enough.
    fn read_again(&mut self, path: &NodePath, relative: &str, want: Want) {
        self.candidates.read(path, relative, None, None);
        if !want.suspect {
            // An ACL has changed, of which nothing tells, or more; the candidates rest on what was known.
            self.candidates.clear();
        }
        // Who may read the child list may read the data, too.
        let again = match self.options.data.is_kept() {
            true => Want { data: true, suspect: true, ..want },
            false => Want { children: true, suspect: true, ..want },
        };
        self.unread.update(path, |new| *new = again);
    }

    /// The node that a read has found, with what is kept of its data.
    fn node_of(&mut self, path: &NodePath, relative: &str, data: &[u8], stat: Stat) -> Node {
        let keeps = self.options.data;
        let known = self.tree.get(relative).and_then(|entry| entry.node());
        let old_len = known.map_or(0, |known| keeps.sent(&known));
        self.plan.note_growth(data.len().saturating_sub(old_len));
        match known {
            _ if !keeps.is_kept() => Node::without_data(stat),
            Some(known) if is_uncompressed_already(keeps, known.stat(), &stat) => known.with_stat(stat),
            _ => {
                let kept = keeps.keep(data);
                let refusal = kept.as_ref().err().copied();
                let kept = kept.unwrap_or(Cow::Borrowed(data));
                let node = match known {
                    Some(known) if known.data() == &*kept => known.with_stat(stat),
                    _ => Node::new(Arc::from(&*kept), stat),
                };
                refusal.into_iter().for_each(|refusal| self.kept_as_it_came(path, refusal));
                node
            }
        }
    }

    /// The node whose Stat was read without its data, if that is enough: the data that is kept is the node's still, and
    /// may still be read.
    fn node_without_data(&self, relative: &str, stat: Stat, children: &Option<Vec<&str>>) -> Option<Node> {
        let known = self.tree.get(relative).and_then(|entry| entry.node());
        if self.options.data.is_kept() {
            return known
                .filter(|known| Self::says_the_same_of_data(known.stat(), &stat))
                .map(|known| known.with_stat(stat));
        }
        // A server tells the Stat of a node to those, too, who may not read it; not its child list.
        let may_read = |known: &NodeRef<'_>| {
            let is_same_acl =
                known.stat().aversion == stat.aversion || planted::is(Defect::StatTakenForLeave);
            known.stat().is_same_node(&stat) && is_same_acl
        };
        let is_enough = children.is_some() || known.is_some_and(|known| may_read(&known));
        is_enough.then(|| Node::without_data(stat))
    }

    /// Data that was to be uncompressed could not be.
    fn kept_as_it_came(&mut self, path: &NodePath, refusal: Refusal) {
        let message = format!("the data of {path} {}; it is kept as it came", refusal.reason());
        self.fault(Fault::new(refusal.status(), message).at(path));
    }

    /// The results of reading some nodes of a list, of which nothing else was known when they were asked for. `found`
    /// gives one after the other.
    ///
    /// # Errors
    /// Those of `found`.
    pub(crate) fn handle_part<'r>(
        &mut self,
        part: &Part,
        found: impl FnMut() -> Result<Found<'r>, Malformed>,
        zxid: Zxid,
        now: Instant,
    ) -> Result<(), Malformed> {
        let siblings = &part.siblings;
        let Some(parent) = self.root.relative(siblings.parent.as_str()) else { return Ok(()) };
        let room = match self.options.data {
            Data::Gzip { .. } => vec![OnceCell::new(); siblings.places.len()],
            Data::All | Data::None => Vec::new(),
        };
        let mut keeping = self.keeping(&room);
        let (answer, others) = self.sort_found(part, parent, found, &mut keeping, zxid)?;
        self.look_at_what_is_kept(siblings, keeping);
        let due = self.unread.runs().arrived(siblings, &answer);
        self.put_siblings(siblings, parent, &due);
        for (place, found) in others {
            let path = siblings.parent.absolute(siblings.names.get(place as usize));
            self.handle_found(&path, found, zxid, now);
        }
        Ok(())
    }

    /// The nodes that are no more than was expected, and what else was found, by their places in the list.
    fn sort_found<'k, 'r: 'k>(
        &mut self,
        part: &Part,
        parent: &str,
        mut found: impl FnMut() -> Result<Found<'r>, Malformed>,
        keeping: &mut Keeping<'k>,
        zxid: Zxid,
    ) -> Result<(Answer<'k>, Vec<(u32, Found<'r>)>), Malformed> {
        let siblings = &part.siblings;
        let (of, is_proof) = (self.czxid(parent), part.is_proof);
        let read = Vec::with_capacity(siblings.places.len());
        let mut answer = Answer { of, read, answered: 0, largest: 0, is_proof, proof: Vec::new() };
        let mut others = Vec::new();
        // Where more is known than that the list has named them, each is looked at by itself.
        let is_plain = !self.plan.is_of_anchors() && self.candidates.is_empty() && !self.stopped;
        let shown = self.publisher.children(parent);
        let is_asked = self.unread.asked_of(siblings);
        for place in &siblings.places {
            let is_new =
                || shown.is_none_or(|shown| shown.get(siblings.names.get(*place as usize)).is_none());
            let found = found()?;
            answer.answered += usize::from(!matches!(found, Found::Failed(_)));
            if let Found::Node { data, .. } = &found {
                answer.largest = answer.largest.max(data.len());
            }
            match found {
                Found::Node { data, stat, children: None } if is_plain && is_asked(*place) && is_new() => {
                    if !zxid.is_transaction() && stat.newest() < zxid {
                        self.undated_newest = self.undated_newest.max(stat.newest());
                    }
                    if part.is_proof {
                        self.plan.note_growth(data.len());
                        answer.proof.push(data.len());
                    }
                    answer.read.push((*place, keeping.node(*place, data, stat)));
                }
                other => others.push((*place, other)),
            }
        }
        Ok((answer, others))
    }

    fn keeping<'k>(&self, room: &'k [OnceCell<Vec<u8>>]) -> Keeping<'k> {
        let left = match self.options.limit_bytes {
            0 => usize::MAX,
            limit => limit.saturating_sub(self.tree.bytes()),
        };
        let room = room.iter();
        Keeping { data: self.options.data, room, left, uncompressed: 0, refused: Vec::new() }
    }

    /// What could not be uncompressed is told, and what could be counts before it is in the tree.
    fn look_at_what_is_kept(&mut self, siblings: &Siblings, keeping: Keeping<'_>) {
        let Keeping { uncompressed, refused, .. } = keeping;
        for (place, refusal) in refused {
            self.kept_as_it_came(&siblings.parent.absolute(siblings.names.get(place as usize)), refusal);
        }
        if uncompressed > 0 {
            self.check_limits(self.tree.len(), self.tree.bytes().saturating_add(uncompressed));
        }
    }

    /// Puts nodes of a list into the tree, which has none of them.
    fn put_siblings(&mut self, siblings: &Siblings, parent: &str, due: &[(u32, Arrived<'_>)]) {
        if due.is_empty() || self.stopped {
            return;
        }
        let name = |place: u32| siblings.names.get(place as usize);
        let selection = self.selection.clone();
        let level = selection.level(parent);
        let is_open = |name: &str| level.as_ref().is_none_or(|level| level.child(name) == Kept::Open);
        let nodes = due.iter().map(|(place, arrived)| (name(*place), arrived.node()));
        let is_put = self.tree.put_children(parent, nodes);
        self.plan.note_found(parent, None, || true);
        let mut buffer = String::new();
        for (place, arrived) in due {
            let path = || siblings.parent.absolute_in(name(*place), &mut buffer);
            if !is_put {
                self.put_off(&{ path }(), Want { discovered: true, unverified: true, ..Want::default() });
                continue;
            }
            self.publisher.count_edit();
            if self.sets.may_be_news(arrived.node().stat()) {
                self.touch(&siblings.parent);
            }
            if arrived.node().stat().num_children != 0 && is_open(name(*place)) {
                self.unread.update(&{ path }(), |want| {
                    *want = Want { children: true, suspect: true, discovered: true, ..Want::default() };
                });
            }
        }
        self.check_limits(self.tree.len(), self.tree.bytes());
    }

    /// Whether a known node may have been created, as another one and in secret, since its parent was read in this verification:
    /// then it was not there when its parent counted its children.
    fn may_have_come_anew(&self, path: &NodePath, found: &Found<'_>, known: &Option<Option<Stat>>) -> bool {
        let is_newer = |stat: &Stat| {
            let parent = self.parent_in_tree(path).and_then(|parent| self.root.relative(parent));
            let parent = parent.and_then(|parent| self.tree.get(parent)?.node());
            parent.is_some_and(|parent| stat.czxid > parent.stat().pzxid)
        };
        let may_have = match (found, known) {
            (Found::Unreadable, Some(_)) => true,
            (Found::Node { stat, .. } | Found::Stat { stat, .. }, Some(known)) => {
                known.is_none_or(|known| !stat.is_same_node(&known)) && is_newer(stat)
            }
            _ => false,
        };
        may_have && !planted::is(Defect::ReplacedInSecret)
    }

    /// A read found something else than what is in the tree, or a node where the tree has none.
    fn found_unexpected(
        &mut self,
        path: &NodePath,
        found: &Found<'_>,
        known: &Option<Option<Stat>>,
        want: &Want,
        now: Instant,
    ) {
        if self.plan.is_of_anchors() {
            self.plan.anchor_differs(self.link == Link::Watching, &self.tree, now);
        }
        if !want.suspect {
            // It was hidden from the session, and the candidates rest on what was known.
            self.candidates.clear();
        }
        match (found, known) {
            (Found::Node { stat, .. } | Found::Stat { stat, .. }, Some(Some(known))) => {
                // Only an ACL hides a change of data. If the ACL is the same, a notification should have told of the
                // change.
                let is_same_acl = stat.is_same_node(known) && stat.aversion == known.aversion;
                let is_told = want.is_data_in_doubt() || !is_same_acl || stat.has_same_data(known);
                // Between two watches, nothing is told.
                let is_watched = self.link == Link::Watching;
                if !is_told && is_watched && !self.is_zookeepers && !planted::is(Defect::LostWatchIgnored) {
                    log::warn!("{path} has changed, and no notification told of it: the watch is lost");
                    self.lost_watch = true;
                }
            }
            // The known list of its parent lacks this node too.
            (Found::Node { .. } | Found::Stat { .. } | Found::Unreadable | Found::Torn, None)
                if !want.suspect =>
            {
                self.child_changed(path, now, |parent| parent.children = true);
            }
            _ => {}
        }
    }

    /// If no single history can hold both what was known and what was found, that is noted as evidence.
    fn look_for_another_history(
        &mut self,
        path: &NodePath,
        relative: &str,
        known: &Stat,
        found: &Found<'_>,
        zxid: Zxid,
        want: &Want,
    ) {
        let (Found::Node { stat, children, .. } | Found::Stat { stat, children }) = found else { return };
        if self.is_zookeepers || self.evidence.is_some() || planted::is(Defect::EvidenceIgnored) {
            return;
        }
        let lost_child = || {
            let is_found = want.lost_child && self.tree.get(relative).is_some();
            is_found || children.as_ref().is_some_and(|names| self.lacks_known_child(relative, names, want))
        };
        let evidence = evidence::of_another_history(known, stat, zxid, lost_child);
        self.evidence = evidence.map(|what| format!("{path}: {what}"));
    }

    /// Whether `names` lacks a child that is for certain in the known list.
    fn lacks_known_child(&self, relative: &str, names: &[&str], want: &Want) -> bool {
        let is_known = !want.children && !want.history.has_changes();
        let known = self.tree.get(relative).and_then(|entry| entry.children()).filter(|_| is_known);
        known.is_some_and(|known| lacks_one(names, known.iter().map(|(name, _)| name)))
    }

    /// Whether the data that belongs to `known` is still the node's, and may still be read.
    fn says_the_same_of_data(known: &Stat, stat: &Stat) -> bool {
        (known.has_same_data(stat) || known.is_same_node(stat) && planted::is(Defect::LargeDataKept))
            && known.aversion == stat.aversion
    }

    /// Puts a node that was read into the tree, and sees to it that its child list is the one its Stat speaks of.
    fn put(
        &mut self,
        path: &NodePath,
        relative: &str,
        node: Node,
        old: Option<Stat>,
        children: Option<Vec<&str>>,
        want: Want,
    ) {
        let stat = *node.stat();
        let old = old.filter(|old| {
            let same = old.is_same_node(&stat);
            if !same {
                self.tree.remove(relative);
            }
            same
        });
        let known = self.tree.get(relative).and_then(|entry| entry.node());
        if known != Some(node.lend()) {
            if !self.tree.put(relative, Some(node)) {
                return self.put_off(path, want);
            }
            self.publisher.count_edit();
        }
        let is_news = old.map_or_else(|| self.sets.may_be_news(&stat), |old| old.mzxid != stat.mzxid);
        if is_news {
            self.touch_parent(path);
        }
        let is_kept_alone = self.selection.of(relative) == Kept::Alone;
        let is_explained = want.explains(old.as_ref(), &stat)
            || self.counts_sets && old.is_some_and(|old| want.is_of_sets(&old, &stat));
        let is_list_known = is_explained && !self.misses_children(relative, &want);
        match children {
            Some(names) => self.found_children(path, relative, names, &want),
            None if is_kept_alone => {}
            // Nothing is below a node that is new.
            None if stat.num_children == 0 && old.is_none() => {}
            None if stat.num_children == 0 => self.found_children(path, relative, Vec::new(), &want),
            None if is_list_known => {}
            None => {
                let is_told = want.discovered || self.unread.is_one_shot() && (want.listed || want.children);
                if !is_told && !stat.is_saturated() {
                    // Something was hidden from the session, and the candidates rest on what was known.
                    self.candidates.clear();
                }
                self.unread.update(path, |again| {
                    *again = Want {
                        children: true,
                        suspect: true,
                        discovered: want.discovered,
                        ..Want::default()
                    };
                });
            }
        }
        self.check_limits(self.tree.len(), self.tree.bytes());
    }

    /// The data of this node was set, and that counts in the parent's Stat, which may have been read before.
    fn touch_parent(&mut self, path: &NodePath) {
        if let Some(parent) = self.parent_in_tree(path).and_then(NodePath::of_server) {
            self.touch(&parent);
        }
    }

    /// The data of a child of this node was set.
    fn touch(&mut self, parent: &NodePath) {
        if self.counts_sets && !planted::is(Defect::SetsNotCounted) {
            self.sets.touch(parent);
        }
    }

    /// Whether fewer or more children of a node in the tree are known than its Stat counts, even if notifications explain the
    /// Stat, or it is what it was: the node may have been replaced where the session could not see it, or an earlier server may
    /// have listed a child that it did not have. This is looked at when the tree is verified, or else only if nothing is
    /// suspect, and not each time: this server may list a child that it does not have.
    fn misses_children(&self, relative: &str, want: &Want) -> bool {
        // (Counting finds out what is planted elsewhere, too.)
        let planted =
            [Defect::ChildrenNotCountedAnew, Defect::OtherHistoryCounted, Defect::ListsOfNoCutTrusted];
        let is_verified = want.unverified && !want.counted && !planted.into_iter().any(planted::is);
        let is_counted = (want.history.has_changes() || !want.suspect) && self.unread.suspects() == 0;
        if !(is_verified || is_counted) || planted::is(Defect::ChildrenNotCounted) {
            return false;
        }
        // Children that are left out are in the Stat and not in the tree: then the list is read in each verification and
        // audit instead. But if there are none of them by what was counted since the node was created, the numbers are
        // equal.
        let is_counted_from_birth = want.history.has_changes() && want.history.born;
        if self.selection.may_leave_out(relative) && !is_counted_from_birth {
            return false;
        }
        self.tree.get(relative).is_some_and(|entry| !entry.has_as_many_children_as_it_counts())
    }

    /// The parent of this node is not in the tree: the node was read while the parent was replaced. It is read again
    /// behind its parent. For that, its child list is wanted too: nodes alone are read before lists, and the parent may
    /// wait for its list. If the parent is not being read, the node is out of reach.
    fn put_off(&mut self, path: &NodePath, want: Want) {
        if self.parent_in_tree(path).is_some_and(|parent| self.unread.contains(parent)) {
            self.unread.update(path, |again| {
                *again = Want { data: true, children: true, suspect: true, ..want };
            });
        }
    }

    /// Those of the names that a list has which can be in the tree.
    fn sorted_names<'r>(&self, relative: &str, mut names: Vec<&'r str>) -> Vec<&'r str> {
        let level = self.selection.level(relative);
        let is_kept = |name: &str| level.as_ref().is_none_or(|level| level.child(name) != Kept::Nothing);
        names.retain(|name| is_name(name) && is_kept(name));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// A child list, sorted, at the zxid of the Stat that came with it.
    fn found_children(&mut self, path: &NodePath, relative: &str, mut names: Vec<&str>, want: &Want) {
        self.check_limits(names.len(), self.tree.bytes());
        if self.stopped {
            return;
        }
        self.unread.relisted(path, &names);
        let known = self.tree.get(relative).and_then(|entry| entry.children().cloned());
        let is_one_shot = self.unread.is_one_shot();
        if let Some(known) = &known {
            for (name, entry) in known.iter() {
                if names.binary_search(&name).is_ok() {
                    // Nothing may have told that there is another one in its place, but that the list has changed.
                    if is_one_shot && want.children && entry.is_opaque() {
                        self.unread.update(&path.absolute(name), |want| want.suspect = true);
                    }
                } else {
                    let child = path.absolute(name);
                    self.tree.remove(self.root.relative(child.as_str()).unwrap_or_default());
                    self.unread.forget(&child);
                    self.publisher.count_edit();
                }
            }
            names.retain(|name| known.get(name).is_none());
        }
        let longest = names.iter().map(|name| name.len()).max().unwrap_or(0);
        if names.is_empty() || self.is_too_long(path.child_len(longest)) {
            return;
        }
        if is_one_shot && !want.discovered && names.len() <= MOST_READS && self.is_following() {
            // As a notification would have named them with a recursive watch.
            for name in names {
                self.unread.update(&path.absolute(name), |want| {
                    if !want.suspect {
                        (want.suspect, want.listed, want.data) = (true, true, true);
                    }
                });
            }
        } else {
            // What they lack will not be known before this is read.
            self.candidates.clear();
            self.unread.listed(path, self.czxid(relative), names);
        }
    }

    /// That of the node in the tree; 0 where there is none that can be read.
    fn czxid(&self, relative: &str) -> Zxid {
        self.tree.get(relative).and_then(|entry| entry.node()).map_or(Zxid(0), |node| node.stat().czxid)
    }

    fn found_missing(&mut self, path: &NodePath, relative: &str, want: Want, now: Instant) {
        self.candidates.read(path, relative, None, None);
        let was_there = self.tree.remove(relative);
        if was_there {
            self.publisher.count_edit();
        }
        if was_there || want.suspect {
            // Nothing notified of it, so the parent's Stat is not known. Its child list is not known either, whatever
            // the Stat says: there may be another child in the place of this one. (If all known children are there, and
            // as many as the Stat counts, there is no other.) The exception is a path that was just found in a list,
            // read behind the watch: it went after that, or a server has it in its lists and nowhere else.
            let was_just_listed =
                (want.discovered || want.listed) && !want.unverified && !want.history.born && !was_there;
            if was_there && planted::is(Defect::EarlierParentTakenForEvidence) {
                self.evidence.get_or_insert_with(|| format!("{path} is missing"));
            }
            self.child_changed(path, now, |parent| {
                parent.lost_child |= was_there && !parent.children && !parent.history.has_changes();
                parent.children |= !was_just_listed && !planted::is(Defect::LostChildIgnored);
                parent.counted |= was_just_listed;
            });
        }
        if relative.is_empty() {
            self.root_creation.root_missing();
        }
    }

    fn found_unreadable(&mut self, path: &NodePath, relative: &str, want: Want) {
        self.candidates.read(path, relative, None, None);
        if want.suspect {
            // Its data may have been set once more than was told.
            self.touch_parent(path);
        }
        if self.tree.get(relative).is_some_and(|entry| entry.is_opaque()) {
            return;
        }
        if !self.tree.put(relative, None) {
            return self.put_off(path, want);
        }
        self.publisher.count_edit();
        self.unread.runs().release(path);
        if relative.is_empty() {
            let message = format!("the session may not read the root {path}");
            self.fault(
                Fault::new(Status::NoPermission, message).at(path).server_error(ServerError::NO_AUTH.0),
            );
        } else {
            log::debug!("the session may not read {path}");
        }
    }

    fn found_failed(&mut self, path: &NodePath, error: ServerError, want: Want, now: Instant) {
        self.unread.update(path, |again| *again = Want { suspect: true, ..want });
        self.candidates.read(path, self.root.relative(path.as_str()).unwrap_or_default(), None, None);
        if !self.plan.is_waiting() && error != ServerError::THROTTLED {
            let message = format!("the server could not read {path}: {error}");
            self.fault(Fault::new(Status::Protocol, message).at(path).server_error(error.0));
        }
        self.plan.retry_later(now);
    }

    /// A reply is through; `zxid` is the one in its header.
    pub(crate) fn handle_reply(&mut self, zxid: Zxid, now: Instant) {
        self.plan.handle_reply(now);
        if self.counts_sets {
            for parent in self.sets.end_reply(zxid) {
                if self.is_known(parent.as_str()) {
                    self.doubt(&parent, now, |_| {});
                }
            }
        }
        // Where the connection ends for what was found, that comes first.
        let is_of_use = self.evidence.is_none() && !self.lost_watch && !self.misnamed;
        if self.link == Link::Watching && !self.stopped && is_of_use {
            self.conclude_anchors();
            self.publisher.note_edits(now);
            // Some servers do not say at which zxid a request failed.
            if zxid > Zxid(0) {
                self.settle(zxid, now);
            }
        }
        self.tell_state();
    }
}

/// Whether `names`, in any order, lack one that is `known`. There may be very many of both.
fn lacks_one<'n>(names: &[&str], mut known: impl Iterator<Item = &'n str>) -> bool {
    let listed: HashSet<&str> = names.iter().copied().collect();
    known.any(|name| !listed.contains(name))
}

/// What is kept of the data of some nodes of a list.
struct Keeping<'k> {
    data: Data,
    /// For what is uncompressed, until it is in the tree.
    room: std::slice::Iter<'k, OnceCell<Vec<u8>>>,
    /// How many bytes there may be of that; if there are more, the tree is beyond its limit, whatever else comes.
    left: usize,
    uncompressed: usize,
    /// What could not be uncompressed, by place in the list.
    refused: Vec<(u32, Refusal)>,
}

impl<'k> Keeping<'k> {
    fn node(&mut self, place: u32, data: &'k [u8], stat: Stat) -> NodeRef<'k> {
        match self.data {
            Data::All => NodeRef::new(data, stat),
            Data::None => NodeRef::without_data(stat),
            Data::Gzip { .. } => NodeRef::new(self.keep(place, data), stat),
        }
    }

    fn keep(&mut self, place: u32, data: &'k [u8]) -> &'k [u8] {
        if self.uncompressed > self.left {
            return data;
        }
        match self.data.keep(data) {
            Ok(Cow::Borrowed(kept)) => kept,
            Ok(Cow::Owned(kept)) => {
                self.uncompressed = self.uncompressed.saturating_add(kept.len());
                self.room.next().map_or(data, |room| room.get_or_init(|| kept))
            }
            Err(refusal) => {
                self.refused.push((place, refusal));
                data
            }
        }
    }
}

/// Whether what is known was uncompressed from the data that a read has found again.
fn is_uncompressed_already(keeps: Data, known: &Stat, stat: &Stat) -> bool {
    let is_same =
        known.has_same_data(stat) || known.is_same_node(stat) && planted::is(Defect::UncompressedDataKept);
    matches!(keeps, Data::Gzip { .. }) && is_same
}

/// Whether a read found what is in the tree already; aversion aside.
fn is_as_known(found: &Found<'_>, known: &Option<Option<Stat>>) -> bool {
    match (found, known) {
        (Found::Node { stat, .. } | Found::Stat { stat, .. }, Some(Some(known))) => {
            *stat == Stat { aversion: stat.aversion, ..*known }
        }
        (Found::Missing, None) | (Found::Unreadable, Some(None)) | (Found::Failed(_), _) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_list_lacks_is_found_in_no_more_time_than_it_takes_to_read_it() {
        let names: Vec<String> =
            (0..200_000).map(|number| format!("a-name-of-some-length-{number:06}")).collect();
        let backwards: Vec<&str> = names.iter().rev().map(String::as_str).collect();
        let began = Instant::now();
        assert!(!lacks_one(&backwards, names.iter().map(String::as_str)));
        assert!(lacks_one(&backwards[1..], names.iter().map(String::as_str)));
        // Each with each takes minutes.
        assert!(began.elapsed() < std::time::Duration::from_secs(20));
    }
}

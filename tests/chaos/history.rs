//! What the ensemble has done, by its own account: the transaction logs of its servers.

use std::collections::BTreeMap;
use std::sync::Arc;

use treecache::{Snapshot, Stat, Zxid};
use treecache_checks::{Access, Change, Transaction, Truth};
use treecache_test_support::{Acl, Logged, LoggedChange, TransactionLog, TruthNode};

/// All that was committed since the ensemble began at zxid 0.
#[derive(Default)]
pub struct History {
    pub transactions: Vec<Transaction>,
}

impl History {
    /// The history that the servers of an ensemble have written down.
    ///
    /// # Errors
    /// When it contradicts itself: then it is not understood, and nothing can be checked by it.
    pub fn of(logs: &[TransactionLog]) -> Result<History, String> {
        let mut truth = Truth::of_a_new_server();
        let mut transactions = Vec::new();
        for logged in committed(logs)? {
            let zxid = Zxid(logged.zxid);
            let mut changes = Vec::new();
            for logged_change in &logged.changes {
                for change in resolve(logged_change, logged.session, &truth)
                    .map_err(|what| format!("at {zxid} {what}, says the log: {logged_change:?}"))?
                {
                    let change_alone = Transaction { zxid, time: logged.time, changes: vec![change.clone()] };
                    truth.apply(&change_alone);
                    changes.push(change);
                }
            }
            transactions.push(Transaction { zxid, time: logged.time, changes });
        }
        Ok(History { transactions })
    }

    /// Whether this is what `earlier` has become.
    pub fn continues(&self, earlier: &History) -> bool {
        self.transactions.starts_with(&earlier.transactions)
    }

    /// The tree after all of it.
    pub fn truth(&self) -> Truth {
        let mut truth = Truth::of_a_new_server();
        for transaction in &self.transactions {
            truth.apply(transaction);
        }
        truth
    }

    /// The transactions that change something that a cache of `root` shows, and their times.
    pub fn touching(&self, root: &str) -> Vec<(Zxid, i64)> {
        let touches = |change: &Change| {
            matches!(change, Change::Create { path, .. } | Change::Delete { path } | Change::SetData { path, .. }
                if is_at_or_below(path, root))
        };
        let touching = self.transactions.iter().filter(|transaction| transaction.changes.iter().any(touches));
        touching.map(|transaction| (transaction.zxid, transaction.time)).collect()
    }

    /// The transactions that create or set several nodes, with the paths of these.
    pub fn multis(&self) -> Vec<(Zxid, Vec<Arc<str>>)> {
        let paths = |transaction: &Transaction| -> Vec<Arc<str>> {
            let shown = transaction.changes.iter().filter_map(|change| match change {
                Change::Create { path, .. } | Change::SetData { path, .. } => Some(path.clone()),
                Change::Delete { .. } | Change::SetAcl { .. } => None,
            });
            shown.collect()
        };
        let all = self.transactions.iter().map(|transaction| (transaction.zxid, paths(transaction)));
        all.filter(|(_, paths)| paths.len() > 1).collect()
    }
}

fn is_at_or_below(path: &str, root: &str) -> bool {
    root == "/" || path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What was committed of what was logged, in order.
///
/// No two leaders share an epoch, and a zxid begins with its leader's, so one zxid is one transaction wherever it is
/// found. A transaction is committed when a quorum has logged it: two of three servers. No server forgets one, so
/// two logs have it, unless it came to the others as part of a snapshot. That happens in one case that matters: a
/// server alone had logged it, was elected and so made it part of history, and the others were too far behind to be
/// sent transactions. A leader takes a snapshot when it begins to lead, and the snapshot bears the zxid of the last
/// transaction in it. So one log is enough if its server has a snapshot of the same epoch that is as new.
/// What is left is the tail of a leader that went away before anybody heard of it: that never happened. (Most such
/// tails are not even there any more: a server removes them when it is told to.)
fn committed(logs: &[TransactionLog]) -> Result<Vec<&Logged>, String> {
    let mut found: BTreeMap<i64, Vec<(&TransactionLog, &Logged)>> = BTreeMap::new();
    for log in logs {
        for logged in &log.records {
            let copies = found.entry(logged.zxid).or_default();
            if copies.iter().any(|(_, other)| *other != logged) {
                return Err(format!("two servers have logged different transactions {:#x}", logged.zxid));
            }
            if !copies.iter().any(|(other, _)| std::ptr::eq(*other, log)) {
                copies.push((log, logged));
            }
        }
    }
    let quorum = logs.len() / 2 + 1;
    let epoch = |zxid: i64| zxid >> 32;
    let is_committed = |copies: &[(&TransactionLog, &Logged)]| {
        let (log, Logged { zxid, .. }) = copies[0];
        let was_led_from = |at: &i64| epoch(*at) == epoch(*zxid) && at >= zxid;
        copies.len() >= quorum || log.snapshots.iter().any(was_led_from)
    };
    Ok(found.into_values().filter(|copies| is_committed(copies)).map(|copies| copies[0].1).collect())
}

/// What a logged change does to the tree. The log says what it found there: that has to be so.
fn resolve(logged: &LoggedChange, session: i64, truth: &Truth) -> Result<Vec<Change>, String> {
    let hidden = |path: &str| path.starts_with("/zookeeper/");
    let version = |path: &str, of: fn(&Stat) -> i32| truth.get(path).map(|node| of(&node.stat) + 1);
    let change = match logged {
        LoggedChange::SetData { path, .. } if hidden(path) => return Ok(Vec::new()),
        LoggedChange::Create { path, data, acl, owner, parent_cversion } => {
            let parent = match path.rfind('/') {
                Some(0) | None => "/",
                Some(at) => &path[..at],
            };
            // The server counts creations only, and shows twice as many less the children that are left.
            let created = truth.get(parent).map(|node| (node.stat.cversion + node.stat.num_children) / 2);
            if created.map(|created| created + 1) != Some(*parent_cversion) {
                return Err(format!("{path} cannot have been created: {created:?} before it"));
            }
            Change::Create {
                path: path.as_str().into(),
                data: data.as_slice().into(),
                access: access(acl),
                owner: *owner,
            }
        }
        LoggedChange::Delete { path } => Change::Delete { path: path.as_str().into() },
        LoggedChange::SetData { path, data, version: next } => {
            if version(path, |stat| stat.version) != Some(*next) {
                return Err(format!("{path} cannot have been set"));
            }
            Change::SetData { path: path.as_str().into(), data: data.as_slice().into() }
        }
        LoggedChange::SetAcl { path, acl, version: next } => {
            if version(path, |stat| stat.aversion) != Some(*next) {
                return Err(format!("{path} cannot have been given an ACL"));
            }
            Change::SetAcl { path: path.as_str().into(), access: access(acl) }
        }
        LoggedChange::CloseSession { paths } => {
            let owned = truth.subtree("/").filter(|(_, node)| node.stat.ephemeral_owner == session);
            let owned: Vec<Arc<str>> = owned.map(|(path, _)| path.clone()).collect();
            if let Some(other) = paths.iter().find(|path| !owned.iter().any(|owned| **owned == ***path)) {
                return Err(format!("{other} is none of the session's nodes"));
            }
            return Ok(owned.into_iter().map(|path| Change::Delete { path }).collect());
        }
    };
    if truth.admits(&change) { Ok(vec![change]) } else { Err("that is impossible".into()) }
}

fn access(acl: &[Acl]) -> Access {
    let is_open = acl.iter().any(|acl| acl.scheme == "world" && acl.perms & Acl::READ != 0);
    if is_open { Access::Everyone } else { Access::Nobody }
}

/// How the tree of a history differs from what a server says that it has; `None`: in nothing, aversion included.
pub fn difference(truth: &Truth, server: &BTreeMap<String, TruthNode>) -> Option<String> {
    let nodes = truth.subtree("/").map(|(path, node)| (&**path, node));
    let nodes: BTreeMap<&str, _> = nodes.filter(|(path, _)| *path != "/zookeeper").collect();
    for (path, node) in &nodes {
        let Some(other) = server.get(*path) else { return Some(format!("the server has no {path}")) };
        let stat = stat_of(other);
        if other.readable && (stat != node.stat || other.data[..] != node.data[..]) {
            return Some(format!(
                "the server has {path} with {stat:?}, and the log makes it {:?}",
                node.stat
            ));
        }
    }
    let extra = server.keys().find(|path| !nodes.contains_key(path.as_str()));
    extra.map(|path| format!("the server has {path}, and the log does not"))
}

fn stat_of(node: &TruthNode) -> Stat {
    let stat = node.stat;
    Stat {
        czxid: Zxid(stat.czxid),
        mzxid: Zxid(stat.mzxid),
        ctime: stat.ctime,
        mtime: stat.mtime,
        version: stat.version,
        cversion: stat.cversion,
        aversion: stat.aversion,
        ephemeral_owner: stat.ephemeral_owner,
        data_length: stat.data_length,
        num_children: stat.num_children,
        pzxid: Zxid(stat.pzxid),
    }
}

/// How a cache differs from what a server says that it has; `None`: in nothing.
pub fn difference_of(
    snapshot: &Snapshot,
    root: &str,
    server: &BTreeMap<String, TruthNode>,
) -> Option<String> {
    let expected: Vec<_> = server.iter().filter(|(path, _)| is_at_or_below(path, root)).collect();
    if snapshot.len() != expected.len() {
        return Some(format!("it has {} nodes, and the server {}", snapshot.len(), expected.len()));
    }
    expected.into_iter().find_map(|(path, node)| match snapshot.get_data(path) {
        Err(error) => Some(format!("{error}, and the server has it")),
        Ok(found) => {
            let is_same = *found.stat() == stat_of(node) && found.data() == node.data;
            (!is_same).then(|| format!("{path} is {:?}, and {:?} at the server", found.stat(), node.stat))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(zxid: i64, version: i32) -> Logged {
        let change = LoggedChange::SetData { path: "/".into(), data: vec![], version };
        Logged { zxid, time: 7, session: 1, changes: vec![change] }
    }

    fn log(records: &[Logged], snapshots: &[i64]) -> TransactionLog {
        TransactionLog { records: records.to_vec(), snapshots: snapshots.to_vec() }
    }

    fn zxids(logs: &[TransactionLog]) -> Vec<i64> {
        let history = History::of(logs).expect("a history");
        history.transactions.iter().map(|transaction| transaction.zxid.0).collect()
    }

    #[test]
    fn what_no_quorum_has_logged_never_happened_unless_it_was_led_from() {
        const NEXT_EPOCH: i64 = 1 << 32;
        let (one, two, three, tail) = (set(1, 1), set(2, 2), set(NEXT_EPOCH + 1, 3), set(3, 3));
        let all = [one.clone(), two.clone(), three.clone()];
        assert_eq!(zxids(&[log(&all, &[0]), log(&all, &[]), log(&[], &[])]), [1, 2, NEXT_EPOCH + 1]);
        let old_leader = log(&[one.clone(), two.clone(), tail.clone()], &[0, NEXT_EPOCH + 1]);
        assert_eq!(zxids(&[old_leader, log(&all, &[]), log(&all, &[])]), [1, 2, NEXT_EPOCH + 1]);
        let leads_again = log(&[one.clone(), two.clone(), tail], &[0, 3]);
        let synchronized = log(&[one, two], &[NEXT_EPOCH]);
        assert_eq!(zxids(&[leads_again, synchronized.clone(), synchronized]), [1, 2, 3]);
    }

    #[test]
    fn a_history_with_a_gap_is_refused() {
        let log = log(&[set(1, 1), set(3, 3)], &[]);
        assert!(History::of(&[log.clone(), log]).err().expect("an error").contains("cannot have been set"));
    }
}

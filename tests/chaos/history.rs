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
    /// No two leaders share an epoch, and a zxid begins with its leader's, so one zxid is one transaction wherever it
    /// is found. Of an epoch everything happened that anybody wrote down, but for a tail that its leader told to too
    /// few before it went away. How long that tail is, the next leader says: with its transactions it writes a digest
    /// of the whole tree, and the tree has that digest only without the tail. (That two servers have it in their logs
    /// does not say that it happened: a server may write down what it was told by a leader that nobody followed in
    /// the end.) The last epoch has no tail while its leader leads.
    ///
    /// # Errors
    /// When it contradicts itself: then it is not understood, and nothing can be checked by it.
    pub fn of(logs: &[TransactionLog]) -> Result<History, String> {
        let mut told = Course::default();
        for epoch in epochs(logs)? {
            told = told.go_on(&epoch)?;
        }
        Ok(History { transactions: told.transactions })
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

/// All that was logged by any server, by epoch and zxid.
fn epochs(logs: &[TransactionLog]) -> Result<Vec<Vec<&Logged>>, String> {
    let mut found: BTreeMap<i64, &Logged> = BTreeMap::new();
    for logged in logs.iter().flat_map(|log| &log.records) {
        if *found.entry(logged.zxid).or_insert(logged) != logged {
            return Err(format!("two servers have logged different transactions {:#x}", logged.zxid));
        }
    }
    let mut epochs: BTreeMap<i64, Vec<&Logged>> = BTreeMap::new();
    for logged in found.into_values() {
        epochs.entry(logged.zxid >> 32).or_default().push(logged);
    }
    Ok(epochs.into_values().collect())
}

/// A history as far as it has been told, and the tree that it makes.
#[derive(Clone)]
struct Course {
    transactions: Vec<Transaction>,
    truth: Truth,
    digest: i64,
    /// Where the last epoch begins: among the transactions, and the tree then.
    epoch: (usize, Truth),
}

impl Default for Course {
    fn default() -> Course {
        let truth = Truth::of_a_new_server();
        let digest = truth.subtree("/").map(|(path, node)| node_digest(path, node)).sum();
        Course { transactions: Vec::new(), epoch: (0, truth.clone()), truth, digest }
    }
}

impl Course {
    /// Tells the next epoch, behind as much of the last one as its leader knew.
    fn go_on(mut self, epoch: &[&Logged]) -> Result<Course, String> {
        let fits = |told: &Course| {
            let mut told = Course { transactions: Vec::new(), ..told.clone() };
            // More than one where the first has no digest.
            let until =
                epoch.iter().position(|logged| logged.digest.is_some()).map_or(epoch.len(), |at| at + 1);
            epoch[..until].iter().all(|logged| told.tell(logged).is_ok())
        };
        if !fits(&self) {
            let (start, truth) = self.epoch.clone();
            let tail = self.transactions.split_off(start);
            let digest = truth.subtree("/").map(|(path, node)| node_digest(path, node)).sum();
            (self.truth, self.digest) = (truth, digest);
            let mut longest = fits(&self).then(|| self.clone());
            for transaction in tail {
                for change in &transaction.changes {
                    self.change(change, &transaction);
                }
                self.transactions.push(transaction);
                if fits(&self) {
                    longest = Some(self.clone());
                }
            }
            let unfit = || format!("nothing before {:#x} leads to it", epoch[0].zxid);
            self = longest.ok_or_else(unfit)?;
        }
        self.epoch = (self.transactions.len(), self.truth.clone());
        for logged in epoch {
            self.tell(logged)?;
        }
        Ok(self)
    }

    fn tell(&mut self, logged: &Logged) -> Result<(), String> {
        let mut transaction = Transaction { zxid: Zxid(logged.zxid), time: logged.time, changes: Vec::new() };
        for logged_change in &logged.changes {
            let changes = resolve(logged_change, logged.session, &self.truth)
                .map_err(|what| format!("at {} {what}, says the log: {logged_change:?}", transaction.zxid))?;
            // One after the other, as each may rest on the one before.
            for change in changes {
                self.change(&change, &transaction);
                transaction.changes.push(change);
            }
        }
        let zxid = transaction.zxid;
        self.transactions.push(transaction);
        match logged.digest {
            Some(digest) if digest != self.digest => Err(format!("at {zxid} the leader had another tree")),
            _ => Ok(()),
        }
    }

    fn change(&mut self, change: &Change, Transaction { zxid, time, .. }: &Transaction) {
        let path = match change {
            Change::Create { path, .. }
            | Change::Delete { path }
            | Change::SetData { path, .. }
            | Change::SetAcl { path, .. } => path,
        };
        let changed: &[&str] = if &**path == "/" { &["/"] } else { &[path, parent(path)] };
        let sum = |truth: &Truth| -> i64 {
            changed.iter().filter_map(|path| Some(node_digest(path, truth.get(path)?))).sum()
        };
        self.digest -= sum(&self.truth);
        self.truth.apply(&Transaction { zxid: *zxid, time: *time, changes: vec![change.clone()] });
        self.digest += sum(&self.truth);
    }
}

/// As ZooKeeper's `DigestCalculator` has it.
fn node_digest(path: &str, node: &treecache_checks::TruthNode) -> i64 {
    if path.starts_with("/zookeeper/") {
        return 0;
    }
    let stat = node.stat;
    let mut crc = !0;
    let mut update = |bytes: &[u8]| crc = bytes.iter().fold(crc, |crc, byte| crc32(crc, *byte));
    update(if path == "/" { b"" } else { path.as_bytes() });
    update(&node.data);
    for long in [stat.czxid.0, stat.mzxid.0, stat.pzxid.0, stat.ctime, stat.mtime] {
        update(&long.to_be_bytes());
    }
    for int in [stat.version, creations(&stat), stat.aversion] {
        update(&int.to_be_bytes());
    }
    update(&stat.ephemeral_owner.to_be_bytes());
    i64::from(!crc)
}

fn crc32(crc: u32, byte: u8) -> u32 {
    (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
}

/// How many children a node has been given. The server counts these, and shows twice as many, less the children that
/// are left.
fn creations(stat: &Stat) -> i32 {
    (stat.cversion + stat.num_children) / 2
}

fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(at) => &path[..at],
    }
}

/// What a logged change does to the tree. The log says what it found there: that has to be so.
fn resolve(logged: &LoggedChange, session: i64, truth: &Truth) -> Result<Vec<Change>, String> {
    let hidden = |path: &str| path.starts_with("/zookeeper/");
    let version = |path: &str, of: fn(&Stat) -> i32| truth.get(path).map(|node| of(&node.stat) + 1);
    let change = match logged {
        LoggedChange::SetData { path, .. } if hidden(path) => return Ok(Vec::new()),
        LoggedChange::Create { path, data, acl, owner, parent_cversion } => {
            let created = truth.get(parent(path)).map(|node| creations(&node.stat));
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

    const NEXT_EPOCH: i64 = 1 << 32;

    /// Sets `/` on top of what the others do, as a leader would have it written down.
    fn set(before: &[&Logged], zxid: i64) -> Logged {
        let mut told = Course::default();
        before.iter().for_each(|logged| told.tell(logged).expect("it fits"));
        let version = told.truth.get("/").expect("the root").stat.version + 1;
        let change = LoggedChange::SetData { path: "/".into(), data: vec![7], version };
        let mut logged = Logged { zxid, time: 7, session: 1, changes: vec![change], digest: None };
        told.tell(&logged).expect("it fits");
        logged.digest = Some(told.digest);
        logged
    }

    fn log(records: &[&Logged]) -> TransactionLog {
        TransactionLog { records: records.iter().map(|logged| (*logged).clone()).collect() }
    }

    fn zxids(logs: &[TransactionLog]) -> Vec<i64> {
        let history = History::of(logs).expect("a history");
        history.transactions.iter().map(|transaction| transaction.zxid.0).collect()
    }

    #[test]
    fn the_next_leader_says_what_happened_of_an_epoch() {
        let one = set(&[], 1);
        let two = set(&[&one], 2);
        let three = set(&[&one, &two], 3);
        for (tail, happened) in [(1, vec![1, 2]), (2, vec![1])] {
            let kept = &[&one, &two][..3 - tail];
            let next = set(kept, NEXT_EPOCH + 1);
            let follower = log(&[kept, &[&next]].concat());
            let old_leader = log(&[&one, &two, &three]);
            let expected = [happened, vec![NEXT_EPOCH + 1]].concat();
            assert_eq!(zxids(&[old_leader.clone(), follower.clone(), follower.clone()]), expected);
            // Written down by a follower too, and yet it never happened.
            assert_eq!(zxids(&[old_leader.clone(), old_leader, follower]), expected);
        }
        let next = set(&[&one, &two, &three], NEXT_EPOCH + 1);
        let [leader, behind] = [log(&[&one, &two, &three, &next]), log(&[&one])];
        assert_eq!(zxids(&[leader, behind.clone(), behind]), [1, 2, 3, NEXT_EPOCH + 1]);
    }

    #[test]
    fn a_history_with_a_gap_is_refused() {
        let one = set(&[], 1);
        let two = set(&[&one], 2);
        let three = set(&[&one, &two], 3);
        assert!(
            History::of(&[log(&[&one, &three])]).err().expect("an error").contains("cannot have been set")
        );
        let other = Logged { digest: three.digest.map(|digest| digest + 1), ..three };
        let error = History::of(&[log(&[&one, &two, &other])]).err().expect("an error");
        assert!(error.contains("another tree"), "{error}");
    }
}

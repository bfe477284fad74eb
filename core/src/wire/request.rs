//! What a client sends.

use super::codec::Writer;
use super::opcode::*;
use super::records::{ConnectRequest, ReplyHeader};
use crate::names::Siblings;
use crate::path::NodePath;
use crate::planted::{self, Defect};
use crate::stat::Zxid;

/// `AddWatchMode.PERSISTENT`, and `PERSISTENT_RECURSIVE`.
const WATCH_PERSISTENT: i32 = 0;
const WATCH_PERSISTENT_RECURSIVE: i32 = 1;
/// `Watcher.WatcherType.Any`
const WATCHER_TYPE_ANY: i32 = 3;
/// `ZooDefs.Perms.ALL`
const PERMS_ALL: i32 = 31;
/// `CreateMode.PERSISTENT`, and `CONTAINER`, as flags.
const PERSISTENT: i32 = 0;
const CONTAINER: i32 = 4;

/// Where a ClickHouse Keeper says what it can do.
const FEATURE_FLAGS: &str = "/keeper/feature_flags";

/// A read within a multiRead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// `getData`: the data and the Stat.
    Data(NodePath),
    /// `getChildren`: the names of the children, without a Stat.
    Children(NodePath),
    /// `getData` of each of these.
    Siblings(Siblings),
}

impl Read {
    /// How many operations of the multiRead it is: it has as many results.
    pub fn operations(&self) -> usize {
        match self {
            Read::Data(_) | Read::Children(_) => 1,
            Read::Siblings(siblings) => siblings.places.len(),
        }
    }
}

/// A request that has a reply. Paths are relative to the chroot, except where said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// `multiRead`: any number of reads, answered by one reply with one zxid. No part of it fails the others.
    MultiRead(Vec<Read>),
    /// `getData`, for servers that have no `multiRead`.
    Data(NodePath),
    /// `exists`: the Stat alone, however large the data is.
    Exists(NodePath),
    /// `exists`, which leaves a one-shot watch of the data, also if there is no node.
    ExistsWatched(NodePath),
    /// `getChildren2`: the child list and the Stat, without the data.
    ChildrenWithStat(NodePath),
    /// A persistent recursive watch.
    AddWatch(NodePath),
    /// A persistent watch of this node alone: of its data, its child list, its creation and its deletion. Before 3.9 a
    /// session has one persistent watch at a path, and the newer one replaces the other; since, it may have both.
    AddWatchAlone(NodePath),
    /// One-shot watches of the data and of the child list of each of these. It is a `setWatches`, which compares each node
    /// with a zxid before it sets a watch: with the largest one there is, so that no node is newer. Of a node that is not
    /// there a notification says that it is deleted, before the reply; it gets no watch.
    SetWatches(Vec<NodePath>),
    /// The same request, for what it compares: of nodes whose data is newer than `since`, or child lists whose nodes' pzxid
    /// is, and of those that are not there, notifications tell, before the reply.
    Compare {
        /// The zxid to compare with.
        since: Zxid,
        /// Whose data is compared.
        nodes: Vec<NodePath>,
        /// Whose child lists are.
        lists: Vec<NodePath>,
    },
    /// Removes the session's watches at this path, of whatever kind.
    RemoveWatches(NodePath),
    /// Creates an empty persistent node, open to the world. The path is from the server's root, as the chroot
    /// itself may have to be created.
    CreateFromServerRoot(NodePath),
    /// The same for a container: a node that the server removes some time after its last child has gone. Servers have
    /// them from 3.5.1 on; an older one answers `UNIMPLEMENTED` and closes the connection.
    CreateContainerFromServerRoot(NodePath),
    /// `exists` of the node in which a ClickHouse Keeper says what it can do (`KeeperConstants.h`). The path is from the
    /// server's root.
    FeatureFlags,
    /// ZooKeeper's `sync`, about the server's root: makes a server that follows catch up with its leader. A leader
    /// answers it like a read (ZOOKEEPER-1675), so on a leader it promises nothing.
    Sync,
    /// A transaction that changes nothing: a `multi` that checks nothing of this node (`None`: of the server's root).
    /// Its reply stands behind all that was committed before, on a leader too, and its header names the transaction.
    /// (A bare `check` is another matter: it can do harm, ZOOKEEPER-2623.)
    Barrier(Option<NodePath>),
}

impl Request {
    /// Appends the request as a frame to `out`.
    pub fn encode(&self, xid: i32, chroot: &NodePath, out: &mut Vec<u8>) {
        let chroot = chroot.as_str();
        let mut frame = Writer::frame(out);
        frame.i32(xid);
        match self {
            Request::MultiRead(reads) => {
                frame.i32(MULTI_READ);
                for read in reads {
                    match read {
                        Read::Data(path) => operation(&mut frame, GET_DATA, chroot, path),
                        Read::Children(path) => operation(&mut frame, GET_CHILDREN, chroot, path),
                        Read::Siblings(siblings) => data_of_each(&mut frame, chroot, siblings),
                    }
                }
                multi_header(&mut frame, -1, true);
            }
            Request::Data(path) => read(&mut frame, GET_DATA, chroot, path, false),
            Request::Exists(path) => read(&mut frame, EXISTS, chroot, path, false),
            Request::ExistsWatched(path) => read(&mut frame, EXISTS, chroot, path, true),
            Request::ChildrenWithStat(path) => read(&mut frame, GET_CHILDREN_2, chroot, path, false),
            Request::AddWatch(path) => add_watch(&mut frame, chroot, path, WATCH_PERSISTENT_RECURSIVE),
            Request::AddWatchAlone(path) => add_watch(&mut frame, chroot, path, WATCH_PERSISTENT),
            Request::SetWatches(paths) => {
                // Newer than all nodes.
                let since = Zxid(if planted::is(Defect::WatchesCompared) { 0 } else { i64::MAX });
                set_watches(&mut frame, chroot, since, paths, paths);
            }
            Request::Compare { since, nodes, lists } => {
                set_watches(&mut frame, chroot, *since, nodes, lists);
            }
            Request::RemoveWatches(path) => {
                frame.i32(REMOVE_WATCHES);
                frame.path(chroot, path.as_str());
                frame.i32(WATCHER_TYPE_ANY);
            }
            Request::CreateFromServerRoot(path) => create(&mut frame, CREATE, path, PERSISTENT),
            Request::CreateContainerFromServerRoot(path) => {
                create(&mut frame, CREATE_CONTAINER, path, CONTAINER);
            }
            Request::FeatureFlags => {
                frame.i32(EXISTS);
                frame.string(FEATURE_FLAGS);
                frame.bool(false); // watch
            }
            Request::Sync => {
                frame.i32(SYNC);
                frame.string("/");
            }
            Request::Barrier(node) => {
                frame.i32(MULTI);
                multi_header(&mut frame, CHECK, false);
                match node {
                    Some(path) => frame.path(chroot, path.as_str()),
                    None => frame.string("/"),
                }
                frame.i32(-1); // any version
                multi_header(&mut frame, -1, true);
            }
        }
        frame.finish();
    }
}

fn read(frame: &mut Writer<'_>, operation: i32, chroot: &str, path: &NodePath, watch: bool) {
    frame.i32(operation);
    frame.path(chroot, path.as_str());
    frame.bool(watch);
}

fn set_watches(frame: &mut Writer<'_>, chroot: &str, since: Zxid, nodes: &[NodePath], lists: &[NodePath]) {
    frame.i32(SET_WATCHES);
    frame.i64(since.0);
    all_paths(frame, chroot, nodes); // of data
    all_paths(frame, chroot, &[]); // of what is not there
    all_paths(frame, chroot, lists);
}

fn all_paths(frame: &mut Writer<'_>, chroot: &str, paths: &[NodePath]) {
    frame.i32(paths.len() as i32);
    for path in paths {
        frame.path(chroot, path.as_str());
    }
}

/// A read within a multiRead.
fn operation(frame: &mut Writer<'_>, operation: i32, chroot: &str, path: &NodePath) {
    multi_header(frame, operation, false);
    frame.path(chroot, path.as_str());
    frame.bool(false); // watch
}

fn add_watch(frame: &mut Writer<'_>, chroot: &str, path: &NodePath, mode: i32) {
    frame.i32(ADD_WATCH);
    frame.path(chroot, path.as_str());
    frame.i32(mode);
}

fn create(frame: &mut Writer<'_>, operation: i32, path: &NodePath, flags: i32) {
    frame.i32(operation);
    frame.string(path.as_str());
    frame.buffer(b"");
    frame.i32(1); // one entry in the ACL
    frame.i32(PERMS_ALL);
    frame.string("world");
    frame.string("anyone");
    frame.i32(flags);
}

fn data_of_each(frame: &mut Writer<'_>, chroot: &str, siblings: &Siblings) {
    let chroot = chroot.strip_suffix('/').unwrap_or(chroot);
    let parent = siblings.parent.as_str().strip_suffix('/').unwrap_or(siblings.parent.as_str());
    for name in siblings.names() {
        multi_header(frame, GET_DATA, false);
        frame.joined(&[chroot, parent, "/", name]);
        frame.bool(false); // watch
    }
}

fn multi_header(frame: &mut Writer<'_>, operation: i32, done: bool) {
    frame.i32(operation);
    frame.bool(done);
    frame.i32(-1); // error
}

/// Appends the connect request.
pub fn connect(request: &ConnectRequest<'_>, out: &mut Vec<u8>) {
    let mut frame = Writer::frame(out);
    frame.i32(0); // protocol version
    frame.i64(request.last_zxid_seen.0);
    frame.i32(request.timeout_ms);
    frame.i64(request.session_id);
    frame.buffer(request.password);
    frame.bool(false); // read-only
    frame.finish();
}

/// Appends a ping; its reply has [`ReplyHeader::XID_PING`].
pub fn ping(out: &mut Vec<u8>) {
    let mut frame = Writer::frame(out);
    frame.i32(ReplyHeader::XID_PING);
    frame.i32(PING);
    frame.finish();
}

/// Appends an authentication; its reply has [`ReplyHeader::XID_AUTH`].
pub fn set_auth(scheme: &str, credential: &[u8], out: &mut Vec<u8>) {
    let mut frame = Writer::frame(out);
    frame.i32(ReplyHeader::XID_AUTH);
    frame.i32(AUTH);
    frame.i32(0); // type
    frame.string(scheme);
    frame.buffer(credential);
    frame.finish();
}

/// Appends a step of SASL; its reply has that xid.
pub fn sasl(xid: i32, token: &[u8], out: &mut Vec<u8>) {
    let mut frame = Writer::frame(out);
    frame.i32(xid);
    frame.i32(SASL);
    frame.buffer(token);
    frame.finish();
}

/// Appends the end of the session.
pub fn close_session(xid: i32, out: &mut Vec<u8>) {
    let mut frame = Writer::frame(out);
    frame.i32(xid);
    frame.i32(CLOSE_SESSION);
    frame.finish();
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::names::Names;

    #[test]
    fn siblings_are_read_as_their_paths_are() {
        for (chroot, parent) in [("/", "/"), ("/", "/a"), ("/c", "/"), ("/c/d", "/a/b")] {
            let (chroot, parent) = (NodePath::new(chroot).unwrap(), NodePath::new(parent).unwrap());
            let names = Arc::new(Names::of_sorted(&["x", "y", "zz"]));
            let siblings = Siblings { parent, names, places: vec![0, 2] };
            let each = siblings.paths().map(Read::Data).collect();
            let encoded = |reads| {
                let mut out = Vec::new();
                Request::MultiRead(reads).encode(7, &chroot, &mut out);
                out
            };
            assert_eq!(encoded(vec![Read::Siblings(siblings)]), encoded(each), "{chroot}");
        }
    }

    #[test]
    fn one_shot_watches_are_asked_for_as_setwatches_has_them() {
        let mut out = Vec::new();
        let (chroot, path) = (NodePath::new("/c").unwrap(), NodePath::new("/d").unwrap());
        Request::SetWatches(vec![path]).encode(7, &chroot, &mut out);
        let list = b"\0\0\0\x01\0\0\0\x04/c/d";
        let expected =
            [&b"\0\0\0\x2c\0\0\0\x07\0\0\0\x65\x7f\xff\xff\xff\xff\xff\xff\xff"[..], list, b"\0\0\0\0", list]
                .concat();
        assert_eq!(out, expected);
    }

    #[test]
    fn nodes_are_compared_with_a_zxid_and_some_of_their_lists_too() {
        let mut out = Vec::new();
        let (chroot, nodes) = (NodePath::root(), ["/a", "/b"].map(|path| NodePath::new(path).unwrap()));
        let request = Request::Compare { since: Zxid(5), lists: nodes[1..].to_vec(), nodes: nodes.to_vec() };
        request.encode(7, &chroot, &mut out);
        let nodes = b"\0\0\0\x02\0\0\0\x02/a\0\0\0\x02/b";
        let lists = b"\0\0\0\x01\0\0\0\x02/b";
        let head = b"\0\0\0\x2e\0\0\0\x07\0\0\0\x65\0\0\0\0\0\0\0\x05";
        assert_eq!(out, [&head[..], nodes, b"\0\0\0\0", lists].concat());
    }

    #[test]
    fn paths_are_put_below_the_chroot() {
        let encoded = |chroot: &str, path: &str| {
            let mut out = Vec::new();
            let (chroot, path) = (NodePath::new(chroot).unwrap(), NodePath::new(path).unwrap());
            Request::Exists(path).encode(7, &chroot, &mut out);
            out
        };
        assert_eq!(encoded("/", "/a/b"), encoded("/a", "/b"));
        assert_eq!(encoded("/", "/a"), encoded("/a", "/"));
        assert_eq!(encoded("/", "/a"), b"\0\0\0\x0f\0\0\0\x07\0\0\0\x03\0\0\0\x02/a\0");
    }
}

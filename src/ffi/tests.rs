//! The C functions, called as C would.

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::{null, null_mut};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use super::boundary::{Boxed, guard, with};
use super::cache::*;
use super::children::*;
use super::client::*;
use super::config::*;
use super::error::*;
use super::event::*;
use super::fault::*;
use super::item::tc_item_free;
use super::log::*;
use super::node::*;
use super::queue::*;
use super::snapshot::*;
use super::state::*;
use super::stats::*;
use super::status::*;
use super::walk::*;
use crate::client::tests::{Hand, client};
use crate::error::{Fault, Status};
use crate::events::Event;
use crate::net::CacheSink;
use crate::stat::{Stat, Zxid};
use crate::state::{EventKind, State};
use crate::stats::WatchMode;
use crate::sync::Output;
use crate::sync::Progress;
use crate::tree::{Node, Tree, Version};

const STAT: Stat = Stat {
    czxid: Zxid(1),
    mzxid: Zxid(2),
    ctime: 3,
    mtime: 4,
    version: 5,
    cversion: 6,
    aversion: 7,
    ephemeral_owner: 8,
    data_length: 9,
    num_children: 10,
    pzxid: Zxid(11),
};

fn version(paths: &[&str]) -> Arc<Version> {
    let mut tree = Tree::default();
    for path in paths {
        assert!(tree.put(path, Some(Node::new(Arc::from(path.as_bytes()), STAT))));
    }
    Arc::new(Version { tree, zxid: Zxid(12), is_cut: true, is_complete: true, is_own: true })
}

/// A client without a server, a cache of "/r" that was started, and what tells it.
fn started() -> (*mut tc_client, Arc<Hand>, *mut tc_cache, Arc<dyn CacheSink>) {
    let (client, hand) = client();
    let client = tc_client::into_raw(tc_client { client });
    let mut cache = null_mut();
    // SAFETY: the arguments are valid.
    unsafe {
        assert_eq!(tc_new(client, c"/r".as_ptr(), null(), &mut cache), TC_OK);
        assert_eq!(tc_start(cache), TC_OK);
    }
    let sink = hand.sink();
    (client, hand, cache, sink)
}

/// What callbacks report to: `user` points to it.
struct Witness {
    told: Mutex<mpsc::Sender<String>>,
    frees: AtomicUsize,
}

impl Witness {
    /// Never freed: a free function may come at any time. (Kept, so that it is no leak.)
    fn new() -> (&'static Witness, mpsc::Receiver<String>) {
        static ALL: Mutex<Vec<&Witness>> = Mutex::new(Vec::new());
        let (told, received) = mpsc::channel();
        let witness = &*Box::leak(Box::new(Witness { told: Mutex::new(told), frees: AtomicUsize::new(0) }));
        ALL.lock().unwrap().push(witness);
        (witness, received)
    }

    fn user(&'static self) -> *mut c_void {
        std::ptr::from_ref(self).cast_mut().cast()
    }

    fn tell(user: *mut c_void, text: String) {
        // SAFETY: `user` came from `user()`, and is never freed.
        let witness = unsafe { &*user.cast::<Witness>() };
        witness.told.lock().unwrap().send(text).unwrap();
    }

    fn frees(&self) -> usize {
        self.frees.load(Ordering::SeqCst)
    }
}

unsafe extern "C" fn count_free(user: *mut c_void) {
    // SAFETY: `user` came from `Witness::user`.
    unsafe { &*user.cast::<Witness>() }.frees.fetch_add(1, Ordering::SeqCst);
}

unsafe fn string(text: *const c_char) -> String {
    if text.is_null() {
        return "NULL".to_owned();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_str().unwrap().to_owned()
}

unsafe extern "C" fn on_event(event: *const tc_event, user: *mut c_void) {
    // SAFETY: an event is lent with all it points to.
    let text = unsafe {
        let event = &*event;
        let path = string(event.path);
        assert_eq!(event.path_len, if event.path.is_null() { 0 } else { path.len() });
        let stat = event.stat.as_ref().map_or(0, |stat| stat.pzxid);
        let old = event.old_stat.as_ref().map_or(0, |stat| stat.pzxid);
        format!(
            "{} {} {path} {} {stat} {} {old} {}",
            event.r#type, event.flags, event.data_len, event.old_data_len, event.zxid
        )
    };
    Witness::tell(user, text);
}

unsafe extern "C" fn on_fault(fault: *const tc_fault, user: *mut c_void) {
    // SAFETY: a fault is lent with all it points to.
    let text = unsafe {
        let fault = &*fault;
        format!("{} {} {} {}", fault.status, fault.server_error, string(fault.path), string(fault.message))
    };
    Witness::tell(user, text);
}

unsafe extern "C" fn on_visit(
    path: *const c_char,
    path_len: usize,
    node: *const tc_node,
    user: *mut c_void,
) -> i32 {
    // SAFETY: path and node are lent for the call.
    let (path, len) = unsafe { (string(path), (*node).data_len) };
    assert_eq!(path.len(), path_len);
    let answer = match path.as_str() {
        "/r/a" => TC_WALK_SKIP_CHILDREN,
        "/r/c" => 7,
        _ => TC_WALK_CONTINUE,
    };
    Witness::tell(user, format!("{path} {len}"));
    answer
}

fn next(received: &mpsc::Receiver<String>) -> String {
    received.recv_timeout(Duration::from_secs(10)).expect("a call comes")
}

#[test]
fn every_status_has_its_name() {
    for status in Status::ALL {
        // SAFETY: the name is a C string.
        let name = unsafe { string(tc_status_name(status.code())) };
        let words: String = name.trim_start_matches("TC_").trim_start_matches("ERR_").replace('_', "");
        assert_eq!(words.to_lowercase(), format!("{status:?}").to_lowercase());
    }
    for unknown in [1, -20, i32::MIN] {
        // SAFETY: the name is a C string.
        assert_eq!(unsafe { string(tc_status_name(unknown)) }, "TC_ERR_UNKNOWN");
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    // SAFETY: the version is a C string.
    let version = unsafe { string(tc_version()) };
    assert_eq!(version, format!("{TC_VERSION_MAJOR}.{TC_VERSION_MINOR}.{TC_VERSION_PATCH}"));
}

#[test]
fn null_is_refused_everywhere_and_nothing_is_written() {
    let (client, _hand, cache, sink) = started();
    let (witness, _received) = Witness::new();
    let (user, path) = (witness.user(), c"/r".as_ptr());
    let config = tc_config_new();
    let (mut id, mut state, mut age, mut len) = (77, 77, 77, 77);
    let (mut new_client, mut new_cache) = (null_mut(), null_mut());
    let (mut node, mut children, mut snapshot, mut other) = (null(), null(), null(), null());
    let (mut stats, mut walk, mut new_walk, mut visit) = (null(), null_mut(), null_mut(), null());
    let (mut fault, mut item) = (null(), null());
    // SAFETY: what is not NULL is valid.
    let answers = unsafe {
        sink.tell(Output::Publish(version(&[""]), 1));
        assert_eq!(tc_get_snapshot(cache, &mut snapshot), TC_OK);
        assert_eq!(tc_walk_new(snapshot, path, &mut walk), TC_OK);
        [
            tc_walk_new(null(), path, &mut new_walk),
            tc_walk_new(snapshot, null(), &mut new_walk),
            tc_walk_new(snapshot, path, null_mut()),
            tc_walk_next(null_mut(), &mut visit),
            tc_walk_next(walk, null_mut()),
            tc_walk_skip(null_mut()),
            tc_config_set(null_mut(), path, path),
            tc_config_set(config, null(), path),
            tc_config_set(config, path, null()),
            tc_client_new(null(), config, &mut new_client),
            tc_client_new(c"localhost".as_ptr(), config, null_mut()),
            tc_client_listen_fault(null_mut(), Some(on_fault), user, Some(count_free), &mut id),
            tc_client_listen_fault(client, None, user, Some(count_free), &mut id),
            tc_client_listen_fault(client, Some(on_fault), user, Some(count_free), null_mut()),
            tc_new(null_mut(), path, config, &mut new_cache),
            tc_new(client, null(), config, &mut new_cache),
            tc_new(client, path, config, null_mut()),
            tc_attach(null(), config, &mut new_cache),
            tc_attach(path, config, null_mut()),
            tc_attach(c"/".as_ptr(), config, &mut new_cache),
            tc_start(null_mut()),
            tc_start_from(null_mut(), null()),
            tc_start_from(cache, null()),
            tc_wait_initialized(null_mut(), 0),
            tc_wait_initialized(cache, -2),
            tc_sync(null_mut(), 0),
            tc_sync(cache, -2),
            tc_get_stats(null(), &mut stats),
            tc_get_stats(cache, null_mut()),
            tc_get_state(null(), &mut state, &mut age),
            tc_get_state(cache, null_mut(), &mut age),
            tc_get_state(cache, &mut state, null_mut()),
            tc_close(null_mut()),
            tc_listen(null_mut(), Some(on_event), user, Some(count_free), &mut id),
            tc_listen(cache, None, user, Some(count_free), &mut id),
            tc_listen(cache, Some(on_event), user, Some(count_free), null_mut()),
            tc_listen_with(null_mut(), config, Some(on_event), user, Some(count_free), &mut id),
            tc_listen_with(cache, config, None, user, Some(count_free), &mut id),
            tc_listen_with(cache, null(), Some(on_event), user, Some(count_free), null_mut()),
            tc_listen_fault(null_mut(), Some(on_fault), user, Some(count_free), &mut id),
            tc_listen_fault(cache, None, user, Some(count_free), &mut id),
            tc_listen_fault(cache, Some(on_fault), user, Some(count_free), null_mut()),
            tc_client_unlisten(null_mut(), 1),
            tc_client_unlisten(client, 1),
            tc_unlisten(null_mut(), 1),
            tc_unlisten(cache, 1),
            tc_get_data(null(), path, &mut node),
            tc_get_data(cache, null(), &mut node),
            tc_get_data(cache, c"\xff".as_ptr(), &mut node),
            tc_get_data(cache, path, null_mut()),
            tc_copy_data(null(), path, null_mut(), 0, &mut len, null_mut()),
            tc_copy_data(cache, null(), null_mut(), 0, &mut len, null_mut()),
            tc_copy_data(cache, c"\xff".as_ptr(), null_mut(), 0, &mut len, null_mut()),
            tc_copy_data(cache, path, null_mut(), 1, &mut len, null_mut()),
            tc_copy_data(cache, path, null_mut(), 0, null_mut(), null_mut()),
            tc_get_children(null(), path, &mut children),
            tc_get_children(cache, null(), &mut children),
            tc_get_children(cache, path, null_mut()),
            tc_get_snapshot(null(), &mut other),
            tc_get_snapshot(cache, null_mut()),
            tc_snapshot_get_data(null(), path, &mut node),
            tc_snapshot_get_data(snapshot, null(), &mut node),
            tc_snapshot_get_data(snapshot, path, null_mut()),
            tc_snapshot_copy_data(null(), path, null_mut(), 0, &mut len, null_mut()),
            tc_snapshot_copy_data(snapshot, null(), null_mut(), 0, &mut len, null_mut()),
            tc_snapshot_copy_data(snapshot, path, null_mut(), 1, &mut len, null_mut()),
            tc_snapshot_copy_data(snapshot, path, null_mut(), 0, null_mut(), null_mut()),
            tc_snapshot_get_children(null(), path, &mut children),
            tc_snapshot_get_children(snapshot, null(), &mut children),
            tc_snapshot_get_children(snapshot, path, null_mut()),
            tc_snapshot_walk(null(), path, Some(on_visit), user),
            tc_snapshot_walk(snapshot, null(), Some(on_visit), user),
            tc_snapshot_walk(snapshot, path, None, user),
            tc_log_set(2, None, null_mut()),
            tc_log_set(8, None, null_mut()),
            tc_log_set_fd(2, -1),
            tc_log_set_fd(3, -2),
            tc_get_fault(null(), &mut fault),
            tc_get_fault(cache, null_mut()),
            tc_start_or_error(null_mut(), null_mut()),
            tc_start_from_or_error(cache, null(), null_mut()),
            tc_wait_initialized_or_error(cache, -2, null_mut()),
            tc_sync_or_error(null_mut(), 0, null_mut()),
            tc_queue_next_or_error(null_mut(), 0, &mut item, null_mut()),
        ]
    };
    for (at, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer, TC_ERR_INVALID_ARGUMENT, "call {at}");
    }
    assert_eq!((id, state, age, len), (77, 77, 77, 77));
    assert!(new_client.is_null() && new_cache.is_null() && node.is_null() && children.is_null());
    assert!(other.is_null() && stats.is_null() && new_walk.is_null() && visit.is_null());
    assert_eq!(witness.frees(), 12);
    // SAFETY: NULL is allowed, and the rest is freed once.
    unsafe {
        assert_eq!(
            (tc_snapshot_zxid(null()), tc_snapshot_is_cut(null()), tc_snapshot_len(null())),
            (0, false, 0)
        );
        assert!(tc_snapshot_root(null()).is_null());
        tc_config_free(null_mut());
        tc_client_free(null_mut());
        tc_free(null_mut());
        tc_node_free(null());
        assert!(!tc_is_initialized(null()));
        tc_children_free(null());
        tc_stats_free(null());
        tc_snapshot_free(null());
        tc_snapshot_free(snapshot);
        tc_walk_free(null_mut());
        tc_walk_free(walk);
        tc_config_free(config);
        tc_free(cache);
        tc_client_free(client);
    }
}

#[test]
fn stats_are_those_of_the_cache_and_stay_valid_when_it_is_freed() {
    let (client, _hand, cache, sink) = started();
    let (mut before, mut stats) = (null(), null());
    // SAFETY: the arguments are valid, and freed once.
    unsafe {
        assert_eq!(tc_get_stats(cache, &mut before), TC_OK);
        sink.tell(Output::Publish(version(&["", "a"]), 2));
        sink.tell(Output::Progress(Progress {
            versions: 1,
            cuts: 2,
            reads: 3,
            batches: 4,
            resyncs: 5,
            watch: Some(WatchMode::OneShot),
            current_at: None,
        }));
        sink.tell(Output::State(State::InStep));
        assert_eq!(tc_get_stats(cache, &mut stats), TC_OK);
        tc_free(cache);
        tc_client_free(client);
        let tc_stats { state, contact_age_ms, cut_age_ms, zxid, nodes, bytes, .. } = *before;
        assert_eq!((state, contact_age_ms / 1000, cut_age_ms), (TC_STATE_LOADING, 5, -1));
        assert_eq!((zxid, nodes, bytes), (0, 0, 0));
        let tc_stats { state, contact_age_ms, cut_age_ms, zxid, nodes, bytes, .. } = *stats;
        assert_eq!((state, contact_age_ms / 1000, cut_age_ms / 1000), (TC_STATE_IN_STEP, 5, 5));
        assert_eq!((zxid, nodes, bytes), (12, 2, 1));
        let tc_stats { versions, cuts, reads, batches, resyncs, connections, session_id, .. } = *stats;
        assert_eq!((versions, cuts, reads, batches, resyncs), (1, 2, 3, 4, 5));
        assert_eq!((connections, session_id, string((*stats).server).as_str()), (2, 7, "zk1:2181"));
        assert_eq!(((*before).watch, string((*stats).watch).as_str()), (null(), "one-shot"));
        tc_stats_free(before);
        tc_stats_free(stats);
    }
}

#[test]
fn what_is_read_stays_valid_when_everything_else_is_freed() {
    let (client, _hand, cache, sink) = started();
    let (witness, received) = Witness::new();
    sink.tell(Output::Publish(version(&["", "a", "a/x", "b", "c", "d"]), 6));
    sink.tell(Output::State(State::InStep));
    let (mut state, mut age) = (0, 0);
    let (mut node, mut children, mut leaf, mut snapshot, mut again) =
        (null(), null(), null(), null(), null());
    // SAFETY: the arguments are valid, and freed once.
    unsafe {
        assert_eq!(tc_get_state(cache, &mut state, &mut age), TC_OK);
        assert_eq!((state, age / 1000), (TC_STATE_IN_STEP, 5));
        assert_eq!(tc_get_data(cache, c"/r/a/x".as_ptr(), &mut node), TC_OK);
        assert_eq!(tc_get_children(cache, c"/r".as_ptr(), &mut children), TC_OK);
        assert_eq!(tc_get_children(cache, c"/r/d".as_ptr(), &mut leaf), TC_OK);
        assert_eq!(tc_get_snapshot(cache, &mut snapshot), TC_OK);
        assert_eq!(tc_snapshot_get_data(snapshot, c"/r/a/x".as_ptr(), &mut again), TC_OK);
        assert!(!std::ptr::eq(node, again), "each has its own");
        assert_eq!(((*again).data_len, (*again).stat.mzxid), ((*node).data_len, (*node).stat.mzxid));
        tc_node_free(again);
        for (path, answer) in [
            (c"/r/e", TC_ERR_NO_NODE),
            (c"/rr", TC_ERR_OUT_OF_TREE),
            (c"/r/", TC_ERR_INVALID_ARGUMENT),
            (c"", TC_ERR_INVALID_ARGUMENT),
        ] {
            assert_eq!(tc_get_data(cache, path.as_ptr(), &mut again), answer);
            assert_eq!(tc_snapshot_get_data(snapshot, path.as_ptr(), &mut again), answer);
            assert_eq!(tc_snapshot_walk(snapshot, path.as_ptr(), Some(on_visit), witness.user()), answer);
        }
        assert_eq!(tc_close(cache), TC_OK);
        assert_eq!(tc_close(cache), TC_OK);
        assert_eq!(tc_get_data(cache, c"/r".as_ptr(), &mut again), TC_ERR_CLOSED);
        tc_free(cache);
        tc_client_free(client);

        let node_read = &*node;
        assert_eq!(std::slice::from_raw_parts(node_read.data, node_read.data_len), b"a/x");
        let tc_stat { czxid, mzxid, ctime, mtime, version, cversion, aversion, .. } = node_read.stat;
        assert_eq!((czxid, mzxid, ctime, mtime, version, cversion, aversion), (1, 2, 3, 4, 5, 6, 7));
        let tc_stat { ephemeral_owner, data_length, num_children, pzxid, .. } = node_read.stat;
        assert_eq!((ephemeral_owner, data_length, num_children, pzxid), (8, 9, 10, 11));
        tc_node_free(node);

        let names = std::slice::from_raw_parts((*children).names, (*children).len);
        let lens = std::slice::from_raw_parts((*children).name_lens, (*children).len);
        for (name, (expected, len)) in names.iter().zip(["a", "b", "c", "d"].into_iter().zip(lens)) {
            assert_eq!((string(*name).as_str(), *len), (expected, expected.len()));
        }
        assert_eq!((names.len(), (*leaf).len), (4, 0));
        tc_children_free(children);
        tc_children_free(leaf);

        assert_eq!(
            (tc_snapshot_zxid(snapshot), tc_snapshot_is_cut(snapshot), tc_snapshot_len(snapshot)),
            (12, true, 6)
        );
        let root = tc_snapshot_root(snapshot);
        assert_eq!((string(root).as_str(), tc_snapshot_root(snapshot)), ("/r", root));
        assert_eq!(tc_snapshot_walk(snapshot, c"/r".as_ptr(), Some(on_visit), witness.user()), TC_OK);
        tc_snapshot_free(snapshot);
    }
    assert_eq!(received.try_iter().collect::<Vec<_>>(), ["/r 0", "/r/a 1", "/r/b 1", "/r/c 1"]);
}

#[test]
fn a_cache_begins_with_a_snapshot_whose_cache_and_client_are_freed() {
    let (client, _hand, cache, sink) = started();
    sink.tell(Output::Publish(version(&["", "a"]), 2));
    let (mut snapshot, mut other, mut next) = (null(), null_mut(), null_mut());
    let (mut state, mut age, mut node) = (-1, 0, null());
    let (another, hand) = self::client();
    let another = tc_client::into_raw(tc_client { client: another });
    // SAFETY: the arguments are valid, and freed behind their last use.
    unsafe {
        assert_eq!(tc_get_snapshot(cache, &mut snapshot), TC_OK);
        tc_free(cache);
        tc_client_free(client);
        assert_eq!(tc_new(another, c"/s".as_ptr(), null(), &mut other), TC_OK);
        assert_eq!(tc_start_from(other, snapshot), TC_ERR_INVALID_ARGUMENT);
        assert_eq!(tc_start(other), TC_OK, "it was not started");
        assert_eq!(tc_new(another, c"/r".as_ptr(), null(), &mut next), TC_OK);
        assert_eq!(tc_start_from(next, snapshot), TC_OK);
        assert_eq!(tc_start_from(next, snapshot), TC_ERR_STATE);
        tc_snapshot_free(snapshot);
        assert_eq!(tc_get_state(next, &mut state, &mut age), TC_OK);
        assert_eq!(state, TC_STATE_WARM);
        assert_eq!(tc_get_data(next, c"/r/a".as_ptr(), &mut node), TC_OK);
        assert_eq!((*node).data_len, 1);
        tc_node_free(node);
        assert_eq!(tc_get_data(next, c"/r/b".as_ptr(), &mut node), TC_ERR_NO_NODE);
        assert_eq!(hand.opened.lock().unwrap().len(), 2);
        [other, next].into_iter().for_each(|cache| tc_free(cache));
        tc_client_free(another);
    }
}

#[cfg(target_os = "linux")]
unsafe extern "C" fn count_change(_: *const tc_event, user: *mut c_void) -> i32 {
    // SAFETY: the test passes a number, which nobody else uses meanwhile.
    unsafe { *user.cast::<usize>() += 1 };
    TC_WALK_CONTINUE
}

#[cfg(target_os = "linux")]
#[test]
fn a_tree_in_a_file_is_attached_to_and_read_without_a_client() {
    let folder = crate::sharing::tests::folder();
    let file = folder.path().join("tree");
    let name = CString::new(file.to_str().unwrap()).unwrap();
    let (client, hand) = client();
    let client = tc_client::into_raw(tc_client { client });
    let (mut cache, mut attached, mut node, mut error) = (null_mut(), null_mut(), null(), null());
    let (mut state, mut age, mut id, mut children) = (0, 0, 0, null());
    let (mut before, mut after) = (null(), null());
    let (witness, told) = Witness::new();
    // SAFETY: the arguments are valid, and freed once.
    unsafe {
        let config = tc_config_new();
        assert_eq!(tc_config_set(config, c"share.file".as_ptr(), name.as_ptr()), TC_OK);
        assert_eq!(tc_new(client, c"/r".as_ptr(), config, &mut cache), TC_OK);
        assert_eq!(tc_attach(name.as_ptr(), config, &mut attached), TC_OK, "it need not be there");
        assert_eq!(tc_get_state(attached, &mut state, &mut age), TC_OK);
        assert_eq!((state, age), (TC_STATE_LOADING, -1));
        assert_eq!(tc_get_data(attached, c"/r".as_ptr(), &mut node), TC_ERR_NOT_READY);
        assert_eq!(tc_get_snapshot(attached, &mut before), TC_OK);
        assert!(tc_snapshot_root(before).is_null() && tc_snapshot_len(before) == 0);
        assert_eq!(tc_start(cache), TC_OK);
        let sink = hand.sink();
        let mut tree = version(&["", "a"]).tree.clone();
        assert!(tree.put("large", Some(Node::new(vec![7; 5000].into(), STAT))));
        sink.tell(Output::Publish(
            Arc::new(Version { tree, zxid: Zxid(12), is_cut: true, is_complete: true, is_own: true }),
            3,
        ));
        sink.tell(Output::State(State::InStep));
        sink.tell(Output::Event(EventKind::Initialized));
        assert_eq!(tc_wait_initialized(attached, 20_000), TC_OK);
        assert!(tc_is_initialized(attached));
        assert_eq!(tc_get_data(attached, c"/r/a".as_ptr(), &mut node), TC_OK);
        assert_eq!(((*node).data_len, (*node).stat.czxid), (1, STAT.czxid.0));
        tc_node_free(node);
        assert_eq!(tc_get_children(attached, c"/r".as_ptr(), &mut children), TC_OK);
        assert_eq!((*children).len, 2);
        tc_children_free(children);
        assert_eq!(tc_get_snapshot(attached, &mut after), TC_OK);
        assert_eq!(string(tc_snapshot_root(after)), "/r");
        let mut changes = 0_usize;
        let user = (&raw mut changes).cast();
        assert_eq!(tc_snapshot_diff(before, after, Some(count_change), user), TC_OK);
        assert_eq!(changes, 3);
        tc_snapshot_free(before);
        tc_snapshot_free(after);
        assert_eq!(tc_sync_or_error(attached, 0, &mut error), TC_ERR_UNSUPPORTED);
        assert_eq!(string((*error).message), "the cache is attached to a file, and has no server to ask");
        tc_error_free(error);
        assert_eq!(tc_start(attached), TC_ERR_STATE);
        let user = witness.user();
        assert_eq!(tc_listen(attached, Some(on_event), user, Some(count_free), &mut id), TC_OK);
        for _ in 0..3 {
            told.recv_timeout(Duration::from_secs(20)).expect("the tree so far");
        }
        assert_eq!(tc_get_data(attached, c"/r/large".as_ptr(), &mut node), TC_OK);
        tc_free(attached);
        assert_eq!(witness.frees(), 1);
        let data = std::slice::from_raw_parts((*node).data, (*node).data_len);
        assert!(data.len() == 5000 && data.iter().all(|byte| *byte == 7), "it outlives the cache");
        tc_node_free(node);
        // What is no tree.
        std::fs::write(folder.path().join("other"), "something else").unwrap();
        let other = CString::new(folder.path().join("other").to_str().unwrap()).unwrap();
        attached = null_mut();
        assert_eq!(tc_attach(other.as_ptr(), config, &mut attached), TC_ERR_INVALID_ARGUMENT);
        assert!(attached.is_null());
        assert_eq!(tc_config_get_error(config, &mut error), TC_OK);
        assert!(string((*error).message).ends_with("/other: it is no shared tree"));
        tc_error_free(error);
        tc_config_free(config);
        tc_free(cache);
        tc_client_free(client);
    }
}

#[test]
fn a_small_node_is_copied_when_it_is_given_and_a_large_one_is_shared() {
    let (client, _hand, cache, sink) = started();
    let [small, large]: [Arc<[u8]>; 2] = [1024, 1025].map(|len| Arc::from(vec![7; len]));
    let node = |data: &Arc<[u8]>| Some(Node::new(data.clone(), STAT));
    let mut tree = version(&[""]).tree.clone();
    assert!(tree.put("small", node(&small)) && tree.put("large", node(&large)));
    let version = Arc::new(Version { tree, zxid: Zxid(12), is_cut: true, is_complete: true, is_own: true });
    sink.tell(Output::Publish(version.clone(), 3));
    let versions = Arc::strong_count(&version);
    for (path, kept, is_shared) in [(c"/r/small", &small, false), (c"/r/large", &large, true)] {
        let shares = Arc::strong_count(kept);
        let (mut node, mut snapshot, mut again) = (null(), null(), null());
        // SAFETY: the arguments are valid, and freed once.
        unsafe {
            assert_eq!(tc_get_data(cache, path.as_ptr(), &mut node), TC_OK);
            assert_eq!(Arc::strong_count(&version), versions);
            assert_eq!(Arc::strong_count(kept), shares + usize::from(is_shared));
            assert_eq!(tc_get_snapshot(cache, &mut snapshot), TC_OK);
            assert_eq!(tc_snapshot_get_data(snapshot, path.as_ptr(), &mut again), TC_OK);
            tc_snapshot_free(snapshot);
            for node in [&*node, &*again] {
                assert_eq!(node.data == kept.as_ptr(), is_shared);
                assert_eq!(std::slice::from_raw_parts(node.data, node.data_len), &**kept);
                assert_eq!((node.stat.czxid, node.stat.num_children, node.stat.pzxid), (1, 10, 11));
            }
            tc_node_free(node);
            tc_node_free(again);
        }
        assert_eq!(Arc::strong_count(kept), shares);
    }
    // SAFETY: freed once.
    unsafe {
        tc_free(cache);
        tc_client_free(client);
    }
}

#[test]
fn data_that_is_not_kept_is_null_and_empty_data_is_not() {
    let (client, _hand, cache, sink) = started();
    let mut tree = version(&[""]).tree.clone();
    assert!(tree.put("kept", Some(Node::new(Arc::default(), STAT))));
    assert!(tree.put("not", Some(Node::without_data(STAT))));
    sink.tell(Output::Publish(
        Arc::new(Version { tree, zxid: Zxid(12), is_cut: true, is_complete: true, is_own: true }),
        3,
    ));
    for (path, is_kept) in [(c"/r/kept", true), (c"/r/not", false)] {
        let (mut node, mut len, mut stat) = (null(), 77, stat_of(&Stat::default()));
        // SAFETY: the arguments are valid, and freed once.
        unsafe {
            assert_eq!(tc_get_data(cache, path.as_ptr(), &mut node), TC_OK);
            assert_eq!(((*node).data.is_null(), (*node).data_len), (!is_kept, 0));
            assert_eq!((*node).stat.data_length, STAT.data_length);
            tc_node_free(node);
            assert_eq!(tc_copy_data(cache, path.as_ptr(), null_mut(), 0, &mut len, &mut stat), TC_OK);
        }
        assert_eq!((len, stat.data_length), (0, STAT.data_length));
        let node = if is_kept { Node::new(Arc::default(), STAT) } else { Node::without_data(STAT) };
        let event = Event {
            kind: EventKind::NodeUpdated,
            last_of_version: false,
            path: Some("/r"),
            node: Some(node.lend()),
            old: Some(node.lend()),
            zxid: Zxid(12),
        };
        let lent = super::event::lend(&event, &mut Vec::new());
        assert_eq!((lent.data.is_null(), lent.old_data.is_null()), (!is_kept, !is_kept));
        assert!(!lent.stat.is_null() && !lent.old_stat.is_null());
    }
    // SAFETY: freed once.
    unsafe {
        tc_free(cache);
        tc_client_free(client);
    }
}

#[test]
fn data_is_copied_into_a_buffer_that_has_room_for_it() {
    let (client, _hand, cache, sink) = started();
    let mut tree = version(&["", "a", "a/data"]).tree.clone();
    assert!(tree.put("b", None));
    sink.tell(Output::Publish(
        Arc::new(Version { tree, zxid: Zxid(12), is_cut: true, is_complete: true, is_own: true }),
        4,
    ));
    let mut snapshot = null();
    // SAFETY: the arguments are valid, and freed once.
    unsafe {
        assert_eq!(tc_get_snapshot(cache, &mut snapshot), TC_OK);
        // Answers of both functions, which do the same: status, length, Stat, what is in the buffer.
        let copy = |path: &CStr, capacity: usize, wants_stat: bool| {
            let answers = [false, true].map(|of_snapshot| {
                let (mut buffer, mut len, mut stat) = ([b'-'; 8], 77, stat_of(&Stat::default()));
                let bytes = if capacity == 0 { null_mut() } else { buffer.as_mut_ptr() };
                let told = if wants_stat { &raw mut stat } else { null_mut() };
                let path = path.as_ptr();
                let status = match of_snapshot {
                    false => tc_copy_data(cache, path, bytes, capacity, &mut len, told),
                    true => tc_snapshot_copy_data(snapshot, path, bytes, capacity, &mut len, told),
                };
                (status, len, stat.pzxid, String::from_utf8(buffer.to_vec()).unwrap())
            });
            assert_eq!(answers[0], answers[1]);
            answers[0].clone()
        };
        let answer = |status, len, pzxid, bytes: &str| (status, len, pzxid, bytes.to_owned());
        assert_eq!(copy(c"/r/a/data", 8, true), answer(TC_OK, 6, 11, "a/data--"));
        assert_eq!(copy(c"/r/a/data", 6, true), answer(TC_OK, 6, 11, "a/data--"));
        assert_eq!(copy(c"/r/a/data", 6, false), answer(TC_OK, 6, 0, "a/data--"));
        assert_eq!(copy(c"/r/a/data", 5, true), answer(TC_ERR_TOO_SMALL, 6, 0, "--------"));
        assert_eq!(copy(c"/r/a/data", 0, true), answer(TC_ERR_TOO_SMALL, 6, 0, "--------"));
        assert_eq!(copy(c"/r", 0, true), answer(TC_OK, 0, 11, "--------"));
        assert_eq!(copy(c"/r", 0, false), answer(TC_OK, 0, 0, "--------"));
        for (path, status) in [
            (c"/r/e", TC_ERR_NO_NODE),
            (c"/r/b", TC_ERR_NO_PERMISSION),
            (c"/r/b/x", TC_ERR_NO_PERMISSION),
            (c"/rr", TC_ERR_OUT_OF_TREE),
            (c"/r/", TC_ERR_INVALID_ARGUMENT),
        ] {
            assert_eq!(copy(path, 8, true), answer(status, 77, 0, "--------"));
        }

        let (path, mut len) = (c"/r/a".as_ptr(), 77);
        assert_eq!(tc_close(cache), TC_OK);
        assert_eq!(tc_copy_data(cache, path, null_mut(), 0, &mut len, null_mut()), TC_ERR_CLOSED);
        assert_eq!(len, 77);
        assert_eq!(
            tc_snapshot_copy_data(snapshot, path, null_mut(), 0, &mut len, null_mut()),
            TC_ERR_TOO_SMALL
        );
        assert_eq!(len, 1);
        tc_snapshot_free(snapshot);
        tc_free(cache);
        tc_client_free(client);
    }
}

#[test]
fn nothing_is_copied_before_the_first_version() {
    let (client, _hand, cache, _sink) = started();
    let mut len = 77;
    // SAFETY: the arguments are valid, and freed once.
    unsafe {
        let answer = tc_copy_data(cache, c"/r".as_ptr(), null_mut(), 0, &mut len, null_mut());
        assert_eq!((answer, len), (TC_ERR_NOT_READY, 77));
        tc_free(cache);
        tc_client_free(client);
    }
}

#[test]
fn events_and_faults_reach_c_and_user_is_freed_once_behind_them() {
    let (client, hand, cache, sink) = started();
    let (witness, received) = Witness::new();
    let (mut events, mut faults) = (0, 0);
    // SAFETY: the arguments are valid, and freed once.
    unsafe {
        let user = witness.user();
        assert_eq!(tc_listen(cache, Some(on_event), user, Some(count_free), &mut events), TC_OK);
        sink.tell(Output::Publish(version(&["", "a"]), 2));
        assert_eq!(next(&received), "0 0 /r 0 11 0 0 12");
        assert_eq!(next(&received), "0 1 /r/a 1 11 0 0 12");
        let mut tree = version(&["", "a"]).tree.clone();
        let newer = Node::new(Arc::from(*b"new"), Stat { mzxid: Zxid(20), pzxid: Zxid(21), ..STAT });
        assert!(tree.put("a", Some(newer)));
        sink.tell(Output::Publish(Arc::new(Version { tree, zxid: Zxid(22), ..Version::default() }), 1));
        assert_eq!(next(&received), "1 1 /r/a 3 21 1 11 22");
        sink.tell(Output::Event(EventKind::InStep));
        assert_eq!(next(&received), "7 0 NULL 0 0 0 0 22");
        sink.tell(Output::Event(EventKind::ConnectionSuspended));
        assert_eq!(next(&received), "3 0 NULL 0 0 0 0 0");

        assert_eq!(tc_listen_fault(cache, Some(on_fault), user, Some(count_free), &mut faults), TC_OK);
        let path = crate::path::NodePath::new("/r/p").unwrap();
        sink.tell(Output::Fault(Fault::new(Status::Auth, "no\0way").at(&path).server_error(-115)));
        assert_eq!(next(&received), "-10 -115 /r/p no");
        assert_eq!(tc_unlisten(cache, events), TC_OK);
        assert_eq!(tc_unlisten(cache, events), TC_ERR_INVALID_ARGUMENT);
        assert_eq!(witness.frees(), 1);
        // Without a free function.
        assert_eq!(tc_listen(cache, Some(on_event), user, None, &mut events), TC_OK);
        assert_eq!(
            tc_client_listen_fault(client, Some(on_fault), user, Some(count_free), &mut events),
            TC_OK
        );
        hand.client.lock().unwrap().fault(Fault::new(Status::Connection, "gone"));
        while next(&received) != "-13 0 NULL gone" {}
        tc_free(cache);
        assert_eq!(witness.frees(), 2);
        tc_client_free(client);
        assert_eq!(witness.frees(), 3);
    }
}

#[test]
fn a_listener_that_is_refused_is_freed_too() {
    let (client, _hand, cache, _sink) = started();
    let (witness, _received) = Witness::new();
    let mut id = 77;
    // SAFETY: the arguments are valid, and freed once.
    unsafe {
        let user = witness.user();
        assert_eq!(tc_close(cache), TC_OK);
        assert_eq!(tc_listen(cache, Some(on_event), user, Some(count_free), &mut id), TC_ERR_CLOSED);
        assert_eq!(
            tc_listen_with(cache, null(), Some(on_event), user, Some(count_free), &mut id),
            TC_ERR_CLOSED
        );
        assert_eq!(tc_listen_fault(cache, Some(on_fault), user, Some(count_free), &mut id), TC_ERR_CLOSED);
        assert_eq!((witness.frees(), id), (3, 77));
        assert_eq!(tc_start(cache), TC_ERR_CLOSED);
        assert_eq!(tc_unlisten(cache, 1), TC_ERR_CLOSED);
        assert_eq!(tc_wait_initialized(cache, -1), TC_ERR_CLOSED);
        assert_eq!(tc_sync(cache, -1), TC_ERR_CLOSED);
        assert!(!tc_is_initialized(cache));
        tc_client_free(client);
        tc_free(cache);
    }
}

#[test]
fn a_panic_becomes_a_status_and_a_fault_and_the_handle_refuses_further_work() {
    assert_eq!(guard("test", || panic!("on purpose")), TC_ERR_PANIC);
    let (client, _hand, cache, _sink) = started();
    let (witness, received) = Witness::new();
    let (mut id, mut node) = (0, null());
    // SAFETY: the arguments are valid, and freed once.
    unsafe {
        assert_eq!(tc_listen_fault(cache, Some(on_fault), witness.user(), Some(count_free), &mut id), TC_OK);
        assert_eq!(with("test", cache, |_| panic!("on purpose")), TC_ERR_PANIC);
        assert_eq!(next(&received), "-11 0 NULL test panicked: on purpose");
        assert_eq!(tc_get_data(cache, c"/r".as_ptr(), &mut node), TC_ERR_PANIC);
        assert_eq!(tc_close(cache), TC_ERR_PANIC);
        tc_free(cache);
        assert_eq!(witness.frees(), 1);
        tc_client_free(client);
    }
}

/// What a walk is given next, as text.
unsafe fn next_visit(walk: *mut tc_walk) -> String {
    let mut visit = null();
    // SAFETY: the caller's promise; a visit is lent with all it points to.
    unsafe {
        assert_eq!(tc_walk_next(walk, &mut visit), TC_OK);
        let Some(visit) = visit.as_ref() else { return "end".to_owned() };
        let (path, name) = (string(visit.path), string(visit.name));
        assert_eq!((path.len(), name.len()), (visit.path_len, visit.name_len));
        let data =
            visit.node.as_ref().map(|node| std::slice::from_raw_parts(node.data, node.data_len).to_vec());
        format!("{} {path} {name} {data:?}", visit.depth)
    }
}

#[test]
fn a_walk_has_every_node_and_outlives_all_it_was_made_of() {
    let (client, _hand, cache, sink) = started();
    let mut tree = version(&["", "a", "a/b", "c"]).tree.clone();
    assert!(tree.put("b", None));
    sink.tell(Output::Publish(
        Arc::new(Version { tree, zxid: Zxid(12), is_cut: true, is_complete: true, is_own: true }),
        6,
    ));
    let (mut snapshot, mut walk, mut part, mut opaque, mut visit) =
        (null(), null_mut(), null_mut(), null_mut(), null());
    // SAFETY: the arguments are valid, and freed once.
    unsafe {
        assert_eq!(tc_get_snapshot(cache, &mut snapshot), TC_OK);
        for (path, answer) in [
            (c"/r/e", TC_ERR_NO_NODE),
            (c"/rr", TC_ERR_OUT_OF_TREE),
            (c"/r/", TC_ERR_INVALID_ARGUMENT),
            (c"/r/b/x", TC_ERR_NO_PERMISSION),
        ] {
            assert_eq!(tc_walk_new(snapshot, path.as_ptr(), &mut walk), answer);
            assert!(walk.is_null());
        }
        assert_eq!(tc_walk_new(snapshot, c"/r".as_ptr(), &mut walk), TC_OK);
        assert_eq!(tc_walk_new(snapshot, c"/r/a".as_ptr(), &mut part), TC_OK);
        assert_eq!(tc_walk_new(snapshot, c"/r/b".as_ptr(), &mut opaque), TC_OK);
        tc_snapshot_free(snapshot);
        tc_free(cache);
        tc_client_free(client);
        drop(sink);

        assert_eq!(tc_walk_skip(walk), TC_OK);
        assert_eq!(next_visit(walk), "0 /r r Some([])");
        assert_eq!(tc_walk_next(walk, &mut visit), TC_OK);
        assert_eq!(tc_walk_skip(walk), TC_OK);
        // It stays lent.
        assert_eq!((string((*visit).path).as_str(), (*visit).depth), ("/r/a", 1));
        assert_eq!((*(*visit).node).data_len, 1);
        assert_eq!(next_visit(walk), "1 /r/b b None");
        assert_eq!(next_visit(walk), "1 /r/c c Some([99])");
        assert_eq!(next_visit(walk), "end");
        assert_eq!(tc_walk_skip(walk), TC_OK);
        assert_eq!(next_visit(walk), "end");

        assert_eq!(next_visit(part), "0 /r/a a Some([97])");
        assert_eq!(next_visit(part), "1 /r/a/b b Some([97, 47, 98])");
        assert_eq!(next_visit(part), "end");
        assert_eq!(next_visit(opaque), "0 /r/b b None");
        assert_eq!(next_visit(opaque), "end");
        for walk in [walk, part, opaque] {
            tc_walk_free(walk);
        }
    }
}

#[test]
fn a_constructor_says_why_it_failed_and_its_configuration_does_not() {
    let (client, _hand, cache, _sink) = started();
    let config = tc_config_new();
    let (mut new_client, mut new_cache) = (null_mut(), null_mut());
    let mut queue: *mut tc_queue = null_mut();
    // SAFETY: the arguments are valid, and freed once.
    unsafe {
        let check = |answer: i32, error: &mut *const tc_error, status: i32, about: &str| {
            assert_eq!((answer, (**error).status), (status, status));
            let message = string((**error).message);
            assert!(message.contains(about), "{message}");
            tc_error_free(*error);
            *error = null();
            let mut remembered = null();
            assert_eq!(tc_config_get_error(config, &mut remembered), TC_OK);
            assert!(remembered.is_null());
        };
        let mut error = null();
        let answer = tc_client_new_or_error(c"a:b".as_ptr(), config, &mut new_client, &mut error);
        check(answer, &mut error, TC_ERR_INVALID_ARGUMENT, "a:b");
        let answer = tc_client_new_or_error(null(), config, &mut new_client, &mut error);
        check(answer, &mut error, TC_ERR_INVALID_ARGUMENT, "hosts is NULL");
        let answer = tc_new_or_error(client, c"/c/".as_ptr(), config, &mut new_cache, &mut error);
        check(answer, &mut error, TC_ERR_INVALID_ARGUMENT, "/c/");
        let answer = tc_new_or_error(null_mut(), c"/c".as_ptr(), null(), &mut new_cache, &mut error);
        check(answer, &mut error, TC_ERR_INVALID_ARGUMENT, "client is NULL");
        let answer = tc_queue_open_or_error(cache, null(), null_mut(), &mut error);
        check(answer, &mut error, TC_ERR_INVALID_ARGUMENT, "out is NULL");
        assert_eq!(
            tc_new_or_error(client, null(), config, &mut new_cache, null_mut()),
            TC_ERR_INVALID_ARGUMENT
        );
        assert!(new_client.is_null() && new_cache.is_null() && queue.is_null());

        error = std::ptr::dangling();
        assert_eq!(tc_new_or_error(client, c"/c".as_ptr(), config, &mut new_cache, &mut error), TC_OK);
        assert!(error.is_null());
        error = std::ptr::dangling();
        assert_eq!(tc_queue_open_or_error(new_cache, config, &mut queue, &mut error), TC_OK);
        assert!(error.is_null());
        assert_eq!(
            tc_queue_open_or_error(new_cache, config, null_mut(), null_mut()),
            TC_ERR_INVALID_ARGUMENT
        );
        tc_queue_free(queue);
        assert_eq!(tc_close(new_cache), TC_OK);
        let answer = tc_queue_open_or_error(new_cache, config, &mut queue, &mut error);
        check(answer, &mut error, TC_ERR_CLOSED, "closed");
        tc_free(new_cache);
        tc_free(cache);
        tc_client_free(client);
        tc_config_free(config);
    }
}

#[test]
fn keys_are_set_by_name() {
    let config = tc_config_new();
    // SAFETY: the arguments are valid, and freed once.
    unsafe {
        let set = |key: &str, value: &str| {
            let (key, value) = (CString::new(key).unwrap(), CString::new(value).unwrap());
            tc_config_set(config, key.as_ptr(), value.as_ptr())
        };
        assert_eq!(set("limit.nodes", "5"), TC_OK);
        assert_eq!(set("limit.nodes", "many"), TC_ERR_INVALID_ARGUMENT);
        assert_eq!(set("limit", "5"), TC_ERR_INVALID_ARGUMENT);
        assert_eq!(tc_config_set(config, c"auth".as_ptr(), c"\xff:x".as_ptr()), TC_ERR_INVALID_ARGUMENT);
        let mut client = null_mut();
        assert_eq!(tc_client_new(c"a:b".as_ptr(), config, &mut client), TC_ERR_INVALID_ARGUMENT);
        // A file that is only read with it.
        assert_eq!(set("tls.ca.file", "/no/such/file"), TC_OK);
        for tls in ["true", "false"] {
            assert_eq!(set("tls", tls), TC_OK);
            assert_eq!(tc_client_new(c"a".as_ptr(), config, &mut client), TC_ERR_INVALID_ARGUMENT);
        }
        assert!(client.is_null());
        tc_config_free(config);
    }
}

/// The only test that sets the log, which is one for the process.
#[test]
fn log_lines_name_the_value_that_was_refused_and_no_credential() {
    unsafe extern "C" fn on_log(level: i32, message: *const c_char, user: *mut c_void) {
        // SAFETY: the message is lent for the call.
        Witness::tell(user, format!("{level} {}", unsafe { string(message) }));
    }
    let (witness, received) = Witness::new();
    let config = tc_config_new();
    // SAFETY: the arguments are valid, and freed once.
    unsafe {
        assert_eq!(tc_log_set(4, Some(on_log), witness.user()), TC_OK);
        tc_config_set(config, c"limit.nodes".as_ptr(), c"plenty".as_ptr());
        tc_config_set(config, c"auth".as_ptr(), c"hunter2".as_ptr());
        tc_config_set(config, c"auth".as_ptr(), c"\xffhunter2".as_ptr());
        tc_config_set(config, c"sasl.password".as_ptr(), c"hunter2\xff".as_ptr());
        tc_config_set(config, c"sasl.password".as_ptr(), c"".as_ptr());
        log::error!(target: "treecache_not", "of another library");
        log::info!("not wanted");
        assert_eq!(tc_log_set(3, None, null_mut()), TC_OK);
        tc_config_set(config, c"limit.nodes".as_ptr(), c"too late".as_ptr());
    }
    let written = written_to_a_descriptor(config);
    // SAFETY: nobody else has it.
    unsafe { tc_config_free(config) };
    for line in ["<4>two\\nlines", "<3>bad"] {
        assert!(written.iter().any(|written| written == line), "{line}: {written:?}");
    }
    let long = written.iter().find(|line| line.starts_with("<4>é")).unwrap();
    assert!((4090..4096).contains(&long.len()), "{}", long.len());
    // Whichever line came first behind those that were lost.
    assert!(written.iter().any(|line| line.starts_with("<3>") && line.ends_with("again")));
    assert!(written.iter().any(|line| line.contains(" lines lost) ")));
    for line in ["not wanted", "refused call", "too late"] {
        assert!(!written.iter().any(|written| written.contains(line)), "{line}: {written:?}");
    }
    // Other tests log at the same time.
    let lines: Vec<_> = received.try_iter().collect();
    assert!(
        lines.contains(
            &"3 tc_config_set: invalid value \"plenty\" for \"limit.nodes\": expected a whole number"
                .to_owned()
        ),
        "{lines:?}"
    );
    for key in ["\"auth\"", "\"sasl.password\""] {
        assert!(lines.iter().filter(|line| line.contains(key)).count() >= 2, "{lines:?}");
    }
    for refused in ["hunter2", "another library", "not wanted", "too late"] {
        assert!(!lines.iter().any(|line| line.contains(refused)), "{lines:?}");
    }
}

/// What some lines are in a pipe.
fn written_to_a_descriptor(config: *mut tc_config) -> Vec<String> {
    use std::io::Read;
    use std::os::fd::{AsRawFd, OwnedFd};
    let (mut reads, writes) = std::io::pipe().unwrap();
    let writes = OwnedFd::from(writes);
    // SAFETY: the descriptor is open, and the arguments are valid.
    unsafe { assert_eq!(libc::fcntl(writes.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK), 0) };
    assert_eq!(tc_log_set_fd(4, writes.as_raw_fd()), TC_OK);
    log::warn!("two\nlines");
    log::error!("bad");
    log::info!("not wanted");
    // SAFETY: the arguments are valid.
    unsafe { tc_config_set(config, c"limit.nodes".as_ptr(), c"refused call".as_ptr()) };
    for _ in 0..64 {
        log::warn!("{}", "é".repeat(4000));
    }
    let mut buffer = vec![0; 1 << 20];
    let mut len = reads.read(&mut buffer).unwrap();
    log::error!("again");
    assert_eq!(tc_log_set_fd(4, -1), TC_OK);
    log::error!("too late");
    drop(writes);
    while let Ok(more @ 1..) = reads.read(&mut buffer[len..]) {
        len += more;
    }
    std::str::from_utf8(&buffer[..len]).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn what_went_wrong_last_is_handed_out_and_is_in_the_stats_and_in_the_errors_of_waits() {
    let (client, hand, cache, sink) = started();
    let (mut fault, mut stats, mut error) = (null(), null(), null());
    let (mut queue, mut item) = (null_mut(), null());
    let root = crate::path::NodePath::new("/r").unwrap();
    // SAFETY: the arguments are valid, and freed once.
    unsafe {
        assert_eq!(tc_get_fault(cache, &mut fault), TC_OK);
        assert!(fault.is_null(), "nothing went wrong so far");
        tc_fault_free(fault);
        assert_eq!(tc_get_stats(cache, &mut stats), TC_OK);
        let tc_stats { faults, last_fault_age_ms, last_fault_status, .. } = *stats;
        assert_eq!((faults, last_fault_age_ms, last_fault_status), (0, -1, TC_OK));
        tc_stats_free(stats);

        hand.client.lock().unwrap().fault(Fault::new(Status::Connection, "zk1:2181: refused"));
        sink.tell(Output::Fault(Fault::new(Status::NoPermission, "no").at(&root).server_error(-102)));
        assert_eq!(tc_get_fault(cache, &mut fault), TC_OK);
        let tc_fault { status, server_error, path, message } = *fault;
        assert_eq!((status, server_error), (TC_ERR_NO_PERMISSION, -102));
        assert_eq!((string(path), string(message)), ("/r".to_owned(), "no".to_owned()));
        tc_fault_free(fault);
        assert_eq!(tc_get_stats(cache, &mut stats), TC_OK);
        let tc_stats { faults, last_fault_age_ms, last_fault_status, .. } = *stats;
        assert_eq!((faults, last_fault_status), (2, TC_ERR_NO_PERMISSION));
        assert!((0..60_000).contains(&last_fault_age_ms), "{last_fault_age_ms}");
        tc_stats_free(stats);

        let said = |status: i32, error: *const tc_error| {
            assert_eq!((*error).status, status);
            let message = string((*error).message);
            tc_error_free(error);
            message
        };
        assert_eq!(tc_wait_initialized_or_error(cache, 20, &mut error), TC_ERR_TIMEOUT);
        assert_eq!(said(TC_ERR_TIMEOUT, error), "timed out after 0.02 s; last: no");
        assert_eq!(tc_sync_or_error(cache, 1, &mut error), TC_ERR_TIMEOUT);
        assert_eq!(said(TC_ERR_TIMEOUT, error), "timed out after 0.001 s; last: no");
        assert_eq!(tc_queue_open(cache, null(), &mut queue), TC_OK);
        assert_eq!(tc_queue_next_or_error(queue, 1, &mut item, &mut error), TC_ERR_TIMEOUT);
        assert_eq!(said(TC_ERR_TIMEOUT, error), "timed out after 0.001 s; last: no");
        assert_eq!(tc_start_or_error(cache, &mut error), TC_ERR_STATE);
        assert_eq!(said(TC_ERR_STATE, error), "the cache was started before");
        sink.tell(Output::Event(EventKind::Initialized));
        assert_eq!(tc_wait_initialized_or_error(cache, 20, &mut error), TC_OK);
        assert!(error.is_null());
        assert_eq!(tc_queue_next_or_error(queue, -1, &mut item, &mut error), TC_OK);
        tc_item_free(item);

        let mut latent = null_mut();
        assert_eq!(tc_new(client, c"/r".as_ptr(), null(), &mut latent), TC_OK);
        assert_eq!(tc_wait_initialized_or_error(latent, 20, &mut error), TC_ERR_STATE);
        assert_eq!(said(TC_ERR_STATE, error), "the cache was not started");
        assert_eq!(tc_start_from_or_error(latent, null(), &mut error), TC_ERR_INVALID_ARGUMENT);
        assert_eq!(said(TC_ERR_INVALID_ARGUMENT, error), "snapshot is NULL");
        tc_free(latent);
        tc_queue_free(queue);
        tc_free(cache);
        tc_client_free(client);
    }
}

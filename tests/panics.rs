//! A panic on any thread ends as TC_ERR_PANIC, a fault, a log line and a handle that refuses work: nobody waits for
//! ever, everything can still be freed, and what was handed out stays valid.

mod common;

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use treecache::ffi::cache::*;
use treecache::ffi::children::*;
use treecache::ffi::client::*;
use treecache::ffi::config::*;
use treecache::ffi::event::*;
use treecache::ffi::fault::*;
use treecache::ffi::log::*;
use treecache::ffi::node::*;
use treecache::ffi::snapshot::*;
use treecache::ffi::status::*;
use treecache::planted::{Defect, plant};
use treecache::{EventKind, Item, Status};
use treecache_test_support::{Proxy, Witness, shared, unique_root};

use common::{BOUND, client, eventually, started};

/// The switch and the log are those of the process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Plants nothing any more when it goes, however the test ends.
struct Alone(#[allow(dead_code, reason = "held")] MutexGuard<'static, ()>);

impl Alone {
    fn new() -> Alone {
        Alone(ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        plant(None);
    }
}

/// What the callbacks of one listener have seen. `user` points to it.
#[derive(Default)]
struct Seen {
    faults: Mutex<Vec<(i32, String)>>,
    lost: AtomicUsize,
    frees: AtomicUsize,
}

impl Seen {
    /// Never freed: a callback may come at any time.
    fn new() -> &'static Seen {
        Box::leak(Box::default())
    }

    fn user(&'static self) -> *mut c_void {
        std::ptr::from_ref(self).cast_mut().cast()
    }

    fn of(user: *mut c_void) -> &'static Seen {
        // SAFETY: `user` came from `user()`.
        unsafe { &*user.cast::<Seen>() }
    }

    fn panics(&self) -> Vec<String> {
        let faults = self.faults.lock().unwrap();
        faults
            .iter()
            .filter(|(status, _)| *status == TC_ERR_PANIC)
            .map(|(_, message)| message.clone())
            .collect()
    }

    fn frees(&self) -> usize {
        self.frees.load(Ordering::SeqCst)
    }
}

unsafe extern "C" fn on_event(event: *const tc_event, user: *mut c_void) {
    // SAFETY: the event is lent for the call.
    if unsafe { (*event).r#type } == TC_EVENT_CONNECTION_LOST {
        Seen::of(user).lost.fetch_add(1, Ordering::SeqCst);
    }
}

unsafe extern "C" fn on_fault(fault: *const tc_fault, user: *mut c_void) {
    // SAFETY: the fault is lent for the call.
    let (status, message) = unsafe { ((*fault).status, text((*fault).message)) };
    Seen::of(user).faults.lock().unwrap().push((status, message));
}

unsafe extern "C" fn on_free(user: *mut c_void) {
    Seen::of(user).frees.fetch_add(1, Ordering::SeqCst);
}

static LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());

unsafe extern "C" fn on_log(_: i32, message: *const c_char, _: *mut c_void) {
    // SAFETY: the message is lent for the call.
    LOG.lock().unwrap().push(unsafe { text(message) });
}

unsafe fn text(text: *const c_char) -> String {
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_str().unwrap().to_owned()
}

/// How many threads of the library there are; one that has been joined may still be leaving.
fn library_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
    };
    tasks.filter_map(name).filter(|name| name.starts_with("treecache-")).count()
}

/// A cache that may travel to the thread that waits.
#[derive(Clone, Copy)]
struct Cache(*mut tc_cache);

// SAFETY: any function may be called on any thread.
unsafe impl Send for Cache {}

impl Cache {
    fn new(client: *mut tc_client, root: &str) -> Cache {
        let (root, mut cache) = (CString::new(root).unwrap(), null_mut());
        // SAFETY: the arguments are valid.
        assert_eq!(unsafe { tc_new(client, root.as_ptr(), null(), &mut cache) }, TC_OK);
        Cache(cache)
    }

    fn start(self) {
        // SAFETY: the cache is not freed yet.
        assert_eq!(unsafe { tc_start(self.0) }, TC_OK);
    }

    fn wait(self, timeout_ms: i32) -> i32 {
        // SAFETY: the cache is not freed before the wait is over.
        unsafe { tc_wait_initialized(self.0, timeout_ms) }
    }

    fn sync(self) -> i32 {
        // SAFETY: the cache is not freed before the call is over.
        unsafe { tc_sync(self.0, -1) }
    }

    fn hear_faults(self) -> &'static Seen {
        let (seen, mut id) = (Seen::new(), 0);
        // SAFETY: the arguments are valid.
        assert_eq!(
            unsafe { tc_listen_fault(self.0, Some(on_fault), seen.user(), Some(on_free), &mut id) },
            TC_OK
        );
        seen
    }

    fn hear_events(self) -> &'static Seen {
        let (seen, mut id) = (Seen::new(), 0);
        // SAFETY: the arguments are valid.
        assert_eq!(unsafe { tc_listen(self.0, Some(on_event), seen.user(), Some(on_free), &mut id) }, TC_OK);
        seen
    }

    /// Every function that may fail refuses work, and writes nothing.
    fn assert_refuses_work(self) {
        let (seen, path) = (Seen::new(), c"/".as_ptr());
        let (mut id, mut state, mut age) = (77, 77, 77);
        let (mut node, mut children, mut snapshot, mut stats) = (null(), null(), null(), null());
        // SAFETY: the arguments are valid.
        let answers = unsafe {
            [
                tc_start(self.0),
                tc_wait_initialized(self.0, -1),
                tc_sync(self.0, -1),
                tc_get_stats(self.0, &mut stats),
                tc_get_state(self.0, &mut state, &mut age),
                tc_close(self.0),
                tc_listen(self.0, Some(on_event), seen.user(), Some(on_free), &mut id),
                tc_listen_with(self.0, std::ptr::null(), Some(on_event), seen.user(), Some(on_free), &mut id),
                tc_listen_fault(self.0, Some(on_fault), seen.user(), Some(on_free), &mut id),
                tc_unlisten(self.0, 1),
                tc_get_data(self.0, path, &mut node),
                tc_get_children(self.0, path, &mut children),
                tc_get_snapshot(self.0, &mut snapshot),
            ]
        };
        assert_eq!(answers, [TC_ERR_PANIC; 13]);
        assert_eq!((id, state, age, seen.frees()), (77, 77, 77, 3));
        assert!(node.is_null() && children.is_null() && snapshot.is_null() && stats.is_null());
        // SAFETY: the cache is not freed yet.
        assert!(!unsafe { tc_is_initialized(self.0) });
    }
}

/// A client behind a proxy, with a cache that is loaded, one that waits for its first load, and one that was not
/// started.
struct Scene {
    proxy: Proxy,
    witness: Witness,
    root: String,
    client: *mut tc_client,
    loaded: Cache,
    latent: Cache,
    loading: Cache,
    events: &'static Seen,
    /// Of the client, of the loaded cache, and of the loading one.
    faults: [&'static Seen; 3],
    waiting: thread::JoinHandle<i32>,
    node: *const tc_node,
    snapshot: *const tc_snapshot,
}

impl Scene {
    fn set(name: &str) -> Scene {
        LOG.lock().unwrap().clear();
        let (root, proxy) = (unique_root(name), Proxy::start(shared().addr()));
        let witness = Witness::connect(&shared().hosts());
        witness.create(&root, b"data");
        // By name, so that it is resolved.
        let hosts = CString::new(format!("localhost:{}", proxy.addr().port())).unwrap();
        let (mut client, faults, mut id) = (null_mut(), Seen::new(), 0);
        let (mut node, mut snapshot) = (null(), null());
        let path = CString::new(root.as_str()).unwrap();
        // SAFETY: the arguments are valid, here and below.
        unsafe {
            assert_eq!(tc_log_set(3, Some(on_log), null_mut()), TC_OK);
            assert_eq!(tc_client_new(hosts.as_ptr(), null(), &mut client), TC_OK);
            let added = tc_client_listen_fault(client, Some(on_fault), faults.user(), Some(on_free), &mut id);
            assert_eq!(added, TC_OK);
        }
        let (loaded, latent, loading) =
            (Cache::new(client, &root), Cache::new(client, &root), Cache::new(client, &root));
        let events = loaded.hear_events();
        let faults = [faults, loaded.hear_faults(), loading.hear_faults()];
        loaded.start();
        assert_eq!(loaded.wait(BOUND.as_millis() as i32), TC_OK);
        // SAFETY: as above.
        unsafe {
            assert_eq!(tc_get_data(loaded.0, path.as_ptr(), &mut node), TC_OK);
            assert_eq!(tc_get_snapshot(loaded.0, &mut snapshot), TC_OK);
        }
        proxy.blackhole(true);
        loading.start();
        let waiting = thread::spawn(move || loading.wait(-1));
        Scene {
            proxy,
            witness,
            root,
            client,
            loaded,
            latent,
            loading,
            events,
            faults,
            waiting,
            node,
            snapshot,
        }
    }

    /// All is as it should be after a panic; `message` is in the fault and in the log.
    fn assert_ended_well(self, message: &str) {
        assert_eq!(self.waiting.join().unwrap(), TC_ERR_PANIC);
        for faults in self.faults {
            eventually("the fault is told", || !faults.panics().is_empty());
        }
        for faults in self.faults {
            let told = faults.panics();
            assert!(told.len() == 1 && told[0].contains(message), "{told:?}");
        }
        let logged = |line: &String| line.contains("panicked") && line.contains(message);
        assert!(LOG.lock().unwrap().iter().any(logged), "{:?}", LOG.lock().unwrap());
        // Its listener was told, or let go where telling it was what failed.
        eventually("listeners of events know", || {
            self.events.lost.load(Ordering::SeqCst) == 1 || self.events.frees() == 1
        });

        for cache in [self.loaded, self.latent, self.loading] {
            cache.assert_refuses_work();
        }
        let (late, mut id, mut cache) = (Seen::new(), 77, null_mut());
        // SAFETY: the arguments are valid, and freed once.
        unsafe {
            assert_eq!(tc_new(self.client, c"/x".as_ptr(), null(), &mut cache), TC_ERR_PANIC);
            let refused =
                tc_client_listen_fault(self.client, Some(on_fault), late.user(), Some(on_free), &mut id);
            assert_eq!((refused, id, late.frees()), (TC_ERR_PANIC, 77, 1));
            assert!(cache.is_null());

            let data = std::slice::from_raw_parts((*self.node).data, (*self.node).data_len);
            assert_eq!((data, tc_snapshot_len(self.snapshot)), (&b"data"[..], 1));
            tc_node_free(self.node);
            tc_snapshot_free(self.snapshot);

            tc_free(self.loaded.0);
            tc_client_free(self.client);
            tc_free(self.loading.0);
            tc_free(self.latent.0);
        }
        for seen in self.faults.into_iter().chain([self.events]) {
            assert_eq!(seen.frees(), 1);
        }
        eventually("the threads are gone", || library_threads() == 0);
    }
}

#[test]
fn on_the_io_thread() {
    let _alone = Alone::new();
    let scene = Scene::set("io");
    let loaded = scene.loaded;
    let syncing = thread::spawn(move || loaded.sync());
    plant(Some(Defect::PanicOnIoThread));
    scene.proxy.blackhole(false);
    assert_eq!(syncing.join().unwrap(), TC_ERR_PANIC);
    scene.assert_ended_well("planted: panic on the I/O thread");
}

#[test]
fn a_queue_ends_behind_what_its_cache_is_told() {
    let _alone = Alone::new();
    let (root, witness) = (unique_root("queue"), Witness::connect(&shared().hosts()));
    witness.create(&root, b"data");
    for round in 0..20 {
        let client = client(&shared().hosts());
        let cache = started(&client, &root, &[]);
        let queue = cache.queue(&common::config(&[("listen.initial", "false"), ("queue.faults", "true")]));
        let queue = queue.expect("a queue");
        thread::scope(|scope| {
            let taking = scope.spawn(|| {
                let mut taken = Vec::new();
                loop {
                    match queue.next(Some(BOUND)) {
                        Ok(item) => taken.push(item),
                        Err(error) => return (taken, error.status()),
                    }
                }
            });
            plant(Some(Defect::PanicOnIoThread));
            assert_eq!(cache.sync(Some(BOUND)).expect_err("a panic").status(), Status::Panic);
            let (taken, end) = taking.join().expect("no panic here");
            plant(None);
            let lost =
                |item: &&Item| item.as_event().is_some_and(|event| event.kind == EventKind::ConnectionLost);
            assert_eq!(taken.iter().filter(lost).count(), 1, "round {round}: {taken:?}");
            let panics = |item: &&Item| matches!(item, Item::Fault(fault) if fault.status == Status::Panic);
            assert_eq!(taken.iter().filter(panics).count(), 1, "round {round}: {taken:?}");
            assert_eq!(
                (end, queue.drain(1).map_err(|error| error.status()).err()),
                (Status::Panic, Some(end))
            );
        });
    }
}

#[test]
fn on_a_resolver_thread() {
    let _alone = Alone::new();
    let scene = Scene::set("resolver");
    plant(Some(Defect::PanicOnResolverThread));
    scene.proxy.drop_connections();
    scene.assert_ended_well("planted: panic on the resolver thread");
}

#[test]
fn on_the_dispatcher_thread() {
    let _alone = Alone::new();
    let scene = Scene::set("dispatcher");
    let loaded = scene.loaded;
    let syncing = thread::spawn(move || loaded.sync());
    plant(Some(Defect::PanicOnDispatcherThread));
    // It is to be told the tree so far.
    let late = scene.loaded.hear_events();
    assert_eq!(syncing.join().unwrap(), TC_ERR_PANIC);
    scene.assert_ended_well("planted: panic on the dispatcher thread");
    assert_eq!(late.frees(), 1);
}

#[test]
fn on_the_dispatcher_thread_when_a_change_is_told() {
    let _alone = Alone::new();
    let scene = Scene::set("change");
    plant(Some(Defect::PanicOnDispatcherThread));
    scene.proxy.blackhole(false);
    scene.witness.set(&scene.root, b"other");
    eventually("the fault is told", || !scene.faults[0].panics().is_empty());
    // SAFETY: the client is not freed.
    unsafe {
        tc_free(scene.loaded.0);
        tc_free(scene.latent.0);
        tc_client_free(scene.client);
        // The first load may have been complete before the panic.
        assert!([TC_OK, TC_ERR_PANIC].contains(&scene.waiting.join().unwrap()));
        tc_free(scene.loading.0);
        tc_node_free(scene.node);
        tc_snapshot_free(scene.snapshot);
    }
    eventually("the threads are gone", || library_threads() == 0);
}

#[test]
fn in_a_call() {
    let _alone = Alone::new();
    let scene = Scene::set("call");
    let Scene { client, loaded, latent, loading, .. } = scene;
    let (mut age, mut state, mut made) = (0, 0, null_mut());
    // SAFETY: the arguments are valid, and freed once.
    unsafe {
        plant(Some(Defect::PanicInCall));
        // Without a handle: a status, or NULL.
        assert_eq!(tc_client_new(c"localhost".as_ptr(), null(), &mut made), TC_ERR_PANIC);
        assert!(made.is_null() && tc_config_new().is_null());
        assert_eq!(tc_log_set(3, None, null_mut()), TC_ERR_PANIC);
        // With one: that refuses work, and whoever waits for it stops waiting.
        assert_eq!(tc_get_state(loading.0, &mut state, &mut age), TC_ERR_PANIC);
        plant(None);
        loading.assert_refuses_work();
        assert_eq!(scene.waiting.join().unwrap(), TC_ERR_PANIC);
        eventually("the fault is told", || !scene.faults[2].panics().is_empty());
        // Of this call, or of the one that waits, should that have come only now.
        let told = scene.faults[2].panics();
        assert!(told.len() == 1 && told[0].ends_with(" panicked: planted: panic in a call"), "{told:?}");
        // The others work.
        assert_eq!(tc_get_state(loaded.0, &mut state, &mut age), TC_OK);
        scene.proxy.blackhole(false);
        latent.start();
        assert_eq!(latent.wait(BOUND.as_millis() as i32), TC_OK);

        plant(Some(Defect::PanicInCall));
        assert_eq!(tc_new(client, c"/x".as_ptr(), null(), &mut null_mut()), TC_ERR_PANIC);
        plant(None);
        assert_eq!(tc_new(client, c"/x".as_ptr(), null(), &mut null_mut()), TC_ERR_PANIC);
        eventually("the fault is told", || !scene.faults[0].panics().is_empty());
        assert_eq!(tc_get_state(loaded.0, &mut state, &mut age), TC_OK);

        // What is handed out, and a configuration.
        let (mut node, config) = (null(), tc_config_new());
        plant(Some(Defect::PanicInCall));
        assert_eq!(tc_snapshot_get_data(scene.snapshot, c"/".as_ptr(), &mut node), TC_ERR_PANIC);
        assert_eq!(tc_config_set(config, c"root.create".as_ptr(), c"false".as_ptr()), TC_ERR_PANIC);
        plant(None);
        assert_eq!(tc_snapshot_get_data(scene.snapshot, c"/".as_ptr(), &mut node), TC_ERR_PANIC);
        assert_eq!(tc_config_set(config, c"root.create".as_ptr(), c"false".as_ptr()), TC_ERR_PANIC);
        assert_eq!(tc_new(client, c"/x".as_ptr(), config, &mut null_mut()), TC_ERR_PANIC);

        // Freeing frees all the same.
        plant(Some(Defect::PanicInCall));
        tc_config_free(config);
        tc_node_free(scene.node);
        tc_children_free(null());
        tc_snapshot_free(scene.snapshot);
        for cache in [loaded, latent, loading] {
            tc_free(cache.0);
        }
        tc_client_free(client);
    }
    for seen in scene.faults.into_iter().chain([scene.events]) {
        assert_eq!(seen.frees(), 1);
    }
    eventually("the threads are gone", || library_threads() == 0);
}

#[test]
fn in_a_listener_with_something_that_panics_when_it_is_dropped() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("the bomb goes off");
        }
    }
    let _alone = Alone::new();
    let root = unique_root("bomb");
    let client = client(&shared().hosts());
    let cache = started(&client, &root, &[]);
    let faults = common::Faults::of(&cache);
    let (told, received) = std::sync::mpsc::channel();
    let listener = move |event: &treecache::Event<'_>| {
        told.send(event.kind).unwrap();
        std::panic::panic_any(Bomb);
    };
    cache.listen(listener).unwrap();
    for expected in [EventKind::NodeAdded, EventKind::Initialized] {
        assert_eq!(received.recv_timeout(BOUND), Ok(expected));
    }
    faults.wait_for(|fault| fault.status == Status::Panic);
}

//! Names that the system resolves late, wrongly or not at all. A binary of its own, as it puts a resolver of its own in
//! front of the C library's.

mod common;

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use common::*;
use treecache::{Client, EventKind, Status};
use treecache_test_support::{Proxy, shared, unique_root};

/// What the resolver knows of a name that ends with `.test`.
struct Known {
    /// How long it thinks about it.
    takes: Duration,
    /// Whether it has an answer then, which is 127.0.0.1.
    answers: bool,
    asked: usize,
    asked_at_once: usize,
    most_at_once: usize,
}

static NAMES: Mutex<BTreeMap<String, Known>> = Mutex::new(BTreeMap::new());

fn names() -> MutexGuard<'static, BTreeMap<String, Known>> {
    NAMES.lock().unwrap_or_else(PoisonError::into_inner)
}

type GetAddrInfo = unsafe extern "C" fn(
    *const c_char,
    *const c_char,
    *const libc::addrinfo,
    *mut *mut libc::addrinfo,
) -> c_int;

/// In front of the C library's, for all of this process.
///
/// # Safety
/// As for `getaddrinfo`.
#[unsafe(no_mangle)]
unsafe extern "C" fn getaddrinfo(
    node: *const c_char,
    service: *const c_char,
    hints: *const libc::addrinfo,
    found: *mut *mut libc::addrinfo,
) -> c_int {
    // SAFETY: the next function of that name is the C library's, and of that type.
    let real: GetAddrInfo =
        unsafe { std::mem::transmute(libc::dlsym(libc::RTLD_NEXT, c"getaddrinfo".as_ptr())) };
    // SAFETY: a string, or NULL.
    let name = (!node.is_null()).then(|| unsafe { CStr::from_ptr(node) }.to_string_lossy().into_owned());
    let node = match name.filter(|name| name.ends_with(".test")).map(|name| think(&name)) {
        None => node,
        Some(true) => c"127.0.0.1".as_ptr(),
        Some(false) => return libc::EAI_AGAIN,
    };
    // SAFETY: what the caller gave, or a string.
    unsafe { real(node, service, hints, found) }
}

/// Takes its time, and says whether there is an answer.
fn think(name: &str) -> bool {
    let began = Instant::now();
    let update = |change: &dyn Fn(&mut Known)| names().get_mut(name).map(change);
    update(&|known| {
        known.asked += 1;
        known.asked_at_once += 1;
        known.most_at_once = known.most_at_once.max(known.asked_at_once);
    });
    while names().get(name).is_some_and(|known| began.elapsed() < known.takes) {
        thread::sleep(Duration::from_millis(5));
    }
    update(&|known| known.asked_at_once -= 1);
    names().get(name).is_some_and(|known| known.answers)
}

/// A name that is known to the resolver.
struct Name(&'static str);

impl Name {
    fn new(name: &'static str, takes: Duration) -> Name {
        let known = Known { takes, answers: true, asked: 0, asked_at_once: 0, most_at_once: 0 };
        names().insert(name.to_owned(), known);
        Name(name)
    }

    fn set(&self, takes: Duration, answers: bool) {
        if let Some(known) = names().get_mut(self.0) {
            (known.takes, known.answers) = (takes, answers);
        }
    }

    fn asked(&self) -> (usize, usize) {
        names().get(self.0).map(|known| (known.asked, known.most_at_once)).expect("it is known")
    }

    fn hosts(&self, port: u16) -> String {
        format!("{}:{port}", self.0)
    }
}

/// The resolver forgets it, so that nobody goes on thinking.
impl Drop for Name {
    fn drop(&mut self) {
        names().remove(self.0);
    }
}

/// No look-up of a test comes to its end by itself.
const FOR_EVER: Duration = Duration::from_secs(3600);

#[test]
fn a_name_may_take_longer_than_a_connection() {
    let name = Name::new("slow.test", Duration::from_millis(3500));
    let client = client(&name.hosts(shared().addr().port()));
    let faults = Faults::of_client(&client);
    started(&client, &unique_root("slow"), &[]);
    assert_eq!((faults.told(), name.asked()), (vec![], (1, 1)));
}

#[test]
fn an_answer_that_is_too_late_for_one_attempt_serves_another() {
    let name = Name::new("late.test", Duration::from_millis(2500));
    let client = client_with(&name.hosts(shared().addr().port()), &[("resolve.timeout.ms", "300")]);
    let faults = Faults::of_client(&client);
    started(&client, &unique_root("late"), &[]);
    let told = faults.told();
    let fault = told.first().expect("an attempt failed by its name");
    assert_eq!(fault.status, Status::Connection);
    assert!(
        fault.message.contains("late.test") && fault.message.contains("(resolve.timeout.ms)"),
        "{told:?}"
    );
    let (asked, most_at_once) = name.asked();
    assert!(asked <= 2 && most_at_once == 1, "asked {asked} times, and {most_at_once} at a time");
}

#[test]
fn what_a_name_was_resolved_to_last_serves_while_the_resolver_does_not() {
    let proxy = Proxy::start(shared().addr());
    let name = Name::new("down.test", Duration::ZERO);
    let client = client_with(&name.hosts(proxy.addr().port()), &[("connect.timeout.ms", "500")]);
    let cache = client.cache(&unique_root("down"), &config(&[])).unwrap();
    let (recorder, faults) = (Recorder::listen(&cache), Faults::of_client(&client));
    cache.start().unwrap();
    recorder.wait_for_kind(EventKind::InStep, 1);
    // It says that there is none, and then nothing at all; a connection is made each time.
    for (round, (takes, reason)) in
        [(Duration::ZERO, "Temporary failure"), (FOR_EVER, "the resolver does not answer")].iter().enumerate()
    {
        name.set(*takes, false);
        proxy.drop_connections();
        recorder.wait_for_kind(EventKind::InStep, round + 2);
        let fault = faults.wait_for(|fault| fault.message.contains(reason));
        assert!(fault.message.contains("the addresses that the name had before"), "{fault:?}");
    }
    // Who hangs is not asked again, and holds up nobody.
    proxy.drop_connections();
    recorder.wait_for_kind(EventKind::InStep, 4);
    assert_eq!(name.asked().1, 1);
    assert!(recorder.events().iter().all(|event| event.kind != EventKind::ConnectionLost));
    assert_quick(|| drop(client));
}

#[test]
fn a_link_local_address_may_have_a_zone() {
    // Nobody has that one; there is an attempt, for the zone is known, or the fault says that it is not.
    for (zone, reason) in [("lo", "os error"), ("no-such-if", "not known")] {
        let hosts = format!("[fe80::1%{zone}]:1");
        let client = Client::new(&hosts, &config(&[("connect.timeout.ms", "300")])).unwrap();
        let fault = Faults::of_client(&client).wait_for(|fault| fault.message.contains(&hosts));
        let message = fault.message;
        assert!(message.contains(reason) || zone == "lo" && message.contains("(TCP)"), "{message}");
    }
}

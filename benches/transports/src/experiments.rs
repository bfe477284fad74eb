//! What is done to each client. Every experiment says in a few words what came of it.

use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use treecache_test_support::{Proxy, Server, Writer};

use crate::median::median;
use crate::transport::Transport;
use crate::{bare, tree};

/// Long enough for a server that is stopped or down to be noticed well before it is over.
const SESSION_TIMEOUT: Duration = Duration::from_secs(6);
const STOPPED_FOR: Duration = Duration::from_secs(20);
/// How long a client has to work again once the server does.
const RECOVERY: Duration = Duration::from_secs(10);
const CHANGES: usize = 10;

/// In turns with a bare multiRead loop, as often as there is time for; the medians.
pub fn load<T: Transport>() -> String {
    const PATIENCE: Duration = Duration::from_secs(15);
    const ENOUGH: usize = 9;
    let server = Server::start();
    tree::fill(&mut Writer::connect(server.addr(), Duration::from_secs(60)).expect("a session"));
    let transport = T::connect(&server.hosts(), SESSION_TIMEOUT, Heard::default());
    let bare = || {
        let loaded = bare::load(server.addr(), tree::ROOT).expect("a load");
        assert_eq!((loaded.nodes, loaded.bytes), (tree::NODES, tree::NODES * tree::DATA_LEN));
        loaded.took.as_secs_f64()
    };
    bare(); // the server's JVM getting warm
    let (mut took, mut ratios) = (Vec::new(), Vec::new());
    let began = Instant::now();
    while took.is_empty() || took.len() < ENOUGH && began.elapsed() < PATIENCE {
        let began = Instant::now();
        assert_eq!(transport.load(tree::ROOT), tree::NODES);
        let seconds = began.elapsed().as_secs_f64();
        took.push(seconds);
        ratios.push(seconds / bare());
    }
    let (seconds, ratio) = (median(took), median(ratios));
    format!("{seconds:.2} s, {ratio:.1} times a bare multiRead loop ({})", T::HOW_IT_LOADS)
}

pub fn stopped<T: Transport>() -> String {
    let server = Server::start();
    let told = Heard::default();
    let transport = Arc::new(T::connect(&server.hosts(), SESSION_TIMEOUT, told.clone()));
    transport.request().expect("an answer");
    server.pause();
    let began = Instant::now();
    told.forget();
    let (answer, answered) = mpsc::channel();
    let asking = transport.clone(); // a client that is dropped would tell nothing any more
    thread::spawn(move || {
        let result = asking.request();
        let _ = answer.send((result, began.elapsed()));
    });
    let meanwhile = answered.recv_timeout(STOPPED_FOR);
    thread::sleep(STOPPED_FOR.saturating_sub(began.elapsed()));
    let states = told.since(began);
    server.resume();
    let request = match meanwhile {
        Ok((result, after)) => {
            format!("a request ends after {:.1} s ({})", after.as_secs_f64(), name(&result))
        }
        Err(_) => match answered.recv_timeout(RECOVERY) {
            Ok((result, after)) => {
                format!(
                    "a request hangs until the server runs again ({:.1} s, {})",
                    after.as_secs_f64(),
                    name(&result)
                )
            }
            Err(_) => "a request hangs for good".to_owned(),
        },
    };
    format!("{request}; told meanwhile: {states}")
}

pub fn killed<T: Transport>(down_for: Duration) -> String {
    let mut server = Server::start();
    let told = Heard::default();
    let transport = Arc::new(T::connect(&server.hosts(), SESSION_TIMEOUT, told.clone()));
    transport.request().expect("an answer");
    told.forget();
    server.kill();
    let (began, used) = (Instant::now(), processor_time());
    thread::sleep(down_for);
    let used = (processor_time() - used).as_secs_f64();
    server.restart();
    let recovery = match works_again(&transport) {
        Ok(after) => format!("works again {:.1} s after the restart", after.as_secs_f64()),
        Err(why) => format!("does not work again within {} s of the restart ({why})", RECOVERY.as_secs()),
    };
    format!("{used:.1} s of processor time while down; {recovery}; told: {}", told.since(began))
}

pub fn watched<T: Transport>() -> String {
    let server = Server::start();
    let proxy = Proxy::start(server.addr());
    let mut writer = Writer::connect(server.addr(), Duration::from_secs(30)).expect("a session");
    writer.create(tree::ROOT, None, 0).expect("a root");
    let told = Heard::default();
    let transport = Arc::new(T::connect(&proxy.hosts(), SESSION_TIMEOUT, told.clone()));
    let notified = Heard::default();
    transport.watch(tree::ROOT, notified.clone());
    let mut change = |name: &str| {
        let before = notified.count();
        for number in 0..CHANGES {
            writer.create(&format!("{}/{name}-{number}", tree::ROOT), None, 0).expect("a node");
        }
        thread::sleep(Duration::from_secs(1));
        notified.count() - before
    };
    let before = change("before");
    let session = proxy.last_session();
    let connections = proxy.connections_total();
    proxy.drop_connections();
    let deadline = Instant::now() + RECOVERY;
    while proxy.connections_total() == connections && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
    if let Err(why) = works_again(&transport) {
        return format!("{before} of {CHANGES} changes seen, then no reconnect ({why})");
    }
    let after = change("after");
    let same = if proxy.last_session() == session { "the same session" } else { "another session" };
    format!("{before} of {CHANGES} changes seen before, {after} of {CHANGES} after, in {same}")
}

/// How long it takes until a request succeeds, or the last error.
fn works_again<T: Transport>(transport: &Arc<T>) -> Result<Duration, String> {
    let began = Instant::now();
    let (answer, answered) = mpsc::channel();
    let transport = transport.clone();
    thread::spawn(move || {
        while answer.send(transport.request()).is_ok() {
            thread::sleep(Duration::from_millis(100));
        }
    });
    let mut why = "a request hangs".to_owned();
    while let Ok(result) = answered.recv_timeout(RECOVERY.saturating_sub(began.elapsed())) {
        match result {
            Ok(()) => return Ok(began.elapsed()),
            Err(error) => why = error,
        }
    }
    Err(why)
}

fn name(result: &Result<(), String>) -> &str {
    result.as_ref().map_or_else(String::as_str, |()| "answered")
}

/// What this process has used, in the kernel and out of it.
fn processor_time() -> Duration {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: `usage` is written to on success, and that is checked.
    let usage = unsafe {
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()), 0);
        usage.assume_init()
    };
    [usage.ru_utime, usage.ru_stime]
        .iter()
        .map(|time| Duration::new(time.tv_sec as u64, 1000 * time.tv_usec as u32))
        .sum()
}

/// What a client has told, and when.
#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<Vec<(Instant, String)>>>);

impl Heard {
    pub fn push(&self, what: String) {
        self.lock().push((Instant::now(), what));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Instant, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self) {
        self.lock().clear();
    }

    fn count(&self) -> usize {
        self.lock().len()
    }

    /// The first few, with the time that had passed since `began`.
    fn since(&self, began: Instant) -> String {
        const SHOWN: usize = 4;
        let told = self.lock();
        let shown = told.iter().take(SHOWN).map(|(at, what)| {
            format!("{what} after {:.1} s", at.saturating_duration_since(began).as_secs_f64())
        });
        let mut shown = shown.collect::<Vec<_>>().join(", ");
        match told.len() {
            0 => return "nothing".to_owned(),
            len if len > SHOWN => shown.push_str(&format!(" and {} more", len - SHOWN)),
            _ => {}
        }
        shown
    }
}

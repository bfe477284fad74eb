//! Those who write, whatever happens to the ensemble. What comes of a write they need not know: the log tells.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use treecache::Zxid;
use treecache_test_support::zookeeper::{Acl, CreateMode, ZkError, ZooKeeper};
use treecache_test_support::{Op, Witness, Writer};

const ACCOUNTS: u32 = 16;
/// How many names there are at each level of the tree that is made at random.
const NAMES: [u32; 3] = [6, 5, 3];
/// Larger than what the library reads again for a Stat.
const LARGE: usize = 6 << 10;
/// A writer may wait for a server that was paused, or for one that the `zookeeper` crate has not noticed to be gone.
const QUIET_BOUND: Duration = Duration::from_secs(90);

/// What ends a step early: the connection is of no more use.
struct Lost;

/// The newest transaction that was answered to anybody who writes, in the history that the ensemble is in.
#[derive(Default)]
pub struct Acknowledged(Mutex<(usize, Zxid)>);

impl Acknowledged {
    /// In which history that is, counted from 0, and the transaction; zxid 0 before the first.
    pub fn newest(&self) -> (usize, Zxid) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn era(&self) -> usize {
        self.newest().0
    }

    /// `era` was the one before the writer wrote.
    fn note(&self, era: usize, zxid: Zxid) {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.0 == era {
            newest.1 = newest.1.max(zxid);
        }
    }

    /// Another history begins: no server of the last one is left, and none of the next is there yet.
    pub fn begin_anew(&self) {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *newest = (newest.0 + 1, Zxid(0));
    }
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    paused: AtomicBool,
    connections: AtomicU64,
    acknowledged: Arc<Acknowledged>,
}

/// Writers on threads of their own. They end when this is dropped.
pub struct Writers {
    shared: Arc<Shared>,
    threads: Vec<(JoinHandle<()>, Arc<AtomicBool>)>,
}

impl Writers {
    pub fn start(servers: &[SocketAddr], seed: u64, acknowledged: Arc<Acknowledged>) -> Writers {
        let paused = AtomicBool::new(true);
        let shared = Arc::new(Shared { paused, acknowledged, ..Shared::default() });
        let mut writers = Writers { shared, threads: Vec::new() };
        for number in 0..4 {
            let mut pen = Pen::new(servers, seed.wrapping_add(number));
            writers.add(move |shared| pen.write(shared));
        }
        let mut guests = Guests { pen: Pen::new(servers, seed.wrapping_add(11)), gone: Vec::new() };
        writers.add(move |shared| guests.come_and_go(shared));
        let mut witness = WitnessPen { pen: Pen::new(servers, seed.wrapping_add(12)), witness: None };
        writers.add(move |shared| witness.write(shared));
        writers
    }

    fn add(&mut self, mut step: impl FnMut(&Shared) + Send + 'static) {
        let idle = Arc::new(AtomicBool::new(false));
        let (shared, is_idle) = (self.shared.clone(), idle.clone());
        let thread = thread::spawn(move || {
            while !shared.stop.load(Ordering::SeqCst) {
                let paused = shared.paused.load(Ordering::SeqCst);
                is_idle.store(paused, Ordering::SeqCst);
                if paused {
                    thread::sleep(Duration::from_millis(5));
                } else {
                    step(&shared);
                }
            }
        });
        self.threads.push((thread, idle));
    }

    pub fn resume(&self) {
        for (_, idle) in &self.threads {
            idle.store(false, Ordering::SeqCst);
        }
        self.shared.paused.store(false, Ordering::SeqCst);
    }

    /// Waits until nobody writes any more. What was asked for may still come about.
    pub fn pause(&self) {
        self.shared.paused.store(true, Ordering::SeqCst);
        let deadline = Instant::now() + QUIET_BOUND;
        while !self.threads.iter().all(|(_, idle)| idle.load(Ordering::SeqCst)) {
            assert!(Instant::now() < deadline, "a writer does not come to an end in {QUIET_BOUND:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// How many times a writer has connected.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for (thread, _) in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn account(number: u32) -> String {
    format!("/chaos/bank/account-{number:02}")
}

/// Writes at random, over a connection that it makes again.
struct Pen {
    servers: Vec<SocketAddr>,
    random: fastrand::Rng,
    writer: Option<Writer>,
}

impl Pen {
    fn new(servers: &[SocketAddr], seed: u64) -> Pen {
        Pen { servers: servers.to_vec(), random: fastrand::Rng::with_seed(seed), writer: None }
    }

    fn server(&mut self) -> SocketAddr {
        self.servers[self.random.usize(..self.servers.len())]
    }

    fn path(&mut self) -> String {
        let depth = self.random.usize(1..=NAMES.len());
        let names = NAMES[..depth].iter().map(|names| format!("/{}", self.random.u32(..*names)));
        names.fold("/chaos/tree".to_owned(), |path, name| path + &name)
    }

    fn data(&mut self) -> Vec<u8> {
        match self.random.u32(..30) {
            0 => vec![self.random.u8(..); LARGE],
            1 => Vec::new(),
            _ => self.random.u32(..).to_string().into_bytes(),
        }
    }

    fn pause_up_to(&mut self, milliseconds: u64) {
        thread::sleep(Duration::from_millis(self.random.u64(..milliseconds)));
    }

    fn write(&mut self, shared: &Shared) {
        let era = shared.acknowledged.era();
        let connected = match self.writer.take() {
            Some(writer) => Ok(writer),
            None => self.connect(shared, Duration::from_secs(6)),
        };
        let written = connected.and_then(|mut writer| {
            self.burst(&mut writer)?;
            shared.acknowledged.note(era, Zxid(writer.newest_zxid()));
            Ok(writer)
        });
        match written {
            Ok(writer) => self.writer = Some(writer),
            Err(Lost) => self.pause_up_to(200),
        }
        self.pause_up_to(100);
    }

    fn connect(&mut self, shared: &Shared, session_timeout: Duration) -> Result<Writer, Lost> {
        let mut writer = Writer::connect(self.server(), session_timeout).map_err(|_| Lost)?;
        shared.connections.fetch_add(1, Ordering::SeqCst);
        // Not there when the ensemble is new.
        let base = ["/chaos", "/chaos/bank", "/chaos/tree", "/chaos/live", "/elsewhere"].map(str::to_owned);
        for path in base.into_iter().chain((0..ACCOUNTS).map(account)) {
            writer.send(&Op::Create { path: &path, data: Some(b"0"), flags: 0 }).map_err(|_| Lost)?;
        }
        answered(writer.drain())?;
        Ok(writer)
    }

    /// A few writes at a time. That some cannot be done is to be expected.
    fn burst(&mut self, writer: &mut Writer) -> Result<(), Lost> {
        for _ in 0..self.random.u32(1..8) {
            let (path, other, data) = (self.path(), self.path(), self.data());
            let data = Some(&data[..]);
            let sent = match self.random.u32(..20) {
                0..6 => writer.send(&Op::Set { path: &path, data }),
                6..11 => writer.send(&Op::Create { path: &path, data, flags: 0 }),
                11..13 => writer.send(&Op::Delete { path: &path }),
                13..18 => {
                    let [from, to] = [(); 2].map(|()| account(self.random.u32(..ACCOUNTS)));
                    writer.send_multi(&[Op::Set { path: &from, data }, Op::Set { path: &to, data }])
                }
                18 => writer
                    .send_multi(&[Op::Delete { path: &path }, Op::Create { path: &other, data, flags: 0 }]),
                _ => writer.send(&Op::Set { path: "/elsewhere", data }),
            };
            sent.map_err(|_| Lost)?;
        }
        answered(writer.drain())
    }
}

fn answered(answer: Result<i64, i32>) -> Result<(), Lost> {
    // Everything but the loss of the connection or of the session says that the server is there.
    if matches!(answer, Err(-4 | -112)) { Err(Lost) } else { Ok(()) }
}

/// Sessions that come, make ephemeral nodes and go: some say so, some fall silent and expire.
struct Guests {
    pen: Pen,
    /// Until when they are kept: the server has long ended them then.
    gone: Vec<(Instant, Writer)>,
}

impl Guests {
    fn come_and_go(&mut self, shared: &Shared) {
        self.gone.retain(|(until, _)| Instant::now() < *until);
        let session_timeout = Duration::from_millis(self.pen.random.u64(1000..3000));
        if let Ok(mut writer) = self.pen.connect(shared, session_timeout)
            && self.stay(&mut writer).is_ok()
            && self.pen.random.bool()
        {
            self.gone.push((Instant::now() + 4 * session_timeout, writer));
        }
        self.pen.pause_up_to(400);
    }

    fn stay(&mut self, writer: &mut Writer) -> Result<(), Lost> {
        for _ in 0..self.pen.random.u32(1..5) {
            let path = format!("/chaos/live/{}", self.pen.random.u32(..20));
            answered(writer.create(&path, Some(b"here"), 1))?;
            self.pen.pause_up_to(50);
        }
        if self.pen.random.u32(..4) == 0 {
            // A root of a cache goes and comes again; in vain while it has children.
            answered(writer.delete("/chaos/live"))?;
            answered(writer.create("/chaos/live", Some(b"new"), 0))?;
        }
        Ok(())
    }
}

/// Writes through the `zookeeper` crate.
struct WitnessPen {
    pen: Pen,
    witness: Option<(Witness, Arc<ZooKeeper>)>,
}

impl WitnessPen {
    fn write(&mut self, shared: &Shared) {
        if let Some((witness, client)) = self.witness.take().or_else(|| self.connect(shared)) {
            let (path, data) = (self.pen.path(), self.pen.data());
            let written = match self.pen.random.u32(..4) {
                0 => client.create(&path, data, Acl::open_unsafe().clone(), CreateMode::Persistent).map(drop),
                1 => client.delete(&path, None),
                _ => client.set_data(&path, data, None).map(drop),
            };
            // Other errors say nothing good of the connection.
            if matches!(written, Ok(()) | Err(ZkError::NoNode | ZkError::NodeExists | ZkError::NotEmpty)) {
                self.witness = Some((witness, client));
            }
        }
        self.pen.pause_up_to(60);
    }

    fn connect(&mut self, shared: &Shared) -> Option<(Witness, Arc<ZooKeeper>)> {
        let witness = Witness::try_connect(&self.pen.server().to_string()).ok()?;
        shared.connections.fetch_add(1, Ordering::SeqCst);
        let client = witness.client();
        Some((witness, client))
    }
}

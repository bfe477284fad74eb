//! An ensemble of three servers, to which everything happens that can happen to one, eight caches of it, and
//! writers that do not care. At the end of every round all caches equal the servers' truth, and what was seen of
//! them on the way is held against the servers' own transaction logs, by the checks of `tests/checks`.
//!
//! `TREECACHE_CHAOS_SECONDS` says for how long (two minutes), `TREECACHE_CHAOS_SEED` in which order. Only the order
//! of faults and writes follows from the seed: what they meet does not. `scripts/chaos` runs this by itself.

mod faults;
mod history;
mod judge;
mod observed;
mod writers;

use std::fmt::Display;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};

use treecache::State;
use treecache_checks::{Check, Violation};
use treecache_test_support::{Acl, Ensemble, Op, Server, TransactionLog, Witness, Writer};

use faults::{ServerFaults, Toll, trouble_connections};
use history::History;
use judge::{Judge, Round, Tally};
use observed::{Consumer, Millis, Watched, poll, wall, watch};
use writers::Writers;

/// A round begins without faults, so that it can be seen how the caches do in fair weather.
const FAIR: Duration = Duration::from_secs(7);
const STORM: Duration = Duration::from_secs(24);
/// How often a round ends with the ensemble wiped, and which is the first.
const WIPE_EVERY: usize = 4;
const FIRST_WIPE: usize = 1;
/// How long caches may take to be in step when nothing is wrong any more. Some of it is their backing off, and five
/// rounds of refusals before they believe that an ensemble was wiped.
const LIVE_BOUND: Duration = Duration::from_secs(90);
/// How long sessions may take to expire, and servers to have all that one has.
const SETTLE_BOUND: Duration = Duration::from_secs(30);

fn setting<T: FromStr>(name: &str, default: T) -> T {
    let Ok(value) = env::var(name) else { return default };
    value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number"))
}

#[test]
fn eight_caches_stay_exact_whatever_happens_to_an_ensemble() {
    let seconds = setting("TREECACHE_CHAOS_SECONDS", 120);
    let seed = setting("TREECACHE_CHAOS_SEED", fastrand::u64(..));
    println!("TREECACHE_CHAOS_SEED={seed} TREECACHE_CHAOS_SECONDS={seconds}");
    plant();
    let mut ensemble = Ensemble::start();
    let (consumers, caches) = watch(&ensemble);
    let writers = Writers::start(&ensemble.addrs(), seed);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| poll(&caches, &stop));
        // Also when a round panics.
        let _stops = Stops(&stop);
        let mut chaos = Chaos::new(seed, &mut ensemble, &consumers, &caches, &writers);
        while chaos.began.elapsed() < Duration::from_secs(seconds) {
            chaos.round();
        }
        chaos.print_summary();
    });
}

/// Plants the defect that `TREECACHE_CHAOS_DEFECT` names, to see that it is found.
fn plant() {
    #[cfg(feature = "planted")]
    if let Ok(name) = env::var("TREECACHE_CHAOS_DEFECT") {
        use treecache::planted::{self, Defect};
        let defect = Defect::ALL.iter().find(|defect| defect.name() == name);
        planted::plant(Some(*defect.unwrap_or_else(|| panic!("no defect has the name {name}"))));
    }
}

struct Stops<'s>(&'s AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Chaos<'c> {
    seed: u64,
    began: Instant,
    ensemble: &'c mut Ensemble,
    consumers: &'c [Consumer],
    caches: &'c [Watched],
    writers: &'c Writers,
    judges: Vec<Judge>,
    server_faults: ServerFaults,
    random: fastrand::Rng,
    toll: Toll,
    rounds: usize,
    /// Of how many ensembles, one after the other, there is a whole history; and how long these are together.
    eras: usize,
    transactions: usize,
    /// Of the ensemble there is, as of the end of the last round.
    history: History,
    /// The longest time from the end of the faults until all were in step; in rounds with a wipe, and in others.
    longest_to_be_in_step: [Duration; 2],
}

impl<'c> Chaos<'c> {
    fn new(
        seed: u64,
        ensemble: &'c mut Ensemble,
        consumers: &'c [Consumer],
        caches: &'c [Watched],
        writers: &'c Writers,
    ) -> Chaos<'c> {
        Chaos {
            seed,
            began: Instant::now(),
            ensemble,
            consumers,
            caches,
            writers,
            judges: caches.iter().map(|watched| Judge::new(watched.root)).collect(),
            server_faults: ServerFaults::new(seed),
            random: fastrand::Rng::with_seed(seed.wrapping_add(1)),
            toll: Toll::default(),
            rounds: 0,
            eras: 0,
            transactions: 0,
            history: History::default(),
            longest_to_be_in_step: [Duration::ZERO; 2],
        }
    }

    fn tell(&self, what: impl Display) {
        tell(self.began, what);
    }

    /// Keeps what the servers have written, for whoever wants to know.
    #[track_caller]
    fn fail(&self, what: impl Display) -> ! {
        let folder = env::temp_dir().join(format!("treecache-chaos-{}", self.seed));
        for (number, history) in self.ensemble.histories().iter().enumerate() {
            let to = folder.join(number.to_string());
            let copied = fs::create_dir_all(&to).and_then(|()| {
                fs::read_dir(history)?.try_for_each(|file| {
                    let file = file?;
                    fs::copy(file.path(), to.join(file.file_name())).map(drop)
                })
            });
            if let Err(error) = copied {
                println!("the files of server {number} are not kept: {error}");
            }
        }
        panic!(
            "{what}\nin round {} after {:.0?}, TREECACHE_CHAOS_SEED={}; the servers' files are in {}",
            self.rounds,
            self.began.elapsed(),
            self.seed,
            folder.display()
        );
    }

    /// Fair weather, faults, maybe the end of the ensemble and a new one; then peace, in which all is judged.
    fn round(&mut self) {
        self.tell(format_args!("round {}: fair weather", self.rounds));
        let fair = self.fair_weather();
        self.storm();
        let wiped = self.rounds % WIPE_EVERY == FIRST_WIPE;
        let mut histories = Vec::new();
        if wiped {
            histories.push(self.wipe());
        }
        let calm = Instant::now();
        self.writers.pause();
        let live = self.wait_until_in_step(calm);
        if live.is_ok() {
            let longest = &mut self.longest_to_be_in_step[usize::from(wiped)];
            *longest = (*longest).max(calm.elapsed());
            self.tell(format_args!("all in step {:.1?} after the last fault", calm.elapsed()));
        }
        self.wait_for_the_last_sessions();
        let live = live.and_then(|()| self.wait_until_in_step(calm));
        let mut violations: Vec<String> = live.err().iter().map(Violation::to_string).collect();
        let history = self.settle();
        self.transactions += history.transactions.len() - self.history.transactions.len();
        self.history = History::default();
        histories.push(history);

        let round = Round { histories: &histories, first_era: self.eras, fair };
        for (number, watched) in self.caches.iter().enumerate() {
            if let Err(violation) = self.judges[number].round(watched, &round) {
                violations.push(format!("{}: {violation}", self.name(number)));
            }
        }
        if !violations.is_empty() {
            self.fail(violations.join("\n"));
        }
        self.eras += histories.len() - 1;
        self.history = histories.pop().expect("it was pushed");
        self.rounds += 1;
        self.tell(format_args!("judged, {} cuts so far", self.total().cuts));
    }

    /// How a cache is called.
    fn name(&self, number: usize) -> String {
        let watched = &self.caches[number];
        format!("cache {number} of {}, client {:?}", watched.root, self.consumers[watched.client].name)
    }

    fn total(&self) -> Tally {
        let mut total = Tally::default();
        self.judges.iter().for_each(|judge| total.add(&judge.tally));
        total
    }

    fn fair_weather(&self) -> (Millis, Millis) {
        self.writers.resume();
        let from = Instant::now();
        thread::sleep(FAIR);
        (wall(from), wall(Instant::now()))
    }

    /// Faults of servers and of connections, both at once.
    fn storm(&mut self) {
        let (began, end) = (self.began, Instant::now() + STORM);
        let tell = move |what: String| tell(began, what);
        let (ensemble, consumers) = (&mut *self.ensemble, self.consumers);
        let (server_faults, random) = (&mut self.server_faults, &mut self.random);
        let toll = thread::scope(|scope| {
            let connections = scope.spawn(move || trouble_connections(consumers, end, random, &tell));
            server_faults.storm(ensemble, end, &tell);
            connections.join().expect("faults of connections")
        });
        self.toll.add(&toll);
    }

    /// Ends the ensemble and begins a new one at zxid 0. Returns the history of the one that is gone.
    fn wipe(&mut self) -> History {
        // A cache can tell that the new one is younger only by its zxids.
        while epoch(self.ensemble) < 4 {
            let leader = self.ensemble.leader().unwrap_or(0);
            self.ensemble.kill(leader);
            self.ensemble.launch(leader);
            self.ensemble.wait_until_all_serve();
        }
        self.tell("all servers killed and wiped");
        self.ensemble.kill_all();
        let history = self.read_history();
        self.transactions += history.transactions.len() - self.history.transactions.len();
        self.history = History::default();
        self.ensemble.wipe_all();
        self.ensemble.start_all();
        self.toll.count("ensemble wiped");
        thread::sleep(FAIR / 2);
        history
    }

    fn read_history(&self) -> History {
        let folders = self.ensemble.histories();
        let logs: Vec<_> = folders.iter().map(|folder| TransactionLog::read(folder)).collect();
        let history = History::of(&logs).unwrap_or_else(|what| {
            self.fail(format_args!("the servers' logs contradict each other: {what}"))
        });
        if !history.continues(&self.history) {
            self.fail("the servers' logs no longer say what they said");
        }
        history
    }

    fn any_witness(&mut self) -> Witness {
        let server = self.random.usize(..self.ensemble.servers().len());
        Witness::connect(&self.ensemble.servers()[server].hosts())
    }

    /// The tree changes behind the writers' backs while sessions of theirs expire.
    fn wait_for_the_last_sessions(&mut self) {
        let witness = self.any_witness();
        let deadline = Instant::now() + SETTLE_BOUND;
        while witness.truth("/").values().any(|node| node.stat.ephemeral_owner != 0) {
            assert!(Instant::now() < deadline, "sessions of writers do not expire");
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// *live*: nothing is wrong any more since `calm`, and nobody writes.
    fn wait_until_in_step(&mut self, calm: Instant) -> Result<(), Violation> {
        let witness = self.any_witness();
        let deadline = Instant::now() + LIVE_BOUND;
        loop {
            let truth = witness.truth("/");
            let behind = self.caches.iter().enumerate().find_map(|(number, watched)| {
                let state = watched.cache.state().0;
                let snapshot = watched.cache.snapshot().expect("the cache is open");
                let what = match state {
                    State::InStep => history::difference_of(&snapshot, watched.root, &truth)?,
                    state => format!("it is {state:?}"),
                };
                Some(format!("{}: {what}", self.name(number)))
            });
            match behind {
                None => return Ok(()),
                Some(behind) if Instant::now() > deadline => {
                    let what = format!("{:.1?} after the last fault {behind}", calm.elapsed());
                    return Err(Check::Live.violated(what));
                }
                Some(_) => thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// The history, once it is what all servers have.
    fn settle(&mut self) -> History {
        let deadline = Instant::now() + SETTLE_BOUND;
        loop {
            let history = self.read_history();
            let truth = history.truth();
            let difference = self.ensemble.servers().iter().find_map(|server| {
                history::difference(&truth, &Witness::connect(&server.hosts()).truth("/"))
            });
            match difference {
                None => return history,
                Some(what) if Instant::now() > deadline => {
                    self.fail(format_args!("the servers' logs do not tell what they have: {what}"))
                }
                Some(_) => thread::sleep(Duration::from_millis(200)),
            }
        }
    }

    fn print_summary(&mut self) {
        self.toll.add(&self.server_faults.toll);
        println!("\n{} rounds in {:.0?}, seed {}", self.rounds, self.began.elapsed(), self.seed);
        println!("faults: {}", self.toll);
        println!(
            "{} transactions in {} ensembles, by {} connections of writers",
            self.transactions,
            self.eras + 1,
            self.writers.connections()
        );
        let [ordinary, wiped] = self.longest_to_be_in_step;
        println!("longest until all were in step: {ordinary:.1?}, behind a wiped ensemble {wiped:.1?}");
        println!("{HEADING}");
        for (number, judge) in self.judges.iter().enumerate() {
            println!("{}", Line(&judge.tally, &self.name(number)));
        }
        println!("{}", Line(&self.total(), "together"));
    }
}

const HEADING: &str = "
     versions seen |  replayed were  | said to be in step,  | the connection was | resets | changes waited
     cuts   others |  events versions|   times  behind, ms  |   gone  lost  back |        |  times for ms";

/// A line of the summary.
struct Line<'l>(&'l Tally, &'l str);

impl std::fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Line(tally, name) = self;
        write!(f, "{:9} {:8} | {:7} {:7} ", tally.cuts, tally.others, tally.events, tally.replayed)?;
        write!(f, "| {:8} {:10}  ", tally.claims, tally.stalest)?;
        write!(f, "| {:6} {:5} {:5} | {:6} ", tally.suspended, tally.lost, tally.reconnected, tally.resets)?;
        write!(f, "| {:6} {:6}  {name}", tally.waits, tally.longest_wait)
    }
}

fn tell(began: Instant, what: impl Display) {
    println!("{:7.1} s  {what}", began.elapsed().as_secs_f64());
}

/// The ensemble's epoch, by its newest zxid.
fn epoch(ensemble: &Ensemble) -> i64 {
    let answers = ensemble.servers().iter().map(|server| server.four_letter("srvr"));
    let zxid =
        |answer: String| i64::from_str_radix(answer.split("Zxid: 0x").nth(1)?.lines().next()?, 16).ok();
    answers.filter_map(zxid).max().unwrap_or_default() >> 32
}

/// The checks rest on this: what is read from a transaction log is what the server has, to the last number.
#[test]
fn the_transaction_log_tells_what_the_server_has() {
    let mut server = Server::start();
    let mut writer = Writer::connect(server.addr(), Duration::from_secs(10)).expect("a session");
    for (path, flags) in [("/a", 0), ("/a/b", 0), ("/a/c", 4), ("/a/s-", 2), ("/a/e", 1), ("/f", 1)] {
        writer.create(path, Some(b"1"), flags).expect("a node");
    }
    for path in ["/a", "/", "/a/b"] {
        writer.set(path, Some(b"2")).expect("a set");
    }
    writer.set("/a/b", None).expect("a set");
    writer.set_acl("/a/b", &Acl::open()).expect("an ACL");
    let [delete, create] =
        [Op::Delete { path: "/a/b" }, Op::Create { path: "/a/b", data: Some(b"new"), flags: 0 }];
    writer.multi(&[delete, create, Op::Set { path: "/a/b", data: Some(b"newer") }]).expect("a transaction");
    assert_eq!(writer.multi(&[delete, delete]), Err(-101));
    writer.delete("/a/c").expect("a deletion");
    let other = Writer::connect(server.addr(), Duration::from_secs(10)).expect("a session");
    let compare = |server: &Server, count: usize| {
        let history = History::of(&[TransactionLog::read(&server.history())]).expect("a history");
        let truth = Witness::connect(&server.hosts()).truth("/");
        assert_eq!(truth.len(), count);
        assert_eq!(history::difference(&history.truth(), &truth), None);
    };
    compare(&server, 6);
    drop((writer, other));
    compare(&server, 4);
    server.restart();
    Witness::connect(&server.hosts()).set("/a", b"3");
    compare(&server, 4);
}

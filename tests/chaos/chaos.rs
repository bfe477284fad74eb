//! Round after round: fair weather, faults, maybe the end of the ensemble and a new one; then peace, in which all is
//! judged.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use treecache::State;
use treecache_checks::Check;
use treecache_test_support::{Ensemble, Server, TransactionLog, Witness};

use crate::common::and_stalls;
use crate::faults::{ServerFaults, trouble_connections};
use crate::history::{self, History};
use crate::judge::{Judge, Round, Tally};
use crate::observed::{Consumer, Millis, Watched, keep_syncing, poll, wall, watch};
use crate::summary::Summary;
use crate::writers::{Acknowledged, Writers};

/// A round begins without faults, so that it can be seen how the caches do in fair weather.
const FAIR: Duration = Duration::from_secs(7);
const STORM: Duration = Duration::from_secs(16);
/// How long an ensemble goes on in a way that it is then put back from, or in another one.
const WAY: Duration = Duration::from_millis(3500);
/// How long what servers have said before they ended may be on its way to a client.
const LINGERS: Duration = Duration::from_millis(500);

/// What becomes of the ensemble's history at the end of a round. Each of them happens once before any happens twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    GoesOn,
    /// It begins anew at zxid 0.
    Wiped,
    /// It begins anew, and comes to the zxids that have been seen.
    Overtaken,
    /// It is put back to a backup and goes on in another way; sessions survive.
    PutBack,
}

const TURNS: [Turn; 4] = [Turn::GoesOn, Turn::Wiped, Turn::Overtaken, Turn::PutBack];

/// How long caches may take to be in step when nothing is wrong any more. Some of it is their backing off, and five
/// rounds of refusals before they believe that an ensemble was wiped.
const LIVE_BOUND: Duration = Duration::from_secs(90);
/// When it takes longer, it is worth a look whether the servers are in step with each other.
const SUSPICIOUS: Duration = Duration::from_secs(45);
/// How long sessions may take to expire, and servers to have all that one has.
const SETTLE_BOUND: Duration = Duration::from_secs(30);

/// What is to happen, and what has come of it. It may take several ensembles.
pub struct Course {
    began: Instant,
    lasts: Duration,
    /// So many rounds are played in any case.
    at_least: usize,
    server_faults: ServerFaults,
    random: fastrand::Rng,
    turns: Vec<Turn>,
    summary: Summary,
}

impl Course {
    pub fn new(seed: u64, lasts: Duration) -> Course {
        Course {
            began: Instant::now(),
            lasts,
            at_least: 0,
            server_faults: ServerFaults::new(seed),
            random: fastrand::Rng::with_seed(seed.wrapping_add(1)),
            turns: Vec::new(),
            summary: Summary { seed, ..Summary::default() },
        }
    }

    fn next_turn(&mut self) -> Turn {
        if self.turns.is_empty() {
            self.turns = TURNS.to_vec();
            self.random.shuffle(&mut self.turns);
        }
        self.turns.pop().expect("one is left")
    }

    pub fn is_over(&self) -> bool {
        self.began.elapsed() >= self.lasts && self.summary.rounds >= self.at_least
    }

    /// One more round is played, though the time is over.
    pub fn add_round(&mut self) {
        self.at_least = self.summary.rounds + 1;
    }

    /// How many changes were seen to come in fair weather, in what ensembles have come to their end so far.
    pub fn waits(&self) -> u64 {
        self.summary.tallies.iter().map(|(_, tally)| tally.waits).sum()
    }

    pub fn summary(mut self) -> Summary {
        self.summary.faults.add(&self.server_faults.toll);
        self.summary.lasted = self.began.elapsed();
        self.summary
    }
}

/// Starts an ensemble, and goes on with it until the course is over or the ensemble has contradicted itself.
pub fn run(course: &mut Course) {
    let mut ensemble = Ensemble::start_impatient();
    let (consumers, caches) = watch(&ensemble);
    let acknowledged = Arc::new(Acknowledged::default());
    let writers = Writers::start(&ensemble.addrs(), course.random.u64(..), acknowledged.clone());
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (caches, acknowledged, stop) = (&caches[..], &*acknowledged, &stop);
        scope.spawn(move || poll(caches, acknowledged, stop));
        for _ in 0..2 {
            let seed = course.random.u64(..);
            scope.spawn(move || keep_syncing(caches, acknowledged, stop, seed));
        }
        // Also when a round panics.
        let _stops = Stops(stop);
        let judges = caches.iter().map(|watched| Judge::new(watched.root)).collect();
        let (ensemble, consumers, writers) = (&mut ensemble, &consumers, &writers);
        let history = History::default();
        let counted = 0;
        Chaos {
            course,
            ensemble,
            consumers,
            caches,
            writers,
            acknowledged,
            judges,
            eras: 0,
            history,
            counted,
        }
        .play();
    });
}

struct Stops<'s>(&'s AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Chaos<'c> {
    course: &'c mut Course,
    ensemble: &'c mut Ensemble,
    consumers: &'c [Consumer],
    caches: &'c [Watched],
    writers: &'c Writers,
    acknowledged: &'c Acknowledged,
    judges: Vec<Judge>,
    /// How many histories have ended.
    eras: usize,
    /// The one that the ensemble is in, as of the end of the last round, or of when it was read last.
    history: History,
    /// How many transactions of it are counted.
    counted: usize,
}

impl Chaos<'_> {
    fn play(&mut self) {
        // The caches load beside servers that have only just started.
        if let Err(what) = self.wait_until_in_step(Instant::now()) {
            self.fail(what);
        }
        let mut tallies: Vec<Tally> = vec![Tally::default(); self.judges.len()];
        while !self.course.is_over() {
            let logged: Vec<usize> =
                self.ensemble.servers().iter().map(|server| server.log().len()).collect();
            let round = self.round();
            self.course.summary.rounds += 1;
            if let Err(what) = round {
                let Some(contradiction) = self.contradiction(&logged) else { self.fail(what) };
                self.tell(format_args!("void, as {contradiction}; otherwise: {what}"));
                self.course.summary.void += 1;
                if self.course.summary.void > 1 + self.course.summary.rounds / 4 {
                    self.fail("the servers contradict each other too often");
                }
                break;
            }
            tallies = self.judges.iter().map(|judge| judge.tally).collect();
        }
        let names: Vec<String> = (0..self.caches.len()).map(|number| self.name(number)).collect();
        let summary = &mut self.course.summary;
        for (name, tally) in names.into_iter().zip(&tallies) {
            summary.add_tally(name, tally);
        }
        summary.histories += self.eras + 1;
        summary.writers_connections += self.writers.connections();
    }

    fn round(&mut self) -> Result<(), String> {
        let turn = self.course.next_turn();
        self.tell(format_args!("round {}: fair weather", self.course.summary.rounds));
        let (fair, stalls) = self.fair_weather();
        self.storm();
        let (mut histories, mut began) = (Vec::new(), vec![Millis::MIN]);
        if turn != Turn::GoesOn {
            let (history, ended) = self.turn(turn)?;
            histories.push(history);
            began.push(ended);
        }
        let calm = Instant::now();
        self.writers.pause();
        let live = self.wait_until_in_step(calm);
        if live.is_ok() {
            let longest = &mut self.course.summary.longest_to_be_in_step[usize::from(turn != Turn::GoesOn)];
            *longest = (*longest).max(calm.elapsed());
            self.tell(format_args!("all in step {:.1?} after the last fault", calm.elapsed()));
        }
        self.wait_for_the_last_sessions()?;
        let live = live.and_then(|()| self.wait_until_in_step(calm));
        histories.push(self.settle()?);

        let mut violations: Vec<String> = live.err().into_iter().collect();
        let (first_era, must_be_told) = (self.eras, turn == Turn::Wiped);
        let round = Round { histories: &histories, began: &began, first_era, must_be_told, fair, stalls };
        for (number, watched) in self.caches.iter().enumerate() {
            if let Err(violation) = self.judges[number].round(watched, &round) {
                violations.push(format!("{}: {violation}", self.name(number)));
            }
        }
        if !violations.is_empty() {
            return Err(violations.join("\n"));
        }
        self.eras += histories.len() - 1;
        self.history = histories.pop().expect("it was pushed");
        let cuts: u64 = self.judges.iter().map(|judge| judge.tally.cuts).sum();
        self.tell(format_args!("judged, {cuts} cuts so far"));
        Ok(())
    }

    /// Returns when it began and ended, and how long the machine kept this process from running meanwhile.
    fn fair_weather(&self) -> ((Millis, Millis), Millis) {
        self.writers.resume();
        let from = Instant::now();
        let ((), stalls) = and_stalls(|| thread::sleep(FAIR));
        ((wall(from), wall(Instant::now())), stalls.as_millis() as Millis)
    }

    /// Faults of servers and of connections, both at once.
    fn storm(&mut self) {
        let (began, end) = (self.course.began, Instant::now() + STORM);
        let tell = move |what: String| tell(began, what);
        let (ensemble, consumers) = (&mut *self.ensemble, self.consumers);
        let Course { server_faults, random, .. } = self.course;
        let toll = thread::scope(|scope| {
            let connections = scope.spawn(move || trouble_connections(consumers, end, random, &tell));
            server_faults.storm(ensemble, end, &tell);
            connections.join().expect("faults of connections")
        });
        self.course.summary.faults.add(&toll);
    }

    /// Ends the ensemble's history, and begins another one. Returns the one that ended, and a time when all that its servers
    /// had said had arrived, and none of the next had said a word.
    fn turn(&mut self, turn: Turn) -> Result<(History, Millis), String> {
        let backups = match turn {
            Turn::PutBack => {
                // What a server has written down and not done when it ends, servers may differ about for good.
                self.writers.pause();
                self.ensemble.kill_all();
                let backups = self.ensemble.back_up();
                self.ensemble.start_all();
                self.writers.resume();
                // One way on, which some have seen and others have not.
                thread::sleep(WAY);
                backups
            }
            // A cache must be told of it, and all that says so at once is the zxid.
            Turn::Wiped => {
                while epoch(self.ensemble) < 4 {
                    let leader = self.ensemble.leader().unwrap_or(0);
                    self.ensemble.kill(leader);
                    self.ensemble.launch(leader);
                    self.ensemble.wait_until_all_serve();
                }
                Vec::new()
            }
            Turn::Overtaken | Turn::GoesOn => Vec::new(),
        };
        let epoch = epoch(self.ensemble);
        self.tell(format_args!("all servers killed: {turn:?}"));
        self.ensemble.kill_all();
        let history = self.read_history()?;
        self.note(&history);
        (self.history, self.counted) = (History::default(), 0);
        match turn {
            Turn::Wiped => self.ensemble.wipe_all(),
            Turn::Overtaken => self.ensemble.wipe_all_but_epoch(epoch - 1),
            Turn::PutBack => {
                self.ensemble.put_back(&backups);
                self.counted = self.read_history()?.transactions.len();
            }
            Turn::GoesOn => {}
        }
        // Each connection ends behind all that was said on it. Other sessions of the same clients ask what has changed.
        let deadline = Instant::now() + SETTLE_BOUND;
        let is_connected =
            |watched: &Watched| matches!(watched.cache.state().0, State::InStep | State::CatchingUp);
        while self.caches.iter().any(is_connected) {
            if Instant::now() > deadline {
                return Err("a cache is connected to a server that was killed".into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        thread::sleep(LINGERS);
        let ended = wall(Instant::now());
        self.acknowledged.begin_anew();
        self.ensemble.start_all();
        self.course.summary.faults.count(match turn {
            Turn::Wiped => "ensemble wiped",
            Turn::Overtaken => "ensemble wiped and overtaken",
            Turn::PutBack => "ensemble put back",
            Turn::GoesOn => "nothing",
        });
        thread::sleep(WAY);
        Ok((history, ended))
    }

    /// Counts what a history has, and had not when this was done last.
    fn note(&mut self, history: &History) {
        self.course.summary.transactions += history.transactions.len().saturating_sub(self.counted);
        self.counted = history.transactions.len();
    }

    fn read_history(&self) -> Result<History, String> {
        let folders = self.ensemble.histories();
        let logs: Vec<_> = folders.iter().map(|folder| TransactionLog::read(folder)).collect();
        let history =
            History::of(&logs).map_err(|what| format!("the logs of the servers make no sense: {what}"))?;
        if history.continues(&self.history) {
            Ok(history)
        } else {
            Err("the logs of the servers no longer say what they said".into())
        }
    }

    fn any_witness(&mut self) -> Witness {
        let servers = self.ensemble.servers();
        witness_of(&servers[self.course.random.usize(..servers.len())])
    }

    /// The tree changes behind the writers' backs while sessions of theirs expire.
    fn wait_for_the_last_sessions(&mut self) -> Result<(), String> {
        let witness = self.any_witness();
        let deadline = Instant::now() + SETTLE_BOUND;
        while witness.truth("/").values().any(|node| node.stat.ephemeral_owner != 0) {
            if Instant::now() > deadline {
                return Err("sessions of writers do not expire".into());
            }
            thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    /// *live*: nothing is wrong any more since `calm`, and nobody writes.
    fn wait_until_in_step(&mut self, calm: Instant) -> Result<(), String> {
        let witness = self.any_witness();
        let mut suspicious = Some(calm + SUSPICIOUS);
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
            let Some(behind) = behind else { return Ok(()) };
            let hopeless = suspicious.take_if(|at| *at < Instant::now()).is_some()
                && disagreement(self.ensemble.servers()).is_some();
            if hopeless || calm.elapsed() > LIVE_BOUND {
                let what = format!("{:.1?} after the last fault {behind}", calm.elapsed());
                return Err(Check::Live.violated(what).to_string());
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// The history, once it is what all servers have.
    fn settle(&mut self) -> Result<History, String> {
        let deadline = Instant::now() + SETTLE_BOUND;
        loop {
            let history = self.read_history()?;
            let truth = history.truth();
            let difference = self
                .ensemble
                .servers()
                .iter()
                .find_map(|server| history::difference(&truth, &witness_of(server).truth("/")));
            match difference {
                None => {
                    self.note(&history);
                    self.history = History::default();
                    return Ok(history);
                }
                Some(what) if Instant::now() > deadline => {
                    return Err(format!("the logs of the servers do not tell what they have: {what}"));
                }
                Some(_) => thread::sleep(Duration::from_millis(200)),
            }
        }
    }

    /// Why nothing can be said of the caches: servers have different trees, or one has found that its own is not the
    /// leader's since its log was as long as in `logged`.
    ///
    /// That happens to ZooKeeper 3.8.0 when leaders come and go quickly (ZOOKEEPER-4712, ZOOKEEPER-4785): what a
    /// server has written down and not done, or done and not written down, comes up when it is restarted.
    fn contradiction(&self, logged: &[usize]) -> Option<String> {
        let servers = self.ensemble.servers();
        let found = servers.iter().zip(logged).enumerate().find_map(|(number, (server, logged))| {
            let log = server.log();
            let complaint =
                log.get(*logged..)?.lines().find(|line| line.contains("Digests are not matching"))?;
            Some(format!("server {number} has not the tree that its leader had: {complaint}"))
        });
        found.or_else(|| disagreement(servers))
    }

    /// How a cache is called.
    fn name(&self, number: usize) -> String {
        let watched = &self.caches[number];
        format!("cache {number} of {}, client {:?}", watched.root, self.consumers[watched.client].name)
    }

    fn tell(&self, what: impl Display) {
        tell(self.course.began, what);
    }

    /// Keeps what the servers have written, for whoever wants to know.
    #[track_caller]
    fn fail(&self, what: impl Display) -> ! {
        let seed = self.course.summary.seed;
        let folder = tempfile::Builder::new().prefix(&format!("treecache-chaos-{seed}-")).tempdir();
        let folder = folder.expect("a folder for what is kept").keep();
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
            "{what}\nin round {} after {:.0?}, TREECACHE_CHAOS_SEED={seed}; the servers' files are in {}",
            self.course.summary.rounds,
            self.course.began.elapsed(),
            folder.display()
        );
    }
}

fn tell(began: Instant, what: impl Display) {
    println!("{:7.1} s  {what}", began.elapsed().as_secs_f64());
}

fn witness_of(server: &Server) -> Witness {
    Witness::connect(&server.hosts())
}

/// Whether servers have different trees, and not just because one is a moment behind.
fn disagreement(servers: &[Server]) -> Option<String> {
    for _ in 0..5 {
        let truths: Vec<_> = servers.iter().map(|server| witness_of(server).truth("/")).collect();
        if truths.iter().all(|truth| *truth == truths[0]) {
            return None;
        }
        thread::sleep(Duration::from_secs(1));
    }
    Some("the servers have different trees".into())
}

/// The ensemble's epoch, by its newest zxid.
fn epoch(ensemble: &Ensemble) -> i64 {
    ensemble.servers().iter().map(Server::zxid).max().unwrap_or_default() >> 32
}

//! What befalls the ensemble and the connections of the caches: everything there is, in an order that the seed
//! chooses.

use std::collections::BTreeMap;
use std::fmt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use treecache_test_support::{Ensemble, Partition, expire_session, password_of};

use crate::observed::Consumer;

/// How often each happened.
#[derive(Default, Clone)]
pub struct Toll(pub BTreeMap<&'static str, usize>);

impl Toll {
    pub fn count(&mut self, fault: &'static str) {
        *self.0.entry(fault).or_default() += 1;
    }

    pub fn add(&mut self, other: &Toll) {
        for (fault, count) in &other.0 {
            *self.0.entry(fault).or_default() += count;
        }
    }
}

impl fmt::Display for Toll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (fault, count)) in self.0.iter().enumerate() {
            write!(f, "{}{count} {fault}", if number == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// Which server it happens to.
#[derive(Debug, Clone, Copy)]
enum Role {
    Leader,
    Follower,
}

#[derive(Debug, Clone, Copy)]
enum ServerFault {
    Kill(Role),
    Pause(Role),
    Isolate(Role, Partition),
    RollingRestart,
    AllDown,
}

const SERVER_FAULTS: [ServerFault; 10] = [
    ServerFault::Kill(Role::Leader),
    ServerFault::Kill(Role::Follower),
    ServerFault::Pause(Role::Leader),
    ServerFault::Pause(Role::Follower),
    ServerFault::Isolate(Role::Leader, Partition::Cut),
    ServerFault::Isolate(Role::Leader, Partition::Silence),
    ServerFault::Isolate(Role::Follower, Partition::Cut),
    ServerFault::Isolate(Role::Follower, Partition::Silence),
    ServerFault::RollingRestart,
    ServerFault::AllDown,
];

/// Faults of servers. Each of them happens once before any happens twice.
///
/// None ends while the other servers are about to elect a leader. A server that comes back at that moment may lead
/// with transactions that nobody else has, and fail again before it has given them to the others. Then it happens in
/// ZooKeeper 3.8.0 that these stay in logs and not in trees, and servers differ for good once they are restarted
/// (ZOOKEEPER-4712 is one way to that). Which of them a cache should equal nobody can say.
pub struct ServerFaults {
    random: fastrand::Rng,
    deck: Vec<ServerFault>,
    pub toll: Toll,
}

impl ServerFaults {
    pub fn new(seed: u64) -> ServerFaults {
        ServerFaults { random: fastrand::Rng::with_seed(seed), deck: Vec::new(), toll: Toll::default() }
    }

    /// One after the other until `end`, and at least one. All servers serve afterwards.
    pub fn storm(&mut self, ensemble: &mut Ensemble, end: Instant, tell: &dyn Fn(String)) {
        loop {
            if self.deck.is_empty() {
                self.deck = SERVER_FAULTS.to_vec();
                self.random.shuffle(&mut self.deck);
            }
            if let Some(fault) = self.deck.pop() {
                self.strike(fault, ensemble, tell);
            }
            if Instant::now() > end {
                break;
            }
            // Mostly the next one finds all servers there; now and then one that is only just coming back.
            match self.random.u32(..4) {
                0 => ensemble.wait_for_quorum(),
                _ => ensemble.wait_until_all_serve(),
            }
            self.wait(100..800);
        }
        ensemble.wait_until_all_serve();
    }

    fn strike(&mut self, fault: ServerFault, ensemble: &mut Ensemble, tell: &dyn Fn(String)) {
        match fault {
            ServerFault::Kill(role) => {
                let server = self.find(role, ensemble);
                tell(format!("{role:?} {server} killed"));
                ensemble.kill(server);
                self.wait(500..4000);
                ensemble.wait_for_the_others(server);
                tell(format!("{server} started again"));
                ensemble.launch(server);
                self.toll.count(match role {
                    Role::Leader => "leader killed",
                    Role::Follower => "follower killed",
                });
            }
            ServerFault::Pause(role) => {
                let server = self.find(role, ensemble);
                tell(format!("{role:?} {server} stopped (SIGSTOP)"));
                ensemble.servers()[server].pause();
                self.wait(500..4000);
                ensemble.wait_for_the_others(server);
                tell(format!("{server} runs on"));
                ensemble.servers()[server].resume();
                self.toll.count(match role {
                    Role::Leader => "leader stopped",
                    Role::Follower => "follower stopped",
                });
            }
            ServerFault::Isolate(role, partition) => {
                let server = self.find(role, ensemble);
                tell(format!("{role:?} {server} isolated ({partition:?})"));
                ensemble.isolate(server, partition);
                self.wait(1000..4000);
                ensemble.wait_for_the_others(server);
                tell(format!("{server} is back"));
                ensemble.heal();
                self.toll.count(match role {
                    Role::Leader => "leader isolated",
                    Role::Follower => "follower isolated",
                });
            }
            ServerFault::RollingRestart => {
                tell("rolling restart".into());
                for server in 0..ensemble.servers().len() {
                    ensemble.kill(server);
                    ensemble.launch(server);
                    ensemble.wait_until_all_serve();
                }
                self.toll.count("rolling restart");
            }
            ServerFault::AllDown => {
                tell("all servers killed".into());
                ensemble.kill_all();
                self.wait(0..4000);
                tell("all servers started again".into());
                ensemble.start_all();
                self.toll.count("ensemble down");
            }
        }
    }

    fn find(&mut self, role: Role, ensemble: &Ensemble) -> usize {
        let leader = loop {
            ensemble.wait_for_quorum();
            if let Some(leader) = ensemble.leader() {
                break leader;
            }
        };
        let servers = ensemble.servers().len();
        match role {
            Role::Leader => leader,
            Role::Follower => (leader + self.random.usize(1..servers)) % servers,
        }
    }

    fn wait(&mut self, milliseconds: std::ops::Range<u64>) {
        thread::sleep(Duration::from_millis(self.random.u64(milliseconds)));
    }
}

/// Faults between the caches and their servers, until `end`. All is well afterwards.
pub fn trouble_connections(
    consumers: &[Consumer],
    end: Instant,
    random: &mut fastrand::Rng,
    tell: &dyn Fn(String),
) -> Toll {
    let mut toll = Toll::default();
    while Instant::now() < end {
        thread::sleep(Duration::from_millis(random.u64(300..3000)));
        let consumer = &consumers[random.usize(..consumers.len())];
        let proxies = &consumer.proxies;
        // One of its servers, or all of them.
        let at = random.usize(..=proxies.len());
        let hit = proxies.get(at..=at).unwrap_or(proxies);
        let last = Duration::from_millis(random.u64(200..4000));
        match random.u32(..5) {
            0 => {
                tell(format!("client {:?}: connections cut", consumer.name));
                hit.iter().for_each(|proxy| proxy.drop_connections());
                toll.count("connections cut");
            }
            1 => {
                tell(format!("client {:?}: silence for {last:?}", consumer.name));
                hit.iter().for_each(|proxy| proxy.blackhole(true));
                thread::sleep(last);
                hit.iter().for_each(|proxy| proxy.blackhole(false));
                toll.count("connections silent");
            }
            2 => {
                tell(format!("client {:?}: refused for {last:?}", consumer.name));
                hit.iter().for_each(|proxy| proxy.refuse(true));
                hit.iter().for_each(|proxy| proxy.drop_connections());
                thread::sleep(last);
                hit.iter().for_each(|proxy| proxy.refuse(false));
                toll.count("connections refused");
            }
            3 => {
                tell(format!("all clients stopped (SIGSTOP) for {last:?}"));
                stop_this_process(last);
                toll.count("clients stopped");
            }
            _ => {
                let proxy = &proxies[random.usize(..proxies.len())];
                let session = proxy.last_session();
                let ended =
                    session != 0 && expire_session(proxy.upstream(), session, password_of(session)).is_ok();
                if ended {
                    tell(format!("client {:?}: session {session:#x} expired", consumer.name));
                    toll.count("session expired");
                }
            }
        }
    }
    toll
}

/// Stops this process (SIGSTOP), with all caches and all that looks at them. The servers run on.
fn stop_this_process(last: Duration) {
    const STOP: &str = "kill -STOP $1; sleep $2; kill -CONT $1";
    let [process, seconds] = [std::process::id().to_string(), last.as_secs_f64().to_string()];
    let stopped = Command::new("sh").args(["-c", STOP, "sh", &process, &seconds]).status();
    assert!(stopped.expect("a shell").success(), "cannot stop this process");
}

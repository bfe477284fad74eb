//! Three servers that are one, and all that can happen to them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::port::Port;
use crate::{Backup, Proxy, Server, ServerBuilder};

const SERVERS: usize = 3;

/// How long the servers may take to agree. Generous: an election in which something goes wrong begins anew after
/// some seconds.
const QUORUM_BOUND: Duration = Duration::from_secs(180);

/// How servers are kept from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partition {
    /// Connections are cut and refused.
    Cut,
    /// Connections stay open; what is sent arrives when the partition ends.
    Silence,
}

/// An ensemble of three servers on loopback ports. Each reaches each other one through relays of its own, so that
/// any of them can be cut off. It ends when this is dropped, and also when the test process ends in any other way.
pub struct Ensemble {
    servers: Vec<Server>,
    relays: Vec<Relay>,
    _ports: Vec<Port>,
}

/// How one server reaches another.
struct Relay {
    from: usize,
    to: usize,
    proxy: Proxy,
}

impl Ensemble {
    /// Starts three servers and waits until they serve. Ticks are of half a second, so that an election takes one or
    /// two seconds. Who only is silent is taken for gone after half a minute: on a busy machine nobody else is elected.
    pub fn start() -> Ensemble {
        Ensemble::start_with(|server| server)
    }

    /// As [`start`](Self::start), but who is silent for two seconds is taken for gone.
    pub fn start_impatient() -> Ensemble {
        Ensemble::start_with(|server| server.config("syncLimit=4"))
    }

    /// As [`start`](Self::start), of servers that are what `adjust` makes of them.
    pub fn start_with(adjust: impl Fn(ServerBuilder) -> ServerBuilder) -> Ensemble {
        let ports: Vec<[Port; 2]> = (0..SERVERS).map(|_| [Port::reserve(), Port::reserve()]).collect();
        let mut servers = Vec::new();
        let mut relays = Vec::new();
        for from in 0..SERVERS {
            let mut builder = Server::builder()
                .member(from + 1)
                .tick_time(500)
                .config("initLimit=12")
                .config("syncLimit=60")
                // Without it, servers that were apart for a while ask each other once a minute.
                .property("zookeeper.fastleader.maxNotificationInterval", "500");
            for (to, [quorum, election]) in ports.iter().enumerate() {
                let [quorum, election] = [quorum, election].map(|port| port.number);
                builder = builder.config(&if to == from {
                    // A server tells others its own address, and they would use it. Unless it is this one: then
                    // they go by their own configuration, and through the relays.
                    format!("server.{}=0.0.0.0:{quorum}:{election}", to + 1)
                } else {
                    let mut relay = |port| {
                        let proxy = Proxy::relay(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
                        let port = proxy.addr().port();
                        relays.push(Relay { from, to, proxy });
                        port
                    };
                    format!("server.{}=127.0.0.1:{}:{}", to + 1, relay(quorum), relay(election))
                });
            }
            servers.push(adjust(builder).prepare());
        }
        let mut ensemble = Ensemble { servers, relays, _ports: ports.into_iter().flatten().collect() };
        ensemble.start_all();
        ensemble
    }

    /// The servers, by their place.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(Server::addr).collect()
    }

    /// Which server leads; `None` while none does, or the one that does is paused.
    pub fn leader(&self) -> Option<usize> {
        self.servers.iter().position(|server| server.mode().as_deref() == Some("leader"))
    }

    /// The leader and its followers, of whom there is one at least. A busy server may not answer in time, or follow again
    /// after an election: it is asked until it does.
    pub fn roles(&self) -> (usize, Vec<usize>) {
        let deadline = Instant::now() + QUORUM_BOUND;
        loop {
            let modes: Vec<_> = self.servers.iter().map(Server::mode).collect();
            let are = |role| {
                (0..SERVERS).filter(|&server| modes[server].as_deref() == Some(role)).collect::<Vec<_>>()
            };
            let (leaders, followers) = (are("leader"), are("follower"));
            if let ([leader], false) = (&leaders[..], followers.is_empty()) {
                return (*leader, followers);
            }
            assert!(Instant::now() < deadline, "no leader with a follower: {modes:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends a server at once (SIGKILL). Its data stays.
    pub fn kill(&mut self, server: usize) {
        self.servers[server].kill();
    }

    /// Starts a server that was killed, and does not wait for it.
    pub fn launch(&mut self, server: usize) {
        self.servers[server].launch();
    }

    /// Starts all servers, which must be down, and waits until they serve.
    pub fn start_all(&mut self) {
        for server in &mut self.servers {
            server.launch();
        }
        self.wait_until_all_serve();
    }

    pub fn kill_all(&mut self) {
        for server in &mut self.servers {
            server.kill();
        }
    }

    /// Deletes the data of all servers, which must be down: they start again at zxid 0.
    pub fn wipe_all(&mut self) {
        for server in &mut self.servers {
            server.wipe();
        }
    }

    /// As [`wipe_all`](Self::wipe_all), but they start again in the epoch behind `epoch`.
    pub fn wipe_all_but_epoch(&mut self, epoch: i64) {
        for server in &mut self.servers {
            server.wipe_all_but_epoch(epoch);
        }
    }

    /// Keeps copies of the data of all servers, which must be down.
    pub fn back_up(&self) -> Vec<Backup> {
        self.servers.iter().map(Server::back_up).collect()
    }

    /// Puts copies in place of the data of all servers, which must be down.
    pub fn put_back(&mut self, backups: &[Backup]) {
        for (server, backup) in self.servers.iter_mut().zip(backups) {
            server.put_back(backup);
        }
    }

    /// Keeps a server from the two others, both ways. Clients still reach all.
    pub fn isolate(&self, server: usize, partition: Partition) {
        for relay in self.relays.iter().filter(|relay| relay.from == server || relay.to == server) {
            match partition {
                Partition::Silence => relay.proxy.blackhole(true),
                Partition::Cut => {
                    relay.proxy.refuse(true);
                    relay.proxy.drop_connections();
                }
            }
        }
    }

    /// Ends all partitions.
    pub fn heal(&self) {
        for Relay { proxy, .. } in &self.relays {
            proxy.refuse(false);
            proxy.blackhole(false);
        }
    }

    /// Waits until every server serves.
    pub fn wait_until_all_serve(&self) {
        self.wait_for(SERVERS, None);
    }

    /// Waits until a leader and a follower serve.
    pub fn wait_for_quorum(&self) {
        self.wait_for(SERVERS / 2 + 1, None);
    }

    /// Waits until every server serves but `server`, of which nothing is asked.
    pub fn wait_for_the_others(&self, server: usize) {
        self.wait_for(SERVERS - 1, Some(server));
    }

    fn wait_for(&self, count: usize, without: Option<usize>) {
        let deadline = Instant::now() + QUORUM_BOUND;
        let serves = |(at, server): &(usize, &Server)| Some(*at) != without && server.mode().is_some();
        while self.servers.iter().enumerate().filter(serves).count() < count {
            if Instant::now() > deadline {
                let logs: Vec<String> = self.servers.iter().map(Server::log).collect();
                panic!("not {count} servers of the ensemble serve; their logs:\n{}", logs.join("\n\n"));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Where each server keeps its transaction logs and snapshots, for [`crate::TransactionLog::read`].
    pub fn histories(&self) -> Vec<PathBuf> {
        self.servers.iter().map(Server::history).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Writer;

    const NODE_EXISTS: i32 = -110;

    fn created(ensemble: &Ensemble, server: usize, path: &str) -> Result<i64, i32> {
        let mut writer = Writer::connect(ensemble.servers()[server].addr(), Duration::from_secs(4))?;
        writer.create(path, None, 0)
    }

    /// What comes true in the end.
    fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + QUORUM_BOUND;
        loop {
            if let Some(found) = found() {
                return found;
            }
            assert!(Instant::now() < deadline, "not in time: {what}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Creates a node, whoever is elected meanwhile.
    fn create(ensemble: &Ensemble, server: usize, path: &str) {
        eventually("a node", || {
            matches!(created(ensemble, server, path), Ok(_) | Err(NODE_EXISTS)).then_some(())
        });
    }

    #[test]
    fn an_ensemble_outlives_its_leader_and_an_isolated_leader_is_none() {
        let mut ensemble = Ensemble::start_impatient();
        let (first, _) = ensemble.roles();
        create(&ensemble, first, "/a");
        ensemble.kill(first);
        ensemble.wait_for_quorum();
        let (second, _) = ensemble.roles();
        assert_ne!(first, second);
        create(&ensemble, second, "/b");
        ensemble.launch(first);
        ensemble.wait_until_all_serve();

        for (partition, path) in [(Partition::Cut, "/c"), (Partition::Silence, "/d")] {
            let (old, _) = ensemble.roles();
            ensemble.isolate(old, partition);
            let new = eventually("another leader", || ensemble.leader().filter(|new| *new != old));
            create(&ensemble, new, path);
            // It learns of it by silence, which may take longer than the others' election.
            eventually("the isolated server does not serve", || {
                ensemble.servers()[old].mode().is_none().then_some(())
            });
            ensemble.heal();
            ensemble.wait_until_all_serve();
            eventually("an answer", || match created(&ensemble, old, path) {
                Ok(_) => panic!("it has forgotten what was created without it"),
                answer => (answer == Err(NODE_EXISTS)).then_some(()),
            });
        }
        ensemble.kill_all();
        ensemble.wipe_all();
        ensemble.start_all();
        eventually("it has forgotten all", || created(&ensemble, 0, "/a").ok());
    }
}

//! `treecache doctor`: why there is no connection, step by step; or what there is.
//!
//! - `plain`: what a server tells without a session.

mod plain;

use std::io::Write;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use treecache::session::{Host, Hosts};
use treecache::{Client, Error, Status, WatchMode};

use crate::arguments::DoctorArguments;
use crate::failure::{Failure, NO};
use crate::interrupt;
use crate::output::{self, Colour};
use crate::settings::Settings;
use crate::text::shown;
use plain::Srvr;

/// A step takes no longer, whatever the timeout.
const LONGEST_STEP: Duration = Duration::from_secs(10);

/// What all steps need.
struct Doctor<W> {
    out: W,
    colour: Colour,
    settings: Settings,
    patience: Duration,
    is_well: bool,
}

pub fn run(arguments: &DoctorArguments) -> Result<ExitCode, Failure> {
    interrupt::watch().map_err(|error| Failure::Other(format!("no thread for signals: {error}")))?;
    let hosts = Hosts::parse(&arguments.hosts).map_err(|error| Failure::Usage(error.to_string()))?;
    treecache::NodePath::new(&arguments.path).map_err(|error| Failure::Usage(error.to_string()))?;
    let mut settings = Settings::given(arguments.given.settings.as_deref(), &arguments.given.set)?;
    settings.set("root.create", "false");
    settings.set("depth.max", "0");
    settings.config()?;
    let patience = arguments.given.timeout.0.unwrap_or(LONGEST_STEP).min(LONGEST_STEP);
    let (out, colour) = (output::stdout(), Colour::of_stdout());
    let mut doctor = Doctor { out, colour, settings, patience, is_well: true };
    let mut seen = Vec::new();
    for host in &hosts.servers {
        seen.push((name_of(host), doctor.look_at(host, &hosts, &arguments.path)?));
    }
    doctor.compare(&seen)?;
    doctor.out.flush()?;
    Ok(if doctor.is_well { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}

fn name_of(host: &Host) -> String {
    match host.name.contains(':') {
        true => format!("[{}]:{}", host.name, host.port),
        false => format!("{}:{}", host.name, host.port),
    }
}

impl<W: Write> Doctor<W> {
    fn well(&mut self, step: &str, what: &str) -> Result<(), Failure> {
        self.say("32", "ok", step, what)
    }

    fn wrong(&mut self, step: &str, what: &str) -> Result<(), Failure> {
        self.is_well = false;
        self.say("31", "WRONG", step, what)
    }

    /// What could not be found out, and may be well.
    fn unknown(&mut self, step: &str, what: &str) -> Result<(), Failure> {
        self.say("33", "?", step, what)
    }

    fn say(&mut self, colour: &str, word: &str, step: &str, what: &str) -> Result<(), Failure> {
        write!(self.out, "  ")?;
        self.colour.write(&mut self.out, colour, &format!("{word:<5}"))?;
        writeln!(self.out, " {step:<9} {}", shown(what))?;
        self.out.flush()?;
        Ok(())
    }

    /// All steps with one server, as far as they lead. Returns where it says what it is, if it does.
    fn look_at(&mut self, host: &Host, hosts: &Hosts, path: &str) -> Result<Option<SocketAddr>, Failure> {
        let name = name_of(host);
        writeln!(self.out, "{}", shown(&name))?;
        let Some(addresses) = self.resolve(host)? else { return Ok(None) };
        let Some(address) = self.connect(&addresses)? else { return Ok(None) };
        let says = self.ask(address)?;
        self.open_session(&name, hosts, path)?;
        self.compare_clock(address)?;
        Ok(says.then_some(address))
    }

    fn resolve(&mut self, host: &Host) -> Result<Option<Vec<SocketAddr>>, Failure> {
        let (told, answer) = mpsc::channel();
        let name = (host.name.clone(), host.port);
        // A resolver may take its time, and cannot be stopped.
        std::thread::spawn(move || _ = told.send(name.to_socket_addrs().map(Vec::from_iter)));
        match answer.recv_timeout(self.patience) {
            Ok(Ok(addresses)) if !addresses.is_empty() => {
                let shown: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
                self.well("name", &shown.join(", "))?;
                Ok(Some(addresses))
            }
            Ok(Ok(_)) => self.wrong("name", "it has no addresses").map(|()| None),
            Ok(Err(error)) => self.wrong("name", &error.to_string()).map(|()| None),
            Err(_) => self.wrong("name", &format!("no answer within {:?}", self.patience)).map(|()| None),
        }
    }

    /// The first address that takes a connection.
    fn connect(&mut self, addresses: &[SocketAddr]) -> Result<Option<SocketAddr>, Failure> {
        let mut taken = None;
        for address in addresses {
            let began = Instant::now();
            match TcpStream::connect_timeout(address, self.patience) {
                Ok(_) => {
                    let passed = began.elapsed().as_secs_f64() * 1000.0;
                    self.well("tcp", &format!("{address}, in {passed:.1} ms"))?;
                    taken = taken.or(Some(*address));
                }
                Err(error) => self.wrong("tcp", &format!("{address}: {error}"))?,
            }
        }
        Ok(taken)
    }

    /// Whether the server says what it is.
    fn ask(&mut self, address: SocketAddr) -> Result<bool, Failure> {
        if self.settings.get("tls") == Some("true") {
            self.unknown("srvr", "not asked: where TLS is spoken, it is not answered in the clear")?;
            return Ok(false);
        }
        let answer = match plain::four_letter(address, "srvr", self.patience) {
            Ok(answer) => answer,
            Err(error) => return self.unknown("srvr", &error.to_string()).map(|()| false),
        };
        match Srvr::read(&answer) {
            Some(srvr) => {
                let said = format!("ZooKeeper {}, {}, at {:#x}", srvr.version, srvr.mode, srvr.zxid);
                self.well("srvr", &said)?;
                Ok(true)
            }
            None if answer.contains("not in the whitelist") => {
                self.unknown("srvr", "it is off at this server (4lw.commands.whitelist)").map(|()| false)
            }
            None => self.unknown("srvr", "no answer: it is off, or this is no ZooKeeper").map(|()| false),
        }
    }

    fn open_session(&mut self, name: &str, hosts: &Hosts, path: &str) -> Result<(), Failure> {
        let server = format!("{name}{}", if hosts.chroot.is_root() { "" } else { hosts.chroot.as_str() });
        let began = Instant::now();
        let config = self.settings.config()?;
        let client = match Client::new(&server, &config) {
            Ok(client) => std::sync::Arc::new(client),
            Err(error) => return self.wrong("settings", &error.to_string()),
        };
        interrupt::ends(&client);
        let cache = client.cache(path, &config)?;
        cache.start()?;
        let outcome = cache.wait_initialized(Some(self.patience));
        let passed = began.elapsed().as_secs_f64() * 1000.0;
        let (stats, last) = (cache.stats(), cache.last_fault());
        if let Err(error) = outcome {
            let step = match last.as_ref().map(|last| last.fault.status) {
                Some(Status::Tls) => "tls",
                Some(Status::Auth) => "identity",
                Some(Status::NoPermission) => "node",
                Some(Status::Unsupported) => "watches",
                _ if stats.connections == 0 => "session",
                _ => "node",
            };
            return self.wrong(step, &error.to_string());
        }
        self.well("session", &format!("{:#x}, in {passed:.1} ms", stats.session_id))?;
        self.tell_identity()?;
        match cache.get_data(path) {
            Ok(node) => {
                let stat = node.stat();
                let size = format!("{} bytes, {} children", stat.data_length, stat.num_children);
                self.well("node", &format!("{path} may be read: {size}"))?;
            }
            Err(error @ Error::NoPermission(_)) => {
                self.wrong("node", &format!("{error}: its ACL does not let this identity read it"))?;
            }
            Err(error) => self.wrong("node", &error.to_string())?,
        }
        match stats.watch {
            Some(WatchMode::Recursive) => self.well("watches", "one for the whole tree, and multiRead"),
            Some(_) => self.well(
                "watches",
                "one for each node: the server has no recursive watches that can be believed",
            ),
            None => self.unknown("watches", "not known"),
        }
    }

    /// Who the session is: a server that refuses that has not let it come so far.
    fn tell_identity(&mut self) -> Result<(), Failure> {
        let has = |key| self.settings.get(key).is_some();
        let said = match self.settings.get("sasl.mechanism") {
            Some(mechanism) => format!("taken, by SASL ({mechanism})"),
            None if has("auth") => "taken (auth)".to_owned(),
            None if has("tls.cert.file") => {
                "the certificate of tls.cert.file, if the servers look at it".to_owned()
            }
            None => "nobody in particular: it may do what ACLs let world:anyone do".to_owned(),
        };
        let said = match self.settings.get("tls") == Some("true") {
            true => format!("{said}; over TLS"),
            false => said,
        };
        self.well("identity", &said)
    }

    fn compare_clock(&mut self, address: SocketAddr) -> Result<(), Failure> {
        match plain::clock_ahead(address, self.patience) {
            Some(ahead) if ahead.abs() < 5.0 => {
                self.well("clock", "it agrees with the one here, to within seconds")
            }
            Some(ahead) => {
                let word = if ahead > 0.0 { "ahead of" } else { "behind" };
                self.wrong("clock", &format!("{:.0} s {word} the one here", ahead.abs()))
            }
            None => self.unknown("clock", "not known: its AdminServer (port 8080) does not answer"),
        }
    }

    /// How far each server is behind the newest of them. They are asked at one time, as good as that goes, and behind the
    /// sessions that were just opened: each of these was a transaction, which those that follow have by now.
    fn compare(&mut self, seen: &[(String, Option<SocketAddr>)]) -> Result<(), Failure> {
        if seen.len() < 2 {
            return Ok(());
        }
        let ask = |address: SocketAddr| plain::four_letter(address, "srvr", self.patience).ok();
        let now: Vec<Option<Srvr>> =
            seen.iter().map(|(_, address)| address.and_then(ask).as_deref().and_then(Srvr::read)).collect();
        let Some(newest) = now.iter().flatten().map(|srvr| srvr.zxid).max() else { return Ok(()) };
        writeln!(self.out, "together")?;
        for ((name, _), srvr) in seen.iter().zip(&now) {
            match srvr.as_ref().map(|srvr| srvr.zxid) {
                None => self.unknown("progress", &format!("{name}: not known"))?,
                Some(zxid) if zxid == newest => self.well("progress", &format!("{name}: as far as any"))?,
                Some(zxid) if zxid >> 32 == newest >> 32 => {
                    self.well("progress", &format!("{name}: {} transactions behind", newest - zxid))?;
                }
                // A leader has that zxid until the first transaction behind its election, and nobody else has it.
                Some(_) if newest & 0xffff_ffff == 0 => {
                    self.well("progress", &format!("{name}: no transaction since the last election"))?;
                }
                Some(_) => {
                    self.wrong("progress", &format!("{name}: it has not followed the last election"))?
                }
            }
        }
        let leaders = now.iter().flatten().filter(|srvr| srvr.mode == "leader").count();
        match leaders {
            1 => self.well("leader", "there is one"),
            0 if now.iter().all(Option::is_some) => self.wrong("leader", "none of these servers is one"),
            0 => self.unknown("leader", "none of those that have said what they are"),
            _ => self.wrong("leader", "several say that they are: they are not one ensemble"),
        }
    }
}

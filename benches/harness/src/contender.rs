//! Contenders as child processes: what `benches/contenders/README.md` describes, from this side.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use contender::Digest;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Contender {
    Treecache,
    /// With `verify=report`: nodes of 128 bytes that are not ephemeral are read otherwise.
    TreecacheReports,
    /// What is read is a cache that is attached to the file of another one.
    TreecacheAttached,
    Lmdb,
    Redis,
    Bare,
    BareProven,
    CuratorTree,
    CuratorCache,
    ZookeeperCrate,
    Kazoo,
    Map,
    MapMutex,
}

/// Where one of ours keeps its tree for others, in memory.
pub const SHARED: &str = "/dev/shm/treecache-bench";

/// All that keep a copy of a tree, ours first.
pub const CACHES: [Contender; 5] = [
    Contender::Treecache,
    Contender::CuratorTree,
    Contender::CuratorCache,
    Contender::ZookeeperCrate,
    Contender::Kazoo,
];

impl Contender {
    /// As in the state file.
    pub fn id(self) -> &'static str {
        match self {
            Contender::Treecache => "treecache",
            Contender::TreecacheReports => "treecache-reports",
            Contender::TreecacheAttached => "treecache-attached",
            Contender::Lmdb => "lmdb",
            Contender::Redis => "redis",
            Contender::Bare => "bare",
            Contender::BareProven => "bare-proven",
            Contender::CuratorTree => "curator-tree",
            Contender::CuratorCache => "curator-cache",
            Contender::ZookeeperCrate => "zookeeper-crate",
            Contender::Kazoo => "kazoo",
            Contender::Map => "map",
            Contender::MapMutex => "map-mutex",
        }
    }

    /// As in tables and plots.
    pub fn name(self) -> &'static str {
        match self {
            Contender::Treecache => "libtreecache",
            Contender::TreecacheReports => "libtreecache, verify=report",
            Contender::TreecacheAttached => "libtreecache, attached",
            Contender::Lmdb => "LMDB",
            Contender::Redis => "Redis, Unix socket",
            Contender::Bare => "bare multiRead",
            Contender::BareProven => "bare, our batches",
            Contender::CuratorTree => "Curator TreeCache",
            Contender::CuratorCache => "Curator CuratorCache",
            Contender::ZookeeperCrate => "zookeeper crate",
            Contender::Kazoo => "kazoo TreeCache",
            Contender::Map => "map, shared_mutex",
            Contender::MapMutex => "map, mutex",
        }
    }

    /// `folder` is where scripts/bench has built them; `settings` are those of our caches, and of the databases.
    fn command(self, folder: &Path, settings: &[&str]) -> Command {
        let curator = |cache: &str| {
            let mut command = Command::new("benches/contenders/curator");
            command.arg(folder.join("curator")).arg(cache);
            command
        };
        let map = |lock| {
            let mut command = Command::new(folder.join("contenders/map"));
            command.arg(lock);
            command
        };
        let store = |kind| {
            let mut command = Command::new(folder.join("contenders/store"));
            command.arg(kind).args(settings);
            command
        };
        let rust = |name| {
            let own = std::env::current_exe().expect("a program has a file");
            Command::new(own.with_file_name(name))
        };
        let bare = |batches| {
            let mut command = rust("bare");
            command.arg(batches);
            command
        };
        let treecache = |own: &[&str]| {
            let mut command = Command::new(folder.join("contenders/treecache"));
            command.args(settings).args(own);
            command
        };
        match self {
            Contender::Treecache => treecache(&[]),
            Contender::TreecacheReports => treecache(&["verify=report"]),
            Contender::TreecacheAttached => {
                let own = ["share.file=", "attach="].map(|key| format!("{key}{SHARED}"));
                treecache(&own.each_ref().map(String::as_str))
            }
            Contender::Lmdb => store("lmdb"),
            Contender::Redis => store("redis"),
            Contender::Map => map("shared"),
            Contender::MapMutex => map("mutex"),
            Contender::Bare => bare("plain"),
            Contender::BareProven => bare("proven"),
            Contender::ZookeeperCrate => rust("zookeeper_crate"),
            Contender::CuratorTree => curator("tree"),
            Contender::CuratorCache => curator("cache"),
            Contender::Kazoo => {
                let mut command = Command::new(folder.join("venv/bin/python"));
                command.arg("benches/contenders/kazoo_tree_cache.py");
                command
            }
        }
    }
}

/// What a contender was asked for, and what came of it when that is no answer.
pub type Result<T> = std::result::Result<T, String>;

/// A running contender. It closes its session and ends with this.
pub struct Process {
    child: Child,
    requests: Option<ChildStdin>,
    answers: Receiver<(String, Instant)>,
    /// From its start until it took requests.
    pub start_up: Duration,
}

pub struct Answer {
    fields: HashMap<String, String>,
    pub took: Duration,
}

impl Answer {
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Result<T> {
        let text = self.fields.get(name).ok_or_else(|| format!("no {name} in the answer"))?;
        text.parse().map_err(|_| format!("{name} is {text:?}"))
    }
}

impl Process {
    /// What it prints besides answers goes to a log in `folder`.
    pub fn start(contender: Contender, folder: &Path, settings: &[&str]) -> Result<Process> {
        let log =
            File::options().create(true).append(true).open(folder.join(format!("{}.log", contender.id())));
        let began = Instant::now();
        let mut child = contender
            .command(folder, settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log.map_err(|error| error.to_string())?)
            .spawn()
            .map_err(|error| format!("{}: {error}", contender.id()))?;
        let (tell, answers) = mpsc::channel();
        let output = child.stdout.take().expect("a piped stdout");
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(std::result::Result::ok) {
                if tell.send((line, Instant::now())).is_err() {
                    return;
                }
            }
        });
        let requests = child.stdin.take();
        let mut process = Process { child, requests, answers, start_up: Duration::ZERO };
        process.start_up = process.answer(began, Duration::from_secs(60))?.took;
        Ok(process)
    }

    /// Asks for something and waits for the answer. After an error that is a timeout the contender is of no more use.
    pub fn ask(&mut self, request: &str, patience: Duration) -> Result<Answer> {
        let began = Instant::now();
        let requests = self.requests.as_mut().expect("open until the end");
        requests.write_all(format!("{request}\n").as_bytes()).map_err(|error| error.to_string())?;
        self.answer(began, patience)
    }

    fn answer(&mut self, began: Instant, patience: Duration) -> Result<Answer> {
        let (line, at) = self.answers.recv_timeout(patience).map_err(|error| match error {
            RecvTimeoutError::Timeout => format!("no answer within {} s", patience.as_secs()),
            RecvTimeoutError::Disconnected => "ended".to_owned(),
        })?;
        let fields = match line.split_once(' ') {
            None if line == "ok" => "",
            Some(("ok", fields)) => fields,
            _ => return Err(line),
        };
        let fields = fields.split(' ').filter_map(|field| field.split_once('='));
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Ok(Answer { fields, took: at - began })
    }

    pub fn digest(&mut self) -> Result<Digest> {
        let answer = self.ask("digest", Duration::from_secs(300))?;
        Ok(Digest { nodes: answer.number("nodes")?, sum: answer.number("sum")? })
    }

    /// What is alive on its heap; `None` where its runtime cannot tell.
    pub fn live_bytes(&mut self) -> Result<Option<f64>> {
        Ok(self.ask("memory", Duration::from_secs(60))?.number("live").ok())
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn resident_bytes(&self) -> f64 {
        status_of(self.pid(), "VmRSS").unwrap_or_default() * 1024.0
    }

    /// What it takes of the machine's memory: pages that are shared count in parts.
    pub fn proportional_bytes(&self) -> f64 {
        let kib = field_of(&format!("/proc/{}/smaps_rollup", self.pid()), "Pss");
        kib.unwrap_or_default() * 1024.0
    }

    pub fn threads(&self) -> f64 {
        status_of(self.pid(), "Threads").unwrap_or_default()
    }

    pub fn descriptors(&self) -> f64 {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).map_or(0, Iterator::count) as f64
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A session that is not closed would end later, amid what is measured then.
        let _ = self.requests.take().map(|mut requests| requests.write_all(b"close\n"));
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn status_of(pid: u32, name: &str) -> Option<f64> {
    field_of(&format!("/proc/{pid}/status"), name)
}

fn field_of(file: &str, name: &str) -> Option<f64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The processor time that a process has used so far, of all its threads, in seconds.
pub fn processor_seconds(pid: u32) -> f64 {
    let (mut clock, mut time) = (0, libc::timespec { tv_sec: 0, tv_nsec: 0 });
    // SAFETY: both are ours to be written to.
    let failed = unsafe {
        libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock) != 0
            || libc::clock_gettime(clock, &mut time) != 0
    };
    if failed { f64::NAN } else { time.tv_sec as f64 + time.tv_nsec as f64 / 1e9 }
}

//! The questions, and what the answers mean for a cache.

use std::fmt::{self, Display, Write as _};
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use super::wire::*;

/// How often what depends on the moment is tried.
const ROUNDS: usize = 100;
/// Newer than all transactions.
const NEWEST: i64 = i64::MAX;

const NO_AUTH: i32 = -102;
const MARSHALLING: i32 = -5;
const UNIMPLEMENTED: i32 = -6;

const CREATED: i32 = 1;
const DATA_CHANGED: i32 = 3;

const RECURSIVE: i32 = 1;
const EVERYONE: (&str, &str, i32) = ("world", "anyone", 31);
const NOBODY: (&str, &str, i32) = ("digest", "nobody:nothing", 31);
const PERSISTENT: i32 = 0;
const CONTAINER: i32 = 4;

/// How a server takes an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Yes,
    Error(i32),
    /// It closes the connection, and says nothing.
    Closes,
}

impl Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Yes => f.write_str("yes"),
            Answer::Error(UNIMPLEMENTED) => f.write_str("no: UNIMPLEMENTED (-6)"),
            Answer::Error(MARSHALLING) => f.write_str("no: MARSHALLINGERROR (-5)"),
            Answer::Error(error) => write!(f, "no: error {error}"),
            Answer::Closes => f.write_str("no: it closes the connection without an answer"),
        }
    }
}

fn yes(is_so: bool) -> &'static str {
    if is_so { "yes" } else { "no" }
}

#[derive(Default)]
struct Report(String);

impl Report {
    fn section(&mut self, title: &str) {
        let gap = if self.0.is_empty() { "" } else { "\n" };
        _ = writeln!(self.0, "{gap}{title}");
    }

    fn line(&mut self, what: &str, answer: impl Display) {
        _ = writeln!(self.0, "  {what:<52} {answer}");
    }
}

/// What decides which watches a cache has there, and what is promised.
struct Found {
    recursive: Answer,
    set_watches: Answer,
    multi_read: Answer,
    is_keeper: bool,
    names_watched: bool,
    /// Why nothing can be promised.
    breaks: Vec<&'static str>,
    /// Nothing was written, so not all was seen.
    is_partial: bool,
}

/// Asks all that can be asked; what needs nodes of its own only below `path`.
pub fn ask(server: SocketAddr, path: Option<&str>) -> Result<String, String> {
    let mut report = Report::default();
    let failed = |lost: Lost| match lost {
        Lost::Closed => "the connection was closed".to_owned(),
        Lost::Failed(reason) => reason,
    };
    connections(server, &mut report).map_err(failed)?;
    let mut found = reads(server, &mut report).map_err(failed)?;
    if let Some(path) = path {
        let root = unique(path);
        let mut writer = Connection::new(server).map_err(failed)?;
        let made = writer.ask(CREATE, &Body::node(&root, EVERYONE, PERSISTENT)).map_err(failed)?;
        if made.error != OK {
            return Err(format!("no node can be made below {path}: error {}", made.error));
        }
        let asked = writes(server, &root, &mut report, &mut found);
        // On a connection of its own: the others may be gone.
        let removed = Connection::new(server).and_then(|mut cleaner| remove(&mut cleaner, &root));
        asked.map_err(failed)?;
        removed.map_err(|lost| format!("{root} could not be removed: {}", failed(lost)))?;
    }
    conclude(&found, &mut report);
    Ok(report.0)
}

/// A path that nobody else has.
fn unique(path: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos());
    format!("{}/conformance-{}-{now}", path.trim_end_matches('/'), std::process::id())
}

fn connections(server: SocketAddr, report: &mut Report) -> Result<(), Lost> {
    let first = Connection::new(server)?;
    let session = Session { id: first.session.id, password: first.session.password.clone() };
    drop(first);
    report.section("Connections");
    let second = Connection::resume(server, 0, &session);
    let is_resumed = second.is_ok_and(|second| second.session.id == session.id);
    report.line("a session outlives its connection", yes(is_resumed));
    let none = Session { id: 0, password: vec![0; 16] };
    let is_refused = Connection::resume(server, NEWEST, &none).is_err();
    report.line("who has seen more than the server is refused", yes(is_refused));
    Ok(())
}

/// One operation, on a connection of its own, as the server may close it for that.
fn try_one(server: SocketAddr, operation: i32, body: &Body) -> Result<Answer, Lost> {
    match Connection::new(server)?.ask(operation, body) {
        Ok(Reply { error: OK, .. }) => Ok(Answer::Yes),
        Ok(Reply { error, .. }) => Ok(Answer::Error(error)),
        Err(Lost::Closed) => Ok(Answer::Closes),
        Err(lost) => Err(lost),
    }
}

fn add_watch(path: &str, mode: i32) -> Body {
    Body::path(path).int(mode)
}

fn set_watches(data: &[&str], lists: &[&str]) -> Body {
    Body::default().long(NEWEST).texts(data).texts(&[]).texts(lists)
}

/// A multiRead of the data of these.
fn data_of(paths: &[&str]) -> Body {
    let reads = paths
        .iter()
        .fold(Body::default(), |body, path| body.operation(GET_DATA, false).text(path).bool(false));
    reads.operation(-1, true)
}

fn reads(server: SocketAddr, report: &mut Report) -> Result<Found, Lost> {
    report.section("Operations");
    let mut line = |what: &str, operation: i32, body: Body| {
        let answer = try_one(server, operation, &body)?;
        report.line(what, answer);
        Ok(answer)
    };
    line("exists", EXISTS, Body::read("/", false))?;
    line("getData", GET_DATA, Body::read("/", false))?;
    line("getChildren2", GET_CHILDREN_2, Body::read("/", false))?;
    line("sync", SYNC, Body::path("/"))?;
    let multi_read = line("multiRead", MULTI_READ, data_of(&["/"]))?;
    let set_watches = line("setWatches", SET_WATCHES, set_watches(&["/"], &["/"]))?;
    line("addWatch, persistent", ADD_WATCH, add_watch("/", 0))?;
    let recursive = line("addWatch, recursive", ADD_WATCH, add_watch("/", RECURSIVE))?;
    let removal = Body::path("/").int(3);
    if recursive == Answer::Yes {
        let mut watching = Connection::new(server)?;
        watching.ask(ADD_WATCH, &add_watch("/", RECURSIVE))?;
        let answer = match watching.ask(REMOVE_WATCHES, &removal) {
            Ok(Reply { error: OK, .. }) => Answer::Yes,
            Ok(Reply { error, .. }) => Answer::Error(error),
            Err(_) => Answer::Closes,
        };
        report.line("removeWatches", answer);
    }
    let flags = Connection::new(server)?.ask(EXISTS, &Body::read("/keeper/feature_flags", false))?;
    let is_keeper = flags.error == OK && flags.stat().is_some_and(|stat| stat.czxid == 0);
    report.line("the node in which a ClickHouse Keeper shows itself", yes(is_keeper));
    Ok(Found {
        recursive,
        set_watches,
        multi_read,
        is_keeper,
        names_watched: false,
        breaks: Vec::new(),
        is_partial: true,
    })
}

/// A reply without an error.
fn good(reply: Reply) -> Result<Reply, Lost> {
    match reply.error {
        OK => Ok(reply),
        error => Err(Lost::Failed(format!("error {error}, where none was expected"))),
    }
}

fn create(connection: &mut Connection, path: &str) -> Result<(), Lost> {
    good(connection.ask(CREATE, &Body::node(path, EVERYONE, PERSISTENT))?).map(drop)
}

fn set(path: &str) -> Body {
    Body::path(path).text("set").int(-1)
}

fn stat(connection: &mut Connection, path: &str) -> Result<Stat, Lost> {
    let reply = good(connection.ask(EXISTS, &Body::read(path, false))?)?;
    reply.stat().ok_or_else(|| Lost::Failed("an exists without a Stat".to_owned()))
}

/// All at and below this path.
fn remove(connection: &mut Connection, path: &str) -> Result<(), Lost> {
    let reply = good(connection.ask(GET_CHILDREN, &Body::read(path, false))?)?;
    let mut names = Bytes(&reply.body);
    for _ in 0..names.int().unwrap_or(0) {
        let Some(name) = names.buffer() else { break };
        let child = format!("{path}/{}", String::from_utf8_lossy(name));
        match remove(connection, &child) {
            // Who may not read it may delete it.
            Err(Lost::Failed(_)) => drop(connection.ask(DELETE, &Body::path(&child).int(-1))?),
            other => other?,
        }
    }
    good(connection.ask(DELETE, &Body::path(path).int(-1))?).map(drop)
}

fn writes(server: SocketAddr, root: &str, report: &mut Report, found: &mut Found) -> Result<(), Lost> {
    let mut writer = Connection::new(server)?;
    let node = format!("{root}/node");
    report.line("create", try_one(server, CREATE, &Body::node(&node, EVERYONE, PERSISTENT))?);
    report.line("setData", try_one(server, SET_DATA, &set(&node))?);
    let both = [&node[..], root]
        .iter()
        .fold(Body::default(), |body, path| Body([body.operation(SET_DATA, false).0, set(path).0].concat()));
    report.line("multi", try_one(server, MULTI, &both.operation(-1, true))?);
    let container = format!("{root}/container");
    report.line(
        "create, a container",
        try_one(server, CREATE_CONTAINER, &Body::node(&container, EVERYONE, CONTAINER))?,
    );
    let before = writer.ask(EXISTS, &Body::read(root, false))?.zxid;
    let check = Body::default().operation(CHECK, false).text(root).int(-1).operation(-1, true);
    let barrier = good(writer.ask(MULTI, &check)?)?;
    report.line("a multi of one check is a transaction of its own", yes(barrier.zxid > before));

    report.section("Order");
    order(server, &node, report, found)?;
    if found.multi_read == Answer::Yes {
        batches(server, root, report, found)?;
    }
    report.section("What differs");
    watches(server, root, report, found)?;
    stats(&mut writer, root, report)?;
    found.is_partial = false;
    Ok(())
}

/// Somebody writes, and somebody else reads, as fast as they can.
fn order(server: SocketAddr, node: &str, report: &mut Report, found: &mut Found) -> Result<(), Lost> {
    let (mut reader, mut writer) = (Connection::new(server)?, Connection::new(server)?);
    let (mut told_first, mut is_ahead, mut is_named) = (0, false, true);
    let read = |reader: &mut Connection, watch| {
        let reply = good(reader.ask(GET_DATA, &Body::read(node, watch))?)?;
        let stat = reply.stat_behind_data();
        Ok((reply.zxid, stat.ok_or_else(|| Lost::Failed("a getData without a Stat".to_owned()))?))
    };
    for _ in 0..ROUNDS {
        let (_, known) = read(&mut reader, true)?;
        if found.multi_read == Answer::Yes {
            // Some servers count it.
            reader.ask(MULTI_READ, &data_of(&[node]))?;
        }
        reader.told.clear();
        let before = reader.zxid;
        writer.send(SET_DATA, &set(node))?;
        loop {
            let (header, now) = read(&mut reader, false)?;
            if now.version != known.version {
                let tells = |told: &Notification| told.kind == DATA_CHANGED && told.path == node;
                told_first += usize::from(reader.told.iter().any(tells));
                is_ahead |= now.mzxid <= before;
                is_named &= header >= now.mzxid;
                break;
            }
        }
        good(writer.receive()?)?;
    }
    let answer = format!("{} ({told_first} of {ROUNDS})", yes(told_first == ROUNDS));
    report.line("a change is told before a reply shows it", answer);
    report.line("headers name what their replies show", yes(is_named));
    report.line("headers name nothing that is still to come", yes(!is_ahead));
    report.line("headers never go back", yes(!reader.went_back));
    let breaks = [
        (told_first < ROUNDS, "replies show what was not told"),
        (!is_named || reader.went_back, "headers do not say how far the server is"),
        (is_ahead, "headers name transactions that are still to come"),
    ];
    found.breaks.extend(breaks.into_iter().filter(|(is_so, _)| *is_so).map(|(_, what)| what));
    Ok(())
}

/// Two nodes are set together again and again, and read together.
fn batches(server: SocketAddr, root: &str, report: &mut Report, found: &mut Found) -> Result<(), Lost> {
    let (mut reader, mut writer) = (Connection::new(server)?, Connection::new(server)?);
    let pair = [format!("{root}/one"), format!("{root}/other")];
    let paths = [&pair[0][..], &pair[1]];
    for path in paths {
        create(&mut writer, path)?;
    }
    let both = paths
        .iter()
        .fold(Body::default(), |body, path| Body([body.operation(SET_DATA, false).0, set(path).0].concat()));
    let both = both.operation(-1, true);
    for _ in 0..ROUNDS {
        writer.send(MULTI, &both)?;
    }
    let (mut is_whole, mut done) = (true, 0);
    while done < ROUNDS as i32 {
        let reply = good(reader.ask(MULTI_READ, &data_of(&paths))?)?;
        let mut bytes = Bytes(&reply.body);
        let mut result = || {
            let (_kind, _done, _error) = (bytes.int()?, bytes.bool()?, bytes.int()?);
            bytes.buffer()?;
            bytes.stat()
        };
        let (Some(one), Some(other)) = (result(), result()) else {
            return Err(Lost::Failed("a multiRead without its results".to_owned()));
        };
        // Each was created by itself.
        let is_of_one = one.version == 0 || one.mzxid == other.mzxid;
        is_whole &= one.version == other.version && is_of_one && reply.zxid >= one.mzxid;
        done = one.version;
    }
    for _ in 0..ROUNDS {
        good(writer.receive()?)?;
    }
    report.line("a multiRead is of one zxid", yes(is_whole));
    if !is_whole {
        found.breaks.push("a multiRead shows parts of transactions");
    }
    // A read that fails fails alone. Where that is told differs.
    let none = format!("{root}/none");
    let reply = good(reader.ask(MULTI_READ, &data_of(&[&none]))?)?;
    let kind = Bytes(&reply.body).int();
    report.line("a read that fails in it has a result of its own kind", yes(kind == Some(-1)));
    Ok(())
}

fn watches(server: SocketAddr, root: &str, report: &mut Report, found: &mut Found) -> Result<(), Lost> {
    let (mut reader, mut writer) = (Connection::new(server)?, Connection::new(server)?);
    let none = format!("{root}/none");
    if found.set_watches == Answer::Yes {
        good(reader.ask(SET_WATCHES, &set_watches(&[&none], &[]))?)?;
        let is_before = !reader.told.is_empty();
        stat(&mut reader, root)?;
        let answer = match (is_before, reader.told.is_empty()) {
            (true, _) => "before the reply",
            (false, false) => "behind the reply",
            (false, true) => "not at all",
        };
        report.line("setWatches says that a node is not there", answer);
    }
    let (named, private) = (format!("{root}/named"), format!("{root}/private"));
    create(&mut writer, &named)?;
    if found.recursive == Answer::Yes {
        reader.told.clear();
        good(reader.ask(ADD_WATCH, &add_watch(root, RECURSIVE))?)?;
        good(writer.ask(SET_DATA, &set(&named))?)?;
        // What is committed is told by the time that a barrier is answered.
        let barrier = Body::default().operation(CHECK, false).text(root).int(-1).operation(-1, true);
        good(reader.ask(MULTI, &barrier)?)?;
        let told: Vec<Notification> = reader.told.drain(..).collect();
        let names = |path: &str| told.iter().any(|told| told.kind == DATA_CHANGED && told.path == path);
        found.names_watched = names(root);
        let what = match (names(&named), names(root)) {
            (true, false) => "the node that has changed",
            (false, true) => "the path that is watched",
            (true, true) => "both",
            (false, false) => "neither",
        };
        report.line("what a recursive watch names is", what);
        if !names(&named) && !names(root) {
            found.breaks.push("recursive watches do not tell of all changes");
        }
        report.line("notifications name the zxid", yes(told.iter().any(|told| told.zxid > 0)));
        good(writer.ask(CREATE, &Body::node(&private, NOBODY, PERSISTENT))?)?;
        good(reader.ask(MULTI, &barrier)?)?;
        let is_told = reader.told.iter().any(|told| told.kind == CREATED);
        report.line("who may not read a node is told of it", yes(is_told));
    } else {
        good(writer.ask(CREATE, &Body::node(&private, NOBODY, PERSISTENT))?)?;
    }
    let seen = reader.ask(EXISTS, &Body::read(&private, false))?;
    report.line("exists asks who may read", yes(seen.error == NO_AUTH));
    Ok(())
}

/// What a parent's Stat says of its children.
fn stats(writer: &mut Connection, root: &str, report: &mut Report) -> Result<(), Lost> {
    let (parent, child) = (format!("{root}/parent"), format!("{root}/parent/child"));
    create(writer, &parent)?;
    create(writer, &child)?;
    let before = stat(writer, &parent)?;
    good(writer.ask(SET_DATA, &set(&child))?)?;
    let set = stat(writer, &parent)?;
    good(writer.ask(DELETE, &Body::path(&child).int(-1))?)?;
    let deleted = stat(writer, &parent)?;
    report.line("cversion moves when the data of a child is set", yes(set.cversion != before.cversion));
    report.line("pzxid moves when a child is deleted", yes(deleted.pzxid != set.pzxid));
    Ok(())
}

fn conclude(found: &Found, report: &mut Report) {
    report.section("A cache there");
    let is_keeper = found.is_keeper || found.names_watched;
    let way = match (found.recursive, found.set_watches) {
        (Answer::Yes, _) if !is_keeper => "recursive watches",
        (Answer::Yes | Answer::Error(MARSHALLING | UNIMPLEMENTED), Answer::Yes) => match found.multi_read {
            Answer::Yes => "one-shot watches",
            _ => "one-shot watches, and single reads",
        },
        _ => "none that it can use",
    };
    report.line("with watch=auto it has", way);
    let promise = match &found.breaks[..] {
        _ if way.starts_with("none") => "nothing".to_owned(),
        [] if found.is_partial => {
            "not known: nothing was written; give a path below which that may be done".to_owned()
        }
        [] if is_keeper => "what docs/decisions/0006-clickhouse-keeper.md says".to_owned(),
        [] => "what docs/guarantees.md says".to_owned(),
        breaks => format!("nothing: {}", breaks.join("; ")),
    };
    report.line("what is promised is", promise);
}

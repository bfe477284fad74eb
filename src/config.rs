//! Settings by name: one table of keys, from which parsing, ranges and `docs/configuration.md` all follow.
//!
//! A [`Config`] may carry keys for clients, caches, listeners and queues; each reads its own and ignores the others.

use std::fs;
use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::Error;
use crate::escape::Escaped;
use crate::events::{Capacity, EventKinds, Interest, Wants};
use crate::net::{Kerberos, KerberosKeys, Tls, TlsFiles};
use crate::path::NodePath;
use crate::random;
use crate::selection::{Effect, Selection};
use crate::session::{Auth, Backoff, DigestMd5, Hosts, Sasl, Secret, Settings};
use crate::sync::{Data, Modes, Options, Pace, SyncMode, VerifyMode, WatchMode};

/// Settings of clients, caches, listeners and queues. A new one has every key at its default.
#[derive(Debug, Clone)]
pub struct Config {
    session_timeout: Duration,
    resolve_timeout: Duration,
    connect_timeout: Duration,
    limit_frame: usize,
    auth: Vec<Auth>,
    sasl: SaslKeys,
    tls: TlsKeys,
    modes: Modes,
    options: Options,
    data: DataKeys,
    share: ShareKeys,
    close_keep: bool,
    capacity: Capacity,
    listen: Interest,
    queue_faults: bool,
}

/// What was said of SASL so far.
#[derive(Debug, Clone, Default)]
struct SaslKeys {
    mechanism: Option<Mechanism>,
    username: Option<String>,
    password: Option<Secret>,
    service: String,
    host: Option<String>,
    principal: Option<String>,
    keytab: Option<PathBuf>,
}

/// What was said of TLS so far.
#[derive(Debug, Clone, Default)]
struct TlsKeys {
    is_on: bool,
    ca_file: Option<PathBuf>,
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    verify_hostname: bool,
}

/// What was said of nodes' data so far.
#[derive(Debug, Clone, Default)]
struct DataKeys {
    is_left_out: bool,
    is_compressed: bool,
    limit_node: usize,
}

/// What was said of sharing the tree in a file.
#[derive(Debug, Clone, Default)]
pub(crate) struct ShareKeys {
    pub(crate) file: Option<PathBuf>,
    /// Zero: however old it is.
    pub(crate) max_age: Duration,
}

/// How to authenticate with SASL.
#[derive(Debug, Clone, Copy)]
enum Mechanism {
    DigestMd5,
    Gssapi,
}

/// Who reads a key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Client,
    Cache,
    Queue,
    CacheAndQueue,
    ListenerAndQueue,
}

/// Words, each with what it does.
type Words = &'static [(&'static str, fn(&mut Config))];

/// What values a key takes, and where they go.
enum Value {
    Milliseconds(RangeInclusive<u64>, fn(&mut Config, Duration)),
    Count(RangeInclusive<u64>, fn(&mut Config, usize)),
    Flag(fn(&mut Config, bool)),
    File(fn(&mut Config, PathBuf)),
    /// A file that need not be there.
    Place(fn(&mut Config, PathBuf)),
    /// Names, relative to a cache's root.
    Pattern(Effect),
    Path(fn(&mut Config, NodePath)),
    EventKinds(fn(&mut Config, EventKinds)),
    /// One of these words.
    Word(Words),
    Text(fn(&mut Config, String)),
    /// A part of a principal.
    Part(fn(&mut Config, String)),
    Keytab(fn(&mut Config, PathBuf)),
    /// Never part of a message.
    Secret(fn(&mut Config, Secret)),
    /// `scheme:credential`. A secret: never part of a message.
    Credential(fn(&mut Config, Auth)),
}

struct Key {
    name: &'static str,
    default: Option<&'static str>,
    #[cfg_attr(not(test), expect(dead_code, reason = "for the documentation, which a test writes"))]
    scope: Scope,
    value: Value,
    #[cfg_attr(not(test), expect(dead_code, reason = "for the documentation, which a test writes"))]
    purpose: &'static str,
}

const DAY_MS: u64 = 86_400_000;

/// If a path is much longer, a request for it is longer than a server takes (`jute.maxbuffer`).
const LONGEST_PATH: u64 = 64 << 10;

/// Every key there is.
const KEYS: &[Key] = &[
    Key {
        name: "session.timeout.ms",
        default: Some("10000"),
        scope: Scope::Client,
        value: Value::Milliseconds(100..=DAY_MS, |config, timeout| config.session_timeout = timeout),
        purpose: "session timeout to ask for; the server may grant another",
    },
    Key {
        name: "resolve.timeout.ms",
        default: Some("15000"),
        scope: Scope::Client,
        value: Value::Milliseconds(1..=DAY_MS, |config, timeout| config.resolve_timeout = timeout),
        purpose: "time for one look-up of a server's name; where its addresses are known from an earlier one, no longer \
                  than `connect.timeout.ms`, and then these are used",
    },
    Key {
        name: "connect.timeout.ms",
        default: Some("3000"),
        scope: Scope::Client,
        value: Value::Milliseconds(1..=DAY_MS, |config, timeout| config.connect_timeout = timeout),
        purpose: "time for one connection attempt to one server, from where there is an address; grows, while attempts \
                  fail by it, up to two thirds of `session.timeout.ms`",
    },
    Key {
        name: "auth",
        default: None,
        scope: Scope::Client,
        value: Value::Credential(|config, auth| config.auth.push(auth)),
        purpose: "who the session is, e.g. `digest:user:password`; set again to add another",
    },
    Key {
        name: "sasl.mechanism",
        default: None,
        scope: Scope::Client,
        value: Value::Word(&[
            ("DIGEST-MD5", |config| config.sasl.mechanism = Some(Mechanism::DigestMd5)),
            ("GSSAPI", |config| config.sasl.mechanism = Some(Mechanism::Gssapi)),
        ]),
        purpose: "authenticate with SASL, in this way, before all else; DIGEST-MD5 needs `sasl.username` and \
                  `sasl.password`, GSSAPI is Kerberos",
    },
    Key {
        name: "sasl.username",
        default: None,
        scope: Scope::Client,
        value: Value::Text(|config, username| config.sasl.username = Some(username)),
        purpose: "who the session is, for DIGEST-MD5",
    },
    Key {
        name: "sasl.password",
        default: None,
        scope: Scope::Client,
        value: Value::Secret(|config, password| config.sasl.password = Some(password)),
        purpose: "the password to `sasl.username`",
    },
    Key {
        name: "sasl.principal",
        default: None,
        scope: Scope::Client,
        value: Value::Text(|config, principal| config.sasl.principal = Some(principal)),
        purpose: "who the session is, for GSSAPI, as in `app/host@REALM`; without, the first principal in `sasl.keytab`, \
                  or the one of the ticket cache",
    },
    Key {
        name: "sasl.keytab",
        default: None,
        scope: Scope::Client,
        value: Value::Keytab(|config, keytab| config.sasl.keytab = Some(keytab)),
        purpose: "the keys of that principal, for GSSAPI; without, its tickets are those of the ticket cache \
                  (`KRB5CCNAME`)",
    },
    Key {
        name: "sasl.service",
        default: Some("zookeeper"),
        scope: Scope::Client,
        value: Value::Part(|config, service| config.sasl.service = service),
        purpose: "the first part of the servers' principals, for GSSAPI",
    },
    Key {
        name: "sasl.host",
        default: None,
        scope: Scope::Client,
        value: Value::Part(|config, host| config.sasl.host = Some(host)),
        purpose: "the second part of the servers' principals, for GSSAPI; without, the name that a server has in hosts",
    },
    Key {
        name: "tls",
        default: Some("false"),
        scope: Scope::Client,
        value: Value::Flag(|config, tls| config.tls.is_on = tls),
        purpose: "connect with TLS; needs `tls.ca.file`",
    },
    Key {
        name: "tls.ca.file",
        default: None,
        scope: Scope::Client,
        value: Value::File(|config, file| config.tls.ca_file = Some(file)),
        purpose: "certificates of the CAs that a server's certificate may be from; and servers' own, self-signed ones",
    },
    Key {
        name: "tls.cert.file",
        default: None,
        scope: Scope::Client,
        value: Value::File(|config, file| config.tls.cert_file = Some(file)),
        purpose: "the client's own certificate, for mutual TLS, and what leads from it to its CA",
    },
    Key {
        name: "tls.key.file",
        default: None,
        scope: Scope::Client,
        value: Value::File(|config, file| config.tls.key_file = Some(file)),
        purpose: "the private key to `tls.cert.file` (PKCS#8, PKCS#1 or SEC1, without a password)",
    },
    Key {
        name: "tls.verify.hostname",
        default: Some("true"),
        scope: Scope::Client,
        value: Value::Flag(|config, verify| config.tls.verify_hostname = verify),
        purpose: "whether a server's certificate must be for the host name or address in hosts; that it is from one \
                  of the CAs is verified in any case",
    },
    Key {
        name: "root.create",
        default: Some("true"),
        scope: Scope::Cache,
        value: Value::Flag(|config, create| config.options.create_root = create),
        purpose: "create the root and its parents on start when they are missing",
    },
    Key {
        name: "follow",
        default: Some("true"),
        scope: Scope::Cache,
        value: Value::Flag(|config, follow| config.options.follow = follow),
        purpose: "go on following the tree; if false, it is loaded once, no watch is left behind, the state is \
                  `TC_STATE_HELD`, and `tc_sync` brings it up to date",
    },
    Key {
        name: "single",
        default: Some("false"),
        scope: Scope::Cache,
        value: Value::Flag(|config, single| config.options.single = single),
        purpose: "keep the root alone, whatever `depth.max` and `select` say, and have the server tell of the root alone: \
                  what happens below it is not even notified",
    },
    Key {
        name: "depth.max",
        default: None,
        scope: Scope::Cache,
        value: Value::Count(0..=usize::MAX as u64, |config, depth| {
            config.options.selection.limit_depth(depth)
        }),
        purpose: "deepest nodes that are kept: 0 keeps the root alone, 1 its children too; without, all are",
    },
    Key {
        name: "select.exclude",
        default: None,
        scope: Scope::Cache,
        value: Value::Pattern(Effect::Exclude),
        purpose: "pattern of nodes to leave out, with all below them, e.g. `tmp*`; set again to add another",
    },
    Key {
        name: "select.leaf",
        default: None,
        scope: Scope::Cache,
        value: Value::Pattern(Effect::Leaf),
        purpose: "pattern of nodes to keep without what is below them; set again to add another",
    },
    Key {
        name: "select.include",
        default: None,
        scope: Scope::Cache,
        value: Value::Pattern(Effect::Include),
        purpose: "pattern of nodes to keep, with what is above them; where this is set, all others are left out; set again to \
                  add another",
    },
    Key {
        name: "root.container",
        default: Some("false"),
        scope: Scope::Cache,
        value: Value::Flag(|config, container| config.options.container_parents = container),
        purpose: "whether parents that are created with the root are containers, which the server removes when they \
                  have become empty; needs ZooKeeper 3.5.1",
    },
    Key {
        name: "data",
        default: Some("all"),
        scope: Scope::Cache,
        value: Value::Word(&[
            ("all", |config| config.data.is_left_out = false),
            ("none", |config| config.data.is_left_out = true),
        ]),
        purpose: "what is kept of the nodes' data: `all`, or `none`, for names and Stats only",
    },
    Key {
        name: "data.compressed",
        default: Some("none"),
        scope: Scope::Cache,
        value: Value::Word(&[
            ("none", |config| config.data.is_compressed = false),
            ("gzip", |config| config.data.is_compressed = true),
        ]),
        purpose: "with `gzip`, data is kept and told uncompressed; what is no gzip is kept as it came, with a fault",
    },
    Key {
        name: "limit.node.bytes",
        default: Some("16777216"),
        scope: Scope::Cache,
        value: Value::Count(1..=i32::MAX as u64, |config, bytes| config.data.limit_node = bytes),
        purpose: "most bytes of a node's data once it is uncompressed (`data.compressed`); of a node beyond it, the data \
                  is kept as it came, with a fault, `TC_ERR_LIMIT`, and the cache goes on",
    },
    Key {
        name: "verify",
        default: Some("auto"),
        scope: Scope::Cache,
        value: Value::Word(&[
            ("auto", |config| config.options.verify = VerifyMode::Auto),
            ("report", |config| config.options.verify = VerifyMode::Report),
            ("read", |config| config.options.verify = VerifyMode::Read),
        ]),
        purpose: "how the tree is verified after a lost connection, if something may have changed: `report` has a second, \
                  short session ask a server which nodes have changed, and reads these; `read` reads all; `auto`: \
                  `report` for trees of 2,000 nodes or more, if these are ephemeral or have some 300 bytes or more on \
                  average, else `read`",
    },
    Key {
        name: "close.keep",
        default: Some("false"),
        scope: Scope::Cache,
        value: Value::Flag(|config, keep| config.close_keep = keep),
        purpose: "whether reads go on from the last version after `tc_close`, until `tc_free`",
    },
    Key {
        name: "share.file",
        default: None,
        scope: Scope::Cache,
        value: Value::Place(|config, file| config.share.file = Some(file)),
        purpose: "file in which the tree is kept for other processes (`tc_attach`), and with which the cache begins when it is \
                  started again; on a local file system, best in memory (`/dev/shm`); only on Linux",
    },
    Key {
        name: "share.max.age.ms",
        default: Some("0"),
        scope: Scope::Cache,
        value: Value::Milliseconds(0..=u64::MAX / 2, |config, age| config.share.max_age = age),
        purpose: "a tree in `share.file` whose last word from a server is longer ago is not begun with; 0 for no limit",
    },
    Key {
        name: "limit.nodes",
        default: Some("0"),
        scope: Scope::Cache,
        value: Value::Count(0..=usize::MAX as u64, |config, nodes| config.options.limit_nodes = nodes),
        purpose: "most nodes; a tree beyond it stops the cache with a fault, `TC_ERR_LIMIT`; 0 for no limit",
    },
    Key {
        name: "limit.bytes",
        default: Some("0"),
        scope: Scope::Cache,
        value: Value::Count(0..=usize::MAX as u64, |config, bytes| config.options.limit_bytes = bytes),
        purpose: "most bytes of data, as it is kept; a tree beyond it stops the cache with a fault, `TC_ERR_LIMIT`; 0 for no limit",
    },
    Key {
        name: "limit.path.bytes",
        default: Some("4096"),
        scope: Scope::Cache,
        value: Value::Count(1..=LONGEST_PATH, |config, bytes| config.options.limit_path = bytes),
        purpose: "longest path of a node, and so longest name; a tree with a longer one stops the cache with a fault, \
                  `TC_ERR_LIMIT`",
    },
    Key {
        name: "limit.frame.bytes",
        default: Some("134217728"),
        scope: Scope::Client,
        value: Value::Count(1 << 20..=i32::MAX as u64, |config, bytes| config.limit_frame = bytes),
        purpose: "longest reply of a server; a longer one ends the connection with a fault, `TC_ERR_PROTOCOL`",
    },
    Key {
        name: "sync.mode",
        default: Some("barrier"),
        scope: Scope::Client,
        value: Value::Word(&[
            ("barrier", |config| config.modes.sync = SyncMode::Barrier),
            ("sync", |config| config.modes.sync = SyncMode::Sync),
        ]),
        purpose: "how `tc_sync` has the server catch up: `barrier` with a transaction that changes nothing, which holds \
                  on every server; `sync` with ZooKeeper's `sync`, which costs no transaction, and on a leader does \
                  not promise what it has not applied yet",
    },
    Key {
        name: "watch",
        default: Some("auto"),
        scope: Scope::Client,
        value: Value::Word(&[
            ("auto", |config| config.modes.watch = WatchMode::Auto),
            ("recursive", |config| config.modes.watch = WatchMode::Recursive),
            ("one-shot", |config| config.modes.watch = WatchMode::OneShot),
        ]),
        purpose: "how changes are heard of: `recursive` by one watch for a whole tree, which takes ZooKeeper 3.6; `one-shot` by \
                  watches of each node, which tell of one change each, and older servers have; `auto` the former, and the \
                  latter on a server that refuses it, and on ClickHouse Keeper",
    },
    Key {
        name: "events.capacity",
        default: Some("100000"),
        scope: Scope::CacheAndQueue,
        value: Value::Count(1..=usize::MAX as u64, |config, capacity| config.capacity.events = capacity),
        purpose: "events a listener of the cache, or the queue, may lag (4096 versions at most) before it continues by \
                  difference",
    },
    Key {
        name: "events.bytes",
        default: Some("67108864"),
        scope: Scope::CacheAndQueue,
        value: Value::Count(1..=usize::MAX as u64, |config, bytes| config.capacity.bytes = bytes),
        purpose: "bytes that the versions may hold, beside what the newest one holds, which wait for a listener of the \
                  cache, or in the queue, before it continues by difference",
    },
    Key {
        name: "listen.under",
        default: None,
        scope: Scope::ListenerAndQueue,
        value: Value::Path(|config, path| config.listen.under.push(path)),
        purpose: "tell what happens at this node and below it only; an absolute path, at or below the cache's root; set \
                  again to add another",
    },
    Key {
        name: "listen.depth",
        default: None,
        scope: Scope::ListenerAndQueue,
        value: Value::Count(0..=usize::MAX as u64, |config, depth| config.listen.depth = Some(depth)),
        purpose: "tell so many levels below each `listen.under`, or below the cache's root where there is none; 0 is that \
                  node alone",
    },
    Key {
        name: "listen.events",
        default: Some("all"),
        scope: Scope::ListenerAndQueue,
        value: Value::EventKinds(|config, kinds| config.listen.kinds = kinds),
        purpose: "tell these kinds of events only",
    },
    Key {
        name: "listen.initial",
        default: Some("true"),
        scope: Scope::ListenerAndQueue,
        value: Value::Flag(|config, initial| config.listen.initial = initial),
        purpose: "tell the tree so far first, and INITIALIZED if the cache is initialized; without, only what follows",
    },
    Key {
        name: "listen.after.initialized",
        default: Some("false"),
        scope: Scope::ListenerAndQueue,
        value: Value::Flag(|config, after| config.listen.after_initialized = after),
        purpose: "tell nothing before INITIALIZED, and of the tree only what has changed since",
    },
    Key {
        name: "queue.faults",
        default: Some("false"),
        scope: Scope::Queue,
        value: Value::Flag(|config, faults| config.queue_faults = faults),
        purpose: "whether the queue has faults in it too; without, every item is an event",
    },
    Key {
        name: "audit.interval.ms",
        default: Some("600000"),
        scope: Scope::Cache,
        value: Value::Milliseconds(0..=7 * DAY_MS, |config, interval| {
            config.options.audit_interval = interval
        }),
        purpose: "one pass of the background audit over the tree takes about this long; it finds what ZooKeeper \
                  does not notify of; 0 for no audit",
    },
];

impl Value {
    /// Parses `value` and stores it; otherwise says what is wrong with it, without repeating it.
    fn store(&self, config: &mut Config, value: &str) -> Result<(), String> {
        match self {
            Value::Milliseconds(range, set) => {
                set(config, Duration::from_millis(number(value, range)?));
            }
            Value::Count(range, set) => {
                let count = number(value, range)?;
                set(config, usize::try_from(count).expect("the range is one of usize"));
            }
            Value::Flag(set) => match value {
                "true" => set(config, true),
                "false" => set(config, false),
                _ => return Err(format!("expected {}", self.takes())),
            },
            Value::Pattern(effect) => {
                let added = config.options.selection.add(*effect, value);
                added.map_err(|error| error.reason.to_owned())?;
            }
            Value::Path(set) => set(config, NodePath::new(value).map_err(|invalid| invalid.reason)?),
            Value::EventKinds(set) => match EventKinds::named(value) {
                Some(kinds) => set(config, kinds),
                None => return Err(format!("expected {}", self.takes())),
            },
            Value::Word(words) => match words.iter().find(|(word, _)| *word == value) {
                Some((_, set)) => set(config),
                None => return Err(format!("expected {}", self.takes())),
            },
            Value::File(_) | Value::Place(_) | Value::Text(_) | Value::Keytab(_) | Value::Secret(_)
                if value.is_empty() =>
            {
                return Err(format!("expected {}", self.takes()));
            }
            Value::File(set) | Value::Keytab(set) => set(config, value.into()),
            // Wherever the process is when it is used.
            Value::Place(set) => {
                let file = std::path::absolute(value).map_err(|error| error.to_string())?;
                set(config, file);
            }
            Value::Text(set) => set(config, value.to_owned()),
            Value::Part(_) if value.is_empty() || value.contains(is_no_part) => {
                return Err(format!("expected {}", self.takes()));
            }
            Value::Part(set) => set(config, value.to_owned()),
            Value::Secret(set) => set(config, Secret::new(value)),
            Value::Credential(set) => match value.split_once(':') {
                Some((scheme, credential)) if !scheme.is_empty() => {
                    set(config, Auth { scheme: scheme.to_owned(), credential: Secret::new(credential) });
                }
                _ => return Err(format!("expected {}", self.takes())),
            },
        }
        Ok(())
    }

    fn takes(&self) -> String {
        match self {
            Value::Milliseconds(range, _) => format!("{} to {} ms", range.start(), range.end()),
            Value::Count(range, _) if *range.end() == usize::MAX as u64 => {
                format!("a number from {}", range.start())
            }
            Value::Count(range, _) => format!("{} to {}", range.start(), range.end()),
            Value::Flag(_) => "true or false".to_owned(),
            Value::File(_) => "a file in PEM".to_owned(),
            Value::Place(_) => "a file".to_owned(),
            Value::Keytab(_) => "a keytab".to_owned(),
            Value::Pattern(_) => "names relative to the root, with `*` and `**`".to_owned(),
            Value::Path(_) => "an absolute path".to_owned(),
            Value::EventKinds(_) => EventKinds::WORDS.to_owned(),
            Value::Word(words) => {
                let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                let (last, others) = words.split_last().expect("there are words");
                format!("{} or {last}", others.join(", "))
            }
            Value::Text(_) | Value::Secret(_) => "text".to_owned(),
            Value::Part(_) => "a name, without '/', '@' and ':'".to_owned(),
            Value::Credential(_) => "scheme:credential".to_owned(),
        }
    }

    fn is_secret(&self) -> bool {
        matches!(self, Value::Credential(_) | Value::Secret(_))
    }
}

/// What stands in no part of a principal, or would end it.
fn is_no_part(c: char) -> bool {
    matches!(c, '/' | '@' | ':') || c.is_whitespace() || c.is_control()
}

/// Digits only: `u64::from_str` would take a plus sign.
fn number(value: &str, range: &RangeInclusive<u64>) -> Result<u64, String> {
    let digits = Some(value).filter(|value| value.bytes().all(|byte| byte.is_ascii_digit()));
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(number) if range.contains(&number) => Ok(number),
        Some(_) => Err(format!("expected {} to {}", range.start(), range.end())),
        None => Err("expected a whole number".to_owned()),
    }
}

impl Config {
    /// Every key at its default.
    pub fn new() -> Config {
        let mut config = Config {
            session_timeout: Duration::ZERO,
            resolve_timeout: Duration::ZERO,
            connect_timeout: Duration::ZERO,
            limit_frame: 0,
            auth: Vec::new(),
            sasl: SaslKeys::default(),
            tls: TlsKeys::default(),
            modes: Modes::default(),
            options: Options {
                create_root: false,
                selection: Selection::default(),
                follow: true,
                single: false,
                container_parents: false,
                limit_nodes: 0,
                limit_bytes: 0,
                data: Data::All,
                limit_path: 0,
                verify: VerifyMode::Auto,
                audit_interval: Duration::ZERO,
                pace: Pace::default(),
            },
            data: DataKeys::default(),
            share: ShareKeys::default(),
            close_keep: false,
            capacity: Capacity { events: 0, bytes: 0 },
            listen: Interest::all(),
            queue_faults: false,
        };
        for key in KEYS {
            if let Some(default) = key.default {
                key.value.store(&mut config, default).expect("a default is a valid value");
            }
        }
        config
    }

    /// Sets one key. See `docs/configuration.md` for all of them.
    ///
    /// # Errors
    /// [`Error::Setting`] for an unknown key or a value that it does not take; nothing is changed then.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), Error> {
        let Some(found) = KEYS.iter().find(|candidate| candidate.name == key) else {
            return Err(Error::setting(key, format!("unknown configuration key {:?}", Escaped(key))));
        };
        found.value.store(self, value).map_err(|reason| {
            let message = match found.value.is_secret() {
                true => format!("invalid value for {key:?}: {reason}"),
                false => format!("invalid value {:?} for {key:?}: {reason}", Escaped(value)),
            };
            Error::setting(key, message)
        })
    }

    /// What a session to `hosts` is made with.
    ///
    /// # Errors
    /// [`Error::Setting`] when keys that need each other are not all there.
    pub(crate) fn settings(&self, hosts: Hosts) -> Result<Settings, Error> {
        Ok(Settings {
            hosts,
            session_timeout: self.session_timeout,
            resolve_timeout: self.resolve_timeout,
            connect_timeout: self.connect_timeout,
            sasl: self.sasl()?,
            auth: self.auth.clone(),
            limit_frame: self.limit_frame,
            backoff: Backoff::default(),
        })
    }

    fn sasl(&self) -> Result<Option<Sasl>, Error> {
        let keys = &self.sasl;
        keys.check()?;
        Ok(match (keys.mechanism, keys.username.clone(), keys.password.clone()) {
            (Some(Mechanism::DigestMd5), Some(username), Some(password)) => {
                Some(Sasl::DigestMd5(DigestMd5 { username, password, nonce: random::nonce }))
            }
            (Some(Mechanism::Gssapi), ..) => Some(Sasl::Gssapi { principal: keys.principal.clone() }),
            _ => None,
        })
    }

    /// What makes the tokens of GSSAPI, if it is asked for.
    ///
    /// # Errors
    /// [`Error::Setting`] when the system has no library for it.
    pub(crate) fn kerberos(&self) -> Result<Option<Kerberos>, Error> {
        let SaslKeys { mechanism: Some(Mechanism::Gssapi), service, host, principal, keytab, .. } =
            self.sasl.clone()
        else {
            return Ok(None);
        };
        let keys = KerberosKeys { service, host, principal, keytab };
        Kerberos::load(keys).map(Some).map_err(|reason| {
            Error::setting("sasl.mechanism", format!("\"GSSAPI\" for \"sasl.mechanism\": {reason}"))
        })
    }

    /// What connections are secured with, if they are.
    ///
    /// # Errors
    /// [`Error::Setting`] when a key is missing, or a file cannot be used.
    pub(crate) fn tls(&self) -> Result<Option<Tls>, Error> {
        let TlsKeys { is_on, ca_file: ca, cert_file: cert, key_file: key, verify_hostname } = &self.tls;
        if !is_on {
            // Whoever names a file believes that it protects the connection.
            return match ca.as_ref().or(cert.as_ref()).or(key.as_ref()) {
                None => Ok(None),
                Some(file) => {
                    let message = format!(
                        "{} is given for TLS, but \"tls\" is not true",
                        Escaped(&file.to_string_lossy())
                    );
                    Err(Error::setting("tls", message))
                }
            };
        }
        let Some(ca) = ca else {
            let message = "\"tls\" needs \"tls.ca.file\", to know which servers to trust";
            return Err(Error::setting("tls.ca.file", message));
        };
        let identity = match (cert.clone(), key.clone()) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (cert, _) => {
                let missing = if cert.is_none() { "tls.cert.file" } else { "tls.key.file" };
                return Err(Error::setting(
                    missing,
                    "\"tls.cert.file\" and \"tls.key.file\" need each other",
                ));
            }
        };
        let files = TlsFiles { ca: ca.clone(), identity, verify_hostname: *verify_hostname };
        Tls::load(files).map(Some).map_err(|error| {
            let key = match &error.file {
                file if file == ca => "tls.ca.file",
                file if Some(file) == cert.as_ref() => "tls.cert.file",
                _ => "tls.key.file",
            };
            Error::setting(key, error.to_string())
        })
    }

    /// For whom servers take a client, without a secret: what two may read of whom the same is said, is the same. `None`:
    /// that cannot be said, as a certificate or a ticket says it.
    pub(crate) fn user(&self) -> Option<String> {
        let SaslKeys { mechanism, username, principal, .. } = &self.sasl;
        let sasl = match mechanism {
            None => None,
            Some(Mechanism::DigestMd5) => Some(username.as_ref()?),
            Some(Mechanism::Gssapi) => Some(principal.as_ref()?),
        };
        let mut users: Vec<String> = sasl.map(|name| format!("sasl:{name}")).into_iter().collect();
        for Auth { scheme, credential } in &self.auth {
            // Of other schemes nobody knows which part is the secret.
            let (name, _) = credential.expose().split_once(':').filter(|_| scheme == "digest")?;
            users.push(format!("digest:{name}"));
        }
        users.sort_unstable();
        self.tls.cert_file.is_none().then(|| format!("{users:?}"))
    }

    /// Warns in the log of secrets that others may come to know. That may be intended, so it is no error.
    pub(crate) fn warn_of_what_is_exposed(&self) {
        if !self.tls.is_on && self.auth.iter().any(|auth| auth.scheme == "digest") {
            log::warn!(
                "\"auth\" with digest sends the password as it is: without \"tls\", all on the way can read it"
            );
        }
        if let Some(file) = &self.tls.key_file
            && fs::metadata(file).is_ok_and(|file| file.permissions().mode() & 0o004 != 0)
        {
            let file = file.to_string_lossy();
            log::warn!("\"tls.key.file\": everybody on this machine may read {}", Escaped(&file));
        }
    }

    /// Which of several ways the client has with its servers.
    pub(crate) fn modes(&self) -> Modes {
        self.modes
    }

    /// What a cache's synchroniser is made with.
    pub(crate) fn options(&self) -> Options {
        let data = match self.data {
            DataKeys { is_left_out: true, .. } => Data::None,
            DataKeys { is_compressed: true, limit_node: most, .. } => Data::Gzip { most },
            _ => Data::All,
        };
        let mut options = Options { data, ..self.options.clone() };
        if options.single {
            options.selection.limit_depth(0);
        }
        options
    }

    /// Where a cache's tree is shared.
    pub(crate) fn share(&self) -> &ShareKeys {
        &self.share
    }

    /// Whether some subtrees are named to be listened to.
    pub(crate) fn names_subtrees(&self) -> bool {
        !self.listen.under.is_empty()
    }

    /// Whether reads of a cache go on after it was closed.
    pub(crate) fn close_keep(&self) -> bool {
        self.close_keep
    }

    pub(crate) fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// What a listener of a cache with this root is told.
    ///
    /// # Errors
    /// [`Error::Setting`] when a subtree is outside of the cache's.
    pub(crate) fn listener(&self, root: &NodePath) -> Result<Wants, Error> {
        let events = self.listen.below(root).map_err(|outside| {
            let message = format!(
                "invalid value {outside:?} for \"listen.under\": it is outside of the tree {root:?} of the cache"
            );
            Error::setting("listen.under", message)
        })?;
        Ok(Wants::events(events))
    }

    /// What a queue of a cache with this root is told.
    ///
    /// # Errors
    /// As [`listener`](Self::listener).
    pub(crate) fn queue(&self, root: &NodePath) -> Result<Wants, Error> {
        Ok(self.listener(root)?.with_faults(self.queue_faults))
    }
}

impl SaslKeys {
    /// Whether all keys are there that need each other, and no others.
    fn check(&self) -> Result<(), Error> {
        let keytab = self.keytab.as_ref().map(|keytab| keytab.to_string_lossy().into_owned());
        let of_digest = [("sasl.username", self.username.as_deref())];
        let of_kerberos = [
            ("sasl.principal", self.principal.as_deref()),
            ("sasl.keytab", keytab.as_deref()),
            ("sasl.host", self.host.as_deref()),
        ];
        let (needed, others) = match self.mechanism {
            Some(Mechanism::DigestMd5) => ("GSSAPI", &of_kerberos[..]),
            Some(Mechanism::Gssapi) if self.password.is_some() => {
                let message = "\"sasl.password\" needs \"sasl.mechanism\" to be DIGEST-MD5: GSSAPI has tickets, or \
                               \"sasl.keytab\"";
                return Err(Error::setting("sasl.password", message));
            }
            Some(Mechanism::Gssapi) => ("DIGEST-MD5", &of_digest[..]),
            None => ("GSSAPI", &of_kerberos[..]),
        };
        if let Some((key, value)) = others.iter().find_map(|(key, value)| Some((key, (*value)?))) {
            let message =
                format!("{key:?}, which is {:?}, needs \"sasl.mechanism\" to be {needed}", Escaped(value));
            return Err(Error::setting(key, message));
        }
        let missing = match (self.mechanism, &self.username, &self.password) {
            (None, None, None) | (Some(Mechanism::Gssapi), ..) => return Ok(()),
            (Some(Mechanism::DigestMd5), Some(_), Some(_)) => return Ok(()),
            (None, ..) => "sasl.mechanism",
            (_, None, _) => "sasl.username",
            _ => "sasl.password",
        };
        let message = "\"sasl.mechanism\", \"sasl.username\" and \"sasl.password\" need each other";
        Err(Error::setting(missing, message))
    }
}

impl Default for Config {
    fn default() -> Config {
        Config::new()
    }
}

#[cfg(test)]
mod tests;

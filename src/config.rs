//! Settings by name: one table of keys, from which parsing, ranges and `docs/configuration.md` all follow.
//!
//! A [`Config`] may carry keys for clients, caches and queues; each reads its own and ignores the others.

use std::fs;
use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::Error;
use crate::escape::Escaped;
use crate::events::Capacity;
use crate::net::{Tls, TlsFiles};
use crate::random;
use crate::session::{Auth, Backoff, Hosts, Sasl, Secret, Settings};
use crate::sync::{Modes, Options, Pace, SyncMode, WatchMode};

/// Settings of clients, caches and queues. A new one has every key at its default.
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
    capacity: Capacity,
    queue_faults: bool,
}

/// What was said of SASL so far.
#[derive(Debug, Clone, Default)]
struct SaslKeys {
    mechanism: Option<Mechanism>,
    username: Option<String>,
    password: Option<Secret>,
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

/// How to authenticate with SASL.
#[derive(Debug, Clone, Copy)]
enum Mechanism {
    DigestMd5,
}

/// Who reads a key.
#[derive(Clone, Copy)]
enum Scope {
    Client,
    Cache,
    Queue,
    CacheAndQueue,
}

/// What values a key takes, and where they go.
enum Value {
    Milliseconds(RangeInclusive<u64>, fn(&mut Config, Duration)),
    Count(RangeInclusive<u64>, fn(&mut Config, usize)),
    Flag(fn(&mut Config, bool)),
    File(fn(&mut Config, PathBuf)),
    Mechanism(fn(&mut Config, Mechanism)),
    SyncMode(fn(&mut Config, SyncMode)),
    WatchMode(fn(&mut Config, WatchMode)),
    Text(fn(&mut Config, String)),
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
        value: Value::Mechanism(|config, mechanism| config.sasl.mechanism = Some(mechanism)),
        purpose: "authenticate with SASL, in this way, before all else; needs `sasl.username` and `sasl.password`",
    },
    Key {
        name: "sasl.username",
        default: None,
        scope: Scope::Client,
        value: Value::Text(|config, username| config.sasl.username = Some(username)),
        purpose: "who the session is, for SASL",
    },
    Key {
        name: "sasl.password",
        default: None,
        scope: Scope::Client,
        value: Value::Secret(|config, password| config.sasl.password = Some(password)),
        purpose: "the password to `sasl.username`",
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
        purpose: "most bytes of data; a tree beyond it stops the cache with a fault, `TC_ERR_LIMIT`; 0 for no limit",
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
        value: Value::SyncMode(|config, mode| config.modes.sync = mode),
        purpose: "how `tc_sync` has the server catch up: `barrier` with a transaction that changes nothing, which holds \
                  on every server; `sync` with ZooKeeper's `sync`, which costs no transaction, and on a leader does \
                  not promise what it has not applied yet",
    },
    Key {
        name: "watch",
        default: Some("auto"),
        scope: Scope::Client,
        value: Value::WatchMode(|config, mode| config.modes.watch = mode),
        purpose: "how changes are heard of: `recursive` by one watch for a whole tree, which takes ZooKeeper 3.6; `one-shot` by \
                  watches of each node, which tell of one change each, and older servers have; `auto` the former, and the \
                  latter on a server that refuses it",
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
            Value::Mechanism(set) => match value {
                "DIGEST-MD5" => set(config, Mechanism::DigestMd5),
                _ => return Err(format!("expected {}", self.takes())),
            },
            Value::SyncMode(set) => match value {
                "barrier" => set(config, SyncMode::Barrier),
                "sync" => set(config, SyncMode::Sync),
                _ => return Err(format!("expected {}", self.takes())),
            },
            Value::WatchMode(set) => match value {
                "auto" => set(config, WatchMode::Auto),
                "recursive" => set(config, WatchMode::Recursive),
                "one-shot" => set(config, WatchMode::OneShot),
                _ => return Err(format!("expected {}", self.takes())),
            },
            Value::File(_) | Value::Text(_) | Value::Secret(_) if value.is_empty() => {
                return Err(format!("expected {}", self.takes()));
            }
            Value::File(set) => set(config, value.into()),
            Value::Text(set) => set(config, value.to_owned()),
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
            Value::Mechanism(_) => "DIGEST-MD5".to_owned(),
            Value::SyncMode(_) => "barrier or sync".to_owned(),
            Value::WatchMode(_) => "auto, recursive or one-shot".to_owned(),
            Value::Text(_) | Value::Secret(_) => "text".to_owned(),
            Value::Credential(_) => "scheme:credential".to_owned(),
        }
    }

    fn is_secret(&self) -> bool {
        matches!(self, Value::Credential(_) | Value::Secret(_))
    }
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
                limit_nodes: 0,
                limit_bytes: 0,
                limit_path: 0,
                audit_interval: Duration::ZERO,
                pace: Pace::default(),
            },
            capacity: Capacity { events: 0, bytes: 0 },
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
        let SaslKeys { mechanism, username, password } = self.sasl.clone();
        match (mechanism, username, password) {
            (Some(Mechanism::DigestMd5), Some(username), Some(password)) => {
                Ok(Some(Sasl { username, password, nonce: random::nonce }))
            }
            (None, None, None) => Ok(None),
            (mechanism, username, _) => {
                let missing = match (mechanism, username) {
                    (None, _) => "sasl.mechanism",
                    (_, None) => "sasl.username",
                    _ => "sasl.password",
                };
                let message = "\"sasl.mechanism\", \"sasl.username\" and \"sasl.password\" need each other";
                Err(Error::setting(missing, message))
            }
        }
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
        self.options.clone()
    }

    pub(crate) fn capacity(&self) -> Capacity {
        self.capacity
    }

    pub(crate) fn queue_faults(&self) -> bool {
        self.queue_faults
    }
}

impl Default for Config {
    fn default() -> Config {
        Config::new()
    }
}

#[cfg(test)]
mod tests;

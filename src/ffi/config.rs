//! Settings by name.

use std::ffi::c_char;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::boundary::{Boxed, Handle, Out, guard, text, with};
use super::error::{self, tc_error};
use crate::config::Config;
use crate::error::{Error, Fault};
use crate::escape::Escaped;
use crate::health::Health;

/// Settings for clients, caches, listeners and queues. Copied by what is made with it, so it may be changed and freed at once.
pub struct tc_config {
    state: Mutex<State>,
    health: Health,
}

/// Any thread may use a configuration at any time.
struct State {
    config: Config,
    /// Why the last call with it failed, if it did.
    error: Option<Error>,
}

impl tc_config {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// SAFETY: the owner is the type itself.
unsafe impl Boxed for tc_config {
    type Owner = tc_config;
}

impl Handle for tc_config {
    const NAME: &'static str = "config";

    fn check(&self) -> Result<(), Error> {
        self.health.check()
    }

    fn fail(&self, _: Fault) {
        self.health.ruin();
    }
}

/// Runs a body with a copy of a configuration argument, which remembers why that failed. NULL has no memory.
///
/// # Safety
/// `config` is NULL, or valid until this returns.
pub(super) unsafe fn using(
    config: *const tc_config,
    body: impl FnOnce(&Config) -> Result<(), Error>,
) -> Result<(), Error> {
    // SAFETY: the caller's promise.
    let result = body(&unsafe { copy(config) }?);
    // SAFETY: the caller's promise.
    if let Some(config) = unsafe { config.as_ref() } {
        config.lock().error = result.clone().err();
    }
    result
}

/// A copy of a configuration argument. NULL has every key at its default.
///
/// # Safety
/// `config` is NULL, or valid until this returns.
pub(super) unsafe fn copy(config: *const tc_config) -> Result<Config, Error> {
    // SAFETY: the caller's promise.
    let Some(config) = (unsafe { config.as_ref() }) else { return Ok(Config::new()) };
    config.check()?;
    Ok(config.lock().config.clone())
}

/// Makes a configuration with every key at its default. Free it with `tc_config_free`.
///
/// NULL only on a defect in the library. Any thread; never blocks; callbacks may call it. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn tc_config_new() -> *mut tc_config {
    let mut made = std::ptr::null_mut();
    guard("tc_config_new", || {
        let state = Mutex::new(State { config: Config::new(), error: None });
        made = tc_config::into_raw(tc_config { state, health: Health::new() });
        Ok(())
    });
    made
}

/// Sets one key of a configuration. `key` and `value` are copied.
///
/// One configuration may carry keys for clients, caches, listeners and queues; each reads its own. The keys:
///
/// - `session.timeout.ms` (client, default 10000): session timeout to ask for; the server may grant another
/// - `resolve.timeout.ms` (client, default 15000): time for one look-up of a server's name; where its addresses are known from an earlier one, no longer than connect.timeout.ms, and then these are used
/// - `connect.timeout.ms` (client, default 3000): time for one connection attempt to one server, from where there is an address; grows, while attempts fail by it, up to two thirds of session.timeout.ms
/// - `auth` (client, none): who the session is, e.g. digest:user:password; set again to add another
/// - `sasl.mechanism` (client, none): authenticate with SASL, in this way, before all else; DIGEST-MD5 needs sasl.username and sasl.password, GSSAPI is Kerberos
/// - `sasl.username` (client, none): who the session is, for DIGEST-MD5
/// - `sasl.password` (client, none): the password to sasl.username
/// - `sasl.principal` (client, none): who the session is, for GSSAPI, as in app/host@REALM; without, the first principal in sasl.keytab, or the one of the ticket cache
/// - `sasl.keytab` (client, none): the keys of that principal, for GSSAPI; without, its tickets are those of the ticket cache (KRB5CCNAME)
/// - `sasl.service` (client, default zookeeper): the first part of the servers' principals, for GSSAPI
/// - `sasl.host` (client, none): the second part of the servers' principals, for GSSAPI; without, the name that a server has in hosts
/// - `tls` (client, default false): connect with TLS; needs tls.ca.file
/// - `tls.ca.file` (client, none): certificates of the CAs that a server's certificate may be from; and servers' own, self-signed ones
/// - `tls.cert.file` (client, none): the client's own certificate, for mutual TLS, and what leads from it to its CA
/// - `tls.key.file` (client, none): the private key to tls.cert.file (PKCS#8, PKCS#1 or SEC1, without a password)
/// - `tls.verify.hostname` (client, default true): whether a server's certificate must be for the host name or address in hosts; that it is from one of the CAs is verified in any case
/// - `root.create` (cache, default true): create the root and its parents on start when they are missing
/// - `follow` (cache, default true): go on following the tree; if false, it is loaded once, no watch is left behind, the state is TC_STATE_HELD, and tc_sync brings it up to date
/// - `single` (cache, default false): keep the root alone, whatever depth.max and select say, and have the server tell of the root alone: what happens below it is not even notified
/// - `depth.max` (cache, none): deepest nodes that are kept: 0 keeps the root alone, 1 its children too; without, all are
/// - `select.exclude` (cache, none): pattern of nodes to leave out, with all below them, e.g. tmp*; set again to add another
/// - `select.leaf` (cache, none): pattern of nodes to keep without what is below them; set again to add another
/// - `select.include` (cache, none): pattern of nodes to keep, with what is above them; where this is set, all others are left out; set again to add another
/// - `root.container` (cache, default false): whether parents that are created with the root are containers, which the server removes when they have become empty; needs ZooKeeper 3.5.1
/// - `data` (cache, default all): what is kept of the nodes' data: all, or none, for names and Stats only
/// - `data.compressed` (cache, default none): with gzip, data is kept and told uncompressed; what is no gzip is kept as it came, with a fault
/// - `limit.node.bytes` (cache, default 16777216): most bytes of a node's data once it is uncompressed (data.compressed); of a node beyond it, the data is kept as it came, with a fault, TC_ERR_LIMIT, and the cache goes on
/// - `verify` (cache, default auto): how the tree is verified after a lost connection, if something may have changed: report has a second, short session ask a server which nodes have changed, and reads these; read reads all; auto: report for trees of 2,000 nodes or more, if these are ephemeral or have some 300 bytes or more on average, else read
/// - `close.keep` (cache, default false): whether reads go on from the last version after tc_close, until tc_free
/// - `share.file` (cache, none): file in which the tree is kept for other processes (tc_attach), and with which the cache begins when it is started again; on a local file system, best in memory (/dev/shm); only on Linux
/// - `share.max.age.ms` (cache, default 0): a tree in share.file whose last word from a server is longer ago is not begun with; 0 for no limit
/// - `limit.nodes` (cache, default 0): most nodes; a tree beyond it stops the cache with a fault, TC_ERR_LIMIT; 0 for no limit
/// - `limit.bytes` (cache, default 0): most bytes of data, as it is kept; a tree beyond it stops the cache with a fault, TC_ERR_LIMIT; 0 for no limit
/// - `limit.path.bytes` (cache, default 4096): longest path of a node, and so longest name; a tree with a longer one stops the cache with a fault, TC_ERR_LIMIT
/// - `limit.frame.bytes` (client, default 134217728): longest reply of a server; a longer one ends the connection with a fault, TC_ERR_PROTOCOL
/// - `sync.mode` (client, default barrier): how tc_sync has the server catch up: barrier with a transaction that changes nothing, which holds on every server; sync with ZooKeeper's sync, which costs no transaction, and on a leader does not promise what it has not applied yet
/// - `watch` (client, default auto): how changes are heard of: recursive by one watch for a whole tree, which takes ZooKeeper 3.6; one-shot by watches of each node, which tell of one change each, and older servers have; auto the former, and the latter on a server that refuses it, and on ClickHouse Keeper
/// - `events.capacity` (cache, queue, default 100000): events a listener of the cache, or the queue, may lag (4096 versions at most) before it continues by difference
/// - `events.bytes` (cache, queue, default 67108864): bytes that the versions may hold, beside what the newest one holds, which wait for a listener of the cache, or in the queue, before it continues by difference
/// - `listen.under` (listener, queue, none): tell what happens at this node and below it only; an absolute path, at or below the cache's root; set again to add another
/// - `listen.depth` (listener, queue, none): tell so many levels below each listen.under, or below the cache's root where there is none; 0 is that node alone
/// - `listen.events` (listener, queue, default all): tell these kinds of events only
/// - `listen.initial` (listener, queue, default true): tell the tree so far first, and INITIALIZED if the cache is initialized; without, only what follows
/// - `listen.after.initialized` (listener, queue, default false): tell nothing before INITIALIZED, and of the tree only what has changed since
/// - `queue.faults` (queue, default false): whether the queue has faults in it too; without, every item is an event
/// - `audit.interval.ms` (cache, default 600000): one pass of the background audit over the tree takes about this long; it finds what ZooKeeper does not notify of; 0 for no audit
///
/// Ranges and more are in docs/configuration.md. Any thread; never blocks; callbacks may call it.
///
/// Errors: TC_ERR_INVALID_ARGUMENT for NULL, an unknown key or a value that it does not take: nothing is changed, and
/// a log line says which (never a credential), and `tc_config_get_error`. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_config_set(
    config: *mut tc_config,
    key: *const c_char,
    value: *const c_char,
) -> i32 {
    // SAFETY: the caller passes a configuration that is not freed meanwhile, and C strings.
    unsafe {
        with("tc_config_set", config, |config| {
            let mut state = config.lock();
            let result = text("key", key).and_then(|key| {
                // A value that is not UTF-8 may be a credential: it is not shown.
                let value = text("value", value).map_err(|error| match value.is_null() {
                    true => error,
                    false => Error::setting(key, format!("the value for {:?} is not UTF-8", Escaped(key))),
                })?;
                state.config.set(key, value)
            });
            state.error = result.clone().err();
            result
        })
    }
}

/// Tells why the last call that was made with a configuration failed: `tc_config_set`, `tc_client_new`, `tc_new`,
/// `tc_attach`, `tc_listen_with` or `tc_queue_open`. Those that take an `error` of their own tell it there, and leave nothing here.
///
/// `out`: receives the error; free it with `tc_error_free`. It receives NULL when that call succeeded, and when there was
/// none; what was refused for the sake of the client or cache that it was to be made of is not remembered. Any thread, but where several use one configuration at once, the last call may be another's; never blocks;
/// callbacks may call it.
///
/// Errors: TC_ERR_INVALID_ARGUMENT for NULL. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_config_get_error(config: *const tc_config, out: *mut *const tc_error) -> i32 {
    // SAFETY: the caller passes a configuration that is not freed meanwhile, and a place for the result.
    unsafe {
        with("tc_config_get_error", config, |config| {
            let out = Out::new("out", out)?;
            out.write(config.lock().error.as_ref().map_or(std::ptr::null(), error::into_raw));
            Ok(())
        })
    }
}

/// Frees a configuration; NULL does nothing. Not while another thread uses it. Never blocks; callbacks may call it.
/// Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_config_free(config: *mut tc_config) {
    // SAFETY: the caller passes NULL or a configuration that it does not use any more.
    unsafe { tc_config::free("tc_config_free", config) }
}

//! Clients.

use std::ffi::{c_char, c_void};

use super::boundary::{Boxed, Handle, Out, User, guard, guarded, tc_user_free_fn, text, with};
use super::config::{self, tc_config};
use super::error::{self, tc_error};
use super::fault::{self, tc_fault_fn};
use crate::client::Client;
use crate::config::Config;
use crate::error::{Error, Fault};
use crate::events::ListenerId;

/// One session with a ZooKeeper ensemble, shared by any number of caches.
pub struct tc_client {
    pub(super) client: Client,
}

// SAFETY: the owner is the type itself.
unsafe impl Boxed for tc_client {
    type Owner = tc_client;
}

impl Handle for tc_client {
    const NAME: &'static str = "client";

    fn check(&self) -> Result<(), Error> {
        self.client.health().check()
    }

    fn fail(&self, fault: Fault) {
        self.client.fail(fault);
    }
}

/// Starts a session with a ZooKeeper ensemble. It connects by itself, and makes a new session when one is lost.
///
/// `hosts`: "host:port,host:port/chroot", copied; the port is 2181 where none is given, IPv6 addresses are in brackets
/// ("[fe80::1%eth0]:2181"), the chroot stands once, behind the last server, and all paths are relative to the chroot when there is one. `config`: NULL for the defaults; stays the caller's, and
/// is not used after the call. `out`: receives the client; free it with `tc_client_free`.
///
/// Returns at once, when it has read the files that `tls.*` names, and loaded the system's library for Kerberos if
/// `sasl.mechanism` is GSSAPI, and connects in the background. Any thread; callbacks may call it.
///
/// Errors: TC_ERR_INVALID_ARGUMENT for NULL, malformed `hosts`, keys of `config` that lack others which they need,
/// files that cannot be used, and a library that is not there, with the reason in the log; TC_ERR_CONNECTION when the system has no thread or
/// file descriptor left, with the reason in the log. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_client_new(
    hosts: *const c_char,
    config: *const tc_config,
    out: *mut *mut tc_client,
) -> i32 {
    // SAFETY: the caller passes a C string, NULL or a configuration, and a place for the result.
    guard("tc_client_new", || unsafe { config::using(config, |config| make(hosts, config, out)) })
}

/// `tc_client_new` that tells why it failed.
///
/// `error`: NULL, or receives the error, to be freed with `tc_error_free`; NULL when there is none. It is told with
/// every failure, and `tc_config_get_error` does not tell it. All else, `out` included, as `tc_client_new`.
///
/// Errors: as `tc_client_new`. Since 0.2.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_client_new_or_error(
    hosts: *const c_char,
    config: *const tc_config,
    out: *mut *mut tc_client,
    error: *mut *const tc_error,
) -> i32 {
    // SAFETY: the caller passes a C string, NULL or a configuration, a place for the result, and NULL or one for the
    // error.
    unsafe {
        let made = guarded("tc_client_new_or_error", || make(hosts, &config::copy(config)?, out));
        error::answer(made, error)
    }
}

/// # Safety
/// `hosts` and `out` are as `text` and `Out` take them.
unsafe fn make(hosts: *const c_char, config: &Config, out: *mut *mut tc_client) -> Result<(), Error> {
    // SAFETY: the caller's promise.
    let (hosts, out) = unsafe { (text("hosts", hosts)?, Out::new("out", out)?) };
    let client = Client::new(hosts, config)?;
    out.write(tc_client::into_raw(tc_client { client }));
    Ok(())
}

/// Adds a function that is told the faults of the session, until the client is freed.
///
/// `fn`, `user`, `user_free`: the callback; `user_free` may be NULL. `listener`: receives its id for
/// `tc_client_unlisten`. Faults that nobody listens to are logged. Any thread; never blocks; callbacks may call it.
///
/// Errors: TC_ERR_INVALID_ARGUMENT for NULL. Then, as always, `user_free` is called. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_client_listen_fault(
    client: *mut tc_client,
    r#fn: tc_fault_fn,
    user: *mut c_void,
    user_free: tc_user_free_fn,
    listener: *mut u64,
) -> i32 {
    let user = User::new(user, user_free);
    // SAFETY: the caller passes a client that is not freed meanwhile, and a place for the result.
    unsafe {
        with("tc_client_listen_fault", client, |client| {
            let out = Out::new("listener", listener)?;
            out.write(client.client.listen_fault(fault::listener(r#fn, user)?)?.0);
            Ok(())
        })
    }
}

/// Removes a fault listener of the client. None of its calls starts after this has returned; one may be running, and its
/// `user` is freed when it has returned.
///
/// Never waits. Any thread; callbacks may call it, also on themselves.
///
/// Errors: TC_ERR_INVALID_ARGUMENT for NULL or an id that is none; where it is refused (TC_ERR_PANIC, TC_ERR_STATE), the
/// listener goes when the client is freed. Since 0.2.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_client_unlisten(client: *mut tc_client, listener: u64) -> i32 {
    // SAFETY: the caller passes a client that is not freed meanwhile.
    unsafe { with("tc_client_unlisten", client, |client| client.client.unlisten(ListenerId(listener))) }
}

/// Ends the session and frees the client; NULL does nothing. Caches made from it stay valid to read, and see
/// CONNECTION_LOST; each is still to be freed.
///
/// Waits at most half a second for the server's word, and for a running fault callback of this client; not for the
/// latter when called from a callback. When the last of a client and its caches is freed, its threads have ended on
/// return, also unless called from a callback. Not while another thread uses the client; callbacks may call it. In the
/// child of a fork the server is told nothing, and the session goes on in the parent. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_client_free(client: *mut tc_client) {
    // SAFETY: the caller passes NULL or a client that it does not use any more.
    unsafe { tc_client::free("tc_client_free", client) }
}

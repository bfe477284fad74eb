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
/// `tc_listen_with` or `tc_queue_open`. Those that take an `error` of their own tell it there, and leave nothing here.
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

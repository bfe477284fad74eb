//! How a cache stands.

use crate::state::State;

/// How a cache stands to the server: a TC_STATE_ number.
pub type tc_state = i32;

/// Not started.
pub const TC_STATE_LATENT: tc_state = 0;
/// The first load is under way, or waits for the connection.
pub const TC_STATE_LOADING: tc_state = 1;
/// Nothing is known to be outstanding, as of the last contact.
pub const TC_STATE_IN_STEP: tc_state = 2;
/// Connected, verifying or following.
pub const TC_STATE_CATCHING_UP: tc_state = 3;
/// Disconnected; the session may still live.
pub const TC_STATE_SUSPENDED: tc_state = 4;
/// The session is lost; a new one is being made, unless the client was freed.
pub const TC_STATE_LOST: tc_state = 5;
/// Closed, or stopped by a limit.
pub const TC_STATE_CLOSED: tc_state = 6;
/// Begun with a known tree (tc_start_from, share.file), and no server has been heard yet: what is read was kept by an earlier cache.
pub const TC_STATE_WARM: tc_state = 7;
/// Loaded once, and not followed (follow=false): the tree of a moment that has passed, whatever the connection is. The age
/// counts from that moment. tc_sync brings it up to date.
pub const TC_STATE_HELD: tc_state = 8;

const _: () = {
    assert!(TC_STATE_LATENT == State::Latent as i32);
    assert!(TC_STATE_LOADING == State::Loading as i32);
    assert!(TC_STATE_IN_STEP == State::InStep as i32);
    assert!(TC_STATE_CATCHING_UP == State::CatchingUp as i32);
    assert!(TC_STATE_SUSPENDED == State::Suspended as i32);
    assert!(TC_STATE_LOST == State::Lost as i32);
    assert!(TC_STATE_CLOSED == State::Closed as i32);
    assert!(TC_STATE_WARM == State::Warm as i32);
    assert!(TC_STATE_HELD == State::Held as i32);
};

//! ZooKeeper's records on the wire: jute encoding and decoding of the operations that a cache needs.
//!
//! Knows bytes, records, error codes and frame limits; knows nothing of sessions or trees. Every length that comes
//! off the wire is compared with the bytes that are really there before it is believed.

mod codec;
mod error;
mod frame;
mod opcode;
mod records;
mod request;

pub use error::{Malformed, ServerError};
pub use frame::{FrameDecoder, FrameTooLong, MAX_CONNECT_RESPONSE, MAX_SASL_REPLY};
pub use records::{
    ConnectRequest, ConnectResponse, MultiReadResults, Notification, NotificationKind, ReadResult,
    ReplyHeader, barrier_check, children_with_stat, data_reply, sasl_reply, stat_reply,
};
pub use request::{Read, Request, close_session, connect, ping, sasl, set_auth};

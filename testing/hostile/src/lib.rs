//! What servers might say if they were out to harm, made of arbitrary bytes, for each layer that believes none of it.
//!
//! Each entry point takes any bytes, plays them as a scene to one part of the library, and panics when that part
//! breaks one of the rules that hold whatever a server says. It returns how many bytes of a server the part was
//! given, so that the caller can hold the memory that was used against it.
//!
//! | entry point | who is fed | with what |
//! |---|---|---|
//! | [`wire`] | `wire`'s decoders | the bytes |
//! | [`session`] | a `Session` | frames, whole and broken; time; a connection that comes and goes |
//! | [`synchroniser`] | a `sync::Group` with several caches | well-formed replies and notifications that lie |
//! | [`tree`] | a `Tree`, which has to be what a map is | edits, with names, Stats and data of any kind |
//! | [`engine`] | an `Engine`: both, joined | lies in frames, and broken frames |
//! | [`share`] | readers of a shared file | files that were changed after they were written |
//!
//! `fuzz/` lets libFuzzer choose the bytes, guided by coverage; `tests/bounded.rs` here takes those that are worth
//! keeping, mutations of them and random ones, for a few seconds.

mod engine;
mod input;
mod liar;
mod rules;
mod session;
mod share;
mod synchroniser;
mod tree;
mod wire;

pub use engine::engine;
pub use session::session;
pub use share::share;
pub use synchroniser::synchroniser;
pub use tree::tree;
pub use wire::wire;

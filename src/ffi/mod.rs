//! The C API, declared in `include/treecache.h`: one file per noun. Knows the Rust API and the types that it hands
//! out, and adds nothing but the boundary: pointers are checked, panics end here, ownership is that of a trait.
//!
//! `tests/header` generates the header and `docs/reference.md` from these files, in the order of its table of nouns.
#![allow(non_camel_case_types, reason = "the names are those of the C API")]
#![expect(unsafe_code, reason = "pointers come from C, and go there")]
#![allow(
    clippy::missing_safety_doc,
    reason = "the header's opening states what callers promise, once for all"
)]

mod boundary;
#[cfg(feature = "planted")]
mod misuse;

pub mod cache;
pub mod children;
pub mod client;
pub mod config;
pub mod error;
pub mod event;
pub mod fault;
pub mod item;
pub mod log;
pub mod node;
pub mod queue;
pub mod snapshot;
pub mod state;
pub mod stats;
pub mod status;
pub mod walk;

#[cfg(test)]
mod tests;

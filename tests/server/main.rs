//! The library against real servers: what becomes of a cache, whatever they do. A module asks about one subject; the tests
//! share a server where nothing else is said, and each has a root of its own there. They run side by side: what counts
//! threads, memory or time of the whole process, or takes its log, does so in a process of its own.

#[path = "../common/mod.rs"]
mod common;
mod subject;

mod conformance;
mod connection;
mod data;
mod ensemble;
mod exactness;
mod following;
mod history;
mod limits;
mod listeners;
mod lives;
mod money;
mod narrowing;
mod one_shot;
mod overload;
mod paused;
mod permissions;
mod queues;
mod reads;
mod refusal;
mod report;
mod root;
mod sasl;
mod servers;
mod session;
mod shared_file;
mod sharing;
mod start_from;
mod stats;
mod sync;
mod tls;
mod verification;

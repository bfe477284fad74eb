//! The program against real servers. A module asks about one subject; the tests share a server where nothing else is said, and
//! each has a root of its own there.

mod common;

mod agent;
mod export;
mod files;
mod looking;
mod metrics;
mod serve;

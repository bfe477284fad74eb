//! The commands that look into a tree, a module for each.

pub mod diff;
pub mod doctor;
pub mod export;
pub mod get;
pub mod ls;
pub mod metrics;
pub mod pages;
pub mod serve;
pub mod top;
pub mod tree;
pub mod wait;
pub mod watch;

//! The commands that look into a tree, a module for each.

pub mod export;
pub mod pages;

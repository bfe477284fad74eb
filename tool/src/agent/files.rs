//! A tree as plain files, for programs that cannot attach: `FOLDER/current` is a symbolic link to the folder of one version,
//! which never changes, and is replaced whole.
//!
//! - `names`: what a node's file is called.
//! - `version`: one version, from its cut to its folder.
//! - `writer`: the thread that writes what follows, and takes away what is old.

mod names;
mod version;
mod writer;

pub use version::Folder;
pub use writer::Files;

//! The C program of `benches/c`, each measurement in a process of its own.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use treecache_test_support::Server;

use crate::tree;

pub struct Program {
    file: PathBuf,
    hosts: String,
}

impl Program {
    pub fn new(file: &Path, server: &Server) -> Program {
        Program { file: file.to_owned(), hosts: server.hosts() }
    }

    /// Runs the command, given as its name and what comes after the path, on the tree.
    pub fn run(&self, command: &[&str]) -> Figures {
        let output = Command::new(&self.file)
            .args([command[0], &self.hosts, tree::ROOT])
            .args(&command[1..])
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}", self.file.display()));
        let (text, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{command:?} failed: {errors}");
        let figures = text.lines().filter_map(|line| {
            let (name, value) = line.split_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Figures(figures.collect())
    }
}

/// What the program printed.
pub struct Figures(HashMap<String, f64>);

impl Figures {
    pub fn get(&self, name: &str) -> f64 {
        *self.0.get(name).unwrap_or_else(|| panic!("the C program did not print {name}: {:?}", self.0))
    }
}

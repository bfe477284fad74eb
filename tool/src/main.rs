//! `treecache`: keeps ZooKeeper trees shared on a machine (`treecache agent`), and looks into them.
//!
//! It stands on the library's Rust API and on nothing else of it. Its modules, and what each of them knows, are in
//! `docs/architecture.md`.

#![deny(unsafe_code)]

mod agent;
mod arguments;
mod commands;
mod failure;
mod http;
mod interrupt;
mod journal;
mod metrics;
mod output;
mod progress;
mod settings;
mod source;
mod terminal;
mod text;
mod toml_file;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};
use failure::Failure;

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Agent(arguments) => agent::run(&arguments),
        Command::Export(arguments) => commands::export::run(&arguments),
        Command::Get(arguments) => commands::get::run(&arguments),
        Command::Ls(arguments) => commands::ls::run(&arguments),
        Command::Top(arguments) => commands::top::run(&arguments),
        Command::Tree(arguments) => commands::tree::run(&arguments),
        Command::Watch(arguments) => commands::watch::run(&arguments),
        Command::Wait(arguments) => commands::wait::run(&arguments),
        Command::Diff(arguments) => commands::diff::run(&arguments),
        Command::Doctor(arguments) => commands::doctor::run(&arguments),
        Command::Metrics(arguments) => commands::metrics::run(&arguments),
        Command::Serve(arguments) => commands::serve::run(&arguments),
        Command::Completions(arguments) => commands::pages::completions(&arguments),
        Command::Man(arguments) => commands::pages::man(&arguments),
    };
    // What has ended with the session has not ended by itself.
    interrupt::let_end();
    match outcome {
        Ok(code) => code,
        // Whoever has closed stdout has seen enough.
        Err(Failure::Unheard) => ExitCode::SUCCESS,
        Err(failure) => {
            _ = writeln!(std::io::stderr(), "treecache: {failure}");
            failure.code()
        }
    }
}

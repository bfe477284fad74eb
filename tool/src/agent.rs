//! `treecache agent`: keeps trees shared, for programs that attach to their files and for those that read plain files.
//!
//! Each module knows those above it here, and none below:
//!
//! - `notify`: what the service manager is told.
//! - `plan`: what the file of settings asks for.
//! - `privileges`: who the process is.
//! - `files`: a tree as plain files.
//! - `tree`: a tree that is kept.
//! - `health`: how all trees are, for whoever asks.
//! - `keeper`: all that is kept, and how other settings take its place.

mod files;
mod health;
mod keeper;
mod notify;
mod plan;
mod privileges;
mod tree;

use std::process::ExitCode;

use log::{error, info};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::arguments::AgentArguments;
use crate::failure::Failure;
use crate::journal;
use crate::toml_file::Invalid;
use keeper::Keeper;
use plan::Plan;

pub fn run(arguments: &AgentArguments) -> Result<ExitCode, Failure> {
    let file = &arguments.config;
    let usage = |invalid: Invalid| Failure::Usage(invalid.to_string());
    let plan = Plan::read(file).map_err(usage)?;
    if arguments.check {
        return Ok(ExitCode::SUCCESS);
    }
    journal::start(log::LevelFilter::Info);
    // Before anything is begun, so that no signal is missed.
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])
        .map_err(|error| Failure::Other(format!("no signals: {error}")))?;
    // What may need the rights of whoever has started it comes first.
    let listener = keeper::bind_health(&plan).map_err(usage)?;
    privileges::drop_to(&plan).map_err(usage)?;
    let mut keeper = Keeper::start(plan, listener).map_err(usage)?;
    notify::ready();
    match keeper.trees() {
        1 => info!("it keeps a tree, as {} asks", file.display()),
        trees => info!("it keeps {trees} trees, as {} asks", file.display()),
    }
    for signal in signals.forever() {
        if signal != SIGHUP {
            break;
        }
        notify::reloading();
        match Plan::read(file).and_then(|plan| keeper.change_to(plan)) {
            Ok(changed) => info!("{}: read again; {changed}", file.display()),
            Err(invalid) => error!("{invalid}; all goes on as before"),
        }
        notify::ready();
    }
    notify::stopping();
    info!("ending; what is shared stays");
    drop(keeper);
    Ok(ExitCode::SUCCESS)
}

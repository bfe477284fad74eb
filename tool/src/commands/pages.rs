//! `treecache completions` and `treecache man`: what goes with the program into a package.

use std::io::Write;
use std::process::ExitCode;

use clap::CommandFactory;

use crate::arguments::{Arguments, CompletionsArguments, ManArguments};
use crate::failure::Failure;
use crate::output;

pub fn completions(arguments: &CompletionsArguments) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "treecache", &mut script);
    if let Some(file) = &arguments.output {
        std::fs::write(file, script).map_err(|error| Failure::file(file, &error))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = output::stdout();
    out.write_all(&script)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

pub fn man(arguments: &ManArguments) -> Result<ExitCode, Failure> {
    let folder = &arguments.folder;
    std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Arguments::command(), folder))
        .map_err(|error| Failure::file(folder, &error))?;
    Ok(ExitCode::SUCCESS)
}

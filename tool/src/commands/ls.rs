//! `treecache ls`: the children of a node.

use std::io::Write;
use std::process::ExitCode;

use crate::arguments::LsArguments;
use crate::failure::Failure;
use crate::output::{self, write_text};
use crate::source::Source;

pub fn run(arguments: &LsArguments) -> Result<ExitCode, Failure> {
    let mut source = Source::open(&arguments.place, &[("depth.max", "1"), ("data", "none")])?;
    let cut = source.cut()?;
    let children = cut.get_children(&source.path)?;
    let mut out = output::stdout();
    if arguments.json {
        write!(out, "[")?;
        for (n, name) in children.names().enumerate() {
            write!(out, "{}", if n > 0 { "," } else { "" })?;
            write_text(&mut out, name)?;
        }
        writeln!(out, "]")?;
    } else {
        for (name, node) in children.names().zip(children.nodes()) {
            if arguments.long {
                match node.map(|node| *node.stat()) {
                    Some(stat) => write!(
                        out,
                        "{:>8} {:>8} {:>6} {} ",
                        stat.data_length,
                        stat.num_children,
                        stat.version,
                        if stat.ephemeral_owner == 0 { '-' } else { 'e' }
                    )?,
                    None => write!(out, "{:>8} {:>8} {:>6} ? ", "?", "?", "?")?,
                }
            }
            writeln!(out, "{}", output::name(name))?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

//! `treecache export`: one cut as one JSON object. Node by node: nothing but the cut itself is in memory.

use std::io::{self, Write};
use std::process::ExitCode;

use treecache::Snapshot;

use crate::arguments::ExportArguments;
use crate::failure::Failure;
use crate::output::{self, write_base64, write_stat, write_text};
use crate::source::Source;

pub fn run(arguments: &ExportArguments) -> Result<ExitCode, Failure> {
    let mut source = Source::open(&arguments.place, &[])?;
    let cut = source.cut()?;
    // A tree that has no root is nothing to be taken for an empty one.
    cut.get_data(&source.path)?;
    let mut out = output::stdout();
    write(&cut, &source.path, &mut out)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn write(cut: &Snapshot, path: &str, out: &mut impl Write) -> Result<(), Failure> {
    write!(out, "{{\"zxid\":{},\"cut\":{},\"nodes\":{{", cut.zxid().0, cut.is_cut())?;
    let mut cursor = cut.cursor(path)?;
    let (mut scratch, mut unreadable, mut separator) = (String::new(), Vec::new(), "\n");
    while let Some((path, node)) = cursor.next() {
        let Some(node) = node else {
            unreadable.push(path.to_owned());
            continue;
        };
        write!(out, "{separator}")?;
        separator = ",\n";
        write_text(out, path)?;
        write!(out, ":{{\"data\":")?;
        match node.is_data_kept() {
            true => write_base64(out, node.data(), &mut scratch)?,
            false => write!(out, "null")?,
        }
        write!(out, ",\"stat\":")?;
        write_stat(out, node.stat())?;
        write!(out, "}}")?;
    }
    write!(out, "\n}}")?;
    write_unreadable(out, &unreadable)?;
    writeln!(out, "}}")?;
    Ok(())
}

fn write_unreadable(out: &mut impl Write, paths: &[String]) -> io::Result<()> {
    if !paths.is_empty() {
        write!(out, ",\"unreadable\":")?;
        serde_json::to_writer(out, paths)?;
    }
    Ok(())
}

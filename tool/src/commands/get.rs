//! `treecache get`: one node.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use crate::arguments::GetArguments;
use crate::failure::Failure;
use crate::output::{self, write_base64, write_stat, write_text};
use crate::source::Source;
use crate::text;

pub fn run(arguments: &GetArguments) -> Result<ExitCode, Failure> {
    let mut source = Source::open(&arguments.place, &[("single", "true")])?;
    let cut = source.cut()?;
    let node = cut.get_data(&source.path)?;
    let mut out = output::stdout();
    if arguments.json {
        write!(out, "{{\"path\":")?;
        write_text(&mut out, &source.path)?;
        write!(out, ",\"zxid\":{},\"data\":", cut.zxid().0)?;
        write_base64(&mut out, node.data(), &mut String::new())?;
        write!(out, ",\"stat\":")?;
        write_stat(&mut out, node.stat())?;
        writeln!(out, "}}")?;
    } else if arguments.stat {
        write_fields(&mut out, node.stat())?;
    } else if io::stdout().is_terminal() {
        for line in node.data().split(|byte| *byte == b'\n') {
            writeln!(out, "{}", text::one_line(line))?;
        }
    } else {
        out.write_all(node.data())?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn write_fields(out: &mut impl Write, stat: &treecache::Stat) -> io::Result<()> {
    writeln!(out, "czxid = {}", stat.czxid)?;
    writeln!(out, "mzxid = {}", stat.mzxid)?;
    writeln!(out, "pzxid = {}", stat.pzxid)?;
    writeln!(out, "ctime = {}", stat.ctime)?;
    writeln!(out, "mtime = {}", stat.mtime)?;
    writeln!(out, "version = {}", stat.version)?;
    writeln!(out, "cversion = {}", stat.cversion)?;
    writeln!(out, "aversion = {}", stat.aversion)?;
    writeln!(out, "ephemeralOwner = {:#x}", stat.ephemeral_owner)?;
    writeln!(out, "dataLength = {}", stat.data_length)?;
    writeln!(out, "numChildren = {}", stat.num_children)
}

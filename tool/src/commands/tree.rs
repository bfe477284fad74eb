//! `treecache tree`: a node and all below it, indented.

use std::io::Write;
use std::process::ExitCode;

use crate::arguments::TreeArguments;
use crate::failure::Failure;
use crate::output;
use crate::source::Source;

pub fn run(arguments: &TreeArguments) -> Result<ExitCode, Failure> {
    let depth = arguments.depth.map(|depth| depth.to_string());
    let mut narrowing = vec![("data", "none")];
    narrowing.extend(depth.as_deref().map(|depth| ("depth.max", depth)));
    let mut source = Source::open(&arguments.place, &narrowing)?;
    let cut = source.cut()?;
    let mut cursor = cut.cursor(&source.path)?;
    let mut out = output::stdout();
    // How many names lead to the node where it begins.
    let levels = |path: &str| path.split('/').filter(|name| !name.is_empty()).count();
    let first = levels(&source.path);
    while let Some((path, node)) = cursor.next() {
        let depth = levels(path) - first;
        let name = match depth {
            0 => path,
            _ => path.rsplit('/').next().unwrap_or(path),
        };
        write!(out, "{:width$}{}", "", output::name(name), width = 2 * depth)?;
        match node.map(|node| *node.stat()) {
            None => write!(out, "  (may not be read)")?,
            Some(stat) => {
                if stat.data_length > 0 {
                    write!(out, "  ({} bytes)", stat.data_length)?;
                }
                if stat.ephemeral_owner != 0 {
                    write!(out, "  (ephemeral)")?;
                }
            }
        }
        writeln!(out)?;
        // A shared tree may be deeper.
        if arguments.depth == Some(depth) {
            cursor.skip_children();
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

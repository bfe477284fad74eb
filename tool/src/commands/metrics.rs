//! `treecache metrics`: how a tree stands, in Prometheus' text format.

use std::io::Write;
use std::process::ExitCode;

use crate::arguments::MetricsArguments;
use crate::failure::Failure;
use crate::metrics;
use crate::output;
use crate::source::Source;

pub fn run(arguments: &MetricsArguments) -> Result<ExitCode, Failure> {
    let mut source = Source::open(&arguments.place, &[])?;
    source.cut()?;
    let labels = metrics::labels(&[("root", &source.path)]);
    let mut out = output::stdout();
    metrics::write(&mut out, &[(labels, source.cache.stats())])?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

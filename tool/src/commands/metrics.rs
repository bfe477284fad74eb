//! `treecache metrics`: how a tree stands, in Prometheus' text format.

use std::io::Write;
use std::process::ExitCode;

use treecache::{State, Stats};

use crate::arguments::MetricsArguments;
use crate::failure::Failure;
use crate::output;
use crate::source::Source;

/// Each number: name, type, what it is, and its value, if there is one.
type Metric = (&'static str, &'static str, &'static str, Option<f64>);

pub fn run(arguments: &MetricsArguments) -> Result<ExitCode, Failure> {
    let mut source = Source::open(&arguments.place, &[])?;
    source.cut()?;
    let labels = format!("{{root=\"{}\"}}", label(&source.path));
    let mut out = output::stdout();
    for (name, kind, help, value) in metrics(&source.cache.stats()) {
        writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")?;
        if let Some(value) = value {
            writeln!(out, "{name}{labels} {value}")?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn metrics(stats: &Stats) -> [Metric; 11] {
    let count = |count: u64| Some(count as f64);
    let (contact, cut) = (stats.contact_age, stats.cut_age);
    let is_in_step = f64::from(u8::from(stats.state == State::InStep));
    [
        ("treecache_in_step", "gauge", "Whether nothing is known to be outstanding.", Some(is_in_step)),
        (
            "treecache_contact_age_seconds",
            "gauge",
            "Time since the last word from a server.",
            contact.map(|age| age.as_secs_f64()),
        ),
        (
            "treecache_cut_age_seconds",
            "gauge",
            "How old what is read may be.",
            cut.map(|age| age.as_secs_f64()),
        ),
        ("treecache_zxid", "gauge", "The zxid of the tree.", Some(stats.zxid.0 as f64)),
        ("treecache_nodes", "gauge", "Nodes that can be read.", count(stats.nodes as u64)),
        ("treecache_data_bytes", "gauge", "Bytes of data in them.", count(stats.bytes as u64)),
        ("treecache_versions_total", "counter", "Versions published.", count(stats.versions)),
        ("treecache_cuts_total", "counter", "Versions that were cuts.", count(stats.cuts)),
        ("treecache_connections_total", "counter", "How often it has connected.", count(stats.connections)),
        (
            "treecache_resyncs_total",
            "counter",
            "How often the tree was verified after a lost connection.",
            count(stats.resyncs),
        ),
        ("treecache_faults_total", "counter", "How often something went wrong.", count(stats.faults)),
    ]
}

/// A label's value, as the format escapes it.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

//! How trees stand, in Prometheus' text format.

use std::io::{self, Write};

use treecache::{State, Stats};

/// What the format is called over HTTP.
pub const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Each number: name, type, what it is, and how it is found, if it is known.
type Metric = (&'static str, &'static str, &'static str, fn(&Stats) -> Option<f64>);

const METRICS: [Metric; 11] = [
    ("treecache_in_step", "gauge", "Whether nothing is known to be outstanding.", |stats| {
        Some(f64::from(u8::from(stats.state == State::InStep)))
    }),
    ("treecache_contact_age_seconds", "gauge", "Time since the last word from a server.", |stats| {
        stats.contact_age.map(|age| age.as_secs_f64())
    }),
    ("treecache_cut_age_seconds", "gauge", "How old what is read may be.", |stats| {
        stats.cut_age.map(|age| age.as_secs_f64())
    }),
    ("treecache_zxid", "gauge", "The zxid of the tree.", |stats| Some(stats.zxid.0 as f64)),
    ("treecache_nodes", "gauge", "Nodes that can be read.", |stats| Some(stats.nodes as f64)),
    ("treecache_data_bytes", "gauge", "Bytes of data in them.", |stats| Some(stats.bytes as f64)),
    ("treecache_versions_total", "counter", "Versions published.", |stats| Some(stats.versions as f64)),
    ("treecache_cuts_total", "counter", "Versions that were cuts.", |stats| Some(stats.cuts as f64)),
    ("treecache_connections_total", "counter", "How often it has connected.", |stats| {
        Some(stats.connections as f64)
    }),
    (
        "treecache_resyncs_total",
        "counter",
        "How often the tree was verified after a lost connection.",
        |stats| Some(stats.resyncs as f64),
    ),
    ("treecache_faults_total", "counter", "How often something went wrong.", |stats| {
        Some(stats.faults as f64)
    }),
];

/// Writes how some trees stand, each with what tells it from the others.
pub fn write(out: &mut impl Write, trees: &[(String, Stats)]) -> io::Result<()> {
    for (name, kind, help, value) in METRICS {
        writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")?;
        for (labels, stats) in trees {
            if let Some(value) = value(stats) {
                writeln!(out, "{name}{labels} {value}")?;
            }
        }
    }
    Ok(())
}

/// Labels, as the format escapes them.
pub fn labels(pairs: &[(&str, &str)]) -> String {
    let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let pairs: Vec<String> = pairs.iter().map(|(key, text)| format!("{key}=\"{}\"", escaped(text))).collect();
    format!("{{{}}}", pairs.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_breaks_out_of_its_label() {
        assert_eq!(labels(&[("root", "/a\"} 1\n\\"), ("files", "x")]), r#"{root="/a\"} 1\n\\",files="x"}"#);
    }
}

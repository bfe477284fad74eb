//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::failure::EXIT_CODES;

/// Keeps ZooKeeper trees shared on a machine, and looks into them.
///
/// A tree is named by HOSTS and PATH, as in `treecache ls zk1:2181,zk2:2181 /services`; or, with --attach FILE, by the file
/// in which an agent shares it. No command creates, changes or deletes a node.
#[derive(Parser)]
#[command(name = "treecache", version, after_help = EXIT_CODES, max_term_width = 100, subcommand_required = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    Agent(AgentArguments),
    Export(ExportArguments),
    Get(GetArguments),
    Ls(LsArguments),
    Top(TopArguments),
    Tree(TreeArguments),
    Watch(WatchArguments),
    Wait(WaitArguments),
    Diff(DiffArguments),
    Doctor(DoctorArguments),
    Metrics(MetricsArguments),
    Serve(ServeArguments),
    Completions(CompletionsArguments),
    Man(ManArguments),
}

/// Keep trees shared for the programs of this machine, until SIGTERM; SIGHUP reads the settings again.
#[derive(Args)]
pub struct AgentArguments {
    /// Which trees, and how: see docs/tool.md
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Read the settings, say what is wrong with them, and end
    #[arg(long)]
    pub check: bool,
}

/// Print a tree as one JSON object: zxid, cut, and nodes by path, each with data (base64) and stat.
///
/// It is one cut: the server's tree as it was at that zxid. Nodes that may not be read are named in `unreadable`, if there
/// are any.
#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct ExportArguments {
    #[command(flatten)]
    pub place: Place,
}

/// Print the data of a node, as it is.
///
/// On a terminal, bytes that are no text are shown as \xNN.
#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct GetArguments {
    #[command(flatten)]
    pub place: Place,
    /// Print the Stat in place of the data
    #[arg(long, conflicts_with = "json")]
    pub stat: bool,
    /// Print path, zxid, data (base64) and stat as JSON
    #[arg(long)]
    pub json: bool,
}

/// List the children of a node, sorted by the bytes of their names.
#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct LsArguments {
    #[command(flatten)]
    pub place: Place,
    /// Before each name: bytes of data, number of children, version, and e if it is ephemeral
    #[arg(short, long, conflicts_with = "json")]
    pub long: bool,
    /// Print a list in JSON
    #[arg(long)]
    pub json: bool,
}

/// Show a tree and what changes in it, live in a terminal, and how it stands to the servers.
///
/// If stdin or stdout is no terminal, it prints a line for each event, and each second one that sums up. The timeout is for
/// --once and for a shared file. On the screen, q ends it; the other keys are in docs/top.md.
#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct TopArguments {
    #[command(flatten)]
    pub place: Place,
    /// Wait for the first load, print how it stands and the whole tree, and end
    #[arg(long)]
    pub once: bool,
    /// Time between two frames, in ms
    #[arg(long, value_name = "MS", default_value = "250", value_parser = clap::value_parser!(u64).range(10..=60_000))]
    pub interval: u64,
}

/// Show a node and all below it, indented.
#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct TreeArguments {
    #[command(flatten)]
    pub place: Place,
    /// So many levels below the node only
    #[arg(long, value_name = "LEVELS")]
    pub depth: Option<usize>,
}

/// Print what happens to a node and all below it, a line for each event, until Ctrl-C.
///
/// The timeout is for the first load.
#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct WatchArguments {
    #[command(flatten)]
    pub place: Place,
    /// Begin with what is there, as `added`
    #[arg(long)]
    pub initial: bool,
    /// End after so many events
    #[arg(long, value_name = "EVENTS")]
    pub count: Option<u64>,
    /// Print each event as a JSON object
    #[arg(long)]
    pub json: bool,
}

/// Wait until a node is there; or has a value; or is gone. If the time is over before, exit with 4.
#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct WaitArguments {
    #[command(flatten)]
    pub place: Place,
    /// Wait until its data is this text
    #[arg(long, value_name = "TEXT", conflicts_with = "gone")]
    pub value: Option<String>,
    /// Wait until there is no such node
    #[arg(long)]
    pub gone: bool,
}

/// Compare the data of two exports, or of an export and the tree as it is now. If they differ, exit with 1.
#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct DiffArguments {
    /// What `treecache export` has printed
    #[arg(value_name = "EXPORT")]
    pub export: PathBuf,
    /// What it is compared with
    #[arg(value_name = "EXPORT2", conflicts_with_all = ["hosts", "attach"])]
    pub other: Option<PathBuf>,
    /// Compare with the tree of these servers, at the path where the export begins
    #[arg(long, value_name = "HOSTS", conflicts_with = "attach")]
    pub hosts: Option<String>,
    /// Compare with the tree that is shared in this file
    #[arg(long, value_name = "FILE")]
    pub attach: Option<PathBuf>,
    #[command(flatten)]
    pub given: Given,
}

/// Find out, step by step, why there is no connection, or what there is.
///
/// For each server: its name, TCP, TLS, the handshake and who the session is, the node and whether it may be read, the version, how far
/// it is behind the newest of them, and which watches it has.
#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct DoctorArguments {
    /// The servers, as in zk1:2181,zk2:2181/chroot
    pub hosts: String,
    /// The node to look for
    #[arg(value_name = "PATH", default_value = "/")]
    pub path: String,
    #[command(flatten)]
    pub given: Given,
}

/// Print how a tree stands, in Prometheus' text format: to see it, or for node_exporter's textfile collector.
#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct MetricsArguments {
    #[command(flatten)]
    pub place: Place,
}

/// Show a tree in a browser, live, until Ctrl-C: print the address of the page, and serve it to this machine.
///
/// The page is there at once, whatever the tree's state, and --timeout says nothing here. There is no password: who reaches the
/// address may read the tree. So it is an address of this machine alone, unless you say otherwise; from elsewhere,
/// `ssh -L 7181:localhost:7181 MACHINE` leads to it.
#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct ServeArguments {
    #[command(flatten)]
    pub place: Place,
    /// The address and the port to listen at; port 0 for any that is free
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7181", value_parser = address)]
    pub listen: SocketAddr,
    /// Answer under this name too, as in tree.example.org; addresses and localhost are answered anyway
    #[arg(long, value_name = "NAME")]
    pub name: Vec<String>,
}

/// Print what a shell needs to complete the arguments of this program.
#[derive(Args)]
pub struct CompletionsArguments {
    pub shell: clap_complete::Shell,
    /// Write it to a file, in place of stdout
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Write the manual pages of this program into a folder.
#[derive(Args)]
pub struct ManArguments {
    pub folder: PathBuf,
}

/// Which tree.
#[derive(Args)]
pub struct Place {
    /// The servers, as in zk1:2181,zk2:2181/chroot; leave them out with --attach
    #[arg(value_name = "HOSTS", required_unless_present = "attach")]
    pub first: Option<String>,
    /// Where the tree begins; `/` if you leave it out, or with --attach the root of the shared tree
    #[arg(value_name = "PATH")]
    pub second: Option<String>,
    /// Read the tree that is shared in this file (share.file), in place of asking a server
    #[arg(long, value_name = "FILE")]
    pub attach: Option<PathBuf>,
    #[command(flatten)]
    pub given: Given,
}

/// How servers are reached, and how long they are waited for.
#[derive(Args, Clone)]
pub struct Given {
    /// How long to wait, in seconds; 0 for as long as it takes
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub timeout: Wait,
    /// Set a key of the library, as in session.timeout.ms=5000; not for secrets
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Keys of the library in a TOML file; secrets may be there, or in the environment: TREECACHE_AUTH, TREECACHE_SASL_PASSWORD
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// Say on stderr what goes wrong meanwhile
    #[arg(short, long)]
    pub verbose: bool,
}

/// A time to wait; `None`: as long as it takes.
#[derive(Clone, Copy)]
pub struct Wait(pub Option<Duration>);

/// Longer waits are none.
const LONGEST: f64 = 1e9;

fn seconds(text: &str) -> Result<Wait, String> {
    match text.parse::<f64>() {
        Ok(0.0) => Ok(Wait(None)),
        Ok(seconds) if (0.001..=LONGEST).contains(&seconds) => {
            Ok(Wait(Some(Duration::from_secs_f64(seconds))))
        }
        _ => Err("takes seconds, as in 10 or 0.5; 0 for no limit".to_owned()),
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "takes an address and a port, as in 127.0.0.1:7181 or [::1]:0".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_of_the_command_line_holds_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn times_to_wait_are_seconds() {
        let wait = |text| seconds(text).map(|wait| wait.0);
        assert_eq!(wait("0.5"), Ok(Some(Duration::from_millis(500))));
        assert_eq!(wait("0"), Ok(None));
        for nonsense in ["", "-1", "1e300", "inf", "NaN", "5s", "0.0000001"] {
            assert!(wait(nonsense).is_err(), "{nonsense:?}");
        }
    }
}

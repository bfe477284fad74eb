//! A lost connection, and what a cache does when it is back.

use std::thread;
use std::time::{Duration, Instant};

use treecache_test_support::Proxy;

use crate::bench::{Bench, PATIENCE, padded};
use crate::contender::{Contender, Result};
use crate::traffic::Traffic;
use crate::tree::Tree;

/// What happened meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meanwhile {
    Nothing,
    /// A write elsewhere: the tree is the same, and the server's zxid is not.
    Elsewhere,
    TenSets,
    /// A tenth of all nodes was set.
    TenthSet,
}

pub const CASES: [Meanwhile; 4] =
    [Meanwhile::Nothing, Meanwhile::Elsewhere, Meanwhile::TenSets, Meanwhile::TenthSet];

/// Nothing has been asked or answered for so long: it is done.
const QUIET: Duration = Duration::from_millis(1500);
/// For what is under way when the connection is to go.
const SETTLE: Duration = Duration::from_millis(200);

impl Meanwhile {
    pub fn id(self) -> &'static str {
        match self {
            Meanwhile::Nothing => "nothing",
            Meanwhile::Elsewhere => "elsewhere",
            Meanwhile::TenSets => "ten",
            Meanwhile::TenthSet => "tenth",
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Meanwhile::Nothing => "nothing written",
            Meanwhile::Elsewhere => "tree unchanged",
            Meanwhile::TenSets => "10 nodes set",
            Meanwhile::TenthSet => "10 % of the nodes set",
        }
    }
}

pub fn measure(bench: &mut Bench, cell: &str, tree: Tree, contenders: &[Contender], rounds: usize) {
    bench.create(tree);
    let elsewhere = format!("{}-elsewhere", tree.root());
    bench.writer().create(&elsewhere, None, 0).expect("a node");
    let leaves: Vec<String> = tree.leaves().collect();
    bench.for_each(cell, contenders, |bench, contender| {
        let mut process = bench.start(contender)?;
        for (round, case) in (0..rounds).flat_map(|round| CASES.map(|case| (round, case))) {
            let proxy = Proxy::start(bench.server.addr());
            let traffic = Traffic::of(&proxy);
            process.ask(&format!("connect {}", proxy.hosts()), PATIENCE)?;
            process.ask(&format!("load {}", tree.root()), PATIENCE)?;
            let load = seconds_between(traffic.take().first_read, Some(Instant::now()));
            thread::sleep(SETTLE);
            let mut writer = bench.writer(); // opening a session is a transaction, too
            thread::sleep(SETTLE);
            traffic.take();

            let bytes = |proxy: &Proxy| (proxy.bytes_to_client(), proxy.bytes_to_server());
            let bytes_before = bytes(&proxy);
            proxy.refuse(case != Meanwhile::Nothing);
            proxy.drop_connections();
            let mark = padded(&format!("{}-{}-{round}-", contender.id(), case.id()), tree.data);
            let set = match case {
                Meanwhile::Nothing => &[],
                Meanwhile::Elsewhere => std::slice::from_ref(&elsewhere),
                Meanwhile::TenSets => &leaves[..10],
                Meanwhile::TenthSet => &leaves[..leaves.len() / 10],
            };
            for path in set {
                writer.send_set(path, Some(mark.as_bytes())).expect("a write");
            }
            writer.drain().expect("answers");
            // What still came through before the connection went is not what is counted.
            traffic.take();
            proxy.refuse(false);

            let deadline = Instant::now() + PATIENCE;
            while !traffic.is_quiet_for(QUIET) {
                if Instant::now() > deadline {
                    return Err("does not come back".to_owned());
                }
                thread::sleep(Duration::from_millis(5));
            }
            let (seen, bytes_after) = (traffic.take(), bytes(&proxy));
            let right = bench.check(&mut process, bench.truth(&tree.root())).is_ok();
            let mut add = |what: &str, value: f64| {
                let what = format!("{}/{what}", case.id());
                bench.results.add(cell, contender.id(), &what, &[value]);
            };
            add("right", f64::from(u8::from(right)));
            add("seconds", seconds_between(seen.first_request, seen.last_answer));
            add("verify", seconds_between(seen.first_read, seen.last_answer));
            add("load", load);
            add("requests", seen.requests as f64);
            add("reads", seen.reads as f64);
            add("to_client", (bytes_after.0 - bytes_before.0) as f64);
            add("to_server", (bytes_after.1 - bytes_before.1) as f64);
            println!(
                "    {:22} {:22} {:9.1} ms, {} requests{}",
                contender.name(),
                case.name(),
                seconds_between(seen.first_request, seen.last_answer) * 1e3,
                seen.requests,
                if right { "" } else { ", and is wrong" }
            );
            process.ask("close", PATIENCE)?;
        }
        Ok(())
    });
}

/// 0 when either did not happen.
fn seconds_between(first: Option<Instant>, last: Option<Instant>) -> f64 {
    first.zip(last).map_or(0.0, |(first, last)| last.saturating_duration_since(first).as_secs_f64())
}

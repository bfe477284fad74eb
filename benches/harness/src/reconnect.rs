//! A lost connection, and what a cache does when it is back.

use std::thread;
use std::time::{Duration, Instant};

use treecache_test_support::{Proxy, Writer};

use crate::bench::{Bench, PATIENCE, padded};
use crate::beside::{self, Now, Phase};
use crate::contender::{Contender, Process, Result, processor_seconds};
use crate::effort::Effort;
use crate::footprint::watches;
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
/// A contender that has asked nothing for so long after it could does not mean to.
const LONGEST_SILENCE: Duration = Duration::from_secs(5);
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

pub fn measure(bench: &mut Bench, cell: &str, tree: Tree, contenders: &[Contender], effort: &Effort) {
    bench.create(tree);
    let elsewhere = format!("{}-elsewhere", tree.root());
    let _ = bench.writer().create(&elsewhere, None, 0); // another cell may have done so
    let leaves: Vec<String> = tree.leaves().collect();
    bench.for_each(cell, contenders, |bench, contender| {
        let began = Instant::now();
        let rounds = (0..).take_while(|&round| !effort.is_over(round, began.elapsed()));
        for (round, case) in rounds.flat_map(|round| CASES.map(|case| (round, case))) {
            let mark = padded(&format!("{}-{}-{round}-", contender.id(), case.id()), tree.data);
            let set = match case {
                Meanwhile::Nothing => &[],
                Meanwhile::Elsewhere => std::slice::from_ref(&elsewhere),
                Meanwhile::TenSets => &leaves[..10],
                Meanwhile::TenthSet => &leaves[..leaves.len() / 10],
            };
            play(bench, cell, tree, contender, case, &Writes { set, elsewhere: &elsewhere, mark: &mark })?;
        }
        Ok(())
    });
}

/// What is written.
struct Writes<'a> {
    /// While the client is away.
    set: &'a [String],
    /// While it comes back, and outside of the tree.
    elsewhere: &'a str,
    mark: &'a str,
}

fn play(
    bench: &mut Bench,
    cell: &str,
    tree: Tree,
    contender: Contender,
    case: Meanwhile,
    writes: &Writes<'_>,
) -> Result<()> {
    let Writes { set, elsewhere, mark } = *writes;
    // Before the contender connects: to open a session is a transaction, too, and moves the server's zxid.
    let (mut writer, mut other_writer) = (bench.writer(), bench.writer());
    let proxy = Proxy::start(bench.server.addr());
    let traffic = Traffic::of(&proxy);
    let mut process = bench.start_with(contender, &["audit.interval.ms=0"])?;
    process.ask(&format!("connect {}", proxy.hosts()), PATIENCE)?;
    process.ask(&format!("load {}", tree.root()), PATIENCE)?;
    let load = seconds_between(traffic.take().first_read, Some(Instant::now()));
    thread::sleep(SETTLE);

    let bytes = || (proxy.bytes_to_client(), proxy.bytes_to_server());
    let before = bytes();
    proxy.refuse(!set.is_empty());
    proxy.drop_connections();
    for path in set {
        writer.send_set(path, Some(mark.as_bytes())).expect("a write");
    }
    writer.drain().expect("answers");
    // What still came through before the connection went is not what is counted.
    traffic.take();
    let processor = || [process.pid(), bench.server.pid()].map(processor_seconds);
    let (back, processor_before) = (Instant::now(), processor());
    let (mut processor_after, mut most_watches) = (processor_before, 0.0);
    let now = Now::new(Phase::Busy(contender));
    let written = thread::scope(|scope| {
        // Where nothing is to be written, nothing is.
        let writing = (case != Meanwhile::Nothing)
            .then(|| scope.spawn(|| beside::write(&mut other_writer, elsewhere, &now)));
        proxy.refuse(false);
        while back.elapsed() < PATIENCE
            && !traffic.is_quiet_for(QUIET)
            && (traffic.has_begun() || back.elapsed() < LONGEST_SILENCE)
        {
            let answered = traffic.last_answer();
            thread::sleep(Duration::from_millis(5));
            if traffic.last_answer() > answered {
                processor_after = processor();
                most_watches = f64::max(most_watches, watches(&bench.server.four_letter("wchs")));
            }
        }
        now.set(Phase::End);
        writing.map(|writing| writing.join().expect("the writer's word")).unwrap_or_default()
    });
    let (seen, after) = (traffic.take(), bytes());
    let is_beside = |write: &&beside::Write| {
        seen.first_request <= Some(write.sent) && Some(write.sent) <= seen.last_answer
    };
    let beside: Vec<f64> = written.iter().filter(is_beside).map(|write| write.took).collect();

    let right = bench.check(&mut process, bench.truth(&tree.root())).is_ok();
    let follows = right && follows(bench, &mut process, &mut writer, tree)?;
    let took = seconds_between(seen.first_request, seen.last_answer);
    println!(
        "    {:22} {:22} {:9.1} ms, {} requests{}",
        contender.name(),
        case.name(),
        took * 1e3,
        seen.requests,
        if !right {
            ", and is wrong"
        } else if !follows {
            ", and no longer follows"
        } else {
            ""
        }
    );
    let mut add = |what: &str, value: f64| {
        bench.results.add(cell, contender.id(), &format!("{}/{what}", case.id()), &[value]);
    };
    add("right", f64::from(u8::from(right)));
    add("follows", f64::from(u8::from(follows)));
    add("seconds", took);
    add("verify", seconds_between(seen.first_read, seen.last_answer));
    add("load", load);
    add("requests", seen.requests as f64);
    add("round trips", seen.round_trips as f64);
    add("reads", seen.reads as f64);
    add("received", (after.0 - before.0) as f64);
    add("sent", (after.1 - before.1) as f64);
    add("bytes", (after.0 - before.0 + after.1 - before.1) as f64);
    add("client", processor_after[0] - processor_before[0]);
    add("server", processor_after[1] - processor_before[1]);
    add("watches", most_watches);
    bench.results.add(cell, contender.id(), &format!("{}/beside", case.id()), &beside);
    Ok(())
}

/// Whether a change that comes after all that is seen.
fn follows(bench: &Bench, process: &mut Process, writer: &mut Writer, tree: Tree) -> Result<bool> {
    let leaf: Vec<String> = tree.leaves().last().into_iter().collect();
    let (file, mark) = (bench.write_lines("expected", &leaf), padded("after-", tree.data));
    process.ask(&format!("expect {file} {mark}"), PATIENCE)?;
    writer.set(&leaf[0], Some(mark.as_bytes())).expect("a write");
    let seen = process.ask("until", LONGEST_SILENCE).is_ok();
    writer.set(&leaf[0], Some(b"for the next one to be a change")).expect("a write");
    Ok(seen)
}

/// 0 when either did not happen.
fn seconds_between(first: Option<Instant>, last: Option<Instant>) -> f64 {
    first.zip(last).map_or(0.0, |(first, last)| last.saturating_duration_since(first).as_secs_f64())
}

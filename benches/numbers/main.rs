//! What the library costs, next to the budgets of the design: one run, one throwaway server.
//!
//! `scripts/bench` runs this. It takes the C program that measures the C API (`benches/c`) and the folder to write
//! `numbers.md` and `numbers.svg` to. Absolute times belong to the machine and the hour they were taken on; the
//! ratios do not, and are what is worth comparing.

mod bare;
mod chart;
mod first_load;
mod follow;
mod market;
mod median;
mod program;
mod reconnect;
mod report;
mod tree;

use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{env, fs, process};

use market::Market;
use program::Program;
use report::{Budget, Figure, Report};
use treecache_test_support::{Server, Writer};

const IDLE_SECONDS: u64 = 20;

fn main() {
    // Whoever runs this may be ended in a way that tells nobody; the server and the C program end with this one.
    // SAFETY: no memory effects.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) };
    // `cargo bench` adds --bench.
    let arguments: Vec<PathBuf> =
        env::args_os().skip(1).filter(|it| it != "--bench").map(Into::into).collect();
    let [program, folder] = &arguments[..] else {
        eprintln!("usage: numbers C_PROGRAM FOLDER; scripts/bench builds the C program and runs this");
        process::exit(2);
    };

    let began = Instant::now();
    let server = Server::start();
    let mut writer = Writer::connect(server.addr(), Duration::from_secs(60)).expect("a session");
    let mut report = Report::new(&server);
    measure(&server, &mut writer, &Program::new(program, &server), &mut report);

    let table = report.to_markdown();
    println!("\n{table}");
    fs::create_dir_all(folder).expect("a folder for the results");
    for (name, text) in [("numbers.md", &table), ("numbers.svg", &chart::draw(&report))] {
        fs::write(folder.join(name), text).unwrap_or_else(|error| panic!("cannot write {name}: {error}"));
    }
    println!("Took {} s. In {}: numbers.md, numbers.svg", began.elapsed().as_secs(), folder.display());
}

fn measure(server: &Server, writer: &mut Writer, program: &Program, report: &mut Report) {
    heading(&format!("Filling the server with {} nodes of {} bytes", tree::NODES, tree::DATA_LEN));
    tree::fill(writer);

    heading("First load, from C, next to a bare multiRead loop");
    let load = first_load::measure(server, writer, program);
    report.add(
        Figure::new("first load, speed next to a bare multiRead loop", "×", load.ratio, Budget::AtLeast(0.6))
            .note(format!("{:.0} ms, the loop {:.0} ms", load.seconds * 1e3, load.bare_seconds * 1e3)),
    );
    report.add(
        Figure::new("memory, resident, over an idle client", "MB", load.resident / 1e6, Budget::AtMost(35.0))
            .note(format!("heap {:.1} MB, peak {:.1} MB resident", load.heap / 1e6, load.peak / 1e6)),
    );

    heading("Reads, from C");
    let reads = program.run(&["read"]);
    for threads in ["1 thread", "2 threads"] {
        for (name, what) in [("hot", "one path"), ("some", "1,000 at random"), ("all", "100,000 at random")] {
            let key = format!("{name}_{}", &threads[..1]);
            let figure = reads.get(&key);
            let yardstick = figure / reads.get(&format!("bsearch_{key}"));
            report.add(
                Figure::new(
                    format!("read at depth 3, {what}, {threads}"),
                    "ns",
                    figure,
                    Budget::AtMost(150.0),
                )
                .note(format!("{yardstick:.2} × a bsearch over all paths")),
            );
        }
        let figure = reads.get(&format!("snapshot_{}", &threads[..1]));
        report.add(Figure::new(format!("snapshot, {threads}"), "ns", figure, Budget::AtMost(100.0)));
    }

    heading(&format!("{} pipelined writes, {} times", follow::WRITES, follow::ROUNDS));
    let lag = follow::measure(server, writer);
    report.add(
        Figure::new(
            "10,000 pipelined writes, then in step after",
            "ms",
            lag.behind * 1e3,
            Budget::AtMost(30.0),
        )
        .note(format!("writing them took {:.0} ms", lag.writing * 1e3)),
    );

    heading("Reconnects");
    let verify = reconnect::measure(server, writer);
    report.add(
        Figure::new("verify, zxid moved, over the first load", "×", verify.ratio, Budget::AtMost(1.5))
            .note(format!("{:.0} ms, both through a proxy", verify.moved * 1e3)),
    );
    report.add(
        Figure::new("verify, zxid not moved, requests", "", verify.unmoved_requests, Budget::AtMost(1.0))
            .note(format!("in step {:.1} ms after it was sent", verify.unmoved * 1e3)),
    );

    heading(&format!("Idle for {IDLE_SECONDS} s, from C"));
    let share = program.run(&["idle", &IDLE_SECONDS.to_string()]).get("share_of_a_core");
    report.add(Figure::new("idle, share of a core", "%", share * 100.0, Budget::AtMost(0.1)));

    heading("Money moves: a saturated writer, accounts opened and closed");
    for accounts in [100, 2000] {
        for delay_ms in [0, 5] {
            let market = Market { accounts, delay: Duration::from_millis(delay_ms) };
            let seen = market::measure(server, &market);
            let place = if delay_ms == 0 { "direct".to_owned() } else { format!("{delay_ms} ms away") };
            report.add(
                Figure::new(
                    format!("largest gap between cuts, {accounts} accounts, {place}"),
                    "ms",
                    seen.largest_gap * 1e3,
                    Budget::None,
                )
                .note(format!(
                    "{:.0} cuts/s of {:.0} transactions/s",
                    seen.cuts_per_second, seen.transactions_per_second
                )),
            );
        }
    }
}

fn heading(text: &str) {
    println!("==> {text}");
}

//! The herds that docs/scaling.md speaks of, and what is written down of them.

use std::fmt::Write;
use std::time::Duration;

use treecache_core::session::Backoff;
use treecache_core::sync::{Pace, VerifyMode};

use crate::capacity::{BATCH, Capacity};
use crate::chart::{Figure, Panel, Series, number};
use crate::load::Moment;
use crate::measured::{Cost, Line, Measured, OURS, Tree};
use crate::world::{Happening, Outcome, Scenario, run};

/// The herd of the title.
const CLIENTS: usize = 10_000;
const NODES: f64 = 100_000.0;
const SERVERS: usize = 3;
/// What the library reads of a tree at most, if nobody has written while a connection was lost.
const ANCHORS: f64 = 32.0;
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
/// Where only connections count.
const TINY: Tree = Tree { directories: 1, leaves: 3, data: 128 };
/// Where reads count: 10,000 nodes, each of which stands for ten.
const TENTH: Tree = Tree { directories: 99, leaves: 100, data: 128 };
const WHOLE: Tree = Tree { directories: 990, leaves: 100, data: 128 };
/// As it was before all this was simulated.
const EARLIER: Backoff = Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(5) };

/// A second without servers, and somebody has written.
const MOVED: Happening = Happening::Outage { down: Duration::from_secs(1), moved: true, unclean: 0.0 };
const VERIFICATION: &str = "verify | half in step, min | 99 %, min | all, min | longest wait for an answer, s | \
                            nodes read | compared | MB sent | MB received | connections | transactions";

/// What is written to the documentation.
#[derive(Default)]
pub struct Findings {
    /// By name, text in Markdown.
    pub tables: Vec<(&'static str, String)>,
    pub figures: Vec<(&'static str, Figure)>,
}

pub struct Experiments {
    measured: Measured,
    seed: u64,
    findings: Findings,
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn bounds(Backoff { first, longest }: Backoff) -> String {
    format!("{} ms to {} s", first.as_millis(), longest.as_secs_f64())
}

/// Two digits behind the point, or that it never came.
fn seconds(time: Option<f64>) -> String {
    time.map_or_else(|| "never".to_owned(), |time| format!("{time:.2}"))
}

fn table(head: &str, rows: &[Vec<String>]) -> String {
    let columns = head.split('|').count();
    let mut text = format!("| {head} |\n|---{}|\n", "|---:".repeat(columns - 1));
    for row in rows {
        writeln!(text, "| {} |", row.join(" | ")).expect("a string takes it all");
    }
    text
}

fn series(name: &str, outcome: &Outcome, of: impl Fn(&Moment) -> f64) -> Series {
    let step = outcome.load.step.as_secs_f64();
    let moments = outcome.load.moments.iter().enumerate();
    Series {
        name: name.to_owned(),
        points: moments.map(|(at, moment)| (at as f64 * step, of(moment))).collect(),
    }
}

/// Per second.
fn rate(name: &str, outcome: &Outcome, of: impl Fn(&Moment) -> f64) -> Series {
    let step = outcome.load.step.as_secs_f64();
    series(name, outcome, |moment| of(moment) / step)
}

fn in_step(name: &str, outcome: &Outcome) -> Series {
    let mut series = series(name, outcome, |moment| moment.in_step / CLIENTS as f64 * 100.0);
    // They stay so.
    series.points.extend(series.points.last().map(|last| (1e9, last.1)));
    series
}

impl Experiments {
    pub fn new(measured: Measured, seed: u64) -> Experiments {
        Experiments { measured, seed, findings: Findings::default() }
    }

    /// All of them, with a line on standard output for each.
    pub fn run(mut self) -> Findings {
        self.costs();
        self.herd_on_paper();
        self.start();
        self.write();
        self.reconnect();
        self.jitter();
        self.verify();
        self.spread();
        self.unclean();
        self.cliff();
        self.audit();
        self.scale();
        self.findings
    }

    fn add(&mut self, name: &'static str, text: String) {
        println!("{name}\n{text}");
        self.findings.tables.push((name, text));
    }

    fn base(&self, happening: Happening) -> Scenario {
        Scenario {
            happening,
            clients: CLIENTS,
            servers: SERVERS,
            weight: 1,
            tree: TINY,
            capacity: Capacity::of(&self.measured.rates),
            backoff: Backoff::default(),
            pace: Pace::default(),
            verify: VerifyMode::Auto,
            audit: Duration::ZERO,
            session_timeout: SESSION_TIMEOUT,
            bound: Duration::from_secs(300),
            step: ms(50),
            seed: self.seed,
        }
    }

    /// 100 clients that stand for 100 each, and the servers as one that is as fast as all of them: 10,000 clients come
    /// to be spread evenly over servers by themselves, 100 do not. They have a tenth of the nodes, and what takes a
    /// tenth of the time with that is told ten times as long; a transaction for a session does not, so it takes a tenth
    /// here.
    fn scaled(&self, happening: Happening) -> Scenario {
        let base = self.base(happening);
        Scenario {
            clients: CLIENTS / 100,
            weight: 100,
            servers: 1,
            capacity: Capacity {
                session: base.capacity.session / 10,
                ..base.capacity.joined(SERVERS as u64)
            },
            tree: TENTH,
            step: ms(500),
            ..base
        }
    }

    /// How long the servers need at least to read so many nodes for every client, in s.
    fn drain(&self, nodes: f64, servers: usize) -> f64 {
        let capacity = Capacity::of(&self.measured.rates);
        let batch = capacity.request as f64 + BATCH * capacity.node as f64;
        CLIENTS as f64 * nodes / BATCH * batch / 1e9 / servers as f64
    }

    fn clients(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for cost in &self.measured.costs {
            if !names.contains(&cost.client) {
                names.push(cost.client.clone());
            }
        }
        names
    }

    fn line(&self, client: &str, of: impl Fn(&Cost) -> u64) -> (Line, f64) {
        let costs = self.measured.costs.iter().filter(|cost| cost.client == client);
        let points: Vec<(f64, f64)> = costs.map(|cost| (cost.nodes as f64, of(cost) as f64)).collect();
        let line = Line::through(&points);
        (line, line.error(&points))
    }

    fn costs(&mut self) {
        let rates = self.measured.rates;
        let mut text = format!("{}\n\n", self.measured.circumstances);
        let rows = [
            ("connections accepted", rates.accepts),
            ("sessions resumed", rates.resumed_sessions),
            ("sessions made", rates.new_sessions),
            ("nodes read, 120 in a multiRead", rates.batched_reads),
            ("nodes read, one in a request, with a watch", rates.single_reads),
            ("notifications of recursive watches", rates.notifications),
            ("nodes compared with a zxid, and their lists", rates.compared_nodes),
        ];
        let rows = rows.map(|(what, rate)| vec![what.to_owned(), number(rate)]);
        text += &table("one server, per second | measured", &rows);
        self.add("rates", text);

        let formula = |line: Line| {
            let fixed = format!("{:.0}", line.fixed);
            let slope = match line.per_node {
                per_node if per_node < 0.1 => format!("{per_node:.4} n"),
                per_node => format!("{per_node:.2} n"),
            };
            match (line.fixed.abs() < 0.5, line.per_node.abs() < 1e-9) {
                (_, true) => fixed,
                (true, false) => slope,
                (false, false) => format!("{fixed} + {slope}"),
            }
        };
        let situations =
            ["load", "one node written", "connection lost, zxid not moved", "connection lost, zxid moved"];
        let (mut rows, mut worst) = (Vec::new(), 0.0f64);
        for client in self.clients() {
            let mut formula = |of: &dyn Fn(&Cost) -> u64| {
                let (line, error) = self.line(&client, of);
                worst = worst.max(error);
                formula(line)
            };
            rows.push(vec![
                format!("**{client}**, watches"),
                formula(&|cost| cost.watches),
                String::new(),
                String::new(),
            ]);
            for (at, name) in situations.into_iter().enumerate() {
                rows.push(vec![
                    name.to_owned(),
                    formula(&|cost| cost.situations()[at].requests),
                    formula(&|cost| cost.situations()[at].to_server),
                    formula(&|cost| cost.situations()[at].to_client),
                ]);
            }
        }
        let mut text = table(
            "one client, tree of n nodes | requests | bytes to the server | bytes to the client",
            &rows,
        );
        write!(
            text,
            "\nThe middle one of the three trees is off its formula by at most {:.0} %.\n",
            worst * 100.0
        )
        .expect("a string takes it all");
        self.add("costs", text);
    }

    fn herd_on_paper(&mut self) {
        let capacity = Capacity::of(&self.measured.rates);
        let mut rows = Vec::new();
        for client in self.clients() {
            let at = |of: &dyn Fn(&Cost) -> u64| self.line(&client, of).0.at(NODES);
            let minutes_for = |requests: f64, nodes: f64, node: u64| {
                let time = requests * capacity.request as f64 + nodes * node as f64;
                format!("{:.1}", CLIENTS as f64 * time / 1e9 / SERVERS as f64 / 60.0)
            };
            // Whoever makes fewer requests than there are nodes reads many with each.
            let minutes = |requests: f64, node: u64| minutes_for(requests, requests.max(NODES), node);
            let unmoved = at(&|cost| cost.unmoved.requests);
            rows.push(vec![
                client.clone(),
                number(CLIENTS as f64 * at(&|cost| cost.watches)),
                number(CLIENTS as f64 * at(&|cost| cost.load.requests)),
                minutes(at(&|cost| cost.load.requests), capacity.node),
                match client.starts_with(OURS) {
                    true => minutes_for(unmoved, ANCHORS, capacity.node),
                    false => minutes(unmoved, capacity.node),
                },
                minutes(
                    at(&|cost| cost.moved.requests),
                    if client == OURS { capacity.compared } else { capacity.node },
                ),
                format!("{:.0}", CLIENTS as f64 * at(&|cost| cost.moved.to_server) / 1e9),
                format!("{:.0}", CLIENTS as f64 * at(&|cost| cost.moved.to_client) / 1e9),
            ]);
        }
        let head = "10,000 clients, 100,000 nodes, 3 servers | watches | requests to load | load, min | \
                    lost, not moved, min | lost, moved, min | GB to the servers | GB to the clients";
        self.add("paper", table(head, &rows));
    }

    fn start(&mut self) {
        let mut rows = Vec::new();
        let mut outcomes = Vec::new();
        for over in [0, 500, 1000, 2000, 10_000] {
            let outcome = run(&self.base(Happening::Start(ms(over))));
            rows.push(vec![
                format!("{} s", over as f64 / 1000.0),
                number(outcome.load.peak(|moment| moment.attempts) / SERVERS as f64),
                number(outcome.load.total(|moment| moment.attempts)),
                seconds(outcome.when(0.5)),
                seconds(outcome.when(0.99)),
                seconds(outcome.when(1.0)),
            ]);
            outcomes.push(outcome);
        }
        let head = "started over | most SYNs per s and server | SYNs | half in step, s | 99 %, s | all, s";
        self.add("start", table(head, &rows));
        let shown = [(0, "all at once"), (2, "over 1 s"), (3, "over 2 s")];
        let panel = |title: &str, of: &dyn Fn(&str, &Outcome) -> Series, limit| Panel {
            title: title.to_owned(),
            series: shown.iter().map(|(at, name)| of(name, &outcomes[*at])).collect(),
            limit,
        };
        let accepts = self.measured.rates.accepts * SERVERS as f64;
        let figure = Figure {
            title: "10,000 clients start".to_owned(),
            note: "3 servers, small trees: connections and sessions alone. Simulated in stretches of 50 ms."
                .to_owned(),
            along: "s since the first client started".to_owned(),
            until: 7.0,
            panels: vec![
                panel(
                    "SYNs per second, at all servers",
                    &|name, outcome| rate(name, outcome, |moment| moment.attempts),
                    Some((accepts, "what the servers accept".to_owned())),
                ),
                panel("clients in step, %", &in_step, None),
            ],
        };
        self.findings.figures.push(("start", figure));

        let outcome = run(&self.scaled(Happening::Start(Duration::ZERO)));
        let drain = self.drain(TENTH.nodes() as f64, SERVERS);
        self.add("start-load", format!(
            "With trees of 100,000 nodes the reads are what counts: half of the clients have loaded after {:.1} min, \
             all after {:.1} min (simulated with a tenth of the nodes: {:.1} s and {:.1} s), where the bare reads take \
             {:.1} min.\n",
            outcome.when(0.5).unwrap_or(f64::NAN) * 10.0 / 60.0,
            outcome.when(1.0).unwrap_or(f64::NAN) * 10.0 / 60.0,
            outcome.when(0.5).unwrap_or(f64::NAN),
            outcome.when(1.0).unwrap_or(f64::NAN),
            drain * 10.0 / 60.0,
        ));
    }

    fn write(&mut self) {
        let mut rows = Vec::new();
        for servers in [1, 3, 5] {
            let outcome = run(&Scenario { servers, step: ms(5), ..self.base(Happening::Write) });
            rows.push(vec![
                servers.to_string(),
                number(outcome.load.total(|moment| moment.requests)),
                number(outcome.load.total(|moment| moment.nodes)),
                format!("{:.1}", outcome.load.total(|moment| moment.bytes) / 1e6),
                format!("{:.0}", outcome.when(0.5).unwrap_or(f64::NAN) * 1e3),
                format!("{:.0}", outcome.when(1.0).unwrap_or(f64::NAN) * 1e3),
                format!("{:.0}", outcome.load.longest_wait() * 1e3),
            ]);
            if servers == SERVERS {
                let figure = Figure {
                    title: "One node is written, 10,000 clients watch it".to_owned(),
                    note: "3 servers. Simulated in stretches of 5 ms.".to_owned(),
                    along: "ms since the write was committed".to_owned(),
                    until: 150.0,
                    panels: vec![
                        Panel {
                            title: "answers and notifications per second, at all servers".to_owned(),
                            series: vec![rate("", &outcome, |moment| moment.requests)],
                            limit: None,
                        },
                        Panel {
                            title: "bytes per second, from all servers".to_owned(),
                            series: vec![rate("", &outcome, |moment| moment.bytes)],
                            limit: None,
                        },
                        Panel {
                            title: "clients in step, %".to_owned(),
                            series: vec![in_step("", &outcome)],
                            limit: None,
                        },
                    ],
                };
                self.findings.figures.push(("write", in_milliseconds(figure)));
            }
        }
        let head = "servers | notifications and answers | nodes read | MB | half in step, ms | all, ms | longest wait for an answer, ms";
        self.add("write", table(head, &rows));
    }

    fn outage(&self, down: u64, backoff: Backoff) -> Scenario {
        Scenario { backoff, ..self.base(Happening::Outage { down: ms(down), moved: false, unclean: 0.0 }) }
    }

    fn reconnect(&mut self) {
        let mut rows = Vec::new();
        let mut shown = Vec::new();
        for down in [200, 500, 1000, 2000, 5000] {
            for backoff in [EARLIER, Backoff::default()] {
                let name = bounds(backoff);
                let outcome = run(&self.outage(down, backoff));
                let back = |share| seconds(outcome.when(share).map(|at| at - down as f64 / 1000.0));
                rows.push(vec![
                    format!("{} s, {name}", down as f64 / 1000.0),
                    number(outcome.load.peak(|moment| moment.attempts) / SERVERS as f64),
                    number(outcome.load.total(|moment| moment.attempts)),
                    number(outcome.load.total(|moment| moment.requests)),
                    back(0.5),
                    back(0.99),
                    back(1.0),
                ]);
                if down == 1000 {
                    shown.push((name, outcome));
                }
            }
        }
        let head = "gone for, backoff | most SYNs per s and server | SYNs | requests | half in step, s after | 99 %, s after | all, s after";
        self.add("reconnect", table(head, &rows));
        let accepts = self.measured.rates.accepts * SERVERS as f64;
        let panel = |title: &str, of: &dyn Fn(&str, &Outcome) -> Series, limit| Panel {
            title: title.to_owned(),
            series: shown.iter().map(|(name, outcome)| of(name, outcome)).collect(),
            limit,
        };
        let figure = Figure {
            title: "10,000 connections are lost, the servers are back after a second".to_owned(),
            note: "3 servers, sessions kept, zxid not moved. The backoff's first and longest bound: earlier, and now. \
                   The second hills of requests are pings."
                .to_owned(),
            along: "s since the connections were lost".to_owned(),
            until: 6.0,
            panels: vec![
                panel(
                    "SYNs per second, at all servers",
                    &|name, outcome| rate(name, outcome, |moment| moment.attempts),
                    Some((accepts, "what the servers accept".to_owned())),
                ),
                panel(
                    "requests per second, at all servers",
                    &|name, outcome| rate(name, outcome, |moment| moment.requests),
                    None,
                ),
                panel("clients in step, %", &in_step, None),
            ],
        };
        self.findings.figures.push(("reconnect", figure));
    }

    /// The trade-off: what the first and the longest bound cost and bring.
    fn jitter(&mut self) {
        const FIRST: [u64; 9] = [50, 100, 200, 300, 400, 500, 600, 800, 1000];
        const LONGEST: [u64; 3] = [1, 2, 5];
        const DOWN: [u64; 2] = [200, 2000];
        let mut rows = Vec::new();
        let mut panels = Vec::new();
        let mut peaks: Vec<Series> = Vec::new();
        for down in DOWN {
            let mut times: Vec<Series> = Vec::new();
            for longest in LONGEST {
                let name = format!("longest {longest} s");
                let (mut peak, mut time) = (Vec::new(), Vec::new());
                for first in FIRST {
                    let backoff = Backoff { first: ms(first), longest: Duration::from_secs(longest) };
                    let outcome = run(&self.outage(down, backoff));
                    let back = |share| outcome.when(share).map(|at| at - down as f64 / 1000.0);
                    let most = outcome.load.peak(|moment| moment.attempts) / SERVERS as f64;
                    peak.push((first as f64, most));
                    time.push((first as f64, back(0.99).unwrap_or(f64::NAN)));
                    if [100, 300, 500, 1000].contains(&first) {
                        rows.push(vec![
                            format!("{} s, {}", down as f64 / 1000.0, bounds(backoff)),
                            number(most),
                            number(outcome.load.total(|moment| moment.attempts)),
                            seconds(back(0.5)),
                            seconds(back(0.99)),
                            seconds(back(1.0)),
                        ]);
                    }
                }
                if down == DOWN[0] {
                    peaks.push(Series { name: name.clone(), points: peak });
                }
                times.push(Series { name, points: time });
            }
            panels.push(Panel {
                title: format!(
                    "99 % in step, s after the servers are back; they were gone for {} s",
                    down as f64 / 1000.0
                ),
                series: times,
                limit: None,
            });
        }
        let accepts = self.measured.rates.accepts;
        panels.insert(
            0,
            Panel {
                title: "most SYNs per second, at each server".to_owned(),
                series: peaks,
                limit: Some((accepts, "what a server accepts".to_owned())),
            },
        );
        let head = "gone for, backoff | most SYNs per s and server | SYNs | half in step, s after | 99 %, s after | all, s after";
        self.add("jitter", table(head, &rows));
        let figure = Figure {
            title: "Which backoff: the load against the time".to_owned(),
            note: "10,000 clients, 3 servers. A SYN that finds the queue full is sent again after 1, 3, 7 s."
                .to_owned(),
            along: "the backoff's first bound, ms".to_owned(),
            until: 1000.0,
            panels,
        };
        self.findings.figures.push(("jitter", figure));
    }

    /// By report, and by reading.
    fn verify(&mut self) {
        let mut rows = Vec::new();
        let mut shown = Vec::new();
        for (name, verify) in [("report", VerifyMode::Report), ("read", VerifyMode::Read)] {
            let scenario = Scenario { verify, clients: CLIENTS / 25, weight: 25, ..self.scaled(MOVED) };
            let outcome = run(&scenario);
            rows.push(self.verification(name, &outcome));
            shown.push((name, outcome));
        }
        self.add("verify", table(VERIFICATION, &rows));
        let minutes = |mut series: Series| {
            series.points.iter_mut().for_each(|point| point.0 *= 10.0 / 60.0);
            series
        };
        let panel = |title: &str, of: &dyn Fn(&str, &Outcome) -> Series| Panel {
            title: title.to_owned(),
            series: shown.iter().map(|(name, outcome)| minutes(of(name, outcome))).collect(),
            limit: None,
        };
        let figure = Figure {
            title: "10,000 clients verify 100,000 nodes each".to_owned(),
            note: "3 servers, zxid moved. Simulated: 400 clients that stand for 25 each, a tenth of the nodes; time \
                   shown ×10."
                .to_owned(),
            along: "min since the connections were lost".to_owned(),
            until: 15.0,
            panels: vec![
                panel("nodes read or compared per second, at all servers", &|name, outcome| {
                    rate(name, outcome, |moment| moment.nodes + moment.compared)
                }),
                panel("bytes per second, from all servers", &|name, outcome| {
                    rate(name, outcome, |moment| moment.bytes)
                }),
                panel("longest wait for an answer, s", &|name, outcome| series(name, outcome, |moment| moment.wait)),
                panel("clients in step, %", &in_step),
            ],
        };
        self.findings.figures.push(("verify", figure));
    }

    /// A row of what a simulation of a tenth of the nodes says of all of them, per client.
    fn verification(&self, name: &str, outcome: &Outcome) -> Vec<String> {
        let minutes =
            |share| outcome.when(share).map_or("never".to_owned(), |at| format!("{:.1}", at * 10.0 / 60.0));
        let clients = outcome.clients as f64;
        let whole = |what: f64| number(what * 10.0 / CLIENTS as f64);
        vec![
            name.to_owned(),
            minutes(0.5),
            minutes(0.99),
            minutes(1.0),
            seconds(Some(outcome.load.longest_wait())),
            whole(outcome.load.total(|moment| moment.nodes)),
            whole(outcome.load.total(|moment| moment.compared)),
            format!("{:.2}", outcome.tally.bytes_to_servers as f64 * 10.0 / clients / 1e6),
            format!("{:.2}", outcome.load.total(|moment| moment.bytes) * 10.0 / CLIENTS as f64 / 1e6),
            format!("{:.1}", outcome.tally.accepted as f64 / clients),
            format!("{:.2}", outcome.tally.transactions as f64 / clients),
        ]
    }

    /// The ensemble is idle, its zxid does not move, and one of a hundred clients was about to read a change: only these
    /// have something to verify, as long as nobody makes a session for it.
    fn unclean(&mut self) {
        let mut rows = Vec::new();
        for (name, verify) in [("report", VerifyMode::Report), ("read", VerifyMode::Read)] {
            for unclean in [0.0, 0.01] {
                let happening = Happening::Outage { down: ms(1000), moved: false, unclean };
                let scenario =
                    Scenario { verify, clients: CLIENTS / 25, weight: 25, ..self.scaled(happening) };
                let name = format!("{name}, {:.0} % unclean", unclean * 100.0);
                rows.push(self.verification(&name, &run(&scenario)));
            }
        }
        self.add("unclean", table(VERIFICATION, &rows));
    }

    /// How long a client that reads all puts that off.
    fn spread(&mut self) {
        let drain = self.drain(TENTH.nodes() as f64, SERVERS);
        let per_node = drain / TENTH.nodes() as f64;
        // As it is, and over a share of the time that the bare reads take.
        let spreads = [None, Some(0.1), Some(1.0), Some(2.0)];
        let mut rows = Vec::new();
        for share in spreads {
            let spread = share.map(|share| Duration::from_secs_f64(per_node * share));
            let pace = spread
                .map_or_else(Pace::default, |spread_per_node| Pace { spread_per_node, ..Pace::default() });
            let spread = pace.spread_per_node;
            let now = if share.is_none() { " (now)" } else { "" };
            let name = format!("{} µs{now}", number(spread.as_micros() as f64));
            let outcome = run(&Scenario {
                pace,
                verify: VerifyMode::Read,
                clients: CLIENTS / 25,
                weight: 25,
                ..self.scaled(MOVED)
            });
            let minutes = |share| {
                outcome.when(share).map_or("never".to_owned(), |at| format!("{:.1}", at * 10.0 / 60.0))
            };
            rows.push(vec![
                name,
                format!("{:.1}", spread.as_secs_f64() * NODES),
                number(outcome.load.peak(|moment| moment.nodes)),
                number(outcome.load.peak(|moment| moment.bytes)),
                seconds(Some(outcome.load.longest_wait())),
                minutes(0.5),
                minutes(0.99),
                minutes(1.0),
            ]);
        }
        let mut text = format!("The bare reads take {:.1} min.\n\n", drain * 10.0 / 60.0);
        let head = "spread per node | of 100,000, s | most nodes/s | most bytes/s | longest wait for an answer, s | \
                    half in step, min | 99 %, min | all, min";
        text += &table(head, &rows);
        self.add("spread", text);
    }

    /// Where a client waits so long for its first answer that it takes the server for dead.
    fn cliff(&mut self) {
        let mut rows = Vec::new();
        let whole = Capacity::of(&self.measured.rates);
        for slower in [1, 2, 4, 6, 8, 10] {
            let capacity = Capacity { node: whole.node * slower, request: whole.request * slower, ..whole };
            let batch = (capacity.request as f64 + BATCH * capacity.node as f64) / 1e9;
            let drain = self.drain(TENTH.nodes() as f64, 1) * slower as f64;
            let mut row = vec![number(BATCH / batch), format!("{:.1}", CLIENTS as f64 * batch)];
            for (verify, flights) in [(VerifyMode::Report, 8), (VerifyMode::Read, 8), (VerifyMode::Read, 1)] {
                let pace = Pace { flights, ..Pace::default() };
                let bound = Duration::from_secs_f64(drain * 2.5);
                let outcome = run(&Scenario { capacity, pace, bound, verify, ..self.scaled(MOVED) });
                let reads = outcome.load.total(|moment| moment.nodes + moment.compared)
                    / (CLIENTS * TENTH.nodes()) as f64;
                row.extend([
                    outcome.when(1.0).map_or("never".to_owned(), |at| format!("{:.2}", at / drain)),
                    format!("{:.1}", outcome.tally.dropped as f64 / outcome.clients as f64),
                    format!("{reads:.2}"),
                ]);
            }
            rows.push(row);
        }
        let head = "one server, nodes/s | a round, s | report: all in step, × bare reads | lost again, per client | \
                    compared, × tree | read, 8 in flight: all in step, × bare reads | lost again, per client | reads, × tree | \
                    read, 1 in flight: all in step, × bare reads | lost again, per client | reads, × tree";
        self.add("cliff", table(head, &rows));
    }

    fn audit(&mut self) {
        // A tenth of the nodes in a tenth of the interval; the first step comes after an interval.
        let time = Duration::from_secs(240);
        let scenario = Scenario {
            audit: Duration::from_secs(60),
            step: Duration::from_secs(10),
            bound: time,
            ..self.scaled(Happening::Nothing(time))
        };
        let outcome = run(&scenario);
        let demand = CLIENTS as f64 * NODES / 600.0;
        let rates = &self.measured.rates;
        let text = format!(
            "By the formula {} nodes/s, in the simulation {}; that is {:.0} % of what 3 servers read in batches of \
             120, for ever, and the audit reads 64 at a time.\n",
            number(demand),
            number(
                outcome.load.moments.iter().rev().skip(1).take(6).map(|moment| moment.nodes).sum::<f64>()
                    / 60.0
            ),
            demand / (rates.batched_reads * SERVERS as f64) * 100.0,
        );
        self.add("audit", text);
    }

    /// Whether what was scaled says the same at another scale.
    fn scale(&mut self) {
        let mut rows = Vec::new();
        for (clients, tree) in [(100, TENTH), (400, TENTH), (100, WHOLE)] {
            let scenario = Scenario {
                clients,
                weight: (CLIENTS / clients) as u64,
                tree,
                verify: VerifyMode::Read,
                bound: Duration::from_secs(3000),
                ..self.scaled(MOVED)
            };
            let outcome = run(&scenario);
            let drain = self.drain(tree.nodes() as f64, SERVERS);
            let share = |share| {
                outcome.when(share).map_or("never".to_owned(), |at| format!("{:.3}", (at - 1.0) / drain))
            };
            rows.push(vec![
                format!(
                    "{clients} clients for {} each, {} nodes",
                    CLIENTS / clients,
                    number(tree.nodes() as f64)
                ),
                format!("{drain:.1}"),
                share(0.5),
                share(1.0),
                seconds(Some(outcome.load.longest_wait())),
            ]);
        }
        let head =
            "simulated | bare reads, s | half in step, × bare reads | all, × bare reads | longest wait, s";
        self.add("scale", table(head, &rows));
    }
}

fn in_milliseconds(mut figure: Figure) -> Figure {
    for series in figure.panels.iter_mut().flat_map(|panel| &mut panel.series) {
        series.points.iter_mut().for_each(|point| point.0 *= 1000.0);
    }
    figure
}

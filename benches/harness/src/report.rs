//! `benchmarks.md` and its plots, from what was measured.

use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

use crate::budget;
use crate::contender::{CACHES, Contender};
use crate::footprint::STAGES;
use crate::plan::{self, Plan, What};
use crate::plot::{Dot, Dots, Lines};
use crate::reads::{Case, DEPTHS, PATHS};
use crate::reconnect::CASES;
use crate::results::{Results, quantile};
use crate::storm::STORMS;
use crate::tree::{Shape, Tree};

/// Writes them to a folder; the plots to one below it.
pub fn write(folder: &Path, plan: &Plan, results: &Results) -> io::Result<()> {
    let plots = folder.join("benchmarks");
    fs::create_dir_all(&plots)?;
    let mut report = Report { plan, results, text: String::new(), plots: Vec::new() };
    report.write();
    for (name, svg) in &report.plots {
        fs::write(plots.join(format!("{name}.svg")), svg)?;
    }
    fs::write(folder.join("benchmarks.md"), report.text)
}

pub struct Report<'a> {
    pub plan: &'a Plan,
    pub results: &'a Results,
    text: String,
    plots: Vec<(String, String)>,
}

impl Report<'_> {
    fn write(&mut self) {
        self.opening();
        if self.results.fact_of("date").is_some() {
            self.sections();
        }
        self.cells();
    }

    fn sections(&mut self) {
        self.loads();
        self.memory();
        self.storms();
        self.latency();
        self.reconnects();
        self.reads();
        self.footprint();
        budget::write(self);
    }

    fn opening(&mut self) {
        let fact = |name| self.results.fact_of(name).unwrap_or("unknown");
        let circumstances = match self.results.fact_of("date") {
            None => "**Not measured yet**: `scripts/bench docs` writes this page.".to_owned(),
            Some(date) => format!(
                "{date}, a {} run of commit {} against {} on {}, {} cores, load {} at the start; Java {}, {}.",
                self.plan.scale.name(),
                fact("commit"),
                fact("server"),
                fact("processor"),
                fact("cores"),
                fact("load"),
                fact("java"),
                fact("python"),
            ),
        };
        self.line("# Benchmarks\n");
        self.line("libtreecache side by side with what one would take instead, on one server, in one run:\n");
        self.line("```sh\nscripts/bench docs           # at most 20 minutes\nscripts/bench --full docs    # hours, and more sizes; goes on where it was interrupted\n```\n");
        self.line(&circumstances);
        self.line(OPENING);
    }

    // --- Loads ---------------------------------------------------------------------------------------------------

    fn loads(&mut self) {
        self.line("\n## First load\n");
        self.line("From asking for a cache, in a session that is there, until it says that it is complete. Medians of the rounds, and from the fastest to the slowest.\n");
        let sizes: Vec<Tree> = self.bushy_loads();
        let lines = LOADERS.map(|who| {
            let point = |tree: &Tree| {
                Some((tree.nodes as f64, self.median(&tree.to_string(), who, "seconds")? * 1e3))
            };
            (who, sizes.iter().filter_map(point).collect())
        });
        let lines = Lines {
            title: "First load",
            note: "bushy trees, 128 bytes a node; less is better; both scales are logarithmic",
            x_label: "nodes",
            unit: "ms",
            lines: lines.into_iter().collect(),
        };
        self.plot("load", "First load by size", lines.draw());

        let heads = |trees: &[Tree]| {
            trees.iter().map(|tree| format!("{} nodes", grouped(tree.nodes))).collect::<Vec<_>>()
        };
        self.load_table("Bushy trees, 128 bytes a node:", &sizes, &heads(&sizes), |report, key, who| {
            report.spread(key, who, "seconds", 1e3, "ms")
        });
        self.load_table("Times as long as libtreecache:", &sizes, &heads(&sizes), |report, key, who| {
            report.ratio(key, who, "seconds")
        });
        self.load_table("Nodes a second:", &sizes, &heads(&sizes), |report, key, who| {
            let nodes = report.nodes_of(key)?;
            Some(grouped((nodes / report.median(key, who, "seconds")?) as usize))
        });
        self.load_table(
            "Processor time of the client, and of the server, for one load:",
            &sizes,
            &heads(&sizes),
            |report, key, who| {
                let [client, server] = ["client", "server"].map(|what| report.median(key, who, what));
                Some(format!("{} + {}", quantity(client? * 1e3, "ms"), quantity(server? * 1e3, "ms")))
            },
        );
        let others: Vec<Tree> = self.load_trees().into_iter().filter(|tree| !sizes.contains(tree)).collect();
        let names: Vec<String> = others
            .iter()
            .map(|tree| {
                format!(
                    "{}, {} × {}",
                    shape_name(tree.shape),
                    grouped(tree.nodes),
                    quantity(tree.data as f64, "B")
                )
            })
            .collect();
        self.load_table(
            "Other shapes, and other data (flat: all below one parent; deep: a chain):",
            &others,
            &names,
            |report, key, who| report.spread(key, who, "seconds", 1e3, "ms"),
        );
        self.load_table(
            "The very first load of a program, which for a JVM is one of code that was never run:",
            &sizes,
            &heads(&sizes),
            |report, key, who| Some(quantity(report.median(key, who, "cold")? * 1e3, "ms")),
        );
    }

    fn load_table(
        &mut self,
        caption: &str,
        trees: &[Tree],
        heads: &[String],
        cell: impl Fn(&Self, &str, Contender) -> Option<String>,
    ) {
        let rows: Vec<Vec<String>> = LOADERS
            .into_iter()
            .map(|who| {
                let cells = trees.iter().map(|tree| {
                    let key = tree.to_string();
                    cell(self, &key, who).unwrap_or_else(|| self.why_not(&key, who))
                });
                std::iter::once(who.name().to_owned()).chain(cells).collect()
            })
            .collect();
        self.table(caption, heads, &rows);
    }

    fn load_trees(&self) -> Vec<Tree> {
        let trees = self.plan.cells.iter().filter_map(|cell| match cell.what {
            What::Load(tree) => Some(tree),
            _ => None,
        });
        trees.collect()
    }

    fn bushy_loads(&self) -> Vec<Tree> {
        let bushy = |tree: &Tree| tree.shape == Shape::Bushy && tree.data == 128;
        self.load_trees().into_iter().filter(bushy).collect()
    }

    fn nodes_of(&self, key: &str) -> Option<f64> {
        let tree = self.load_trees().into_iter().find(|tree| tree.to_string() == key)?;
        Some(tree.nodes as f64)
    }

    // --- Memory --------------------------------------------------------------------------------------------------

    fn memory(&mut self) {
        self.line("\n## Memory\n");
        self.line("What a process has grown by, from a session without a cache to the first one that is complete, divided by the nodes (128 bytes of each are its data). Resident is what the system counts; alive is what the heap holds, after a collection in a JVM, where the runtime can tell.\n");
        // In a smaller tree it is the process that counts.
        let large = |tree: &Tree| tree.nodes > self.plan.scale.sizes().others;
        let sizes: Vec<Tree> = self.bushy_loads().into_iter().filter(large).collect();
        let groups = sizes.iter().map(|tree| {
            let dot = |who| {
                let bytes = self.median(&tree.to_string(), who, "resident")? / tree.nodes as f64;
                Some(Dot { who, low: bytes, middle: bytes, high: bytes })
            };
            (format!("{} nodes", grouped(tree.nodes)), CACHES.into_iter().filter_map(dot).collect())
        });
        let dots = Dots {
            title: "Resident memory for each node",
            note: "bushy trees, 128 bytes of data a node; less is better; logarithmic",
            unit: "B",
            groups: groups.collect(),
        };
        self.plot("memory", "Memory by node", dots.draw());
        let heads: Vec<String> = sizes.iter().map(|tree| format!("{} nodes", grouped(tree.nodes))).collect();
        self.load_table("Bytes for each node, resident (alive):", &sizes, &heads, |report, key, who| {
            if who == Contender::Bare {
                return Some("–".to_owned());
            }
            let nodes = report.nodes_of(key)?;
            let resident = report.median(key, who, "resident")? / nodes;
            let live = report
                .median(key, who, "live")
                .map_or_else(String::new, |live| format!(" ({:.0})", live / nodes));
            Some(format!("{resident:.0}{live}"))
        });

        let rows: Vec<Vec<String>> = CACHES
            .into_iter()
            .filter_map(|who| {
                let (resident, live) = (
                    self.results.all(plan::GROWTH, who, "resident"),
                    self.results.all(plan::GROWTH, who, "live"),
                );
                let rate = self.median(plan::GROWTH, who, "writes_per_second")?;
                let series = |values: &[f64]| {
                    let values: Vec<String> =
                        values.iter().map(|bytes| format!("{:.1}", bytes / 1e6)).collect();
                    if values.is_empty() { "–".to_owned() } else { values.join(", ") }
                };
                Some(vec![who.name().to_owned(), format!("{rate:.0}"), series(resident), series(live)])
            })
            .collect();
        let heads = ["writes a second", "resident, in MB", "alive, in MB"].map(str::to_owned);
        self.table("An hour of 100 writes a second, compressed into less than a minute: the whole process before, and after each sixth of the writes, with a listener. (A JVM takes what its heap allows before it gives any back: what is alive tells whether it grows.)", &heads, &rows);
    }

    // --- Storms --------------------------------------------------------------------------------------------------

    fn storms(&mut self) {
        let cells: Vec<(String, Tree, usize)> = self
            .plan
            .cells
            .iter()
            .filter_map(|cell| match cell.what {
                What::Storm(tree, writes) => Some((cell.key.clone(), tree, writes)),
                _ => None,
            })
            .collect();
        let Some((key, tree, writes)) = cells.first() else { return };
        self.line("\n## Storms of writes\n");
        self.line(&format!("{} writes, all on their way at once, to a tree of {} nodes. Behind is the time from the answer to the last write until the cache shows the last write of every node; libtreecache must say besides that it is in step. Requests and reads are counted by a proxy in a round of its own; a batch is one request, and each node in it a read.\n", grouped(*writes), grouped(tree.nodes)));
        let groups = STORMS.map(|storm| {
            let dots = CACHES
                .into_iter()
                .filter_map(|who| self.dot(key, who, &format!("{}/behind", storm.id()), 1e3));
            (storm.name().to_owned(), dots.collect())
        });
        let dots = Dots {
            title: "How far behind, when a storm of writes ends",
            note: "from the last answer until the cache shows it all; less is better; logarithmic",
            unit: "ms",
            groups: groups.into_iter().collect(),
        };
        self.plot("storms", "Storms of writes", dots.draw());
        let heads =
            ["behind", "requests a write", "reads a write", "events", "versions a second", "writing took"]
                .map(str::to_owned);
        for storm in STORMS {
            let rows: Vec<Vec<String>> = CACHES
                .into_iter()
                .map(|who| {
                    let median = |what: &str| self.median(key, who, &format!("{}/{what}", storm.id()));
                    let count =
                        |what: &str| median(what).map_or_else(String::new, |value| quantity(value, ""));
                    let versions = median("versions").filter(|value| *value > 0.0);
                    vec![
                        who.name().to_owned(),
                        self.spread(key, who, &format!("{}/behind", storm.id()), 1e3, "ms")
                            .unwrap_or_else(|| self.why_not(key, who)),
                        count("requests"),
                        count("reads"),
                        median("events").map_or_else(String::new, |events| grouped(events as usize)),
                        versions.map_or_else(|| "–".to_owned(), |value| quantity(value, "")),
                        median("writing").map_or_else(String::new, |seconds| quantity(seconds * 1e3, "ms")),
                    ]
                })
                .collect();
            let name = storm.name();
            self.table(&format!("{}{}:", name[..1].to_uppercase(), &name[1..]), &heads, &rows);
        }
    }

    // --- Latency -------------------------------------------------------------------------------------------------

    fn latency(&mut self) {
        self.line("\n## Latency of events\n");
        self.line("At 100 writes a second, each of another node: from the answer to the writer until the listener is called with the data. Both clocks are the machine's monotonic one. The answer and the notification leave the server together, so a callback may come first.\n");
        let milliseconds = |who| -> Option<[f64; 3]> {
            let after = self.results.all(plan::LATENCY, who, "after");
            Some([0.5, 0.99, 1.0].map(|share| quantile(after, share).unwrap_or_default() * 1e3))
                .filter(|_| !after.is_empty())
        };
        let dot = |who| milliseconds(who).map(|[middle, p99, _]| Dot { who, low: middle, middle, high: p99 });
        let dots = Dots {
            title: "From the acknowledgement of a write to the callback",
            note: "100 writes a second; the dot is the median, the bar reaches to the 99th percentile; logarithmic",
            unit: "ms",
            groups: vec![("each of another node".to_owned(), CACHES.into_iter().filter_map(dot).collect())],
        };
        self.plot("latency", "Latency of events", dots.draw());
        let rows: Vec<Vec<String>> = CACHES
            .into_iter()
            .map(|who| {
                let figures = match milliseconds(who) {
                    Some(figures) => figures.map(|value| quantity(value, "ms")).to_vec(),
                    None => vec![self.why_not(plan::LATENCY, who), String::new(), String::new()],
                };
                let missing = self
                    .median(plan::LATENCY, who, "missing")
                    .map_or_else(String::new, |count| quantity(count, ""));
                [vec![who.name().to_owned()], figures, vec![missing]].concat()
            })
            .collect();
        self.table(
            "",
            &["median", "99th percentile", "longest", "events that did not come"].map(str::to_owned),
            &rows,
        );
    }

    // --- Reconnects ----------------------------------------------------------------------------------------------

    fn reconnects(&mut self) {
        let cells: Vec<(String, Tree)> = self
            .plan
            .cells
            .iter()
            .filter_map(|cell| match cell.what {
                What::Reconnect(tree) => Some((cell.key.clone(), tree)),
                _ => None,
            })
            .collect();
        let Some((first, tree)) = cells.first() else { return };
        self.line("\n## A lost connection\n");
        self.line(RECONNECT);
        let groups = CASES.map(|case| {
            let right =
                |who: &Contender| self.median(first, *who, &format!("{}/follows", case.id())) == Some(1.0);
            let dots = CACHES
                .into_iter()
                .filter(right)
                .filter_map(|who| self.dot(first, who, &format!("{}/seconds", case.id()), 1e3));
            (case.name().to_owned(), dots.collect())
        });
        let dots = Dots {
            title: "Verifying the tree after a reconnect",
            note: &format!(
                "a tree of {} nodes; from the first request to the last answer; less is better; logarithmic",
                grouped(tree.nodes)
            ),
            unit: "ms",
            groups: groups.into_iter().collect(),
        };
        self.plot("reconnect", "Reconnects", dots.draw());
        let heads = ["time", "requests", "reads", "bytes, both ways", "after that"].map(str::to_owned);
        for (key, tree) in &cells {
            for case in CASES {
                let rows: Vec<Vec<String>> = CACHES
                    .into_iter()
                    .filter(|who| {
                        self.plan.cells.iter().any(|cell| cell.key == *key && cell.contenders.contains(who))
                    })
                    .map(|who| {
                        let median = |what: &str| self.median(key, who, &format!("{}/{what}", case.id()));
                        let count = |what: &str| {
                            median(what).map_or_else(String::new, |value| grouped(value as usize))
                        };
                        let verdict = match (median("right"), median("follows")) {
                            (None, _) => "",
                            (Some(1.0), Some(1.0)) => "right, and follows",
                            (Some(1.0), _) => "**no longer follows**",
                            _ => "**wrong**",
                        };
                        vec![
                            who.name().to_owned(),
                            self.spread(key, who, &format!("{}/seconds", case.id()), 1e3, "ms")
                                .unwrap_or_else(|| self.why_not(key, who)),
                            count("requests"),
                            count("reads"),
                            count("bytes"),
                            verdict.to_owned(),
                        ]
                    })
                    .collect();
                self.table(&format!("{} nodes, {}:", grouped(tree.nodes), case.name()), &heads, &rows);
            }
        }
    }

    // --- Reads ---------------------------------------------------------------------------------------------------

    fn reads(&mut self) {
        self.line("\n## Reads from memory\n");
        self.line(READS);
        let groups = PATHS.map(|paths| {
            let case = Case { paths, threads: 1, written: false };
            let dots = READERS.into_iter().filter_map(|who| self.dot(plan::READ_BUSHY, who, &case.id(), 1.0));
            (format!("{}, 1 thread", paths.name()), dots.collect())
        });
        let dots = Dots {
            title: "One read of a path of depth 3",
            note: &format!(
                "in a tree of {} nodes; less is better; logarithmic",
                grouped(self.plan.scale.sizes().reads)
            ),
            unit: "ns",
            groups: groups.into_iter().collect(),
        };
        self.plot("reads", "Reads from memory", dots.draw());
        let heads = READERS.map(|who| who.name().to_owned());
        let row = |name: String, key: &str, what: &str| -> Vec<String> {
            let cells = READERS.map(|who| {
                self.median(key, who, what).map_or_else(|| self.why_not(key, who), |ns| quantity(ns, "ns"))
            });
            std::iter::once(name).chain(cells).collect()
        };
        let rows: Vec<_> =
            Case::all().iter().map(|case| row(case.name(), plan::READ_BUSHY, &case.id())).collect();
        let deep: Vec<_> = DEPTHS
            .iter()
            .map(|depth| row(format!("depth {depth}"), plan::READ_DEEP, &format!("depth {depth}")))
            .collect();
        self.table(
            "A path of depth 3, of a bushy tree; a writer sets 1,000 nodes of it a second:",
            &heads,
            &rows,
        );
        self.table("One node of a chain, by its depth:", &heads, &deep);

        let ours = |what: &str| {
            self.median(plan::READ_OURS, Contender::Treecache, what)
                .map_or_else(String::new, |ns| quantity(ns, "ns"))
        };
        let widths = self.plan.cells.iter().find_map(|cell| match &cell.what {
            What::ReadOurs(_, widths) => Some(widths.clone()),
            _ => None,
        });
        let mut rows: Vec<Vec<String>> = Vec::new();
        for width in widths.unwrap_or_default() {
            rows.push(vec![
                format!("`tc_get_children` of {} children", grouped(width)),
                ours(&format!("children/{width}")),
            ]);
            rows.push(vec![
                format!("`tc_snapshot_walk` over them, for each node (with `tc_get_snapshot`)"),
                ours(&format!("walk/{width}")),
            ]);
        }
        rows.push(vec!["`tc_get_snapshot`, 1 thread".to_owned(), ours("snapshot/1 threads")]);
        rows.push(vec!["`tc_get_snapshot`, 2 threads".to_owned(), ours("snapshot/2 threads")]);
        rows.push(vec![
            format!("`tc_snapshot_walk` over {} nodes, for each", grouped(self.plan.scale.sizes().budget)),
            ours("walk/1 threads"),
        ]);
        rows.push(vec![
            format!(
                "`tc_snapshot_diff` of 100 changes among {} nodes, for each change",
                grouped(self.plan.scale.sizes().budget)
            ),
            ours("diff/1 threads"),
        ]);
        self.table("What only libtreecache has, or has as one call:", &["time".to_owned()], &rows);
    }

    // --- Footprint -----------------------------------------------------------------------------------------------

    fn footprint(&mut self) {
        self.line("\n## Footprint\n");
        self.line(&format!("A program that has just started, then with a session, then with a cache of {} nodes, then with a second cache of 1,000 nodes on the same session. Idle is the share of a core for 5 s after that. Start-up is the whole program's, interpreter or JVM included.\n", grouped(self.plan.scale.sizes().others)));
        let key = plan::FOOTPRINT;
        let stages = |who, what: &str| -> String {
            let figures = STAGES.map(|stage| {
                self.median(key, who, &format!("{what}/{stage}"))
                    .map_or_else(|| "?".to_owned(), |value| grouped(value as usize))
            });
            figures.join(" → ")
        };
        let rows: Vec<Vec<String>> = CACHES
            .into_iter()
            .map(|who| {
                let resident = STAGES.map(|stage| {
                    self.median(key, who, &format!("resident/{stage}"))
                        .map_or_else(|| "?".to_owned(), |value| quantity(value / 1e6, ""))
                });
                vec![
                    who.name().to_owned(),
                    self.median(key, who, "start-up")
                        .map_or_else(|| self.why_not(key, who), |seconds| quantity(seconds * 1e3, "ms")),
                    stages(who, "threads"),
                    stages(who, "descriptors"),
                    resident.join(" → "),
                    stages(who, "watches"),
                    self.median(key, who, "idle")
                        .map_or_else(String::new, |share| format!("{:.4} %", share * 100.0)),
                ]
            })
            .collect();
        let heads = ["start-up", "threads", "descriptors", "resident, MB", "watches at the server", "idle"]
            .map(str::to_owned);
        self.table("", &heads, &rows);
        let sizes: Vec<Vec<String>> = self
            .results
            .fact_of("sizes")
            .unwrap_or_default()
            .split(';')
            .filter_map(|entry| {
                let (bytes, what) = entry.split_once(' ')?;
                Some(vec![what.to_owned(), quantity(bytes.parse::<f64>().ok()? / 1e6, "MB")])
            })
            .collect();
        self.table("On disk:", &["size".to_owned()], &sizes);
    }

    // --- What was run --------------------------------------------------------------------------------------------

    fn cells(&mut self) {
        self.line("\n## The cells of this run\n");
        let rows: Vec<Vec<String>> = self
            .plan
            .cells
            .iter()
            .map(|cell| {
                let names: Vec<&str> = cell.contenders.iter().map(|who| who.name()).collect();
                let left_out: Vec<String> =
                    cell.left_out.iter().map(|(who, why)| format!("{} ({why})", who.name())).collect();
                let state = if self.results.is_done(&cell.key) { "yes" } else { "no" };
                vec![
                    format!("`{}`", cell.key),
                    names.join(", "),
                    left_out.join(", "),
                    state.to_owned(),
                    format!("{:.0} s", cell.guess),
                ]
            })
            .collect();
        self.table(
            "A tree's name is its use, shape, bytes of data a node and number of nodes.",
            &["contenders", "left out", "done", "takes about"].map(str::to_owned),
            &rows,
        );
        self.line(LEFT_OUT);
    }

    // --- What all sections use -----------------------------------------------------------------------------------

    pub fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    /// The first column has no head: it says what the row is.
    pub fn table(&mut self, caption: &str, heads: &[String], rows: &[Vec<String>]) {
        if rows.is_empty() {
            return;
        }
        if !caption.is_empty() {
            self.line(&format!("{caption}\n"));
        }
        let columns = heads.len() + 1;
        let head: Vec<String> = std::iter::once(String::new()).chain(heads.iter().cloned()).collect();
        let width = |column: usize| {
            rows.iter().chain([&head]).map(|row| row[column].chars().count()).max().unwrap_or(0).clamp(3, 40)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        // Numbers stand at the right, words at the left.
        let is_number = |cell: &str| cell.starts_with(|c: char| c.is_ascii_digit() || "–≤≥".contains(c));
        let right: Vec<bool> = (0..columns)
            .map(|column| {
                column > 0 && rows.iter().filter(|row| is_number(&row[column])).count() * 2 > rows.len()
            })
            .collect();
        let rule: Vec<String> = widths
            .iter()
            .enumerate()
            .map(|(column, &width)| match right[column] {
                false => "-".repeat(width),
                true => format!("{}:", "-".repeat(width - 1)),
            })
            .collect();
        for row in [&head, &rule].into_iter().chain(rows) {
            let mut line = String::from("|");
            for (column, cell) in row.iter().enumerate() {
                let width = widths[column];
                match right[column] {
                    false => write!(line, " {cell:width$} |"),
                    true => write!(line, " {cell:>width$} |"),
                }
                .expect("a string takes it all");
            }
            self.line(&line);
        }
        self.line("");
    }

    pub fn plot(&mut self, name: &str, what: &str, svg: String) {
        self.line(&format!("![{what}](benchmarks/{name}.svg)\n"));
        self.plots.push((name.to_owned(), svg));
    }

    pub fn median(&self, key: &str, who: Contender, what: &str) -> Option<f64> {
        self.results.median(key, who, what)
    }

    fn dot(&self, key: &str, who: Contender, what: &str, factor: f64) -> Option<Dot> {
        let values = self.results.all(key, who, what);
        let [low, middle, high] = [0.0, 0.5, 1.0].map(|share| quantile(values, share));
        Some(Dot { who, low: low? * factor, middle: middle? * factor, high: high? * factor })
    }

    /// The median, and in brackets the least and the most.
    fn spread(&self, key: &str, who: Contender, what: &str, factor: f64, unit: &str) -> Option<String> {
        let Dot { low, middle, high, .. } = self.dot(key, who, what, factor)?;
        let (factor, _) = scale(middle, unit);
        Some(format!("{} ({}–{})", quantity(middle, unit), number(low * factor), number(high * factor)))
    }

    fn ratio(&self, key: &str, who: Contender, what: &str) -> Option<String> {
        let ours = self.median(key, Contender::Treecache, what)?;
        Some(format!("{} ×", quantity(self.median(key, who, what)? / ours, "")))
    }

    fn why_not(&self, key: &str, who: Contender) -> String {
        self.results.note_of(key, who).unwrap_or_default().to_owned()
    }
}

const LOADERS: [Contender; 6] = [
    Contender::Bare,
    Contender::Treecache,
    Contender::CuratorTree,
    Contender::CuratorCache,
    Contender::ZookeeperCrate,
    Contender::Kazoo,
];

const READERS: [Contender; 6] = [
    Contender::Map,
    Contender::Treecache,
    Contender::CuratorTree,
    Contender::CuratorCache,
    Contender::ZookeeperCrate,
    Contender::Kazoo,
];

const OPENING: &str = "
What to make of it:

- **Compare within the page, not with another machine's.** Client and server share the processor, and the server is a
  part of every figure but the reads. Ratios travel, times do not.
- **A time counts only if the tree was right.** After each load, storm and reconnect, outside of what is timed, the number
  of nodes and a checksum over all paths and data are compared with the server's tree. What fails is shown as failed.
- **One clock.** Each contender is a program of its own (`benches/contenders`), which the harness (`benches/harness`) asks
  for one thing at a time; the harness takes the time from request to answer. In every round each contender has its turn.
- **JVMs are warm.** A program lives through all rounds, and none is timed before it has loaded the tree until it has seen
  50,000 nodes, or for 3 s (10 s in a full run); before reads, latencies and storms there are untimed ones, too. The very
  first load of each program is shown apart. They have 4 GiB of heap, and are at their defaults otherwise.
- **Everybody at their defaults**, which is what their documentation begins with, and with no listener where none is needed:

| contender | what it is, and what was chosen |
|---|---|
| libtreecache | from C++, through its C ABI |
| bare multiRead | the limit: one socket, four multiReads of 256 reads in flight, replies kept and nothing made of them |
| Curator TreeCache | Debian's Curator 5.4; `TreeCache.newBuilder(..).build()`, `ExponentialBackoffRetry(1000, 3)`, `jute.maxbuffer` 128 MiB so that large parents can be read |
| Curator CuratorCache | the same, `CuratorCache.build(..)`: one recursive watch, as libtreecache has. **It does not load trees of more than 65,535 nodes**: it asks for all nodes at once and counts what is under way with a `java.util.concurrent.Phaser`, which registers no more; what comes then is logged and never complete ([CURATOR-690](https://issues.apache.org/jira/browse/CURATOR-690), mended in 5.6) |
| zookeeper crate | what one writes by hand over the Rust crate `zookeeper` 0.8: a map, one-shot watches on every node, 64 threads that read |
| kazoo TreeCache | kazoo 2.11 from PyPI, with its default handler |
| unordered_map | for reads only: a `std::unordered_map` under a `std::shared_mutex`, filled by a listener of libtreecache |";

const RECONNECT: &str = "The connection is cut, then something is written or not, then the client may connect again. Counted by a proxy: from the \
     first request on the new connection to the last answer before 1.5 s of quiet; how long a client waits before it \
     connects again, which is random, is no part of it, but what libtreecache waits before it verifies is (at most 1 µs for \
     each node, so that clients which lost a server together do not read together). \"Tree unchanged\" means that something \
     was written elsewhere. Afterwards the tree is checked, and whether one more change arrives.\n";

const READS: &str = "From the program's own threads. What is read is what the library gives: libtreecache and the map hand out counted data \
     (libtreecache with its Stat), Curator an object, kazoo a tuple, the hand-made cache a copy. In Java the same String \
     objects are asked for again and again, and remember their hash; a program that builds its paths pays for that. A map \
     of paths needs no walk from the root, and has no order, no children and no snapshots.\n";

const LEFT_OUT: &str = "Not in any run, because it does not fit: 4 KiB of data in each of 1,000,000 nodes (the server's heap), and kazoo with more \
     than 100,000 nodes (many minutes for each load).";

fn shape_name(shape: Shape) -> &'static str {
    match shape {
        Shape::Flat => "flat",
        Shape::Deep => "deep",
        Shape::Bushy => "bushy",
    }
}

/// Three digits are more than is reproducible. What is long gets a larger unit.
pub fn quantity(value: f64, unit: &str) -> String {
    let (factor, unit) = scale(value, unit);
    format!("{} {unit}", number(value * factor)).trim_end().to_owned()
}

fn number(value: f64) -> String {
    let decimals = match value.abs() {
        value if value >= 10_000.0 => return grouped(value.round() as usize),
        value if value >= 100.0 || value.fract() == 0.0 => 0,
        value if value >= 10.0 => 1,
        value if value >= 0.1 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

/// What to multiply a value with for the unit that it is better told in.
fn scale(value: f64, unit: &str) -> (f64, &str) {
    match unit {
        "ns" if value >= 10_000.0 => (1e-3, "µs"),
        "ms" if value >= 10_000.0 => (1e-3, "s"),
        _ => (1.0, unit),
    }
}

/// With commas between thousands.
pub fn grouped(value: usize) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

//! What the design allows itself, next to what was measured.

use crate::contender::Contender;
use crate::market::MARKETS;
use crate::numbers::{grouped, quantity};
use crate::page::Page;
use crate::plan::{self, What};
use crate::plot::Bars;
use crate::reads::{Case, PATHS};
use crate::results::median;
use crate::tree::Shape;

#[derive(Clone, Copy)]
enum Budget {
    AtLeast(f64),
    AtMost(f64),
}

struct Figure {
    what: String,
    unit: &'static str,
    measured: f64,
    budget: Budget,
    /// What helps to read it; may be empty.
    note: String,
}

impl Figure {
    /// How much of the budget is used: 1 is all of it. The other way round for what is to be large.
    fn share(&self) -> f64 {
        match self.budget {
            Budget::AtLeast(least) => least / self.measured,
            Budget::AtMost(most) => self.measured / most,
        }
    }

    fn budget_text(&self) -> String {
        match self.budget {
            Budget::AtLeast(least) => format!("≥ {}", quantity(least, self.unit)),
            Budget::AtMost(most) => format!("≤ {}", quantity(most, self.unit)),
        }
    }
}

pub fn write(page: &mut Page) {
    let figures = figures(page);
    page.line("\n## Budgets\n");
    page.line(&format!(
        "What the design allows itself, in a tree of {} nodes of 128 bytes.\n",
        grouped(page.plan.scale.sizes().budget)
    ));
    let bars = figures.iter().map(|figure| {
        let beside = format!("{}  (budget {})", quantity(figure.measured, figure.unit), figure.budget_text());
        (figure.what.clone(), figure.share(), beside)
    });
    let bars = Bars {
        title: "What was measured, as a share of its budget",
        note: "less is better; linear",
        bars: bars.collect(),
    };
    page.plot("budgets", "Budgets", bars.draw());
    let rows: Vec<Vec<String>> = figures
        .iter()
        .map(|figure| {
            vec![
                figure.what.clone(),
                quantity(figure.measured, figure.unit),
                figure.budget_text(),
                format!("{:.0} %", figure.share() * 100.0),
                figure.note.clone(),
            ]
        })
        .collect();
    page.table("", &["measured", "budget", "used", "besides"].map(str::to_owned), &rows);
    markets(page);
}

/// Those of which everything was measured.
fn figures(page: &Page) -> Vec<Figure> {
    let ours = Contender::Treecache;
    let nodes = page.plan.scale.sizes().budget;
    let key_of = |wanted: &dyn Fn(&What) -> bool| {
        page.plan
            .cells
            .iter()
            .find(|cell| wanted(&cell.what))
            .map(|cell| cell.key.as_str())
            .unwrap_or_default()
    };
    let load = key_of(
        &|what| matches!(what, What::Load(tree) if tree.nodes == nodes && tree.data == 128 && tree.shape == Shape::Bushy),
    );
    let million = key_of(
        &|what| matches!(what, What::Load(tree) if tree.nodes == 1_000_000 && tree.data == 128 && tree.shape == Shape::Bushy),
    );
    let storm = key_of(&|what| matches!(what, What::Storm(tree, _) if tree.nodes >= nodes));
    let reconnect = key_of(&|what| matches!(what, What::Reconnect(tree) if tree.nodes == nodes));
    let mut figures = Vec::new();
    let mut add = |what: &str, unit, measured: Option<f64>, budget, note: String| {
        if let Some(measured) = measured {
            figures.push(Figure { what: what.to_owned(), unit, measured, budget, note });
        }
    };

    let ms = |key: &str, who, what: &str| {
        page.median(key, who, what).map_or_else(String::new, |seconds| quantity(seconds * 1e3, "ms"))
    };
    let rounds = |who| page.results.all(load, who, "seconds");
    // Round by round: what slows a round down slows down both.
    let speed = |theirs: &[f64]| {
        let ratios: Vec<f64> = theirs.iter().zip(rounds(ours)).map(|(theirs, ours)| theirs / ours).collect();
        median(&ratios)
    };
    let best: Vec<f64> = rounds(Contender::Bare)
        .iter()
        .zip(rounds(Contender::BareProven))
        .map(|(plain, proven)| plain.min(*proven))
        .collect();
    for (who, theirs, what, least) in [
        (
            Contender::BareProven,
            rounds(Contender::BareProven),
            "first load, speed to a loop in our batches",
            0.85,
        ),
        (Contender::Bare, &best, "first load, speed to the best bare loop", 0.8),
        (Contender::CuratorTree, rounds(Contender::CuratorTree), "first load, speed to TreeCache", 80.0),
        (Contender::Kazoo, rounds(Contender::Kazoo), "first load, speed to kazoo", 300.0),
    ] {
        let others = if who == Contender::Bare { "in batches of 256" } else { "the other" };
        let note = format!("{}, {others} {}", ms(load, ours, "seconds"), ms(load, who, "seconds"));
        add(what, "×", speed(theirs), Budget::AtLeast(least), note);
    }
    let processor = page.median(load, ours, "client").map(|seconds| seconds * 1e3);
    let most = Budget::AtMost(45.0 * nodes as f64 / 1e5);
    add("first load, the client's processor time", "ms", processor, most, String::new());
    let megabytes = |key, what| page.median(key, ours, what).map(|bytes| bytes / 1e6);
    let heap = |key| {
        megabytes(key, "live").map_or_else(String::new, |heap| format!("heap {}", quantity(heap, "MB")))
    };
    let most = Budget::AtMost(20.0 * nodes as f64 / 1e5);
    add("memory, resident, over an idle client", "MB", megabytes(load, "resident"), most, heap(load));
    let seconds = page.median(million, ours, "seconds");
    let note = format!("a bare loop, our batches: {}", ms(million, Contender::BareProven, "seconds"));
    add("1,000,000 nodes, first load", "s", seconds, Budget::AtMost(1.2), note);
    add(
        "1,000,000 nodes, memory",
        "MB",
        megabytes(million, "resident"),
        Budget::AtMost(210.0),
        heap(million),
    );
    reads(page, &mut add);
    let behind = page.median(storm, ours, "wide/behind").map(|seconds| seconds * 1e3);
    let note = format!("writing them took {}", ms(storm, ours, "wide/writing"));
    add("10,000 pipelined writes, in step after", "ms", behind, Budget::AtMost(1.5), note);
    let verify = page.results.all(reconnect, ours, "elsewhere/verify").iter();
    let verify = verify.zip(page.results.all(reconnect, ours, "elsewhere/load"));
    let ratios: Vec<f64> = verify.map(|(verify, load)| verify / load).collect();
    let note = format!("{}, both through a proxy", ms(reconnect, ours, "elsewhere/verify"));
    add("verify, zxid moved, to the first load", "×", median(&ratios), Budget::AtMost(0.6), note);
    let received = page.median(reconnect, ours, "elsewhere/received").map(|bytes| bytes / 1e3);
    add("verify, zxid moved, received", "kB", received, Budget::AtMost(20.0), String::new());
    let round_trips = page.median(reconnect, ours, "nothing/round trips");
    let note = format!("answered after {}", ms(reconnect, ours, "nothing/seconds"));
    add("verify, zxid not moved, round trips", "", round_trips, Budget::AtMost(1.0), note);
    let idle = page.median(plan::FOOTPRINT, ours, "idle").map(|share| share * 100.0);
    add("idle, share of a core", "%", idle, Budget::AtMost(0.1), String::new());
    let watches = page.median(plan::FOOTPRINT, ours, "watches/two caches");
    add("watches of a client with two caches", "", watches, Budget::AtMost(2.0), String::new());
    figures
}

/// Reads from memory, one thread against the clock and two against a map.
fn reads(page: &Page, add: &mut impl FnMut(&str, &'static str, Option<f64>, Budget, String)) {
    let ours = Contender::Treecache;
    let locked = [Contender::MapMutex, Contender::Map];
    for (paths, most) in PATHS.into_iter().zip([85.0, 130.0, 320.0]) {
        let case = Case { paths, threads: 1, written: false };
        let median = |who| page.median(plan::READ_BUDGET, who, &case.id());
        let [mutex, shared] = locked.map(median);
        let note = mutex.zip(shared).map(|(mutex, shared)| {
            format!(
                "locked maps: {} (mutex), {} (shared_mutex)",
                quantity(mutex, "ns"),
                quantity(shared, "ns")
            )
        });
        let what = format!("read at depth 3, {}", case.name());
        add(&what, "ns", median(ours), Budget::AtMost(most), note.unwrap_or_default());
    }
    for paths in PATHS {
        let case = Case { paths, threads: 2, written: false };
        let median = |who| page.median(plan::READ_BUDGET, who, &case.id());
        let map = locked.into_iter().filter_map(median).reduce(f64::min);
        let note = median(ours).zip(map).map(|(ns, map)| {
            format!("{}, the faster of the locked maps {}", quantity(ns, "ns"), quantity(map, "ns"))
        });
        let ratio = median(ours).zip(map).map(|(ns, map)| ns / map);
        let what = format!("to a locked map: {}", case.name());
        add(&what, "×", ratio, Budget::AtMost(1.5), note.unwrap_or_default());
    }
    let deep = page.median(plan::READ_DEEP, ours, "depth 100");
    add("read at depth 100, one path", "ns", deep, Budget::AtMost(130.0), String::new());
    for threads in [1, 2] {
        let ns = page.median(plan::READ_OURS, ours, &format!("snapshot/{threads} threads"));
        let what = format!("snapshot, {threads} thread{}", if threads == 1 { "" } else { "s" });
        add(&what, "ns", ns, Budget::AtMost(60.0), String::new());
    }
}

fn markets(page: &mut Page) {
    let rows: Vec<Vec<String>> = MARKETS
        .iter()
        .filter_map(|market| {
            let median =
                |what| page.median(plan::MARKET, Contender::Treecache, &format!("{}/{what}", market.name()));
            Some(vec![
                market.name(),
                quantity(median("gap")? * 1e3, "ms"),
                quantity(median("cuts")?, ""),
                grouped(median("transactions")? as usize),
            ])
        })
        .collect();
    let heads = ["longest without a cut", "cuts a second", "transactions a second"].map(str::to_owned);
    page.table(
        "Cuts while money is moved between accounts in transactions as fast as the server takes them, and accounts are \
         opened and closed:",
        &heads,
        &rows,
    );
}

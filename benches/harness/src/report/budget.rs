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
    for (who, what, least) in [
        (Contender::Bare, "first load, speed to a bare loop", 0.6),
        (Contender::CuratorTree, "first load, speed to TreeCache", 40.0),
        (Contender::Kazoo, "first load, speed to kazoo", 150.0),
    ] {
        // Round by round: what slows a round down slows down both.
        let rounds =
            page.results.all(load, who, "seconds").iter().zip(page.results.all(load, ours, "seconds"));
        let ratios: Vec<f64> = rounds.map(|(theirs, ours)| theirs / ours).collect();
        let note = format!("{}, the other {}", ms(load, ours, "seconds"), ms(load, who, "seconds"));
        add(what, "×", median(&ratios), Budget::AtLeast(least), note);
    }
    let megabytes = |what| page.median(load, ours, what).map(|bytes| bytes / 1e6);
    let heap = megabytes("live").map_or_else(String::new, |heap| format!("heap {}", quantity(heap, "MB")));
    let most = Budget::AtMost(35.0 * nodes as f64 / 1e5);
    add("memory, resident, over an idle client", "MB", megabytes("resident"), most, heap);
    for threads in [1, 2] {
        for paths in PATHS {
            let case = Case { paths, threads, written: false };
            let [ns, map] = [ours, Contender::Map].map(|who| page.median(plan::READ_BUDGET, who, &case.id()));
            let note =
                ns.zip(map).map(|(ns, map)| format!("{} × a locked unordered_map", quantity(ns / map, "")));
            let what = format!("read at depth 3, {}", case.name());
            add(&what, "ns", ns, Budget::AtMost(150.0), note.unwrap_or_default());
        }
        let ns = page.median(plan::READ_OURS, ours, &format!("snapshot/{threads} threads"));
        let what = format!("snapshot, {threads} thread{}", if threads == 1 { "" } else { "s" });
        add(&what, "ns", ns, Budget::AtMost(100.0), String::new());
    }
    let behind = page.median(storm, ours, "wide/behind").map(|seconds| seconds * 1e3);
    let note = format!("writing them took {}", ms(storm, ours, "wide/writing"));
    add("10,000 pipelined writes, in step after", "ms", behind, Budget::AtMost(30.0), note);
    let verify = page.results.all(reconnect, ours, "elsewhere/verify").iter();
    let verify = verify.zip(page.results.all(reconnect, ours, "elsewhere/load"));
    let ratios: Vec<f64> = verify.map(|(verify, load)| verify / load).collect();
    let note = format!("{}, both through a proxy", ms(reconnect, ours, "elsewhere/verify"));
    add("verify, zxid moved, to the first load", "×", median(&ratios), Budget::AtMost(1.5), note);
    let requests = page.median(reconnect, ours, "nothing/requests");
    let note = format!("answered after {}", ms(reconnect, ours, "nothing/seconds"));
    add("verify, zxid not moved, requests", "", requests, Budget::AtMost(1.0), note);
    let idle = page.median(plan::FOOTPRINT, ours, "idle").map(|share| share * 100.0);
    add("idle, share of a core", "%", idle, Budget::AtMost(0.1), String::new());
    let watches = page.median(plan::FOOTPRINT, ours, "watches/two caches");
    add("watches of a client with two caches", "", watches, Budget::AtMost(2.0), String::new());
    figures
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

//! Lost connections.

use crate::contender::Contender;
use crate::numbers::{grouped, quantity};
use crate::page::Page;
use crate::plan::{RECONNECTERS, What};
use crate::plot::Dots;
use crate::reconnect::CASES;
use crate::results::quantile;
use crate::tree::Tree;

pub fn write(page: &mut Page) {
    let cells: Vec<(String, Tree)> = page
        .plan
        .cells
        .iter()
        .filter_map(|cell| match cell.what {
            What::Reconnect(tree) => Some((cell.key.clone(), tree)),
            _ => None,
        })
        .collect();
    let Some((first, tree)) = cells.first() else { return };
    page.line("\n## A lost connection\n");
    page.line(RECONNECT);
    let groups = CASES.map(|case| {
        let right =
            |who: &Contender| page.median(first, *who, &format!("{}/follows", case.id())) == Some(1.0);
        let dots = RECONNECTERS
            .into_iter()
            .filter(right)
            .filter_map(|who| page.dot(first, who, &format!("{}/seconds", case.id()), 1e3));
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
    page.plot("reconnect", "Reconnects", dots.draw());
    let heads = [
        "time",
        "requests",
        "reads",
        "kB sent",
        "kB received",
        "client, ms",
        "server, ms",
        "watches",
        "others' p99",
        "after that",
    ]
    .map(str::to_owned);
    for (key, tree) in &cells {
        for case in CASES {
            let rows: Vec<Vec<String>> = RECONNECTERS
                .into_iter()
                .filter(|who| {
                    page.plan.cells.iter().any(|cell| cell.key == *key && cell.contenders.contains(who))
                })
                .map(|who| {
                    let median = |what: &str| page.median(key, who, &format!("{}/{what}", case.id()));
                    let scaled = |what: &str, factor: f64| {
                        median(what)
                            .map_or_else(String::new, |value| grouped((value * factor).round() as usize))
                    };
                    let beside = page.results.all(key, who, &format!("{}/beside", case.id()));
                    let others =
                        quantile(beside, 0.99).map_or_else(String::new, |p99| quantity(p99 * 1e3, "ms"));
                    let verdict = match (median("right"), median("follows")) {
                        (None, _) => "",
                        (Some(1.0), Some(1.0)) => "right, and follows",
                        (Some(1.0), _) => "**no longer follows**",
                        _ => "**wrong**",
                    };
                    vec![
                        who.name().to_owned(),
                        page.spread(key, who, &format!("{}/seconds", case.id()), 1e3, "ms")
                            .unwrap_or_else(|| page.why_not(key, who)),
                        scaled("requests", 1.0),
                        scaled("reads", 1.0),
                        scaled("sent", 1e-3),
                        scaled("received", 1e-3),
                        scaled("client", 1e3),
                        scaled("server", 1e3),
                        scaled("watches", 1.0),
                        others,
                        verdict.to_owned(),
                    ]
                })
                .collect();
            page.table(&format!("{} nodes, {}:", grouped(tree.nodes), case.name()), &heads, &rows);
        }
    }
}

const RECONNECT: &str = "The connection is cut, then something is written or not, then the client may connect again. Counted by a proxy: from the \
     first request on the new connection to the last answer before 1.5 s of quiet; how long a client waits before it \
     connects again, which is random, is no part of it, but what libtreecache waits before it verifies is (at most 1 µs for \
     each node, so that clients which lost a server together do not read together). \"Tree unchanged\" means that something \
     was written elsewhere. Processor times are those of the whole process from where the client may connect to the last \
     answer; the server's hold the other client's writes, and what it takes to ask for the number of watches. \"Watches\" is the most that the server had at once, at some 270 \
     bytes of its heap each. \"Others' p99\" is how long one of another client's 100 writes a second took meanwhile. The \
     audit is off here, since it never is quiet. Afterwards the tree is checked, and whether one more change arrives.\n";

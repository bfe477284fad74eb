//! Writes of others while a tree is loaded.

use crate::numbers::{grouped, quantity};
use crate::page::Page;
use crate::plan;
use crate::plot::{Dot, Dots};
use crate::results::quantile;

const CASES: [(&str, &str); 2] = [("alone", "nobody loads"), ("beside", "while it loads")];

pub fn write(page: &mut Page) {
    page.line("\n## A load beside a writer\n");
    page.line(&format!("Another client sets a node outside the tree 100 times a second, one write after the other, and waits for each answer: first while the contender has no session, then while it loads {} nodes, again and again. A write that is sent late, because the one before it took so long, counts from when it was due.\n", grouped(page.plan.scale.sizes().budget)));
    let milliseconds = |who, what| -> Option<[f64; 3]> {
        let latencies = page.results.all(plan::BESIDE, who, what);
        let each = [0.5, 0.99, 1.0].map(|share| quantile(latencies, share).unwrap_or_default() * 1e3);
        (!latencies.is_empty()).then_some(each)
    };
    let groups = CASES.map(|(what, name)| {
        let dot = |who| {
            let [middle, p99, _] = milliseconds(who, what)?;
            Some(Dot { who, low: middle, middle, high: p99 })
        };
        (name.to_owned(), plan::LEAN_LOADERS.into_iter().filter_map(dot).collect())
    });
    let dots = Dots {
        title: "A write of another client",
        note: "100 writes a second; the dot is the median, the bar reaches to the 99th percentile; logarithmic",
        unit: "ms",
        groups: groups.into_iter().collect(),
    };
    page.plot("beside-a-writer", "Writes beside a load", dots.draw());
    let rows: Vec<Vec<String>> = plan::LEAN_LOADERS
        .into_iter()
        .flat_map(|who| CASES.map(|(what, name)| (who, what, name)))
        .map(|(who, what, name)| {
            let figures = milliseconds(who, what).map(|figures| figures.map(|value| quantity(value, "ms")));
            let load = page.spread(plan::BESIDE, who, "seconds", 1e3, "ms").filter(|_| what == "beside");
            let writes = page.results.all(plan::BESIDE, who, what).len();
            let name = format!("{}, {name}", who.name());
            let figures =
                figures.unwrap_or_else(|| [page.why_not(plan::BESIDE, who), String::new(), String::new()]);
            [vec![name], figures.to_vec(), vec![grouped(writes), load.unwrap_or_default()]].concat()
        })
        .collect();
    let heads = ["median", "99th percentile", "longest", "writes", "a load"].map(str::to_owned);
    page.table("", &heads, &rows);
}

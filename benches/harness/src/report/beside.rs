//! Writes of others while a tree is loaded.

use crate::numbers::{grouped, quantity};
use crate::page::Page;
use crate::plan;
use crate::plot::{Dot, Dots};
use crate::results::quantile;

pub fn write(page: &mut Page) {
    page.line("\n## A load beside a writer\n");
    page.line(&format!("Another client sets a node outside the tree 100 times a second, one write after the other, and waits for each answer: first while nobody loads, then while a contender loads {} nodes, each in its turn, again and again. While a write takes longer than 10 ms, others would have been due: they count, too, from when they were.\n", grouped(page.plan.scale.sizes().budget)));
    let milliseconds = |who, what| -> Option<[f64; 3]> {
        let latencies = page.results.all(plan::BESIDE, who, what);
        let each = [0.5, 0.99, 1.0].map(|share| quantile(latencies, share).unwrap_or_default() * 1e3);
        (!latencies.is_empty()).then_some(each)
    };
    let dot = |who| {
        let [middle, p99, _] = milliseconds(who, "beside")?;
        Some(Dot { who, low: middle, middle, high: p99 })
    };
    let dots = plan::LEAN_LOADERS.into_iter().filter_map(dot).collect();
    let dots = Dots {
        title: "A write of another client",
        note: "100 writes a second; the dot is the median, the bar reaches to the 99th percentile; logarithmic",
        unit: "ms",
        groups: vec![("while it loads".to_owned(), dots)],
    };
    page.plot("beside-a-writer", "Writes beside a load", dots.draw());
    let row = |name: &str, who, what| -> Vec<String> {
        let figures = milliseconds(who, what).map(|figures| figures.map(|value| quantity(value, "ms")));
        let figures =
            figures.unwrap_or_else(|| [page.why_not(plan::BESIDE, who), String::new(), String::new()]);
        let writes = grouped(page.results.all(plan::BESIDE, who, what).len());
        [vec![name.to_owned()], figures.to_vec(), vec![writes]].concat()
    };
    let mut rows: Vec<Vec<String>> = Vec::new();
    // All have seen the same.
    if let Some(who) = plan::LEAN_LOADERS.into_iter().find(|who| milliseconds(*who, "alone").is_some()) {
        rows.push([row("nobody loads", who, "alone"), vec![String::new()]].concat());
    }
    for who in plan::LEAN_LOADERS {
        let load = page.spread(plan::BESIDE, who, "seconds", 1e3, "ms").unwrap_or_default();
        rows.push([row(who.name(), who, "beside"), vec![load]].concat());
    }
    let heads = ["median", "99th percentile", "longest", "writes", "a load"].map(str::to_owned);
    page.table("", &heads, &rows);
}

//! The latency of events.

use crate::numbers::quantity;
use crate::page::Page;
use crate::plan::{self, LISTENERS};
use crate::plot::{Dot, Dots};
use crate::results::quantile;

pub fn write(page: &mut Page) {
    page.line("\n## Latency of events\n");
    page.line("At 100 writes a second, each of another node: from the answer to the writer until the listener is called with the data. Both clocks are the machine's monotonic one. The answer and the notification leave the server together, so a callback may come first. *Attached* listens to the file that a cache of the same program keeps.\n");
    let milliseconds = |who| -> Option<[f64; 3]> {
        let after = page.results.all(plan::LATENCY, who, "after");
        Some([0.5, 0.99, 1.0].map(|share| quantile(after, share).unwrap_or_default() * 1e3))
            .filter(|_| !after.is_empty())
    };
    let dot = |who| milliseconds(who).map(|[middle, p99, _]| Dot { who, low: middle, middle, high: p99 });
    let dots = Dots {
        title: "From the acknowledgement of a write to the callback",
        note: "100 writes a second; the dot is the median, the bar reaches to the 99th percentile; logarithmic",
        unit: "ms",
        groups: vec![("each of another node".to_owned(), LISTENERS.into_iter().filter_map(dot).collect())],
    };
    page.plot("latency", "Latency of events", dots.draw());
    let rows: Vec<Vec<String>> = LISTENERS
        .into_iter()
        .map(|who| {
            let figures = match milliseconds(who) {
                Some(figures) => figures.map(|value| quantity(value, "ms")).to_vec(),
                None => vec![page.why_not(plan::LATENCY, who), String::new(), String::new()],
            };
            let missing = page
                .median(plan::LATENCY, who, "missing")
                .map_or_else(String::new, |count| quantity(count, ""));
            [vec![who.name().to_owned()], figures, vec![missing]].concat()
        })
        .collect();
    page.table(
        "",
        &["median", "99th percentile", "longest", "events that did not come"].map(str::to_owned),
        &rows,
    );
}

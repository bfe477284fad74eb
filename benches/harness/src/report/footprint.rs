//! What a program holds.

use crate::contender::CACHES;
use crate::footprint::STAGES;
use crate::numbers::{grouped, quantity};
use crate::page::Page;
use crate::plan;

pub fn write(page: &mut Page) {
    page.line("\n## Footprint\n");
    page.line(&format!("A program that has just started, then with a session, then with a cache of {} nodes, then with a second cache of 1,000 nodes on the same session. Idle is the share of a core for 10 s after that. Start-up is the whole program's, interpreter or JVM included.\n", grouped(page.plan.scale.sizes().others)));
    let key = plan::FOOTPRINT;
    let stages = |who, what: &str| -> String {
        let figures = STAGES.map(|stage| {
            page.median(key, who, &format!("{what}/{stage}"))
                .map_or_else(|| "?".to_owned(), |value| grouped(value as usize))
        });
        figures.join(" → ")
    };
    let rows: Vec<Vec<String>> = CACHES
        .into_iter()
        .map(|who| {
            let resident = STAGES.map(|stage| {
                page.median(key, who, &format!("resident/{stage}"))
                    .map_or_else(|| "?".to_owned(), |value| quantity(value / 1e6, ""))
            });
            vec![
                who.name().to_owned(),
                page.median(key, who, "start-up")
                    .map_or_else(|| page.why_not(key, who), |seconds| quantity(seconds * 1e3, "ms")),
                stages(who, "threads"),
                stages(who, "descriptors"),
                resident.join(" → "),
                stages(who, "watches"),
                page.median(key, who, "idle")
                    .map_or_else(String::new, |share| format!("{:.4} %", share * 100.0)),
            ]
        })
        .collect();
    let heads = ["start-up", "threads", "descriptors", "resident, MB", "watches at the server", "idle"]
        .map(str::to_owned);
    page.table("", &heads, &rows);
    let sizes: Vec<Vec<String>> = page
        .results
        .fact_of("sizes")
        .unwrap_or_default()
        .split(';')
        .filter_map(|entry| {
            let (bytes, what) = entry.split_once(' ')?;
            Some(vec![what.to_owned(), quantity(bytes.parse::<f64>().ok()? / 1e6, "MB")])
        })
        .collect();
    page.table("On disk:", &["size".to_owned()], &sizes);
}

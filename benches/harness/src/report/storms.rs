//! Storms of writes.

use crate::contender::CACHES;
use crate::numbers::{grouped, quantity};
use crate::page::Page;
use crate::plan::What;
use crate::plot::Dots;
use crate::storm::STORMS;
use crate::tree::Tree;

pub fn write(page: &mut Page) {
    let cells: Vec<(String, Tree, usize)> = page
        .plan
        .cells
        .iter()
        .filter_map(|cell| match cell.what {
            What::Storm(tree, writes) => Some((cell.key.clone(), tree, writes)),
            _ => None,
        })
        .collect();
    let Some((key, tree, writes)) = cells.first() else { return };
    page.line("\n## Storms of writes\n");
    page.line(&format!("{} writes, all on their way at once, to a tree of {} nodes. Behind is the time from the answer to the last write until the cache shows the last write of every node; libtreecache must say besides that it is in step. Requests and reads are counted by a proxy in a round of its own; a batch is one request, and each node in it a read.\n", grouped(*writes), grouped(tree.nodes)));
    let groups = STORMS.map(|storm| {
        let dots =
            CACHES.into_iter().filter_map(|who| page.dot(key, who, &format!("{}/behind", storm.id()), 1e3));
        (storm.name().to_owned(), dots.collect())
    });
    let dots = Dots {
        title: "How far behind, when a storm of writes ends",
        note: "from the last answer until the cache shows it all; less is better; logarithmic",
        unit: "ms",
        groups: groups.into_iter().collect(),
    };
    page.plot("storms", "Storms of writes", dots.draw());
    let heads =
        ["behind", "requests a write", "reads a write", "events", "versions a second", "writing took"]
            .map(str::to_owned);
    for storm in STORMS {
        let rows: Vec<Vec<String>> = CACHES
            .into_iter()
            .map(|who| {
                let median = |what: &str| page.median(key, who, &format!("{}/{what}", storm.id()));
                let count = |what: &str| median(what).map_or_else(String::new, |value| quantity(value, ""));
                let versions = median("versions").filter(|value| *value > 0.0);
                vec![
                    who.name().to_owned(),
                    page.spread(key, who, &format!("{}/behind", storm.id()), 1e3, "ms")
                        .unwrap_or_else(|| page.why_not(key, who)),
                    count("requests"),
                    count("reads"),
                    median("events").map_or_else(String::new, |events| grouped(events as usize)),
                    versions.map_or_else(|| "–".to_owned(), |value| quantity(value, "")),
                    median("writing").map_or_else(String::new, |seconds| quantity(seconds * 1e3, "ms")),
                ]
            })
            .collect();
        let name = storm.name();
        page.table(&format!("{}{}:", name[..1].to_uppercase(), &name[1..]), &heads, &rows);
    }
}

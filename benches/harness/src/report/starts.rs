//! First starts.

use crate::contender::Contender;
use crate::numbers::{grouped, quantity};
use crate::page::Page;
use crate::plan::What;
use crate::plot::Dots;
use crate::tree::Tree;

pub fn write(page: &mut Page) {
    let cells: Vec<(String, Tree, Vec<Contender>)> = page
        .plan
        .cells
        .iter()
        .filter_map(|cell| match cell.what {
            What::Start(tree) => Some((cell.key.clone(), tree, cell.contenders.clone())),
            _ => None,
        })
        .collect();
    page.line("\n## First start\n");
    page.line("From the start of a program until its cache is complete: the program, interpreter or JVM included; a session; the load, of code that was never run. (What a program does that runs already, and has lost its connection, is under [a lost connection](#a-lost-connection).)\n");
    let groups = cells.iter().map(|(key, tree, contenders)| {
        let dots = contenders.iter().filter_map(|who| page.dot(key, *who, "seconds", 1e3));
        (format!("{} nodes", grouped(tree.nodes)), dots.collect())
    });
    let dots = Dots {
        title: "From the start of the program to a complete cache",
        note: "bushy trees, 128 bytes a node; less is better; logarithmic",
        unit: "ms",
        groups: groups.collect(),
    };
    page.plot("start", "First starts", dots.draw());
    let heads = ["all", "program", "session", "load"].map(str::to_owned);
    for (key, tree, contenders) in &cells {
        let rows: Vec<Vec<String>> = contenders
            .iter()
            .map(|&who| {
                let part = |what| page.median(key, who, what).map(|seconds| quantity(seconds * 1e3, "ms"));
                let all = page.spread(key, who, "seconds", 1e3, "ms");
                let parts = ["start-up", "connect", "load"].map(|what| part(what).unwrap_or_default());
                let all = all.unwrap_or_else(|| page.why_not(key, who));
                [vec![who.name().to_owned(), all], parts.to_vec()].concat()
            })
            .collect();
        page.table(&format!("{} nodes of 128 bytes:", grouped(tree.nodes)), &heads, &rows);
    }
}

//! First loads, and the memory that they take.

use crate::contender::{CACHES, Contender};
use crate::numbers::{grouped, quantity};
use crate::page::Page;
use crate::plan::{self, What};
use crate::plot::{Dot, Dots, Lines};
use crate::tree::{Shape, Tree};

const LOADERS: [Contender; 7] = [
    Contender::Bare,
    Contender::BareProven,
    Contender::Treecache,
    Contender::CuratorTree,
    Contender::CuratorCache,
    Contender::ZookeeperCrate,
    Contender::Kazoo,
];

pub fn write(page: &mut Page) {
    page.line("\n## First load\n");
    page.line("From asking for a cache, in a session that is there, until it says that it is complete. Medians of the rounds, and from the fastest to the slowest.\n");
    let sizes: Vec<Tree> = bushy_loads(page);
    let lines = LOADERS.map(|who| {
        let point =
            |tree: &Tree| Some((tree.nodes as f64, page.median(&tree.to_string(), who, "seconds")? * 1e3));
        (who, sizes.iter().filter_map(point).collect())
    });
    let lines = Lines {
        title: "First load",
        note: "bushy trees, 128 bytes a node; less is better; both scales are logarithmic",
        x_label: "nodes",
        unit: "ms",
        lines: lines.into_iter().collect(),
    };
    page.plot("load", "First load by size", lines.draw());

    let heads = |trees: &[Tree]| {
        trees.iter().map(|tree| format!("{} nodes", grouped(tree.nodes))).collect::<Vec<_>>()
    };
    load_table(page, "Bushy trees, 128 bytes a node:", &sizes, &heads(&sizes), |page, key, who| {
        page.spread(key, who, "seconds", 1e3, "ms")
    });
    load_table(page, "Times as long as libtreecache:", &sizes, &heads(&sizes), |page, key, who| {
        page.ratio(key, who, "seconds")
    });
    load_table(page, "Nodes a second:", &sizes, &heads(&sizes), |page, key, who| {
        let nodes = nodes_of(page, key)?;
        Some(grouped((nodes / page.median(key, who, "seconds")?) as usize))
    });
    load_table(
        page,
        "Processor time of the client, and of the server, for one load:",
        &sizes,
        &heads(&sizes),
        |page, key, who| {
            let [client, server] = ["client", "server"].map(|what| page.median(key, who, what));
            Some(format!("{} + {}", quantity(client? * 1e3, "ms"), quantity(server? * 1e3, "ms")))
        },
    );
    let mut others: Vec<Tree> = load_trees(page).into_iter().filter(|tree| !sizes.contains(tree)).collect();
    others.sort_by_key(|tree| (shape_name(tree.shape), tree.data, tree.nodes));
    let rows: Vec<Vec<String>> = others
        .iter()
        .map(|tree| {
            let (key, data) = (tree.to_string(), quantity(tree.data as f64, "B"));
            let name = format!("{}, {} × {data}", shape_name(tree.shape), grouped(tree.nodes));
            let cells = LOADERS.map(|who| {
                page.spread(&key, who, "seconds", 1e3, "ms").unwrap_or_else(|| page.why_not(&key, who))
            });
            std::iter::once(name).chain(cells).collect()
        })
        .collect();
    page.table(
        "Other shapes, and other data (flat: all below one parent; deep: a chain):",
        &LOADERS.map(|who| who.name().to_owned()),
        &rows,
    );
    load_table(
        page,
        "The very first load of a program, which for a JVM is one of code that was never run:",
        &sizes,
        &heads(&sizes),
        |page, key, who| Some(quantity(page.median(key, who, "cold")? * 1e3, "ms")),
    );
}

pub fn write_memory(page: &mut Page) {
    page.line("\n## Memory\n");
    page.line("What a process has grown by, from a session without a cache to the first one that is complete, divided by the nodes (128 bytes of each are its data). Resident is what the system counts; alive is what the heap holds, after a collection in a JVM, where the runtime can tell.\n");
    // In a smaller tree it is the process that counts.
    let large = |tree: &Tree| tree.nodes > page.plan.scale.sizes().others;
    let sizes: Vec<Tree> = bushy_loads(page).into_iter().filter(large).collect();
    let groups = sizes.iter().map(|tree| {
        let dot = |who| {
            let bytes = page.median(&tree.to_string(), who, "resident")? / tree.nodes as f64;
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
    page.plot("memory", "Memory by node", dots.draw());
    let heads: Vec<String> = sizes.iter().map(|tree| format!("{} nodes", grouped(tree.nodes))).collect();
    load_table(page, "Bytes for each node, resident (alive):", &sizes, &heads, |page, key, who| {
        if matches!(who, Contender::Bare | Contender::BareProven) {
            return Some("–".to_owned());
        }
        let nodes = nodes_of(page, key)?;
        let resident = page.median(key, who, "resident")? / nodes;
        let live =
            page.median(key, who, "live").map_or_else(String::new, |live| format!(" ({:.0})", live / nodes));
        Some(format!("{resident:.0}{live}"))
    });

    let rows: Vec<Vec<String>> = CACHES
        .into_iter()
        .filter_map(|who| {
            let (resident, live) = (
                page.results.all(plan::GROWTH, who, "resident"),
                page.results.all(plan::GROWTH, who, "live"),
            );
            let rate = page.median(plan::GROWTH, who, "writes_per_second")?;
            let series = |values: &[f64]| {
                let values: Vec<String> = values.iter().map(|bytes| format!("{:.1}", bytes / 1e6)).collect();
                if values.is_empty() { "–".to_owned() } else { values.join(", ") }
            };
            Some(vec![who.name().to_owned(), format!("{rate:.0}"), series(resident), series(live)])
        })
        .collect();
    let heads = ["writes a second", "resident, in MB", "alive, in MB"].map(str::to_owned);
    page.table("An hour of 100 writes a second, compressed into less than a minute: the whole process before, and after each sixth of the writes, with a listener. (A JVM takes what its heap allows before it gives any back: what is alive tells whether it grows.)", &heads, &rows);
}

fn load_table(
    page: &mut Page,
    caption: &str,
    trees: &[Tree],
    heads: &[String],
    cell: impl Fn(&Page, &str, Contender) -> Option<String>,
) {
    let rows: Vec<Vec<String>> = LOADERS
        .into_iter()
        .map(|who| {
            let cells = trees.iter().map(|tree| {
                let key = tree.to_string();
                cell(page, &key, who).unwrap_or_else(|| page.why_not(&key, who))
            });
            std::iter::once(who.name().to_owned()).chain(cells).collect()
        })
        .collect();
    page.table(caption, heads, &rows);
}

fn load_trees(page: &Page) -> Vec<Tree> {
    let trees = page.plan.cells.iter().filter_map(|cell| match cell.what {
        What::Load(tree) => Some(tree),
        _ => None,
    });
    trees.collect()
}

fn bushy_loads(page: &Page) -> Vec<Tree> {
    let bushy = |tree: &Tree| tree.shape == Shape::Bushy && tree.data == 128;
    load_trees(page).into_iter().filter(bushy).collect()
}

fn nodes_of(page: &Page, key: &str) -> Option<f64> {
    let tree = load_trees(page).into_iter().find(|tree| tree.to_string() == key)?;
    Some(tree.nodes as f64)
}

fn shape_name(shape: Shape) -> &'static str {
    match shape {
        Shape::Flat => "flat",
        Shape::Deep => "deep",
        Shape::Bushy => "bushy",
    }
}

//! Reads from memory.

use crate::contender::Contender;
use crate::numbers::{grouped, quantity};
use crate::page::Page;
use crate::plan::{self, What};
use crate::plot::Dots;
use crate::reads::{Case, DEPTHS, PATHS, Paths};

const READERS: [Contender; 10] = [
    Contender::Map,
    Contender::MapMutex,
    Contender::Treecache,
    Contender::TreecacheAttached,
    Contender::Lmdb,
    Contender::Redis,
    Contender::CuratorTree,
    Contender::CuratorCache,
    Contender::ZookeeperCrate,
    Contender::Kazoo,
];

pub fn write(page: &mut Page) {
    page.line("\n## Reads from memory\n");
    page.line(READS);
    let groups = PATHS.map(|paths| {
        let case = Case { paths, threads: 1, written: false };
        let dots = READERS.into_iter().filter_map(|who| page.dot(plan::READ_BUSHY, who, &case.id(), 1.0));
        (format!("{}, 1 thread", paths.name()), dots.collect())
    });
    let dots = Dots {
        title: "One read of a path of depth 3",
        note: &format!(
            "in a tree of {} nodes; less is better; logarithmic",
            grouped(page.plan.scale.sizes().reads)
        ),
        unit: "ns",
        groups: groups.into_iter().collect(),
    };
    page.plot("reads", "Reads from memory", dots.draw());
    let heads = READERS.map(|who| who.name().to_owned());
    let row = |name: String, key: &str, what: &str| -> Vec<String> {
        let cells = READERS.map(|who| {
            page.median(key, who, what).map_or_else(|| page.why_not(key, who), |ns| quantity(ns, "ns"))
        });
        std::iter::once(name).chain(cells).collect()
    };
    let rows: Vec<_> =
        Case::all().iter().map(|case| row(case.name(), plan::READ_BUSHY, &case.id())).collect();
    let deep: Vec<_> = DEPTHS
        .iter()
        .map(|depth| row(format!("depth {depth}"), plan::READ_DEEP, &format!("depth {depth}")))
        .collect();
    page.table(
        "A path of depth 3, of a bushy tree; a writer sets 1,000 nodes of it a second:",
        &heads,
        &rows,
    );
    page.table("One node of a chain, by its depth:", &heads, &deep);
    processes(page);

    let ours = |what: &str| {
        page.median(plan::READ_OURS, Contender::Treecache, what)
            .map_or_else(String::new, |ns| quantity(ns, "ns"))
    };
    let widths = page.plan.cells.iter().find_map(|cell| match &cell.what {
        What::ReadOurs(_, widths) => Some(widths.clone()),
        _ => None,
    });
    let mut rows: Vec<Vec<String>> = Vec::new();
    for width in widths.unwrap_or_default() {
        rows.push(vec![
            format!("`tc_get_children` of {} children", grouped(width)),
            ours(&format!("children/{width}")),
        ]);
        rows.push(vec![
            format!("`tc_snapshot_walk` over them, for each node (with `tc_get_snapshot`)"),
            ours(&format!("walk/{width}")),
        ]);
    }
    rows.push(vec!["`tc_get_snapshot`, 1 thread".to_owned(), ours("snapshot/1 threads")]);
    rows.push(vec!["`tc_get_snapshot`, 2 threads".to_owned(), ours("snapshot/2 threads")]);
    rows.push(vec![
        format!("`tc_snapshot_walk` over {} nodes, for each", grouped(page.plan.scale.sizes().budget)),
        ours("walk/1 threads"),
    ]);
    rows.push(vec![
        format!(
            "`tc_snapshot_diff` of 100 changes among {} nodes, for each change",
            grouped(page.plan.scale.sizes().budget)
        ),
        ours("diff/1 threads"),
    ]);
    page.table("What only libtreecache has, or has as one call:", &["time".to_owned()], &rows);
}

fn processes(page: &mut Page) {
    let readers = [Contender::Treecache, Contender::TreecacheAttached, Contender::Lmdb, Contender::Redis];
    let row = |(paths, count): (Paths, usize)| {
        let cells = readers.map(|who| {
            page.median(plan::READ_PROCESSES, who, &format!("{paths:?}/{count}"))
                .map_or_else(|| page.why_not(plan::READ_PROCESSES, who), |ns| quantity(ns, "ns"))
        });
        let processes = if count == 1 { "1 process" } else { "2 processes" };
        std::iter::once(format!("{}, {processes}", paths.name())).chain(cells).collect()
    };
    let rows: Vec<Vec<String>> =
        [1, 2].into_iter().flat_map(|count| PATHS.map(|paths| row((paths, count)))).collect();
    let heads = readers.map(|who| who.name().to_owned());
    page.table(
        "By one process, and by two at the same time, of one thread each (the first tree again): libtreecache with a cache in each, the others with what the first process keeps:",
        &heads,
        &rows,
    );
}

const READS: &str = "From the program's own threads. What is read is what the library gives: libtreecache copies data and Stat into \
     memory of the reader (`tc_copy_data`), the map under a mutex copies data, that under a shared_mutex hands it out counted, Curator an object, kazoo a tuple, the hand-made \
     cache a copy. *Attached* reads the file that another cache keeps (`share.file`, `tc_attach`); LMDB and Redis are what other processes \
     read otherwise, filled by a listener: LMDB in `/dev/shm`, a transaction for each read, Redis over a Unix socket. In Java the same String \
     objects are asked for again and again, and remember their hash; a program that builds its paths pays for that. A map \
     of paths needs no walk from the root, and has no order, no children and no snapshots.\n";

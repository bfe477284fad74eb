//! One tree for many processes.

use crate::contender::Contender;
use crate::numbers::{grouped, quantity};
use crate::page::Page;
use crate::plan;
use crate::sharing::CHANGES;

const WAYS: [(Contender, &str); 2] = [
    (Contender::Treecache, "a cache each"),
    (Contender::TreecacheAttached, "attached to the file of one more"),
];

pub fn write(page: &mut Page) {
    let sizes = page.plan.scale.sizes();
    page.line("\n## One tree for many processes\n");
    page.line(&format!("{} programs with the same tree of {} nodes of 128 bytes: each with a session and a cache of its own, or attached (`tc_attach`) to the file that one more keeps (`share.file`, in `/dev/shm`). Memory is what they take of the machine's together, where a page that n of them share counts in n parts, the file included. From the start of a program until it could read the whole tree:\n", sizes.processes, grouped(sizes.budget)));
    let row = |(who, name): (Contender, &str)| {
        let key = plan::PROCESSES;
        let count = |what| page.median(key, who, what).map_or_else(|| "?".to_owned(), |n| quantity(n, ""));
        let megabytes = |what| {
            page.median(key, who, what).map_or_else(|| page.why_not(key, who), |n| quantity(n / 1e6, "MB"))
        };
        let readable = page.spread(key, who, "seconds", 1e3, "ms").unwrap_or_default();
        vec![
            name.to_owned(),
            megabytes("all"),
            count("threads"),
            count("sessions"),
            count("watches"),
            readable,
        ]
    };
    let heads = ["memory, all", "threads, all", "sessions", "watches", "readable"].map(str::to_owned);
    let rows: Vec<_> = WAYS.into_iter().map(row).collect();
    page.table("", &heads, &rows);

    let restarts =
        [(Contender::Treecache, "without a file"), (Contender::TreecacheAttached, "with `share.file`")];
    let rows: Vec<_> = restarts
        .into_iter()
        .map(|(who, name)| {
            let time = |what| {
                let spread = page.spread(plan::RESTARTS, who, what, 1e3, "ms");
                spread.unwrap_or_else(|| page.why_not(plan::RESTARTS, who))
            };
            vec![name.to_owned(), time("readable"), time("in step")]
        })
        .collect();
    page.line(&format!("A program that is started again, in a session that is there, after {} of the nodes have changed; from `tc_start`. In step is what has the newest data of all of them. Without a file the root can be read first, alone.\n", plan::RESTART_CHANGES));
    page.table("", &["something is readable", "in step"].map(str::to_owned), &rows);

    page.line("What it costs to keep the tree in a file: transactions that change so many of the nodes, 100 a second; processor time of the program with the cache for each of them. The last column is what the file grows by; where it was made anew meanwhile, that is not known.\n");
    let rows: Vec<Vec<String>> = CHANGES
        .into_iter()
        .map(|changes| {
            let key = plan::PUBLISHING;
            let processor = |who| {
                page.median(key, who, &format!("processor/{changes}"))
                    .map_or_else(|| page.why_not(key, who), |seconds| quantity(seconds * 1e6, "µs"))
            };
            let bytes = page.median(key, Contender::TreecacheAttached, &format!("bytes/{changes}"));
            vec![
                grouped(changes),
                processor(Contender::Treecache),
                processor(Contender::TreecacheAttached),
                bytes.map_or_else(|| "made anew".to_owned(), |bytes| quantity(bytes / 1e3, "kB")),
            ]
        })
        .collect();
    let heads = ["without", "with the file, and a reader", "a version in the file"].map(str::to_owned);
    page.table("Nodes changed by a transaction:", &heads, &rows);
}

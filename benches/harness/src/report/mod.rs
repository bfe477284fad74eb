//! `benchmarks.md` and its plots, from what was measured: what opens and closes it, and a file for each section.

mod beside;
mod budget;
mod footprint;
mod latency;
mod loads;
mod reads;
mod reconnects;
mod sharing;
mod starts;
mod storms;

use std::io;
use std::path::Path;

use crate::page::Page;
use crate::plan::Plan;
use crate::results::Results;

/// Writes them to a folder; the plots to one below it.
pub fn write(folder: &Path, plan: &Plan, results: &Results) -> io::Result<()> {
    let mut page = Page::new(plan, results);
    opening(&mut page);
    if results.fact_of("date").is_some() {
        sections(&mut page);
    }
    cells(&mut page);
    page.save(folder)
}

fn sections(page: &mut Page) {
    loads::write(page);
    loads::write_memory(page);
    beside::write(page);
    starts::write(page);
    storms::write(page);
    latency::write(page);
    reconnects::write(page);
    reads::write(page);
    footprint::write(page);
    sharing::write(page);
    budget::write(page);
}

fn opening(page: &mut Page) {
    let fact = |name| page.results.fact_of(name).unwrap_or("unknown");
    let circumstances = match page.results.fact_of("date") {
        None => "**Not measured yet**: `scripts/bench docs` writes this page.".to_owned(),
        Some(date) => format!(
            "{date}, a {} run of commit {} against {} on {}, {} cores, load {} at the start; Java {}, {}.",
            page.plan.scale.name(),
            fact("commit"),
            fact("server"),
            fact("processor"),
            fact("cores"),
            fact("load"),
            fact("java"),
            fact("python"),
        ),
    };
    page.line("# Benchmarks\n");
    page.line("libtreecache side by side with what one would take instead, on one server, in one run:\n");
    page.line("```sh\nscripts/bench docs           # about half an hour\nscripts/bench --full docs    # about two hours: more sizes, more rounds; goes on where it was interrupted\n```\n");
    page.line(&circumstances);
    page.line(OPENING);
}

fn cells(page: &mut Page) {
    page.line("\n## The cells of this run\n");
    let rows: Vec<Vec<String>> = page
        .plan
        .cells
        .iter()
        .map(|cell| {
            let names: Vec<&str> = cell.contenders.iter().map(|who| who.name()).collect();
            let left_out: Vec<String> =
                cell.left_out.iter().map(|(who, why)| format!("{} ({why})", who.name())).collect();
            let state = if page.results.is_done(&cell.key) { "yes" } else { "no" };
            vec![
                format!("`{}`", cell.key),
                names.join(", "),
                left_out.join(", "),
                state.to_owned(),
                format!("{:.0} s", cell.guess),
            ]
        })
        .collect();
    page.table(
        "A tree's name is its use, shape, bytes of data a node and number of nodes.",
        &["contenders", "left out", "done", "takes about"].map(str::to_owned),
        &rows,
    );
    page.line(LEFT_OUT);
}

const OPENING: &str = "
What to make of it:

- **Compare within the page, not with another machine's.** Client and server share the processor, and the server is a
  part of every figure but the reads. Ratios travel, times do not.
- **A time counts only if the tree was right.** After each load, storm and reconnect, outside of what is timed, the number
  of nodes and a checksum over all paths and data are compared with the server's tree. What fails is shown as failed.
- **One clock.** Each contender is a program of its own (`benches/contenders`), which the harness (`benches/harness`) asks
  for one thing at a time; the harness takes the time from request to answer. In every round each contender has its turn.
- **JVMs are warm.** A program lives through all rounds, and none is timed before it has loaded the tree until it has seen
  50,000 nodes, or for 3 s (4 s in a full run); before reads, latencies and storms there are untimed ones, too. The very
  first load of each program is shown apart. They have 4 GiB of heap, and are at their defaults otherwise.
- **Everybody at their defaults**, which is what their documentation begins with, and with no listener where none is needed:

| contender | what it is, and what was chosen |
|---|---|
| libtreecache | from C++, through its C ABI |
| bare multiRead | the limit: one socket, four multiReads of 256 reads in flight, replies kept and nothing made of them |
| bare, our batches | the same, but asking as libtreecache does: a proof of each list first, then up to 1,000 reads in a request, and up to 8 requests in flight |
| Curator TreeCache | Debian's Curator 5.4; `TreeCache.newBuilder(..).build()`, `ExponentialBackoffRetry(1000, 3)`, `jute.maxbuffer` 128 MiB so that large parents can be read |
| Curator CuratorCache | the same, `CuratorCache.build(..)`: one recursive watch, as libtreecache has. **It does not load trees of more than 65,535 nodes**: it asks for all nodes at once and counts what is under way with a `java.util.concurrent.Phaser`, which registers no more; what comes then is logged and never complete ([CURATOR-690](https://issues.apache.org/jira/browse/CURATOR-690), mended in 5.6) |
| zookeeper crate | what one writes by hand over the Rust crate `zookeeper` 0.8: a map, one-shot watches on every node, 64 threads that read |
| kazoo TreeCache | kazoo 2.11 from PyPI, with its default handler |
| map, shared_mutex; map, mutex | for reads only: a `std::unordered_map` under that lock, filled by a listener of libtreecache |";

const LEFT_OUT: &str = "Not in any run, because it does not fit: 4 KiB of data in each of 1,000,000 nodes (the server's heap), and kazoo with more \
     than 100,000 nodes (many minutes for each load).";

//! Reads from memory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::bench::{Bench, PATIENCE, paced};
use crate::contender::{Contender, Process, Result, SHARED};
use crate::effort::Effort;
use crate::tree::{Shape, Tree};

/// Which paths, by how many threads, and whether somebody writes to the tree meanwhile.
pub struct Case {
    pub paths: Paths,
    pub threads: usize,
    pub written: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paths {
    One,
    Thousand,
    All,
}

pub const PATHS: [Paths; 3] = [Paths::One, Paths::Thousand, Paths::All];

impl Paths {
    pub fn name(self) -> &'static str {
        match self {
            Paths::One => "one path",
            Paths::Thousand => "1,000 at random",
            Paths::All => "all at random",
        }
    }
}

impl Case {
    pub fn all() -> Vec<Case> {
        let case = |(threads, written)| PATHS.map(|paths| Case { paths, threads, written });
        [(1, false), (2, false), (1, true)].into_iter().flat_map(case).collect()
    }

    pub fn id(&self) -> String {
        format!("{:?}/{}/{}", self.paths, self.threads, if self.written { "written" } else { "at rest" })
    }

    pub fn name(&self) -> String {
        let threads = if self.threads == 1 { "1 thread" } else { "2 threads" };
        format!("{}, {threads}{}", self.paths.name(), if self.written { ", with a writer" } else { "" })
    }
}

/// Reads of leaves of depth 3.
pub fn measure_bushy(bench: &mut Bench, cell: &str, tree: Tree, contenders: &[Contender], effort: &Effort) {
    bench.create(tree);
    let all = shuffled(tree.leaves().collect());
    let files = files(bench, &all);
    bench.for_each(cell, contenders, |bench, contender| {
        let mut process = loaded(bench, contender, tree)?;
        // What a JVM compiles is compiled then.
        time(&mut process, "get", &files[1], 2, effort.read)?;
        for case in Case::all() {
            let file = &files[case.paths as usize];
            let ended = AtomicBool::new(!case.written);
            let ns = thread::scope(|scope| {
                scope.spawn(|| write_until(bench, &all, &ended));
                let ns = time(&mut process, "get", file, case.threads, effort.read);
                ended.store(true, Ordering::Relaxed);
                ns
            })?;
            bench.results.add(cell, contender.id(), &case.id(), &[ns]);
            println!("    {:22} {:34} {ns:9.1} ns", contender.name(), case.name());
        }
        Ok(())
    });
}

/// For each of [`PATHS`], those of these that are read.
fn files(bench: &Bench, all: &[String]) -> [String; PATHS.len()] {
    PATHS.map(|paths| {
        let count = match paths {
            Paths::One => 1,
            Paths::Thousand => 1000.min(all.len()),
            Paths::All => all.len(),
        };
        bench.write_lines(&format!("{paths:?}"), &all[..count])
    })
}

/// The same by one process, and by two at the same time: each with a cache of its own, or with what the first one keeps.
pub fn measure_processes(
    bench: &mut Bench,
    cell: &str,
    tree: Tree,
    contenders: &[Contender],
    effort: &Effort,
) {
    bench.create(tree);
    let files = files(bench, &shuffled(tree.leaves().collect()));
    bench.for_each(cell, contenders, |bench, contender| {
        let mut one = loaded(bench, contender, tree)?;
        let mut other = match contender {
            Contender::TreecacheAttached => {
                attached(bench, Contender::Treecache, &format!("attach={SHARED}"), tree)?
            }
            Contender::Lmdb | Contender::Redis => attached(bench, contender, "attach", tree)?,
            _ => loaded(bench, contender, tree)?,
        };
        for (paths, file) in PATHS.into_iter().zip(&files) {
            let alone = time(&mut one, "get", file, 1, effort.read)?;
            let (one, other) = thread::scope(|scope| {
                let other = scope.spawn(|| time(&mut other, "get", file, 1, effort.read));
                (time(&mut one, "get", file, 1, effort.read), other.join().expect("no panic"))
            });
            let both = [one?, other?];
            bench.results.add(cell, contender.id(), &format!("{paths:?}/1"), &[alone]);
            bench.results.add(cell, contender.id(), &format!("{paths:?}/2"), &both);
            println!(
                "    {:22} {:16} {alone:9.1} ns, two processes {:.1} and {:.1} ns",
                contender.name(),
                paths.name(),
                both[0],
                both[1]
            );
        }
        Ok(())
    });
}

/// One that reads what another process keeps, and has no session.
fn attached(bench: &Bench, contender: Contender, setting: &str, tree: Tree) -> Result<Process> {
    let mut process = bench.start_with(contender, &[setting])?;
    process.ask(&format!("load {}", tree.root()), PATIENCE)?;
    Ok(process)
}

pub const DEPTHS: [usize; 4] = [1, 10, 100, 999];

/// Reads of one node of a chain, by its depth below the root.
pub fn measure_deep(bench: &mut Bench, cell: &str, tree: Tree, contenders: &[Contender], effort: &Effort) {
    bench.create(tree);
    let paths: Vec<String> = tree.paths().collect();
    bench.for_each(cell, contenders, |bench, contender| {
        let mut process = loaded(bench, contender, tree)?;
        for depth in DEPTHS {
            let file = bench.write_lines("path", &paths[depth..=depth]);
            // Again, once a JVM has compiled it.
            time(&mut process, "get", &file, 1, effort.read / 2)?;
            let ns = time(&mut process, "get", &file, 1, effort.read)?;
            bench.results.add(cell, contender.id(), &format!("depth {depth}"), &[ns]);
            println!("    {:22} depth {depth:4} {ns:9.1} ns", contender.name());
        }
        Ok(())
    });
}

/// What only libtreecache has; the children of one parent, with flat trees of these sizes.
pub fn measure_ours(bench: &mut Bench, cell: &str, tree: Tree, widths: &[usize], effort: &Effort) {
    bench.for_each(cell, &[Contender::Treecache], |bench, contender| {
        for &width in widths {
            let flat = Tree::new("width", Shape::Flat, width + 1, 16);
            bench.create(flat);
            let mut process = loaded(bench, contender, flat)?;
            let file = bench.write_lines("path", &[flat.root()]);
            for what in ["children", "walk"] {
                let ns = time(&mut process, what, &file, 1, effort.read)?;
                bench.results.add(cell, contender.id(), &format!("{what}/{width}"), &[ns]);
                println!("    {what:22} {width:9} children {ns:9.1} ns");
            }
        }
        bench.create(tree);
        let leaves: Vec<String> = tree.leaves().take(100).collect();
        let mut process = loaded(bench, contender, tree)?;
        let file = bench.write_lines("path", &leaves);
        process.ask("keep", PATIENCE)?;
        let mut writer = bench.writer();
        for path in &leaves {
            writer.set(path, Some(b"changed")).expect("a write");
        }
        process.ask(&format!("expect {file} changed"), PATIENCE)?;
        process.ask("until", PATIENCE)?;
        for (what, threads) in [("snapshot", 1), ("snapshot", 2), ("walk", 1), ("diff", 1)] {
            let ns = time(&mut process, what, &file, threads, effort.read)?;
            bench.results.add(cell, contender.id(), &format!("{what}/{threads} threads"), &[ns]);
            println!("    {what:22} {threads} threads {ns:9.1} ns");
        }
        Ok(())
    });
}

fn loaded(bench: &mut Bench, contender: Contender, tree: Tree) -> Result<Process> {
    let mut process = bench.start(contender)?;
    process.ask(&format!("connect {}", bench.server.hosts()), PATIENCE)?;
    process.ask(&format!("load {}", tree.root()), PATIENCE)?;
    let truth = bench.truth(&tree.root());
    bench.check(&mut process, truth)?;
    Ok(process)
}

/// What one read takes, in ns.
fn time(process: &mut Process, what: &str, file: &str, threads: usize, time: Duration) -> Result<f64> {
    let request = format!("measure {what} {file} {threads} {}", time.as_millis());
    process.ask(&request, PATIENCE)?.number("ns")
}

/// Sets a thousand leaves a second.
fn write_until(bench: &Bench, leaves: &[String], ended: &AtomicBool) {
    if ended.load(Ordering::Relaxed) {
        return;
    }
    let mut writer = bench.writer();
    let mut next = leaves.iter().cycle();
    while !ended.load(Ordering::Relaxed) {
        paced(1, |_| {
            for path in next.by_ref().take(10) {
                writer.send_set(path, Some(b"written to while it is read")).expect("a write");
            }
            writer.drain().expect("answers");
        });
    }
}

/// In the same order in every run.
fn shuffled(mut paths: Vec<String>) -> Vec<String> {
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    for i in (1..paths.len()).rev() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        paths.swap(i, (random % (i as u64 + 1)) as usize);
    }
    paths
}

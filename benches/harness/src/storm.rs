//! Bursts of writes: how long until a cache has them, and what it asks of the server for that.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use treecache_test_support::{Op, Proxy, Writer};

use crate::bench::{Bench, PATIENCE, padded};
use crate::contender::{Contender, Result};
use crate::effort::Effort;
use crate::traffic::Traffic;
use crate::tree::Tree;

/// How many nodes a storm on few is about.
const FEW: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storm {
    /// Sets, each of another node.
    Wide,
    /// Sets, all of a hundred nodes.
    Narrow,
    Creates,
    /// Of what was created.
    Deletes,
}

pub const STORMS: [Storm; 4] = [Storm::Wide, Storm::Narrow, Storm::Creates, Storm::Deletes];

impl Storm {
    pub fn id(self) -> &'static str {
        match self {
            Storm::Wide => "wide",
            Storm::Narrow => "narrow",
            Storm::Creates => "creates",
            Storm::Deletes => "deletes",
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Storm::Wide => "sets of different nodes",
            Storm::Narrow => "sets of 100 nodes",
            Storm::Creates => "creates",
            Storm::Deletes => "deletes",
        }
    }
}

/// The first round goes through a proxy that counts, and is not timed; it also lets a JVM compile what is hot.
pub fn measure(
    bench: &mut Bench,
    cell: &str,
    tree: Tree,
    contenders: &[Contender],
    writes: usize,
    effort: &Effort,
) {
    bench.create(tree);
    let leaves: Vec<String> = tree.leaves().take(writes).collect();
    let made: Vec<String> = (0..writes).map(|i| format!("{}/made/node-{i:06}", tree.root())).collect();
    // There from now on, and no part of any storm.
    let _ = bench.writer().create(&format!("{}/made", tree.root()), Some(b""), 0);
    let mut alive = contenders.to_vec();
    let mut spent: HashMap<Contender, Duration> = HashMap::new();
    for round in 0..=effort.rounds {
        alive.retain(|&contender| {
            let spent = spent.entry(contender).or_default();
            if round > 0 && effort.is_over(round - 1, *spent) {
                return true; // it has shown what it can
            }
            let began = Instant::now();
            let scene = Scene { bench, cell, tree, contender, leaves: &leaves, made: &made };
            let done = scene.play(round);
            *spent += began.elapsed();
            if let Err(error) = &done {
                bench.fail(cell, contender, error);
                // What is left of it must not be in the way of the next.
                remove(&mut bench.writer(), &made);
            }
            done.is_ok()
        });
    }
    for contender in alive {
        let behind = STORMS.map(|storm| {
            let lag = bench.results.median(cell, contender, &format!("{}/behind", storm.id()));
            format!("{:9.1} ms", lag.unwrap_or(f64::NAN) * 1e3)
        });
        println!("    {:22} {}", contender.name(), behind.join(" "));
    }
}

fn remove(writer: &mut Writer, paths: &[String]) {
    for path in paths {
        writer.send(&Op::Delete { path }).expect("a delete");
    }
    let _ = writer.drain(); // some are not there
}

struct Scene<'a> {
    bench: &'a mut Bench,
    cell: &'a str,
    tree: Tree,
    contender: Contender,
    leaves: &'a [String],
    made: &'a [String],
}

impl Scene<'_> {
    fn play(self, round: usize) -> Result<()> {
        let proxy = (round == 0).then(|| Proxy::start(self.bench.server.addr()));
        let traffic = proxy.as_ref().map(Traffic::of);
        let hosts = proxy.as_ref().map_or_else(|| self.bench.server.hosts(), Proxy::hosts);
        let mut process = self.bench.start(self.contender)?;
        process.ask(&format!("connect {hosts}"), PATIENCE)?;
        process.ask(&format!("load {}", self.tree.root()), PATIENCE)?;
        process.ask("listen", PATIENCE)?;
        let mut writer = self.bench.writer();
        for storm in STORMS {
            let mark = padded(&format!("{}-{}-{round}-", self.contender.id(), storm.id()), self.tree.data);
            let paths = match storm {
                Storm::Wide => self.leaves,
                Storm::Narrow => &self.leaves[..FEW.min(self.leaves.len())],
                Storm::Creates | Storm::Deletes => self.made,
            };
            let file = self.bench.write_lines("expected", paths);
            let expected = if storm == Storm::Deletes { "" } else { &mark };
            process.ask(format!("expect {file} {expected}").trim_end(), PATIENCE)?;
            process.ask(&format!("heard {file}.heard"), PATIENCE)?;
            if let Some(traffic) = &traffic {
                traffic.take();
            }

            let began = Instant::now();
            self.write(&mut writer, storm, &mark);
            let written = Instant::now();
            process.ask("until", PATIENCE)?;
            let (behind, all) = (written.elapsed(), began.elapsed());

            let heard = process.ask(&format!("heard {file}.heard"), PATIENCE)?;
            self.bench.check(&mut process, self.bench.truth(&self.tree.root()))?;
            let mut add = |what: &str, value: f64| {
                let what = format!("{}/{what}", storm.id());
                self.bench.results.add(self.cell, self.contender.id(), &what, &[value]);
            };
            match &traffic {
                Some(traffic) => {
                    let seen = traffic.take();
                    add("requests", seen.requests as f64 / self.leaves.len() as f64);
                    add("reads", seen.reads as f64 / self.leaves.len() as f64);
                }
                None => {
                    add("behind", behind.as_secs_f64());
                    add("writing", (written - began).as_secs_f64());
                    add("events", heard.number("events")?);
                    add("versions", heard.number::<f64>("versions")? / all.as_secs_f64());
                }
            }
        }
        Ok(())
    }

    /// All that is written is on its way at once; returns when the last is answered.
    fn write(&self, writer: &mut Writer, storm: Storm, mark: &str) {
        let writes = self.leaves.len();
        for i in 0..writes {
            let data = Some(mark.as_bytes());
            let sent = match storm {
                Storm::Wide => writer.send_set(&self.leaves[i], data),
                // Only the last write of each node makes it what is waited for.
                Storm::Narrow if i + FEW < writes => writer.send_set(&self.leaves[i % FEW], Some(b"not yet")),
                Storm::Narrow => writer.send_set(&self.leaves[i % FEW], data),
                Storm::Creates => writer.send(&Op::Create { path: &self.made[i], data, flags: 0 }),
                Storm::Deletes => writer.send(&Op::Delete { path: &self.made[i] }),
            };
            sent.expect("a write");
        }
        writer.drain().expect("answers");
    }
}

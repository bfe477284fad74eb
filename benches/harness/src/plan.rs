//! What is measured: the cells of a run, each with who takes part and about how long it takes.

use std::time::Duration;

use crate::bench::Bench;
use crate::contender::{CACHES, Contender};
use crate::effort::Effort;
use crate::growth::{self, BURST, PARTS};
use crate::results::CellKey;
use crate::tree::{Shape, Tree};
use crate::{beside, footprint, latency, load, market, reads, reconnect, sharing, start, storm};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// To try the harness itself: what it prints is worth nothing.
    Quick,
    Default,
    Full,
}

pub struct Cell {
    pub key: CellKey,
    pub contenders: Vec<Contender>,
    /// Who is left out, and why.
    pub left_out: Vec<(Contender, &'static str)>,
    pub what: What,
    /// About how long it takes on two cores, in seconds.
    pub guess: f64,
}

pub enum What {
    Load(Tree),
    Beside(Tree, Duration),
    Start(Tree),
    Growth(Tree, usize),
    Storm(Tree, usize),
    Latency(Tree, usize),
    Reconnect(Tree),
    ReadBushy(Tree),
    ReadProcesses(Tree),
    ReadDeep(Tree),
    ReadOurs(Tree, Vec<usize>),
    Footprint(Tree),
    /// So many processes with the same tree.
    Processes(Tree, usize),
    /// So many restarts.
    Restarts(Tree, usize),
    /// So many transactions of a tree that is kept in a file.
    Publishing(Tree, usize),
    Market,
}

pub struct Plan {
    pub scale: Scale,
    pub effort: Effort,
    pub cells: Vec<Cell>,
}

/// The sizes that the report's text and budgets speak of.
pub struct Sizes {
    /// Of bushy trees that are loaded, smallest first.
    pub loads: Vec<usize>,
    /// What the budgets are about.
    pub budget: usize,
    /// With a leaf for each write of a storm.
    pub storm: usize,
    /// Of other shapes and other data, and of all that every contender is to load in seconds.
    pub others: usize,
    pub writes: usize,
    pub reads: usize,
    /// In a chain.
    pub deep: usize,
    /// That have the same tree.
    pub processes: usize,
}

impl Scale {
    pub fn name(self) -> &'static str {
        match self {
            Scale::Quick => "quick",
            Scale::Default => "default",
            Scale::Full => "full",
        }
    }

    pub fn sizes(self) -> Sizes {
        match self {
            Scale::Quick => Sizes {
                loads: vec![100, 1000],
                budget: 1000,
                storm: 600,
                others: 200,
                writes: 500,
                reads: 1000,
                deep: 1000,
                processes: 4,
            },
            _ => Sizes {
                loads: vec![1000, 10_000, 100_000, 1_000_000],
                budget: 100_000,
                storm: 11_000,
                others: 5_000,
                writes: 10_000,
                reads: 20_000,
                deep: 1000,
                processes: 50,
            },
        }
    }

    /// For the server's heap, in MiB.
    pub fn server_heap(self) -> u32 {
        match self {
            Scale::Quick => 512,
            Scale::Default => 3072,
            Scale::Full => 8192,
        }
    }
}

/// Everybody who keeps a tree, and the bare loops.
const LOADERS: [Contender; 7] = [
    Contender::Treecache,
    Contender::Bare,
    Contender::BareProven,
    Contender::CuratorTree,
    Contender::CuratorCache,
    Contender::ZookeeperCrate,
    Contender::Kazoo,
];

const READERS: [Contender; 10] = [
    Contender::Treecache,
    Contender::Map,
    Contender::MapMutex,
    Contender::CuratorTree,
    Contender::CuratorCache,
    Contender::ZookeeperCrate,
    Contender::Kazoo,
    Contender::TreecacheAttached,
    Contender::Lmdb,
    Contender::Redis,
];

/// [`CACHES`], and ours with verification by report.
pub const RECONNECTERS: [Contender; 6] = [
    Contender::Treecache,
    Contender::TreecacheReports,
    Contender::CuratorTree,
    Contender::CuratorCache,
    Contender::ZookeeperCrate,
    Contender::Kazoo,
];

/// [`CACHES`], and one of ours that listens to a file.
pub const LISTENERS: [Contender; 6] = [
    Contender::Treecache,
    Contender::TreecacheAttached,
    Contender::CuratorTree,
    Contender::CuratorCache,
    Contender::ZookeeperCrate,
    Contender::Kazoo,
];

/// Those that load fast enough to be in the way of others.
pub const LEAN_LOADERS: [Contender; 3] = [Contender::Bare, Contender::BareProven, Contender::Treecache];

pub const CURATOR_LIMIT: usize = 65_535;

impl Plan {
    pub fn new(scale: Scale) -> Plan {
        let Sizes { loads, budget, storm, others, writes, reads, deep, processes } = scale.sizes();
        let ours = vec![Contender::Treecache];
        let mut cells = Vec::new();
        let mut add = |key: String, contenders: &[Contender], tree: Option<Tree>, what: What, guess: f64| {
            let left_out: Vec<_> = contenders
                .iter()
                .filter_map(|&contender| Some((contender, why_not(scale, contender, tree?)?)))
                .collect();
            let contenders = contenders.iter().copied();
            let contenders = contenders.filter(|it| !left_out.iter().any(|(other, _)| other == it)).collect();
            let guess = if scale == Scale::Quick { 5.0 } else { guess };
            cells.push(Cell { key, contenders, left_out, what, guess });
        };

        let bushy = |usage, nodes| Tree::new(usage, Shape::Bushy, nodes, 128);
        let mut trees: Vec<Tree> = loads.iter().map(|&nodes| bushy("load", nodes)).collect();
        trees.push(Tree::new("load", Shape::Flat, others, 128));
        trees.push(Tree::new("load", Shape::Deep, deep, 128));
        trees.push(Tree::new("load", Shape::Bushy, others, 0));
        trees.push(Tree::new("load", Shape::Bushy, others, 4096));
        if scale == Scale::Full {
            for nodes in [1000, 10_000, 100_000, 1_000_000] {
                let bushy = [0, 4096].map(|data| Tree::new("load", Shape::Bushy, nodes, data));
                let flat = [0, 128, 4096].map(|data| Tree::new("load", Shape::Flat, nodes, data));
                trees.extend(bushy.into_iter().chain(flat).filter(fits));
            }
            trees.extend([0, 4096].map(|data| Tree::new("load", Shape::Deep, deep, data)));
            trees = unique(trees);
        }
        // Small first, so that what goes wrong does so soon.
        trees.sort_by_key(|tree| tree.nodes);
        for tree in trees {
            let guess = 20.0 + tree.nodes as f64 * if tree.nodes > budget { 90e-6 } else { 1.5e-3 };
            add(tree.to_string(), &LOADERS, Some(tree), What::Load(tree), guess);
        }

        let tree = bushy("load", budget);
        let time = if scale == Scale::Quick { 300 } else { 3000 };
        let what = What::Beside(tree, Duration::from_millis(time));
        add(BESIDE.into(), &LEAN_LOADERS, Some(tree), what, 30.0);
        let tree = bushy("start", others);
        add(tree.to_string(), &CACHES, Some(tree), What::Start(tree), 25.0);
        let tree = bushy("start", budget);
        let starters = [Contender::Treecache, Contender::CuratorTree];
        add(tree.to_string(), &starters, Some(tree), What::Start(tree), 25.0);

        let tree = bushy("storm", storm);
        add(tree.to_string(), &CACHES, Some(tree), What::Storm(tree, writes), 180.0);
        let tree = bushy("storm", budget + writes / 10);
        add(tree.to_string(), &ours, Some(tree), What::Storm(tree, writes), 15.0);
        let tree = bushy("reconnect", others);
        add(tree.to_string(), &RECONNECTERS, Some(tree), What::Reconnect(tree), 140.0);
        let tree = bushy("reconnect", budget);
        let lean = [Contender::Treecache, Contender::TreecacheReports];
        add(tree.to_string(), &lean, Some(tree), What::Reconnect(tree), 80.0);
        let tree = bushy("latency", others);
        let latencies = if scale == Scale::Quick { 50 } else { 600 };
        add(LATENCY.into(), &LISTENERS, Some(tree), What::Latency(tree, latencies), 80.0);

        let hour = if scale == Scale::Quick { 10 * PARTS * BURST } else { growth::WRITES_AN_HOUR };
        let tree = bushy("growth", budget);
        let growers = if scale == Scale::Full { &CACHES[..] } else { &CACHES[..2] };
        add(GROWTH.into(), growers, Some(tree), What::Growth(tree, hour), 55.0 * growers.len() as f64);

        let tree = bushy("read", reads);
        add(READ_BUSHY.into(), &READERS, Some(tree), What::ReadBushy(tree), 95.0);
        let tree = bushy("read", budget + 1);
        let bare = [Contender::Treecache, Contender::Map, Contender::MapMutex];
        add(READ_BUDGET.into(), &bare, Some(tree), What::ReadBushy(tree), 25.0);
        let tree = bushy("read", reads);
        let shared = [Contender::Treecache, Contender::TreecacheAttached, Contender::Lmdb, Contender::Redis];
        add(READ_PROCESSES.into(), &shared, Some(tree), What::ReadProcesses(tree), 20.0);
        let tree = Tree::new("read", Shape::Deep, deep, 128);
        add(READ_DEEP.into(), &READERS, Some(tree), What::ReadDeep(tree), 40.0);
        let widths = vec![10, 1000, others];
        add(READ_OURS.into(), &ours, None, What::ReadOurs(bushy("ours", budget), widths), 15.0);
        let tree = bushy("footprint", others);
        add(FOOTPRINT.into(), &CACHES, Some(tree), What::Footprint(tree), 65.0);
        let ways = [Contender::Treecache, Contender::TreecacheAttached];
        let tree = bushy("shared", budget);
        add(PROCESSES.into(), &ways, Some(tree), What::Processes(tree, processes), 60.0);
        let tree = Tree::new("restarted", Shape::Bushy, budget, 400);
        let restarts = if scale == Scale::Quick { 2 } else { 5 };
        add(RESTARTS.into(), &ways, Some(tree), What::Restarts(tree, restarts), 40.0);
        let tree = bushy("shared", budget);
        let transactions = if scale == Scale::Quick { 20 } else { 300 };
        add(PUBLISHING.into(), &ways, Some(tree), What::Publishing(tree, transactions), 50.0);
        add(MARKET.into(), &ours, None, What::Market, 30.0);

        let effort = |rounds, patience, warm_up, read| Effort {
            rounds,
            patience: Duration::from_secs(patience),
            warm_up: Duration::from_millis(warm_up),
            read: Duration::from_millis(read),
        };
        let effort = match scale {
            Scale::Quick => effort(2, 2, 300, 50),
            Scale::Default => effort(5, 8, 3000, 500),
            Scale::Full => effort(7, 25, 4000, 1000),
        };
        Plan { scale, effort, cells }
    }

    /// Leaves out all contenders but those with these ids. An id that nobody has is returned.
    pub fn keep<'n>(&mut self, ids: &[&'n str]) -> Result<(), &'n str> {
        let is_known = |id: &str| {
            READERS.iter().chain(&LOADERS).chain(&RECONNECTERS).any(|contender| contender.id() == id)
        };
        if let Some(unknown) = ids.iter().find(|id| !is_known(id)) {
            return Err(unknown);
        }
        for cell in &mut self.cells {
            cell.contenders.retain(|contender| ids.contains(&contender.id()));
        }
        self.cells.retain(|cell| !cell.contenders.is_empty());
        Ok(())
    }

    pub fn run(&self, cell: &Cell, bench: &mut Bench) {
        for (contender, why) in &cell.left_out {
            bench.results.note(&cell.key, contender.id(), why);
        }
        let (key, contenders, effort) = (cell.key.as_str(), &cell.contenders[..], &self.effort);
        let quick = self.scale == Scale::Quick;
        // Of what takes long, unless there are hours.
        let fewer = |rounds| if self.scale == Scale::Full { *effort } else { effort.at_most(rounds) };
        match cell.what {
            What::Load(tree) => load::measure(bench, key, tree, contenders, effort),
            What::Beside(tree, time) => beside::measure(bench, key, tree, contenders, time),
            What::Start(tree) => start::measure(bench, key, tree, contenders, &fewer(3)),
            What::Growth(tree, writes) => growth::measure(bench, key, tree, contenders, writes),
            What::Storm(tree, writes) => {
                storm::measure(bench, key, tree, contenders, writes, effort);
            }
            What::Latency(tree, writes) => latency::measure(bench, key, tree, contenders, writes),
            What::Reconnect(tree) => {
                reconnect::measure(bench, key, tree, contenders, &fewer(3));
            }
            What::ReadBushy(tree) => reads::measure_bushy(bench, key, tree, contenders, effort),
            What::ReadProcesses(tree) => reads::measure_processes(bench, key, tree, contenders, effort),
            What::ReadDeep(tree) => reads::measure_deep(bench, key, tree, contenders, effort),
            What::ReadOurs(tree, ref widths) => reads::measure_ours(bench, key, tree, widths, effort),
            What::Footprint(tree) => {
                footprint::measure(
                    bench,
                    key,
                    tree,
                    contenders,
                    Duration::from_secs(if quick { 1 } else { 10 }),
                );
            }
            What::Processes(tree, processes) => sharing::measure_processes(bench, key, tree, processes),
            What::Restarts(tree, rounds) => {
                sharing::measure_restarts(bench, key, tree, RESTART_CHANGES, rounds);
            }
            What::Publishing(tree, transactions) => {
                sharing::measure_publishing(bench, key, tree, transactions);
            }
            What::Market => market::measure(bench, key, Duration::from_secs(if quick { 1 } else { 5 })),
        }
    }
}

pub const BESIDE: &str = "beside-a-writer";
pub const LATENCY: &str = "latency";
pub const GROWTH: &str = "growth";
pub const READ_BUSHY: &str = "read/bushy";
pub const READ_BUDGET: &str = "read/budget";
pub const READ_PROCESSES: &str = "read/processes";
pub const READ_DEEP: &str = "read/deep";
pub const READ_OURS: &str = "read/ours";
pub const FOOTPRINT: &str = "footprint";
pub const PROCESSES: &str = "shared/processes";
pub const RESTARTS: &str = "shared/restarts";
/// Nodes that change before a program begins anew.
pub const RESTART_CHANGES: usize = 10;
pub const PUBLISHING: &str = "shared/publishing";
pub const MARKET: &str = "market";

/// Not more than the server's heap, and a machine of 24 GiB, take besides the contenders.
fn fits(tree: &Tree) -> bool {
    tree.nodes * (tree.data + 500) < 2 << 30
}

/// Why a contender is left out of what is done with a tree.
fn why_not(scale: Scale, contender: Contender, tree: Tree) -> Option<&'static str> {
    match contender {
        Contender::CuratorCache if tree.nodes > CURATOR_LIMIT => Some("stops at 65,535 nodes"),
        Contender::Lmdb if tree.shape == Shape::Deep => Some("keys end at 511 bytes"),
        Contender::Kazoo if tree.nodes > 100_000 => Some("not tried: minutes for each load"),
        Contender::Kazoo if tree.nodes > 10_000 && tree.data > 1024 => {
            Some("not tried: minutes for each load")
        }
        Contender::CuratorTree | Contender::ZookeeperCrate if tree.nodes > 100_000 => {
            match (scale, tree.shape) {
                (Scale::Full, Shape::Bushy) if tree.data == 128 => None,
                (Scale::Full, _) => Some("not tried: minutes for each load"),
                _ => Some("only in a full run"),
            }
        }
        _ => None,
    }
}

fn unique(trees: Vec<Tree>) -> Vec<Tree> {
    let mut seen = std::collections::HashSet::new();
    trees.into_iter().filter(|tree| seen.insert(*tree)).collect()
}

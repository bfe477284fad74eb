//! What was measured, and its form on disk: `name = value` lines, for people and for the simulation.

use std::fmt::Write;
use std::str::FromStr;

/// The tree that everything is measured and simulated on: a root, directories, and leaves in each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tree {
    pub directories: usize,
    pub leaves: usize,
    /// Bytes of data of every node.
    pub data: usize,
}

impl Tree {
    pub fn nodes(&self) -> usize {
        1 + self.directories * (1 + self.leaves)
    }

    /// Parents first.
    pub fn paths<'a>(&'a self, root: &'a str) -> impl Iterator<Item = String> + 'a {
        let directories =
            (0..self.directories).map(move |directory| format!("{root}/directory-{directory:03}"));
        let leaves = directories.clone().flat_map(move |directory| {
            (0..self.leaves).map(move |leaf| format!("{directory}/leaf-{leaf:04}"))
        });
        std::iter::once(root.to_owned()).chain(directories).chain(leaves)
    }
}

/// The library, as costs name it.
pub const OURS: &str = "libtreecache";

/// What one server does in a second.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rates {
    /// Connections accepted.
    pub accepts: f64,
    /// Sessions resumed, the connection included.
    pub resumed_sessions: f64,
    /// Sessions created: each is a transaction.
    pub new_sessions: f64,
    /// Nodes read, 120 in a multiRead.
    pub batched_reads: f64,
    /// Single reads, many in flight.
    pub single_reads: f64,
    /// Notifications of recursive watches sent.
    pub notifications: f64,
    /// Nodes compared with a zxid (`setWatches`), and their lists.
    pub compared_nodes: f64,
}

impl Rates {
    fn fields(&mut self) -> [(&'static str, &mut f64); 7] {
        [
            ("accepts", &mut self.accepts),
            ("resumed_sessions", &mut self.resumed_sessions),
            ("new_sessions", &mut self.new_sessions),
            ("batched_reads", &mut self.batched_reads),
            ("single_reads", &mut self.single_reads),
            ("notifications", &mut self.notifications),
            ("compared_nodes", &mut self.compared_nodes),
        ]
    }
}

/// What one client asked of the server in one situation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Pings and the opening of the connection aside.
    pub requests: u64,
    pub to_server: u64,
    pub to_client: u64,
}

/// What one client costs the server, with a tree of so many nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cost {
    pub client: String,
    pub nodes: u64,
    /// On the server, once it is loaded.
    pub watches: u64,
    pub load: Traffic,
    /// One node's data changes.
    pub write: Traffic,
    /// The connection is lost, and nothing was written meanwhile.
    pub unmoved: Traffic,
    /// The connection is lost, and something was written meanwhile outside of the tree.
    pub moved: Traffic,
}

impl Cost {
    pub fn situations(&self) -> [Traffic; 4] {
        [self.load, self.write, self.unmoved, self.moved]
    }
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Measured {
    /// When and where.
    pub circumstances: String,
    pub rates: Rates,
    pub costs: Vec<Cost>,
    /// What a change of the leader does to the servers' zxids.
    pub epoch: String,
}

impl Measured {
    pub fn to_text(&self) -> String {
        let mut text = "# Made by `scripts/herd --measure`; scripts/herd simulates with it.\n".to_owned();
        let mut line = |name: &str, value: &str| writeln!(text, "{name} = {value}").expect("a string");
        line("circumstances", &self.circumstances);
        line("epoch", &self.epoch);
        let mut rates = self.rates;
        for (name, rate) in rates.fields() {
            line(&format!("rate.{name}"), &format!("{rate:.0}"));
        }
        for cost in &self.costs {
            let traffic =
                cost.situations().map(|of| format!("{} {} {}", of.requests, of.to_server, of.to_client));
            let numbers = format!("{} {} {}", cost.nodes, cost.watches, traffic.join(" "));
            line(&format!("cost.{}", cost.client), &numbers);
        }
        text
    }
}

impl FromStr for Measured {
    type Err = String;

    fn from_str(text: &str) -> Result<Measured, String> {
        let mut measured = Measured::default();
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        for line in lines {
            let malformed = || format!("not understood: {line}");
            let (name, value) = line.split_once(" = ").ok_or_else(malformed)?;
            if let Some(client) = name.strip_prefix("cost.") {
                let numbers: Result<Vec<u64>, _> = value.split(' ').map(str::parse).collect();
                let numbers = numbers.map_err(|_| malformed())?;
                let [nodes, watches, traffic @ ..] = &numbers[..] else { return Err(malformed()) };
                let traffic: Vec<Traffic> = traffic
                    .chunks_exact(3)
                    .map(|of| Traffic { requests: of[0], to_server: of[1], to_client: of[2] })
                    .collect();
                let [load, write, unmoved, moved] = traffic[..] else { return Err(malformed()) };
                let (client, nodes, watches) = (client.to_owned(), *nodes, *watches);
                measured.costs.push(Cost { client, nodes, watches, load, write, unmoved, moved });
            } else if let Some(rate) = name.strip_prefix("rate.") {
                let mut fields = measured.rates.fields();
                let field = fields.iter_mut().find(|(name, _)| *name == rate).ok_or_else(malformed)?;
                *field.1 = value.parse().map_err(|_| malformed())?;
            } else {
                match name {
                    "circumstances" => measured.circumstances = value.to_owned(),
                    "epoch" => measured.epoch = value.to_owned(),
                    _ => return Err(malformed()),
                }
            }
        }
        Ok(measured)
    }
}

/// A cost that grows with the tree: `fixed + per_node × nodes`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    pub fixed: f64,
    pub per_node: f64,
}

impl Line {
    /// Through the smallest and the largest tree.
    pub fn through(points: &[(f64, f64)]) -> Line {
        let by_nodes = |a: &&(f64, f64), b: &&(f64, f64)| a.0.total_cmp(&b.0);
        let (small, large) = (points.iter().min_by(by_nodes), points.iter().max_by(by_nodes));
        let (Some(small), Some(large)) = (small, large) else { return Line { fixed: 0.0, per_node: 0.0 } };
        let per_node = if large.0 > small.0 { (large.1 - small.1) / (large.0 - small.0) } else { 0.0 };
        Line { fixed: small.1 - per_node * small.0, per_node }
    }

    pub fn at(&self, nodes: f64) -> f64 {
        self.fixed + self.per_node * nodes
    }

    /// How far the farthest of the points is from it, as a share of the point.
    pub fn error(&self, points: &[(f64, f64)]) -> f64 {
        points.iter().map(|(nodes, cost)| (self.at(*nodes) - cost).abs() / cost.max(1.0)).fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_is_the_same_once_written_and_read() {
        let traffic = |n| Traffic { requests: n, to_server: n + 1, to_client: n + 2 };
        let measured = Measured {
            circumstances: "a day = a place".to_owned(),
            rates: Rates {
                accepts: 6.0,
                resumed_sessions: 1.0,
                new_sessions: 2.0,
                batched_reads: 3.0,
                single_reads: 4.0,
                notifications: 5.0,
                compared_nodes: 7.0,
            },
            costs: vec![Cost {
                client: "one".to_owned(),
                nodes: 7,
                watches: 8,
                load: traffic(10),
                write: traffic(20),
                unmoved: traffic(30),
                moved: traffic(40),
            }],
            epoch: "before: x; after: y".to_owned(),
        };
        assert_eq!(measured.to_text().parse(), Ok(measured));
        assert!("rate.nonsense = 1".parse::<Measured>().is_err());
        assert!("cost.x = 1 2 3".parse::<Measured>().is_err());
    }

    #[test]
    fn a_line_through_two_trees_says_what_a_third_one_costs() {
        let line = Line::through(&[(20.0, 45.0), (10.0, 25.0), (15.0, 36.0)]);
        assert_eq!(line, Line { fixed: 5.0, per_node: 2.0 });
        assert_eq!(line.at(100.0), 205.0);
        assert!((line.error(&[(15.0, 36.0), (10.0, 25.0)]) - 1.0 / 36.0).abs() < 1e-9);
    }

    #[test]
    fn a_tree_has_as_many_paths_as_nodes_and_parents_come_first() {
        let tree = Tree { directories: 2, leaves: 3, data: 0 };
        let paths: Vec<String> = tree.paths("/r").collect();
        assert_eq!((paths.len(), tree.nodes()), (9, 9));
        assert_eq!(paths[..2], ["/r", "/r/directory-000"]);
        assert_eq!(paths[8], "/r/directory-001/leaf-0002");
    }
}

//! Events, replayed onto an empty map.

use std::collections::BTreeMap;
use std::sync::Arc;

use treecache_core::{Node, NodeRef};

use crate::truth::parent;
use crate::{Check, Published, Violation};

/// What an event tells of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeEvent {
    Added,
    Updated,
    Removed,
}

/// The same node, with the same data: by all that ZooKeeper says of that, and not by the library's word.
fn is_same(one: NodeRef<'_>, other: NodeRef<'_>) -> bool {
    let says = |node: NodeRef<'_>| {
        let stat = node.stat();
        (stat.czxid, stat.ctime, stat.mzxid, stat.mtime, stat.version)
    };
    says(one) == says(other) && one.data() == other.data()
}

/// What a consumer knows who was told nothing but events.
#[derive(Default)]
pub struct Replay {
    root: Arc<str>,
    nodes: BTreeMap<String, Node>,
    /// A removal must not come behind these within a version.
    has_added: bool,
}

impl Replay {
    pub fn new(root: &str) -> Replay {
        Replay { root: Arc::from(root), ..Replay::default() }
    }

    /// One event. `node`: the new one, or for a removal the last known; `old`: of an update.
    pub fn told(
        &mut self,
        told: NodeEvent,
        path: &str,
        node: NodeRef<'_>,
        old: Option<NodeRef<'_>>,
    ) -> Result<(), Violation> {
        let known = self.nodes.get(path);
        let is_known_as = |node: NodeRef<'_>| known.is_some_and(|known| is_same(known.lend(), node));
        match told {
            NodeEvent::Added => {
                Check::Complete.that(known.is_none(), || format!("{path} was added, but it is there"))?;
                let is_below = path == &*self.root || self.nodes.contains_key(parent(path));
                Check::Ordered.that(is_below, || format!("{path} was added before its parent"))?;
                self.has_added = true;
            }
            NodeEvent::Updated => {
                let matches = old.is_some_and(is_known_as);
                Check::Complete.that(matches, || format!("{path} was updated from what it was not"))?;
                self.has_added = true;
            }
            NodeEvent::Removed => {
                Check::Complete
                    .that(is_known_as(node), || format!("{path} was removed, but is not there so"))?;
                let below = format!("{}/", if path == "/" { "" } else { path });
                let child = self
                    .nodes
                    .range(below.clone()..)
                    .next()
                    .filter(|(path, _)| path.starts_with(&below) && path.len() > below.len());
                Check::Ordered
                    .that(child.is_none(), || format!("{path} was removed before what is below it"))?;
                Check::Ordered.that(!self.has_added, || format!("{path} was removed behind an addition"))?;
                self.nodes.remove(path);
                return Ok(());
            }
        }
        self.nodes.insert(path.to_owned(), node.to_node());
        Ok(())
    }

    /// The last event of a version has been told.
    pub fn end_version(&mut self) {
        self.has_added = false;
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// What was told is what was published: the same nodes with the same data. (Stats that moved without the data
    /// are not told.)
    pub fn assert_equals(&self, published: &impl Published) -> Result<(), Violation> {
        let mut found = 0;
        let mut result = Ok(());
        published.visit(&self.root, &mut |path, node| {
            let (Some(node), Ok(())) = (node, &result) else { return };
            found += 1;
            let told = self.nodes.get(path);
            let same = told.is_some_and(|told| is_same(told.lend(), node));
            result =
                Check::Complete.that(same, || format!("{path} is not as it was told: {told:?}, {node:?}"));
        });
        result?;
        Check::Complete.that(found == self.nodes.len(), || {
            format!("{} nodes were told, and {found} are there", self.nodes.len())
        })
    }
}

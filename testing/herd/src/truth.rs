//! The tree at the servers, and what is read of it. It is the same for all of them.

use std::collections::HashMap;

use treecache_core::{Stat, Zxid};
use treecache_test_protocol::{self as protocol, Encoder, Operation, Read, Request};

use crate::measured::Tree;

pub const ROOT: &str = "/herd";
const NODE_DATA_CHANGED: i32 = 3;
const NODE_CHILDREN_CHANGED: i32 = 4;

struct Node {
    stat: Stat,
    children: Vec<String>,
}

pub struct Truth {
    pub zxid: Zxid,
    nodes: HashMap<String, Node>,
    data: Vec<u8>,
    /// The one that is written.
    hot: String,
}

impl Truth {
    pub fn new(tree: &Tree) -> Truth {
        let zxid = Zxid(1);
        let mut nodes: HashMap<String, Node> = HashMap::new();
        let mut hot = ROOT.to_owned();
        for path in tree.paths(ROOT) {
            if let Some((parent, name)) = path.rsplit_once('/')
                && let Some(parent) = nodes.get_mut(parent)
            {
                parent.children.push(name.to_owned());
                parent.stat.num_children += 1;
                parent.stat.cversion += 1;
            }
            let data_length = tree.data as i32;
            let stat = Stat { czxid: zxid, mzxid: zxid, pzxid: zxid, data_length, ..Stat::default() };
            hot.clone_from(&path);
            nodes.insert(path, Node { stat, children: Vec::new() });
        }
        Truth { zxid, nodes, data: vec![b'x'; tree.data], hot }
    }

    /// Something happens outside of the tree.
    pub fn move_on(&mut self) {
        self.zxid.0 += 1;
    }

    /// Sets a leaf's data, and returns the notification of it.
    pub fn write(&mut self) -> Vec<u8> {
        self.move_on();
        if let Some(node) = self.nodes.get_mut(&self.hot) {
            node.stat.mzxid = self.zxid;
            node.stat.version += 1;
        }
        self.rumour()
    }

    /// A notification of the node that is written.
    pub fn rumour(&self) -> Vec<u8> {
        let mut notification = Vec::new();
        protocol::notification(&mut notification, Zxid(-1), NODE_DATA_CHANGED, &self.hot);
        notification
    }

    /// The answer to a request.
    ///
    /// # Panics
    /// On one that no cache of small nodes makes.
    pub fn answer(&self, Request { xid, operation }: &Request) -> Vec<u8> {
        let mut out = Vec::new();
        match operation {
            Operation::Ping => Encoder::reply(&mut out, -2, self.zxid, protocol::OK).finish(),
            Operation::AddWatch { .. } => Encoder::reply(&mut out, *xid, self.zxid, protocol::OK).finish(),
            // Whether this is a ClickHouse Keeper.
            Operation::Exists { .. } => Encoder::reply(&mut out, *xid, self.zxid, protocol::NO_NODE).finish(),
            // A barrier. Nobody counts the transaction.
            Operation::Check(_) => Encoder::reply(&mut out, *xid, self.zxid, protocol::OK).finish(),
            Operation::Sync => {
                let mut reply = Encoder::reply(&mut out, *xid, self.zxid, protocol::OK);
                reply.buffer(b"/");
                reply.finish();
            }
            Operation::MultiRead(reads) => {
                let mut reply = Encoder::reply(&mut out, *xid, self.zxid, protocol::OK);
                for read in reads {
                    let node = self.nodes.get(read.path());
                    match (read, node) {
                        (Read::Data(_), Some(node)) => {
                            reply.multi_header(4, false, protocol::OK);
                            reply.buffer(&self.data);
                            reply.stat(&node.stat);
                        }
                        (Read::Children(_), Some(node)) => {
                            reply.multi_header(8, false, protocol::OK);
                            reply.strings(node.children.iter().map(String::as_str));
                        }
                        (_, None) => {
                            reply.multi_header(-1, false, protocol::NO_NODE);
                            reply.int(protocol::NO_NODE);
                        }
                    }
                }
                reply.multi_header(-1, true, -1);
                reply.finish();
            }
            Operation::SetWatches { since, data, lists, .. } => {
                let mut tell = |paths: &[String], kind, newest: fn(&Stat) -> Zxid| {
                    for path in paths {
                        let is_newer = self.nodes.get(path).is_none_or(|node| newest(&node.stat).0 > *since);
                        if is_newer {
                            protocol::notification(&mut out, Zxid(-1), kind, path);
                        }
                    }
                };
                tell(data, NODE_DATA_CHANGED, |stat| stat.mzxid);
                tell(lists, NODE_CHILDREN_CHANGED, |stat| stat.pzxid);
                Encoder::reply(&mut out, *xid, self.zxid, protocol::OK).finish();
            }
            Operation::Close => Encoder::reply(&mut out, *xid, self.zxid, protocol::OK).finish(),
            operation => panic!("not foreseen: {operation:?}"),
        }
        out
    }
}

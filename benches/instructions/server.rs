//! The smallest ZooKeeper that an engine can live on: one tree in memory, every request answered in turn.

use std::collections::BTreeMap;

use treecache::{Stat, Zxid};
use treecache_test_protocol::{self as protocol, Encoder, Operation, Read};

const NODE_CREATED: i32 = 1;
const NODE_DELETED: i32 = 2;
const NODE_DATA_CHANGED: i32 = 3;

struct Node {
    data: Vec<u8>,
    stat: Stat,
    children: Vec<String>,
}

pub struct Server {
    nodes: BTreeMap<String, Node>,
    zxid: Zxid,
    /// What the client has said and was not answered.
    inbox: Vec<u8>,
    /// What the client is to be told.
    pub outbox: Vec<u8>,
    is_connected: bool,
    is_watched: bool,
}

impl Server {
    pub fn new() -> Server {
        let root = Node { data: Vec::new(), stat: Stat::default(), children: Vec::new() };
        Server {
            nodes: BTreeMap::from([("/".to_owned(), root)]),
            zxid: Zxid(0),
            inbox: Vec::new(),
            outbox: Vec::new(),
            is_connected: false,
            is_watched: false,
        }
    }

    pub fn create(&mut self, path: &str, data: &[u8]) {
        self.zxid.0 += 1;
        let zxid = self.zxid;
        let stat =
            Stat { czxid: zxid, mzxid: zxid, pzxid: zxid, data_length: data.len() as i32, ..Stat::default() };
        self.nodes.insert(path.to_owned(), Node { data: data.to_vec(), stat, children: Vec::new() });
        self.parent_changed(path, |children, name| {
            let at = children.partition_point(|child| child.as_str() < name);
            children.insert(at, name.to_owned());
        });
        self.notify(NODE_CREATED, path);
    }

    pub fn set(&mut self, path: &str, data: &[u8]) {
        self.zxid.0 += 1;
        let node = self.nodes.get_mut(path).expect("a node");
        node.data = data.to_vec();
        (node.stat.mzxid, node.stat.data_length) = (self.zxid, data.len() as i32);
        node.stat.version += 1;
        self.notify(NODE_DATA_CHANGED, path);
    }

    pub fn delete(&mut self, path: &str) {
        self.zxid.0 += 1;
        self.nodes.remove(path).expect("a node");
        self.parent_changed(path, |children, name| children.retain(|child| child != name));
        self.notify(NODE_DELETED, path);
    }

    fn parent_changed(&mut self, path: &str, change: impl FnOnce(&mut Vec<String>, &str)) {
        let (parent, name) = path.rsplit_once('/').expect("an absolute path");
        let parent = self.nodes.get_mut(if parent.is_empty() { "/" } else { parent }).expect("a parent");
        change(&mut parent.children, name);
        parent.stat.pzxid = self.zxid;
        parent.stat.cversion += 1;
        parent.stat.num_children = parent.children.len() as i32;
    }

    fn notify(&mut self, kind: i32, path: &str) {
        if self.is_watched {
            protocol::notification(&mut self.outbox, Zxid(-1), kind, path);
        }
    }

    /// Answers all that the client has said, at the zxid of this moment.
    pub fn hear(&mut self, said: &mut Vec<u8>) {
        self.inbox.append(said);
        while let Some(frame) = protocol::next_frame(&mut self.inbox) {
            if !self.is_connected {
                let connect = protocol::connect(&frame).expect("a connect request");
                self.is_connected = true;
                protocol::welcome(&mut self.outbox, connect.timeout_ms, 1, &[7; 16]);
                continue;
            }
            let request = protocol::request(&frame).expect("a request");
            match request.operation {
                Operation::MultiRead(reads) => self.read(request.xid, &reads),
                // Whether this is a ClickHouse Keeper.
                Operation::Exists { .. } => {
                    Encoder::reply(&mut self.outbox, request.xid, self.zxid, protocol::NO_NODE).finish();
                }
                Operation::AddWatch { .. } => {
                    self.is_watched = true;
                    Encoder::reply(&mut self.outbox, request.xid, self.zxid, protocol::OK).finish();
                }
                Operation::Ping => {
                    Encoder::reply(&mut self.outbox, request.xid, self.zxid, protocol::OK).finish();
                }
                other => panic!("not expected of an engine with small nodes: {other:?}"),
            }
        }
    }

    fn read(&mut self, xid: i32, reads: &[Read]) {
        let mut reply = Encoder::reply(&mut self.outbox, xid, self.zxid, protocol::OK);
        for read in reads {
            match (self.nodes.get(read.path()), read) {
                (Some(node), Read::Data(_)) => {
                    reply.multi_header(4, false, protocol::OK);
                    reply.buffer(&node.data);
                    reply.stat(&node.stat);
                }
                (Some(node), Read::Children(_)) => {
                    reply.multi_header(8, false, protocol::OK);
                    reply.strings(node.children.iter().map(String::as_str));
                }
                (None, _) => {
                    reply.multi_header(-1, false, protocol::NO_NODE);
                    reply.int(protocol::NO_NODE);
                }
            }
        }
        reply.multi_header(-1, true, -1);
        reply.finish();
    }
}

//! A bare multiRead loop: what ZooKeeper and the machine allow, with nothing made of what is read.
//!
//! One blocking socket, a few multiReads in flight, breadth first: the data of every node, the children of those that
//! have any. Which reads go together is said by the argument: `plain`, or `proven`, as libtreecache does. The replies
//! are kept as they came, and nothing is looked up in them while the time is taken. Shares no code with the library, and
//! none with the tests' own clients.

mod batches;
mod connection;
mod proven;

use std::collections::VecDeque;
use std::{env, io};

use contender::{Contender, Digest};

use batches::{Batch, Batches, Plain, Want, What};
use connection::{Connection, Found, each_result};
use proven::Proven;

fn main() {
    let load = match env::args().nth(1).as_deref() {
        Some("plain") => |connection: &mut Connection, root: &str| load(connection, Plain::new(root)),
        Some("proven") => |connection: &mut Connection, root: &str| load(connection, Proven::new(root)),
        _ => panic!("usage: bare plain|proven"),
    };
    contender::serve(Bare { load, connection: None, read: Vec::new() });
}

/// What was asked for, and the replies as they came: looked into when nobody takes the time.
type Replies = Vec<(Vec<Want>, Vec<u8>)>;

struct Bare {
    load: fn(&mut Connection, &str) -> io::Result<Replies>,
    connection: Option<Connection>,
    read: Replies,
}

impl Contender for Bare {
    fn connect(&mut self, hosts: &str) -> Result<(), String> {
        self.connection = Some(Connection::open(hosts).map_err(|error| error.to_string())?);
        Ok(())
    }

    fn load(&mut self, root: &str) -> Result<(), String> {
        let connection = self.connection.as_mut().ok_or("not connected")?;
        self.read = (self.load)(connection, root).map_err(|error| error.to_string())?;
        Ok(())
    }

    fn digest(&self) -> Digest {
        let mut digest = Digest::default();
        for (wants, reply) in &self.read {
            let each = each_result(wants, reply, |want, found| {
                if let Found::Data(data, _) = found {
                    digest.add(&want.path, data);
                }
                Ok(())
            });
            each.expect("what could be read once");
        }
        digest
    }

    fn close(&mut self) {
        self.read = Vec::new();
        if let Some(connection) = self.connection.take() {
            // Nothing depends on it any more.
            let _ = connection.close();
        }
    }
}

/// Reads a tree, which must not change meanwhile.
fn load(connection: &mut Connection, mut batches: impl Batches) -> io::Result<Replies> {
    let mut read = Vec::new();
    let mut in_flight: VecDeque<Batch> = VecDeque::new();
    loop {
        while let Some(batch) = batches.next() {
            connection.send_batch(&batch.wants)?;
            in_flight.push_back(batch);
        }
        let Some(batch) = in_flight.pop_front() else { return Ok(read) };
        let reply = connection.receive()?;
        each_result(&batch.wants, &reply, |want, found| {
            match (want.what, found) {
                (What::Data, Found::Data(data, children)) => {
                    batches.found(want, data.len(), children as usize)
                }
                (What::Children, Found::Children(names)) => {
                    let names =
                        names.into_iter().map(|name| std::str::from_utf8(name).map_err(io::Error::other));
                    batches.listed(want, &names.collect::<io::Result<Vec<_>>>()?);
                }
                (_, Found::Error(code)) => return Err(io::Error::other(format!("{want:?}: error {code}"))),
                (_, found) => return Err(io::Error::other(format!("{want:?}: {found:?}"))),
            }
            Ok(())
        })?;
        batches.answered(&batch);
        read.push((batch.wants, reply));
    }
}

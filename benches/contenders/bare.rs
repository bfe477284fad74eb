//! A bare multiRead loop: what ZooKeeper and the machine allow, with nothing made of what is read.
//!
//! One blocking socket, four multiReads of 256 operations in flight, breadth first: the data of every node, the
//! children of those that have any. The replies are kept as they came, and nothing is looked up in them while the
//! time is taken. Shares no code with the library, and none with the tests' own clients.

use std::collections::VecDeque;
use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use contender::{Contender, Digest};

const BATCH: usize = 256;
const IN_FLIGHT: usize = 4;

const GET_DATA: i32 = 4;
const GET_CHILDREN: i32 = 8;
const MULTI_READ: i32 = 22;
const CLOSE_SESSION: i32 = -11;
/// Where a Stat, of 68 bytes, has its number of children.
const NUM_CHILDREN: usize = 56;

fn main() {
    contender::serve(Bare { connection: None, read: Vec::new() });
}

struct Bare {
    connection: Option<Connection>,
    /// What was asked for, and the replies as they came: looked into when nobody takes the time.
    read: Vec<(Vec<Want>, Vec<u8>)>,
}

impl Contender for Bare {
    fn connect(&mut self, hosts: &str) -> Result<(), String> {
        self.connection = Some(Connection::open(hosts).map_err(|error| error.to_string())?);
        Ok(())
    }

    fn load(&mut self, root: &str) -> Result<(), String> {
        let connection = self.connection.as_mut().ok_or("not connected")?;
        self.read = load(connection, root).map_err(|error| error.to_string())?;
        Ok(())
    }

    fn digest(&self) -> Digest {
        let mut digest = Digest::default();
        for (batch, reply) in &self.read {
            let each = each_result(batch, reply, |want, result| {
                if let (Want::Data(path), Found::Data(data, _)) = (want, result) {
                    digest.add(path, data);
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

/// Reads the tree at `root`, which must not change meanwhile.
fn load(connection: &mut Connection, root: &str) -> io::Result<Vec<(Vec<Want>, Vec<u8>)>> {
    let mut read = Vec::new();
    let mut queue = VecDeque::from([Want::Data(root.to_owned())]);
    let mut in_flight: VecDeque<Vec<Want>> = VecDeque::new();
    loop {
        while in_flight.len() < IN_FLIGHT && !queue.is_empty() {
            let batch: Vec<Want> = queue.drain(..queue.len().min(BATCH)).collect();
            connection.send_batch(&batch)?;
            in_flight.push_back(batch);
        }
        let Some(batch) = in_flight.pop_front() else { return Ok(read) };
        let reply = connection.receive()?;
        each_result(&batch, &reply, |want, found| {
            match (want, found) {
                (Want::Data(path), Found::Data(_, 1..)) => queue.push_back(Want::Children(path.clone())),
                (Want::Data(_), Found::Data(..)) => {}
                (Want::Children(path), Found::Children(names)) => {
                    for name in names {
                        let name = std::str::from_utf8(name).map_err(io::Error::other)?;
                        queue.push_back(Want::Data(format!("{path}/{name}")));
                    }
                }
                (want, Found::Error(code)) => {
                    return Err(io::Error::other(format!("{want:?}: error {code}")));
                }
                (want, found) => return Err(io::Error::other(format!("{want:?}: {found:?}"))),
            }
            Ok(())
        })?;
        read.push((batch, reply));
    }
}

fn each_result(
    batch: &[Want],
    reply: &[u8],
    mut tell: impl FnMut(&Want, Found) -> io::Result<()>,
) -> io::Result<()> {
    let mut reply = Reply { rest: reply };
    reply.take(16)?; // xid, zxid, error
    for want in batch {
        let kind = reply.int()?;
        reply.take(5)?; // done, error
        let found = match kind {
            GET_DATA => {
                let data = reply.buffer()?;
                let num_children =
                    reply.take(68)?[NUM_CHILDREN..][..4].try_into().map_err(io::Error::other)?;
                Found::Data(data, i32::from_be_bytes(num_children))
            }
            GET_CHILDREN => {
                Found::Children((0..reply.int()?).map(|_| reply.buffer()).collect::<io::Result<_>>()?)
            }
            _ => Found::Error(reply.int()?),
        };
        tell(want, found)?;
    }
    Ok(())
}

#[derive(Debug)]
enum Found<'a> {
    /// With the number of children.
    Data(&'a [u8], i32),
    Children(Vec<&'a [u8]>),
    /// ZooKeeper's code.
    Error(i32),
}

#[derive(Debug)]
enum Want {
    Data(String),
    Children(String),
}

struct Connection {
    input: BufReader<TcpStream>,
    output: TcpStream,
    frame: Vec<u8>,
}

impl Connection {
    fn open(server: &str) -> io::Result<Connection> {
        let output = TcpStream::connect(server)?;
        output.set_nodelay(true)?;
        output.set_read_timeout(Some(Duration::from_secs(30)))?;
        let input = BufReader::with_capacity(1 << 18, output.try_clone()?);
        let mut connection = Connection { input, output, frame: Vec::new() };
        let frame = connection.begin();
        frame.extend([0; 12]); // protocol version, last zxid seen
        frame.extend(30_000_i32.to_be_bytes());
        frame.extend([0; 8]); // no session yet
        frame.extend(16_i32.to_be_bytes());
        frame.extend([0; 17]); // its password; not read-only
        connection.send()?;
        connection.receive()?;
        Ok(connection)
    }

    fn send_batch(&mut self, batch: &[Want]) -> io::Result<()> {
        let frame = self.begin();
        frame.extend(1_i32.to_be_bytes());
        frame.extend(MULTI_READ.to_be_bytes());
        for read in batch {
            let (opcode, path) = match read {
                Want::Data(path) => (GET_DATA, path),
                Want::Children(path) => (GET_CHILDREN, path),
            };
            frame.extend(opcode.to_be_bytes());
            frame.extend([0, 0xff, 0xff, 0xff, 0xff]);
            frame.extend((path.len() as i32).to_be_bytes());
            frame.extend(path.as_bytes());
            frame.push(0); // no watch
        }
        frame.extend([0xff, 0xff, 0xff, 0xff, 1, 0xff, 0xff, 0xff, 0xff]);
        self.send()
    }

    /// Waits for the server's word, so that the end of this session does not fall into what is measured next.
    fn close(mut self) -> io::Result<()> {
        let frame = self.begin();
        frame.extend(2_i32.to_be_bytes());
        frame.extend(CLOSE_SESSION.to_be_bytes());
        self.send()?;
        self.receive().map(drop)
    }

    /// An empty frame, with room for its length.
    fn begin(&mut self) -> &mut Vec<u8> {
        self.frame.clear();
        self.frame.extend([0; 4]);
        &mut self.frame
    }

    fn send(&mut self) -> io::Result<()> {
        let length = (self.frame.len() - 4) as i32;
        self.frame[..4].copy_from_slice(&length.to_be_bytes());
        self.output.write_all(&self.frame)
    }

    fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.input.read_exact(&mut length)?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.input.read_exact(&mut frame)?;
        Ok(frame)
    }
}

struct Reply<'a> {
    rest: &'a [u8],
}

impl<'a> Reply<'a> {
    fn take(&mut self, count: usize) -> io::Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.rest = rest;
        Ok(taken)
    }

    fn int(&mut self) -> io::Result<i32> {
        let bytes = self.take(4)?.try_into().map_err(io::Error::other)?;
        Ok(i32::from_be_bytes(bytes))
    }

    fn buffer(&mut self) -> io::Result<&'a [u8]> {
        let length = self.int()?;
        self.take(length.max(0) as usize)
    }
}

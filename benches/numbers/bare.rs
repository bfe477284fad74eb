//! A bare multiRead loop: what ZooKeeper and the machine allow, with nothing made of what is read.
//!
//! One blocking socket, four multiReads of 256 operations in flight, breadth first: the data of every node, the
//! children of those that have any. Shares no code with the library, and none with the tests' own clients.

use std::collections::VecDeque;
use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const BATCH: usize = 256;
const IN_FLIGHT: usize = 4;

const GET_DATA: i32 = 4;
const GET_CHILDREN: i32 = 8;
const ERROR: i32 = -1;
const MULTI_READ: i32 = 22;
const CLOSE_SESSION: i32 = -11;
/// Where a Stat, of 68 bytes, has its number of children.
const NUM_CHILDREN: usize = 56;

/// What was read, and how long it took once the session was there.
pub struct Loaded {
    pub nodes: usize,
    pub bytes: usize,
    pub took: Duration,
}

/// Reads the tree at `root`, which must not change meanwhile.
pub fn load(server: SocketAddr, root: &str) -> io::Result<Loaded> {
    let mut connection = Connection::open(server)?;
    let began = Instant::now();
    let mut loaded = Loaded { nodes: 0, bytes: 0, took: Duration::ZERO };
    let mut queue = VecDeque::from([Want::Data(root.to_owned())]);
    let mut in_flight: VecDeque<Vec<Want>> = VecDeque::new();
    loop {
        while in_flight.len() < IN_FLIGHT && !queue.is_empty() {
            let batch: Vec<Want> = queue.drain(..queue.len().min(BATCH)).collect();
            connection.send_batch(&batch)?;
            in_flight.push_back(batch);
        }
        let Some(batch) = in_flight.pop_front() else { break };
        let reply = connection.receive()?;
        let mut reply = Reply { rest: &reply };
        reply.take(16)?; // xid, zxid, error
        for read in batch {
            let kind = reply.int()?;
            reply.take(5)?; // done, error
            match (kind, read) {
                (GET_DATA, Want::Data(path)) => {
                    loaded.nodes += 1;
                    loaded.bytes += reply.buffer()?.len();
                    if reply.take(68)?[NUM_CHILDREN..][..4] != [0; 4] {
                        queue.push_back(Want::Children(path));
                    }
                }
                (GET_CHILDREN, Want::Children(path)) => {
                    for _ in 0..reply.int()? {
                        let name = std::str::from_utf8(reply.buffer()?).map_err(io::Error::other)?;
                        queue.push_back(Want::Data(format!("{path}/{name}")));
                    }
                }
                (ERROR, read) => return Err(io::Error::other(format!("{read:?}: error {}", reply.int()?))),
                (kind, read) => return Err(io::Error::other(format!("{read:?}: a result of kind {kind}"))),
            }
        }
    }
    loaded.took = began.elapsed();
    connection.close()?;
    Ok(loaded)
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
    fn open(server: SocketAddr) -> io::Result<Connection> {
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

//! A session, and multiReads in it, as they are on the wire.

use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::batches::{Want, What};

const GET_DATA: i32 = 4;
const GET_CHILDREN: i32 = 8;
const MULTI_READ: i32 = 22;
const CLOSE_SESSION: i32 = -11;
/// Where a Stat, of 68 bytes, has its number of children.
const NUM_CHILDREN: usize = 56;

pub struct Connection {
    input: BufReader<TcpStream>,
    output: TcpStream,
    frame: Vec<u8>,
}

impl Connection {
    pub fn open(server: &str) -> io::Result<Connection> {
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

    pub fn send_batch(&mut self, batch: &[Want]) -> io::Result<()> {
        let frame = self.begin();
        frame.extend(1_i32.to_be_bytes());
        frame.extend(MULTI_READ.to_be_bytes());
        for read in batch {
            let path = &read.path;
            let opcode = match read.what {
                What::Data => GET_DATA,
                What::Children => GET_CHILDREN,
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
    pub fn close(mut self) -> io::Result<()> {
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

    pub fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.input.read_exact(&mut length)?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.input.read_exact(&mut frame)?;
        Ok(frame)
    }
}

/// Tells of each read what its reply says.
pub fn each_result(
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
pub enum Found<'a> {
    /// With the number of children.
    Data(&'a [u8], i32),
    Children(Vec<&'a [u8]>),
    /// ZooKeeper's code.
    Error(i32),
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

//! The descriptors of an I/O thread, as the child of a fork sees them: they are open there, without the thread that
//! would close them.

#![expect(unsafe_code, reason = "descriptors that another process has too")]

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use mio::Poll;
use mio::net::TcpStream;

use super::waker::Waker;

/// No descriptor has this number.
const NONE: RawFd = -1;

/// The descriptors' numbers. Set on the I/O thread, and read in the child only.
pub(super) struct Inherited {
    poll: AtomicI32,
    /// Of the first and of the second connection.
    sockets: [Socket; 2],
}

struct Socket {
    number: AtomicI32,
    /// When the thread has closed the socket, another file may get its number: the inode tells them apart.
    inode: AtomicU64,
}

impl Socket {
    fn none() -> Socket {
        Socket { number: AtomicI32::new(NONE), inode: AtomicU64::new(0) }
    }
}

impl Inherited {
    pub(super) fn new(poll: &Poll) -> Inherited {
        Inherited { poll: AtomicI32::new(poll.as_raw_fd()), sockets: [Socket::none(), Socket::none()] }
    }

    pub(super) fn set_socket(&self, is_second: bool, socket: &TcpStream) {
        let (known, number) = (&self.sockets[usize::from(is_second)], socket.as_raw_fd());
        known.number.store(NONE, Ordering::Relaxed);
        known.inode.store(inode(number).unwrap_or(0), Ordering::Relaxed);
        known.number.store(number, Ordering::Relaxed);
    }

    /// To be called when the thread is about to close its descriptors.
    pub(super) fn clear(&self) {
        self.poll.store(NONE, Ordering::Relaxed);
        for known in &self.sockets {
            known.number.store(NONE, Ordering::Relaxed);
        }
    }

    /// Closes what is open, once. To be called in the child only.
    pub(super) fn close(&self, waker: &Waker) {
        for known in &self.sockets {
            let socket = known.number.swap(NONE, Ordering::Relaxed);
            if inode(socket) == Some(known.inode.load(Ordering::Relaxed)) {
                close(socket);
            }
        }
        let poll = self.poll.swap(NONE, Ordering::Relaxed);
        if poll != NONE {
            close(poll);
            waker.close();
        }
    }
}

fn close(number: RawFd) {
    // SAFETY: it is open, and nobody else in this process will close it.
    drop(unsafe { OwnedFd::from_raw_fd(number) });
}

/// `None` if no open descriptor has this number.
fn inode(number: RawFd) -> Option<u64> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: a number that is no descriptor is an error; otherwise the structure is filled.
    match unsafe { libc::fstat(number, stat.as_mut_ptr()) } {
        // SAFETY: filled, as above.
        0 => Some(unsafe { stat.assume_init() }.st_ino),
        _ => None,
    }
}

//! A descriptor that can be polled for, and is level-triggered: readable for as long as it is
//! [set](Descriptor::set) so.

#![expect(unsafe_code, reason = "a descriptor that can be polled")]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// What a descriptor is made of on this system.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) type System = Eventfd;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) type System = Pipe;

/// Non-blocking and close-on-exec. Its readers wait for it, and never read it.
pub(super) struct Descriptor<E = System> {
    is_raised: bool,
    ends: E,
}

/// A pair of ends, one to be waited for and one to make it readable.
pub(super) trait Ends: Sized {
    fn new() -> io::Result<Self>;
    fn fd(&self) -> RawFd;
    fn write_one(&self) -> io::Result<()>;
    fn read_all(&self) -> io::Result<()>;
}

impl<E: Ends> Descriptor<E> {
    pub(super) fn new() -> io::Result<Descriptor<E>> {
        Ok(Descriptor { is_raised: false, ends: E::new()? })
    }

    pub(super) fn fd(&self) -> RawFd {
        self.ends.fd()
    }

    /// Makes it readable, or not readable. Costs nothing if it is so already.
    pub(super) fn set(&mut self, raised: bool) {
        if self.is_raised != raised {
            self.is_raised = raised;
            let done = if raised { self.ends.write_one() } else { self.ends.read_all() };
            if let Err(error) = done {
                log::error!("the descriptor of a queue: {error}");
            }
        }
    }
}

/// Both ends in one.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) struct Eventfd(OwnedFd);

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Ends for Eventfd {
    fn new() -> io::Result<Eventfd> {
        use std::os::fd::FromRawFd;
        // SAFETY: no pointers are passed.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it was just opened, and nobody else has it.
        Ok(Eventfd(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    fn write_one(&self) -> io::Result<()> {
        let one = 1u64.to_ne_bytes();
        // SAFETY: the buffer is as long as is said.
        let written = unsafe { libc::write(self.fd(), one.as_ptr().cast(), one.len()) };
        if written < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn read_all(&self) -> io::Result<()> {
        let mut count = [0; 8];
        // SAFETY: the buffer is as long as is said.
        let read = unsafe { libc::read(self.fd(), count.as_mut_ptr().cast(), count.len()) };
        if read < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// For systems without eventfd; tested here as well.
#[cfg(any(test, not(any(target_os = "linux", target_os = "android"))))]
pub(super) struct Pipe {
    read: io::PipeReader,
    write: io::PipeWriter,
}

#[cfg(any(test, not(any(target_os = "linux", target_os = "android"))))]
impl Ends for Pipe {
    fn new() -> io::Result<Pipe> {
        // Close-on-exec already.
        let (read, write) = io::pipe()?;
        // SAFETY: no pointers are passed, and the descriptor is open.
        if unsafe { libc::fcntl(read.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Pipe { read, write })
    }

    fn fd(&self) -> RawFd {
        self.read.as_raw_fd()
    }

    fn write_one(&self) -> io::Result<()> {
        io::Write::write_all(&mut &self.write, &[0])
    }

    fn read_all(&self) -> io::Result<()> {
        io::Read::read_exact(&mut &self.read, &mut [0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_readable(fd: RawFd) -> bool {
        let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // SAFETY: there is one descriptor to look at.
        unsafe { libc::poll(&mut poll, 1, 0) == 1 && poll.revents == libc::POLLIN }
    }

    #[test]
    fn it_is_readable_while_it_is_raised_however_often_that_is_said() {
        is_readable_while_raised::<System>();
        is_readable_while_raised::<Pipe>();
    }

    fn is_readable_while_raised<E: Ends>() {
        let mut descriptor = Descriptor::<E>::new().unwrap();
        assert!(!is_readable(descriptor.fd()));
        for raised in [true, true, false, false, true, false, true] {
            descriptor.set(raised);
            assert_eq!(is_readable(descriptor.fd()), raised);
            assert_eq!(is_readable(descriptor.fd()), raised, "looking changes nothing");
        }
    }

    #[test]
    fn it_is_not_inherited_by_other_programs_and_does_not_block() {
        is_not_inherited_and_does_not_block::<System>();
        is_not_inherited_and_does_not_block::<Pipe>();
    }

    fn is_not_inherited_and_does_not_block<E: Ends>() {
        let descriptor = Descriptor::<E>::new().unwrap();
        // SAFETY: no pointers are passed, and the descriptor is open.
        let (flags, status) = unsafe {
            (libc::fcntl(descriptor.fd(), libc::F_GETFD), libc::fcntl(descriptor.fd(), libc::F_GETFL))
        };
        assert_ne!(flags & libc::FD_CLOEXEC, 0);
        assert_ne!(status & libc::O_NONBLOCK, 0);
    }
}

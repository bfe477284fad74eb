//! Files that are mapped to be read.
//!
//! This is the one place where bytes of a file are memory. Why that holds, for a file that others write:
//!
//! - What is lent as a slice is below a length that a root of the file names. The format says that such bytes are never written
//!   again, and that the file is never cut off. Whoever owns the file has to keep to that; a process that may not write to it
//!   cannot be harmed by others than those. (If they cut the file off, its readers get SIGBUS.)
//! - What is written again and again (roots, the side file) is read by atomic loads, and believed by its checksum.
//! - A map is there for as long as anybody has a part of it.

#![expect(unsafe_code, reason = "maps of files")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::share::{Keeper, OBJECTS_AT};

pub(super) struct Map {
    start: NonNull<u8>,
    /// How many bytes are mapped; the file need not have them yet.
    len: usize,
    /// The file has so many, and they stay as they are, from `OBJECTS_AT` on.
    lasting: AtomicU64,
}

// SAFETY: memory that is only read, and atomics.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

impl Map {
    /// Maps the first `len` bytes of a file, which need not have them yet. Nothing of it can be lent before
    /// [`lasts`](Self::lasts). The file has at least as many as are asked of [`load`](Self::load).
    pub(super) fn new(file: &File, len: usize) -> io::Result<Map> {
        // SAFETY: a new map, where the system has room for it.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        match NonNull::new(start.cast::<u8>()) {
            Some(start) if start.as_ptr().cast() != libc::MAP_FAILED => {
                Ok(Map { start, len, lasting: AtomicU64::new(0) })
            }
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Says that the file has so many bytes, which were written before this, and stay as they are. Returns false when they are
    /// not all mapped.
    pub(super) fn lasts(&self, len: u64) -> bool {
        let is_mapped = usize::try_from(len).is_ok_and(|len| len <= self.len);
        if is_mapped {
            self.lasting.fetch_max(len, Ordering::AcqRel);
        }
        is_mapped
    }

    /// Reads eight bytes that may be written at this moment.
    #[inline]
    pub(super) fn number(&self, at: u64) -> u64 {
        let at = at as usize;
        assert!(at.is_multiple_of(8) && at + 8 <= self.len, "a number is mapped");
        // SAFETY: it is mapped and aligned, and the file has it, as was promised.
        let number = unsafe { self.start.add(at).cast::<AtomicU64>().as_ref() };
        u64::from_le(number.load(Ordering::Acquire))
    }

    /// Reads bytes that may be written at this moment, a number of eights: so they may be half of what was written.
    pub(super) fn load<const N: usize>(&self, at: u64) -> [u8; N] {
        let mut bytes = [0; N];
        for (index, to) in bytes.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            *to = self.number(at + 8 * index as u64).to_le_bytes();
        }
        bytes
    }

    /// The number that waits are for.
    fn word(&self, at: u64) -> &AtomicU32 {
        let at = at as usize;
        assert!(at.is_multiple_of(4) && at + 4 <= self.len, "a number is mapped");
        // SAFETY: it is mapped and aligned, and the file has it, as was promised.
        unsafe { self.start.add(at).cast::<AtomicU32>().as_ref() }
    }

    pub(super) fn wake_number(&self, at: u64) -> u32 {
        self.word(at).load(Ordering::Acquire)
    }

    /// Waits until somebody wakes those who wait here, at most so long; not at all if the number is another one than was seen.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn wait(&self, at: u64, seen: u32, timeout: std::time::Duration) {
        let timeout = libc::timespec {
            tv_sec: timeout.as_secs().min(1 << 30) as _,
            tv_nsec: timeout.subsec_nanos() as _,
        };
        let word = self.word(at).as_ptr();
        // SAFETY: the number is mapped for as long as this is; the system reads it and the time, and writes nothing.
        unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAIT, seen, &raw const timeout) };
    }

    /// Wakes all that wait for this number, in whatever process.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn wake(&self, at: u64) {
        let word = self.word(at).as_ptr();
        // SAFETY: the number is mapped for as long as this is; it is neither read nor written.
        unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAKE, i32::MAX) };
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(super) fn wait(&self, _: u64, _: u32, _: std::time::Duration) {}

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(super) fn wake(&self, _: u64) {}
}

impl Keeper for Map {
    #[inline]
    fn bytes(&self, at: u64, len: usize) -> &[u8] {
        let end = at.checked_add(len as u64);
        if at < OBJECTS_AT || end.is_none_or(|end| end > self.lasting.load(Ordering::Acquire)) {
            return &[];
        }
        // SAFETY: these bytes are mapped, the file has them, and nobody writes to them any more, as was promised.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(at as usize), len) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: it was mapped by `new`, and nothing of it is lent any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

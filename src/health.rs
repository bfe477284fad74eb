//! Whether a handle may be used: not after a panic in it, and not in the child of a fork.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Status};
use crate::fork::Origin;

/// The health of a handle, or of the threads that several handles share.
pub(crate) struct Health {
    panicked: AtomicBool,
    origin: Origin,
    /// What this depends on: after a panic there, this may not be used either.
    basis: Option<Arc<Health>>,
}

impl Health {
    pub(crate) fn new() -> Health {
        Health { panicked: AtomicBool::new(false), origin: Origin::here(), basis: None }
    }

    /// The health of something that depends on `basis`.
    pub(crate) fn on(basis: &Arc<Health>) -> Health {
        Health { basis: Some(basis.clone()), ..Health::new() }
    }

    /// To be called when something panicked: there is no way back. Returns whether it was the first time; two threads
    /// may panic at once.
    pub(crate) fn ruin(&self) -> bool {
        !self.panicked.swap(true, Ordering::SeqCst)
    }

    /// # Errors
    /// [`Error::Failed`] with [`Status::Panic`] after a panic; [`Error::State`] in the child of a fork.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.origin.is_here() && !self.has_panicked() { Ok(()) } else { Err(self.why()) }
    }

    pub(crate) fn is_forked(&self) -> bool {
        !self.origin.is_here()
    }

    #[inline]
    fn has_panicked(&self) -> bool {
        self.panicked.load(Ordering::Relaxed)
            || self.basis.as_ref().is_some_and(|basis| basis.panicked.load(Ordering::Relaxed))
    }

    #[cold]
    fn why(&self) -> Error {
        match self.is_forked() {
            true => Error::State("it was made before the process was forked; the child may only free it"),
            false => Error::failed(Status::Panic),
        }
    }
}

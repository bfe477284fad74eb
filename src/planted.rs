//! Defects that a test plants, one at a time, to see that its checks can fail.
//!
//! Only with the feature `planted`, which nothing but tests turns on; without it [`is`] is `false` at compile time
//! and nothing of this is left in the library.

#[cfg(feature = "planted")]
mod switch {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::Defect;

    /// The defect of this process: its place in [`Defect::ALL`] plus one; 0 for none.
    static PLANTED: AtomicU8 = AtomicU8::new(0);

    /// Plants a defect in this process, in place of the one before.
    pub fn plant(defect: Option<Defect>) {
        let number = defect.map_or(0, |defect| defect as u8 + 1);
        PLANTED.store(number, Ordering::Relaxed);
    }

    pub fn is(defect: Defect) -> bool {
        PLANTED.load(Ordering::Relaxed) == defect as u8 + 1
    }
}

#[cfg(feature = "planted")]
pub use switch::{is, plant};

#[cfg(not(feature = "planted"))]
pub(crate) const fn is(_: Defect) -> bool {
    false
}

/// Panics where a test has planted that.
#[inline]
pub(crate) fn panic_if(defect: Defect) {
    if is(defect) {
        panic!("planted: {}", defect.name());
    }
}

macro_rules! defects {
    ($($(#[$doc:meta])* $defect:ident = $name:literal,)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[cfg_attr(not(feature = "planted"), allow(dead_code, reason = "planted by tests"))]
        pub enum Defect {
            $($(#[$doc])* $defect,)*
        }

        impl Defect {
            #[cfg(feature = "planted")]
            pub const ALL: &[Defect] = &[$(Defect::$defect),*];

            pub fn name(self) -> &'static str {
                match self { $(Defect::$defect => $name,)* }
            }
        }
    };
}

defects! {
    /// The I/O thread panics at the next bytes from a server.
    PanicOnIoThread = "panic on the I/O thread",
}

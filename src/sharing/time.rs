//! Moments that another process can tell the age of, be it after the machine was started anew.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::clock;
use crate::share::{Moment, checksum};

/// Which start of the machine this is; 0 if the system does not tell.
static BOOT_ID: LazyLock<u64> = LazyLock::new(|| {
    let text = std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    match text.split_first_chunk::<18>() {
        // A random number in words: the checksums of its halves are as good as itself.
        Some((head, rest)) => u64::from(checksum(head)) << 32 | u64::from(checksum(rest)) | 1,
        None => 0,
    }
});

/// This moment.
pub(super) fn now() -> Moment {
    let real = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Moment { real: millis(real), boot: millis(clock::since_boot()), boot_id: *BOOT_ID }
}

/// A moment of the past, of this process.
pub(super) fn moment(then: Instant) -> Moment {
    let Moment { real, boot, boot_id } = now();
    let ago = clock::now().saturating_duration_since(then).as_millis() as u64;
    // A real time of 0 would mean that it never was.
    Moment { real: real.saturating_sub(ago).max(1), boot: boot.saturating_sub(ago), boot_id }
}

/// How long ago a moment was; `None`: longer than anybody can say.
pub(crate) fn age(then: &Moment) -> Option<Duration> {
    then.ago(&now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_as_long_ago_as_it_was() {
        let then = moment(clock::now() - Duration::from_millis(500));
        let ago = then.ago(&now()).expect("it was");
        assert!((Duration::from_millis(499)..Duration::from_secs(5)).contains(&ago), "{ago:?}");
    }
}

//! The time, as ages and timeouts count it: it goes on while the machine sleeps, where the system has such a clock.

#![expect(unsafe_code, reason = "the system's clock")]

use std::mem::MaybeUninit;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOCK: libc::clockid_t = libc::CLOCK_BOOTTIME;
/// It counts sleep on macOS, unlike the clock of `Instant`.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;

/// One moment, on both clocks.
static BASE: LazyLock<(Instant, Duration)> = LazyLock::new(|| (Instant::now(), read()));

/// What every age, deadline and timer of the library is measured with, in place of `Instant::now`. Waits of the system
/// do not count sleep: after a wait, ask for the time again.
pub(crate) fn now() -> Instant {
    let (base, at) = *BASE;
    base + read().saturating_sub(at)
}

/// How long the machine has been running, sleep included.
pub(crate) fn since_boot() -> Duration {
    read()
}

/// Milliseconds of some clock, coarse and cheap: for what is done now and then. It does not count sleep.
pub(crate) fn coarse_millis() -> u64 {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const COARSE: libc::clockid_t = libc::CLOCK_MONOTONIC_COARSE;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const COARSE: libc::clockid_t = CLOCK;
    let time = read_of(COARSE);
    time.as_secs() * 1000 + u64::from(time.subsec_millis())
}

fn read() -> Duration {
    read_of(CLOCK)
}

fn read_of(clock: libc::clockid_t) -> Duration {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the system fills it, or returns an error if it has no such clock.
    let time = match unsafe { libc::clock_gettime(clock, time.as_mut_ptr()) } {
        // SAFETY: filled, as above.
        0 => unsafe { time.assume_init() },
        _ => panic!("no clock {clock}"),
    };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_with_the_systems_and_never_back() {
        let (mut last, began) = (now(), Instant::now());
        for _ in 0..1000 {
            let next = now();
            assert!(next >= last);
            last = next;
        }
        std::thread::sleep(Duration::from_millis(20));
        let (here, there) = (now() - last, began.elapsed());
        assert!(Duration::from_millis(20) <= here && here <= there, "{here:?} and {there:?}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn it_is_the_time_since_boot_sleep_included() {
        let uptime = || {
            let text = std::fs::read_to_string("/proc/uptime").expect("/proc/uptime");
            let seconds = text.split(' ').next().and_then(|seconds| seconds.parse().ok());
            Duration::from_secs_f64(seconds.expect("seconds"))
        };
        // It has hundredths.
        let (before, read, after) = (uptime(), read() + Duration::from_millis(10), uptime());
        assert!(before <= read && read <= after + Duration::from_millis(20), "{before:?} {read:?} {after:?}");
    }
}

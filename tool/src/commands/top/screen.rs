//! The screen, as long as somebody looks at it: keys, signals and what the cache tells come in, and frames go out.

use std::fs::File;
use std::io::{self, BufWriter, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use signal_hook::consts::{SIGCONT, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;
use treecache::{EventQueue, TreeCache};

use super::keyboard::{self, Keyboard};
use super::look::Look;
use super::model::{Answer, Model};
use super::{Clock, view};
use crate::failure::Failure;
use crate::terminal;

/// Keys are seen at once, but however fast they come, frames are not drawn faster.
const LEAST: Duration = Duration::from_millis(20);

/// For so long what was told is taken before the keyboard is looked at again.
const DRAIN: Duration = Duration::from_millis(50);

/// So many items at a time.
const ITEMS: usize = 256;

/// SIGINT and SIGTERM are left to [`crate::interrupt`].
const SIGNALS: [i32; 5] = [SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH];

type Frames = Terminal<CrosstermBackend<BufWriter<terminal::Output>>>;

pub struct Screen<'s> {
    pub cache: &'s TreeCache,
    pub queue: EventQueue,
    pub model: Model,
    pub look: Look,
    pub interval: Duration,
    pub clock: Clock,
}

impl Screen<'_> {
    /// Shows it until a key or a signal ends that.
    pub fn run(mut self) -> Result<ExitCode, Failure> {
        let mut signals = signals().map_err(|error| Failure::Other(format!("no signals: {error}")))?;
        let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let _taken = terminal::take()?;
        let (mut frames, mut keyboard) = (frames()?, Keyboard::default());
        let (mut next_look, mut next_frame) = (Duration::ZERO, Duration::ZERO);
        loop {
            let now = self.clock.now();
            if now >= next_look {
                self.look()?;
                next_look = self.clock.now() + self.interval;
                next_frame = now;
            }
            if now >= next_frame {
                self.draw(&mut frames)?;
                next_frame = Duration::MAX;
            }
            let mut until = next_look.min(next_frame).saturating_sub(self.clock.now());
            if keyboard.waits() {
                until = until.min(keyboard::PATIENCE);
            }
            let came = wait(input.as_fd(), signals.get_read().as_fd(), until)?;
            if came.is_gone {
                return Ok(ExitCode::from(128 + SIGHUP as u8));
            }
            for signal in signals.pending() {
                match signal {
                    SIGHUP | SIGQUIT => return Ok(ExitCode::from(128 + signal as u8)),
                    SIGTSTP => stop(),
                    SIGCONT => {
                        terminal::take_again()?;
                        frames = self::frames()?;
                    }
                    _ => {}
                }
                next_frame = Duration::ZERO;
            }
            let now = self.clock.now();
            if came.has_keys {
                let mut bytes = [0; 256];
                match input.read(&mut bytes) {
                    Ok(0) => return Ok(ExitCode::from(128 + SIGHUP as u8)),
                    Ok(len) => keyboard.type_in(&bytes[..len], now),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(Failure::Other(format!("cannot read the keyboard: {error}"))),
                }
            }
            while let Some(key) = keyboard.next(now) {
                if self.model.press(key) == Answer::Quit {
                    return Ok(ExitCode::SUCCESS);
                }
                next_frame = next_frame.min(now + LEAST);
            }
        }
    }

    /// Takes what was told, and what there is now. While it is paused, what is told waits in the queue; past
    /// `events.capacity`, it goes on by difference.
    fn look(&mut self) -> Result<(), Failure> {
        let now = self.clock.now();
        self.model.look_at(self.cache.stats().into(), now);
        if self.model.is_paused() && self.model.tree().is_some() {
            return Ok(());
        }
        let began = Instant::now();
        while began.elapsed() < DRAIN {
            let items = self.queue.drain(ITEMS)?;
            items.iter().for_each(|item| self.model.take(item, now));
            if items.len() < ITEMS {
                break;
            }
        }
        self.model.look_into(Box::new(self.cache.snapshot()?), self.clock.moment());
        Ok(())
    }

    fn draw(&mut self, frames: &mut Frames) -> io::Result<()> {
        self.model.refresh();
        let now = self.clock.now();
        frames.draw(|frame| view::draw(frame.buffer_mut(), &mut self.model, now, self.look))?;
        Ok(())
    }
}

/// A screen of which nothing is known to be there.
fn frames() -> io::Result<Frames> {
    Terminal::new(CrosstermBackend::new(BufWriter::with_capacity(1 << 16, terminal::Output::new()?)))
}

/// Stops as any program does, with the terminal as it was before. When it goes on, SIGCONT has come.
fn stop() {
    terminal::give_back();
    _ = signal_hook::low_level::emulate_default_handler(SIGTSTP);
}

/// Signals come through a descriptor, which can be waited for beside the keyboard.
fn signals() -> io::Result<SignalDelivery<UnixStream, SignalOnly>> {
    let (read, write) = UnixStream::pair()?;
    SignalDelivery::with_pipe(read, write, SignalOnly, SIGNALS)
}

/// What has come.
struct Came {
    has_keys: bool,
    /// The terminal is.
    is_gone: bool,
}

fn wait(keyboard: BorrowedFd<'_>, signals: BorrowedFd<'_>, most: Duration) -> Result<Came, Failure> {
    let mut sources = [keyboard, signals].map(|source| PollFd::new(source, PollFlags::POLLIN));
    // Rounded up, so that it is time then.
    let ms = u16::try_from(most.as_micros().div_ceil(1000)).unwrap_or(u16::MAX);
    match poll(&mut sources, PollTimeout::from(ms)) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => return Err(Failure::Other(format!("cannot wait for the keyboard: {error}"))),
    }
    let is = |flags| sources[0].revents().is_some_and(|came| came.intersects(flags));
    Ok(Came {
        has_keys: is(PollFlags::POLLIN),
        is_gone: is(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL),
    })
}

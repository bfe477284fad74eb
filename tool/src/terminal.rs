//! The terminal, while a command fills it: taken, and given back however the process ends.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::termios::{LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr};
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::queue;
use ratatui::crossterm::style::ResetColor;
use ratatui::crossterm::terminal::{
    Clear, ClearType, DisableLineWrap, EnableLineWrap, EnterAlternateScreen, LeaveAlternateScreen,
};

/// How long who gives it back waits for a frame that is being written: for ever, if somebody has pressed Ctrl-S.
const PATIENCE: Duration = Duration::from_secs(1);

/// The settings from before, once it was taken.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// Held while something is written, so that no frame comes behind the end.
static WRITING: Mutex<()> = Mutex::new(());

/// A terminal that is given back when this is dropped.
pub struct Taken(());

/// Whether there is one: a keyboard, and something that can be filled.
pub fn is_there() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    io::stdin().is_terminal() && io::stdout().is_terminal() && !is_dumb
}

/// Takes the terminal. If this thread panics, it is given back before the panic is told.
pub fn take() -> io::Result<Taken> {
    let tell = std::panic::take_hook();
    let main = std::thread::current().id();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().id() == main {
            give_back();
        }
        tell(panic);
    }));
    take_again()?;
    Ok(Taken(()))
}

/// Takes it again after it was given back, or after somebody else has changed its settings.
pub fn take_again() -> io::Result<()> {
    let mut before = lock(&BEFORE);
    let settings = match before.take() {
        Some(settings) => settings,
        None => tcgetattr(io::stdin())?,
    };
    let mut raw = settings.clone();
    *before = Some(settings);
    drop(before);
    // Ctrl-C and Ctrl-Z stay signals.
    raw.local_flags &= !(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::IEXTEN);
    raw.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
    raw.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
    tcsetattr(io::stdin(), SetArg::TCSADRAIN, &raw)?;
    let _writing = lock(&WRITING);
    IS_TAKEN.store(true, Ordering::SeqCst);
    let mut take = Vec::new();
    queue!(take, EnterAlternateScreen, Hide, DisableLineWrap, Clear(ClearType::All))?;
    output()?.write_all(&take)
}

/// Gives it back, as it was before. Does nothing if it is not taken.
pub fn give_back() {
    if !IS_TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    if let Some(_writing) = lock_within(&WRITING, PATIENCE) {
        let mut undo = Vec::new();
        let made = queue!(undo, ResetColor, EnableLineWrap, Show, LeaveAlternateScreen);
        _ = made.and_then(|()| output()?.write_all(&undo));
    }
    if let Some(settings) = &*lock(&BEFORE) {
        _ = tcsetattr(io::stdin(), SetArg::TCSANOW, settings);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        give_back();
    }
}

/// What is written goes to the terminal as long as that is taken, and nowhere afterwards.
pub struct Output(File);

impl Output {
    pub fn new() -> io::Result<Output> {
        output().map(Output)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _writing = lock(&WRITING);
        if IS_TAKEN.load(Ordering::SeqCst) { self.0.write(bytes) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Stdout without a buffer.
fn output() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lock_within<T>(mutex: &Mutex<T>, patience: Duration) -> Option<MutexGuard<'_, T>> {
    let began = Instant::now();
    loop {
        match mutex.try_lock() {
            Ok(guard) => return Some(guard),
            Err(std::sync::TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(std::sync::TryLockError::WouldBlock) if began.elapsed() > patience => return None,
            Err(std::sync::TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::{Command, Stdio};

    use nix::pty::{OpenptyResult, openpty};

    use super::*;

    /// The process that the next test starts.
    #[test]
    #[ignore = "fills the terminal, and panics"]
    fn panics_on_a_terminal() {
        let _taken = take().unwrap();
        panic!("as the test wants it");
    }

    #[test]
    fn a_panic_is_told_on_the_terminal_as_it_was_before() {
        let OpenptyResult { master, slave } = openpty(None, None).unwrap();
        let before = tcgetattr(&slave).unwrap();
        let end = || Stdio::from(slave.try_clone().unwrap());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "terminal::tests::panics_on_a_terminal", "--ignored", "--nocapture"])
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        assert!(!child.wait().unwrap().success());

        let after = tcgetattr(&slave).unwrap();
        assert_eq!(after.local_flags, before.local_flags);
        assert_eq!(after.control_chars, before.control_chars);
        drop(slave);
        // Linux ends what a terminal has to say with an error.
        let mut said = Vec::new();
        _ = File::from(master).read_to_end(&mut said);
        let said = String::from_utf8_lossy(&said);
        let at = |text: &str| said.find(text).unwrap_or_else(|| panic!("no {text:?} in {said:?}"));
        assert!(at("\x1b[?1049h") < at("\x1b[?1049l"), "{said:?}");
        assert!(at("\x1b[?1049l") < at("as the test wants it"), "{said:?}");
    }
}

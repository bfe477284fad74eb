//! Ctrl-C, while a command looks into a tree: the session is ended at the server, and the process exits with 130.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use treecache::{Client, Event, EventKind};

static IS_OVER: AtomicBool = AtomicBool::new(false);
static CLIENTS: Mutex<Vec<Weak<Client>>> = Mutex::new(Vec::new());

/// From now on SIGINT and SIGTERM end the process in order. (SIGHUP does as ever: `nohup` has it ignored.)
pub fn watch() -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    std::thread::Builder::new().name("treecache-signals".to_owned()).spawn(move || {
        if let Some(signal) = signals.forever().next() {
            IS_OVER.store(true, Ordering::SeqCst);
            crate::terminal::give_back();
            let clients = std::mem::take(&mut *CLIENTS.lock().unwrap_or_else(PoisonError::into_inner));
            for client in clients.iter().filter_map(Weak::upgrade) {
                client.close();
            }
            crate::progress::clear();
            std::process::exit(128 + signal);
        }
    })?;
    Ok(())
}

/// Has a client's session ended with the process.
pub fn ends(client: &Arc<Client>) {
    CLIENTS.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(client));
}

/// To be called with what is to be shown: if that the session is lost is of our own making, it is not.
pub fn before(event: Option<&Event<'_>>, out: &mut impl Write) -> io::Result<()> {
    if event.is_some_and(|event| event.kind == EventKind::ConnectionLost) {
        out.flush()?;
        let_end();
    }
    Ok(())
}

/// To be called where a command is over: if that is because the process ends, nothing is to be said of it.
pub fn let_end() {
    if IS_OVER.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_secs(10));
    }
}

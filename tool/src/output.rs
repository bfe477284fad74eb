//! Stdout: its buffer, its colours, JSON of nodes, and names of states.

use std::borrow::Cow;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use treecache::{Stat, State};

use crate::text;

/// Stdout with a buffer. What is in it goes out when it is flushed: a command that succeeds calls [`Write::flush`] last.
pub fn stdout() -> BufWriter<StdoutLock<'static>> {
    BufWriter::with_capacity(1 << 16, io::stdout().lock())
}

/// Writes JSON's text for some text.
pub fn write_text(out: &mut impl Write, text: &str) -> io::Result<()> {
    serde_json::to_writer(out, text).map_err(io::Error::from)
}

/// Writes JSON's text for bytes, in base64. `scratch` is used again and again.
pub fn write_base64(out: &mut impl Write, bytes: &[u8], scratch: &mut String) -> io::Result<()> {
    scratch.clear();
    STANDARD.encode_string(bytes, scratch);
    write!(out, "\"{scratch}\"")
}

/// Writes a Stat as JSON, with ZooKeeper's names.
pub fn write_stat(out: &mut impl Write, stat: &Stat) -> io::Result<()> {
    write!(
        out,
        "{{\"czxid\":{},\"mzxid\":{},\"ctime\":{},\"mtime\":{},\"version\":{},\"cversion\":{},\"aversion\":{},\
         \"ephemeralOwner\":{},\"dataLength\":{},\"numChildren\":{},\"pzxid\":{}}}",
        stat.czxid.0,
        stat.mzxid.0,
        stat.ctime,
        stat.mtime,
        stat.version,
        stat.cversion,
        stat.aversion,
        stat.ephemeral_owner,
        stat.data_length,
        stat.num_children,
        stat.pzxid.0
    )
}

/// A state, as the C API calls it, without `TC_STATE_`.
pub fn state_name(state: State) -> &'static str {
    match state {
        State::Latent => "LATENT",
        State::Loading => "LOADING",
        State::InStep => "IN_STEP",
        State::CatchingUp => "CATCHING_UP",
        State::Suspended => "SUSPENDED",
        State::Lost => "LOST",
        State::Closed => "CLOSED",
        State::Warm => "WARM",
        State::Held => "HELD",
    }
}

/// A name or path on a line of its own: as it is for programs, and for people so that nothing in it acts on their terminal.
pub fn name(name: &str) -> Cow<'_, str> {
    match io::stdout().is_terminal() {
        true => text::shown(name),
        false => Cow::Borrowed(name),
    }
}

/// Whether words are coloured: only for people, on something that can show colours.
#[derive(Clone, Copy)]
pub struct Colour(bool);

impl Colour {
    pub fn of_stdout() -> Colour {
        let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Colour(io::stdout().is_terminal() && !is_unwanted && !is_dumb)
    }

    /// Writes a text in the colour of that number.
    pub fn write(self, out: &mut impl Write, number: &str, text: &str) -> io::Result<()> {
        match self.0 {
            true => write!(out, "\x1b[{number}m{text}\x1b[0m"),
            false => out.write_all(text.as_bytes()),
        }
    }
}

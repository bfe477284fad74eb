//! `treecache watch`: what happens to a tree, a line for each event.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use treecache::{Config, Error, Event, EventKind, EventQueue, Item};

use crate::arguments::WatchArguments;
use crate::failure::Failure;
use crate::interrupt;
use crate::output::{self, Colour, write_base64, write_stat, write_text};
use crate::source::Source;
use crate::text;

pub fn run(arguments: &WatchArguments) -> Result<ExitCode, Failure> {
    let mut source = Source::open(&arguments.place, &[])?;
    source.loaded()?;
    let mut wants = Config::new();
    wants.set("listen.under", &source.path)?;
    if !arguments.initial {
        wants.set("listen.initial", "false")?;
    }
    let queue = source.cache.queue(&wants)?;
    let (mut out, colour, mut scratch) = (output::stdout(), Colour::of_stdout(), String::new());
    let mut left = arguments.count;
    while left != Some(0) {
        let item = next(&queue, &mut out)?;
        let Some(event) = item.as_event() else { continue };
        interrupt::before(Some(&event), &mut out)?;
        match arguments.json {
            true => write_json(&mut out, &event, &mut scratch)?,
            false => write_line(&mut out, &event, colour)?,
        }
        left = left.map(|left| left - 1);
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// The next event. What was written goes out before one is waited for.
fn next(queue: &EventQueue, out: &mut impl Write) -> Result<Item, Failure> {
    match queue.next(Some(Duration::ZERO)) {
        Err(Error::Timeout { .. }) => {
            out.flush()?;
            Ok(queue.next(None)?)
        }
        item => Ok(item?),
    }
}

fn write_line(out: &mut impl Write, event: &Event<'_>, colour: Colour) -> Result<(), Failure> {
    let (word, code) = match event.kind {
        EventKind::NodeAdded => ("added", "32"),
        EventKind::NodeUpdated => ("updated", "33"),
        EventKind::NodeRemoved => ("removed", "31"),
        EventKind::ConnectionSuspended => ("suspended", "35"),
        EventKind::ConnectionReconnected => ("reconnected", "35"),
        EventKind::ConnectionLost => ("lost", "35"),
        EventKind::Initialized => ("initialized", "36"),
        EventKind::InStep => ("in step", "36"),
    };
    colour.write(out, code, word)?;
    if let Some(path) = event.path {
        write!(out, " {}", output::name(path))?;
        if let (Some(node), true) = (event.node, event.kind != EventKind::NodeRemoved) {
            write!(out, " {}", text::one_line(node.data()))?;
        }
    }
    writeln!(out)?;
    Ok(())
}

fn write_json(out: &mut impl Write, event: &Event<'_>, scratch: &mut String) -> Result<(), Failure> {
    let name = match event.kind {
        EventKind::NodeAdded => "NODE_ADDED",
        EventKind::NodeUpdated => "NODE_UPDATED",
        EventKind::NodeRemoved => "NODE_REMOVED",
        EventKind::ConnectionSuspended => "CONNECTION_SUSPENDED",
        EventKind::ConnectionReconnected => "CONNECTION_RECONNECTED",
        EventKind::ConnectionLost => "CONNECTION_LOST",
        EventKind::Initialized => "INITIALIZED",
        EventKind::InStep => "IN_STEP",
    };
    write!(out, "{{\"event\":\"{name}\",\"zxid\":{}", event.zxid.0)?;
    if let Some(path) = event.path {
        write!(out, ",\"path\":")?;
        write_text(out, path)?;
    }
    for (key, node) in [("", event.node), ("old_", event.old)] {
        if let Some(node) = node {
            write!(out, ",\"{key}data\":")?;
            write_base64(out, node.data(), scratch)?;
            write!(out, ",\"{key}stat\":")?;
            write_stat(out, node.stat())?;
        }
    }
    if event.path.is_some() {
        write!(out, ",\"last_of_version\":{}", event.last_of_version)?;
    }
    writeln!(out, "}}")?;
    Ok(())
}

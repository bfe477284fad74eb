//! What is printed where there is no screen: a line for each event, and lines that sum up.

use std::io::{self, Write};

use ratatui::backend::IntoCrossterm;
use ratatui::buffer::Buffer;
use ratatui::crossterm::style::ContentStyle;
use ratatui::layout::Rect;
use treecache::{EventKind, Item};
use unicode_width::UnicodeWidthStr;

use super::look::{Look, Palette};
use super::model::{Model, words_of};
use super::numbers::{ago, grouped, rounded, size};
use super::pen::Pen;
use super::rates::NAMES;
use super::view::{is_root_missing, state_name};
use crate::text;

/// Columns for the data of a node.
const DATA: u16 = 50;

/// Columns for what happened.
const WORD: usize = 13;

pub fn write_item(out: &mut impl Write, item: &Item, look: Look) -> io::Result<()> {
    let Some(event) = item.as_event() else {
        let Item::Fault(fault) = item else { return Ok(()) };
        return writeln!(out, "{:WORD$}{}", "fault", text::shown(&words_of(fault)));
    };
    let word = match event.kind {
        EventKind::NodeAdded => "added",
        EventKind::NodeUpdated => "updated",
        EventKind::NodeRemoved => "removed",
        EventKind::ConnectionSuspended => "suspended",
        EventKind::ConnectionReconnected => "reconnected",
        EventKind::ConnectionLost => "lost",
        EventKind::Initialized => "initialized",
        EventKind::InStep => "in step",
    };
    let (Some(path), Some(node)) = (event.path, event.node) else { return writeln!(out, "{word}") };
    let stat = node.stat();
    let size = size(u64::from(stat.data_length.unsigned_abs()));
    write!(out, "{word:WORD$}{}  version {}  size {size}", text::shown(path), stat.version)?;
    if !node.data().is_empty() {
        let mut line = Buffer::empty(Rect::new(0, 0, DATA, 1));
        Pen::new(&mut line, 0, look).put_data(node.data());
        write!(out, "  ")?;
        return write_line(out, &line, 0, Look { palette: Palette::None, ..look });
    }
    writeln!(out)
}

pub fn write_summary(out: &mut impl Write, model: &Model) -> io::Result<()> {
    let Some(standing) = model.standing() else { return Ok(()) };
    write!(out, "--  state {}", state_name(standing.state))?;
    if is_root_missing(model) {
        write!(out, "  root does not exist")?;
    }
    match &model.file {
        Some(file) => write!(out, "  file {}", text::shown(file))?,
        None => write!(out, "  server {}", text::shown(standing.server.as_deref().unwrap_or("none")))?,
    }
    write!(out, "  contact {}  cut {}", ago(standing.contact_age), ago(standing.cut_age))?;
    write!(out, "  zxid {:#x}  nodes {}", standing.zxid.0, grouped(standing.nodes))?;
    write!(out, "  data {}", size(standing.bytes))?;
    for (which, name) in NAMES.into_iter().enumerate() {
        write!(out, "  {name} {}/s", rounded(model.rates.last(which)))?;
    }
    writeln!(out)
}

/// One line of a screen, without the blanks at its end.
pub fn write_line(out: &mut impl Write, buffer: &Buffer, row: u16, look: Look) -> io::Result<()> {
    let mut column = 0;
    // Of one style: a run of characters.
    let mut runs: Vec<(ratatui::style::Style, String)> = Vec::new();
    while column < buffer.area.width {
        let cell = &buffer[(column, row)];
        match runs.last_mut() {
            Some((style, text)) if *style == cell.style() => text.push_str(cell.symbol()),
            _ => runs.push((cell.style(), cell.symbol().to_owned())),
        }
        // Behind a wide character there is a cell of nothing.
        column += cell.symbol().width().max(1) as u16;
    }
    while let Some((_, text)) = runs.last_mut() {
        text.truncate(text.trim_end_matches(' ').len());
        if !text.is_empty() {
            break;
        }
        runs.pop();
    }
    for (style, text) in runs {
        match look.palette {
            Palette::None => write!(out, "{text}")?,
            _ => {
                let style: ContentStyle = style.into_crossterm();
                write!(out, "{}", style.apply(text))?;
            }
        }
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use treecache::{Fault, Node, Stat, Status, Zxid};

    use super::*;

    fn written(item: &Item) -> String {
        let mut out = Vec::new();
        write_item(&mut out, item, Look { palette: Palette::None, is_utf8: true }).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn event(kind: EventKind, path: Option<&str>, data: &[u8]) -> Item {
        let stat = Stat { version: 3, data_length: data.len() as i32, ..Stat::default() };
        let node = path.map(|_| Node::new(Arc::from(data), stat));
        Item::Event {
            kind,
            last_of_version: true,
            path: path.map(str::to_owned),
            node,
            old: None,
            zxid: Zxid(1),
        }
    }

    #[test]
    fn an_event_is_one_line_whatever_is_in_it() {
        let line =
            written(&event(EventKind::NodeAdded, Some("/a\n\u{202e}b"), b"\x1b[31m\nred \xe6\x97\xa5."));
        assert_eq!(line, "added        /a\\u{a}\\u{202e}b  version 3  size 14 B  \\u{1b}[31m\\nred 日.\n");
        assert_eq!(
            written(&event(EventKind::NodeRemoved, Some("/a"), b"")),
            "removed      /a  version 3  size 0 B\n"
        );
        assert_eq!(written(&event(EventKind::InStep, None, b"")), "in step\n");
        let long = written(&event(EventKind::NodeUpdated, Some("/a"), &[b'x'; 1000]));
        assert!(long.ends_with(&format!("  {}…\n", "x".repeat(49))), "{long}");
        let fault = Item::Fault(Fault::new(Status::Connection, "zk1:2181: refused"));
        assert_eq!(written(&fault), "fault        zk1:2181: refused\n");
    }
}

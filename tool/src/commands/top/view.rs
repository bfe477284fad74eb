//! What is known, drawn onto a screen.

use std::time::Duration;

use ratatui::buffer::Buffer;
use treecache::{Error, Stat, State};

use super::look::{Freshness, Look, Part};
use super::model::{Model, Standing};
use super::notes::{Change, FADE, Note};
use super::numbers::{age, ago, grouped, rounded, size};
use super::pen::{Pen, columns_of};
use super::rates::NAMES;

/// The lines below the tree.
const FOOTER: u16 = 2;

/// Of the header: as many as there are with the narrowest screen.
pub const MOST_HEADER_LINES: u16 = 20;

/// Draws all of it.
pub fn draw(buffer: &mut Buffer, model: &mut Model, now: Duration, look: Look) {
    let height = buffer.area.height;
    let mut header = draw_header(buffer, model, now, look);
    if header > height / 2 {
        // The tree comes first.
        buffer.reset();
        draw_state(buffer, model, now, look);
        header = 1;
    }
    let lines = height.saturating_sub(header + FOOTER).max(1);
    for (line, (path, is_selected)) in (header..).zip(model.rows_on_screen(usize::from(lines))) {
        draw_row(buffer, line, model, &path, is_selected, look);
    }
    draw_selected(buffer, header + lines, model, look);
    draw_keys(buffer, header + lines + 1, model, look);
}

/// Draws what is above the tree. Returns how many lines it has.
pub fn draw_header(buffer: &mut Buffer, model: &Model, now: Duration, look: Look) -> u16 {
    draw_state(buffer, model, now, look);
    let line = 1 + draw_standing(buffer, 1, model, look);
    draw_rates(buffer, line, model, look);
    draw_fault(buffer, line + 2, model, now, look);
    draw_titles(buffer, line + 3, model, look);
    line + 4
}

pub fn state_name(state: State) -> &'static str {
    match state {
        State::Latent => "LATENT",
        State::Loading => "LOADING",
        State::InStep => "IN STEP",
        State::CatchingUp => "CATCHING UP",
        State::Suspended => "SUSPENDED",
        State::Lost => "LOST",
        State::Closed => "CLOSED",
        State::Warm => "WARM",
        State::Held => "HELD",
    }
}

/// Whether there is no such node as the root; a tree that is not loaded may still have one.
pub fn is_root_missing(model: &Model) -> bool {
    model.tree().is_some_and(|(tree, _)| matches!(tree.node(&model.root), Err(Error::NoNode(_))))
}

fn draw_state(buffer: &mut Buffer, model: &Model, now: Duration, look: Look) {
    let mut pen = Pen::new(buffer, 0, look);
    pen.put(" ");
    if let Some(standing) = model.standing() {
        pen.set(match standing.state {
            State::InStep => Part::Good,
            State::Latent | State::Loading | State::CatchingUp => Part::Busy,
            _ => Part::Bad,
        });
        pen.put(&format!("{} {}", look.signs().dot, state_name(standing.state)));
    }
    pen.set(Part::Plain);
    pen.put("  ");
    pen.put(&model.root);
    pen.set(Part::Busy);
    if is_root_missing(model) {
        pen.put("  the root does not exist");
    }
    if let (true, Some((_, moment))) = (model.is_paused(), model.tree()) {
        pen.put(&format!("  PAUSED {}", ago(Some(now.saturating_sub(moment.now)))));
    }
}

/// Below each other: what is counted, and how fast.
fn grid_of(width: u16) -> u16 {
    (width.saturating_sub(1) / NAMES.len() as u16).max(12)
}

/// Labels with their values, in a grid of lines. Returns how many lines these are.
fn draw_standing(buffer: &mut Buffer, first: u16, model: &Model, look: Look) -> u16 {
    let Some(standing) = model.standing() else { return 0 };
    let (width, grid) = (buffer.area.width, grid_of(buffer.area.width));
    let (mut line, mut column) = (first, 1u16);
    for (name, value) in cells(standing, model, look) {
        let columns = columns_of(look, name).saturating_add(1).saturating_add(columns_of(look, &value));
        if column > 1 && column.saturating_add(columns) > width {
            (line, column) = (line + 1, 1);
        }
        let mut pen = Pen::new(buffer, line, look);
        pen.move_to(column);
        pen.set(Part::Label);
        pen.put(name);
        pen.put(" ");
        pen.set(Part::Plain);
        pen.put(&value);
        // Two blanks at least, up to where the grid has the next one.
        column = 1u16.saturating_add(
            column.saturating_add(columns).saturating_add(1).div_ceil(grid).saturating_mul(grid),
        );
    }
    line + 1 - first
}

fn cells(standing: &Standing, model: &Model, look: Look) -> Vec<(&'static str, String)> {
    let mut cells = match &model.file {
        Some(file) => vec![("file", file.clone())],
        None => vec![
            ("server", standing.server.clone().unwrap_or_else(|| "none".to_owned())),
            ("session", format!("{:#x}", standing.session_id)),
            ("connections", grouped(standing.connections)),
        ],
    };
    cells.extend([("contact", ago(standing.contact_age)), ("cut", ago(standing.cut_age))]);
    if let Some((tree, _)) = model.tree() {
        let is_cut = if tree.is_cut() { "a cut" } else { "no cut" };
        cells.push(("zxid", format!("{:#x}{}{is_cut}", tree.zxid().0, look.signs().separator)));
    }
    cells.extend([
        ("nodes", grouped(standing.nodes)),
        ("data", size(standing.bytes)),
        ("versions", grouped(standing.versions)),
        ("resyncs", grouped(standing.resyncs)),
        ("lags", grouped(standing.lags)),
        ("faults", grouped(model.faults())),
    ]);
    cells
}

fn draw_rates(buffer: &mut Buffer, line: u16, model: &Model, look: Look) {
    let grid = grid_of(buffer.area.width);
    for (which, name) in NAMES.into_iter().enumerate() {
        let column = 1 + which as u16 * grid;
        let mut pen = Pen::new(buffer, line, look);
        pen.move_to(column);
        pen.set(Part::Label);
        pen.put_within(name, grid - 1);
        pen.set(Part::Plain);
        let left = (column + grid - 1).saturating_sub(pen.column());
        pen.put_within(&format!(" {}/s", rounded(model.rates.last(which))), left);
        let mut pen = Pen::new(buffer, line + 1, look);
        pen.move_to(column);
        pen.set(Part::Spark);
        for level in model.rates.levels(which, usize::from(grid - 2)) {
            pen.put(look.signs().levels[level]);
        }
    }
}

fn draw_fault(buffer: &mut Buffer, line: u16, model: &Model, now: Duration, look: Look) {
    let Some((words, at)) = model.last_fault() else { return };
    let passed = now.saturating_sub(at);
    let mut pen = Pen::new(buffer, line, look);
    pen.set(if passed < FADE { Part::Bad } else { Part::Label });
    pen.put(&format!(" {}: {words} ", ago(Some(passed))));
}

/// Where the columns of the tree end.
struct Columns {
    path: u16,
    version: u16,
    size: u16,
    age: u16,
    children: u16,
    mark: u16,
}

impl Columns {
    fn of(width: u16) -> Columns {
        let path = (width.saturating_sub(33) / 2).max(20);
        let [version, size, age, children, mark] = [6, 15, 23, 29, 32].map(|behind| path + behind);
        Columns { path, version, size, age, children, mark }
    }
}

fn draw_titles(buffer: &mut Buffer, line: u16, model: &Model, look: Look) {
    let at = Columns::of(buffer.area.width);
    let mut pen = Pen::new(buffer, line, look);
    pen.set(Part::Titles);
    pen.put(if model.rows().is_by_heat() { "   NODE, HOTTEST FIRST" } else { "   NODE" });
    pen.put_before(at.version, "VERS");
    pen.put_before(at.size, "SIZE");
    pen.put_before(at.age, "CHANGED");
    pen.put_before(at.children, "KIDS");
    pen.pad_to(at.mark);
    pen.put("DATA");
    pen.pad_to(pen.width());
}

/// No screen shows more bytes of data.
const MOST_DATA: usize = 4096;

/// What is shown of a node.
struct Shown {
    stat: Stat,
    data: Vec<u8>,
    age: Duration,
    is_gone: bool,
}

/// `None`: it may not be read.
fn shown(model: &Model, path: &str) -> Option<Shown> {
    let (tree, moment) = model.tree()?;
    if let Ok(node) = tree.node(path) {
        let stat = *node.stat();
        // The server's clock may be ahead of ours.
        let age = Duration::from_millis(u64::try_from(moment.wall.saturating_sub(stat.mtime)).unwrap_or(0));
        let data = node.data();
        return Some(Shown { stat, data: data[..data.len().min(MOST_DATA)].to_vec(), age, is_gone: false });
    }
    let ghost = model.notes.ghost(path)?;
    let age = moment.now.saturating_sub(ghost.at);
    Some(Shown { stat: ghost.stat, data: ghost.data.to_vec(), age, is_gone: true })
}

/// A node, as one line of the tree.
pub fn draw_row(buffer: &mut Buffer, line: u16, model: &Model, path: &str, is_selected: bool, look: Look) {
    let Some((_, moment)) = model.tree() else { return };
    let at = Columns::of(buffer.area.width);
    let (note, shown) = (model.notes.get(path), shown(model, path));
    let change = note.and_then(|note| note.change(moment.now));
    let part = match (change, &shown) {
        _ if is_selected => Part::Plain,
        (_, None) => Part::Locked,
        (_, Some(Shown { is_gone: true, .. })) => Part::Gone,
        (Some((Change::Added, freshness)), _) => Part::Added(freshness),
        (Some((Change::Updated, freshness)), _) => Part::Updated(freshness),
        _ => Part::Plain,
    };
    let is_gone = shown.as_ref().is_some_and(|shown| shown.is_gone);
    let struck = if is_gone { Part::Struck } else { part };
    let mut pen = Pen::new(buffer, line, look);
    if is_selected {
        pen.reverse();
    }
    pen.set(part);
    put_change(&mut pen, note, change, moment.now);
    pen.set(struck);
    put_name(&mut pen, model, path, at.path);
    // No line through what is empty.
    pen.set(part);
    if let Some(shown) = &shown {
        pen.put_before(at.version, &shown.stat.version.to_string());
        pen.put_before(at.size, &size(u64::from(shown.stat.data_length.unsigned_abs())));
        pen.put_before(at.age, &age(shown.age));
        if shown.stat.num_children > 0 {
            pen.put_before(at.children, &rounded(f64::from(shown.stat.num_children)));
        }
        pen.pad_to(at.children + 1);
        pen.put(if shown.stat.ephemeral_owner == 0 { " " } else { "E" });
    }
    pen.pad_to(at.mark);
    pen.set(if part == Part::Plain && !is_selected { Part::Data } else { struck });
    match &shown {
        Some(shown) => pen.put_data(&shown.data),
        None => pen.put("(may not be read)"),
    }
    pen.set(part);
    if is_selected || matches!(part, Part::Added(Freshness::Now) | Part::Updated(Freshness::Now)) {
        pen.pad_to(pen.width());
    }
}

/// What happened to a node lately, and how much.
fn put_change(pen: &mut Pen<'_>, note: Option<&Note>, change: Option<(Change, Freshness)>, now: Duration) {
    pen.put(match change {
        Some((Change::Added, _)) => "+",
        Some((Change::Updated, _)) => "~",
        Some((Change::Removed, _)) => "-",
        None => " ",
    });
    match note.map(|note| note.heat(now)) {
        Some(heat) if heat >= 0.5 => {
            let level = ((heat * 2.0).log2() as usize).min(7);
            pen.put(pen.look().signs().levels[level]);
        }
        _ => pen.put(" "),
    }
    pen.put(" ");
}

fn put_name(pen: &mut Pen<'_>, model: &Model, path: &str, end: u16) {
    let left = |pen: &Pen<'_>| end.saturating_sub(pen.column());
    if model.rows().is_by_heat() {
        return pen.put_end_within(path, left(pen));
    }
    // A name far down keeps half of the room.
    let depth = model.depth(path);
    let indent = u16::try_from(depth * 2).unwrap_or(u16::MAX).min(left(pen) / 2);
    pen.pad_to(pen.column() + indent);
    let signs = pen.look().signs();
    pen.put(match model.has_children(path) {
        false => "  ",
        true if model.is_folded(path) => signs.folded,
        true => signs.unfolded,
    });
    let name = match depth {
        0 => path,
        _ => path.rsplit('/').next().unwrap_or(path),
    };
    pen.put_within(name, left(pen));
}

/// All about the selected node that the columns have no room for.
fn draw_selected(buffer: &mut Buffer, line: u16, model: &Model, look: Look) {
    let mut pen = Pen::new(buffer, line, look);
    let (Some((tree, _)), Some(path)) = (model.tree(), model.rows().selected()) else {
        pen.set(Part::Label);
        pen.put(match model.rows().filter().is_empty() {
            false => " No path has that in it",
            true if is_root_missing(model) => " There is no such node",
            true => "",
        });
        return;
    };
    let stat = match tree.node(path) {
        Ok(node) => {
            let stat = node.stat();
            let owner = match stat.ephemeral_owner {
                0 => String::new(),
                owner => format!("  owner {owner:#x}"),
            };
            format!("  czxid {:#x}  mzxid {:#x}{owner}", stat.czxid.0, stat.mzxid.0)
        }
        Err(Error::NoPermission(_)) => "  may not be read".to_owned(),
        Err(_) => "  gone".to_owned(),
    };
    pen.put(" ");
    pen.put_end_within(path, pen.width().saturating_sub(2 + columns_of(look, &stat)));
    pen.set(Part::Label);
    pen.put(&stat);
}

fn draw_keys(buffer: &mut Buffer, line: u16, model: &Model, look: Look) {
    let (rows, signs) = (model.rows(), look.signs());
    let mut pen = Pen::new(buffer, line, look);
    if model.is_typing() {
        pen.set(Part::Busy);
        pen.put(" /");
        pen.put_end_within(rows.filter(), pen.width().saturating_sub(30));
        pen.put("_");
        pen.set(Part::Label);
        pen.put(&format!("  {} keep  Esc all", signs.enter));
        return;
    }
    let place = rows.place();
    let more = if place.is_cut_off { " and more" } else { "" };
    let index = match place.index {
        Some(index) if place.total > 0 => format!("{} ", grouped(index as u64 + 1)),
        None if place.total > 0 => String::new(),
        _ => "0 ".to_owned(),
    };
    let place = format!("{index}of {}{more} ", grouped(place.total as u64));
    pen.set(Part::Label);
    pen.put(&format!(
        " {} move  {} fold  s {}  / filter  p {}  q quit",
        signs.moves,
        signs.enter,
        if rows.is_by_heat() { "tree" } else { "heat" },
        if model.is_paused() { "go on" } else { "pause" },
    ));
    if !rows.filter().is_empty() {
        pen.set(Part::Busy);
        pen.put("  /");
        let left = pen.width().saturating_sub(pen.column() + columns_of(look, &place) + 2);
        pen.put_end_within(rows.filter(), left);
    }
    pen.set(Part::Label);
    pen.put_before(pen.width(), &place);
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::style::{Color, Modifier};
    use treecache::{EventKind, Fault, Item, Status, Zxid};

    use super::super::look::Palette;
    use super::super::model::Key;
    use super::super::model::tests::{at, event, look, model_of};
    use super::super::nodes::tests::Tree;
    use super::super::notes::TreePath;
    use super::*;

    const LOOK: Look = Look { palette: Palette::Many, is_utf8: true };

    fn drawn(model: &mut Model, seconds: f64, width: u16, height: u16, look: Look) -> Buffer {
        model.refresh();
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame.buffer_mut(), model, at(seconds).now, look)).unwrap();
        terminal.backend().buffer().clone()
    }

    fn lines(buffer: &Buffer) -> Vec<String> {
        let line =
            |row| (0..buffer.area.width).map(|column| buffer[(column, row)].symbol()).collect::<String>();
        (0..buffer.area.height).map(|row| line(row).trim_end().to_owned()).collect()
    }

    fn some_tree() -> Tree {
        let mut tree = Tree::of(&["/r", "/r/a"]);
        let stat = |mtime, num_children| Stat { mtime, num_children, version: 7, ..Stat::default() };
        tree.put("/r/a", b"", stat(990_000, 1));
        tree.put("/r/a/x", b"hello \x1b[2J\n", stat(700_000, 0));
        tree.put("/r/e", b"", Stat { ephemeral_owner: 0x77, czxid: Zxid(1), ..stat(1_000_000, 0) });
        tree.nodes.insert(TreePath("/r/locked".to_owned()), None);
        tree
    }

    #[test]
    fn the_screen_has_how_it_stands_the_tree_and_the_keys() {
        let mut model = model_of(&some_tree());
        model.press(Key::Down);
        let screen = lines(&drawn(&mut model, 0.0, 100, 20, LOOK));
        assert_eq!(screen[0], " ● IN STEP  /r");
        assert_eq!(
            screen[1].split_whitespace().collect::<Vec<_>>().join(" "),
            "server zk1:2181 session 0xabc connections 1 contact 12 ms ago cut never"
        );
        assert!(
            screen[2].contains("zxid 0x1234 · a cut") && screen[2].contains("data 2.9 KiB"),
            "{screen:#?}"
        );
        let titles = screen.iter().position(|line| line.starts_with("   NODE ")).unwrap();
        let row = |at: usize| &*screen[titles + 1 + at];
        assert!(row(0).starts_with("   ▾ /r "), "{screen:#?}");
        let cells = |name, size, age, kids| format!("{name:<38}7{size:>9}{age:>8}{kids:>6}");
        assert_eq!(row(1), cells("     ▾ a", "0 B", "10 s", "1"));
        assert_eq!(row(2), cells("         x", "11 B", "5 min", "") + r"   hello \u{1b}[2J\n");
        assert!(row(3).starts_with("       e ") && row(3).ends_with(" E"), "{screen:#?}");
        assert!(
            row(4).starts_with("       locked ") && row(4).ends_with(" (may not be read)"),
            "{screen:#?}"
        );
        assert_eq!(screen[18], " /r/a  czxid 0x0  mzxid 0x0");
        assert!(screen[19].starts_with(" ↑↓ move  ⏎ fold  s heat  / filter  p pause  q quit"), "{screen:#?}");
        assert!(screen[19].ends_with("2 of 5"), "{screen:#?}");
    }

    #[test]
    fn changes_are_seen_and_fade() {
        let mut tree = some_tree();
        let mut model = model_of(&tree);
        tree.remove("/r/a/x");
        tree.put("/r/n", b"new", Stat::default());
        let events = [
            event(EventKind::NodeRemoved, "/r/a/x", b"last words"),
            event(EventKind::NodeAdded, "/r/n", b"new"),
            event(EventKind::NodeUpdated, "/r/e", b""),
        ];
        look(&mut model, &tree, &events, 1.0);
        let screen = drawn(&mut model, 1.0, 100, 20, LOOK);
        let row = |name: &str| {
            let is_it = |line: &String| line.split_whitespace().nth(1) == Some(name);
            lines(&screen)
                .iter()
                .position(is_it)
                .unwrap_or_else(|| panic!("no {name}: {:#?}", lines(&screen)))
        };
        let name = |name: &str| {
            let row = row(name) as u16;
            screen[((0..100u16).find(|column| screen[(*column, row)].symbol() == &name[..1]).unwrap(), row)]
                .clone()
        };
        let all = lines(&screen);
        assert!(all[row("n")].starts_with("+▂") && all[row("e")].starts_with('~'), "{all:#?}");
        assert!(all[row("x")].starts_with('-') && all[row("x")].ends_with("last words"), "{all:#?}");
        assert!(name("x").modifier.contains(Modifier::CROSSED_OUT));
        assert_eq!((name("n").bg, name("e").bg), (Color::Indexed(78), Color::Indexed(214)));
        look(&mut model, &tree, &[], 7.0);
        let all = lines(&drawn(&mut model, 7.0, 100, 20, LOOK)).join("\n");
        assert!(!all.contains("last words") && !all.contains("\n+") && !all.contains("\n~"), "{all}");
    }

    #[test]
    fn a_fault_is_seen_and_a_pause_and_a_root_that_is_missing() {
        let mut model = model_of(&Tree::default());
        model.take(&Item::Fault(Fault::new(Status::Connection, "zk1:2181: refused \u{202e}")), at(1.0).now);
        model.press(Key::Char('p'));
        let screen = drawn(&mut model, 3.0, 100, 20, LOOK);
        let all = lines(&screen);
        assert_eq!(all[0], " ● IN STEP  /r  the root does not exist  PAUSED 3.0 s ago");
        let fault =
            all.iter().position(|line| line.starts_with(r" 2.0 s ago: zk1:2181: refused \u{202e}")).unwrap();
        assert_eq!(screen[(1, fault as u16)].bg, Color::Indexed(160));
        assert_eq!(all[18], " There is no such node");
        assert!(all[19].ends_with("0 of 0") && all[19].contains("p go on"), "{all:#?}");
        model.press(Key::Char('/'));
        model.press(Key::Char('ä'));
        let all = lines(&drawn(&mut model, 3.0, 100, 20, LOOK));
        assert_eq!((&*all[18], &*all[19]), (" No path has that in it", " /ä_  ⏎ keep  Esc all"));
    }

    #[test]
    fn a_shared_file_has_no_session() {
        let mut model = Model::new("/r".to_owned(), Some("/run/tree".to_owned()));
        look(&mut model, &some_tree(), &[], 1.0);
        let all = lines(&drawn(&mut model, 1.0, 100, 20, LOOK)).join("\n");
        assert!(all.contains("file /run/tree") && !all.contains("session"), "{all}");
    }

    #[test]
    fn however_small_a_screen_is_it_is_drawn_onto() {
        let mut model = model_of(&some_tree());
        for width in 0..80 {
            for height in [0, 1, 2, 3, 5, 9, 30] {
                drawn(&mut model, 1.0, width, height, LOOK);
            }
        }
        let all = lines(&drawn(&mut model, 1.0, 40, 5, LOOK));
        assert!(
            all[0].starts_with(" ● IN STEP") && all[1].contains("/r") && all[4].contains("move"),
            "{all:#?}"
        );
    }

    #[test]
    fn without_colours_and_in_ascii_nothing_else_is_drawn() {
        let mut model = model_of(&some_tree());
        look(&mut model, &some_tree(), &[event(EventKind::NodeUpdated, "/r/e", b"")], 1.0);
        let screen = drawn(&mut model, 1.0, 100, 20, Look { palette: Palette::Plain, is_utf8: false });
        assert!(screen.content.iter().all(|cell| cell.symbol().is_ascii()));
        assert!(screen.content.iter().all(|cell| (cell.fg, cell.bg) == (Color::Reset, Color::Reset)));
    }
}

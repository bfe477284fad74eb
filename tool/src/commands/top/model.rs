//! All that is known and chosen: it is given what was heard, what the time is, and which keys were pressed, and knows of no
//! terminal, no thread and no clock.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use treecache::{EventKind, Fault, Item, State, Stats, Zxid};

use super::nodes::{Nodes, Which};
use super::notes::{Change, Ghost, Notes, TreePath};
use super::outline::Outline;
use super::rates::Rates;
use super::rows::Rows;

/// How often the rows are made anew if nothing was told: what may not be read comes and goes without an event.
const UNTOLD: Duration = Duration::from_secs(1);

/// How a cache stands: of [`Stats`], what is shown.
#[derive(Clone, Debug)]
pub struct Standing {
    pub state: State,
    pub contact_age: Option<Duration>,
    pub cut_age: Option<Duration>,
    pub zxid: Zxid,
    pub nodes: u64,
    pub bytes: u64,
    pub versions: u64,
    pub cuts: u64,
    pub events: u64,
    pub lags: u64,
    pub reads: u64,
    pub batches: u64,
    pub resyncs: u64,
    pub connections: u64,
    pub session_id: i64,
    pub server: Option<String>,
}

impl From<Stats> for Standing {
    fn from(stats: Stats) -> Standing {
        Standing {
            state: stats.state,
            contact_age: stats.contact_age,
            cut_age: stats.cut_age,
            zxid: stats.zxid,
            nodes: stats.nodes as u64,
            bytes: stats.bytes as u64,
            versions: stats.versions,
            cuts: stats.cuts,
            events: stats.events,
            lags: stats.lags,
            reads: stats.reads,
            batches: stats.batches,
            resyncs: stats.resyncs,
            connections: stats.connections,
            session_id: stats.session_id,
            server: stats.server,
        }
    }
}

/// When something is.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Since the program has begun.
    pub now: Duration,
    /// By this machine's clock, in ms, as ZooKeeper counts.
    pub wall: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Escape,
    Backspace,
    Char(char),
}

/// What follows of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    GoOn,
    Quit,
}

pub struct Model {
    pub root: String,
    /// The file that it is attached to; `None`: it is of servers.
    pub file: Option<String>,
    /// `None` before the first look.
    standing: Option<Standing>,
    tree: Option<(Box<dyn Nodes>, Moment)>,
    pub notes: Notes,
    pub rates: Rates,
    /// Of nodes.
    changes: u64,
    faults: u64,
    last_fault: Option<(String, Duration)>,
    /// The filter is being typed.
    is_typing: bool,
    is_paused: bool,
    folds: HashSet<String>,
    rows: Rows,
    /// Rows came or went since they were made.
    has_changed: bool,
    is_hotter: bool,
    /// Of which version they are, and when they were made.
    made: Option<(u64, Duration)>,
    /// How many rows the screen has.
    page: usize,
}

impl Model {
    pub fn new(root: String, file: Option<String>) -> Model {
        Model {
            root,
            file,
            standing: None,
            tree: None,
            notes: Notes::default(),
            rates: Rates::default(),
            changes: 0,
            faults: 0,
            last_fault: None,
            is_typing: false,
            is_paused: false,
            folds: HashSet::new(),
            rows: Rows::default(),
            has_changed: false,
            is_hotter: false,
            made: None,
            page: 1,
        }
    }

    /// Takes what was told. Nodes of the first load are not among that.
    pub fn take(&mut self, item: &Item, now: Duration) {
        match (item, item.as_event()) {
            (Item::Fault(fault), _) => {
                self.faults += 1;
                self.last_fault = Some((words_of(fault), now));
            }
            (_, Some(event)) => {
                let (Some(change), Some(path)) = (Change::of(event.kind), event.path) else { return };
                self.has_changed |= event.kind != EventKind::NodeUpdated;
                self.is_hotter = true;
                self.changes += 1;
                self.notes.take(path, change, event.node, now);
            }
            _ => {}
        }
    }

    /// Takes how the cache stands. Returns whether a second has gone since the last time that it did.
    pub fn look_at(&mut self, standing: Standing, now: Duration) -> bool {
        let counts = [standing.events, self.changes, standing.reads, standing.batches, standing.cuts];
        self.standing = Some(standing);
        self.rates.look(counts, now)
    }

    /// Takes the tree as it is now. What is seen together was there together.
    pub fn look_into(&mut self, tree: Box<dyn Nodes>, moment: Moment) {
        self.has_changed |= self.notes.sweep(moment.now);
        self.tree = Some((tree, moment));
    }

    /// Makes the rows anew if they would be others.
    pub fn refresh(&mut self) {
        let Some((tree, moment)) = &self.tree else { return };
        let versions = self.standing.as_ref().map_or(0, |standing| standing.versions);
        let is_untold =
            self.made.is_none_or(|(of, at)| of != versions && moment.now.saturating_sub(at) >= UNTOLD);
        let has_changed = self.has_changed || is_untold || self.rows.is_by_heat() && self.is_hotter;
        let outline = outline(&**tree, &self.root, self.notes.ghosts(), &self.folds, &self.rows);
        if self.rows.refresh(outline, &self.notes, has_changed, moment.now) {
            (self.has_changed, self.is_hotter) = (false, false);
            self.made = Some((versions, moment.now));
        }
    }

    pub fn press(&mut self, key: Key) -> Answer {
        if self.is_typing {
            self.type_filter(key);
            // What is typed is looked for once a frame; the next key may mean one of the rows.
            if !self.is_typing {
                self.refresh();
            }
            return Answer::GoOn;
        }
        match key {
            Key::Char('q') => return Answer::Quit,
            Key::Char('p') => self.is_paused = !self.is_paused,
            Key::Char('/') => self.is_typing = true,
            Key::Char('s') => self.rows.toggle_heat(),
            Key::Escape => self.rows.set_filter(String::new()),
            Key::Enter | Key::Left | Key::Right => self.fold(key),
            _ => self.move_by(key),
        }
        // The next key may mean one of the new rows.
        if self.rows.is_stale() {
            self.refresh();
        }
        Answer::GoOn
    }

    fn move_by(&mut self, key: Key) {
        let Some((tree, _)) = &self.tree else { return };
        let outline = outline(&**tree, &self.root, self.notes.ghosts(), &self.folds, &self.rows);
        let (rows, page) = (&mut self.rows, self.page);
        match key {
            Key::Up | Key::Char('k') => rows.move_up(outline, 1),
            Key::Down | Key::Char('j') => rows.move_down(outline, 1),
            Key::PageUp => rows.move_up(outline, page),
            Key::PageDown | Key::Char(' ') => rows.move_down(outline, page),
            Key::Home | Key::Char('g') => rows.select_first(outline),
            Key::End | Key::Char('G') => rows.select_last(outline),
            _ => {}
        }
    }

    /// Enter folds and unfolds, right unfolds, left folds; if there is nothing to fold, left goes to what is above.
    fn fold(&mut self, key: Key) {
        let Some((tree, _)) = &self.tree else { return };
        let Some(path) = self.rows.selected().map(str::to_owned) else { return };
        let outline = outline(&**tree, &self.root, self.notes.ghosts(), &self.folds, &self.rows);
        let has_children = self.has_children(&path);
        let is_open = has_children && !self.folds.contains(&path);
        match key {
            Key::Left if !is_open => {
                if !self.rows.is_by_heat() {
                    self.rows.select_parent(outline);
                }
            }
            Key::Right if is_open => {}
            _ if !has_children => {}
            _ => {
                match is_open {
                    true => _ = self.folds.insert(path),
                    false => _ = self.folds.remove(&path),
                }
                self.rows.handle_folds();
            }
        }
    }

    fn type_filter(&mut self, key: Key) {
        let mut filter = self.rows.filter().to_owned();
        match key {
            Key::Enter => {
                self.is_typing = false;
                return;
            }
            Key::Escape => {
                self.is_typing = false;
                filter.clear();
            }
            Key::Backspace => _ = filter.pop(),
            Key::Char(c) if !c.is_control() => filter.push(c),
            _ => return,
        }
        self.rows.set_filter(filter);
    }

    /// Of so many lines, those that the screen has for rows. Each with whether it is selected.
    pub fn rows_on_screen(&mut self, lines: usize) -> Vec<(String, bool)> {
        self.page = lines.max(1);
        let Some((tree, _)) = &self.tree else { return Vec::new() };
        let outline = outline(&**tree, &self.root, self.notes.ghosts(), &self.folds, &self.rows);
        let rows = self.rows.on_screen(outline, self.page);
        let selected = self.rows.selected();
        rows.into_iter().map(|row| (Some(&*row) == selected, row)).map(|(is, row)| (row, is)).collect()
    }

    /// Visits all rows of the tree, however many there are.
    pub fn visit_rows(&self, visit: impl FnMut(&str) -> bool) {
        if let Some((tree, _)) = &self.tree {
            outline(&**tree, &self.root, self.notes.ghosts(), &self.folds, &self.rows).visit(visit);
        }
    }

    /// Whether a node can have rows below it.
    pub fn has_children(&self, path: &str) -> bool {
        self.tree.as_ref().is_some_and(|(tree, _)| tree.child(path, Which::First).is_some())
    }

    /// How many names lead from the root to a row.
    pub fn depth(&self, path: &str) -> usize {
        let names = |path: &str| path.split('/').filter(|name| !name.is_empty()).count();
        names(path).saturating_sub(names(&self.root))
    }

    pub fn standing(&self) -> Option<&Standing> {
        self.standing.as_ref()
    }

    /// The tree that is shown, and when it was so.
    pub fn tree(&self) -> Option<(&dyn Nodes, Moment)> {
        self.tree.as_ref().map(|(tree, moment)| (&**tree, *moment))
    }

    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// Whether what is below a node is hidden. (A filter hides nothing that is looked for.)
    pub fn is_folded(&self, path: &str) -> bool {
        self.rows.filter().is_empty() && self.folds.contains(path)
    }

    pub fn is_typing(&self) -> bool {
        self.is_typing
    }

    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    pub fn faults(&self) -> u64 {
        self.faults
    }

    /// The last fault, and when it was told.
    pub fn last_fault(&self) -> Option<(&str, Duration)> {
        self.last_fault.as_ref().map(|(words, at)| (&**words, *at))
    }
}

/// While there is a filter, nothing is folded.
fn outline<'t>(
    tree: &'t dyn Nodes,
    root: &'t str,
    ghosts: &'t BTreeMap<TreePath, Ghost>,
    folds: &'t HashSet<String>,
    rows: &Rows,
) -> Outline<'t> {
    static NONE: std::sync::LazyLock<HashSet<String>> = std::sync::LazyLock::new(HashSet::new);
    Outline { tree, root, ghosts, folds: if rows.filter().is_empty() { folds } else { &NONE } }
}

pub fn words_of(fault: &Fault) -> String {
    match &fault.path {
        Some(path) => format!("{} at {}", fault.message, path.as_str()),
        None => fault.message.clone(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;
    use std::rc::Rc;
    use std::sync::Arc;

    use treecache::{Error, Node, Stat, Status};

    use super::super::nodes::Step;
    use super::super::nodes::tests::Tree;
    use super::super::rows::Place;
    use super::*;

    pub fn at(seconds: f64) -> Moment {
        Moment { now: Duration::from_secs_f64(seconds), wall: 1_000_000 + (seconds * 1000.0) as i64 }
    }

    pub fn standing() -> Standing {
        Standing {
            state: State::InStep,
            contact_age: Some(Duration::from_millis(12)),
            cut_age: None,
            zxid: Zxid(0x1234),
            nodes: 5,
            bytes: 3000,
            versions: 1,
            cuts: 1,
            events: 0,
            lags: 0,
            reads: 0,
            batches: 0,
            resyncs: 0,
            connections: 1,
            session_id: 0xabc,
            server: Some("zk1:2181".to_owned()),
        }
    }

    pub fn model_of(tree: &Tree) -> Model {
        let mut model = Model::new("/r".to_owned(), None);
        model.look_at(standing(), Duration::ZERO);
        model.look_into(Box::new(tree.clone()), at(0.0));
        model.refresh();
        model
    }

    pub fn event(kind: EventKind, path: &str, data: &[u8]) -> Item {
        let node =
            Some(Node::new(Arc::from(data), Stat { data_length: data.len() as i32, ..Stat::default() }));
        Item::Event {
            kind,
            last_of_version: true,
            path: Some(path.to_owned()),
            node,
            old: None,
            zxid: Zxid(1),
        }
    }

    /// The tree of a moment, and what was told of it before.
    pub fn look(model: &mut Model, tree: &Tree, events: &[Item], seconds: f64) {
        events.iter().for_each(|event| model.take(event, at(seconds).now));
        let versions = model.standing().map_or(0, |standing| standing.versions) + 1;
        model.look_at(Standing { versions, ..standing() }, at(seconds).now);
        model.look_into(Box::new(tree.clone()), at(seconds));
        model.rows.wait_until_due();
        model.refresh();
    }

    fn press(model: &mut Model, keys: &str) {
        for key in keys.chars() {
            let key = match key {
                '\n' => Key::Enter,
                '\x1b' => Key::Escape,
                '\x7f' => Key::Backspace,
                '<' => Key::Left,
                '>' => Key::Right,
                '^' => Key::PageUp,
                'v' => Key::PageDown,
                key => Key::Char(key),
            };
            assert_eq!(model.press(key), Answer::GoOn);
        }
    }

    /// Which rows are on a screen of four lines, and the place among all of them.
    fn rows(model: &mut Model) -> (Vec<String>, String) {
        model.refresh();
        let rows = model.rows_on_screen(4);
        let Place { index, total, .. } = model.rows().place();
        let selected = rows.iter().find(|(_, is_selected)| *is_selected).map(|(path, _)| path.clone());
        assert_eq!(selected.as_deref(), model.rows().selected());
        let index = index.map_or("?".to_owned(), |index| (index + 1).to_string());
        (rows.into_iter().map(|(path, _)| path).collect(), format!("{index} of {total}"))
    }

    fn are(paths: &[&str], place: &str) -> (Vec<String>, String) {
        (paths.iter().map(|path| (*path).to_owned()).collect(), place.to_owned())
    }

    #[test]
    fn keys_move_through_the_tree_and_the_screen_goes_with_them() {
        let tree = Tree::of(&["/r", "/r/a", "/r/a/x", "/r/a/y", "/r/b", "/r/c"]);
        let mut model = model_of(&tree);
        assert_eq!(rows(&mut model), are(&["/r", "/r/a", "/r/a/x", "/r/a/y"], "1 of 6"));
        press(&mut model, "jjjj");
        assert_eq!(rows(&mut model), are(&["/r/a", "/r/a/x", "/r/a/y", "/r/b"], "5 of 6"));
        press(&mut model, "kkk");
        assert_eq!(rows(&mut model), are(&["/r/a", "/r/a/x", "/r/a/y", "/r/b"], "2 of 6"));
        press(&mut model, "G");
        assert_eq!(rows(&mut model), are(&["/r/a/x", "/r/a/y", "/r/b", "/r/c"], "6 of 6"));
        press(&mut model, "^");
        assert_eq!(rows(&mut model).1, "2 of 6");
        press(&mut model, "g");
        assert_eq!(rows(&mut model), are(&["/r", "/r/a", "/r/a/x", "/r/a/y"], "1 of 6"));
        press(&mut model, "v");
        assert_eq!(rows(&mut model).1, "5 of 6");
        press(&mut model, "vjjj");
        assert_eq!(rows(&mut model).1, "6 of 6");
        assert_eq!(model.press(Key::Char('q')), Answer::Quit);
    }

    #[test]
    fn folds_hide_what_is_below_and_left_goes_up() {
        let tree = Tree::of(&["/r", "/r/a", "/r/a/x", "/r/a/y", "/r/b"]);
        let mut model = model_of(&tree);
        press(&mut model, "j\n");
        assert_eq!(rows(&mut model), are(&["/r", "/r/a", "/r/b"], "2 of 3"));
        press(&mut model, ">j<");
        assert_eq!(rows(&mut model), are(&["/r", "/r/a", "/r/a/x", "/r/a/y"], "2 of 5"));
        press(&mut model, "<G\n");
        assert_eq!(rows(&mut model), are(&["/r", "/r/a", "/r/b"], "3 of 3"));
        press(&mut model, "k>j<<");
        assert_eq!(rows(&mut model), are(&["/r", "/r/a", "/r/b"], "2 of 3"));
    }

    #[test]
    fn a_filter_shows_what_has_it_and_what_is_above_whatever_is_folded() {
        let tree = Tree::of(&["/r", "/r/a", "/r/a/new", "/r/a/y", "/r/b", "/r/b/x", "/r/news"]);
        let mut model = model_of(&tree);
        press(&mut model, "j\n/new");
        assert!(model.is_typing());
        assert_eq!(rows(&mut model), are(&["/r", "/r/a", "/r/a/new", "/r/news"], "2 of 4"));
        press(&mut model, "s\n");
        assert_eq!(
            (rows(&mut model).0, model.is_typing()),
            (vec!["/r".to_owned(), "/r/news".to_owned()], false)
        );
        press(&mut model, "/\x7f\x7f\x7f\x7f\n");
        assert_eq!((rows(&mut model).1, model.rows().filter()), ("5 of 5".to_owned(), ""));
        press(&mut model, "/nothing");
        assert_eq!(rows(&mut model), are(&[], "1 of 0"));
        press(&mut model, "\x1b");
        assert_eq!(rows(&mut model).0.len(), 4);
    }

    #[test]
    fn the_selection_stays_with_its_node_while_others_come_and_go() {
        let mut tree = Tree::of(&["/r", "/r/b", "/r/d", "/r/e"]);
        let mut model = model_of(&tree);
        press(&mut model, "jj");
        tree.put("/r/a", b"", Stat::default());
        look(&mut model, &tree, &[event(EventKind::NodeAdded, "/r/a", b"")], 1.0);
        assert_eq!((&*rows(&mut model).1, model.rows().selected()), ("4 of 5", Some("/r/d")));
        tree.remove("/r/d");
        look(&mut model, &tree, &[event(EventKind::NodeRemoved, "/r/d", b"last")], 2.0);
        assert_eq!((&*rows(&mut model).1, model.rows().selected()), ("4 of 5", Some("/r/d")));
        // What went is seen for a while; then the row behind it takes its place.
        look(&mut model, &tree, &[], 7.0);
        assert_eq!((&*rows(&mut model).1, model.rows().selected()), ("4 of 4", Some("/r/e")));
    }

    #[test]
    fn the_hottest_come_first_and_the_rest_as_in_the_tree() {
        let tree = Tree::of(&["/r", "/r/a", "/r/b", "/r/c"]);
        let mut model = model_of(&tree);
        let updated = |path| event(EventKind::NodeUpdated, path, b"");
        look(&mut model, &tree, &[updated("/r/c"), updated("/r/b"), updated("/r/c")], 1.0);
        press(&mut model, "s");
        assert_eq!(rows(&mut model), are(&["/r/c", "/r/b", "/r", "/r/a"], "1 of 4"));
        press(&mut model, "j");
        look(&mut model, &tree, &[updated("/r/a"), updated("/r/a"), updated("/r/a")], 2.0);
        assert_eq!(rows(&mut model), are(&["/r/a", "/r/c", "/r/b", "/r"], "2 of 4"));
        press(&mut model, "s");
        assert_eq!(rows(&mut model), are(&["/r", "/r/a", "/r/b", "/r/c"], "4 of 4"));
    }

    #[test]
    fn what_is_not_told_is_noticed_with_the_next_version_after_a_second() {
        let mut tree = Tree::of(&["/r"]);
        let mut model = model_of(&tree);
        tree.nodes.insert(TreePath("/r/locked".to_owned()), None);
        look(&mut model, &tree, &[], 0.5);
        assert_eq!(rows(&mut model).1, "1 of 1");
        look(&mut model, &tree, &[], 1.5);
        assert_eq!(rows(&mut model), are(&["/r", "/r/locked"], "1 of 2"));
    }

    #[test]
    fn faults_and_changes_are_counted() {
        let mut model = model_of(&Tree::of(&["/r"]));
        model.take(&Item::Fault(Fault::new(Status::Connection, "refused")), at(3.0).now);
        assert_eq!((model.faults(), model.last_fault()), (1, Some(("refused", at(3.0).now))));
        look(
            &mut model,
            &Tree::of(&["/r"]),
            &[event(EventKind::NodeUpdated, "/r", b""), Item::Fault(Fault::new(Status::Tls, "x"))],
            4.0,
        );
        assert_eq!((model.changes, model.faults()), (1, 2));
        assert!(model.rates.last(1) > 0.0);
    }

    /// A flat tree of so many nodes, which counts what it is asked for.
    struct Large {
        nodes: usize,
        asked: Rc<Cell<usize>>,
        walks: Rc<Cell<usize>>,
    }

    impl Large {
        fn ask(&self) {
            self.asked.set(self.asked.get() + 1);
        }

        fn number(&self, name: &str) -> usize {
            name.trim_start_matches("/r/").parse().unwrap()
        }
    }

    impl Nodes for Large {
        fn zxid(&self) -> Zxid {
            Zxid(1)
        }

        fn is_cut(&self) -> bool {
            true
        }

        fn has(&self, path: &str) -> bool {
            self.ask();
            path == "/r" || self.number(path) < self.nodes
        }

        fn node(&self, path: &str) -> Result<Node, Error> {
            self.ask();
            Err(Error::NoPermission(path.to_owned()))
        }

        fn child(&self, parent: &str, which: Which<'_>) -> Option<String> {
            self.ask();
            let number = match which {
                Which::First => Some(0),
                Which::Last => self.nodes.checked_sub(1),
                Which::After(name) => Some(self.number(name) + 1),
                Which::Before(name) => self.number(name).checked_sub(1),
            };
            number
                .filter(|number| parent == "/r" && *number < self.nodes)
                .map(|number| format!("{number:07}"))
        }

        fn walk(&self, _: &str, visit: &mut dyn FnMut(&str) -> Step) {
            self.walks.set(self.walks.get() + 1);
            let mut goes_on = visit("/r") == Step::On;
            for number in 0..self.nodes {
                goes_on = goes_on && visit(&format!("/r/{number:07}")) == Step::On;
            }
        }
    }

    #[test]
    fn of_a_large_tree_only_what_is_on_the_screen_is_asked_for() {
        let (asked, walks) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let mut model = Model::new("/r".to_owned(), None);
        let tree = || Box::new(Large { nodes: 200_000, asked: asked.clone(), walks: walks.clone() });
        let seconds = Cell::new(0.0);
        let look = |model: &mut Model| {
            seconds.set(seconds.get() + 0.25);
            model.look_at(standing(), at(seconds.get()).now);
            model.look_into(tree(), at(seconds.get()));
            model.refresh();
        };
        look(&mut model);
        assert_eq!((model.rows_on_screen(50).len(), walks.get()), (50, 1));
        for key in [Key::End, Key::PageUp, Key::Up, Key::Home, Key::PageDown, Key::End] {
            asked.set(0);
            model.press(key);
            look(&mut model);
            assert_eq!(model.rows_on_screen(50).len(), 50);
            assert!(asked.get() < 1000, "{key:?}: {} questions", asked.get());
        }
        // They are counted when they change, and not with each frame or key.
        assert_eq!((walks.get(), model.rows().place().index), (1, Some(200_000)));
        model.press(Key::Char('s'));
        let Place { total, is_cut_off, .. } = model.rows().place();
        assert_eq!((total, is_cut_off), (100_000, true));
    }
}

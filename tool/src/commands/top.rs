//! `treecache top`: a tree and what changes in it, live, and how it stands to the servers.
//!
//! The tree on the screen is a snapshot, taken anew for each frame, which costs nothing; only the rows on the screen are looked
//! up in it. What changed comes out of a queue, and only that is remembered here, until it has faded. So there is no second tree,
//! and frames are drawn at their own pace however fast events come.
//!
//! Each module knows those above it here, and none below:
//!
//! - `numbers`: numbers as people read them.
//! - `look`: which characters and colours can be shown.
//! - `pen`: one line, written into its place on a screen.
//! - `notes`: how nodes changed lately.
//! - `nodes`: what is asked of a tree.
//! - `outline`: the rows of a tree in their order, one found from another.
//! - `rows`: which of them are shown, and which is selected.
//! - `rates`: how fast what is counted grows.
//! - `model`: all that is known and chosen. It is given events and keys.
//! - `view`: that, drawn onto a screen.
//! - `lines`: that, printed.
//! - `keyboard`: keys, of the bytes that a terminal sends.
//! - `screen`: the loop in which all this happens.

mod keyboard;
mod lines;
mod look;
mod model;
mod nodes;
mod notes;
mod numbers;
mod outline;
mod pen;
mod rates;
mod rows;
mod screen;
mod view;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use treecache::{Config, Error, EventKind};

use crate::arguments::TopArguments;
use crate::failure::Failure;
use crate::interrupt;
use crate::output;
use crate::source::Source;
use crate::terminal;
use look::Look;
use model::{Model, Moment};
use screen::Screen;

/// Where there is no terminal, and COLUMNS is not set.
const DEFAULT_WIDTH: u16 = 100;

/// How long a server may take to catch up with what was committed before --once looked.
const CATCH_UP: Duration = Duration::from_secs(1);

/// How often it is summed up where there is no screen.
const SUM_UP: Duration = Duration::from_secs(1);

pub fn run(arguments: &TopArguments) -> Result<ExitCode, Failure> {
    let clock = Clock(Instant::now());
    let is_screen = !arguments.once && terminal::is_there();
    if is_screen && arguments.place.given.verbose && io::stderr().is_terminal() {
        let message = "--verbose writes onto the screen: send stderr to a file, as in 2>top.log";
        return Err(Failure::Usage(message.to_owned()));
    }
    let mut source = Source::open(&arguments.place, &[])?;
    let look = Look::of_stdout();
    // The root of a shared tree is known when that is there.
    if arguments.once || arguments.place.attach.is_some() {
        source.loaded()?;
    }
    let file = arguments.place.attach.as_ref().map(|file| file.display().to_string());
    let model = Model::new(source.path.clone(), file);
    if arguments.once {
        return print_once(&source, model, look, clock);
    }
    let mut wants = Config::new();
    wants.set("queue.faults", "true")?;
    wants.set("listen.under", &source.path)?;
    if is_screen {
        // What is there is seen anyway.
        wants.set("listen.initial", "false")?;
        wants.set("listen.after.initialized", "true")?;
        let (cache, queue) = (&source.cache, source.cache.queue(&wants)?);
        let interval = Duration::from_millis(arguments.interval);
        return Screen { cache, queue, model, look, interval, clock }.run();
    }
    print_events(&source, &wants, model, look, clock)
}

/// Prints the header and the whole tree.
fn print_once(source: &Source, mut model: Model, look: Look, clock: Clock) -> Result<ExitCode, Failure> {
    // All that was committed before it is looked at; without a connection, what there is.
    _ = source.cache.sync(Some(CATCH_UP));
    model.look_at(source.cache.stats().into(), clock.now());
    model.look_into(Box::new(source.cache.snapshot()?), clock.moment());
    let (width, mut out) = (width(), output::stdout());
    let mut header = Buffer::empty(Rect::new(0, 0, width, view::MOST_HEADER_LINES));
    for line in 0..view::draw_header(&mut header, &model, clock.now(), look) {
        lines::write_line(&mut out, &header, line, look)?;
    }
    let mut row = Buffer::empty(Rect::new(0, 0, width, 1));
    let mut written = Ok(());
    model.visit_rows(|path| {
        row.reset();
        view::draw_row(&mut row, 0, &model, path, false, look);
        written = lines::write_line(&mut out, &row, 0, look);
        written.is_ok()
    });
    written?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a line for each event, and each second one that sums up.
fn print_events(
    source: &Source,
    wants: &Config,
    mut model: Model,
    look: Look,
    clock: Clock,
) -> Result<ExitCode, Failure> {
    let queue = source.cache.queue(wants)?;
    let mut out = output::stdout();
    let mut next = Duration::ZERO;
    // From then on, a node that is added is a change.
    let mut is_initialized = false;
    loop {
        let now = clock.now();
        if now >= next {
            next = now + SUM_UP;
            model.look_into(Box::new(source.cache.snapshot()?), clock.moment());
            if model.look_at(source.cache.stats().into(), now) {
                lines::write_summary(&mut out, &model)?;
            }
        }
        let item = match queue.next(Some(Duration::ZERO)) {
            Err(Error::Timeout { .. }) => {
                out.flush()?;
                queue.next(Some(next.saturating_sub(clock.now())))
            }
            item => item,
        };
        let item = match item {
            Err(Error::Timeout { .. }) => continue,
            item => item?,
        };
        interrupt::before(item.as_event().as_ref(), &mut out)?;
        lines::write_item(&mut out, &item, look)?;
        is_initialized |= item.as_event().is_some_and(|event| event.kind == EventKind::Initialized);
        if is_initialized {
            model.take(&item, clock.now());
        }
    }
}

#[derive(Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// The time since the program has begun.
    pub fn now(self) -> Duration {
        self.0.elapsed()
    }

    pub fn moment(self) -> Moment {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment { now: self.now(), wall: i64::try_from(wall.as_millis()).unwrap_or(i64::MAX) }
    }
}

/// Of the terminal; or what the environment says.
fn width() -> u16 {
    let of_terminal = || ratatui::crossterm::terminal::size().ok().map(|(width, _)| width);
    let said = || std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let width = if io::stdout().is_terminal() { of_terminal() } else { said() };
    width.filter(|width| *width > 0).unwrap_or(DEFAULT_WIDTH)
}

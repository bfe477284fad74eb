//! What the Rust contenders share: the requests of `README.md`, the digest, and threads that read.

use std::io::{self, BufRead, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, thread};

/// How often a wait looks.
const LOOK: Duration = Duration::from_micros(200);
/// How many reads are timed as one.
const READS_A_BLOCK: usize = 20_000;

/// How many nodes, and the sum of their checksums: the same for equal trees, in whatever order they are added.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    pub nodes: u64,
    pub sum: u64,
}

impl Digest {
    pub fn add(&mut self, path: &str, data: &[u8]) {
        let crc = [path.as_bytes(), &[0], data]
            .into_iter()
            .flatten()
            .fold(u32::MAX, |crc, byte| CRC_TABLE[usize::from(crc as u8 ^ byte)] ^ crc >> 8);
        self.nodes += 1;
        self.sum = self.sum.wrapping_add(u64::from(!crc));
    }
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < table.len() {
        let (mut entry, mut bit) = (i as u32, 0);
        while bit < 8 {
            entry = if entry & 1 == 1 { entry >> 1 ^ 0xedb8_8320 } else { entry >> 1 };
            bit += 1;
        }
        table[i] = entry;
        i += 1;
    }
    table
};

/// What a listener was told.
#[derive(Default)]
pub struct Heard {
    events: AtomicU64,
    times: Mutex<Vec<(String, u64)>>,
}

impl Heard {
    pub fn event(&self, data: &[u8]) {
        self.events.fetch_add(1, Ordering::Relaxed);
        if data.first() == Some(&b'#') {
            let entry = (String::from_utf8_lossy(data).into_owned(), monotonic_ns());
            self.times.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
        }
    }

    fn take(&self, file: &str) -> io::Result<u64> {
        let times = std::mem::take(&mut *self.times.lock().unwrap_or_else(PoisonError::into_inner));
        let lines: String = times.iter().map(|(data, at)| format!("{data} {at}\n")).collect();
        fs::write(file, lines)?;
        Ok(self.events.swap(0, Ordering::Relaxed))
    }
}

/// The clock that all processes of a machine share.
pub fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is ours to be written to.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// What a contender can do; see `README.md`. What it cannot is answered with `unsupported`.
pub trait Contender: Sync {
    fn connect(&mut self, hosts: &str) -> Result<(), String>;
    fn load(&mut self, root: &str) -> Result<(), String>;
    fn digest(&self) -> Digest;
    fn close(&mut self);

    /// Where its events are counted, if it has any.
    fn heard(&self) -> Option<&Heard> {
        None
    }

    /// The data of a node, if the contender keeps it.
    fn get(&self, _path: &str) -> Option<Vec<u8>> {
        None
    }
}

/// Serves requests until there are no more.
pub fn serve(mut contender: impl Contender) {
    let mut expected = Expected::default();
    answer_with("ok");
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        answer_with(
            &answer(&mut contender, &mut expected, &line).unwrap_or_else(|error| format!("error {error}")),
        );
    }
}

fn answer_with(text: &str) {
    let mut output = io::stdout().lock();
    // Whoever asked is gone when this fails, and then so is the next request.
    let _ = writeln!(output, "{text}").and_then(|()| output.flush());
}

#[derive(Default)]
struct Expected {
    paths: Vec<String>,
    data: Option<Vec<u8>>,
}

fn answer(contender: &mut impl Contender, expected: &mut Expected, line: &str) -> Result<String, String> {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["connect", hosts] => contender.connect(hosts)?,
        ["load", root] => contender.load(root)?,
        ["digest"] => {
            let Digest { nodes, sum } = contender.digest();
            return Ok(format!("ok nodes={nodes} sum={sum}"));
        }
        ["memory"] => {}
        ["close"] => contender.close(),
        _ => return answer_if_followed(contender, expected, &words),
    }
    Ok("ok".to_owned())
}

/// What only those can answer who follow the tree.
fn answer_if_followed(
    contender: &impl Contender,
    expected: &mut Expected,
    words: &[&str],
) -> Result<String, String> {
    let Some(heard) = contender.heard() else { return Ok("unsupported".to_owned()) };
    match *words {
        ["listen"] => heard.events.store(0, Ordering::Relaxed),
        ["heard", file] => {
            let events = heard.take(file).map_err(|error| error.to_string())?;
            return Ok(format!("ok events={events} versions=0"));
        }
        ["expect", file, ref data @ ..] => {
            *expected =
                Expected { paths: lines_of(file)?, data: data.first().map(|data| data.as_bytes().to_vec()) };
        }
        ["until"] => {
            while let Some(path) = expected.paths.last() {
                match contender.get(path) == expected.data {
                    true => drop(expected.paths.pop()),
                    false => thread::sleep(LOOK),
                }
            }
        }
        ["measure", "get", file, threads, ms] => {
            let number = |text: &str| text.parse::<u64>().map_err(|error| error.to_string());
            let (threads, time) = (number(threads)? as usize, Duration::from_millis(number(ms)?));
            return Ok(format!("ok ns={}", measure(contender, &lines_of(file)?, threads, time)));
        }
        _ => return Ok("unsupported".to_owned()),
    }
    Ok("ok".to_owned())
}

fn lines_of(file: &str) -> Result<Vec<String>, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// What one read takes a thread, in ns: the median of all blocks.
fn measure(contender: &impl Contender, paths: &[String], threads: usize, time: Duration) -> f64 {
    let (took, start) = (Mutex::new(Vec::new()), Barrier::new(threads));
    thread::scope(|scope| {
        for i in 0..threads {
            let (took, start) = (&took, &start);
            // Each reads its own part; of a single path, everybody the whole.
            let share = match paths.len() < threads {
                true => paths,
                false => &paths[paths.len() * i / threads..paths.len() * (i + 1) / threads],
            };
            scope.spawn(move || {
                let (mut mine, mut next) = (Vec::new(), share.iter().cycle());
                start.wait();
                let end = Instant::now() + time;
                while Instant::now() < end || mine.len() < 5 {
                    let began = Instant::now();
                    for path in next.by_ref().take(READS_A_BLOCK) {
                        std::hint::black_box(contender.get(path));
                    }
                    mine.push(began.elapsed().as_nanos() as f64 / READS_A_BLOCK as f64);
                }
                took.lock().unwrap_or_else(PoisonError::into_inner).extend(mine);
            });
        }
    });
    let mut took = took.into_inner().unwrap_or_else(PoisonError::into_inner);
    took.sort_by(f64::total_cmp);
    took[took.len() / 2]
}

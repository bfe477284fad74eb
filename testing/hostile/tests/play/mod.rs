//! Plays scenes: those of `fuzz/corpus/`, mutations of these, and random ones. Looks for what libFuzzer looks for,
//! panics and scenes without an end; and besides for memory that grows with what a server claims rather than sends.
//!
//! `TREECACHE_SEED=n` plays the scene of that seed again (while the corpus is the same), `TREECACHE_FUZZ_SECONDS=n`
//! plays for so long.

mod memory;

use std::panic::{catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;

/// How long a target is played, and with how many scenes at least.
const SECONDS: u64 = 4;
const FEWEST: usize = 1000;
/// How long one scene may take; it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of memory that every scene may use.
const MEMORY: usize = 600 << 10;
/// The longest random input.
const LONGEST: usize = 2048;

pub struct Target {
    name: &'static str,
    entry: fn(&[u8]) -> usize,
    /// Bytes of memory for each byte that a server sent, besides [`MEMORY`].
    memory_per_byte: usize,
}

pub const WIRE: Target = Target { name: "wire", entry: treecache_hostile::wire, memory_per_byte: 8 };
pub const SESSION: Target = Target { name: "session", entry: treecache_hostile::session, memory_per_byte: 8 };
/// A name in a child list costs its whole path until it is read; here paths have at most 300 bytes.
pub const SYNCHRONISER: Target =
    Target { name: "synchroniser", entry: treecache_hostile::synchroniser, memory_per_byte: 60 };
/// The map beside the tree has each name once more for each node below it, and is kept from before each edit.
pub const TREE: Target = Target { name: "tree", entry: treecache_hostile::tree, memory_per_byte: 60 };
/// A reader has a copy of the file for each version.
pub const SHARE: Target = Target { name: "share", entry: treecache_hostile::share, memory_per_byte: 60 };
pub const ENGINE: Target = Target { name: "engine", entry: treecache_hostile::engine, memory_per_byte: 60 };

pub fn play(target: &Target) {
    let corpus = corpus(target.name);
    let number = |name| std::env::var(name).ok().map(|value| value.parse().expect("a number"));
    let only = number("TREECACHE_SEED");
    let end = Instant::now() + Duration::from_secs(number("TREECACHE_FUZZ_SECONDS").unwrap_or(SECONDS));
    let (scenes, played) = channel();
    let watchdog = thread::spawn(move || watch(played));
    for (file, input) in &corpus {
        run(target, input, format!("{}: {}", target.name, file.display()), &scenes);
    }
    let first = Rng::new().u64(..1 << 48);
    let mut count = 0;
    for seed in only.map_or(first..u64::MAX, |seed| seed..seed + 1) {
        let input = input(seed, &corpus);
        run(target, &input, format!("{}: TREECACHE_SEED={seed} plays it again", target.name), &scenes);
        count += 1;
        if Instant::now() >= end && count >= FEWEST {
            break;
        }
    }
    drop(scenes);
    watchdog.join().expect("it does not panic");
    println!("{}: {} inputs of the corpus and {count} others", target.name, corpus.len());
}

/// Ends the process when a scene does not end, and says which.
fn watch(played: Receiver<String>) {
    let mut scene = String::new();
    loop {
        match played.recv_timeout(PATIENCE) {
            Ok(next) => scene = next,
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                eprintln!("it does not end; {scene}");
                std::process::abort();
            }
        }
    }
}

fn run(target: &Target, input: &[u8], scene: String, scenes: &Sender<String>) {
    scenes.send(scene.clone()).expect("the watchdog waits");
    let played = catch_unwind(|| {
        memory::reset();
        let fed = (target.entry)(input);
        let (used, most) = (memory::peak(), target.memory_per_byte * fed + MEMORY);
        assert!(used <= most, "{used} bytes of memory for {fed} from the server; {most} are allowed");
    });
    if let Err(panic) = played {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("hostile-{}", target.name));
        std::fs::write(&file, input).expect("the input can be kept");
        eprintln!("{scene}; its input is in {}", file.display());
        resume_unwind(panic);
    }
}

/// Half of the inputs are random, the others mutations of what is worth keeping.
fn input(seed: u64, corpus: &[(PathBuf, Vec<u8>)]) -> Vec<u8> {
    let mut rng = Rng::with_seed(seed);
    let mut input = match rng.choice(corpus) {
        Some((_, input)) if rng.bool() => input.clone(),
        _ => {
            let len = rng.usize(..LONGEST);
            // Small bytes are the choices of a server that seems honest.
            let highest = rng.u8(60..);
            (0..len).map(|_| rng.u8(..=highest)).collect()
        }
    };
    for _ in 0..rng.usize(..8) {
        let at = rng.usize(..=input.len());
        match rng.u8(..5) {
            0 => input.insert(at, rng.u8(..)),
            1 => input.truncate(at.max(1)),
            2 if at < input.len() => input[at] = rng.u8(..),
            3 if at < input.len() => _ = input.remove(at),
            4 => {
                let piece: Vec<u8> = input[at..].iter().take(rng.usize(..64)).copied().collect();
                let to = rng.usize(..=input.len());
                input.splice(to..to, piece);
            }
            _ => {}
        }
    }
    input
}

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files.into_iter().map(|file| (file.clone(), std::fs::read(file).expect("readable"))).collect()
}

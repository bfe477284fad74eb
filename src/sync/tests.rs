//! The synchroniser and the group against a small ZooKeeper in memory, in simulated time.

mod model;

use std::time::Duration;

use fastrand::Rng;

use self::model::{ROOT, World, Write, options};
use crate::sync::Options;

/// Runs `run` for many seeds; says which one failed.
fn for_seeds(count: u64, run: impl Fn(u64) + std::panic::RefUnwindSafe) {
    let seeds = match std::env::var("TREECACHE_SEED") {
        Ok(seed) => seed.parse().map(|seed| seed..seed + 1).expect("TREECACHE_SEED is a number"),
        Err(_) => 0..count,
    };
    for seed in seeds {
        if let Err(panic) = std::panic::catch_unwind(|| run(seed)) {
            eprintln!("TREECACHE_SEED={seed} runs this schedule again");
            std::panic::resume_unwind(panic);
        }
    }
}

/// A path in a tree that is `width` names wide and three levels deep.
fn random_path(rng: &mut Rng, width: u8) -> String {
    let mut path = ROOT.to_owned();
    for _ in 0..rng.usize(..=3) {
        path.push('/');
        path.push((b'a' + rng.u8(..width)).into());
    }
    path
}

fn random_write(rng: &mut Rng, width: u8, hides: bool) -> Write {
    let path = random_path(rng, width);
    match rng.u8(..12) {
        0..=3 => Write::Create(path),
        4..=6 => {
            let len = if rng.u8(..8) == 0 { 5000 } else { rng.usize(..20) };
            Write::Set(path, vec![rng.u8(..); len])
        }
        7..=9 => Write::Delete(path),
        10 if hides => Write::CreatePrivate(path),
        11 if hides => Write::Open(path, rng.bool()),
        _ => Write::Create(path),
    }
}

/// One schedule: writes, requests, replies, notifications, time and disconnects in any order that one stream
/// allows. `World` checks what comes out on the way.
fn schedule(seed: u64, hides: bool) {
    let mut rng = Rng::with_seed(seed);
    let audit_interval = if hides { Duration::from_secs(2) } else { Duration::ZERO };
    let options = Options { create_root: rng.u8(..4) == 0, audit_interval, ..options() };
    let mut world = World::new(options, seed);
    world.strict = !hides;
    let (width, storm) = (rng.u8(1..5), rng.u8(1..8));
    for _ in 0..rng.usize(..40) {
        world.write(&[random_write(&mut rng, width, hides)]);
    }
    world.connect();
    for _ in 0..rng.usize(20..250) {
        match rng.u8(..40) {
            n if n < storm * 2 => {
                let count = rng.usize(1..4);
                let writes: Vec<_> = (0..count).map(|_| random_write(&mut rng, width, hides)).collect();
                world.write(&writes);
            }
            n if n < 25 => _ = world.deliver(),
            n if n < 35 => _ = world.serve(),
            35 => world.ping(),
            36 => world.throttled = rng.usize(..2),
            37 => {
                let longest = if rng.bool() { 50 } else { 1500 };
                world.advance(Duration::from_millis(rng.u64(..longest)));
            }
            _ if rng.u8(..5) > 0 => world.advance(Duration::from_millis(1)),
            _ if world.connected => world.disconnect(),
            _ => {
                if rng.u8(..3) == 0 {
                    world.lose();
                }
                world.connect();
            }
        }
    }
    if !world.connected {
        world.connect();
    }
    world.throttled = 0;
    // With changes that were hidden: as long as it takes an audit to come upon them level by level.
    world.rest_for(Duration::from_secs(if hides { 60 } else { 5 }));
    world.assert_in_step();
}

#[test]
fn every_cut_is_exact_and_every_schedule_ends_in_step() {
    for_seeds(6000, |seed| schedule(seed, false));
}

#[test]
fn what_was_hidden_is_found_in_the_end() {
    for_seeds(1000, |seed| schedule(seed, true));
}

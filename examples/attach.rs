//! Prints one node of a tree that another process keeps in a file (`share.file`), without a session:
//!
//!     cargo run --example attach -- /dev/shm/services

use std::process::ExitCode;
use std::time::Duration;

use treecache::{Config, Error, TreeCache};

fn main() -> ExitCode {
    let file = std::env::args().nth(1).unwrap_or_else(|| "/dev/shm/services".to_owned());
    match attach(&file) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn attach(file: &str) -> Result<(), Error> {
    let cache = TreeCache::attach(file, &Config::new())?;
    cache.wait_initialized(Some(Duration::from_secs(10)))?;
    let node = cache.get_data("/services/web")?;
    println!("{}", String::from_utf8_lossy(node.data()));
    Ok(())
}

//! Follows a subtree and prints what happens to it, until Enter is pressed:
//!
//!     cargo run --example watch -- localhost:2181 /services

use std::process::ExitCode;
use std::time::Duration;

use treecache::{Client, Config, Error, EventKind};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let hosts = arguments.next().unwrap_or_else(|| "localhost:2181".to_owned());
    let root = arguments.next().unwrap_or_else(|| "/".to_owned());
    match watch(&hosts, &root) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn watch(hosts: &str, root: &str) -> Result<(), Error> {
    // Who looks at a tree does not make it.
    let mut config = Config::new();
    config.set("root.create", "false")?;
    let client = Client::new(hosts, &config)?;
    // What goes wrong in the background, such as a server that refuses the connection.
    client.listen_fault(|fault| eprintln!("{:?}: {}", fault.status, fault.message))?;
    let cache = client.cache(root, &config)?;
    cache.listen(|event| match (event.path, event.node) {
        (Some(path), Some(node)) if event.kind != EventKind::NodeRemoved => {
            println!("{:?} {path}: {} bytes at {}", event.kind, node.data().len(), event.zxid);
        }
        (Some(path), _) => println!("{:?} {path}", event.kind),
        (None, _) => println!("{:?}", event.kind),
    })?;
    cache.start()?;
    cache.wait_initialized(Some(Duration::from_secs(30)))?;

    // A snapshot is one version of the tree, whatever happens meanwhile.
    let snapshot = cache.snapshot()?;
    match snapshot.get_data(root) {
        Err(Error::NoNode(_)) => println!("{root} does not exist; press Enter to end"),
        _ => println!("{} nodes at {}; press Enter to end", snapshot.len(), snapshot.zxid()),
    }
    let _ = std::io::stdin().read_line(&mut String::new());
    let (state, heard) = cache.state();
    let heard = heard.map_or("never".to_owned(), |age| format!("{age:?} ago"));
    println!("{state:?}; a server was last heard {heard}");
    Ok(())
}

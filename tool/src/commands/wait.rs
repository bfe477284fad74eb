//! `treecache wait`: until a node is there, has a value, or is gone.

use std::process::ExitCode;

use treecache::{Config, Error};

use crate::arguments::WaitArguments;
use crate::failure::Failure;
use crate::source::Source;

pub fn run(arguments: &WaitArguments) -> Result<ExitCode, Failure> {
    let mut source = Source::open(&arguments.place, &[("single", "true")])?;
    source.loaded()?;
    let mut wants = Config::new();
    wants.set("listen.under", &source.path)?;
    wants.set("listen.depth", "0")?;
    wants.set("listen.events", "added,updated,removed")?;
    wants.set("listen.initial", "false")?;
    // Before the first look, so that nothing is missed in between.
    let queue = source.cache.queue(&wants)?;
    loop {
        let is_so = match source.cache.get_data(&source.path) {
            Ok(node) => {
                !arguments.gone
                    && arguments.value.as_ref().is_none_or(|value| node.data() == value.as_bytes())
            }
            Err(Error::NoNode(_)) => arguments.gone,
            Err(error) => return Err(error.into()),
        };
        if is_so {
            return Ok(ExitCode::SUCCESS);
        }
        match queue.next(source.left()) {
            Ok(_) => {}
            Err(Error::Timeout { .. }) => return Err(Failure::Timeout("the time was over".to_owned())),
            Err(error) => return Err(error.into()),
        }
    }
}

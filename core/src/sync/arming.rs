//! What a flight takes to send where each watch tells of one change: first what sets the watches of all that it reads,
//! and right behind that the reads.
//!
//! A watch that is set again where there is one already changes nothing, so that nobody keeps books about them: whatever
//! is read is watched.

use super::CacheId;
use super::flight::{Flight, Read};
use super::group::Purpose;
use crate::path::NodePath;
use crate::wire::Request;

/// How many bytes of paths are in one request that sets watches: a server does nothing else meanwhile.
const MOST_BYTES: usize = 16 << 10;

/// The requests that set the watches for a flight of this cache. `root` is the cache's: it may be missing, and then its
/// creation is to be told.
pub(super) fn watches(cache: CacheId, flight: &Flight, root: &NodePath) -> Vec<(Request, Purpose)> {
    let mut requests = Vec::new();
    let mut push = |request| {
        let of_root = matches!(request, Request::ExistsWatched(_));
        requests.push((request, Purpose::Arming { cache, flight: flight.number, of_root }));
    };
    let read = flight.nodes.iter().chain(&flight.stats).map(|read| read.path.clone());
    let siblings = flight.parts.iter().flat_map(|part| part.siblings.paths());
    let (mut paths, mut bytes, mut has_root) = (Vec::new(), 0, false);
    for path in read.chain(siblings) {
        has_root |= path == *root;
        bytes += path.as_str().len();
        paths.push(path);
        if bytes >= MOST_BYTES {
            push(Request::SetWatches(std::mem::take(&mut paths)));
            bytes = 0;
        }
    }
    if !paths.is_empty() {
        push(Request::SetWatches(paths));
    }
    if has_root {
        push(Request::ExistsWatched(root.clone()));
    }
    requests
}

/// The reads of a flight for a server that has no multiRead, one by one, in the order of their results.
pub(super) fn single_reads(flight: &Flight) -> Vec<Request> {
    let mut requests = Vec::with_capacity(flight.len());
    for Read { path, children } in &flight.nodes {
        requests.push(Request::Data(path.clone()));
        if *children {
            requests.push(Request::ChildrenWithStat(path.clone()));
        }
    }
    for part in &flight.parts {
        requests.extend(part.siblings.paths().map(Request::Data));
    }
    requests
}

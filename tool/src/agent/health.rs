//! How all trees are, for whoever asks over HTTP: `/health`, for a load balancer or a probe, and `/metrics`, for Prometheus.

use std::io;
use std::sync::Arc;

use log::info;
use serde_json::Value;

use crate::http::{Answer, Listener, NOT_FOUND, OK, Request, Rules, Server, UNAVAILABLE};

/// Paths are short, and so is what else a probe sends.
const LONGEST: usize = 4096;
/// So many are answered at a time.
const MOST: usize = 16;

/// Who knows how the trees are.
pub trait Standing: Send + Sync + 'static {
    /// Whether all is well, and more of it.
    fn health(&self) -> (bool, Value);

    /// In Prometheus' text format.
    fn metrics(&self) -> String;
}

pub fn start(listener: Listener, standing: impl Standing) -> io::Result<Server> {
    info!("asked at {}, it is told how the trees are", listener.place("/health"));
    // What is told is no secret: whoever reaches it may ask, by any name.
    let rules = Rules { thread: "treecache-health", longest: LONGEST, most: MOST, names: None, head: "" };
    let answer = move |request: &Request| match request.path.as_str() {
        "/health" => {
            let (is_well, told) = standing.health();
            Answer::json(if is_well { OK } else { UNAVAILABLE }, &told)
        }
        "/metrics" => {
            Answer::Whole { status: OK, kind: crate::metrics::KIND, body: standing.metrics().into() }
        }
        _ => Answer::error(NOT_FOUND, "there is /health, and /metrics"),
    };
    Server::start(listener, rules, Arc::new(answer))
}

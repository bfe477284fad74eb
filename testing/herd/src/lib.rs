//! What thousands of clients do to an ensemble: this library's own engine, backoff and verification, thousands of
//! times, against a model of servers with a capacity, in simulated time.
//!
//! | module | holds |
//! |---|---|
//! | `measured` | what was measured at a real server, and its form on disk |
//! | `measure` | measuring it |
//! | `capacity` | what a simulated server can do |
//! | `truth` | the tree at the servers |
//! | `world` | clients, servers, time |
//! | `load` | what the servers had to bear, over time |
//! | `experiments` | the herds that docs/scaling.md speaks of |
//! | `chart` | pictures |
//! | `report` | where tables go in docs/scaling.md |

pub mod capacity;
mod chart;
pub mod experiments;
mod load;
#[cfg(feature = "measure")]
pub mod measure;
pub mod measured;
pub mod report;
mod truth;
pub mod world;

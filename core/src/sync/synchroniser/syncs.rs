//! Barriers, for calls that wait until all that was committed before them can be read, and for trees that have no date.
//!
//! A server replies to a barrier when it has applied all that was committed before it. In the connection's one stream,
//! the notifications of all that stand before that reply. So a cut at the zxid of the reply, or at a later one, has all
//! that was committed when the request was sent. (With ZooKeeper's `sync` the same holds of a server that follows; a
//! leader answers it as it is.)
//!
//! One request is under way at a time, for all calls that were made before it was sent. Whoever calls later may ask
//! for what was committed later, and shares the next one.

use std::time::Instant;

use super::{Link, Synchroniser};
use crate::error::Status;
use crate::planted::{self, Defect};
use crate::stat::Zxid;
use crate::sync::{Output, SyncMode};
use crate::wire::ServerError;

/// A call of `sync`. Those of a cache are numbered from 1, in the order in which they are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// The calls of one cache.
#[derive(Default)]
pub(super) struct Syncs {
    /// The newest call.
    last: Ticket,
    /// This call and all before it have been answered.
    answered: Ticket,
    round: Option<Round>,
}

/// A request that was sent, until the calls it was sent for are answered.
struct Round {
    /// The newest of them.
    last: Ticket,
    /// That of the server's reply; `None` before.
    zxid: Option<Zxid>,
}

impl Synchroniser {
    /// A call is made that waits until all that was committed before can be read; [`Output::Synced`] answers it.
    pub(crate) fn sync(&mut self, ticket: Ticket) {
        self.syncs.last = self.syncs.last.max(ticket);
        let is_connected = matches!(self.link, Link::Connected | Link::Watching);
        if !is_connected || self.failure.is_some() {
            self.fail_syncs();
        }
    }

    /// Whether the server is to catch up now, and how, where calls ask for it in the way of `mode`; the reply is to be
    /// given to [`handle_synced`](Self::handle_synced).
    pub(crate) fn take_sync(&mut self, mode: SyncMode) -> Option<SyncMode> {
        // Without the watch nothing is exact, and no reply helps.
        let is_ready = self.link == Link::Watching && !self.stopped && self.retry_at.is_none();
        let Syncs { last, answered, round } = &mut self.syncs;
        let is_called = *last > *answered && round.is_none();
        let is_under_way = round.as_ref().is_some_and(|round| round.zxid.is_none());
        if !is_ready || is_under_way || !(is_called || self.undated) {
            return None;
        }
        *round = Some(Round { last: *last, zxid: None });
        Some(match mode {
            // Only a transaction gives a date.
            _ if self.undated => SyncMode::Barrier,
            SyncMode::Barrier if planted::is(Defect::SyncTakenForBarrier) => SyncMode::Sync,
            mode => mode,
        })
    }

    /// The reply to what [`take_sync`](Self::take_sync) asked for, with the zxid in its header.
    pub(crate) fn handle_synced(&mut self, zxid: Zxid, error: ServerError, now: Instant) {
        let Some(round) = &mut self.syncs.round else { return };
        match error {
            ServerError::OK => {
                round.zxid = Some(zxid);
                if planted::is(Defect::SyncSharedTooLate) {
                    round.last = self.syncs.last;
                }
                let last = round.last;
                self.settle(zxid, now);
                if self.undated {
                    // By chance, if it is honest: asked for again, but not without a pause.
                    self.retry_later(now);
                }
                if planted::is(Defect::SyncAnsweredAtItsReply) {
                    self.answer_syncs(last, Ok(()));
                }
            }
            ServerError::THROTTLED => {
                self.syncs.round = None;
                self.retry_later(now);
            }
            error => {
                log::warn!("the server could not catch up with what is committed: {error}");
                let last = round.last;
                self.answer_syncs(last, Err(Status::Connection));
                if self.undated {
                    self.retry_later(now);
                }
            }
        }
        self.tell_state();
    }

    /// What is published was found to be a cut at `cut`, whether or not it had to be published anew: answers the
    /// calls whose `sync` that comes up to. (One that was found before their reply does not count, though it may have
    /// the same zxid: something that was hidden may have been found since.)
    pub(super) fn answer_synced(&mut self, cut: Zxid) {
        if let Some(Round { last, zxid: Some(zxid) }) = self.syncs.round
            && cut >= zxid
        {
            self.answer_syncs(last, Ok(()));
        }
    }

    /// No `sync` can be had as things stand.
    pub(super) fn fail_syncs(&mut self) {
        self.answer_syncs(self.syncs.last, Err(self.failure.unwrap_or(Status::Connection)));
    }

    /// Answers a call and all before it. Whoever is told finds the state changed already.
    fn answer_syncs(&mut self, last: Ticket, answer: Result<(), Status>) {
        self.syncs.round = None;
        if last > self.syncs.answered {
            self.syncs.answered = last;
            self.tell_state();
            self.outputs.push_back(Output::Synced(last, answer));
        }
    }
}

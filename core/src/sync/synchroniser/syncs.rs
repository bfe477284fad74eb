//! Barriers: for calls that wait until all that was committed before them can be read, for trees that have no date, and for
//! those that a cache began with, which the server may not have come up to.
//!
//! A server replies to a barrier when it has applied all that was committed before it. In the connection's one stream,
//! the notifications of all these changes stand before that reply. So a cut at the zxid of the reply, or at a later
//! one, has all that was committed when the request was sent. (With ZooKeeper's `sync` the same holds of a server that
//! follows. A leader answers a `sync` at once, as it is.)

use crate::planted::{self, Defect};
use crate::stat::Zxid;
use crate::sync::SyncMode;

/// A call of `sync`. Those of a cache are numbered from 1, in the order in which they are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// The calls of one cache, and the request that is under way for them.
///
/// One request is under way at a time, for all calls that were made before it was sent. Whoever calls later may ask for
/// what was committed later, and shares the next request. A call is answered once, together with all before it: a
/// function that answers calls returns the newest call that had no answer yet, and its caller tells the answer.
#[derive(Default)]
pub(super) struct Syncs {
    /// The newest call.
    last: Ticket,
    /// This call and all before it have been answered.
    answered: Ticket,
    round: Option<Round>,
    /// The server is at no zxid that is a transaction's, so that no cut can be dated.
    undated: bool,
    /// The newest transaction of the tree that the cache began with, until a barrier shows that the server is not behind it.
    known: Option<Zxid>,
}

/// A request that was sent, until the calls it was sent for are answered.
struct Round {
    /// The newest of them.
    last: Ticket,
    /// That of the server's reply; `None` before.
    zxid: Option<Zxid>,
}

impl Syncs {
    /// A call is made. Calls may overtake each other on their way here.
    pub(super) fn call(&mut self, ticket: Ticket) {
        self.last = self.last.max(ticket);
    }

    /// The cache begins with a tree of which this is the newest transaction.
    pub(super) fn begin_from(&mut self, newest: Zxid) {
        self.known = Some(newest).filter(|_| !planted::is(Defect::BarrierLeftOut));
    }

    /// Whether the server may be behind the tree that the cache began with.
    pub(super) fn is_behind(&self) -> bool {
        self.known.is_some()
    }

    /// The reply to a barrier has this zxid. From here on, the server is behind nothing that is known. If it should have come
    /// farther, the ensemble has lost what the cache began with: then that is returned. (The barrier is a transaction of its own,
    /// so it is newer than all that was committed before.)
    pub(super) fn take_lost(&mut self, barrier: Zxid) -> Option<Zxid> {
        let known = self.known.take_if(|_| barrier.is_transaction())?;
        (barrier <= known && !planted::is(Defect::LowBarrierTaken)).then_some(known)
    }

    /// Nothing is known any more.
    pub(super) fn handle_reset(&mut self) {
        self.known = None;
    }

    /// Where the server is, as the header of a reply names it; `None` where none has.
    pub(super) fn note_zxid(&mut self, zxid: Option<Zxid>) {
        self.undated = zxid.is_some_and(|zxid| !zxid.is_transaction());
    }

    /// Whether what is found is undated, until a barrier gives it a date.
    pub(super) fn is_undated(&self) -> bool {
        self.undated
    }

    /// Whether the server is to be asked now, and how; calls ask in the way of `mode`.
    pub(super) fn take_request(&mut self, mode: SyncMode) -> Option<SyncMode> {
        let is_called = self.last > self.answered && self.round.is_none();
        let is_under_way = self.round.as_ref().is_some_and(|round| round.zxid.is_none());
        let needs_barrier = self.undated || self.is_behind();
        if is_under_way || !(is_called || needs_barrier) {
            return None;
        }
        self.round = Some(Round { last: self.last, zxid: None });
        Some(match mode {
            // Only a transaction gives a date, and only it is behind all that was committed.
            _ if needs_barrier => SyncMode::Barrier,
            SyncMode::Barrier if planted::is(Defect::SyncTakenForBarrier) => SyncMode::Sync,
            mode => mode,
        })
    }

    /// Whether a call has no answer yet, or a date is needed.
    pub(super) fn is_called(&self) -> bool {
        self.last > self.answered || self.undated
    }

    /// Whether a request was sent whose calls wait for their answer.
    pub(super) fn is_asked(&self) -> bool {
        self.round.is_some()
    }

    /// Whether the request is answered, and the calls wait for a cut.
    pub(super) fn awaits_cut(&self) -> bool {
        self.round.as_ref().is_some_and(|round| round.zxid.is_some())
    }

    /// The reply to the request, with the zxid in its header.
    pub(super) fn replied(&mut self, zxid: Zxid) {
        let Some(round) = &mut self.round else { return };
        round.zxid = Some(zxid);
        if planted::is(Defect::SyncSharedTooLate) {
            round.last = self.last;
        }
    }

    /// The request came to nothing, and another one is to be sent for its calls.
    pub(super) fn ask_again(&mut self) {
        self.round = None;
    }

    /// What is published was found to be a cut at `cut`, whether or not it had to be published anew. Answers the calls
    /// whose reply has this zxid or an older one. (A cut that was found before their reply does not count, even at the
    /// same zxid: something that was hidden may have been found since.)
    pub(super) fn answer_with_cut(&mut self, cut: Zxid) -> Option<Ticket> {
        let reply = self.round.as_ref()?.zxid?;
        if cut >= reply { self.answer_asked() } else { None }
    }

    /// Answers the calls that the request was sent for.
    pub(super) fn answer_asked(&mut self) -> Option<Ticket> {
        let last = self.round.as_ref()?.last;
        self.answer(last)
    }

    /// Answers all calls that were made.
    pub(super) fn answer_all(&mut self) -> Option<Ticket> {
        self.answer(self.last)
    }

    fn answer(&mut self, last: Ticket) -> Option<Ticket> {
        self.round = None;
        let is_news = last > self.answered;
        self.answered = self.answered.max(last);
        is_news.then_some(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYNC: Option<SyncMode> = Some(SyncMode::Sync);

    fn called(last: u64) -> Syncs {
        let mut syncs = Syncs::default();
        (1..=last).for_each(|ticket| syncs.call(Ticket(ticket)));
        syncs
    }

    #[test]
    fn a_request_is_for_the_calls_before_it_and_the_next_one_for_those_behind() {
        let mut syncs = called(2);
        assert_eq!(syncs.take_request(SyncMode::Sync), SYNC);
        syncs.call(Ticket(3));
        assert_eq!(syncs.take_request(SyncMode::Sync), None, "one at a time");
        syncs.replied(Zxid(5));
        assert_eq!(syncs.take_request(SyncMode::Sync), None, "nor before its calls are answered");
        assert_eq!(syncs.answer_with_cut(Zxid(5)), Some(Ticket(2)));
        assert_eq!(syncs.take_request(SyncMode::Sync), SYNC);
        syncs.replied(Zxid(5));
        assert_eq!(syncs.answer_with_cut(Zxid(6)), Some(Ticket(3)));
        assert_eq!(syncs.take_request(SyncMode::Sync), None, "nobody waits");
    }

    #[test]
    fn a_cut_answers_only_behind_the_reply_and_only_where_it_comes_up_to_it() {
        let mut syncs = called(1);
        assert_eq!(syncs.answer_with_cut(Zxid(9)), None, "nothing was asked");
        syncs.take_request(SyncMode::Barrier);
        assert_eq!(syncs.answer_with_cut(Zxid(9)), None, "no reply");
        syncs.replied(Zxid(5));
        assert_eq!(syncs.answer_with_cut(Zxid(4)), None);
        assert_eq!(syncs.answer_with_cut(Zxid(5)), Some(Ticket(1)));
        assert_eq!(syncs.answer_with_cut(Zxid(6)), None, "it has its answer");
    }

    #[test]
    fn each_call_is_answered_once_whatever_the_order_they_come_in() {
        let mut syncs = called(3);
        assert_eq!(syncs.answer_all(), Some(Ticket(3)));
        syncs.call(Ticket(2));
        assert_eq!((syncs.answer_all(), syncs.take_request(SyncMode::Sync)), (None, None));
    }

    #[test]
    fn a_reply_behind_the_answer_counts_for_nobody() {
        let mut syncs = called(1);
        syncs.take_request(SyncMode::Sync);
        syncs.answer_all();
        assert!(!syncs.is_asked());
        syncs.replied(Zxid(5));
        assert_eq!(syncs.answer_asked(), None);
    }

    #[test]
    fn what_came_to_nothing_is_asked_for_again() {
        let mut syncs = called(1);
        syncs.take_request(SyncMode::Sync);
        syncs.ask_again();
        assert_eq!(syncs.take_request(SyncMode::Sync), SYNC);
        assert_eq!(syncs.answer_asked(), Some(Ticket(1)));
    }

    #[test]
    fn where_there_is_no_date_a_barrier_is_sent_though_nobody_calls() {
        let mut syncs = Syncs::default();
        let epoch = Zxid(7 << 32);
        syncs.note_zxid(Some(epoch));
        assert!(syncs.is_undated());
        assert_eq!(syncs.take_request(SyncMode::Sync), Some(SyncMode::Barrier));
        syncs.replied(epoch);
        assert_eq!(syncs.take_request(SyncMode::Sync), Some(SyncMode::Barrier), "it gave none");
        syncs.replied(Zxid(epoch.0 + 1));
        syncs.note_zxid(Some(Zxid(epoch.0 + 1)));
        assert!(!syncs.is_undated());
        assert_eq!(syncs.take_request(SyncMode::Sync), None);
    }
}

//! Pings and their answers. Pings have no number, but are answered in their order, so counting tells which answer is to
//! which ping.

use crate::planted::{self, Defect};

/// The pings of one connection.
#[derive(Default)]
pub(super) struct Pings {
    unanswered: usize,
    /// After a pause: how many answers come until the answer to the ping that was sent after it, that one included.
    until_news: Option<usize>,
}

/// What the answer to a ping says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// That the server lives.
    Plain,
    /// That what comes from now on was not there during the pause.
    FirstSincePause,
}

impl Pings {
    pub(super) fn sent(&mut self) {
        self.unanswered += 1;
    }

    /// There was a pause before the last ping was sent: answers to earlier pings may have waited in it.
    pub(super) fn pause(&mut self) {
        let trusts_all = planted::is(Defect::WaitedTakenForNews);
        self.until_news = Some(if trusts_all { 1 } else { self.unanswered });
    }

    /// Whether no answer since the pause has come yet.
    pub(super) fn is_paused(&self) -> bool {
        self.until_news.is_some()
    }

    pub(super) fn answered(&mut self) -> Answer {
        self.unanswered = self.unanswered.saturating_sub(1);
        match &mut self.until_news {
            None => Answer::Plain,
            Some(left @ 2..) => {
                *left -= 1;
                Answer::Plain
            }
            Some(_) => {
                self.until_news = None;
                Answer::FirstSincePause
            }
        }
    }
}

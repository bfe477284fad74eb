//! The creation of a missing root.

use crate::wire::ServerError;

/// Where the creation of the root stands.
///
/// The creation is asked for at most once at a time, and only while the root is known to be missing. If the root was
/// there once, or was created, it is not created again: if it is deleted, it stays deleted. If there was no answer,
/// because the server was too busy or the connection was lost, the creation is asked for again once the root is found
/// missing again.
#[derive(Debug)]
pub(super) struct RootCreation {
    step: Step,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Not wanted, or not wanted any more.
    Off,
    WhenMissing,
    /// It is missing.
    Due,
    /// Asked for, not answered; the first error so far.
    Asked(ServerError),
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Created {
    /// The root is there, whoever created it.
    Done,
    /// The server was too busy. It may be asked again after a while.
    Throttled,
    Failed(ServerError),
}

impl RootCreation {
    pub(super) fn new(is_wanted: bool) -> RootCreation {
        RootCreation { step: if is_wanted { Step::WhenMissing } else { Step::Off } }
    }

    /// The root is missing, and the answer to its creation is still to come.
    pub(super) fn is_under_way(&self) -> bool {
        matches!(self.step, Step::Due | Step::Asked(_))
    }

    /// A read has found the root.
    pub(super) fn root_found(&mut self) {
        if let Step::WhenMissing = self.step {
            self.step = Step::Off;
        }
    }

    /// A read has found that there is no root.
    pub(super) fn root_missing(&mut self) {
        if let Step::WhenMissing = self.step {
            self.step = Step::Due;
        }
    }

    /// Whether it is to be asked for now; each time once.
    pub(super) fn take_due(&mut self) -> bool {
        let is_due = matches!(self.step, Step::Due);
        if is_due {
            self.step = Step::Asked(ServerError::OK);
        }
        is_due
    }

    /// The answer for the root or (not `last`) for a node above it, in their order. `Some`: what became of it.
    pub(super) fn answered(&mut self, error: ServerError, last: bool) -> Option<Created> {
        let Step::Asked(first_error) = self.step else { return None };
        let is_there = error.is_ok() || error == ServerError::NODE_EXISTS;
        let first_error = if first_error.is_ok() && !is_there { error } else { first_error };
        // A server that does not know what it was asked for closes the connection, and answers nothing else.
        let is_the_end = last || error == ServerError::UNIMPLEMENTED;
        if !is_the_end {
            self.step = Step::Asked(first_error);
            return None;
        }
        self.step = Step::Off;
        Some(match first_error {
            ServerError::THROTTLED => {
                self.step = Step::WhenMissing;
                Created::Throttled
            }
            _ if is_there => Created::Done,
            first_error => Created::Failed(first_error),
        })
    }

    /// The connection is gone. Returns true if the answer was lost with it: the root is to be looked for again.
    pub(super) fn connection_lost(&mut self) -> bool {
        let was_under_way = self.is_under_way();
        if was_under_way {
            self.step = Step::WhenMissing;
        }
        was_under_way
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> RootCreation {
        let mut creation = RootCreation::new(true);
        creation.root_missing();
        assert!(creation.take_due());
        creation
    }

    #[test]
    fn it_is_asked_for_once_and_only_where_it_is_wanted_and_missing() {
        let mut unwanted = RootCreation::new(false);
        unwanted.root_missing();
        assert!(!unwanted.take_due() && !unwanted.is_under_way());
        let mut creation = RootCreation::new(true);
        assert!(!creation.take_due() && !creation.is_under_way(), "nobody knows yet");
        creation.root_missing();
        assert!(creation.is_under_way() && creation.take_due() && !creation.take_due());
        creation.root_missing();
        assert!(creation.is_under_way() && !creation.take_due(), "the answer is on its way");
    }

    #[test]
    fn a_root_that_was_there_or_was_created_is_not_created_again() {
        let mut found = RootCreation::new(true);
        found.root_found();
        let mut created = asked();
        assert_eq!(created.answered(ServerError::OK, true), Some(Created::Done));
        for mut creation in [found, created] {
            creation.root_missing();
            assert!(!creation.take_due() && !creation.is_under_way());
        }
    }

    #[test]
    fn the_first_error_counts_and_that_something_is_there_is_none() {
        let mut creation = asked();
        assert_eq!(creation.answered(ServerError::NODE_EXISTS, false), None);
        assert_eq!(creation.answered(ServerError::NODE_EXISTS, true), Some(Created::Done));
        let mut creation = asked();
        assert_eq!(creation.answered(ServerError::NO_AUTH, false), None);
        assert_eq!(
            creation.answered(ServerError::NO_NODE, true),
            Some(Created::Failed(ServerError::NO_AUTH))
        );
        assert!(!creation.is_under_way());
        // Nodes above that may not be created are of no matter where the root is there.
        let mut creation = asked();
        assert_eq!(creation.answered(ServerError::NO_AUTH, false), None);
        assert_eq!(creation.answered(ServerError::NODE_EXISTS, true), Some(Created::Done));
        assert_eq!(creation.answered(ServerError::OK, true), None, "nothing was asked for");
    }

    #[test]
    fn a_server_that_does_not_know_containers_is_not_asked_again() {
        let mut creation = asked();
        assert_eq!(creation.answered(ServerError::OK, false), None);
        let failed = Some(Created::Failed(ServerError::UNIMPLEMENTED));
        assert_eq!(creation.answered(ServerError::UNIMPLEMENTED, false), failed);
        // It closes the connection.
        assert!(!creation.connection_lost());
        creation.root_missing();
        assert!(!creation.take_due() && !creation.is_under_way());
    }

    #[test]
    fn what_was_not_answered_is_asked_for_again_where_the_root_is_still_missing() {
        let mut throttled = asked();
        assert_eq!(throttled.answered(ServerError::THROTTLED, true), Some(Created::Throttled));
        let mut lost = asked();
        assert!(lost.connection_lost() && !lost.connection_lost());
        for mut creation in [throttled, lost] {
            assert!(!creation.is_under_way());
            creation.root_missing();
            assert!(creation.take_due());
        }
    }
}

//! The publisher by itself: what it tells, in which order.

use super::*;
use crate::stat::Stat;
use crate::tree::Node;

const CLEAN: Standing = Standing::Open { is_clean: true };
const BUSY: Standing = Standing::Open { is_clean: false };

/// A publisher, and the tree that it is told of.
struct Teller {
    publisher: Publisher,
    tree: Tree,
    now: Instant,
}

impl Teller {
    fn new() -> Teller {
        Teller { publisher: Publisher::new(None), tree: Tree::default(), now: Instant::now() }
    }

    /// What was published and announced at zxid 1, and told.
    fn in_step() -> Teller {
        let mut teller = Teller::new();
        teller.edit(1);
        assert!(teller.cut(1));
        teller.told();
        teller
    }

    fn edit(&mut self, zxid: i64) {
        let stat = Stat { czxid: Zxid(1), mzxid: Zxid(zxid), ..Stat::default() };
        assert!(self.tree.put("", Some(Node::new(Arc::from([]), stat))));
        self.publisher.count_edit();
        self.publisher.note_edits(self.now);
    }

    fn reply(&mut self, zxid: i64, is_following: bool) -> Cut {
        self.publisher.handle_reply(Zxid(zxid), is_following, self.now)
    }

    /// A reply with nothing outstanding.
    fn cut(&mut self, zxid: i64) -> bool {
        let here = self.reply(zxid, true);
        self.publisher.publish_cut(here, self.tree.clone(), &self.tree, CLEAN, self.now)
    }

    fn state(&mut self, standing: Standing) {
        self.publisher.tell_state(&self.tree, standing);
    }

    /// Goes to the next moment that the publisher waits for.
    fn wait(&mut self) -> bool {
        self.now = self.publisher.poll_timeout().expect("a time");
        self.publisher.publish_when_due(&self.tree, BUSY, self.now)
    }

    fn told(&mut self) -> Vec<String> {
        let outputs = std::iter::from_fn(|| self.publisher.poll_output());
        outputs
            .filter_map(|output| match output {
                Output::Publish(version, _) => {
                    let kind = if version.is_cut { "cut" } else { "version" };
                    Some(format!("{kind} {}", version.zxid.0))
                }
                Output::State(state) => Some(format!("{state:?}")),
                Output::Event(kind) => Some(format!("tells {kind:?}")),
                Output::Synced(Ticket(last), _) => Some(format!("synced {last}")),
                _ => None,
            })
            .collect()
    }
}

#[test]
fn a_cut_is_told_first_then_the_state_then_what_it_announces_and_each_once() {
    let mut teller = Teller::new();
    teller.state(BUSY);
    teller.edit(1);
    assert!(teller.cut(1));
    assert_eq!(
        teller.told(),
        ["Loading", "cut 1", "CatchingUp", "tells Initialized", "InStep", "tells InStep"]
    );
    assert!(teller.cut(2));
    assert_eq!(teller.told(), [""; 0], "it is the same tree");
    teller.edit(3);
    teller.state(BUSY);
    assert!(teller.cut(3));
    teller.state(CLEAN);
    assert_eq!(teller.told(), ["CatchingUp", "cut 3", "InStep"]);
}

#[test]
fn it_is_in_step_only_behind_a_reply_to_all_that_was_notified() {
    let mut teller = Teller::in_step();
    teller.publisher.note_amid();
    teller.state(CLEAN);
    assert!(teller.publisher.awaits_reply(&teller.tree));
    assert_eq!(teller.told(), ["CatchingUp"]);
    assert!(teller.cut(2));
    teller.state(CLEAN);
    assert!(!teller.publisher.awaits_reply(&teller.tree));
    assert_eq!(teller.told(), ["InStep"]);
}

#[test]
fn a_load_shows_how_far_it_has_come_and_is_finished_without_a_cut_after_a_while() {
    let mut teller = Teller::new();
    teller.edit(1);
    assert_eq!(teller.publisher.poll_timeout(), None, "nothing has a date");
    teller.reply(5, false);
    let began = teller.now;
    assert!(teller.wait() && teller.now == began + GROWTH_INTERVAL);
    assert_eq!(teller.told(), ["version 5"]);
    teller.reply(6, true);
    let loaded = teller.now;
    assert!(teller.wait() && teller.now == loaded + CUT_PATIENCE);
    assert_eq!(teller.told(), ["version 5", "CatchingUp", "tells Initialized"]);
    // From now on a version that is no cut waits for one.
    teller.edit(7);
    let edited = teller.now;
    teller.reply(7, true);
    assert!(teller.wait() && teller.now == edited + CUT_PATIENCE);
    assert_eq!(teller.told(), ["version 5"]);
    assert!(teller.cut(8));
    assert_eq!(teller.told(), ["cut 8", "InStep", "tells InStep"], "the same tree, which is a cut now");
}

#[test]
fn no_cut_is_published_that_is_older_than_what_is_shown() {
    let mut teller = Teller::in_step();
    teller.edit(5);
    assert!(teller.cut(5));
    let shown = teller.told();
    teller.edit(6);
    assert!(!teller.cut(4));
    assert_eq!((shown, teller.told()), (vec!["cut 5".to_owned()], Vec::new()));
}

#[test]
fn what_waited_in_a_pause_is_published_and_is_no_news() {
    let mut teller = Teller::in_step();
    let heard = teller.now;
    teller.publisher.handle_paused(heard);
    teller.now += Duration::from_secs(9);
    teller.edit(2);
    assert!(teller.cut(2));
    teller.state(CLEAN);
    assert_eq!(teller.told(), ["cut 2", "CatchingUp"]);
    assert_eq!(teller.publisher.progress.current_at, Some(heard));
    teller.publisher.handle_heard(&teller.tree, CLEAN);
    teller.state(CLEAN);
    assert_eq!(teller.told(), ["InStep"]);
}

#[test]
fn behind_each_connection_it_is_announced_again_what_is_so() {
    let mut teller = Teller::in_step();
    teller.publisher.handle_suspended(teller.now);
    teller.state(Standing::Suspended);
    assert!(teller.publisher.awaits_reply(&teller.tree));
    assert!(teller.cut(1));
    assert_eq!(teller.told(), ["Suspended", "InStep", "tells InStep"]);
    teller.publisher.handle_suspended(teller.now);
    teller.publisher.handle_lost();
    teller.state(Standing::Lost);
    assert!(teller.cut(1));
    assert_eq!(teller.told(), ["Lost", "CatchingUp", "tells Initialized", "InStep", "tells InStep"]);
}

#[test]
fn after_a_reset_what_is_published_stays_until_the_tree_is_built_anew() {
    let mut teller = Teller::in_step();
    teller.publisher.handle_suspended(teller.now);
    teller.state(Standing::Suspended);
    teller.publisher.handle_reset();
    assert!(teller.publisher.node("").is_none(), "it is of another history");
    teller.tree.remove("");
    teller.edit(2);
    teller.reply(2, false);
    assert_eq!(teller.publisher.poll_timeout(), None);
    assert!(teller.cut(2), "however much lower its zxid is");
    assert_eq!(teller.told(), ["Suspended", "cut 2", "InStep", "tells InStep"]);
    assert!(teller.publisher.node("").is_some());
}

#[test]
fn whoever_is_told_an_answer_finds_the_state_and_the_progress() {
    let mut teller = Teller::in_step();
    teller.publisher.count_reads(1, 3);
    teller.publisher.synced(Ticket(1), Ok(()), &teller.tree, BUSY);
    assert!(matches!(teller.publisher.poll_output(), Some(Output::Progress(Progress { reads: 3, .. }))));
    assert_eq!(teller.told(), ["CatchingUp", "synced 1"]);
}

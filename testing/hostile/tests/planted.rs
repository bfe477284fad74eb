//! Whether the entry points can fail: each finds a defect that was planted for it.

mod play;

use std::panic::catch_unwind;

use play::{ENGINE, SESSION, SYNCHRONISER, TREE, Target, WIRE};
use treecache_core::planted::{Defect, plant};

#[test]
fn every_planted_defect_is_found() {
    let defects: [(Defect, &Target, &str); 7] = [
        (Defect::ReserveWhatIsClaimed, &WIRE, "bytes of memory"),
        (Defect::TakeRepliesOutOfTurn, &SESSION, "left == right"),
        (Defect::RetryForEver, &SYNCHRONISER, "for ever"),
        (Defect::EqualNodePutAnew, &TREE, "for nothing"),
        (Defect::BelowSharedSkipped, &TREE, "not told"),
        (Defect::CopiesNotWeighed, &TREE, "not counted"),
        (Defect::NoBackoff, &ENGINE, "for ever"),
    ];
    for (defect, target, message) in defects {
        plant(Some(defect));
        let found = catch_unwind(|| play::play(target)).expect_err(defect.name());
        let constant = found.downcast_ref::<&str>().map(|found| (*found).to_owned());
        let found = constant.or_else(|| found.downcast::<String>().ok().map(|found| *found));
        let found = found.expect("a panic with a message");
        assert!(found.contains(message), "{}: {found}", defect.name());
    }
}

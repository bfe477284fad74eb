//! What shows that an ensemble has another history than the one that a node was read in.
//!
//! Two histories may share any zxid: servers can lose their data, or be put back to a backup, and go on. Whatever
//! differs is read in any case; evidence only tells why it differs.

use crate::stat::{Stat, Zxid};

/// Why no single history can hold both what is `known` of a node and what was `found` of it later, at a server that was
/// at `zxid`. `lost_child`: a child is missing, though it is in the list that the known Stat belongs to, and nothing
/// told of that before the node was read.
///
/// No change of a node looks like this, not even one that was not told. A server that lags does not either: its zxid is
/// below that of what it has not seen. An ACL does not either. (In `/zookeeper` each server has times of its own.)
pub(super) fn of_another_history(
    known: &Stat,
    found: &Stat,
    zxid: Zxid,
    lost_child: impl FnOnce() -> bool,
) -> Option<String> {
    // The server's root has been there before all transactions.
    let is_dated = |zxid: Zxid| zxid > Zxid(0);
    let is_same_creation = is_dated(known.czxid) && found.czxid == known.czxid;
    let is_same_change = is_same_creation && is_dated(known.mzxid) && found.mzxid == known.mzxid;
    if is_same_creation && found.ctime != known.ctime {
        Some(format!("{} created it at {} ms, and at {} ms", known.czxid, known.ctime, found.ctime))
    } else if is_same_change && !found.has_same_data(known) {
        Some(format!("{} set its data at {} ms, and at {} ms", known.mzxid, known.mtime, found.mtime))
    } else if found.czxid < known.czxid && zxid >= known.czxid {
        Some(format!("at {zxid} the node that {} created is that of {}", known.czxid, found.czxid))
    } else if found.mzxid < known.mzxid && zxid >= known.mzxid {
        Some(format!("at {zxid} the data that {} set is that of {}", known.mzxid, found.mzxid))
    } else if is_dated(known.pzxid) && found.has_same_children(known) && lost_child() {
        Some(format!("a child is missing from the list of {}", known.pzxid))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: Stat = Stat {
        czxid: Zxid(10),
        mzxid: Zxid(20),
        ctime: 1000,
        mtime: 2000,
        version: 3,
        cversion: 4,
        aversion: 0,
        ephemeral_owner: 0,
        data_length: 5,
        num_children: 2,
        pzxid: Zxid(30),
    };

    fn shows(found: Stat, zxid: i64, lost_child: bool) -> bool {
        of_another_history(&KNOWN, &found, Zxid(zxid), || lost_child).is_some()
    }

    #[test]
    fn one_zxid_with_two_times_or_forms_is_evidence() {
        assert!(!shows(KNOWN, 100, false));
        assert!(shows(Stat { ctime: 1001, ..KNOWN }, 100, false));
        assert!(shows(Stat { mtime: 2001, ..KNOWN }, 100, false));
        assert!(shows(Stat { version: 4, ..KNOWN }, 100, false));
        assert!(shows(Stat { data_length: 6, ..KNOWN }, 100, false));
        // Another node, other data, another ACL, other children: changes like others.
        assert!(!shows(Stat { czxid: Zxid(40), mzxid: Zxid(40), ctime: 1, ..KNOWN }, 100, false));
        assert!(!shows(Stat { mzxid: Zxid(40), mtime: 1, version: 0, ..KNOWN }, 100, false));
        assert!(!shows(Stat { aversion: 7, pzxid: Zxid(40), cversion: 5, ..KNOWN }, 100, false));
    }

    #[test]
    fn what_is_older_is_evidence_where_the_server_claims_to_have_come_further() {
        let older_data = Stat { mzxid: Zxid(15), mtime: 1500, version: 2, ..KNOWN };
        assert!(shows(older_data, 20, false));
        assert!(!shows(older_data, 19, false), "it lags");
        let older_node = Stat { czxid: Zxid(5), ..KNOWN };
        assert!(shows(older_node, 10, false));
        assert!(!shows(Stat { mzxid: Zxid(6), ..older_node }, 9, false), "it lags");
    }

    #[test]
    fn a_missing_child_is_evidence_where_its_parent_has_not_changed_since() {
        assert!(shows(KNOWN, 100, true));
        for changed in [
            Stat { pzxid: Zxid(31), ..KNOWN },
            Stat { cversion: 5, ..KNOWN },
            Stat { num_children: 1, ..KNOWN },
        ] {
            assert!(!shows(changed, 100, true));
        }
    }

    #[test]
    fn what_has_been_there_before_all_transactions_is_no_evidence() {
        let root = Stat { czxid: Zxid(0), mzxid: Zxid(0), pzxid: Zxid(0), ..KNOWN };
        let other = Stat { ctime: 1, mtime: 1, version: 9, ..root };
        assert_eq!(of_another_history(&root, &other, Zxid(100), || true), None);
    }
}

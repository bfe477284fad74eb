//! A server's transaction log: all that it was told to do, in order, with zxids and times. It is the one account of
//! an ensemble's history that no client has a part in.
//!
//! A file is a header (`ZKLG`, version, database id) and records, each with its checksum and length before it and
//! `B` behind it; what is preallocated and not used yet is zero. A server that was killed leaves half a record.

use std::fs;
use std::path::Path;

use crate::acl::Acl;
use crate::jute::Decoder;

const CREATE: i32 = 1;
const DELETE: i32 = 2;
const SET_DATA: i32 = 5;
const SET_ACL: i32 = 7;
const CHECK: i32 = 13;
const MULTI: i32 = 14;
const CREATE2: i32 = 15;
const RECONFIG: i32 = 16;
const CREATE_CONTAINER: i32 = 19;
const DELETE_CONTAINER: i32 = 20;
const CREATE_TTL: i32 = 21;
const ERROR: i32 = -1;
const CREATE_SESSION: i32 = -10;
const CLOSE_SESSION: i32 = -11;

/// What a container's Stat has for its owner.
const CONTAINER: i64 = i64::MIN;
/// The same, or-ed with the time to live.
const TTL: i64 = 0xff << 56;

/// One record: a transaction that the server was told of. It need not have been committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    pub zxid: i64,
    /// When the leader made it, in ms since the Unix epoch.
    pub time: i64,
    pub session: i64,
    /// Several only of a `multi`; none of what changes no node.
    pub changes: Vec<LoggedChange>,
    /// What the leader makes of the whole tree behind it: the sum of a CRC-32 of every node (ZooKeeper's
    /// `DigestCalculator`, version 2). Not every record has one.
    pub digest: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoggedChange {
    /// `parent_cversion`: how many children the parent has been given so far, this one included.
    Create {
        path: String,
        data: Vec<u8>,
        acl: Vec<Acl>,
        owner: i64,
        parent_cversion: i32,
    },
    Delete {
        path: String,
    },
    /// `version`: the one that this makes it.
    SetData {
        path: String,
        data: Vec<u8>,
        version: i32,
    },
    SetAcl {
        path: String,
        acl: Vec<Acl>,
        version: i32,
    },
    /// All ephemeral nodes of the session go; `paths` are those that the leader knew of.
    CloseSession {
        paths: Vec<String>,
    },
}

/// What one server has on disk.
#[derive(Debug, Clone, Default)]
pub struct TransactionLog {
    /// In the order of their zxids.
    pub records: Vec<Logged>,
}

impl TransactionLog {
    /// Reads the logs in the folder `version-2` of a server's data, which may be running: what it has not finished
    /// writing is left out. Empty when there is no such folder.
    pub fn read(folder: &Path) -> TransactionLog {
        let mut log = TransactionLog::default();
        let Ok(entries) = fs::read_dir(folder) else { return log };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.expect("a folder's entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if let Some(zxid) = name.strip_prefix("log.").and_then(|zxid| i64::from_str_radix(zxid, 16).ok())
            {
                files.push((zxid, path));
            }
        }
        files.sort();
        for (_, path) in files {
            let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            read_records(&bytes, &mut log.records)
                .unwrap_or_else(|what| panic!("{}: no {what} that is understood", path.display()));
        }
        log.records.sort_by_key(|record| record.zxid);
        log
    }
}

/// Reads records up to the first that is not whole.
fn read_records(bytes: &[u8], to: &mut Vec<Logged>) -> Result<(), String> {
    // Shorter: the server has only just made the file.
    let Some((header, mut rest)) = bytes.split_at_checked(16) else { return Ok(()) };
    if header[..4] != *b"ZKLG" {
        return if header[..4] == [0; 4] { Ok(()) } else { Err("magic".into()) };
    }
    while let Some((record, behind)) = next_record(rest) {
        to.push(read_record(record)?);
        rest = behind;
    }
    Ok(())
}

fn next_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut decoder = Decoder::new(bytes);
    let (checksum, record) = (decoder.long()?, decoder.buffer()?);
    let (end, behind) = decoder.rest.split_first()?;
    let is_whole = !record.is_empty() && *end == b'B' && checksum == i64::from(adler32(record));
    is_whole.then_some((record, behind))
}

fn adler32(bytes: &[u8]) -> u32 {
    let (a, b) = bytes.iter().fold((1, 0), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    b << 16 | a
}

fn read_record(bytes: &[u8]) -> Result<Logged, String> {
    let mut decoder = Decoder::new(bytes);
    let header =
        (|| Some((decoder.long()?, decoder.int()?, decoder.long()?, decoder.long()?, decoder.int()?)))();
    let (session, _, zxid, time, kind) = header.ok_or("header of a transaction")?;
    let mut changes = Vec::new();
    read_change(kind, &mut decoder, session, &mut changes)
        .ok_or_else(|| format!("transaction {zxid:#x} of type {kind}"))?;
    let digest = (|| Some((decoder.int()?, decoder.long()?)))();
    let digest = digest.filter(|(version, _)| *version == 2).map(|(_, digest)| digest);
    Ok(Logged { zxid, time, session, changes, digest })
}

fn read_change(kind: i32, from: &mut Decoder, session: i64, to: &mut Vec<LoggedChange>) -> Option<()> {
    let change = match kind {
        CREATE | CREATE2 | CREATE_CONTAINER | CREATE_TTL => {
            let (path, data, acl) = (string(from)?, from.buffer()?.to_vec(), read_acl(from)?);
            let (owner, parent_cversion) = match kind {
                CREATE_CONTAINER => (CONTAINER, from.int()?),
                CREATE_TTL => {
                    let parent_cversion = from.int()?;
                    (TTL | from.long()?, parent_cversion)
                }
                _ => (if from.bool()? { session } else { 0 }, from.int()?),
            };
            LoggedChange::Create { path, data, acl, owner, parent_cversion }
        }
        DELETE | DELETE_CONTAINER => LoggedChange::Delete { path: string(from)? },
        SET_DATA | RECONFIG => {
            LoggedChange::SetData { path: string(from)?, data: from.buffer()?.to_vec(), version: from.int()? }
        }
        SET_ACL => LoggedChange::SetAcl { path: string(from)?, acl: read_acl(from)?, version: from.int()? },
        CLOSE_SESSION => {
            // Before 3.6 there is no list.
            let count = from.int().unwrap_or(0);
            LoggedChange::CloseSession { paths: (0..count).map(|_| string(from)).collect::<Option<_>>()? }
        }
        MULTI => {
            let mut failed = false;
            for _ in 0..from.int()? {
                let (kind, record) = (from.int()?, from.buffer()?);
                failed |= kind == ERROR;
                read_change(kind, &mut Decoder::new(record), session, to)?;
            }
            // What comes before the operation that failed is written down all the same.
            if failed {
                to.clear();
            }
            return Some(());
        }
        CHECK => {
            string(from)?;
            return from.int().map(drop);
        }
        // An error is a write that failed.
        ERROR | CREATE_SESSION => return from.int().map(drop),
        _ => return None,
    };
    to.push(change);
    Some(())
}

fn string(from: &mut Decoder) -> Option<String> {
    String::from_utf8(from.buffer()?.to_vec()).ok()
}

fn read_acl(from: &mut Decoder) -> Option<Vec<Acl>> {
    (0..from.int()?)
        .map(|_| Some(Acl { perms: from.int()?, scheme: string(from)?, id: string(from)? }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Op, Server, Writer};
    use std::time::Duration;

    #[test]
    fn a_log_tells_what_was_done_even_half_a_record_short() {
        let mut server = Server::start();
        let mut writer = Writer::connect(server.addr(), Duration::from_secs(10)).expect("a session");
        let session = writer.session_id();
        let created = writer.create("/a", Some(b"1"), 0).expect("a node");
        let ephemeral = writer.create("/a/e", None, 1).expect("a node");
        let multi = writer
            .multi(&[
                Op::Set { path: "/a", data: Some(b"2") },
                Op::Check { path: "/a", version: 1 },
                Op::Create { path: "/c", data: None, flags: 4 },
            ])
            .expect("a transaction");
        let failing = [Op::Delete { path: "/c" }, Op::Delete { path: "/c" }];
        assert_eq!(writer.multi(&failing), Err(-101));
        let private = writer.set_acl("/a", &Acl::read_only_by("bob", "pw")).expect("an ACL");
        let deleted = writer.delete("/c").expect("a deletion");
        drop(writer);
        server.kill();

        let log = TransactionLog::read(&server.history());
        let create = |path: &str, data: &[u8], owner, parent_cversion| LoggedChange::Create {
            path: path.into(),
            data: data.into(),
            acl: Acl::open(),
            owner,
            parent_cversion,
        };
        let set = LoggedChange::SetData { path: "/a".into(), data: b"2".into(), version: 1 };
        let told: Vec<_> = log.records.iter().map(|record| (record.zxid, &record.changes[..])).collect();
        assert_eq!(
            told,
            [
                (1, &[][..]), // the session
                (created, &[create("/a", b"1", 0, 1)]),
                (ephemeral, &[create("/a/e", b"", session, 1)]),
                (multi, &[set, create("/c", b"", CONTAINER, 2)]),
                (multi + 1, &[]),
                (
                    private,
                    &[LoggedChange::SetAcl {
                        path: "/a".into(),
                        acl: Acl::read_only_by("bob", "pw"),
                        version: 1
                    }]
                ),
                (deleted, &[LoggedChange::Delete { path: "/c".into() }]),
                (deleted + 1, &[LoggedChange::CloseSession { paths: vec!["/a/e".into()] }]),
            ]
        );
        assert!(log.records.iter().all(|record| record.session == session && record.time > 1 << 40));

        let file = server.history().join("log.1");
        let whole = fs::read(&file).expect("the log");
        let used = whole.iter().rposition(|byte| *byte != 0).expect("a record") + 1;
        fs::write(&file, &whole[..used - 1]).expect("half a record");
        assert_eq!(TransactionLog::read(&server.history()).records, log.records[..7]);
    }
}

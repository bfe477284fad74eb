//! What is in the tree: the children of a node by pages, a node, and paths that have a text in them. Each answer is of one version,
//! and names its zxid; numbers that a browser would round are text.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use treecache::{Error, NodeRef, Snapshot, Stat};

use super::Query;
use crate::http::{Answer, NOT_FOUND, OK, Seats, UNAVAILABLE};
use crate::source::Source;
use crate::text;

/// So many children are in an answer.
const MOST_CHILDREN: usize = 1000;
/// So many paths are found.
const MOST_FOUND: usize = 200;
/// A search takes no longer.
const LONGEST_SEARCH: Duration = Duration::from_secs(1);
/// How often a search looks at the clock, in nodes.
const LOOK_EVERY: usize = 1024;
/// So many search at a time.
const MOST_SEARCHES: usize = 2;
/// So much of a node's data is shown, if it is text.
const MOST_TEXT: usize = 64 * 1024;
/// So much of it, if it is none.
const MOST_BYTES: usize = 4 * 1024;

pub struct Look {
    source: Arc<Source>,
    searches: Seats,
}

type Answered = Result<Answer, String>;

impl Look {
    pub fn new(source: Arc<Source>) -> Look {
        Look { source, searches: Seats::new(MOST_SEARCHES) }
    }

    /// `path`; the children from the name `from` on, and at most `most` of them.
    pub fn children(&self, query: &Query<'_>) -> Answered {
        query.only(&["path", "from", "most"])?;
        let (path, most) = (query.need("path")?, query.number("most", MOST_CHILDREN)?);
        self.of_a_version(path, |snapshot| children(snapshot, path, query.get("from"), most))
    }

    /// `path`.
    pub fn node(&self, query: &Query<'_>) -> Answered {
        query.only(&["path"])?;
        let path = query.need("path")?;
        self.of_a_version(path, |snapshot| node(snapshot, path))
    }

    /// `text` in any path; of ASCII letters it does not matter whether they are capitals.
    pub fn search(&self, query: &Query<'_>) -> Answered {
        query.only(&["text"])?;
        let text = query.need("text")?;
        if text.is_empty() {
            return Err("\"text\" is empty".to_owned());
        }
        let Some(_seat) = self.searches.take() else {
            return Ok(Answer::error(UNAVAILABLE, "others are searching: try again"));
        };
        self.of_a_version("", |snapshot| {
            let root = snapshot.root().unwrap_or("/").to_owned();
            search(snapshot, &root, text, LONGEST_SEARCH)
        })
    }

    fn of_a_version(&self, path: &str, look: impl FnOnce(&Snapshot) -> Result<Value, Error>) -> Answered {
        let found = self.source.cache.snapshot().and_then(|snapshot| {
            let mut value = look(&snapshot)?;
            value["zxid"] = hexadecimal(snapshot.zxid().0);
            value["is_cut"] = snapshot.is_cut().into();
            Ok(value)
        });
        Ok(match found {
            Ok(value) => Answer::json(OK, &value),
            Err(Error::NoNode(_) | Error::NotReady(_)) => Answer::json(
                NOT_FOUND,
                &json!({ "error": format!("there is no node {}", text::shown(path)), "is_gone": true }),
            ),
            Err(error) => Answer::bad_request(&text::shown(&error.to_string())),
        })
    }
}

/// A number as ZooKeeper's logs have it.
pub fn hexadecimal(number: i64) -> Value {
    format!("{number:#x}").into()
}

/// A name or path, and how it is shown if that is not as it is.
pub fn named(key: &str, name: &str) -> Value {
    let mut value = json!({ key: name });
    let pieces = text::pieces(name, false);
    if pieces.len() > 1 {
        value["shown"] = pieces.into();
    }
    value
}

fn children(snapshot: &Snapshot, path: &str, from: Option<&str>, most: usize) -> Result<Value, Error> {
    let list = snapshot.get_children(path)?;
    let mut all = list.names().zip(list.nodes());
    let mut before = 0;
    let mut found: Vec<Value> = Vec::new();
    let mut next = None;
    for (name, node) in &mut all {
        if from.is_some_and(|from| name < from) {
            before += 1;
        } else if found.len() == most {
            next = Some(name);
            break;
        } else {
            let mut child = named("name", name);
            match node {
                Some(node) => {
                    let stat = node.stat();
                    child["children"] = stat.num_children.into();
                    child["bytes"] = stat.data_length.into();
                    child["version"] = stat.version.into();
                    child["is_ephemeral"] = (stat.ephemeral_owner != 0).into();
                }
                None => child["is_unreadable"] = true.into(),
            }
            found.push(child);
        }
    }
    Ok(json!({ "path": path, "total": list.len(), "before": before, "children": found, "next": next }))
}

fn node(snapshot: &Snapshot, path: &str) -> Result<Value, Error> {
    let mut value = named("path", path);
    match snapshot.get_data(path) {
        Ok(node) => {
            let node = node.lend();
            value["stat"] = stat(node.stat());
            value["data"] = data(&node);
        }
        Err(Error::NoPermission(_)) => value["is_unreadable"] = true.into(),
        Err(error) => return Err(error),
    }
    Ok(value)
}

/// With ZooKeeper's names.
fn stat(stat: &Stat) -> Value {
    json!({
        "czxid": hexadecimal(stat.czxid.0),
        "mzxid": hexadecimal(stat.mzxid.0),
        "pzxid": hexadecimal(stat.pzxid.0),
        "ctime": stat.ctime,
        "mtime": stat.mtime,
        "version": stat.version,
        "cversion": stat.cversion,
        "aversion": stat.aversion,
        "ephemeralOwner": hexadecimal(stat.ephemeral_owner),
        "dataLength": stat.data_length,
        "numChildren": stat.num_children,
    })
}

/// Text in pieces, or bytes as a dump: the beginning of it, if it is long.
fn data(node: &NodeRef<'_>) -> Value {
    if !node.is_data_kept() {
        return json!({ "kind": "not kept" });
    }
    let data = node.data();
    let is_text = |data: &str| !data.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'));
    let (kind, whole, pieces) = match std::str::from_utf8(data) {
        Ok(text) if is_text(text) => {
            let is_whole_up_to = |end: &usize| text.is_char_boundary(*end);
            let end = (0..=text.len().min(MOST_TEXT)).rev().find(is_whole_up_to).unwrap_or(0);
            ("text", end == text.len(), text::pieces(&text[..end], true))
        }
        _ => {
            let end = data.len().min(MOST_BYTES);
            ("bytes", end == data.len(), vec![text::dump(&data[..end])])
        }
    };
    json!({ "kind": kind, "length": data.len(), "is_whole": whole, "pieces": pieces })
}

fn search(snapshot: &Snapshot, root: &str, text: &str, longest: Duration) -> Result<Value, Error> {
    let mut search = Search::new(text, Instant::now() + longest);
    let mut cursor = snapshot.cursor(root)?;
    while let Some((path, node)) = cursor.next() {
        // Counted as `len` counts them.
        if !search.goes_on(path, node.is_some()) {
            break;
        }
    }
    let Search { found, looked_at, ended_by, .. } = search;
    Ok(json!({ "found": found, "looked_at": looked_at, "of": snapshot.len(), "ended_by": ended_by }))
}

/// A search, which is shown one path after the other.
struct Search {
    wanted: String,
    until: Instant,
    lowered: String,
    found: Vec<Value>,
    looked_at: usize,
    ended_by: Option<&'static str>,
}

impl Search {
    fn new(text: &str, until: Instant) -> Search {
        let wanted = text.to_ascii_lowercase();
        Search { wanted, until, lowered: String::new(), found: Vec::new(), looked_at: 0, ended_by: None }
    }

    /// Looks at a path. `false`: it has enough, or its time is over.
    fn goes_on(&mut self, path: &str, is_counted: bool) -> bool {
        self.lowered.clear();
        self.lowered.push_str(path);
        self.lowered.make_ascii_lowercase();
        if self.lowered.contains(&self.wanted) {
            if self.found.len() == MOST_FOUND {
                self.ended_by = Some("results");
                return false;
            }
            self.found.push(named("path", path));
        }
        self.looked_at += usize::from(is_counted);
        if self.looked_at.is_multiple_of(LOOK_EVERY) && Instant::now() >= self.until {
            self.ended_by = Some("time");
        }
        self.ended_by.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data_of(bytes: &[u8]) -> Value {
        data(&NodeRef::new(bytes, Stat::default()))
    }

    #[test]
    fn data_is_text_or_a_dump_and_long_data_is_shown_in_part() {
        assert_eq!(data_of(b""), json!({ "kind": "text", "length": 0, "is_whole": true, "pieces": [""] }));
        let text = data_of("a\n<b>\u{202e}ü".as_bytes());
        assert_eq!(text["pieces"], json!(["a\n<b>", "\\u{202e}", "ü"]));
        for bytes in [&b"\xff"[..], b"a\0b", b"\x1b[2J"] {
            assert_eq!(data_of(bytes)["kind"], "bytes");
        }
        // No character is cut in two.
        let long = data_of("€".repeat(MOST_TEXT).as_bytes());
        assert_eq!((&long["is_whole"], &long["length"]), (&json!(false), &json!(3 * MOST_TEXT)));
        assert!(
            long["pieces"][0].as_str().is_some_and(|text| text.len() <= MOST_TEXT && text.ends_with('€'))
        );
        let long = data_of(&vec![0xff; 1 << 20]);
        let lines = long["pieces"][0].as_str().map_or(0, |text| text.lines().count());
        assert_eq!((&long["is_whole"], lines), (&json!(false), MOST_BYTES / 16));
        let stat_alone = treecache::NodeRef::without_data(Stat::default());
        assert_eq!(data(&stat_alone), json!({ "kind": "not kept" }));
    }

    #[test]
    fn names_that_would_act_are_shown_in_another_way_and_numbers_are_not_rounded() {
        assert_eq!(named("name", "<img onerror=x>"), json!({ "name": "<img onerror=x>" }));
        assert_eq!(
            named("name", "a\u{202e}b"),
            json!({ "name": "a\u{202e}b", "shown": ["a", "\\u{202e}", "b"] })
        );
        assert_eq!(hexadecimal(i64::MAX), json!("0x7fffffffffffffff"));
        assert_eq!(hexadecimal(-1), json!("0xffffffffffffffff"));
    }

    #[test]
    fn a_search_ends_with_its_time_or_with_many_results() {
        let now = Instant::now();
        let mut search = Search::new("WEB", now);
        let looked_at = (1..).find(|at| !search.goes_on(&format!("/db/{at}"), true));
        assert_eq!((looked_at, search.looked_at), (Some(LOOK_EVERY), LOOK_EVERY));
        assert_eq!((search.ended_by, search.found.len()), (Some("time"), 0));

        let mut search = Search::new("WEB", now + Duration::from_secs(3600));
        let looked_at = (1..).find(|at| !search.goes_on(&format!("/Web/{at}"), true));
        assert_eq!((looked_at, search.looked_at), (Some(MOST_FOUND + 1), MOST_FOUND));
        assert_eq!((search.ended_by, search.found.len()), (Some("results"), MOST_FOUND));
        assert!(!search.found.contains(&json!({ "path": "/Web/201" })));
    }
}

//! Validated ZooKeeper paths.
//!
//! A [`NodePath`] is absolute, has no empty, `.` or `..` component and no character that ZooKeeper refuses, so whoever
//! holds one need not check again. If a client has a chroot, its paths are relative to that: `wire::Request` puts the
//! chroot in front of them, and `sync::group` strips it from what a server names in a notification. The few paths that
//! begin at the server's root say so.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use crate::escape::Escaped;

/// Why a string is not a path, in ZooKeeper's own terms (`PathUtils.validatePath`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid path {:?}: {reason}", Escaped(path))]
pub struct InvalidPath {
    /// The string, as it was given.
    pub path: String,
    /// What is wrong with it, in words that go behind a colon.
    pub reason: &'static str,
}

/// An absolute path of a node; cheap to clone. Its order is that of its bytes.
///
/// It is displayed for people, with control characters escaped and cut off where it is very long; programs take
/// [`as_str`](Self::as_str).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodePath(Arc<str>);

impl NodePath {
    /// `/`: the chroot if the client has one, else the server's root.
    pub fn root() -> NodePath {
        NodePath(Arc::from("/"))
    }

    /// Checks `path` by ZooKeeper's rules.
    pub fn new(path: &str) -> Result<NodePath, InvalidPath> {
        check(path).map_err(|reason| InvalidPath { path: path.to_owned(), reason })?;
        Ok(NodePath(Arc::from(path)))
    }

    /// A path that a server named. It must be well formed, but a client need not be able to create it today.
    pub fn of_server(path: &str) -> Option<NodePath> {
        let names = path.strip_prefix('/')?;
        (names.is_empty() || names.split('/').all(is_name)).then(|| NodePath(Arc::from(path)))
    }

    /// The path as it is, unescaped.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is `/`.
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// The path of the parent; `None` for `/`.
    pub fn parent(&self) -> Option<&str> {
        if self.is_root() {
            return None;
        }
        match self.0.rfind('/') {
            Some(0) => Some("/"),
            Some(at) => Some(&self.0[..at]),
            None => None,
        }
    }

    /// How many names are in it.
    pub fn depth(&self) -> usize {
        if self.is_root() { 0 } else { self.0.bytes().filter(|byte| *byte == b'/').count() }
    }

    /// How many bytes the path of a child has whose name has so many.
    pub fn child_len(&self, name: usize) -> usize {
        self.0.len() + usize::from(!self.is_root()) + name
    }

    /// `path` below this node without the leading slash ("" for the node itself); `None` when it is outside.
    /// `/foo` does not contain `/foobar`.
    pub fn relative<'p>(&self, path: &'p str) -> Option<&'p str> {
        let relative = self.relative_bytes(path.as_bytes())?;
        Some(&path[path.len() - relative.len()..])
    }

    /// As [`relative`](Self::relative), of what may not be UTF-8.
    pub fn relative_bytes<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        if self.is_root() {
            return path.strip_prefix(b"/");
        }
        match path.strip_prefix(self.0.as_bytes())? {
            b"" => Some(b""),
            rest => rest.strip_prefix(b"/"),
        }
    }

    /// The absolute path of what [`relative`](Self::relative) made relative.
    pub fn absolute(&self, relative: &str) -> NodePath {
        self.absolute_in(relative, &mut String::new())
    }

    /// As [`absolute`](Self::absolute), made in a buffer, for those who have many.
    pub fn absolute_in(&self, relative: &str, buffer: &mut String) -> NodePath {
        if relative.is_empty() {
            return self.clone();
        }
        self.write_absolute(relative, buffer);
        NodePath(Arc::from(buffer.as_str()))
    }

    /// Writes what [`absolute`](Self::absolute) gives over what is in `buffer`, for those who have many.
    pub fn write_absolute(&self, relative: &str, buffer: &mut String) {
        buffer.clear();
        buffer.push_str(&self.0);
        if !relative.is_empty() {
            if !self.is_root() {
                buffer.push('/');
            }
            buffer.push_str(relative);
        }
    }
}

impl Borrow<str> for NodePath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Escaped(&self.0), f)
    }
}

impl fmt::Debug for NodePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Escaped(&self.0), f)
    }
}

/// Whether a server can have a node of this name. A name from a reply or notification is checked with this before it
/// becomes part of a path.
pub fn is_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.bytes().any(|b| b == b'/' || b == 0)
}

/// ZooKeeper's rules, with its reasons.
fn check(path: &str) -> Result<(), &'static str> {
    let Some(rest) = path.strip_prefix('/') else {
        return Err(if path.is_empty() { "it is empty" } else { "it must start with '/'" });
    };
    if rest.is_empty() {
        return Ok(());
    }
    if rest.ends_with('/') {
        return Err("it must not end with '/'");
    }
    for name in rest.split('/') {
        match name {
            "" => return Err("it has an empty node name"),
            "." | ".." => return Err("relative node names are not allowed"),
            _ => {}
        }
    }
    if rest.chars().any(is_refused) {
        return Err("it has a character that ZooKeeper does not allow");
    }
    Ok(())
}

fn is_refused(c: char) -> bool {
    matches!(c, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..='\u{10ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_path_is_refused_with_the_reason() {
        for path in ["", "a", "a/b", "/a/", "//", "/a//b", "/.", "/a/../b", "/a\0b", "/a\u{7f}", "/\u{1f600}"]
        {
            let error = NodePath::new(path).unwrap_err();
            assert_eq!(error.path, path);
            assert!(error.to_string().contains(error.reason));
        }
        for path in ["/", "/a", "/a/b.c/...", "/größe/日本", "/a b"] {
            assert_eq!(NodePath::new(path).unwrap().as_str(), path);
        }
    }

    #[test]
    fn containment_is_by_component() {
        let foo = NodePath::new("/foo").unwrap();
        assert_eq!(foo.relative("/foo"), Some(""));
        assert_eq!(foo.relative("/foo/a/b"), Some("a/b"));
        assert_eq!(foo.relative("/foobar"), None);
        assert_eq!(foo.relative("/"), None);
        assert_eq!(NodePath::root().relative("/"), Some(""));
        assert_eq!(NodePath::root().relative("/a/b"), Some("a/b"));
        for (base, relative) in [("/", ""), ("/", "a"), ("/foo", ""), ("/foo", "a/b")] {
            let base = NodePath::new(base).unwrap();
            let absolute = base.absolute(relative);
            assert_eq!(base.relative(absolute.as_str()), Some(relative));
            let mut written = "before".to_owned();
            base.write_absolute(relative, &mut written);
            assert_eq!(written, absolute.as_str());
        }
    }

    #[test]
    fn a_path_has_a_parent_but_the_root() {
        let parent = |path: &str| NodePath::new(path).unwrap().parent().map(str::to_owned);
        assert_eq!(parent("/a/b").as_deref(), Some("/a"));
        assert_eq!(parent("/a").as_deref(), Some("/"));
        assert_eq!(parent("/"), None);
    }

    #[test]
    fn a_server_names_no_path_that_leads_elsewhere() {
        for path in ["", "a", "/a/", "//a", "/a/./b", "/..", "/a/../../b", "/a\0b"] {
            assert_eq!(NodePath::of_server(path), None, "{path:?}");
        }
        for path in ["/", "/a", "/.a/..b/...", "/a\u{1}b"] {
            assert_eq!(NodePath::of_server(path).unwrap().as_str(), path);
        }
    }
}

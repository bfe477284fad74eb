//! Reading a version of the tree by absolute path.

use std::ops::ControlFlow;
use std::sync::{Arc, LazyLock};

use crate::error::Error;
use crate::events::{Changes, Event};
use crate::path::NodePath;
use crate::selection::{Kept, Selection};
use crate::stat::Zxid;
use crate::sync::{Data, Options};
use crate::tree::{Children, Differences, Entry, Node, NodeRef, Preorder, Share, Version, Walk};

/// Which part of the server's tree a cache has.
#[derive(Clone)]
pub(crate) struct Scope {
    pub(crate) root: NodePath,
    pub(crate) selection: Selection,
    pub(crate) making: Arc<Making>,
}

/// How a cache makes its tree of the server's: what nobody asks of who only reads it.
#[derive(Clone)]
pub(crate) struct Making {
    pub(crate) chroot: NodePath,
    pub(crate) data: Data,
    /// No path in the tree is longer.
    pub(crate) limit_path: usize,
    /// For whom servers take the client; `None`: nobody can say. A version says whether this user has read it.
    pub(crate) user: Option<String>,
}

impl Scope {
    /// Of a tree of which nobody knows yet where it is: nothing is left out, and nothing is there.
    #[cold]
    pub(crate) fn unknown() -> &'static Scope {
        static UNKNOWN: LazyLock<Scope> = LazyLock::new(|| {
            let making =
                Making { chroot: NodePath::root(), data: Data::All, limit_path: usize::MAX, user: None };
            Scope { root: NodePath::root(), selection: Selection::default(), making: Arc::new(making) }
        });
        &UNKNOWN
    }

    fn is_known(&self) -> bool {
        !Arc::ptr_eq(&self.making, &Scope::unknown().making)
    }

    fn place(&self) -> String {
        match self.making.chroot.is_root() {
            true => self.root.to_string(),
            false => format!("{} below the chroot {}", self.root, self.making.chroot),
        }
    }

    /// Whether a tree of the `other` scope is one of this scope, too.
    fn check_same(&self, other: &Scope) -> Result<(), Error> {
        let differs = |what, ours: String, theirs: String| {
            let message = format!("the snapshot {what} {theirs}, and the cache {what} {ours}");
            Err(Error::InvalidArgument(message))
        };
        let (ours, theirs) = (&self.making, &other.making);
        if (&self.root, &ours.chroot) != (&other.root, &theirs.chroot) {
            return differs("is of", self.place(), other.place());
        }
        if self.selection != other.selection {
            return differs("goes by", self.selection.to_string(), other.selection.to_string());
        }
        if ours.data != theirs.data {
            return differs("is made with", ours.data.to_string(), theirs.data.to_string());
        }
        Ok(())
    }
}

/// The tree as it was at one moment, never changed again. Cheap to take and to clone; independent of the cache.
#[derive(Clone)]
pub struct Snapshot {
    version: Arc<Version>,
    scope: Scope,
}

impl Snapshot {
    pub(crate) fn new(version: Arc<Version>, scope: Scope) -> Snapshot {
        Snapshot { version, scope }
    }

    /// What a cache of this `scope`, with these `options`, can begin with; `None`: the snapshot is from before the first
    /// version, and has nothing.
    pub(crate) fn for_cache(&self, scope: &Scope, options: &Options) -> Result<Option<Arc<Version>>, Error> {
        scope.check_same(&self.scope)?;
        let (nodes, bytes) = (self.version.tree.len(), self.version.tree.bytes());
        let beyond =
            |what: String| Err(Error::Limit(format!("the snapshot of {} has {what}", self.scope.root)));
        let (most_nodes, most_bytes, longest) =
            (options.limit_nodes, options.limit_bytes, options.limit_path);
        if most_nodes > 0 && nodes > most_nodes {
            return beyond(format!("{nodes} nodes; limit.nodes={most_nodes}"));
        }
        if most_bytes > 0 && bytes > most_bytes {
            return beyond(format!("{bytes} bytes of data; limit.bytes={most_bytes}"));
        }
        if self.scope.making.limit_path > longest {
            let mut walk = self.version.tree.preorder();
            while let Some((relative, _)) = walk.next() {
                let path = self.scope.root.absolute(relative).as_str().len();
                if path > longest {
                    return beyond(format!("a path of {path} bytes; limit.path.bytes={longest}"));
                }
            }
        }
        let (theirs, ours) = (&self.scope.making.user, &scope.making.user);
        let known = match self.version.is_own && (ours.is_none() || theirs != ours) {
            false => self.version.clone(),
            true => Arc::new(Version { is_own: false, ..(*self.version).clone() }),
        };
        Ok((known.zxid > Zxid(0)).then_some(known))
    }

    /// The root of the cache, whether there is such a node or not. `None`: the cache is attached to a file that was not there
    /// yet.
    pub fn root(&self) -> Option<&str> {
        self.scope.is_known().then(|| self.scope.root.as_str())
    }

    /// The zxid of the tree. If the tree is not a cut, this is a lower bound; before the first version it is 0.
    pub fn zxid(&self) -> Zxid {
        self.version.zxid
    }

    /// Whether the tree equals the server's at [`zxid`](Self::zxid), for all that the session may read.
    pub fn is_cut(&self) -> bool {
        self.version.is_cut
    }

    /// How many readable nodes there are.
    pub fn len(&self) -> usize {
        self.version.tree.len()
    }

    /// Whether no node can be read.
    pub fn is_empty(&self) -> bool {
        self.version.tree.is_empty()
    }

    /// The node at `path`.
    ///
    /// # Errors
    /// As [`TreeCache::get_data`](crate::TreeCache::get_data), except that a snapshot is never closed.
    pub fn get_data(&self, path: impl AsRef<[u8]>) -> Result<Node, Error> {
        get_data(&self.version, &self.scope, path.as_ref()).map(|node| node.to_node())
    }

    /// As [`get_data`](Self::get_data), for one who looks at the node, and keeps it only by cloning it: a count that
    /// other readers change too is not touched.
    #[cfg(feature = "ffi")]
    pub(crate) fn with_data<T>(&self, path: &[u8], look: impl FnOnce(NodeRef<'_>) -> T) -> Result<T, Error> {
        get_data(&self.version, &self.scope, path).map(look)
    }

    /// The children of `path`.
    ///
    /// # Errors
    /// As [`get_data`](Self::get_data).
    pub fn get_children(&self, path: impl AsRef<[u8]>) -> Result<ChildList, Error> {
        get_children(&self.version, &self.scope, path.as_ref())
    }

    /// Visits all that differs from an `older` snapshot of the same tree, in the form and order of events, until `visit`
    /// breaks.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] when the snapshots have different roots. (If the older one has [none](Self::root) yet, it has
    /// no nodes, of any root.)
    pub fn changes_since(
        &self,
        older: &Snapshot,
        mut visit: impl FnMut(&Event<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let (root, other) = (&self.scope.root, &older.scope.root);
        if root != other && older.scope.is_known() {
            let message = format!("snapshots of {other} and of {root} have no difference");
            return Err(Error::InvalidArgument(message));
        }
        let differences = Differences::new(&older.version.tree, &self.version.tree);
        let mut changes = Changes::new(root.clone(), self.zxid(), differences);
        while let Some(event) = changes.next() {
            if visit(&event.lend()).is_break() {
                break;
            }
            changes.reuse(event);
        }
        Ok(())
    }

    /// Visits the nodes from `path` down, parents before children, siblings in byte order. Nodes that the session
    /// may not read are left out.
    ///
    /// # Errors
    /// As [`get_data`](Self::get_data), for `path`. It is no error that the visitor stops the walk.
    pub fn walk(&self, path: &str, mut visit: impl FnMut(&str, NodeRef<'_>) -> Walk) -> Result<(), Error> {
        if find(&self.version, &self.scope, path.as_bytes())?.is_opaque() {
            return Err(Error::NoPermission(path.to_owned()));
        }
        let root = &self.scope.root;
        let start = root.relative(path).expect("it was found there");
        let mut absolute = String::new();
        let mut walk = self.version.tree.preorder_from(start);
        while let Some((relative, entry)) = walk.next() {
            let Some(node) = entry.node() else { continue };
            root.write_absolute(relative, &mut absolute);
            match visit(&absolute, node) {
                Walk::Continue => {}
                Walk::SkipChildren => walk.skip_children(),
                Walk::Stop => break,
            }
        }
        Ok(())
    }

    /// A walk from `path` down that its owner drives.
    ///
    /// # Errors
    /// As [`get_data`](Self::get_data), for `path`, except that `path` may be a node that the session may not read.
    pub fn cursor(&self, path: &str) -> Result<Cursor, Error> {
        find(&self.version, &self.scope, path.as_bytes())?;
        let root = self.scope.root.clone();
        let start = root.relative(path).expect("it was found there");
        let walk = self.version.tree.preorder_of_share(start);
        Ok(Cursor { root, walk, path: String::new(), entry: None })
    }
}

/// A walk that goes on when its owner says so: the nodes from one path down, parents before children, siblings in byte
/// order, including those that the session may not read. It keeps alive what it has still to visit, and outlives the
/// snapshot.
pub struct Cursor {
    root: NodePath,
    walk: Preorder<Share>,
    /// The node that it gave last: path and entry.
    path: String,
    entry: Option<Share>,
}

impl Cursor {
    /// The next node and its absolute path, `None` behind the last. The node is `None` where the session may not read it.
    #[allow(clippy::should_implement_trait, reason = "path and node are lent until the next call")]
    pub fn next(&mut self) -> Option<(&str, Option<NodeRef<'_>>)> {
        let (relative, entry) = self.walk.next()?;
        self.root.write_absolute(relative, &mut self.path);
        Some((&self.path, self.entry.insert(entry).node()))
    }

    /// Leaves out what is below the node that was given last.
    pub fn skip_children(&mut self) {
        self.walk.skip_children();
    }
}

/// The children of a node in one version of the tree, sorted by the bytes of their names. The list does not keep that
/// version alive.
#[derive(Clone, Default)]
pub struct ChildList {
    /// `None`: no children.
    children: Option<Arc<Children>>,
}

impl ChildList {
    /// How many children there are, including those that the session may not read.
    pub fn len(&self) -> usize {
        self.children.as_ref().map_or(0, |children| children.len())
    }

    /// Whether there are no children.
    pub fn is_empty(&self) -> bool {
        self.children.is_none()
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.children.iter().flat_map(|children| children.iter()).map(|(name, _)| name)
    }

    /// The first of the names behind `name`, whether that is one of them or not.
    pub fn name_after(&self, name: &str) -> Option<&str> {
        let children = self.children.as_deref()?;
        children.at(&mut children.after(name)).map(|(name, _)| name)
    }

    /// The last of the names before `name`, whether that is one of them or not.
    pub fn name_before(&self, name: &str) -> Option<&str> {
        self.children.as_deref()?.before(name)
    }

    /// The last of their names.
    pub fn last_name(&self) -> Option<&str> {
        self.children.as_deref()?.last()
    }

    /// Their nodes, in the same order; `None` for one that the session may not read.
    pub fn nodes(&self) -> impl Iterator<Item = Option<NodeRef<'_>>> {
        self.children.iter().flat_map(|children| children.iter()).map(|(_, entry)| entry.node())
    }

    /// The names, each with a NUL as its last byte.
    #[cfg(feature = "ffi")]
    pub(crate) fn names_with_nul(&self) -> impl Iterator<Item = &[u8]> {
        self.children.iter().flat_map(|children| children.names_with_nul())
    }
}

pub(crate) fn get_data<'v>(version: &'v Version, scope: &Scope, path: &[u8]) -> Result<NodeRef<'v>, Error> {
    find(version, scope, path)?.node().ok_or_else(|| unreadable(path))
}

pub(crate) fn get_children(version: &Version, scope: &Scope, path: &[u8]) -> Result<ChildList, Error> {
    let entry = find(version, scope, path)?;
    match entry.is_opaque() {
        false => Ok(ChildList { children: entry.children().cloned() }),
        true => Err(unreadable(path)),
    }
}

#[cold]
fn unreadable(path: &[u8]) -> Error {
    Error::NoPermission(String::from_utf8_lossy(path).into_owned())
}

/// Looks the path up first, and checks it only if nothing was found: if a node is there, its path is valid, and UTF-8.
fn find<'v>(version: &'v Version, scope: &Scope, path: &[u8]) -> Result<Entry<'v>, Error> {
    match scope.root.relative_bytes(path) {
        // "/foo/" is not a valid path, but relative to "/foo" it is "", as "/foo" itself is.
        Some(b"") if path.len() != scope.root.as_str().len() => {}
        Some(relative) => {
            if let Some(entry) = version.tree.look_up(relative) {
                return Ok(entry);
            }
        }
        None => {}
    }
    Err(why_not_found(version, scope, path))
}

#[cold]
fn why_not_found(version: &Version, scope: &Scope, path: &[u8]) -> Error {
    let Ok(path) = std::str::from_utf8(path) else {
        return Error::not_utf8("path", path);
    };
    let path = match NodePath::new(path) {
        Ok(path) => path,
        Err(error) => return error.into(),
    };
    let root = &scope.root;
    let Some(relative) = root.relative(path.as_str()) else {
        return Error::OutOfTree { path: path.as_str().to_owned(), root: root.as_str().to_owned() };
    };
    if scope.selection.of(relative) == Kept::Nothing {
        return Error::LeftOut { path: path.as_str().to_owned(), root: root.as_str().to_owned() };
    }
    // Nothing is known of what is below a node that may not be read.
    if let Some((at, entry)) = version.tree.deepest(relative)
        && entry.is_opaque()
    {
        return Error::NoPermission(root.absolute(at).as_str().to_owned());
    }
    match version.is_complete {
        true => Error::NoNode(path.as_str().to_owned()),
        false => Error::NotReady(path.as_str().to_owned()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::error::Status;
    use crate::selection::Effect;
    use crate::stat::Stat;
    use crate::tree::Tree;

    pub(crate) fn node(czxid: i64, mzxid: i64) -> Option<Node> {
        let stat = Stat { czxid: Zxid(czxid), mzxid: Zxid(mzxid), ..Stat::default() };
        Some(Node::new(Arc::from(mzxid.to_string().as_bytes()), stat))
    }

    fn snapshot(root: &str, nodes: &[&str], opaque: &[&str], is_complete: bool) -> Snapshot {
        let mut tree = Tree::default();
        for path in nodes {
            assert!(tree.put(path, node(1, 1)));
        }
        for path in opaque {
            assert!(tree.put(path, None));
        }
        let version = Version { tree, zxid: Zxid(7), is_cut: true, is_complete, is_own: true };
        Snapshot::new(Arc::new(version), scope(root))
    }

    fn scope(root: &str) -> Scope {
        let making = Making { chroot: NodePath::root(), data: Data::All, limit_path: 4096, user: None };
        Scope {
            root: NodePath::new(root).unwrap(),
            selection: Selection::default(),
            making: Arc::new(making),
        }
    }

    fn walked(snapshot: &Snapshot, path: &str, next: impl Fn(&str) -> Walk) -> Vec<String> {
        let mut walked = Vec::new();
        let result = snapshot.walk(path, |path, _| {
            walked.push(path.to_owned());
            next(path)
        });
        assert_eq!(result, Ok(()));
        walked
    }

    #[test]
    fn a_node_is_found_by_its_absolute_path_below_any_root() {
        let below = snapshot("/foo", &["", "a", "a/b"], &[], true);
        let whole = snapshot("/", &["", "a", "a/b"], &[], true);
        for (snapshot, paths) in [(&below, ["/foo", "/foo/a", "/foo/a/b"]), (&whole, ["/", "/a", "/a/b"])] {
            assert_eq!((snapshot.len(), snapshot.zxid(), snapshot.is_cut()), (3, Zxid(7), true));
            for path in paths {
                assert_eq!(snapshot.get_data(path).unwrap().data(), b"1");
            }
            assert_eq!(snapshot.get_children(paths[1]).unwrap().names().collect::<Vec<_>>(), ["b"]);
            assert_eq!(snapshot.get_children(paths[0]).unwrap().len(), 1);
            assert!(snapshot.get_children(paths[2]).unwrap().is_empty());
            assert_eq!(walked(snapshot, paths[0], |_| Walk::Continue), paths);
        }
    }

    #[test]
    fn what_is_not_found_is_explained() {
        let complete = snapshot("/foo", &["", "a", "a/b", "private"], &["private"], true);
        let loading = snapshot("/foo", &["", "a"], &[], false);
        for path in [&b"/foo/\xff"[..], b"/foo/a\xff", b"\xff", b"/foo\xff"] {
            assert!(matches!(complete.get_data(path), Err(Error::InvalidArgument(_))), "{path:?}");
        }
        let status = |snapshot: &Snapshot, path: &str| {
            let error = snapshot.get_data(path).unwrap_err();
            assert_eq!(snapshot.get_children(path).err(), Some(error.clone()));
            assert_eq!(snapshot.walk(path, |_, _| Walk::Continue), Err(error.clone()));
            match snapshot.cursor(path) {
                // A name without a node.
                Ok(mut cursor) => assert!(matches!(cursor.next(), Some((at, None)) if at == path)),
                Err(other) => assert_eq!(other, error),
            }
            error.status()
        };
        for path in ["", "foo", "/foo/", "/foo//a", "/foo/a/", "/foo/./a", "/foo/a\u{1}"] {
            assert_eq!(status(&complete, path), Status::InvalidArgument, "{path:?}");
        }
        for path in ["/", "/foobar", "/fo", "/bar/a"] {
            assert_eq!(status(&complete, path), Status::OutOfTree, "{path:?}");
        }
        for path in ["/foo/b", "/foo/a/b/c", "/foo/a/b/c/d"] {
            assert_eq!(status(&complete, path), Status::NoNode, "{path:?}");
        }
        for path in ["/foo/private", "/foo/private/x", "/foo/private/x/y"] {
            assert_eq!(status(&complete, path), Status::NoPermission, "{path:?}");
        }
        assert_eq!(status(&loading, "/foo/b"), Status::NotReady);
        assert_eq!(status(&snapshot("/foo", &[], &[""], true), "/foo/b"), Status::NoPermission);
        assert_eq!(status(&snapshot("/foo", &[], &[], true), "/foo"), Status::NoNode);
    }

    #[test]
    fn what_is_left_out_by_rule_is_outside_of_the_tree_and_the_border_has_no_children() {
        let mut narrowed = snapshot("/foo", &["", "a"], &[], true);
        narrowed.scope.selection.limit_depth(1);
        narrowed.scope.selection.add(Effect::Exclude, "tmp").unwrap();
        for path in ["/foo/a/b", "/foo/x/y", "/foo/tmp", "/foo/tmp/a"] {
            assert_eq!(narrowed.get_data(path).unwrap_err().status(), Status::OutOfTree, "{path}");
        }
        assert_eq!(narrowed.get_data("/foo/b").unwrap_err().status(), Status::NoNode);
        assert!(narrowed.get_children("/foo/a").unwrap().is_empty());
        let message = narrowed.get_children("/foo/tmp").err().unwrap().to_string();
        assert_eq!(message, "/foo/tmp is left out of the tree /foo by its rules (depth.max, select)");
    }

    #[test]
    fn a_tree_of_another_place_or_of_other_rules_or_data_is_told_from_one_of_the_same() {
        let ours = scope("/foo");
        assert_eq!(ours.check_same(&scope("/foo")), Ok(()));
        let message = |theirs: &Scope, ours: &Scope| ours.check_same(theirs).unwrap_err().to_string();
        assert_eq!(message(&scope("/bar"), &ours), "the snapshot is of /bar, and the cache is of /foo");
        let mut theirs = scope("/foo");
        theirs.making = Arc::new(Making {
            chroot: NodePath::new("/app").unwrap(),
            data: Data::All,
            limit_path: 9,
            user: None,
        });
        assert_eq!(
            message(&theirs, &ours),
            "the snapshot is of /foo below the chroot /app, and the cache is of /foo"
        );
        let with = |rules: &[(Effect, &str)]| {
            let mut scope = scope("/foo");
            rules.iter().for_each(|(effect, rule)| scope.selection.add(*effect, rule).unwrap());
            scope
        };
        let theirs = with(&[(Effect::Exclude, "*/tmp"), (Effect::Leaf, "a*/**")]);
        assert_eq!(
            message(&theirs, &ours),
            "the snapshot goes by select.exclude=*/tmp select.leaf=a*/**, and the cache goes by no rules"
        );
        assert_eq!(theirs.check_same(&with(&[(Effect::Leaf, "a*/**"), (Effect::Exclude, "*/tmp")])), Ok(()));
        let mut deep = scope("/foo");
        deep.selection.limit_depth(2);
        assert_eq!(message(&ours, &deep), "the snapshot goes by no rules, and the cache goes by depth.max=2");
        let of_data = |data| {
            let making = Making { chroot: NodePath::root(), data, limit_path: 9, user: None };
            Scope { making: Arc::new(making), ..scope("/foo") }
        };
        assert_eq!(
            message(&of_data(Data::None), &of_data(Data::Gzip { most: 7 })),
            "the snapshot is made with data=none, and the cache is made with data.compressed=gzip \
             limit.node.bytes=7"
        );
        assert_eq!(
            message(&of_data(Data::Gzip { most: 8 }), &ours),
            "the snapshot is made with data.compressed=gzip limit.node.bytes=8, and the cache is made with data=all"
        );
    }

    #[test]
    fn what_is_beyond_the_limits_of_a_cache_is_nothing_to_begin_with() {
        let snapshot = snapshot("/foo", &["", "a", "a/bcd"], &[], true);
        let options = || crate::config::Config::new().options();
        let begins =
            |options: Options| snapshot.for_cache(&scope("/foo"), &options).map(|known| known.is_some());
        assert_eq!(begins(options()), Ok(true));
        assert_eq!(begins(Options { limit_nodes: 3, limit_bytes: 3, limit_path: 10, ..options() }), Ok(true));
        for (options, message) in [
            (Options { limit_nodes: 2, ..options() }, "3 nodes; limit.nodes=2"),
            (Options { limit_bytes: 2, ..options() }, "3 bytes of data; limit.bytes=2"),
            (Options { limit_path: 9, ..options() }, "a path of 10 bytes; limit.path.bytes=9"),
        ] {
            let error = begins(options).unwrap_err();
            assert_eq!(
                (error.status(), error.to_string()),
                (Status::Limit, format!("the snapshot of /foo has {message}"))
            );
        }
    }

    #[test]
    fn a_cursor_has_every_node_and_outlives_its_snapshot() {
        let walked = |root: &str, path: &str, skipped: &str| {
            let snapshot = snapshot(root, &["", "a", "a/b", "b", "c", "c/x", "d"], &["b"], true);
            let mut cursor = snapshot.cursor(path).unwrap();
            drop(snapshot);
            cursor.skip_children();
            let mut walked = Vec::new();
            while let Some((path, node)) = cursor.next() {
                let skips = path == skipped;
                walked.push(format!("{path}{}", if node.is_some() { "" } else { "?" }));
                if skips {
                    cursor.skip_children();
                    cursor.skip_children();
                }
            }
            cursor.skip_children();
            assert!(cursor.next().is_none());
            walked
        };
        let all = ["/r", "/r/a", "/r/a/b", "/r/b?", "/r/c", "/r/c/x", "/r/d"];
        assert_eq!(walked("/r", "/r", ""), all);
        for leaf in ["/r/b", "/r/a/b", "/r/d"] {
            assert_eq!(walked("/r", "/r", leaf), all);
        }
        assert_eq!(walked("/r", "/r", "/r"), ["/r"]);
        assert_eq!(walked("/r", "/r", "/r/a"), ["/r", "/r/a", "/r/b?", "/r/c", "/r/c/x", "/r/d"]);
        assert_eq!(walked("/r", "/r/c", ""), ["/r/c", "/r/c/x"]);
        assert_eq!(walked("/r", "/r/b", ""), ["/r/b?"]);
        assert_eq!(walked("/", "/", "/c"), ["/", "/a", "/a/b", "/b?", "/c", "/d"]);
    }

    #[test]
    fn a_cursor_goes_through_many_children() {
        let mut names: Vec<_> = (0..500).map(|n| format!("{n:03}")).collect();
        names.insert(0, String::new());
        let paths: Vec<_> = names.iter().map(String::as_str).collect();
        let mut cursor = snapshot("/r", &paths, &[], true).cursor("/r").unwrap();
        assert_eq!(cursor.next().unwrap().0, "/r");
        for name in &names[1..] {
            assert_eq!(cursor.next().unwrap().0, format!("/r/{name}"));
        }
        assert!(cursor.next().is_none());
    }

    #[test]
    fn names_are_found_from_one_another() {
        let names: Vec<_> = (0..500).map(|n| format!("{n:03}")).collect();
        let paths: Vec<_> = [""].into_iter().chain(names.iter().map(String::as_str)).collect();
        let children = snapshot("/r", &paths, &[], true).get_children("/r").unwrap();
        for pair in names.windows(2) {
            assert_eq!(children.name_after(&pair[0]), Some(&*pair[1]));
            assert_eq!(children.name_before(&pair[1]), Some(&*pair[0]));
        }
        assert_eq!((children.name_before("000"), children.name_after("499")), (None, None));
        assert_eq!((children.name_before("4x"), children.name_after("2x")), (Some("499"), Some("300")));
        assert_eq!((children.last_name(), ChildList::default().last_name()), (Some("499"), None));
        assert_eq!(ChildList::default().name_after(""), None);
    }

    #[test]
    fn a_walk_obeys_its_visitor_and_leaves_out_what_may_not_be_read() {
        let snapshot = snapshot("/r", &["", "a", "a/b", "b", "c", "c/x"], &["b"], true);
        assert_eq!(snapshot.len(), 5);
        assert_eq!(snapshot.get_children("/r").unwrap().names().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(walked(&snapshot, "/r", |_| Walk::Continue), ["/r", "/r/a", "/r/a/b", "/r/c", "/r/c/x"]);
        assert_eq!(walked(&snapshot, "/r", |_| Walk::Stop), ["/r"]);
        assert_eq!(walked(&snapshot, "/r/c", |_| Walk::Continue), ["/r/c", "/r/c/x"]);
        let skip_a = |path: &str| if path == "/r/a" { Walk::SkipChildren } else { Walk::Continue };
        assert_eq!(walked(&snapshot, "/r", skip_a), ["/r", "/r/a", "/r/c", "/r/c/x"]);
    }
}

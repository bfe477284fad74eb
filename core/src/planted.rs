//! Defects that a test plants, one at a time, to see that its checks can fail.
//!
//! Only with the feature `planted`, which nothing but tests turns on; without it [`is`] is `false` at compile time
//! and nothing of this is left in the library.

#[cfg(feature = "planted")]
mod switch {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::Defect;

    /// The defect of this process: its place in [`Defect::ALL`] plus one; 0 for none. A test that is not written in
    /// Rust names it in the environment.
    static PLANTED: LazyLock<AtomicU8> = LazyLock::new(|| {
        let name = std::env::var("TREECACHE_PLANTED").unwrap_or_default();
        let number = Defect::ALL.iter().position(|defect| defect.name() == name).map_or(0, |at| at as u8 + 1);
        AtomicU8::new(number)
    });

    /// Plants a defect in this process, in place of the one before.
    pub fn plant(defect: Option<Defect>) {
        let number = defect.map_or(0, |defect| defect as u8 + 1);
        PLANTED.store(number, Ordering::Relaxed);
    }

    /// Whether this one is planted in this process now.
    pub fn is(defect: Defect) -> bool {
        PLANTED.load(Ordering::Relaxed) == defect as u8 + 1
    }
}

#[cfg(feature = "planted")]
pub use switch::{is, plant};

#[cfg(not(feature = "planted"))]
/// Whether this one is planted: never.
pub const fn is(_: Defect) -> bool {
    false
}

/// Panics where a test has planted that.
#[inline]
pub fn panic_if(defect: Defect) {
    if is(defect) {
        panic!("planted: {}", defect.name());
    }
}

macro_rules! defects {
    ($($(#[$doc:meta])* $defect:ident = $name:literal,)*) => {
        /// One defect that can be planted, and what goes wrong with it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[cfg_attr(not(feature = "planted"), allow(dead_code, reason = "planted by tests"))]
        pub enum Defect {
            $($(#[$doc])* $defect,)*
        }

        impl Defect {
            /// All of them, in the order in which they are declared.
            #[cfg(feature = "planted")]
            pub const ALL: &[Defect] = &[$(Defect::$defect),*];

            /// Its name, as tests show it, and as `TREECACHE_PLANTED` in the environment takes it.
            pub fn name(self) -> &'static str {
                match self { $(Defect::$defect => $name,)* }
            }
        }
    };
}

defects! {
    /// After a lost connection the watch is not asked for again.
    WatchNotSetAgain = "watch not set again",
    /// A cache that is closed removes its watch, though others with the same root still need it.
    SharedWatchRemoved = "shared watch removed",
    /// A cache of a whole tree lives on the watch of a root alone, which another cache has set.
    AloneTakenForAll = "watch of a root taken for one of the tree",
    /// A cache of a root alone does not read it again when the watch that it lived on is replaced.
    GapUnnoticed = "gap between two watches unnoticed",
    /// A cache of a root alone sets its own watch again, where it lives on one of the whole tree.
    RenewedAlone = "watch of a tree replaced by a root's",
    /// After a lost connection the tree is trusted as it was, without a verification.
    VerificationSkipped = "verification skipped",
    /// A server that is behind what was seen is accepted.
    LaggardAccepted = "stale reply accepted",
    /// If a child came or went, its parent is not read again.
    ParentForgotten = "parent's Stat forgotten",
    /// A cache that begins with a known tree does not ask whether the server has come up to it.
    BarrierLeftOut = "barrier left out",
    /// If the server's newest transaction is older than the tree that the cache began with, that is taken for good.
    LowBarrierTaken = "barrier below the tree taken",
    /// What a server says that may be behind the tree that the cache began with is compared with it, and applied.
    LaggingRepliesTaken = "replies below the tree taken",
    /// If a cache begins with what is no cut, its lists are believed.
    ListsOfNoCutTrusted = "lists of what is no cut trusted",
    /// What the session may read is what the one was allowed to that has read the tree which the cache began with.
    AnothersLeaveTaken = "another session's leave taken",
    /// What a cache shows of the tree that it began with is what its own user has read, though nothing has been verified.
    UnverifiedTakenForOwn = "unverified tree taken for own",
    /// What the session may not read is no anchor.
    OpaqueNoAnchors = "opaque nodes no anchors",
    /// When a tree is verified, a list is believed that has not as many children as its node counts.
    ChildrenNotCountedAnew = "children not counted anew",
    /// A node's data and its list are taken to be of one moment, though two replies contradict each other.
    TwoReadsTakenForOne = "two reads taken for one",
    /// What was read before its turn goes into the tree, though a notification has told that it has changed.
    KeptThoughNotified = "kept though notified",
    /// What was read before its turn goes into the tree, though a newer list of its parent lacks it.
    KeptThoughUnlisted = "kept though unlisted",
    /// What was read before its turn goes below another node than the one whose child it was.
    KeptOfAnotherParent = "kept of another parent",
    /// What was read before its turn outlives the connection.
    KeptOverReconnect = "kept over a reconnect",
    /// What is written all the time is not read together.
    HotPathsLeftOut = "hot paths left out",
    /// Whatever waits is asked for at once, also where all that is not known would have to come in one reply.
    StormsHoldUpCuts = "storms hold up cuts",
    /// A candidate is confirmed by whatever is read later.
    CandidateUnchecked = "candidate not checked",
    /// Notifications are thought to explain every child list.
    ChildListTrusted = "child list trusted",
    /// If children that are left out were counted since a node was created, they are thought to explain its list, too.
    LeftOutCounted = "left-out children counted",
    /// A child that is left out comes or goes, and its parent is not read again.
    LeftOutIgnored = "left-out children ignored",
    /// If some children of a node are left out, its list is not read in a verification either.
    LeftOutListTrusted = "lists with left-out children trusted",
    /// A change of what is left out is shown by no anchor, and is thought to be.
    LeftOutNewestTrusted = "newest change left out",
    /// If a node is created where another is known, whose deletion was hidden, the old one is kept.
    OldNodeKept = "old node kept",
    /// What was notified and not read yet is taken for known.
    UnreadTakenForKnown = "unread taken for known",
    /// A server that is too busy to answer is taken to say that there is no node.
    RefusalTakenForAbsence = "refusal taken for absence",
    /// A zxid that a new leader names without a transaction is taken for one.
    EpochTakenForTransaction = "epoch taken for a transaction",
    /// An unchanged zxid is believed to show that nothing happened in between, even in another session.
    ShortcutBehindExpiry = "shortcut behind an expired session",
    /// An unchanged zxid is believed to show that nothing happened in between, without reading the anchors.
    AnchorsLeftOut = "anchors left out",
    /// Equal czxids are taken to mean the same node, and equal mzxids the same data.
    IdentityByZxid = "identity by zxid alone",
    /// Equal pzxids are taken to mean the same child list.
    ListDatedByPzxid = "child list dated by its pzxid",
    /// If a known child is told to be created, it is counted as one more child.
    ReplacedChildCounted = "replaced child counted",
    /// If a known child is missing, its parent's Stat is read again, but not its parent's child list.
    LostChildIgnored = "lost child ignored",
    /// Notifications are counted on top of what was read on an earlier connection.
    OtherHistoryCounted = "counted on top of another history",
    /// If a version that is no cut is published, candidates are kept that may be older than what it shows.
    OlderCutShown = "older cut shown",
    /// A candidate is published however large it has become.
    CandidateUnlimited = "candidate beyond the limits",
    /// A cut that is too old to be shown answers calls of `sync`.
    OlderCutAnswers = "older cut answers",
    /// What was published of a load or verification that is not over is not compared with what is found.
    ShownForgotten = "what was shown forgotten",
    /// Each step of the audit counts as a full one, however few nodes it has read.
    AuditPacedBySteps = "audit paced by steps",
    /// If notifications explain a Stat, nothing compares it with the number of known children.
    ChildrenNotCounted = "children not counted",
    /// Whatever shows that the history is another one is taken for a change like others.
    EvidenceIgnored = "evidence of another history ignored",
    /// A parent that was read before its child is taken for evidence of another history.
    EarlierParentTakenForEvidence = "a parent read earlier taken for evidence",
    /// A server that has gone back in time goes on being followed.
    RestoreUnnoticed = "a restored server followed",
    /// A Stat that was read without its data is taken to say that the node may be read.
    StatTakenForLeave = "Stat taken for leave to read",
    /// What was uncompressed is kept, though the data has changed since.
    UncompressedDataKept = "uncompressed data kept",
    /// A watch is set once for each connection.
    WatchNotRenewed = "watch not renewed by the audit",
    /// If a change is found that a watch did not tell of, the watch is not doubted.
    LostWatchIgnored = "a lost watch ignored",
    /// A leader's answer to a `sync` is taken to stand behind all commits.
    SyncTakenForBarrier = "sync taken for a barrier",
    /// If a server waits with a commit until it gets another request, it gets none.
    NoNudge = "no ping while a barrier waits",
    /// The data of a large node is kept when its Stat says that it has changed.
    LargeDataKept = "large data kept",
    /// A reset of the ensemble changes nothing.
    ResetIgnored = "reset ignored",
    /// A session's loss is not told.
    LossNotReported = "loss not reported",
    /// What a server says of the session is taken over before it has proven itself.
    UnprovenBelieved = "unproven server believed",
    /// A server that accepts the first token of SASL need not prove itself.
    SaslCutShort = "SASL cut short",
    /// A server that accepts a ticket need not show that it could read it.
    MutualNotDemanded = "mutual authentication not demanded",
    /// What a server signs last in Kerberos's name may be signed by anybody.
    LastTokenUnchecked = "last token unchecked",
    /// A server may grant a session as long a timeout as it likes.
    AnyTimeoutTaken = "any timeout taken",
    /// A certificate that is trusted is taken for a CA's.
    EveryoneIsCa = "everyone a CA",
    /// A silent server is waited for.
    SilenceUnnoticed = "silence unnoticed",
    /// Servers are tried again without a pause.
    NoBackoff = "no backoff",
    /// If an attempt took too long, the next ones get no more time.
    BoundKept = "bound of an attempt kept",
    /// A pause is told on a connection that is not told of.
    PauseToldUnready = "pause told unready",
    /// A cache that a limit has stopped says what its server had, whatever has become of that.
    StoppedRemembered = "stopped cache remembered",
    /// A tree is held though a barrier is under way.
    HeldAmidBarrier = "held amid a barrier",
    /// Of single reads the last one says when the first one was made.
    LastSingleDates = "last single read dates",
    /// Where a tree is held, the next connection is thought to be in the pause of the last one.
    PauseOutlivesConnection = "pause outlives its connection",
    /// The thread did not run for long, and the session is not told.
    PauseUnnoticed = "pause unnoticed",
    /// What waited in a socket's buffer during a pause is taken for an answer since.
    WaitedTakenForNews = "what waited taken for news",
    /// Credentials are sent on the first connection only.
    CredentialsForgotten = "credentials forgotten",
    /// A `sync` is answered when its reply comes, though the tree has not come up to it.
    SyncAnsweredAtItsReply = "sync answered at its reply",
    /// A call of `sync` shares a request that was sent before it.
    SyncSharedTooLate = "sync shared too late",
    /// A node that is put where it is already is written anew.
    EqualNodePutAnew = "equal node put anew",
    /// What is below nodes that two trees share is thought to be shared, too.
    BelowSharedSkipped = "below shared nodes skipped",
    /// A list keeps the way that it knows when something on it is changed.
    WayKept = "way kept over an edit",
    /// A path is taken to go the way that is known, whatever its names are.
    WayNotCompared = "way not compared",
    /// If an edit copies what trees share, what it lets go is not counted.
    CopiesNotWeighed = "copies not weighed",
    /// The removal of a node is told before the removals of what is below it.
    EventsUnordered = "events unordered",
    /// If a subtree that somebody listens to has come or gone with its root, its difference is not looked for.
    WholeSubtreesUntold = "whole subtrees untold",
    /// What is in two of the subtrees that somebody listens to is told for each of them.
    OverlapsToldTwice = "overlaps told twice",
    /// A server that has no recursive watches is not left for the next one.
    RefusalTakenForLast = "refusal taken for last",
    /// The memory of versions that wait for a slow consumer is not counted.
    BacklogNotWeighed = "backlog not weighed",
    /// The I/O thread panics at the next bytes from a server.
    PanicOnIoThread = "panic on the I/O thread",
    /// A frame's memory is reserved on the word of its length.
    ReserveWhatIsClaimed = "memory on the word of a length",
    /// A reply is taken for the one that is due, whatever its xid is.
    TakeRepliesOutOfTurn = "replies out of turn",
    /// A one-shot watch that is used up before its node is read is taken for set.
    UsedUpForgotten = "watch used up amid a read",
    /// A node that was not there when its watch was to be set, and was there when it was read, is taken for watched.
    MissingTakenForWatched = "missing node taken for watched",
    /// What was asked for before it was known that each watch tells of one change is taken for watched.
    UnarmedTakenForArmed = "unarmed node taken for armed",
    /// One-shot watches are asked for with a zxid that is older than the nodes, so that they are not set.
    WatchesCompared = "watches set by comparing",
    /// A candidate is confirmed by a node alone, though its child list is not known.
    CandidateWithoutList = "candidate without its list",
    /// A notification of a changed child list says nothing.
    ListsForgotten = "child lists forgotten",
    /// A Keeper that says what it is is taken for a ZooKeeper.
    KeeperTakenForZooKeeper = "Keeper taken for ZooKeeper",
    /// If a recursive watch tells of its root, the root is thought to have changed, whatever it shows.
    RootTakenForChanged = "root taken for changed",
    /// If the root is told to be deleted, that is believed without a look.
    DeletionOfRootBelieved = "deletion of the root believed",
    /// An anchor that is deleted before it was read counts as unchanged.
    DeletedAnchorUnchanged = "deleted anchor unchanged",
    /// An ancestor of a node that was not known is taken for read on this connection.
    HiddenAncestorVerified = "hidden ancestor taken for verified",
    /// A known child that comes anew in secret counts as the known one.
    ReplacedInSecret = "child replaced in secret counted",
    /// If what came in one read is dropped, the zxid at its end is still where the tree was left.
    DroppedWordsCounted = "dropped words counted",
    /// Of a root that was read on an earlier connection, it is believed that it still has no children.
    EarlierRootBelieved = "root of an earlier connection believed",
    /// The data of a child was set, maybe more often than was told, and the parent's Stat at a Keeper is thought to be what it
    /// was.
    SetsNotCounted = "sets of children not counted",
    /// A Keeper is asked for a recursive watch on each connection, though it may end them for that.
    KeeperForgotten = "Keeper forgotten",
    /// At a Keeper without multiRead, a child is set between the read of its parent and its own, and the parent's Stat is kept.
    SingleReadOfParentKept = "single read of a parent kept",
    /// At a Keeper, zxids are thought to show whether a node's Stat is that of an earlier moment.
    KeepersStatDated = "Keeper's Stat dated by its zxids",
    /// A server that is behind what was seen, and lets the client in all the same, is never believed.
    LaggardNotCounted = "server that is behind not counted",
    /// A verification that does not come to its end is taken for one that does, and what has changed is asked for since then.
    ReportSinceHalfVerified = "report since a half-verified tree",
    /// What has changed is asked for since a version that is no cut.
    ReportSinceNoCut = "report since a version that is no cut",
    /// What has changed is asked for since a cut that the server has lost its watch before.
    ReportBehindLostWatch = "report behind a lost watch",
    /// What has changed is asked for without reading how far the history is the one that is known.
    ReportWithoutAnchors = "report without anchors",
    /// Where a report has found nothing that has changed, nothing follows from that.
    ReportEndsInSilence = "report ends in silence",
    /// What a report tells to be gone is removed without being read.
    ReportEditsTree = "report edits the tree",
    /// A report is asked for at a zxid that a new leader names without a transaction.
    ReportBehindEpoch = "report behind what is no transaction",
    /// Nodes without children are not asked about for theirs.
    LeavesNotListed = "leaves without a watch of their lists",
    /// A server that is behind the watch is believed to know what has changed.
    ReportOfLaggardTaken = "report of a laggard taken",
    /// What was notified of during a verification by report is forgotten.
    NotifiedSinceForgotten = "notified during a report, and forgotten",
    /// If a server could not answer, the cache does not ask it again.
    RetryForEver = "a timeout that is never over",
    /// What was written to a shared file is taken for what it says, whatever its checksum.
    ChecksumsIgnored = "checksums ignored",
    /// Different blocks of a shared file have the same number.
    NumbersUsedAgain = "numbers used again",
    /// Of the two roots of a shared file the older one is taken.
    OlderRootTaken = "older root taken",
    /// What a failed write has left is taken for written.
    LostWritesKept = "lost writes kept",
    /// The age of a shared tree goes by a clock that people set.
    AgeByRealTime = "age by real time",
    /// A writer that has been silent for long is taken for alive.
    SilenceIgnored = "silence ignored",
    /// The resolver thread panics when it is asked for a name.
    PanicOnResolverThread = "panic on the resolver thread",
    /// The dispatcher thread panics when it has an event to tell.
    PanicOnDispatcherThread = "panic on the dispatcher thread",
    /// Every function of the C API that may fail panics.
    PanicInCall = "panic in a call",
    /// Every function of the C API that may fail reads memory that was freed.
    UseAfterFree = "use after free",
    /// Every function of the C API that may fail writes to one place, without a lock.
    DataRace = "data race",
}

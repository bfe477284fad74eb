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
    /// A cache that is closed takes the watch with it that others with its root still need.
    SharedWatchRemoved = "shared watch removed",
    /// After a lost connection the tree is taken for what it was.
    VerificationSkipped = "verification skipped",
    /// A server that is behind what was seen is good enough.
    LaggardAccepted = "stale reply accepted",
    /// A child came or went, and its parent is not read again.
    ParentForgotten = "parent's Stat forgotten",
    /// What is written all the time is not read together.
    HotPathsLeftOut = "hot paths left out",
    /// A candidate is confirmed by whatever is read later.
    CandidateUnchecked = "candidate not checked",
    /// Notifications are thought to explain every child list.
    ChildListTrusted = "child list trusted",
    /// A node that is created where one is known, as its deletion was hidden, does not replace it.
    OldNodeKept = "old node kept",
    /// What was notified and not read yet is taken for known.
    UnreadTakenForKnown = "unread taken for known",
    /// In step amid the notifications of one transaction.
    PartTakenForWhole = "part taken for whole",
    /// A server that is too busy to answer is taken to say that there is no node.
    RefusalTakenForAbsence = "refusal taken for absence",
    /// A zxid that a new leader names without a transaction is taken for one.
    EpochTakenForTransaction = "epoch taken for a transaction",
    /// That nothing happened in between is believed of another session, too.
    ShortcutBehindExpiry = "shortcut behind an expired session",
    /// That nothing happened in between is believed without looking at a single node.
    AnchorsLeftOut = "anchors left out",
    /// A node is the same one where its czxid is, and its data where its mzxid is.
    IdentityByZxid = "identity by zxid alone",
    /// A child list is thought to be the one that is known where its pzxid is.
    ListDatedByPzxid = "child list dated by its pzxid",
    /// A known child that is missing puts its parent's Stat in doubt, and not its list.
    LostChildIgnored = "lost child ignored",
    /// What is notified is counted on top of what was read on an earlier connection.
    OtherHistoryCounted = "counted on top of another history",
    /// A candidate outlives a version that is no cut, and that may have shown what is newer.
    OlderCutShown = "older cut shown",
    /// A candidate is published however large it has become.
    CandidateUnlimited = "candidate beyond the limits",
    /// A cut that is too old to be shown answers calls of `sync`.
    OlderCutAnswers = "older cut answers",
    /// What was published of a load or verification that is not over is not compared with what is found.
    ShownForgotten = "what was shown forgotten",
    /// The audit goes by how often it reads, however little that is.
    AuditPacedBySteps = "audit paced by steps",
    /// That notifications explain a Stat is enough, however many children are known.
    ChildrenNotCounted = "children not counted",
    /// Whatever shows that the history is another one is taken for a change like others.
    EvidenceIgnored = "evidence of another history ignored",
    /// A parent that was read before its child is taken for evidence of another history.
    EarlierParentTakenForEvidence = "a parent read earlier taken for evidence",
    /// A server that has gone back in time goes on being followed.
    RestoreUnnoticed = "a restored server followed",
    /// A watch is set once for each connection.
    WatchNotRenewed = "watch not renewed by the audit",
    /// A change that a watch did not tell of says nothing about the watch.
    LostWatchIgnored = "a lost watch ignored",
    /// A leader's answer to a `sync` is taken for one behind all commits.
    SyncTakenForBarrier = "sync taken for a barrier",
    /// A server that waits with a commit until it is asked for something is not asked.
    NoNudge = "no ping while a barrier waits",
    /// The data of a large node is kept when its Stat says that it has changed.
    LargeDataKept = "large data kept",
    /// A reset of the ensemble changes nothing.
    ResetIgnored = "reset ignored",
    /// A session's loss is not told.
    LossNotReported = "loss not reported",
    /// What a server says of the session is taken over before it has proven itself.
    UnprovenBelieved = "unproven server believed",
    /// A server may grant a session as long a timeout as it likes.
    AnyTimeoutTaken = "any timeout taken",
    /// A certificate that is trusted is taken for a CA's.
    EveryoneIsCa = "everyone a CA",
    /// A silent server is waited for.
    SilenceUnnoticed = "silence unnoticed",
    /// Servers are tried again without a pause.
    NoBackoff = "no backoff",
    /// An attempt is given as long as the one before it that was too short.
    BoundKept = "bound of an attempt kept",
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
    /// Removals are told before those of what is below.
    EventsUnordered = "events unordered",
    /// A server that has no recursive watches is not left for the next one.
    RefusalTakenForLast = "refusal taken for last",
    /// What the versions hold that wait for a slow consumer is not counted.
    BacklogNotWeighed = "backlog not weighed",
    /// The I/O thread panics at the next bytes from a server.
    PanicOnIoThread = "panic on the I/O thread",
    /// A frame's memory is reserved on the word of its length.
    ReserveWhatIsClaimed = "memory on the word of a length",
    /// A reply is taken for the one that is due, whatever its xid is.
    TakeRepliesOutOfTurn = "replies out of turn",
    /// The time after which a cache asks a server again that could not answer does not pass.
    RetryForEver = "a timeout that is never over",
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

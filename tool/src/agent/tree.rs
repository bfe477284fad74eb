//! A tree that is kept: its cache, and where others find it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use log::info;
use serde_json::{Value, json};
use treecache::{Client, Config, Error, Event, EventKind, State, Stats, TreeCache};

use super::files::{Files, Folder};
use super::plan::TreePlan;
use crate::metrics;
use crate::output::state_name;
use crate::text::shown;
use crate::toml_file::{At, Invalid};

/// A tree that is kept, until it is dropped. What others find of it stays.
pub struct Tree {
    root: String,
    /// In Prometheus' text format.
    labels: String,
    files: Option<Files>,
    share_file: Option<PathBuf>,
    /// The tree as those who attach see it. Made when it is first asked how it is, as it holds what it has read last.
    shared: OnceLock<TreeCache>,
    cache: Arc<TreeCache>,
    /// Its session lasts as long.
    _client: Arc<Client>,
}

impl Tree {
    /// Begins to keep a tree.
    pub fn start(plan: &At<TreePlan>, client: Arc<Client>) -> Result<Tree, Invalid> {
        let TreePlan { root, settings, share_file, files, .. } = &plan.value;
        let refused = |error: Error| {
            let line = error.key().and_then(|key| settings.line_of(key));
            match line {
                Some(line) => plan.invalid_at(line, error.to_string()),
                None => plan.invalid(error.to_string()),
            }
        };
        let config = settings.config().map_err(refused)?;
        let cache = Arc::new(client.cache(root, &config).map_err(refused)?);
        let folder = files.as_ref().map(|files| {
            let opened = Folder::open(&files.folder);
            opened.map_err(|error| plan.invalid(format!("files {}: {error}", files.folder.display())))
        });
        let folder = folder.transpose()?;
        say(&cache, root).map_err(refused)?;
        cache.start().map_err(refused)?;
        let labels = labels(&plan.value);
        let files = match (folder, files) {
            (Some(folder), Some(plan)) => {
                Some(Files::start(folder, cache.clone(), root.clone(), plan.interval).map_err(refused)?)
            }
            _ => None,
        };
        let (root, share_file) = (root.clone(), share_file.clone());
        Ok(Tree { root, labels, files, share_file, shared: OnceLock::new(), cache, _client: client })
    }

    /// How it is, for people and programs; and whether that is well: in step, or known to be the server's tree at most `max_age`
    /// ago, for all who read it.
    pub fn health(&self, max_age: Duration) -> (bool, Value) {
        let stats = self.cache.stats();
        let mut is_well = is_well(stats.state, stats.cut_age, max_age);
        let mut told = json!({
            "root": self.root,
            "state": state_name(stats.state),
            "age_ms": stats.contact_age.map(milliseconds),
            "cut_age_ms": stats.cut_age.map(milliseconds),
            "zxid": stats.zxid.0,
            "nodes": stats.nodes,
            "server": stats.server,
            "fault": self.cache.last_fault().map(|last| last.fault.message),
        });
        if let Some(file) = &self.share_file {
            let (is_well_there, standing) = self.health_of(file, max_age);
            is_well &= is_well_there;
            told["share.file"] = standing;
        }
        if let Some(files) = &self.files {
            let standing = files.standing();
            let behind = standing.behind_since.map(|since| since.elapsed());
            is_well &= standing.zxid.is_some()
                && standing.fault.is_none()
                && behind.is_none_or(|behind| behind <= max_age);
            told["files"] = json!({
                "zxid": standing.zxid.map(|zxid| zxid.0),
                "behind_ms": behind.map(milliseconds),
                "fault": standing.fault,
            });
        }
        told["ok"] = is_well.into();
        (is_well, told)
    }

    /// What tells it from the agent's other trees, and how it is in numbers.
    pub fn metrics(&self) -> (String, Stats) {
        (self.labels.clone(), self.cache.stats())
    }

    /// How the tree is for those who attach to its file.
    fn health_of(&self, file: &Path, max_age: Duration) -> (bool, Value) {
        if self.shared.get().is_none() {
            match TreeCache::attach(file, &Config::new()) {
                Ok(cache) => _ = self.shared.set(cache),
                Err(error) => return (false, json!({ "fault": error.to_string() })),
            }
        }
        let (state, age) = self.shared.get().map_or((State::Closed, None), TreeCache::state);
        let is_well = is_well_shared(state, age, max_age);
        (is_well, json!({ "state": state_name(state), "age_ms": age.map(milliseconds) }))
    }
}

/// What tells a tree from the others of its agent: no two of them have the same file or the same folder.
fn labels(plan: &TreePlan) -> String {
    let shown = |path: &Path| path.display().to_string();
    let share_file = plan.share_file.as_deref().map(shown);
    let files = plan.files.as_ref().map(|files| shown(&files.folder));
    let mut pairs = vec![("root", plan.root.as_str())];
    pairs.extend(share_file.as_deref().map(|file| ("share_file", file)));
    pairs.extend(files.as_deref().map(|folder| ("files", folder)));
    metrics::labels(&pairs)
}

/// Has the journal say what becomes of a tree.
fn say(cache: &TreeCache, root: &str) -> Result<(), Error> {
    let mut wants = Config::new();
    wants.set("listen.events", "connection,initialized,in_step")?;
    let root = shown(root).into_owned();
    cache.listen_with(&wants, move |event: &Event<'_>| match event.kind {
        EventKind::Initialized => info!("{root}: loaded, at {}", event.zxid),
        EventKind::InStep => info!("{root}: in step, at {}", event.zxid),
        EventKind::ConnectionSuspended => info!("{root}: the connection is lost; reads go on"),
        EventKind::ConnectionReconnected => info!("{root}: connected again"),
        EventKind::ConnectionLost => info!("{root}: the session is lost"),
        _ => {}
    })?;
    Ok(())
}

fn is_well(state: State, cut_age: Option<Duration>, max_age: Duration) -> bool {
    match state {
        State::InStep => true,
        State::CatchingUp | State::Suspended | State::Lost | State::Held => {
            cut_age.is_some_and(|age| age <= max_age)
        }
        _ => false,
    }
}

/// What is attached says no age of its cuts: under constant changes they come all the time.
fn is_well_shared(state: State, age: Option<Duration>, max_age: Duration) -> bool {
    matches!(state, State::InStep) || state != State::Loading && age.is_some_and(|age| age <= max_age)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

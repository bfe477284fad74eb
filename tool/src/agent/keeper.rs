//! All that is kept, and how other settings take its place.
//!
//! What new settings ask for is begun before anything is ended. So if some of it cannot be, all goes on as it was; and if all
//! of it can be, a tree that is replaced is there until its successor is, which begins with what is in its `share.file`.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use treecache::Client;

use super::health::{self, Standing};
use super::plan::{ClientPlan, Plan};
use super::tree::Tree;
use crate::http::{Listener, Server};
use crate::metrics;
use crate::toml_file::{At, Invalid};

/// What is kept, as those who ask for the health see it.
#[derive(Default)]
struct Kept {
    trees: Vec<Arc<Tree>>,
    max_age: Duration,
}

pub struct Keeper {
    plan: Plan,
    /// For each of the plan's.
    clients: Vec<Arc<Client>>,
    health: Option<Server>,
    kept: Arc<Mutex<Kept>>,
}

/// What has changed with new settings.
#[derive(Default)]
pub struct Changed {
    started: usize,
    ended: usize,
    stayed: usize,
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "trees: {} started, {} ended, {} left as they are", self.started, self.ended, self.stayed)
    }
}

/// Makes the listener that a plan asks for.
pub fn bind_health(plan: &Plan) -> Result<Option<Listener>, Invalid> {
    let bind = |listen: &At<_>| {
        Listener::bind(&listen.value)
            .map_err(|error| listen.invalid(format!("nobody can listen there: {error}")))
    };
    plan.health.as_ref().map(bind).transpose()
}

impl Keeper {
    pub fn start(plan: Plan, listener: Option<Listener>) -> Result<Keeper, Invalid> {
        let mut keeper =
            Keeper { plan: Plan::default(), clients: Vec::new(), health: None, kept: Arc::default() };
        keeper.take(plan, listener)?;
        Ok(keeper)
    }

    pub fn trees(&self) -> usize {
        self.plan.trees.len()
    }

    /// Does as other settings ask. If something of them cannot be done, nothing of them is.
    pub fn change_to(&mut self, plan: Plan) -> Result<Changed, Invalid> {
        for (old, new) in [(&self.plan.user, &plan.user), (&self.plan.group, &plan.group)] {
            if old != new {
                let message = "\"user\" and \"group\" cannot be changed while the agent runs: start it again";
                let at = new.as_ref().or(old.as_ref()).expect("one of them is set");
                return Err(at.invalid(message));
            }
        }
        let listener = match plan.health == self.plan.health {
            true => None,
            false => bind_health(&plan)?,
        };
        self.take(plan, listener)
    }

    fn take(&mut self, plan: Plan, listener: Option<Listener>) -> Result<Changed, Invalid> {
        let clients = self.clients_for(&plan)?;
        let old = self.lock().trees.clone();
        let (mut trees, mut changed, mut is_used) = (Vec::new(), Changed::default(), vec![false; old.len()]);
        for tree in &plan.trees {
            let client = &clients[tree.value.client];
            let is_it = |at: &usize| !is_used[*at] && self.is_same(*at, &plan, trees.len(), client);
            match (0..old.len()).find(is_it) {
                Some(at) => {
                    is_used[at] = true;
                    changed.stayed += 1;
                    trees.push(old[at].clone());
                }
                None => {
                    changed.started += 1;
                    trees.push(Arc::new(Tree::start(tree, client.clone())?));
                }
            }
        }
        changed.ended = old.len() - changed.stayed;
        let health = match listener {
            None => None,
            Some(listener) => {
                let started = health::start(listener, Asked(self.kept.clone()));
                let at = plan.health.as_ref().expect("it has a listener");
                Some(started.map_err(|error| at.invalid(format!("no thread for it: {error}")))?)
            }
        };
        if plan.health != self.plan.health {
            self.health = health;
        }
        *self.lock() = Kept { trees, max_age: plan.health_max_age };
        // From here on nothing fails: those who are not used any more end.
        drop(old);
        (self.plan, self.clients) = (plan, clients);
        Ok(changed)
    }

    /// Sessions that are there already, and new ones.
    fn clients_for(&self, plan: &Plan) -> Result<Vec<Arc<Client>>, Invalid> {
        let mut is_used = vec![false; self.clients.len()];
        let client = |wanted: &At<ClientPlan>| {
            let is_it = |at: &usize| !is_used[*at] && self.plan.clients[*at] == *wanted;
            if let Some(at) = (0..self.clients.len()).find(is_it) {
                is_used[at] = true;
                return Ok(self.clients[at].clone());
            }
            let ClientPlan { hosts, settings } = &wanted.value;
            let refused = |error: treecache::Error| {
                let line = error.key().and_then(|key| settings.line_of(key));
                match line {
                    Some(line) => wanted.invalid_at(line, error.to_string()),
                    None => wanted.invalid(error.to_string()),
                }
            };
            let config = settings.config().map_err(refused)?;
            Ok(Arc::new(Client::new(hosts, &config).map_err(refused)?))
        };
        plan.clients.iter().map(client).collect()
    }

    /// Whether a tree that is kept is one that a plan wants, in a session that stays.
    fn is_same(&self, at: usize, plan: &Plan, wanted: usize, client: &Arc<Client>) -> bool {
        let (old, new) = (&self.plan.trees[at].value, &plan.trees[wanted].value);
        Arc::ptr_eq(&self.clients[old.client], client)
            && (&old.root, &old.settings, &old.share_file, &old.files)
                == (&new.root, &new.settings, &new.share_file, &new.files)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What those see who ask.
struct Asked(Arc<Mutex<Kept>>);

impl Asked {
    fn kept(&self) -> (Vec<Arc<Tree>>, Duration) {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.trees.clone(), kept.max_age)
    }
}

impl Standing for Asked {
    fn health(&self) -> (bool, Value) {
        let (trees, max_age) = self.kept();
        let (well, told): (Vec<_>, Vec<_>) = trees.iter().map(|tree| tree.health(max_age)).unzip();
        let is_well = well.iter().all(|is_well| *is_well);
        (is_well, json!({ "ok": is_well, "trees": told }))
    }

    fn metrics(&self) -> String {
        let (trees, _) = self.kept();
        let stats: Vec<_> = trees.iter().map(|tree| tree.metrics()).collect();
        let mut text = Vec::new();
        // Memory takes all of it.
        _ = metrics::write(&mut text, &stats);
        String::from_utf8_lossy(&text).into_owned()
    }
}

//! What the file of settings asks for, checked as far as that goes without doing any of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::warn;

use crate::http::Listen;
use crate::settings::Settings;
use crate::toml_file::{At, Document, Entry, Invalid, Table};

/// All of a file of settings.
#[derive(Default)]
pub struct Plan {
    pub user: Option<At<String>>,
    pub group: Option<At<String>>,
    pub health: Option<At<Listen>>,
    /// Trees that are older than this are not well.
    pub health_max_age: Duration,
    pub clients: Vec<At<ClientPlan>>,
    pub trees: Vec<At<TreePlan>>,
}

/// A session.
#[derive(Clone, PartialEq)]
pub struct ClientPlan {
    pub hosts: String,
    pub settings: Settings,
}

/// A tree that is kept.
#[derive(Clone, PartialEq)]
pub struct TreePlan {
    /// Which of the clients.
    pub client: usize,
    pub root: String,
    pub settings: Settings,
    pub share_file: Option<PathBuf>,
    pub files: Option<FilesPlan>,
}

/// A tree as plain files.
#[derive(Clone, PartialEq)]
pub struct FilesPlan {
    pub folder: PathBuf,
    /// Versions are so far apart, or farther.
    pub interval: Duration,
}

const HEALTH_MAX_AGE: Duration = Duration::from_secs(60);
const FILES_INTERVAL: Duration = Duration::from_secs(1);

impl Plan {
    /// # Errors
    /// What is wrong with the file first, and on which line.
    pub fn read(file: &Path) -> Result<Plan, Invalid> {
        let document = Document::read(file)?;
        let plan = document.with(|table| Plan::of(&table))?;
        if plan.has_secrets() && is_open_to_all(file) {
            warn!("{} has secrets in it, and everybody on this machine may read it", file.display());
        }
        Ok(plan)
    }

    fn of(table: &Table<'_>) -> Result<Plan, Invalid> {
        let mut plan = Plan { health_max_age: HEALTH_MAX_AGE, ..Plan::default() };
        let mut names = BTreeMap::new();
        let entries = table.entries();
        let is_clients = |entry: &&Entry<'_>| entry.key == "client";
        // Wherever they stand: trees name them.
        for entry in entries.iter().filter(is_clients) {
            for client in entry.table()?.entries() {
                names.insert(client.key.clone(), plan.clients.len());
                let read = ClientPlan::of(&client.table()?, &client)?;
                plan.clients.push(client.at(read));
            }
        }
        for entry in &entries {
            match entry.key.as_str() {
                "client" => {}
                "user" => plan.user = Some(entry.at(entry.text()?)),
                "group" => plan.group = Some(entry.at(entry.text()?)),
                "health" => plan.health = Some(entry.at(listen(entry)?)),
                "health.max.age.ms" => plan.health_max_age = entry.milliseconds()?,
                "tree" => {
                    for table in entry.tables()? {
                        plan.add_tree(&table, &names)?;
                    }
                }
                key => return Err(entry.invalid(format!("unknown key {key:?}"))),
            }
        }
        match plan.trees.is_empty() {
            true => Err(table.invalid("there is no [[tree]]")),
            false => Ok(plan),
        }
    }

    fn add_tree(&mut self, table: &Table<'_>, names: &BTreeMap<String, usize>) -> Result<(), Invalid> {
        let (mut hosts, mut client, mut root, mut folder, mut interval) =
            (None, None, None, None, FILES_INTERVAL);
        // Who shares a tree does not make it, unless that is asked for.
        let mut settings = Settings::default();
        settings.set("root.create", "false");
        for entry in table.entries() {
            match entry.key.as_str() {
                "hosts" => hosts = Some(entry.at(entry.text()?)),
                "client" => {
                    let name = entry.text()?;
                    let found = names.get(&name).copied();
                    client =
                        Some(found.ok_or_else(|| entry.invalid(format!("there is no [client.{name}]")))?);
                }
                "root" => root = Some(entry.text()?),
                "files" => folder = Some(entry.at(entry.path()?)),
                "files.interval.ms" => interval = entry.milliseconds()?,
                _ => settings.add(&entry)?,
            }
        }
        let client = match (hosts, client) {
            (Some(hosts), None) => {
                self.clients.push(hosts.with(|hosts| ClientPlan { hosts, settings: settings.clone() }));
                self.clients.len() - 1
            }
            (None, Some(client)) => client,
            _ => return Err(table.invalid("a tree has either \"hosts\" or a \"client\"")),
        };
        let root = root.ok_or_else(|| table.invalid("a tree has a \"root\""))?;
        let share_file = settings.get("share.file").map(PathBuf::from);
        if share_file.is_none() && folder.is_none() {
            return Err(table.invalid("a tree has \"share.file\" or \"files\", or both"));
        }
        if let (Some(folder), Some("none")) = (&folder, settings.get("data")) {
            return Err(
                folder.invalid("\"files\" needs the data of the nodes: \"data\" must not be \"none\"")
            );
        }
        for other in &self.trees {
            let other = &other.value;
            if share_file.is_some() && share_file == other.share_file {
                return Err(table.invalid("another tree has the same \"share.file\""));
            }
            if let (Some(folder), Some(theirs)) = (&folder, &other.files)
                && folder.value == theirs.folder
            {
                return Err(folder.invalid("another tree has the same \"files\""));
            }
        }
        let files = folder.map(|folder| FilesPlan { folder: folder.value, interval });
        let read = TreePlan { client, root, settings, share_file, files };
        self.trees.push(table.at(read));
        Ok(())
    }

    fn has_secrets(&self) -> bool {
        self.clients.iter().any(|client| client.value.settings.has_secrets())
    }
}

impl ClientPlan {
    fn of(table: &Table<'_>, client: &Entry<'_>) -> Result<ClientPlan, Invalid> {
        let (mut hosts, mut settings) = (None, Settings::default());
        for entry in table.entries() {
            match entry.key.as_str() {
                "hosts" => hosts = Some(entry.text()?),
                _ => settings.add(&entry)?,
            }
        }
        let hosts = hosts.ok_or_else(|| client.invalid("a client has \"hosts\""))?;
        Ok(ClientPlan { hosts, settings })
    }
}

/// Where it is asked how the trees are.
fn listen(entry: &Entry<'_>) -> Result<Listen, Invalid> {
    let text = entry.text()?;
    if text.starts_with('/') {
        return Ok(Listen::Socket(text.into()));
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(Listen::Address(address)),
        Ok(_) => Err(entry.invalid("only a loopback address, as in 127.0.0.1:7180, or the path of a socket")),
        Err(_) => {
            Err(entry.invalid("takes an address and a port, as in 127.0.0.1:7180, or the path of a socket"))
        }
    }
}

/// Whether a file may be read by everybody.
fn is_open_to_all(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|file| file.permissions().mode() & 0o004 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn plan(text: &str) -> Result<Plan, String> {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        let name = file.path().display().to_string();
        Plan::read(file.path()).map_err(|invalid| invalid.to_string().replace(&name, "f"))
    }

    #[test]
    fn trees_have_sessions_of_their_own_or_share_one() {
        let plan = plan(
            "health = '127.0.0.1:7180'\n[[tree]]\nhosts = 'a'\nroot = '/a'\nfiles = '/f'\n\
             [[tree]]\nclient = 'main'\nroot = '/b'\n'share.file' = '/s'\n\
             [client.main]\nhosts = 'b'\n'session.timeout.ms' = 5000\n",
        )
        .unwrap();
        let hosts: Vec<_> =
            plan.trees.iter().map(|tree| &*plan.clients[tree.value.client].value.hosts).collect();
        assert_eq!(hosts, ["a", "b"]);
        assert_eq!(plan.trees[0].value.settings.get("root.create"), Some("false"));
        assert_eq!(plan.trees[1].value.share_file.as_deref(), Some(Path::new("/s")));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let tree = "[[tree]]\nhosts = 'a'\nroot = '/a'\nfiles = '/f'\n";
        for (text, message) in [
            ("", "f:1: there is no [[tree]]"),
            ("frobnicate = 1\n", "f:1: unknown key \"frobnicate\""),
            (&*format!("{tree}nonsense = 1\n"), "f:5: unknown configuration key \"nonsense\""),
            (&*format!("{tree}'limit.nodes' = -1\n"), "f:5: invalid value \"-1\" for \"limit.nodes\""),
            (
                &*format!("{tree}auth = 'secret'\n"),
                "f:5: invalid value for \"auth\": expected scheme:credential",
            ),
            (&*format!("{tree}'auth.file' = '/none'\n"), "f:5: /none: No such file"),
            (&*format!("{tree}client = 'x'\n"), "f:5: there is no [client.x]"),
            (&*format!("{tree}data = 'none'\n"), "f:4: \"files\" needs the data"),
            (&*format!("{tree}{tree}"), "f:8: another tree has the same \"files\""),
            ("[[tree]]\nhosts = 'a'\nroot = '/a'\n", "f:1: a tree has \"share.file\" or \"files\""),
            ("\n[[tree]]\nhosts = 'a'\nfiles = 'f'\n", "f:2: a tree has a \"root\""),
            ("tree = 1\n", "f:1: \"tree\" is written as [[tree]]"),
            ("client = 1\n", "f:1: \"client\" is a table"),
            ("'health.max.age.ms' = 86400001\n", "f:1: \"health.max.age.ms\" takes 0 to 86400000 ms"),
            ("health = '0.0.0.0:80'\n", "f:1: only a loopback address"),
            ("[client.x]\nhosts = 1\n", "f:2: \"hosts\" takes text in quotes"),
        ] {
            let said = plan(text).err().unwrap_or_default();
            assert!(said.starts_with(message), "{text:?}: {said:?}");
        }
    }
}

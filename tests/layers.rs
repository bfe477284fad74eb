//! What modules know of each other: the tables of `docs/architecture.md` say it, and their `use`s are held against them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The modules of one crate, and what each of them may know.
type Layers = BTreeMap<String, BTreeSet<String>>;

/// What stands in backquotes.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The table under the heading for a folder. `above`: the modules of the crates that it rests on; `words`: those of them
/// that all may know. The first row has the crate's own words, which stand in an order, too.
fn table(document: &str, folder: &str, mut words: Vec<String>, mut above: Vec<String>) -> Layers {
    let heading = format!("### `{folder}`\n");
    let (_, section) = document.split_once(&heading).unwrap_or_else(|| panic!("no table of {folder}"));
    let rows = section.lines().skip_while(|line| !line.starts_with('|'));
    let mut layers = Layers::new();
    for (row, line) in rows.take_while(|line| line.starts_with('|')).skip(2).enumerate() {
        let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
        let [modules, _, knows] = cells[..] else { panic!("three cells: {line}") };
        let knows = quoted(knows);
        for module in quoted(modules) {
            let unknown: Vec<&String> = knows.iter().filter(|name| !above.contains(name)).collect();
            assert!(
                unknown.is_empty(),
                "`{module}` of {folder} knows {unknown:?}, which do not stand above it"
            );
            let known = words.iter().chain(&knows).cloned().collect();
            assert!(layers.insert(module.clone(), known).is_none(), "`{module}` stands twice in {folder}");
            if row == 0 {
                words.push(module.clone());
            }
            above.push(module);
        }
    }
    layers
}

/// All source files below a folder but those of unit tests.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.file_name().and_then(|name| name.to_str()) {
            Some("tests" | "tests.rs") => {}
            _ if path.is_dir() => found.extend(sources(&path)),
            _ => found.push(path),
        }
    }
    found
}

/// The modules of its crate that a source names outside of comments and unit tests. In a file right below `src`, what is
/// above is the crate.
fn named(source: &str, is_right_below: bool) -> BTreeSet<String> {
    let source = ["mod tests {", "pub(crate) mod tests {", "pub(super) mod tests {"]
        .iter()
        .fold(source, |source, tests| {
            source.split(&format!("\n#[cfg(test)]\n{tests}")).next().unwrap_or(source)
        });
    let code: Vec<&str> = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let name = |text: &str| {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>()
    };
    let mut named = BTreeSet::new();
    for way in if is_right_below { &["crate::", "super::"][..] } else { &["crate::"] } {
        for behind in code.split(way).skip(1) {
            match behind.strip_prefix('{') {
                Some(list) => named.extend(list.split('}').next().unwrap_or(list).split(',').map(name)),
                None => _ = named.insert(name(behind)),
            }
        }
    }
    named.retain(|name| name.starts_with(char::is_lowercase));
    named
}

#[test]
fn modules_know_what_the_tables_of_the_architecture_say_and_nothing_else() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = std::fs::read_to_string(root.join("docs/architecture.md")).expect("docs/architecture.md");
    let core = table(&document, "core/src", Vec::new(), Vec::new());
    // `wire` knows them, and nothing else.
    let words =
        core.iter().find(|(module, _)| *module == "wire").expect("`wire`").1.iter().cloned().collect();
    let api = table(&document, "src", words, core.keys().cloned().collect());
    // It sees the API as any program does, so there is nothing above its own modules.
    let tool = table(&document, "tool/src", Vec::new(), Vec::new());
    let mut wrong = Vec::new();
    for (folder, layers) in [("core/src", core), ("src", api), ("tool/src", tool)] {
        let folder_path = root.join(folder);
        let mut seen = BTreeSet::new();
        for path in sources(&folder_path) {
            let relative = path.strip_prefix(&folder_path).expect("below it");
            let parts: Vec<&str> = relative.iter().filter_map(|part| part.to_str()).collect();
            let module = parts[0].trim_end_matches(".rs");
            let shown = format!("{folder}/{}", relative.display());
            match layers.get(module) {
                _ if module == "lib" || module == "main" => {}
                None => wrong.push(format!("{shown} is of no module in the table")),
                Some(knows) => {
                    seen.insert(module.to_owned());
                    let source = std::fs::read_to_string(&path).expect("a source");
                    let named = named(&source, parts.len() == 1);
                    let forbidden = named.iter().filter(|name| *name != module && !knows.contains(*name));
                    wrong.extend(forbidden.map(|name| format!("{shown} knows `{name}`")));
                }
            }
        }
        let gone = layers.keys().filter(|module| !seen.contains(*module));
        wrong.extend(gone.map(|module| format!("there is no `{module}` in {folder}")));
    }
    assert!(wrong.is_empty(), "against the tables of docs/architecture.md:\n{}", wrong.join("\n"));
}

#[test]
fn whatever_way_a_module_is_named_it_is_noticed() {
    let source = "\
use crate::path::NodePath;
use crate::{stat, wire::Reader};
// use crate::net;
fn f() { crate::engine::f(); super::sync::g() }
use crate::Error;

#[cfg(test)]
mod tests {
    use crate::tree;
}
";
    let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(named(source, false), of(&["engine", "path", "stat", "wire"]));
    assert_eq!(named(source, true), of(&["engine", "path", "stat", "sync", "wire"]));
}

//! The numbers for Prometheus, and the dashboard that shows them: `packaging/grafana/treecache.json`.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;
use treecache_test_support::{shared, unique_root};

use crate::common::*;

/// The names of the numbers in a text of Prometheus' format, each of which is said to be something before it is told.
fn names(text: &str) -> BTreeSet<String> {
    let (mut types, mut names) = (BTreeSet::new(), BTreeSet::new());
    for line in text.lines() {
        if let Some(is) = line.strip_prefix("# TYPE ") {
            assert!(types.insert(is.split(' ').next().unwrap().to_owned()), "said twice: {line}");
        } else if !line.starts_with('#') {
            let (name, rest) = line.split_once('{').unwrap_or_else(|| panic!("no labels: {line}"));
            assert!(types.contains(name), "not said what it is: {line}");
            let number = rest.rsplit_once("} ").unwrap_or_else(|| panic!("no number: {line}")).1;
            assert!(number.parse::<f64>().is_ok(), "{line}");
            names.insert(name.to_owned());
        }
    }
    names
}

/// All that begins with our name in the expressions of a dashboard.
fn named(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            found.extend(
                text.split(|c| !is_of_name(c))
                    .filter(|word| word.starts_with("treecache_"))
                    .map(str::to_owned),
            );
        }
        Value::Array(values) => values.iter().for_each(|value| named(value, found)),
        Value::Object(fields) => fields.values().for_each(|value| named(value, found)),
        _ => {}
    }
}

#[test]
fn the_agent_tells_its_trees_in_numbers_and_so_does_the_command() {
    let (root, witness, folder) = (unique_root("numbers"), witness(), folder());
    witness.ensure_path(&format!("{root}/a\"b/c"));
    let hosts = shared().hosts();
    let place = |name: &str| folder.path().join(name).display().to_string();
    let settings = folder.path().join("agent.toml");
    // The same tree twice, and another one: all of them are told apart.
    let text = format!(
        "health = '127.0.0.1:0'\n[client.main]\nhosts = '{hosts}'\n\
         [[tree]]\nclient = 'main'\nroot = '{root}'\n'share.file' = '{}'\n\
         [[tree]]\nclient = 'main'\nroot = '{root}'\nfiles = '{}'\n\
         [[tree]]\nclient = 'main'\nroot = '{root}/a\"b'\n'share.file' = '{}'\n",
        place("one"),
        place("two"),
        place("three")
    );
    fs::write(&settings, text).unwrap();
    let mut command = treecache(&["agent", "--config", settings.to_str().unwrap()]);
    let mut agent = Running::start(&mut command, &folder.path().join("stderr"));
    agent.wait_until_it_says("http://");
    let said = agent.said();
    let address = said.split("http://").nth(1).and_then(|said| said.split('/').next()).unwrap();
    let address: SocketAddr = address.parse().unwrap();
    eventually("well", || health(address).0 == 200);
    let answer = http(address, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{head}");
    for (labels, nodes) in [
        (format!("root=\"{root}\",share_file=\"{}\"", place("one")), 3),
        (format!("root=\"{root}\",files=\"{}\"", place("two")), 3),
        (format!("root=\"{root}/a\\\"b\",share_file=\"{}\"", place("three")), 2),
    ] {
        let line = format!("\ntreecache_nodes{{{labels}}} {nodes}\n");
        assert_eq!(text.matches(&line).count(), 1, "{line}: {text}");
    }
    let printed = names(&printed(&["metrics", &hosts, &root]));
    assert_eq!(names(text), printed);
    assert!(printed.len() >= 11, "{printed:?}");
    dashboard_shows(&printed);
}

/// The dashboard has what Grafana needs of one, and each number that it names is one that is printed.
fn dashboard_shows(printed: &BTreeSet<String>) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/grafana/treecache.json");
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).expect("JSON");
    let mut shown = BTreeSet::new();
    named(&dashboard["panels"], &mut shown);
    assert_eq!(&shown, printed, "the dashboard shows what is printed, all of it and nothing else");
    named(&dashboard["templating"], &mut shown);
    assert_eq!(&shown, printed);
    assert!(dashboard["title"].is_string() && dashboard["uid"].is_string());
    assert!(dashboard["schemaVersion"].as_u64() >= Some(36));
    assert_eq!(dashboard["id"], Value::Null, "Grafana gives it one");
    let variables: BTreeSet<&str> = dashboard["templating"]["list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| variable["name"].as_str().unwrap())
        .collect();
    assert_eq!(variables, BTreeSet::from(["datasource", "instance", "root"]));
    let panels = dashboard["panels"].as_array().expect("panels");
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        let title = panel["title"].as_str().expect("a title");
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{title}: its id is there twice");
        assert!(
            ["stat", "timeseries", "state-timeline"].contains(&panel["type"].as_str().unwrap()),
            "{title}"
        );
        let at =
            |key: &str| panel["gridPos"][key].as_u64().unwrap_or_else(|| panic!("{title}: gridPos.{key}"));
        assert!(at("x") + at("w") <= 24, "{title}");
        for cell in
            (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y)))
        {
            assert!(cells.insert(cell), "{title} lies on another one");
        }
        let mut ids = BTreeSet::new();
        for target in panel["targets"].as_array().expect("targets") {
            assert!(ids.insert(target["refId"].as_str().expect("refId")), "{title}");
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            let expression = target["expr"].as_str().expect("expr");
            assert_eq!(expression.matches('(').count(), expression.matches(')').count(), "{expression}");
            assert!(expression.contains("{root=~\"$root\",instance=~\"$instance\"}"), "{expression}");
            // Of counters only how they grow means something.
            let is_counter = expression.contains("_total{");
            assert_eq!(
                is_counter,
                expression.contains("rate(") || expression.contains("increase("),
                "{expression}"
            );
        }
        assert!(!ids.is_empty(), "{title}");
    }
}

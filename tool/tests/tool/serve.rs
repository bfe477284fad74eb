//! `treecache serve` over plain HTTP: what is answered, and what is refused. The page itself is tried in a browser, by `tests/page`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use treecache_test_support::{Acl, Op, Server, shared, unique_root};

use crate::common::*;

/// The program, which serves a tree.
struct Serving {
    running: Running,
    address: SocketAddr,
    _folder: TempDir,
}

impl Serving {
    #[track_caller]
    fn start(arguments: &[&str]) -> Serving {
        Serving::start_at("127.0.0.1:0", arguments)
    }

    #[track_caller]
    fn start_at(listen: &str, arguments: &[&str]) -> Serving {
        let folder = folder();
        let mut command = treecache(&[&["serve", "--listen", listen], arguments].concat());
        command.stdout(Stdio::piped()).env("TREECACHE_AUTH", "digest:me:never-shown");
        let mut running = Running::start(&mut command, &folder.path().join("stderr"));
        let mut url = String::new();
        BufReader::new(running.child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        let address = url.trim().strip_prefix("http://").and_then(|url| url.strip_suffix('/'));
        let address = address.and_then(|address| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("no address: {url:?}, {}", running.said()));
        Serving { running, address, _folder: folder }
    }

    /// Status, head and body of an answer. No secret is ever in it.
    #[track_caller]
    fn ask(&self, request: &str) -> (u16, String, String) {
        let answer = http(self.address, request.as_bytes());
        assert!(!answer.contains("never-shown"), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, head.to_owned(), body.to_owned())
    }

    /// The status and the JSON of a path.
    #[track_caller]
    fn get(&self, path: &str) -> (u16, Value) {
        let (status, _, body) = self.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        (status, serde_json::from_str(&body).unwrap_or_else(|_| panic!("no JSON: {body}")))
    }

    #[track_caller]
    fn well(&self, path: &str) -> Value {
        let (status, value) = self.get(path);
        assert_eq!(status, 200, "{path}: {value}");
        value
    }

    #[track_caller]
    fn in_step(&self) {
        eventually("in step", || self.well("/api/status")["state"] == "IN_STEP");
    }

    /// What is told from now on, event by event.
    #[track_caller]
    fn follow(&self) -> impl Iterator<Item = (String, Value)> + use<> {
        let mut stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_read_timeout(Some(BOUND)).unwrap();
        stream.write_all(b"GET /api/live HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut lines = BufReader::new(stream).lines().map(|line| line.expect("in time"));
        assert_eq!(lines.next().as_deref(), Some("HTTP/1.1 200 OK"));
        assert!(lines.by_ref().any(|line| line.is_empty()));
        std::iter::from_fn(move || {
            let name = lines.next()?.strip_prefix("event: ").expect("an event").to_owned();
            let data =
                serde_json::from_str(lines.next()?.strip_prefix("data: ").expect("data")).expect("JSON");
            assert_eq!(lines.next().as_deref(), Some(""));
            Some((name, data))
        })
    }
}

/// The next changes that are told.
#[track_caller]
fn changes(events: &mut impl Iterator<Item = (String, Value)>) -> Value {
    events.find(|(name, _)| name == "changes").expect("changes").1
}

/// As a browser writes it in a query.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn a_tree_is_told_in_parts_each_of_one_version() {
    let (root, mut writer) = (unique_root("served"), writer());
    writer.create(&root, Some(b"root"), 0).unwrap();
    writer.create(&format!("{root}/list"), None, 0).unwrap();
    for n in 0..2500 {
        let path = format!("{root}/list/n{n:04}");
        writer.send(&Op::Create { path: &path, data: Some(b"x"), flags: 0 }).unwrap();
    }
    writer.drain().unwrap();
    let evil = format!("{root}/<b>&\u{202e}\"");
    writer.create(&evil, Some("<script>\u{202e}".as_bytes()), 1).unwrap();
    writer.create(&format!("{root}/bytes"), Some(b"\0\xff"), 0).unwrap();
    witness().create_with_acl(&format!("{root}/private"), b"hidden", &Acl::read_only_by("other", "pass"));
    let serving = Serving::start(&[&shared().hosts(), &root]);
    serving.in_step();
    let list = serving.well(&format!("/api/children?path={}&most=3", encoded(&root)));
    assert_eq!((&list["total"], &list["before"], &list["is_cut"]), (&json!(4), &json!(0), &json!(true)));
    assert_eq!(
        list["children"],
        json!([
            { "name": "<b>&\u{202e}\"", "shown": ["<b>&", "\\u{202e}", "\""], "children": 0, "bytes": 11, "version": 0,
              "is_ephemeral": true },
            { "name": "bytes", "children": 0, "bytes": 2, "version": 0, "is_ephemeral": false },
            { "name": "list", "children": 2500, "bytes": 0, "version": 0, "is_ephemeral": false },
        ])
    );
    assert_eq!(list["next"], "private");
    let rest = serving.well(&format!("/api/children?path={}&from=private", encoded(&root)));
    assert_eq!((&rest["before"], &rest["next"]), (&json!(3), &Value::Null));
    assert_eq!(rest["children"], json!([{ "name": "private", "is_unreadable": true }]));
    // A long list by pages; the cursor need not be there any more.
    let page = |from: &str| serving.well(&format!("/api/children?path={root}/list&from={from}"));
    let (first, behind, last) = (page(""), page("n0999zzz"), page("z"));
    assert_eq!((first["children"].as_array().unwrap().len(), &first["next"]), (1000, &json!("n1000")));
    assert_eq!((&behind["children"][0]["name"], &behind["before"]), (&json!("n1000"), &json!(1000)));
    assert_eq!((&last["children"], &last["before"]), (&json!([]), &json!(2500)));
    let node = serving.well(&format!("/api/node?path={}", encoded(&evil)));
    assert_eq!(node["data"]["pieces"], json!(["<script>", "\\u{202e}"]));
    assert!(node["stat"]["ephemeralOwner"].as_str().unwrap().starts_with("0x"));
    assert_eq!(serving.well(&format!("/api/node?path={root}/bytes"))["data"]["kind"], "bytes");
    let private = serving.well(&format!("/api/node?path={root}/private"));
    assert_eq!((&private["is_unreadable"], private.get("data")), (&json!(true), None));
    let found = serving.well("/api/search?text=N123");
    let paths: Vec<_> =
        found["found"].as_array().unwrap().iter().map(|found| found["path"].clone()).collect();
    assert_eq!(paths, (1230..1240).map(|n| json!(format!("{root}/list/n{n}"))).collect::<Vec<_>>());
    assert_eq!((&found["ended_by"], &found["looked_at"]), (&Value::Null, &json!(2504)));
    let many = serving.well("/api/search?text=n");
    assert_eq!((many["found"].as_array().unwrap().len(), &many["ended_by"]), (200, &json!("results")));
    let status = serving.well("/api/status");
    assert_eq!((&status["root"]["path"], &status["nodes"]), (&json!(root), &json!(2504)));
    assert_eq!((&status["has_root"], &status["is_attached"]), (&json!(true), &json!(false)));
    for zxid in [&list["zxid"], &node["zxid"], &found["zxid"], &status["zxid"]] {
        assert!(zxid.as_str().unwrap().starts_with("0x"), "{zxid}");
    }
}

#[test]
fn the_page_comes_with_what_keeps_others_out_of_it() {
    let root = unique_root("headed");
    witness().create(&root, b"");
    let serving = Serving::start(&[&shared().hosts(), &root, "--name", "tree.example.org"]);
    for (path, kind) in [
        ("/", "text/html"),
        ("/page.js", "text/javascript"),
        ("/page.css", "text/css"),
        ("/icon.svg", "image/svg+xml"),
    ] {
        let (status, head, body) = serving.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert!(
            status == 200 && !body.is_empty() && head.contains(&format!("\r\nContent-Type: {kind}")),
            "{head}"
        );
        assert!(head.contains(&format!("\r\nContent-Length: {}", body.len())), "{head}");
        let (status, other, nothing) =
            serving.ask(&format!("HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert_eq!((status, other, nothing.as_str()), (200, head, ""));
    }
    // Errors too.
    for path in ["/", "/api/status", "/none"] {
        let (_, head, _) = serving.ask(&format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"));
        let policy = head.lines().find_map(|line| line.strip_prefix("Content-Security-Policy: ")).unwrap();
        for rule in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(policy.split("; ").any(|other| other == rule), "{rule}: {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        for line in [
            "X-Content-Type-Options: nosniff",
            "Cache-Control: no-store",
            "Cross-Origin-Resource-Policy: same-origin",
        ] {
            assert!(head.lines().any(|other| other == line), "{line}: {head}");
        }
        assert!(!head.to_ascii_lowercase().contains("access-control"), "{head}");
    }
    let status = |request: &str| serving.ask(request).0;
    for (host, expected) in [
        ("localhost:1", 200),
        ("tree.example.org", 200),
        ("[::1]:80", 200),
        ("evil.example", 421),
        ("10.1.2.3", 421),
        ("localhost.evil.example", 421),
        ("", 421),
    ] {
        assert_eq!(status(&format!("GET /api/status HTTP/1.1\r\nHost: {host}\r\n\r\n")), expected, "{host}");
    }
    for (request, expected) in [
        ("GET /api/status HTTP/1.1\r\n\r\n", 400),
        ("POST /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        ("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        ("GET /api/status HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\n\r\n", 403),
        ("GET /page.js HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: same-site\r\n\r\n", 403),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\n\r\n", 200),
        ("GET /api/status HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: same-origin\r\n\r\n", 200),
    ] {
        assert_eq!(status(request), expected, "{request}");
    }
}

#[test]
fn nonsense_is_refused_with_a_word_and_nobody_else_waits_for_it() {
    let root = unique_root("nonsense");
    witness().create(&root, b"");
    let serving = Serving::start(&[&shared().hosts(), &root]);
    serving.in_step();
    for (path, status, word) in [
        ("/../../etc/passwd", 404, "no such page"),
        ("/%2e%2e/%2e%2e/etc/passwd", 404, "no such page"),
        ("/page.js/", 404, "no such page"),
        ("/api/node", 400, "\"path\" is missing"),
        ("/api/node?path=/elsewhere", 400, "/elsewhere"),
        (&*format!("/api/node?path={root}/none"), 404, "there is no node"),
        (&*format!("/api/node?path={root}/.."), 400, ".."),
        (&*format!("/api/node?path={root}%2Fa%00b"), 400, "\\u{0}"),
        (&*format!("/api/node?path={root}%2Fa%E2%80%AE"), 404, "\\u{202e}"),
        (&*format!("/api/node?path={root}/"), 400, ""),
        ("/api/node?path=%ff", 400, "percent"),
        ("/api/node?path=%2", 400, "percent"),
        ("/api/node?path=a&path=b", 400, "twice"),
        ("/api/node?path=", 400, ""),
        ("/api/children?path=/&most=0", 400, "1 to 1000"),
        ("/api/children?path=/&most=1001", 400, "1 to 1000"),
        ("/api/children?path=/&offset=1", 400, "\"offset\" is not known"),
        ("/api/search", 400, "\"text\" is missing"),
        ("/api/search?text=", 400, "empty"),
        ("/api/status?x", 400, "not known"),
        ("/api/live?x=1", 400, "not known"),
    ] {
        let (found, value) = serving.get(path);
        let error = value["error"].as_str().unwrap_or_else(|| panic!("{path}: {value}"));
        assert!(found == status && error.contains(word), "{path}: {found} {error}");
        assert!(!error.chars().any(|c| c.is_control() || c == '\u{202e}'), "{error:?}");
    }
    for request in [&b"\xff\xfe\r\n\r\n"[..], b"\r\n\r\n", &[b'x'; 20_000], &[0; 100], b"GET /"] {
        let mut stream = TcpStream::connect(serving.address).unwrap();
        stream.write_all(request).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    // Silent ones, as many as there may be and more: each is let go, and others are answered then.
    let silent: Vec<_> = (0..200).filter_map(|_| TcpStream::connect(serving.address).ok()).collect();
    eventually("answered", || {
        http(serving.address, b"GET /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .starts_with("HTTP/1.1 200")
    });
    drop(silent);
    // As many follow as may, and one more is told so.
    let followers: Vec<_> = (0..32).map(|_| serving.follow()).collect();
    assert_eq!(serving.get("/api/live").0, 503);
    assert!(followers.into_iter().all(|mut follower| follower.next().is_some()));
    eventually("their places are free", || {
        let mut stream = TcpStream::connect(serving.address).unwrap();
        stream.set_read_timeout(Some(BOUND)).unwrap();
        stream.write_all(b"GET /api/live HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).is_ok() && &status == b"HTTP/1.1 200"
    });
}

#[test]
fn what_happens_is_told_to_those_who_follow_and_what_is_left_out_is_counted() {
    let (root, mut writer) = (unique_root("followed"), writer());
    writer.create(&root, None, 0).unwrap();
    let serving = Serving::start(&[&shared().hosts(), &root]);
    serving.in_step();
    let mut events = serving.follow();
    let (name, status) = events.next().unwrap();
    assert_eq!((&*name, &status["state"], &status["samples"]), ("status", &json!("IN_STEP"), &json!([])));
    let evil = format!("{root}/<i>\u{202e}");
    writer.create(&evil, Some(b"12345"), 0).unwrap();
    let told = changes(&mut events);
    let change = &told["changes"][0];
    assert_eq!(
        (&told["left_out"], &change["kind"], &change["path"]),
        (&json!(0), &json!("added"), &json!(evil))
    );
    assert_eq!((&change["bytes"], &change["shown"][1]), (&json!(5), &json!("\\u{202e}")));
    // More than is told at a time: all of them are told or counted, once.
    for n in 0..3000 {
        let path = format!("{root}/n{n:04}");
        writer.send(&Op::Create { path: &path, data: None, flags: 0 }).unwrap();
    }
    writer.drain().unwrap();
    let (mut told, mut left_out, mut last) = (0, 0, Value::Null);
    while told + left_out < 3000 {
        let found = changes(&mut events);
        let list = found["changes"].as_array().unwrap();
        assert!(list.len() <= 100);
        told += list.len() as u64;
        left_out += found["left_out"].as_u64().unwrap();
        last = list.last().unwrap()["path"].clone();
    }
    assert_eq!((told + left_out, last), (3000, json!(format!("{root}/n2999"))));
    assert!(left_out > 0);
    // Each second has its number, and all of them the changes that there were.
    eventually("counted", || {
        let history = serving.well("/api/history");
        let samples = history["samples"].as_array().unwrap();
        let numbers: Vec<_> = samples.iter().map(|sample| sample[0].as_u64().unwrap()).collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
        samples.iter().map(|sample| sample[2].as_u64().unwrap()).sum::<u64>() == 3001
    });
    let status = events.find(|(name, status)| name == "status" && status["samples"] != json!([])).unwrap().1;
    assert_eq!((&status["nodes"], &status["samples"][0][5]), (&json!(3002), &json!("IN_STEP")));
}

#[test]
fn what_is_shown_stays_when_the_server_goes_and_is_said_to_be_old() {
    let mut server = Server::start();
    let serving = Serving::start(&[&server.hosts(), "/zookeeper", "--set", "session.timeout.ms=30000"]);
    serving.in_step();
    server.kill();
    eventually("suspended", || serving.well("/api/status")["state"] == "SUSPENDED");
    eventually("it gets older", || serving.well("/api/status")["age_ms"].as_u64() > Some(1000));
    assert_eq!(serving.well("/api/node?path=/zookeeper")["is_cut"], true);
    server.restart();
    serving.in_step();
    // A root that is not there is no error: it may come.
    let missing = Serving::start(&[&server.hosts(), "/missing"]);
    missing.in_step();
    assert_eq!(missing.well("/api/status")["has_root"], false);
    assert_eq!(missing.get("/api/children?path=/missing").0, 404);
    // Nor is a server that is none.
    let nowhere = Serving::start(&["127.0.0.1:1", "/"]);
    assert_eq!(nowhere.well("/api/status")["state"], "LOADING");
}

#[test]
fn a_shared_tree_is_served_and_it_listens_where_it_is_told_to() {
    let (root, witness, folder) = (unique_root("shared"), witness(), folder());
    witness.ensure_path(&format!("{root}/a"));
    let (file, settings) = (folder.path().join("tree"), folder.path().join("agent.toml"));
    let (file, hosts) = (file.to_str().unwrap(), shared().hosts());
    // Nobody shares it yet.
    let mut serving = Serving::start(&["--attach", file]);
    assert_eq!(serving.well("/api/status")["is_attached"], true);
    let text = format!("[[tree]]\nhosts = '{hosts}'\nroot = '{root}'\n'share.file' = '{file}'\n");
    std::fs::write(&settings, text).unwrap();
    let mut command = treecache(&["agent", "--config", settings.to_str().unwrap()]);
    let _agent = Running::start(&mut command, &folder.path().join("agent"));
    serving.in_step();
    assert_eq!(serving.well("/api/status")["root"]["path"], root);
    assert_eq!(serving.well(&format!("/api/children?path={root}"))["children"][0]["name"], "a");
    let mut events = serving.follow();
    witness.create(&format!("{root}/b"), b"");
    let told = events.find(|(name, _)| name == "changes").unwrap().1;
    assert_eq!(told["changes"][0]["path"], format!("{root}/b"));
    assert_eq!(serving.running.said(), "");
    serving.running.signal("-INT");
    assert_eq!(serving.running.wait().code(), Some(130));
    // Elsewhere only when told, and with a warning; then by any address, and by no other name.
    let open = Serving::start_at("0.0.0.0:0", &[&hosts, &root]);
    assert!(open.running.said().contains("there is no password"), "{}", open.running.said());
    for (host, expected) in [("10.1.2.3:80", 200), ("localhost", 200), ("tree.example.org", 421)] {
        let (status, ..) = open.ask(&format!("GET /api/status HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(status, expected, "{host}");
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = refused(&["serve", "--listen", &address, &hosts, &root], 7);
    assert!(said.contains(&format!("--listen {address}: Address already in use")), "{said}");
    for nonsense in ["localhost:80", "127.0.0.1", "80", "127.0.0.1:99999", ""] {
        let said = refused(&["serve", "--listen", nonsense, &hosts, &root], 2);
        assert!(said.contains("takes an address and a port"), "{said}");
    }
    refused(&["serve", &hosts, "no/path"], 2);
    refused(&["serve"], 2);
}

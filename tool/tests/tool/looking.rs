//! The commands that look into a tree: what they print, how they end, and that they change nothing.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

use serde_json::{Value, json};
use treecache_test_support::{Acl, Ensemble, Proxy, Server, sessions_of, shared, unique_root};

use crate::common::*;

fn hosts() -> String {
    shared().hosts()
}

#[test]
fn nodes_are_printed_and_listed() {
    let (root, mut writer) = (unique_root("printed"), writer());
    for (path, data) in [
        ("", Some(&b"ro\0ot\xff\n"[..])),
        ("/b", None),
        ("/a", Some(b"12345")),
        ("/a/deep", Some(b"x")),
        ("/a/deep/er", None),
        ("/evil\u{202e}", None),
    ] {
        writer.create(&format!("{root}{path}"), data, 0).unwrap();
    }
    writer.create(&format!("{root}/e"), Some(b"me"), 1).unwrap();
    let (hosts, a) = (hosts(), format!("{root}/a"));
    assert_eq!(run(&["get", &hosts, &root]).stdout, b"ro\0ot\xff\n");
    let node: Value = serde_json::from_str(&printed(&["get", "--json", &hosts, &a])).unwrap();
    assert_eq!(
        (&node["path"], &node["data"], &node["stat"]["numChildren"]),
        (&json!(a), &json!("MTIzNDU="), &json!(1))
    );
    assert!(printed(&["get", "--stat", &hosts, &a]).contains("\ndataLength = 5\nnumChildren = 1\n"));
    assert_eq!(printed(&["ls", &hosts, &root]), "a\nb\ne\nevil\u{202e}\n");
    assert_eq!(printed(&["ls", "--json", &hosts, &root]), "[\"a\",\"b\",\"e\",\"evil\u{202e}\"]\n");
    let long = printed(&["ls", "-l", &hosts, &root]);
    assert_eq!(long.lines().next(), Some("       5        1      0 - a"));
    assert!(long.contains("       2        0      0 e e\n"), "{long}");
    let tree = printed(&["tree", &hosts, &root]);
    assert!(
        tree.starts_with(&format!("{root}  (7 bytes)\n  a  (5 bytes)\n    deep  (1 bytes)\n      er\n  b\n")),
        "{tree}"
    );
    assert!(tree.contains("\n  e  (2 bytes)  (ephemeral)\n"), "{tree}");
    assert!(!printed(&["tree", "--depth", "1", &hosts, &root]).contains("deep"));
    let metrics = printed(&["metrics", &hosts, &root]);
    for line in [
        "# HELP treecache_nodes Nodes that can be read.\n# TYPE treecache_nodes gauge\n",
        &format!("\ntreecache_nodes{{root=\"{root}\"}} 7\n"),
        &format!("\ntreecache_connections_total{{root=\"{root}\"}} 1\n"),
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[test]
fn everything_is_there_of_a_shared_file_too() {
    let (root, witness, folder) = (unique_root("attached"), witness(), folder());
    witness.ensure_path(&format!("{root}/a/b"));
    witness.set(&root, b"root");
    let file = folder.path().join("tree");
    let (file, settings) = (file.to_str().unwrap(), folder.path().join("agent.toml"));
    let text = format!("[[tree]]\nhosts = '{}'\nroot = '{root}'\n'share.file' = '{file}'\n", hosts());
    fs::write(&settings, text).unwrap();
    let mut command = treecache(&["agent", "--config", settings.to_str().unwrap()]);
    let agent = Running::start(&mut command, &folder.path().join("stderr"));
    assert_eq!(printed(&["get", "--attach", file]), "root");
    assert_eq!(printed(&["ls", "--attach", file, &format!("{root}/a")]), "b\n");
    assert_eq!(printed(&["tree", "--depth", "1", "--attach", file]), format!("{root}  (4 bytes)\n  a\n"));
    assert_eq!(printed(&["wait", "--value", "root", "--attach", file]), "");
    assert!(
        printed(&["metrics", "--attach", file]).contains(&format!("treecache_nodes{{root=\"{root}\"}} 3\n"))
    );
    let export = folder.path().join("export");
    fs::write(&export, printed(&["export", "--attach", file])).unwrap();
    assert_eq!(printed(&["diff", export.to_str().unwrap(), "--attach", file]), "");
    refused(&["get", "--attach", file, "/elsewhere"], 2);
    refused(&["get", "--attach", file, &format!("{root}/none")], 3);
    // An agent that is gone leaves its tree, and it is said how old that is.
    drop(agent);
    eventually("the silence is noticed", || {
        let output = run(&["get", "--attach", file]);
        output.stdout == b"root" && String::from_utf8_lossy(&output.stderr).contains("the tree is old")
    });
    let said =
        refused(&["get", "--timeout", "0.2", "--attach", folder.path().join("none").to_str().unwrap()], 4);
    assert!(said.contains("nobody shares the tree"), "{said}");
}

#[test]
fn what_happens_is_told_as_it_happens() {
    let (root, witness) = (unique_root("watched"), witness());
    witness.create(&root, b"");
    let arguments = ["watch", "--initial", "--json", "--count", "5", &hosts(), &root];
    let mut child = treecache(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || -> Value {
        loop {
            let event: Value = serde_json::from_str(&lines.next().expect("a line").unwrap()).unwrap();
            if event.get("path").is_some() {
                return event;
            }
        }
    };
    assert_eq!(next()["event"], "NODE_ADDED");
    witness.create(&format!("{root}/a"), b"1");
    let event = next();
    assert_eq!((&event["path"], &event["data"]), (&json!(format!("{root}/a")), &json!("MQ==")));
    witness.set(&format!("{root}/a"), b"2");
    let event = next();
    assert_eq!((&event["event"], &event["old_data"]), (&json!("NODE_UPDATED"), &json!("MQ==")));
    // INITIALIZED and IN_STEP are counted, too: so it has ended, or one more ends it.
    witness.delete(&format!("{root}/a"));
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_script_can_wait_for_a_node_for_a_value_and_for_an_end() {
    let (root, witness) = (unique_root("waited"), witness());
    witness.create(&root, b"");
    let (hosts, node) = (hosts(), format!("{root}/node"));
    let begin = |more: &[&str]| treecache(&[&["wait", &hosts, &node], more].concat()).spawn().unwrap();
    let said = refused(&["wait", "--timeout", "8", &hosts, &node], 4);
    assert_eq!(said, "treecache: the time was over\n");
    assert!(!witness.exists(&node));
    let mut waits = begin(&[]);
    witness.create(&node, b"starting");
    assert!(waits.wait().unwrap().success());
    let mut waits = begin(&["--value", "ready"]);
    assert!(waits.try_wait().unwrap().is_none());
    witness.set(&node, b"ready");
    assert!(waits.wait().unwrap().success());
    refused(&["wait", "--value", "other", "--timeout", "8", &hosts, &node], 4);
    let mut waits = begin(&["--gone"]);
    witness.delete(&node);
    assert!(waits.wait().unwrap().success());
}

#[test]
fn exports_are_compared_with_each_other_and_with_what_is_there_now() {
    let (root, witness, folder) = (unique_root("compared"), witness(), folder());
    witness.ensure_path(&format!("{root}/a/b"));
    witness.create(&format!("{root}/c"), b"old");
    let export = |name: &str| {
        let file = folder.path().join(name);
        fs::write(&file, printed(&["export", &hosts(), &root])).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let old = export("old");
    assert_eq!(printed(&["diff", &old, "--hosts", &hosts()]), "");
    witness.set(&format!("{root}/c"), b"new\n");
    witness.delete_recursive(&format!("{root}/a"));
    witness.create(&format!("{root}/d"), b"");
    let expected = format!("- {root}/a\n- {root}/a/b\n- {root}/c old\n+ {root}/c new\\n\n+ {root}/d\n");
    let new = export("new");
    for arguments in [["diff", &old, &new].to_vec(), ["diff", &old, "--hosts", &hosts()].to_vec()] {
        let output = run(&arguments);
        assert_eq!(
            (String::from_utf8(output.stdout).unwrap(), output.status.code()),
            (expected.clone(), Some(1))
        );
    }
    for nonsense in
        ["", "{}", "[]", "{\"nodes\":{\"/\":{}}}", "{\"nodes\":{\"/\":{\"data\":\"?\"}}}", "\u{0}"]
    {
        fs::write(&new, nonsense).unwrap();
        assert!(refused(&["diff", &old, &new], 7).contains("not an export"), "{nonsense:?}");
    }
    refused(&["diff", &old], 2);
    refused(&["diff", &old, "/nowhere"], 7);
}

#[test]
fn what_fails_says_why_and_with_which_exit_code() {
    let (root, witness) = (unique_root("codes"), witness());
    witness.create(&root, b"");
    witness.create_with_acl(&format!("{root}/private"), b"", &Acl::read_only_by("me", "pass"));
    let hosts = hosts();
    for (arguments, code, words) in [
        (&["ls", &hosts, &format!("{root}/none")][..], 3, "no such node"),
        (&["get", &hosts, &format!("{root}/private")], 6, "may not read"),
        (
            &["get", "127.0.0.1:1", "/", "--timeout", "2.5"],
            5,
            "no server was reached: timed out after 2.5 s; last: 127.0.0.1:1",
        ),
        (&["get", "--set", "session.timeout.ms=soon", &hosts, "/"], 2, "session.timeout.ms"),
        (&["get", "--set", "nonsense=1", &hosts, "/"], 2, "unknown configuration key"),
        (&["get", "--set", "auth=digest:me:pass", &hosts, "/"], 2, "TREECACHE_AUTH"),
        (&["get", "--set", "sasl.password=pass", &hosts, "/"], 2, "TREECACHE_SASL_PASSWORD"),
        (&["get", "--set", "nonsense", &hosts, "/"], 2, "KEY=VALUE"),
        (&["get", "--settings", "/nowhere", &hosts, "/"], 2, "/nowhere: "),
        (&["get", "--timeout", "forever", &hosts, "/"], 2, "takes seconds"),
        (&["get", &hosts, "no/path"], 2, "no/path"),
        (&["get", "zk:none", "/"], 2, "zk:none"),
        (&["get"], 2, "Usage:"),
        (&["frobnicate"], 2, "unrecognized subcommand"),
        (&[], 2, "Usage:"),
    ] {
        let said = refused(arguments, code);
        assert!(said.contains(words), "{arguments:?}: {said}");
        assert!(!said.contains("me:pass") && !said.contains("panicked"), "{said}");
    }
    assert!(!witness.exists(&format!("{root}/none")));
    let not_utf8 = std::ffi::OsStr::from_bytes(b"\xff");
    assert_eq!(treecache(&["get"]).arg(not_utf8).output().unwrap().status.code(), Some(2));
    // A server that is none, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    refused(&["get", &address, "/", "--timeout", "0.5"], 5);
}

#[test]
fn ctrl_c_ends_a_command_and_its_session_without_a_trace() {
    // Sessions that are not ended outlast the test.
    let server = Server::builder().tick_time(10_000).start();
    let folder = folder();
    let printed = folder.path().join("printed");
    let arguments = ["watch", "--initial", "--set", "session.timeout.ms=100000", &server.hosts(), "/"];
    let mut command = treecache(&arguments);
    command.stdout(fs::File::create(&printed).unwrap());
    let mut watch = Running::start(&mut command, &folder.path().join("stderr"));
    eventually("events", || fs::metadata(&printed).unwrap().len() > 0);
    watch.signal("-INT");
    assert_eq!((watch.wait().code(), &*watch.said()), (Some(130), ""));
    eventually("the session ends", || sessions_of(&server).is_empty());
    // Also where there is nothing yet.
    let proxy = Proxy::start(server.addr());
    proxy.blackhole(true);
    let mut command = treecache(&["get", &proxy.hosts(), "/"]);
    let mut get = Running::start(command.stdout(Stdio::null()), &folder.path().join("other"));
    eventually("a connection", || proxy.connections_total() > 0);
    get.signal("-INT");
    assert_eq!((get.wait().code(), &*get.said()), (Some(130), ""));
}

#[test]
fn who_has_seen_enough_may_close_the_pipe() {
    let (root, mut writer) = (unique_root("pipe"), writer());
    writer.create(&root, None, 0).unwrap();
    for n in 0..3000 {
        let path = format!("{root}/a-node-with-a-name-that-is-long-{n:05}");
        writer
            .send(&treecache_test_support::Op::Create { path: &path, data: Some(&[b'x'; 100]), flags: 0 })
            .unwrap();
    }
    writer.drain().unwrap();
    for command in ["ls", "tree", "export"] {
        let mut child = treecache(&[command, &hosts(), &root])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = [0; 10];
        child.stdout.take().unwrap().read_exact(&mut first).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]), "{command}");
    }
}

#[test]
fn the_doctor_says_where_it_ends() {
    let (root, witness, server) = (unique_root("doctor"), witness(), shared());
    witness.create(&root, b"");
    let said = printed(&["doctor", &server.hosts(), &root]);
    for words in [
        "ok    name",
        "ok    tcp",
        "standalone",
        "ok    session",
        &format!("{root} may be read"),
        "one for the whole tree",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let wrong = |arguments: &[&str], words: &str| {
        let output = run(&[&["doctor", "--timeout", "8"], arguments].concat());
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(words), "{words}: {said}");
    };
    wrong(&["127.0.0.1:1"], "WRONG tcp       127.0.0.1:1: Connection refused");
    wrong(&["no-such-host.invalid"], "WRONG name");
    wrong(&[&server.hosts(), &format!("{root}/none")], "WRONG node      no such node");
    witness.create_with_acl(&format!("{root}/private"), b"", &Acl::read_only_by("me", "pass"));
    wrong(&[&server.hosts(), &format!("{root}/private")], "its ACL does not let this identity read it");
    // What answers, but is no ZooKeeper.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            _ = (&stream).write_all(b"\x1b[2Jnonsense");
        }
    });
    wrong(&[&address], "WRONG session");
    refused(&["doctor", "zk:none"], 2);
}

#[test]
fn the_doctor_compares_the_servers_of_an_ensemble() {
    let mut ensemble = Ensemble::start();
    let hosts = ensemble.addrs().iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(",");
    let said = printed(&["doctor", &hosts]);
    for words in ["follower", "leader, at", "as far as any", "ok    leader    there is one"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    ensemble.kill(0);
    let output = run(&["doctor", "--timeout", "5", &hosts]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("WRONG tcp"), "{said}");
}

#[test]
fn tls_and_identities_are_told_apart_from_a_connection() {
    let ca = treecache_test_support::Ca::new("ca");
    let server = Server::builder().tls(&ca.issue(&["localhost", "127.0.0.1"]), None).start();
    let (file, other) =
        (server.write_file("ca.pem", &ca.pem()), treecache_test_support::Ca::new("other").pem());
    let other = server.write_file("other.pem", &other);
    let settings = |ca: &str| {
        let name = format!("{ca}.toml");
        server
            .write_file(name.rsplit('/').next().unwrap(), &format!("tls = true\n\"tls.ca.file\" = '{ca}'\n"))
    };
    let address = server.secure_addr().to_string();
    let said = printed(&["doctor", "--settings", &settings(&file), &address]);
    assert!(said.contains("over TLS") && said.contains("ok    session"), "{said}");
    let output = run(&["doctor", "--timeout", "8", "--settings", &settings(&other), &address]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("WRONG tls"), "{said}");
    refused(&["get", "--settings", &settings(&other), "--timeout", "1", &address, "/"], 5);
    assert_eq!(printed(&["get", "--settings", &settings(&file), &address, "/"]), "");
}

#[test]
fn help_manuals_and_completions_are_there() {
    let help = printed(&["--help"]);
    for command in
        ["agent", "export", "get", "ls", "tree", "watch", "wait", "diff", "doctor", "metrics", "serve"]
    {
        assert!(help.contains(&format!("\n  {command} ")), "{command}: {help}");
        assert!(printed(&[command, "--help"]).contains("Usage: treecache "));
    }
    assert!(help.contains("Exit codes:"));
    assert_eq!(printed(&["--version"]), format!("treecache {}\n", env!("CARGO_PKG_VERSION")));
    for shell in ["bash", "zsh", "fish"] {
        assert!(printed(&["completions", shell]).contains("treecache"));
    }
    let folder = folder();
    printed(&["man", folder.path().to_str().unwrap()]);
    assert!(fs::read_to_string(folder.path().join("treecache-export.1")).unwrap().contains("treecache"));
    // A folder that cannot be made.
    refused(&["man", "/proc/none"], 7);
}

//! `treecache export`: what it prints is the server's tree.

use std::collections::BTreeMap;

use crate::common::*;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use treecache_test_support::{Acl, Op, shared, unique_root};

fn export(arguments: &[&str]) -> Value {
    serde_json::from_str(&printed(&[&["export"], arguments].concat())).expect("JSON")
}

#[test]
fn an_export_is_the_servers_tree_byte_for_byte() {
    let (root, witness, mut writer) = (unique_root("export"), witness(), writer());
    writer.create(&root, Some(b"root"), 0).unwrap();
    for n in 0..300 {
        let data: Vec<u8> = (0..n).map(|byte| byte as u8).collect();
        writer.send(&Op::Create { path: &format!("{root}/n{n}"), data: Some(&data), flags: 0 }).unwrap();
    }
    for path in ["/quote\"back\\slash", "/größe", "/null", "/n1/deep", "/n1/deep/er"] {
        writer.send(&Op::Create { path: &format!("{root}{path}"), data: None, flags: 0 }).unwrap();
    }
    writer.drain().unwrap();
    let exported = export(&[&shared().hosts(), &root]);
    let expected: BTreeMap<String, Value> = witness
        .truth(&root)
        .into_iter()
        .map(|(path, node)| {
            let stat = node.stat;
            let told = json!({
                "data": STANDARD.encode(&node.data),
                "stat": {
                    "czxid": stat.czxid, "mzxid": stat.mzxid, "ctime": stat.ctime, "mtime": stat.mtime,
                    "version": stat.version, "cversion": stat.cversion, "aversion": stat.aversion,
                    "ephemeralOwner": stat.ephemeral_owner, "dataLength": stat.data_length,
                    "numChildren": stat.num_children, "pzxid": stat.pzxid,
                },
            });
            (path, told)
        })
        .collect();
    assert_eq!(exported["cut"], json!(true));
    assert!(exported["zxid"].as_i64().unwrap() >= writer.newest_zxid());
    assert_eq!(exported["nodes"], json!(expected));
    assert_eq!(exported.get("unreadable"), None);
    // A part of it, below a chroot.
    let part = export(&[&format!("{}{root}", shared().hosts()), "/n1"]);
    assert_eq!(
        part["nodes"].as_object().unwrap().keys().collect::<Vec<_>>(),
        ["/n1", "/n1/deep", "/n1/deep/er"]
    );
}

#[test]
fn what_the_session_may_not_read_is_named() {
    let (root, witness) = (unique_root("secrets"), witness());
    witness.create(&root, b"");
    witness.create_with_acl(&format!("{root}/private"), b"secret", &Acl::read_only_by("me", "pass"));
    let exported = export(&[&shared().hosts(), &root]);
    assert_eq!(exported["unreadable"], json!([format!("{root}/private")]));
    assert_eq!(exported["nodes"].as_object().unwrap().len(), 1);
    // Who the session is comes from the environment.
    let output =
        treecache(&["export", &shared().hosts(), &root]).env("TREECACHE_AUTH", "digest:me:pass").output();
    let exported: Value = serde_json::from_slice(&output.unwrap().stdout).expect("JSON");
    assert_eq!(exported["nodes"][format!("{root}/private")]["data"], json!(STANDARD.encode("secret")));
}

#[test]
fn a_missing_root_is_said_and_not_created() {
    let root = unique_root("missing");
    let said = refused(&["export", &shared().hosts(), &root], 3);
    assert_eq!(said, format!("treecache: no such node: {root}\n"));
    assert!(!witness().exists(&root));
}

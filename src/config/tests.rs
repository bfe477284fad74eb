//! Every key reaches its setting, and the page in `docs/` says which there are.

use super::*;
use crate::error::Status;

impl Scope {
    fn name(self) -> &'static str {
        match self {
            Scope::Client => "client",
            Scope::Cache => "cache",
            Scope::Queue => "queue",
            Scope::CacheAndQueue => "cache, queue",
            Scope::ListenerAndQueue => "listener, queue",
        }
    }
}

/// The parts of `docs/configuration.md`: which keys each has, and whose they are.
const PARTS: [(&str, &str, &[Scope]); 3] = [
    ("Clients", "Where the servers are is no key: it is what a client is made with.", &[Scope::Client]),
    (
        "Caches",
        "`events.capacity` and `events.bytes` are for its listeners, and each queue has its own.",
        &[Scope::Cache, Scope::CacheAndQueue],
    ),
    (
        "Queues and listeners",
        "For `tc_queue_open` and `tc_listen_with`, and their like in the other languages.",
        &[Scope::ListenerAndQueue, Scope::Queue],
    ),
];

/// `docs/configuration.md`.
fn reference() -> String {
    let mut text = String::from(
        "# Configuration\n\n\
         What you can set, by keys and values that are the same in all languages:\n\n\
         | in | a key is set so |\n|---|---|\n\
         | C | `tc_config_set(config, \"tls.ca.file\", \"/etc/ssl/zookeeper.pem\")` |\n\
         | C++ | `config.set(\"tls.ca.file\", \"/etc/ssl/zookeeper.pem\")` |\n\
         | Go | `treecache.With(\"tls.ca.file\", \"/etc/ssl/zookeeper.pem\")`; many keys have an option of their own |\n\
         | Python | `{\"tls.ca.file\": \"/etc/ssl/zookeeper.pem\"}`, as the second argument of `Client` or `client.cache` |\n\
         | Node.js | `{ 'tls.ca.file': '/etc/ssl/zookeeper.pem' }`, as the second argument of `Client` or `client.cache` |\n\
         | Rust | `config.set(\"tls.ca.file\", \"/etc/ssl/zookeeper.pem\")?` |\n\n\
         One configuration may carry keys for clients, caches, listeners and queues: each reads its own and ignores the\n\
         others. An unknown key or a value that is not taken is `TC_ERR_INVALID_ARGUMENT`, and changes nothing.\n\n\
         Generated from the table in `src/config.rs`; `TREECACHE_BLESS=1 cargo test --lib config` writes it anew.\n",
    );
    for (title, remark, scopes) in PARTS {
        text.push_str(&format!(
            "\n## {title}\n\n{remark}\n\n| key | default | takes | what it is |\n|---|---|---|---|\n"
        ));
        for Key { name, default, value, purpose, .. } in KEYS.iter().filter(|key| scopes.contains(&key.scope))
        {
            let default = default.map_or("none".to_owned(), |default| format!("`{default}`"));
            text.push_str(&format!("| `{name}` | {default} | {} | {purpose} |\n", value.takes()));
        }
    }
    for key in KEYS {
        assert!(text.contains(&format!("\n| `{}` |", key.name)), "{} is in no part", key.name);
    }
    text
}

/// The keys as the documentation of `tc_config_set` lists them.
fn summary() -> String {
    KEYS.iter()
        .map(|Key { name, default, scope, purpose, .. }| {
            let purpose = purpose.replace('`', "");
            let default = default.map_or("none".to_owned(), |default| format!("default {default}"));
            format!("/// - `{name}` ({}, {default}): {purpose}\n", scope.name())
        })
        .collect()
}

#[test]
fn users_are_told_apart_by_their_names_and_never_by_a_secret() {
    let user = |keys: &[(&str, &str)]| {
        let mut config = Config::new();
        keys.iter().for_each(|(key, value)| config.set(key, value).unwrap());
        config.user()
    };
    assert_eq!(user(&[]).as_deref(), Some("[]"));
    let me = ("auth", "digest:me:secret");
    assert_eq!(user(&[me]).as_deref(), Some(r#"["digest:me"]"#));
    let other = ("auth", "digest:a\", \"b:secret");
    assert_eq!(user(&[me, other]).as_deref(), Some(r#"["digest:a\", \"b", "digest:me"]"#));
    assert_eq!(user(&[other, me]), user(&[me, other]));
    let sasl = [("sasl.mechanism", "DIGEST-MD5"), ("sasl.username", "alice"), ("sasl.password", "secret")];
    assert_eq!(user(&sasl).as_deref(), Some(r#"["sasl:alice"]"#));
    assert_ne!(user(&[me]), user(&[("auth", "digest:you:secret")]));
    // What nobody can say.
    assert_eq!(user(&[("auth", "ip:10.0.0.1")]), None);
    assert_eq!(user(&[me, ("auth", "other:secret")]), None);
    assert_eq!(user(&[("sasl.mechanism", "GSSAPI")]), None);
    assert_eq!(user(&[("tls.cert.file", "/etc/hosts")]), None);
}

#[test]
fn the_documentation_of_all_keys_is_up_to_date() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    if std::env::var_os("TREECACHE_BLESS").is_some() {
        std::fs::write(file, reference()).unwrap();
    }
    assert!(
        !summary().contains("*/") && !summary().contains("/*"),
        "this would end the comment in the header"
    );
    let committed = std::fs::read_to_string(file).unwrap_or_default();
    assert!(committed == reference(), "{file} is stale: run with TREECACHE_BLESS=1");
    assert!(
        include_str!("../ffi/config.rs").contains(&summary()),
        "the documentation of tc_config_set must list the keys as\n{}",
        summary()
    );
}

#[test]
fn defaults_are_those_of_the_table() {
    let config = Config::new();
    let settings = config.settings(Hosts::parse("localhost").unwrap()).unwrap();
    assert_eq!(settings.session_timeout, Duration::from_secs(10));
    assert_eq!(settings.resolve_timeout, Duration::from_secs(15));
    assert_eq!(settings.connect_timeout, Duration::from_secs(3));
    assert_eq!(settings.limit_frame, 128 << 20);
    assert_eq!(config.modes().sync, SyncMode::Barrier);
    assert!(settings.auth.is_empty() && settings.sasl.is_none());
    assert!(config.tls().unwrap().is_none());
    let options = config.options();
    assert!(options.create_root && options.follow);
    assert_eq!(options.selection.of("a/b/c"), crate::selection::Kept::Open);
    assert_eq!((options.limit_nodes, options.limit_bytes, options.limit_path), (0, 0, 4096));
    assert_eq!(options.audit_interval, Duration::from_secs(600));
    assert!(options.data == Data::All && !options.container_parents && !config.close_keep());
    assert_eq!(config.capacity(), Capacity { events: 100_000, bytes: 64 << 20 });
}

#[test]
fn keys_reach_the_settings_they_name() {
    let mut config = Config::new();
    for (key, value) in [
        ("session.timeout.ms", "4000"),
        ("resolve.timeout.ms", "7000"),
        ("connect.timeout.ms", "500"),
        ("auth", "digest:user:pass:word"),
        ("auth", "ip:"),
        ("sasl.mechanism", "DIGEST-MD5"),
        ("sasl.username", "bob"),
        ("sasl.password", "hunter2"),
        ("root.create", "false"),
        ("root.container", "true"),
        ("close.keep", "true"),
        ("limit.nodes", "7"),
        ("limit.bytes", "8"),
        ("limit.path.bytes", "9"),
        ("limit.frame.bytes", "2147483647"),
        ("sync.mode", "sync"),
        ("audit.interval.ms", "0"),
        ("events.capacity", "1"),
        ("events.bytes", "2"),
        ("follow", "false"),
        ("depth.max", "2"),
        ("select.exclude", "tmp"),
        ("select.exclude", "**/.lock"),
        ("select.leaf", "a/leaf"),
        ("select.include", "a/**"),
        ("select.include", "tmp"),
    ] {
        config.set(key, value).unwrap();
    }
    let settings = config.settings(Hosts::parse("localhost").unwrap()).unwrap();
    assert_eq!(settings.session_timeout, Duration::from_secs(4));
    assert_eq!(settings.resolve_timeout, Duration::from_secs(7));
    assert_eq!(settings.connect_timeout, Duration::from_millis(500));
    let auth: Vec<_> =
        settings.auth.iter().map(|auth| (auth.scheme.as_str(), auth.credential.expose())).collect();
    assert_eq!(auth, [("digest", "user:pass:word"), ("ip", "")]);
    let Some(Sasl::DigestMd5(sasl)) = settings.sasl else { panic!("no DIGEST-MD5") };
    assert_eq!((sasl.username.as_str(), sasl.password.expose()), ("bob", "hunter2"));
    let options = config.options();
    assert!(!options.create_root && options.container_parents && config.close_keep());
    assert_eq!((options.limit_nodes, options.limit_bytes, options.limit_path), (7, 8, 9));
    assert_eq!(settings.limit_frame, i32::MAX as usize);
    assert_eq!(options.audit_interval, Duration::ZERO);
    assert!(!options.follow);
    let kept = ["a", "a/b", "a/leaf", "tmp", "a/.lock", "b", "a/b/c"].map(|path| options.selection.of(path));
    use crate::selection::Kept::{Alone, Nothing, Open};
    assert_eq!(kept, [Open, Alone, Alone, Nothing, Nothing, Nothing, Nothing]);
    assert_eq!(config.capacity(), Capacity { events: 1, bytes: 2 });
}

#[test]
fn a_single_node_is_the_root_alone_whatever_else_is_said() {
    let mut config = Config::new();
    config.set("depth.max", "2").unwrap();
    config.set("single", "true").unwrap();
    let options = config.options();
    assert!(options.single);
    use crate::selection::Kept::{Alone, Nothing};
    assert_eq!(["", "a", "a/b"].map(|path| options.selection.of(path)), [Alone, Nothing, Nothing]);
    config.set("single", "false").unwrap();
    assert_eq!(config.options().selection.of("a/b"), Alone);
}

#[test]
fn what_is_kept_of_data_is_said_by_three_keys_in_whatever_order() {
    let data = |keys: &[(&str, &str)]| {
        let mut config = Config::new();
        keys.iter().for_each(|(key, value)| config.set(key, value).unwrap());
        config.options().data
    };
    let (none, gzip, limit) = (("data", "none"), ("data.compressed", "gzip"), ("limit.node.bytes", "7"));
    assert_eq!(data(&[gzip]), Data::Gzip { most: 16 << 20 });
    assert_eq!(
        (data(&[limit, gzip]), data(&[gzip, limit])),
        (Data::Gzip { most: 7 }, Data::Gzip { most: 7 })
    );
    assert_eq!((data(&[none, gzip]), data(&[gzip, none])), (Data::None, Data::None));
    assert_eq!(data(&[none, gzip, ("data", "all"), ("data.compressed", "none"), limit]), Data::All);
}

#[test]
fn an_unknown_key_or_a_bad_value_is_named_and_changes_nothing() {
    let mut config = Config::new();
    for (key, value) in [
        ("session.timeout", "1"),
        ("", "1"),
        ("session.timeout.ms", "99"),
        ("session.timeout.ms", "86400001"),
        ("session.timeout.ms", "-1"),
        ("session.timeout.ms", "+5000"),
        ("session.timeout.ms", "5s"),
        ("session.timeout.ms", ""),
        ("limit.nodes", "99999999999999999999999"),
        ("limit.path.bytes", "0"),
        ("limit.path.bytes", "65537"),
        ("limit.frame.bytes", "1048575"),
        ("limit.frame.bytes", "2147483648"),
        ("events.capacity", "0"),
        ("events.bytes", "0"),
        ("root.create", "yes"),
        ("listen.under", "services"),
        ("listen.under", "/services/"),
        ("listen.under", ""),
        ("listen.depth", "-1"),
        ("listen.depth", "none"),
        ("listen.events", ""),
        ("listen.events", "added,gone"),
        ("listen.events", "added, removed"),
        ("listen.initial", "0"),
        ("listen.after.initialized", "yes"),
        ("sasl.mechanism", "PLAIN"),
        ("data", "some"),
        ("data.compressed", "zip"),
        ("limit.node.bytes", "0"),
        ("limit.node.bytes", "2147483648"),
        ("sasl.username", ""),
        ("sasl.principal", ""),
        ("sasl.keytab", ""),
        ("sasl.service", ""),
        ("sasl.service", "zookeeper/zk1"),
        ("sasl.host", "zk1:2181"),
        ("sasl.host", "zk1@TREE"),
        ("tls", "yes"),
        ("tls.ca.file", ""),
        ("follow", ""),
        ("single", "1"),
        ("depth.max", "-1"),
        ("select.exclude", ""),
        ("select.leaf", "/a"),
        ("select.include", "a//b"),
    ] {
        let error = config.set(key, value).unwrap_err();
        assert_eq!(error.status(), Status::InvalidArgument);
        let message = error.to_string();
        assert!(message.contains(&format!("{key:?}")), "{message}");
        assert!(
            key == "session.timeout" || key.is_empty() || message.contains(&format!("{value:?}")),
            "{message}"
        );
    }
    let settings = config.settings(Hosts::parse("localhost").unwrap()).unwrap();
    assert_eq!(settings.session_timeout, Duration::from_secs(10));
}

#[test]
fn what_a_listener_wants_is_set_by_its_keys_and_is_of_the_cache() {
    let mut config = Config::new();
    for (key, value) in [
        ("listen.under", "/app/a"),
        ("listen.under", "/app/b"),
        ("listen.depth", "2"),
        ("listen.events", "added,connection"),
        ("listen.initial", "false"),
        ("listen.after.initialized", "true"),
    ] {
        config.set(key, value).unwrap();
    }
    let Interest { under, depth, kinds, initial, after_initialized } = &config.listen;
    assert_eq!(under.iter().map(NodePath::as_str).collect::<Vec<_>>(), ["/app/a", "/app/b"]);
    assert_eq!((*depth, *initial, *after_initialized), (Some(2), false, true));
    assert_eq!(Some(*kinds), EventKinds::named("added,connection"));
    assert!(config.listener(&NodePath::new("/app").unwrap()).is_ok());
    for (root, outside) in [("/app/a", "/app/b"), ("/ap", "/app/a"), ("/app/a/x", "/app/a")] {
        for refused in [Config::listener, Config::queue] {
            let error = refused(&config, &NodePath::new(root).unwrap()).unwrap_err();
            assert_eq!((error.status(), error.key()), (Status::InvalidArgument, Some("listen.under")));
            let named = [root, outside].map(|path| format!("{path:?}"));
            assert!(named.iter().all(|path| error.to_string().contains(path)), "{error}");
        }
    }
}

#[test]
fn sasl_needs_all_that_belongs_to_it() {
    let all = [("sasl.mechanism", "DIGEST-MD5"), ("sasl.username", "bob"), ("sasl.password", "hunter2")];
    for missing in 0..all.len() {
        let mut config = Config::new();
        for (key, value) in all.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, set)| set) {
            config.set(key, value).unwrap();
        }
        let error = config.settings(Hosts::parse("localhost").unwrap()).unwrap_err();
        assert_eq!(error.status(), Status::InvalidArgument);
        assert!(error.to_string().contains(all[missing].0) && !error.to_string().contains("hunter2"));
    }
}

#[test]
fn kerberos_takes_a_principal_and_its_keytab_and_nothing_of_a_password() {
    let settings = |keys: &[(&str, &str)]| {
        let mut config = Config::new();
        keys.iter().for_each(|(key, value)| config.set(key, value).unwrap());
        config.settings(Hosts::parse("localhost").unwrap())
    };
    let gssapi = ("sasl.mechanism", "GSSAPI");
    let [principal, keytab, host] =
        [("sasl.principal", "app@TREE"), ("sasl.keytab", "/no/such.keytab"), ("sasl.host", "zk1")];
    for (keys, principal) in [
        (&[gssapi][..], None),
        (&[gssapi, keytab, host, ("sasl.service", "zk")], None),
        (&[gssapi, principal, keytab], Some("app@TREE")),
    ] {
        let Some(Sasl::Gssapi { principal: named }) = settings(keys).unwrap().sasl else {
            panic!("{keys:?}")
        };
        assert_eq!(named.as_deref(), principal);
    }
    let digest = [("sasl.mechanism", "DIGEST-MD5"), ("sasl.username", "bob"), ("sasl.password", "hunter2")];
    for (keys, wrong) in [
        (&[principal][..], principal),
        (&[keytab], keytab),
        (&[host], host),
        (&[digest[0], digest[1], digest[2], keytab], keytab),
        (&[gssapi, digest[1]], digest[1]),
        (&[gssapi, principal, digest[2]], digest[2]),
    ] {
        let error = settings(keys).unwrap_err();
        assert_eq!((error.status(), error.key()), (Status::InvalidArgument, Some(wrong.0)));
        let message = error.to_string();
        assert!(message.contains(wrong.0) && message.contains("sasl.mechanism"), "{message}");
        assert_eq!(message.contains(&format!("{:?}", wrong.1)), wrong.1 != "hunter2", "{message}");
    }
}

#[test]
fn no_secret_is_shown() {
    let mut config = Config::new();
    config.set("auth", "digest:me:secret").unwrap();
    config.set("sasl.password", "hunter2").unwrap();
    let shown = format!("{config:?} {config:#?}");
    assert!(!shown.contains("hunter2") && !shown.contains("secret"), "{shown}");
    let refused = config.set("sasl.password", "").unwrap_err().to_string();
    assert!(refused.contains("sasl.password"), "{refused}");
}

#[test]
fn a_refused_credential_is_not_repeated() {
    for secret in ["hunter2", ":hunter2"] {
        let message = Config::new().set("auth", secret).unwrap_err().to_string();
        assert!(message.contains("auth") && !message.contains("hunter2"), "{message}");
    }
}

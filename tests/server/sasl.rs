//! Who the session is, against a real server: SASL DIGEST-MD5 and digest credentials, on every connection, also where
//! the server insists on them, also with TLS; and that no secret is ever shown.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::common::*;
use treecache::{Client, EventKind, Status};
use treecache_test_support::{
    Acl, Ca, Proxy, RequestFrame, Server, Verdict, Witness, expire_session, password_of, unique_root,
};

const SASL: i32 = 102;
const AUTH: i32 = 100;
/// What kind of server it is.
const EXISTS: i32 = 3;
const ADD_WATCH: i32 = 106;

/// Bob is plain; the others' passwords have what must be escaped, and what is in ISO 8859-1 and what is not.
const USERS: [(&str, &str); 4] = [
    ("bob", "correct-horse"),
    ("quoted", "battery\"\\staple"),
    ("latin", "caf\u{e9}-au-lait"),
    ("euro", "\u{20ac}-a-lot"),
];

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::builder().sasl(&USERS).start())
}

fn witness() -> Witness {
    Witness::connect(&server().hosts())
}

fn identity<'a>((username, password): (&'a str, &'a str)) -> [(&'a str, &'a str); 3] {
    [("sasl.mechanism", "DIGEST-MD5"), ("sasl.username", username), ("sasl.password", password)]
}

/// Creates a root that anybody may read, and a child that only `reader` may.
fn plant(witness: &Witness, root: &str, scheme: &str, id: &str) {
    witness.create(root, b"");
    let acl = Acl { perms: Acl::READ, scheme: scheme.to_owned(), id: id.to_owned() };
    witness.create_with_acl(&format!("{root}/private"), b"private", &[acl]);
}

/// Waits until the cache is in step after it was connected again that often.
#[track_caller]
fn in_step_again(recorder: &Recorder, times: usize) {
    recorder.wait_for(|events| {
        let reconnected = |event: &&Recorded| event.kind == EventKind::ConnectionReconnected;
        let mut events = events.iter();
        events.by_ref().filter(reconnected).nth(times - 1).is_some()
            && events.any(|event| event.kind == EventKind::InStep)
    });
}

#[track_caller]
fn assert_rejected(client: &Client, words: &[&str]) {
    let cache = client.cache(&unique_root("rejected"), &config(&[])).unwrap();
    let faults = Faults::of(&cache);
    cache.start().unwrap();
    assert_eq!(cache.wait_initialized(None).map_err(|error| error.status()), Err(Status::Auth));
    let fault = faults.wait_for(|fault| fault.status == Status::Auth);
    for word in words {
        assert!(fault.message.contains(word), "{word:?} is missing in {fault:?}");
    }
}

#[test]
fn every_user_with_the_right_password_reads_what_is_theirs() {
    let witness = witness();
    for user in USERS {
        let root = unique_root(user.0);
        plant(&witness, &root, "sasl", user.0);
        let client = client_with(&server().hosts(), &identity(user));
        let cache = started(&client, &root, &[]);
        assert_eq!(cache.get_data(format!("{root}/private")).unwrap().data(), b"private", "{user:?}");
    }
}

#[test]
fn a_wrong_password_and_an_unknown_user_are_faults_that_say_so() {
    // (The server takes an unknown user for the one before, so the password must be nobody's.)
    for user in [("bob", "wrong"), ("bob", "correct-horse "), ("nobody", "wrong")] {
        let client = client_with(&server().hosts(), &identity(user));
        assert_rejected(&client, &["SASL", &format!("{:?}", user.0), "rejected", "AUTHFAILED"]);
    }
}

#[test]
fn a_server_without_sasl_is_a_fault_that_says_so() {
    let server = Server::start();
    assert_rejected(
        &client_with(&server.hosts(), &identity(USERS[0])),
        &["SASL", "\"bob\"", "does not do SASL"],
    );
}

#[test]
fn a_server_that_insists_on_sasl_takes_who_has_it_and_tells_who_has_not() {
    for enforced in [
        &["sessionRequireClientSASLAuth=true"][..],
        &["enforce.auth.enabled=true", "enforce.auth.schemes=sasl"],
    ] {
        let mut builder = Server::builder().sasl(&USERS);
        for line in enforced {
            builder = builder.config(line);
        }
        let server = builder.start();
        if enforced.len() > 1 && server.version() < (3, 7, 0) {
            continue; // knows only the other way
        }
        let (hosts, root) = (server.hosts(), unique_root("enforced"));
        let client = client_with(&hosts, &identity(USERS[0]));
        let cache = started(&client, &root, &[]);
        assert_eq!(cache.get_data(&root).unwrap().data(), b"");
        // Credentials of another kind do not help.
        for settings in [&[][..], &[("auth", "digest:me:secret")]] {
            assert_rejected(&client_with(&hosts, settings), &["SESSIONCLOSEDREQUIRESASLAUTH"]);
        }
        assert_rejected(&client_with(&hosts, &identity(("bob", "wrong"))), &["SASL", "\"bob\""]);
    }
}

/// The operations that a client has begun each connection of a proxy with, up to the first watch, by the connection's
/// number.
fn first_words(proxy: &Proxy) -> Arc<Mutex<BTreeMap<usize, Vec<i32>>>> {
    let words: Arc<Mutex<BTreeMap<usize, Vec<i32>>>> = Arc::default();
    let heard = words.clone();
    proxy.on_request(Box::new(move |RequestFrame { connection, opcode, .. }| {
        let mut words = heard.lock().unwrap_or_else(PoisonError::into_inner);
        let words = words.entry(connection).or_default();
        if !words.contains(&ADD_WATCH) {
            words.push(opcode);
        }
        Verdict::Pass
    }));
    words
}

#[test]
fn who_the_session_is_comes_before_the_watch_on_new_resumed_and_replaced_sessions() {
    let witness = witness();
    let digest = [("auth", "digest:me:secret")];
    let both = [&identity(USERS[0])[..], &digest].concat();
    let my_id = treecache_test_support::digest_id("me", "secret");
    for (settings, scheme, id, expected) in [
        (&digest[..], "digest", my_id.as_str(), &[AUTH, EXISTS, ADD_WATCH][..]),
        (&both, "sasl", "bob", &[SASL, SASL, AUTH, EXISTS, ADD_WATCH]),
    ] {
        let (root, proxy) = (unique_root("words"), Proxy::start(server().addr()));
        plant(&witness, &root, scheme, id);
        let words = first_words(&proxy);
        let client = client_with(&proxy.hosts(), settings);
        let cache = started(&client, &root, &[]);
        let recorder = Recorder::listen(&cache);
        let private = format!("{root}/private");
        assert_eq!(cache.get_data(&private).unwrap().data(), b"private");

        let session = proxy.last_session();
        proxy.drop_connections();
        in_step_again(&recorder, 1);
        assert_eq!(proxy.last_session(), session, "it was resumed");

        expire_session(server().addr(), session, password_of(session)).expect("the session's end");
        recorder.wait_for_kind(EventKind::Initialized, 2);
        assert_ne!(proxy.last_session(), session);
        assert_eq!(cache.get_data(&private).unwrap().data(), b"private");

        let words = words.lock().unwrap().clone();
        assert!(words.len() >= 3, "{words:?}");
        let complete: Vec<_> = words.values().filter(|words| words.contains(&ADD_WATCH)).collect();
        assert!(complete.len() >= 3 && complete.iter().all(|words| *words == expected), "{words:?}");
    }
}

#[test]
fn tls_and_sasl_and_credentials_go_together_through_cut_connections_and_a_lost_session() {
    let ca = Ca::new("ours");
    let server = Server::builder()
        .sasl(&USERS)
        .tls(&ca.issue(&["127.0.0.1"]), None)
        .config("maxSessionTimeout=1000")
        .start();
    let (witness, root) = (Witness::connect(&server.hosts()), unique_root("together"));
    plant(&witness, &root, "sasl", "bob");
    let mine = Acl::digest(Acl::READ, "me", "secret");
    witness.create_with_acl(&format!("{root}/mine"), b"mine", &[mine]);

    let proxy = Proxy::start(server.secure_addr());
    let ca_file = server.write_file("ca.pem", &ca.pem());
    let rest = [("tls", "true"), ("tls.ca.file", ca_file.as_str()), ("auth", "digest:me:secret")];
    let client = client_with(&proxy.hosts(), &[&identity(USERS[0])[..], &rest].concat());
    let cache = started(&client, &root, &[("audit.interval.ms", "0")]);
    let recorder = Recorder::listen(&cache);
    let all_is_there = |what: &str| {
        for (name, data) in [("private", &b"private"[..]), ("mine", b"mine")] {
            assert_eq!(cache.get_data(format!("{root}/{name}")).unwrap().data(), data, "{what}");
        }
    };
    all_is_there("loaded");
    for round in 1..=3 {
        proxy.drop_connections();
        in_step_again(&recorder, round);
        all_is_there("resumed");
    }
    // Away until the server has ended the session.
    proxy.refuse(true);
    proxy.drop_connections();
    recorder.wait_for_kind(EventKind::ConnectionLost, 1);
    std::thread::sleep(Duration::from_secs(2));
    proxy.refuse(false);
    recorder.wait_for_kind(EventKind::Initialized, 2);
    all_is_there("anew");
    // What changes is notified to those only who may read it.
    witness.add_auth("me", "secret");
    witness.set(&root, b"changed");
    eventually("the change", || cache.get_data(&root).unwrap().data() == b"changed");
    assert!(recorder.events().iter().all(|event| event.kind != EventKind::NodeRemoved));
}

/// Takes every line that is logged in this process, at every level.
struct Tape(Mutex<String>);

impl log::Log for Tape {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{} {} {}\n", record.level(), record.target(), record.args());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_str(&line);
    }

    fn flush(&self) {}
}

#[test]
fn no_secret_is_logged_or_told_or_shown() {
    // The log is the process's.
    in_a_process_of_its_own(|| {
        static TAPE: Tape = Tape(Mutex::new(String::new()));
        log::set_logger(&TAPE).expect("the only logger");
        log::set_max_level(log::LevelFilter::Trace);
        // Right ones, wrong ones, and refused ones.
        let secrets = ["correct-horse", "tr0ub4dor", "swordfish", "12345-luggage"];
        let mut shown = String::new();

        let hosts = server().hosts();
        let settings = [&identity(USERS[0])[..], &[("auth", "digest:me:swordfish")]].concat();
        let client = client_with(&hosts, &settings);
        started(&client, &unique_root("secret"), &[]);
        let wrong = [
            identity(("bob", "tr0ub4dor")).to_vec(),
            // The server knows no such scheme.
            vec![("auth", "no-such-scheme:swordfish")],
        ];
        for settings in [&settings, &wrong[0], &wrong[1]] {
            shown.push_str(&format!("{:?} {:#?}", config(settings), config(settings)));
        }
        for settings in wrong {
            // Where nobody listens to faults, they are logged.
            let unheard = client_with(&hosts, &settings);
            let cache = unheard.cache(&unique_root("unheard"), &config(&[])).unwrap();
            cache.start().unwrap();
            shown.push_str(&format!("{:?}", cache.wait_initialized(None)));

            let client = client_with(&hosts, &settings);
            let faults = Faults::of_client(&client);
            assert_rejected(&client, &[]);
            shown.push_str(&format!("{:?}", faults.told()));
        }
        for settings in [
            &[("auth", ":12345-luggage")][..],
            &[("auth", "12345-luggage")],
            &[("sasl.mechanism", "PLAIN"), ("sasl.password", "12345-luggage")],
            &[("sasl.password", "12345-luggage")],
            &[("sasl.password", "12345-luggage"), ("tls", "true")],
        ] {
            let mut config = treecache::Config::new();
            for (key, value) in settings {
                if let Err(error) = config.set(key, value) {
                    shown.push_str(&format!("{error} {error:?}"));
                }
            }
            if let Err(error) = Client::new(&hosts, &config) {
                shown.push_str(&format!("{error} {error:?}"));
            }
        }

        drop(client);
        let logged = TAPE.0.lock().unwrap().clone();
        assert!(
            logged.contains("connected to") && logged.contains("AUTHFAILED"),
            "the log was on:\n{logged}"
        );
        assert!(shown.contains("bob") && shown.contains("no-such-scheme"), "{shown}");
        for secret in secrets {
            // As text, and as a list of bytes.
            let bytes = format!("{:?}", secret.as_bytes());
            for form in [secret, bytes.trim_matches(['[', ']'])] {
                assert!(!logged.contains(form), "{form} was logged:\n{logged}");
                assert!(!shown.contains(form), "{form} is shown:\n{shown}");
            }
        }
    });
}

//! Kerberos: SASL GSSAPI with a real KDC and a real ZooKeeper. A binary of its own, as it looks at what is loaded; and each
//! test has a process of its own, as a process belongs to one realm.

mod common;

use std::collections::BTreeSet;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use common::*;
use treecache::{Client, EventKind, Fault, State, Status, TreeCache};
use treecache_test_support::{Acl, Kdc, Proxy, Server, Witness, unique_root};

const REALM: &str = "TREE.TEST";

/// How often the library for Kerberos was loaded in this process.
static LOADED: AtomicUsize = AtomicUsize::new(0);
/// The library is hidden.
static HIDDEN: AtomicBool = AtomicBool::new(false);

/// In front of the C library's, for all of this process.
///
/// # Safety
/// As for `dlopen`.
#[unsafe(no_mangle)]
unsafe extern "C" fn dlopen(file: *const c_char, flags: c_int) -> *mut c_void {
    type DlOpen = unsafe extern "C" fn(*const c_char, c_int) -> *mut c_void;
    // SAFETY: the next function of that name is the C library's, and of that type.
    let real: DlOpen = unsafe { std::mem::transmute(libc::dlsym(libc::RTLD_NEXT, c"dlopen".as_ptr())) };
    // SAFETY: a string, or NULL.
    let is_kerberos = !file.is_null() && unsafe { CStr::from_ptr(file) } == c"libgssapi_krb5.so.2";
    let file = match is_kerberos && HIDDEN.load(Ordering::SeqCst) {
        true => c"libgssapi_krb5.so.2.hidden".as_ptr(),
        false => file,
    };
    LOADED.fetch_add(is_kerberos.into(), Ordering::SeqCst);
    // SAFETY: a string, or NULL.
    unsafe { real(file, flags) }
}

/// The realm of most tests. It is there in the parent of their processes only.
fn kdc() -> &'static Kdc {
    static KDC: OnceLock<Kdc> = OnceLock::new();
    KDC.get_or_init(|| Kdc::start(REALM))
}

/// A server of that realm, which is `zookeeper/localhost`.
fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::builder().kerberos(kdc(), "zookeeper/localhost@TREE.TEST").start())
}

/// A KDC with a clock that is wrong, for a realm of the same name.
fn hasty_kdc() -> &'static Kdc {
    static KDC: OnceLock<Kdc> = OnceLock::new();
    KDC.get_or_init(|| Kdc::start_with_clock(REALM, "+1h"))
}

/// Runs a test in a process that belongs to the realm, and has no tickets; and whose environment is `given`.
#[track_caller]
fn in_the_realm(given: impl FnOnce() -> Vec<(&'static str, String)>, test: impl FnOnce()) {
    const ALONE: &str = "TREECACHE_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return test();
    }
    let mut command = Command::new(std::env::current_exe().expect("the name of this program"));
    command.args(["--exact", name_of(&test), "--nocapture"]).env(ALONE, "1");
    command.env("KRB5_CONFIG", kdc().config()).env("KRB5CCNAME", kdc().path("none.cache"));
    command.env("ZOOKEEPER", server().addr().to_string());
    let output = command.envs(given()).output().expect("a process");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// What the test was given.
#[track_caller]
fn given(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} was not given"))
}

fn zookeeper() -> SocketAddr {
    given("ZOOKEEPER").parse().expect("an address")
}

/// The server, by the name that is in its principal.
fn by_name(addr: SocketAddr) -> String {
    format!("localhost:{}", addr.port())
}

fn kerberos(more: &[(&str, &str)]) -> Vec<(String, String)> {
    let more = more.iter().map(|&(key, value)| (key.to_owned(), value.to_owned()));
    std::iter::once(("sasl.mechanism".to_owned(), "GSSAPI".to_owned())).chain(more).collect()
}

#[track_caller]
fn kerberos_client(hosts: &str, more: &[(&str, &str)]) -> Client {
    let settings = kerberos(more);
    let settings: Vec<_> = settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    client_with(hosts, &settings)
}

fn root_of_this_process() -> String {
    unique_root(&format!("kerberos-{}", std::process::id()))
}

/// A cache of a root with a child that only `principal` may read, once it has read that.
#[track_caller]
fn reads_as(client: &Client, principal: &str) -> TreeCache {
    let (witness, root) = (Witness::connect(&zookeeper().to_string()), root_of_this_process());
    witness.create(&root, b"");
    let acl = Acl { perms: Acl::READ, scheme: "sasl".to_owned(), id: principal.to_owned() };
    witness.create_with_acl(&format!("{root}/private"), b"private", &[acl]);
    let cache = started(client, &root, &[("audit.interval.ms", "0")]);
    assert_eq!(cache.get_data(format!("{root}/private")).expect("a node").data(), b"private");
    cache
}

/// The fault with which a client does not come to be connected, which has these words in it. (On a machine that is slow,
/// there may be others before it.)
#[track_caller]
fn rejected(client: &Client, words: &[&str]) -> Fault {
    let cache = client.cache(&root_of_this_process(), &config(&[])).unwrap();
    let faults = Faults::of(&cache);
    cache.start().unwrap();
    assert_eq!(cache.wait_initialized(None).map_err(|error| error.status()), Err(Status::Auth));
    faults.wait_for(|fault| {
        fault.status == Status::Auth && words.iter().all(|word| fault.message.contains(word))
    })
}

#[track_caller]
fn reconnected(recorder: &Recorder, times: usize) {
    recorder.wait_for(|events| {
        let is_again = |event: &&Recorded| event.kind == EventKind::ConnectionReconnected;
        let mut events = events.iter();
        events.by_ref().filter(is_again).nth(times - 1).is_some()
            && events.any(|event| event.kind == EventKind::InStep)
    });
}

/// How many tickets for tickets the KDC has given to a principal.
fn logins(principal: &str) -> usize {
    let log = std::fs::read_to_string(given("KDC_LOG")).expect("the KDC's log");
    let line = |line: &&str| line.contains("AS_REQ") && line.contains("ISSUE") && line.contains(principal);
    log.lines().filter(line).count()
}

/// What the C library's allocator has given out, in all threads.
fn heap_bytes() -> usize {
    // SAFETY: no arguments.
    unsafe { libc::mallinfo2() }.uordblks
}

fn files_named(part: &str) -> BTreeSet<String> {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc/self/maps");
    let files = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    files.filter(|file| file.contains(part)).map(str::to_owned).collect()
}

#[test]
fn the_library_is_loaded_by_the_first_client_that_asks_for_kerberos_and_a_fault_names_its_package() {
    in_the_realm(Vec::new, || {
        let client = client(&zookeeper().to_string());
        started(&client, &root_of_this_process(), &[]);
        drop(client);
        assert_eq!((LOADED.load(Ordering::SeqCst), files_named("gssapi")), (0, BTreeSet::new()));

        HIDDEN.store(true, Ordering::SeqCst);
        let error =
            Client::new("localhost", &config(&[("sasl.mechanism", "GSSAPI")])).err().expect("no library");
        assert_eq!((error.status(), error.key()), (Status::InvalidArgument, Some("sasl.mechanism")));
        let message = error.to_string();
        assert!(message.contains("libgssapi-krb5-2") && message.contains("libgssapi_krb5.so.2"), "{message}");

        // Installed meanwhile.
        HIDDEN.store(false, Ordering::SeqCst);
        drop((kerberos_client("localhost", &[]), kerberos_client("localhost", &[])));
        assert_eq!((LOADED.load(Ordering::SeqCst), files_named("gssapi").len()), (2, 1));
    });
}

#[test]
fn with_a_keytab_the_session_reads_what_is_its_own_and_no_connection_leaves_something_behind() {
    let keytab = || vec![("KEYTAB", kdc().keytab("app/here@TREE.TEST")), ("KDC_LOG", kdc().path("kdc.log"))];
    in_the_realm(keytab, || {
        let proxy = Proxy::start(zookeeper());
        let settings = [("sasl.principal", "app/here@TREE.TEST"), ("sasl.keytab", &given("KEYTAB")[..])];
        let client = kerberos_client(&by_name(proxy.addr()), &settings);
        let cache = reads_as(&client, "app/here@TREE.TEST");
        // Nothing is recorded, as that would be left behind.
        let again = Arc::new(AtomicUsize::new(0));
        let count = again.clone();
        let is_again = |kind| usize::from(kind == EventKind::ConnectionReconnected);
        cache.listen(move |event| _ = count.fetch_add(is_again(event.kind), Ordering::SeqCst)).unwrap();
        let descriptors = || std::fs::read_dir("/proc/self/fd").expect("/proc/self/fd").count();
        let (mut open, mut held) = (0, 0);
        for round in 1..=40 {
            proxy.drop_connections();
            eventually("connected again", || again.load(Ordering::SeqCst) >= round);
            wait_for_state(&cache, State::InStep);
            if round == 10 {
                (open, held) = (descriptors(), heap_bytes());
            }
        }
        eventually("as many descriptors as before", || descriptors() <= open);
        // A context has some KiB, a ticket has one; what the proxy keeps of a connection is less.
        eprintln!("{held} bytes in use, and {} behind 30 connections", heap_bytes());
        eventually("as much memory as before", || heap_bytes() < held + (40 << 10));
        assert_eq!(logins("app/here@TREE.TEST"), 1, "its ticket is kept");
        assert!(!Path::new(&given("KRB5CCNAME")).exists(), "where others look for tickets");
        drop(client);
    });
}

#[test]
fn a_keytab_says_who_the_client_is_where_nothing_else_does() {
    in_the_realm(
        || vec![("KEYTAB", kdc().keytab("alone@TREE.TEST"))],
        || {
            let client = kerberos_client(&by_name(zookeeper()), &[("sasl.keytab", &given("KEYTAB"))]);
            reads_as(&client, "alone@TREE.TEST");
            // The name in hosts need not be that in the principal.
            let settings = [("sasl.keytab", &given("KEYTAB")[..]), ("sasl.host", "localhost")];
            reads_as(&kerberos_client(&zookeeper().to_string(), &settings), "alone@TREE.TEST");
        },
    );
}

#[test]
fn a_ticket_that_ends_is_replaced_with_the_keytab_when_a_connection_needs_one() {
    let short = || {
        vec![
            ("KEYTAB", kdc().keytab("renewed@TREE.TEST")),
            ("KRB5_CONFIG", kdc().write_config("short.conf", "ticket_lifetime = 4s")),
            ("KDC_LOG", kdc().path("kdc.log")),
        ]
    };
    in_the_realm(short, || {
        let proxy = Proxy::start(zookeeper());
        let settings = [("sasl.principal", "renewed@TREE.TEST"), ("sasl.keytab", &given("KEYTAB")[..])];
        let client = kerberos_client(&by_name(proxy.addr()), &settings);
        let cache = reads_as(&client, "renewed@TREE.TEST");
        let (recorder, faults) = (Recorder::listen(&cache), Faults::of_client(&client));
        let before = logins("renewed@TREE.TEST");
        thread::sleep(Duration::from_secs(5));
        assert_eq!(faults.told(), [], "the connection does not end with the ticket");
        proxy.drop_connections();
        reconnected(&recorder, 1);
        assert!(before >= 1 && logins("renewed@TREE.TEST") > before);
    });
}

#[test]
fn a_ticket_cache_is_read_again_for_each_connection() {
    let cache = || {
        let keytab = kdc().keytab("user@TREE.TEST");
        let cache = kdc().path("user.cache");
        kdc().kinit("user@TREE.TEST", &keytab, &cache, 600);
        vec![("KRB5CCNAME", cache), ("KEYTAB", keytab)]
    };
    // As cron does it.
    let kinit = |lifetime: &str| {
        let (keytab, cache) = (given("KEYTAB"), given("KRB5CCNAME"));
        let arguments = ["-k", "-t", &keytab, "-c", &cache, "-l", lifetime, "user@TREE.TEST"];
        assert!(Command::new("kinit").args(arguments).status().expect("kinit").success());
    };
    in_the_realm(cache, || {
        let proxy = Proxy::start(zookeeper());
        // Whose tickets these are need not be said, but can be.
        let client = kerberos_client(&by_name(proxy.addr()), &[]);
        let named = kerberos_client(&by_name(zookeeper()), &[("sasl.principal", "user@TREE.TEST")]);
        let cache = reads_as(&client, "user@TREE.TEST");
        reads_as(&named, "user@TREE.TEST");
        let (recorder, faults) = (Recorder::listen(&cache), Faults::of_client(&client));
        kinit("1s");
        thread::sleep(Duration::from_secs(2));
        proxy.drop_connections();
        let fault = faults.wait_for(|fault| fault.status == Status::Auth);
        assert!(fault.message.contains("expired"), "{fault:?}");
        assert!(recorder.events().iter().all(|event| event.kind != EventKind::ConnectionReconnected));
        kinit("600s");
        reconnected(&recorder, 1);
        let other = kerberos_client(&by_name(zookeeper()), &[("sasl.principal", "somebody@TREE.TEST")]);
        rejected(&other, &["GSSAPI as \"somebody@TREE.TEST\"", "somebody@TREE.TEST"]);
    });
}

#[test]
fn what_is_missing_on_the_clients_side_is_a_fault_that_says_so() {
    in_the_realm(
        || vec![("KEYTAB", kdc().keytab("missing@TREE.TEST"))],
        || {
            let (hosts, keytab) = (by_name(zookeeper()), given("KEYTAB"));
            let cache = given("KRB5CCNAME");
            rejected(&kerberos_client(&hosts, &[]), &["SASL GSSAPI failed", "zookeeper@localhost", &cache]);
            let nowhere = [("sasl.principal", "missing@TREE.TEST"), ("sasl.keytab", "/no/such/keytab")];
            rejected(&kerberos_client(&hosts, &nowhere), &["sasl.keytab", "/no/such/keytab", "No such file"]);
            for principal in ["other@TREE.TEST", "missing@ELSEWHERE.TEST"] {
                let other = [("sasl.principal", principal), ("sasl.keytab", &keytab)];
                rejected(&kerberos_client(&hosts, &other), &[principal, &keytab, "no key of that principal"]);
            }
            let unknown = [("sasl.service", "nosuch"), ("sasl.keytab", &keytab)];
            rejected(&kerberos_client(&hosts, &unknown), &["nosuch/localhost@TREE.TEST", "not found"]);
            // An address is in no principal.
            let client = kerberos_client(&zookeeper().to_string(), &[("sasl.keytab", &keytab)]);
            rejected(&client, &["zookeeper/127.0.0.1@TREE.TEST", "not found", "sasl.host"]);
        },
    );
}

#[test]
fn a_server_in_a_realm_that_the_kdc_does_not_know_is_a_fault_that_names_the_realm() {
    let elsewhere = || {
        let config = std::fs::read_to_string(kdc().config()).expect("a file");
        let path = kdc().path("elsewhere.conf");
        let config = config.replace("localhost = TREE.TEST", "localhost = ELSEWHERE.TEST");
        std::fs::write(&path, config).expect("a file");
        vec![("KEYTAB", kdc().keytab("traveller@TREE.TEST")), ("KRB5_CONFIG", path)]
    };
    in_the_realm(elsewhere, || {
        let client = kerberos_client(&by_name(zookeeper()), &[("sasl.keytab", &given("KEYTAB"))]);
        rejected(&client, &["ELSEWHERE.TEST@TREE.TEST", "not found"]);
    });
}

#[test]
fn a_kdc_that_does_not_answer_holds_up_no_attempt_for_longer_than_its_bound_and_no_other_thread() {
    let config = || {
        vec![
            ("KEYTAB", kdc().keytab("patient@TREE.TEST")),
            ("RIGHT", kdc().config()),
            ("KRB5_CONFIG", kdc().path("changing.conf")),
        ]
    };
    in_the_realm(config, || {
        let (right, place) = (std::fs::read_to_string(given("RIGHT")).expect("a file"), given("KRB5_CONFIG"));
        let write = |kdc: &str| {
            let lines = right.lines().map(|line| match line.trim_start().starts_with("kdc =") {
                true => format!("  kdc = {kdc}\n"),
                false => format!("{line}\n"),
            });
            std::fs::write(&place, lines.collect::<String>()).expect("a file");
        };
        // It takes what it is sent, and says nothing.
        let deaf = TcpListener::bind("127.0.0.1:0").expect("a socket");
        let deaf_too = std::net::UdpSocket::bind(deaf.local_addr().expect("an address")).expect("a socket");
        write(&deaf.local_addr().expect("an address").to_string());
        let settings = [("sasl.keytab", &given("KEYTAB")[..]), ("connect.timeout.ms", "500")];
        let client = kerberos_client(&by_name(zookeeper()), &settings);
        let faults = Faults::of_client(&client);
        rejected(&client, &["no ticket from the KDC within", "connect.timeout.ms"]);
        // There is none; the client goes on, and takes up what it finds.
        drop((deaf, deaf_too));
        faults.wait_for(|fault| fault.message.contains("Cannot contact any KDC for realm 'TREE.TEST'"));
        std::fs::write(&place, &right).expect("a file");
        reads_as(&client, "patient@TREE.TEST");
    });
}

#[test]
fn clocks_that_differ_are_a_fault_that_says_so() {
    let hasty = || {
        vec![
            ("KEYTAB", hasty_kdc().keytab("hasty@TREE.TEST")),
            // Otherwise the library goes by the KDC's clock.
            ("KRB5_CONFIG", hasty_kdc().write_config("strict.conf", "kdc_timesync = 0")),
        ]
    };
    in_the_realm(hasty, || {
        let client = kerberos_client(&by_name(zookeeper()), &[("sasl.keytab", &given("KEYTAB"))]);
        rejected(&client, &["Clock skew too great"]);
    });
}

/// What is said of a server that does not take a ticket.
const REJECTED: [&str; 4] = ["rejected the ticket", "AUTHFAILED", "another key", "clock"];

#[test]
fn a_server_whose_clock_differs_from_the_kdcs_rejects_the_ticket_and_the_fault_says_that_it_may_be_that() {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let late = || {
        let late = SERVER
            .get_or_init(|| Server::builder().kerberos(hasty_kdc(), "late/localhost@TREE.TEST").start());
        vec![
            ("KEYTAB", hasty_kdc().keytab("punctual@TREE.TEST")),
            ("KRB5_CONFIG", hasty_kdc().config()),
            ("LATE", late.addr().to_string()),
        ]
    };
    in_the_realm(late, || {
        let hosts = by_name(given("LATE").parse().expect("an address"));
        let settings = [("sasl.keytab", &given("KEYTAB")[..]), ("sasl.service", "late")];
        assert_eq!(rejected(&kerberos_client(&hosts, &settings), &REJECTED).server_error, -115);
    });
}

#[test]
fn a_server_that_does_not_take_the_ticket_is_a_fault_that_says_what_that_may_mean() {
    static SERVERS: OnceLock<[Server; 2]> = OnceLock::new();
    let others = || {
        let servers = SERVERS.get_or_init(|| {
            let impostor = Server::builder().kerberos(kdc(), "impostor/localhost@TREE.TEST");
            let servers = [impostor.start(), Server::builder().sasl(&[("bob", "secret")]).start()];
            // From now on the server has another key than the KDC.
            kdc().change_key("impostor/localhost@TREE.TEST");
            servers
        });
        let [impostor, digest] = servers;
        vec![
            ("KEYTAB", kdc().keytab("honest@TREE.TEST")),
            ("IMPOSTOR", impostor.addr().to_string()),
            ("DIGEST", digest.addr().to_string()),
            ("KDC_LOG", kdc().path("kdc.log")),
        ]
    };
    in_the_realm(others, || {
        let (keytab, started) = (given("KEYTAB"), Instant::now());
        let mut sessions = Vec::new();
        for (server, service, code, words) in [
            ("IMPOSTOR", "impostor", -115, &REJECTED[..]),
            ("DIGEST", "zookeeper", 0, &["could read the ticket", "it speaks DIGEST-MD5"]),
        ] {
            let hosts = by_name(given(server).parse().expect("an address"));
            let settings =
                [("sasl.principal", "honest@TREE.TEST"), ("sasl.keytab", &keytab), ("sasl.service", service)];
            let client = kerberos_client(&hosts, &settings);
            let fault = rejected(&client, words);
            assert_eq!(fault.server_error, code);
            assert!(fault.message.contains("SASL GSSAPI as \"honest@TREE.TEST\" failed"), "{fault:?}");
            sessions.push(client);
        }
        thread::sleep(Duration::from_secs(5));
        // Each client has logged in, and once more in each minute to see whether that helps; and not with each attempt.
        let (logins, minutes) = (logins("honest@TREE.TEST"), started.elapsed().as_secs() as usize / 60);
        assert!((2..=2 * (minutes + 2)).contains(&logins), "{logins} logins");
    });
}

/// A server that lets everybody begin a session, and answers one step of SASL with each of these words.
fn liar(words: &'static [&'static [u8]]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let addr = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // Ends when the client does.
            let _ = lie(client, words);
        }
    });
    addr
}

fn lie(mut client: TcpStream, words: &[&[u8]]) -> std::io::Result<()> {
    let next = |client: &mut TcpStream| {
        let mut len = [0; 4];
        client.read_exact(&mut len)?;
        let mut frame = vec![0; u32::from_be_bytes(len) as usize];
        client.read_exact(&mut frame).map(|()| frame)
    };
    next(&mut client)?;
    let welcome = [&[0; 4][..], &6000i32.to_be_bytes(), &7i64.to_be_bytes(), &16i32.to_be_bytes(), &[1; 17]];
    let say = |client: &mut TcpStream, body: &[u8]| {
        client.write_all(&[&(body.len() as u32).to_be_bytes(), body].concat())
    };
    say(&mut client, &welcome.concat())?;
    for word in words {
        let asked = next(&mut client)?;
        let reply = [&asked[..4], &[0; 12], &(word.len() as u32).to_be_bytes(), word];
        say(&mut client, &reply.concat())?;
    }
    next(&mut client).map(drop)
}

#[test]
fn a_server_that_takes_any_ticket_without_being_able_to_read_it_is_not_believed() {
    in_the_realm(
        || vec![("KEYTAB", kdc().keytab("trusting@TREE.TEST"))],
        || {
            const LIES: [(&[&[u8]], &str); 3] = [
                (&[b"", b"", b""], "does not do SASL"),
                (&[b"welcome", b"\x01\0\0\0", b""], "has not shown that it could read the ticket"),
                (&[b"\x01\0\0\0", b"", b""], "has not shown that it could read the ticket"),
            ];
            let keytab = given("KEYTAB");
            for (words, reason) in LIES {
                let client = kerberos_client(&by_name(liar(words)), &[("sasl.keytab", &keytab)]);
                rejected(&client, &[reason]);
            }
        },
    );
}

#[test]
fn on_a_server_with_kerberos_other_credentials_go_on_and_a_password_of_sasl_is_refused() {
    in_the_realm(
        || vec![("KEYTAB", kdc().keytab("both@TREE.TEST"))],
        || {
            let (witness, root) = (Witness::connect(&zookeeper().to_string()), root_of_this_process());
            witness.create(&root, b"");
            let mine = Acl::digest(Acl::READ, "me", "secret");
            witness.create_with_acl(&format!("{root}/mine"), b"mine", &[mine]);
            let digest = ("auth", "digest:me:secret");
            let both = kerberos_client(&by_name(zookeeper()), &[("sasl.keytab", &given("KEYTAB")), digest]);
            for client in [both, client_with(&zookeeper().to_string(), &[digest])] {
                let cache = started(&client, &root, &[]);
                assert_eq!(cache.get_data(format!("{root}/mine")).unwrap().data(), b"mine");
            }
            // A server has one mechanism: that of its own login.
            let sasl =
                [("sasl.mechanism", "DIGEST-MD5"), ("sasl.username", "bob"), ("sasl.password", "secret")];
            rejected(&client_with(&zookeeper().to_string(), &sasl), &["DIGEST-MD5", "\"bob\"", "AUTHFAILED"]);
        },
    );
}

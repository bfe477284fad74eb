//! TLS, against a real server: who is trusted, who is not and why, and that all else is as without.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use crate::common::*;
use treecache::{Client, Config, EventKind, Fault, Status};
use treecache_test_support::{Ca, Identity, Proxy, Server, Witness, unique_root};

/// The server that most tests share, and who vouches for it.
struct Secured {
    server: Server,
    ca: Ca,
    ca_file: String,
}

/// Its certificate is for the address at which it serves, and for no name.
fn secured() -> &'static Secured {
    static SECURED: OnceLock<Secured> = OnceLock::new();
    SECURED.get_or_init(|| {
        let ca = Ca::new("ours");
        let server = Server::builder().tls(&ca.issue(&["127.0.0.1"]), None).start();
        let ca_file = server.write_file("ca.pem", &ca.pem());
        Secured { server, ca, ca_file }
    })
}

impl Secured {
    fn witness(&self) -> Witness {
        Witness::connect(&self.server.hosts())
    }

    /// A client with TLS that trusts the server.
    fn client(&self, hosts: &str) -> Client {
        client_with(hosts, &[("tls", "true"), ("tls.ca.file", &self.ca_file)])
    }

    fn localhost(&self) -> String {
        format!("localhost:{}", self.server.secure_addr().port())
    }
}

/// What a client that cannot get through says of it, each of several times.
#[track_caller]
fn refused(hosts: &str, settings: &[(&str, &str)]) -> Fault {
    // A server that has only just been started may take long for its first handshake.
    let client = client_with(hosts, &[settings, &[("connect.timeout.ms", "20000")][..]].concat());
    let faults = Faults::of_client(&client);
    let cache = client.cache("/", &config(&[])).unwrap();
    cache.start().unwrap();
    eventually("three faults", || faults.told().len() >= 3);
    assert_eq!(
        cache.wait_initialized(Some(Duration::ZERO)).map_err(|error| error.status()),
        Err(Status::Timeout),
        "it may succeed yet"
    );
    let told = faults.told();
    assert!(told.iter().all(|fault| fault == &told[0]), "{told:#?}");
    told[0].clone()
}

#[track_caller]
fn assert_says(fault: &Fault, status: Status, words: &[&str]) {
    let Fault { message, .. } = fault;
    assert_eq!(fault.status, status, "{message}");
    for word in words {
        assert!(message.contains(word), "{word:?} is missing in {message:?}");
    }
}

#[test]
fn a_tree_is_loaded_and_followed_and_verified_after_a_reconnect() {
    let (secured, root) = (secured(), unique_root("tls"));
    let (witness, proxy) = (secured.witness(), Proxy::start(secured.server.secure_addr()));
    witness.create(&root, b"root");
    witness.create(&format!("{root}/a"), b"1");
    let client = secured.client(&proxy.hosts());
    let cache = started(&client, &root, &[]);
    assert_same_as_server(&cache, &witness, &root);
    witness.set(&format!("{root}/a"), b"2");
    assert_same_as_server(&cache, &witness, &root);
    let recorder = Recorder::listen(&cache);
    proxy.drop_connections();
    recorder.wait_for_event(EventKind::ConnectionReconnected, "");
    witness.create(&format!("{root}/b"), b"3");
    assert_same_as_server(&cache, &witness, &root);
    assert_told_the_tree(&recorder, &cache);
}

/// Data in which no part looks like another.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| rng.u8(..)).take(len).collect()
}

#[test]
fn large_data_arrives_whole_however_often_the_stream_is_cut() {
    let (secured, root) = (secured(), unique_root("large"));
    let (witness, proxy) = (secured.witness(), Proxy::start(secured.server.secure_addr()));
    witness.create(&root, b"");
    for n in 0..10 {
        witness.create(&format!("{root}/{n}"), &noise(n, 500_000));
    }
    let client = secured.client(&proxy.hosts());
    let cache = client.cache(&root, &config(&[])).unwrap();
    let recorder = Recorder::listen(&cache);
    cache.start().unwrap();
    // In handshakes, in the first records, and far into the data.
    let mut rng = fastrand::Rng::with_seed(1);
    for most in [500, 5_000, 50_000, 500_000, 1_000_000, 2_000_000] {
        let cut = proxy.bytes_to_client() + rng.u64(1..most);
        eventually("bytes", || {
            proxy.bytes_to_client() >= cut || cache.wait_initialized(Some(Duration::ZERO)).is_ok()
        });
        proxy.drop_connections();
    }
    initialized(&cache);
    assert_same_as_server(&cache, &witness, &root);
    assert_told_the_tree(&recorder, &cache);
}

/// Passes connections on to `upstream`; what comes back comes in small pieces of random length.
fn dribble(upstream: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            let server = TcpStream::connect(upstream).unwrap();
            client.set_nodelay(true).unwrap();
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Both);
            });
            thread::spawn(move || {
                let (mut server, mut client, mut buffer) = (server, client, [0; 64]);
                let mut rng = fastrand::Rng::with_seed(2);
                while let Ok(len @ 1..) = server.read(&mut buffer[..rng.usize(1..64)]) {
                    if client.write_all(&buffer[..len]).is_err() {
                        break;
                    }
                }
                let _ = client.shutdown(Shutdown::Both);
            });
        }
    });
    addr
}

#[test]
fn records_may_come_in_pieces() {
    let (secured, root) = (secured(), unique_root("pieces"));
    let witness = secured.witness();
    witness.create(&root, &noise(1, 50_000));
    for n in 0..200 {
        witness.create(&format!("{root}/{n}"), b"small");
    }
    let client = secured.client(&dribble(secured.server.secure_addr()).to_string());
    let cache = started(&client, &root, &[]);
    witness.set(&root, &noise(2, 50_000));
    assert_same_as_server(&cache, &witness, &root);
}

#[test]
fn a_server_is_trusted_only_where_its_issuer_is() {
    let (secured, hosts) = (secured(), secured().server.secure_addr().to_string());
    // Of the same name as the right one.
    let other = secured.server.write_file("other.pem", &Ca::new("ours").pem());
    for verify in ["true", "false"] {
        let fault =
            refused(&hosts, &[("tls", "true"), ("tls.ca.file", &other), ("tls.verify.hostname", verify)]);
        assert_says(&fault, Status::Tls, &[&hosts, "certificate", "issuer", "tls.ca.file"]);
    }
    // One of several.
    let bundle = format!("{}\n# the right one:\n{}", Ca::new("another").pem(), secured.ca.pem());
    let bundle = secured.server.write_file("bundle.pem", &bundle);
    let client = client_with(&hosts, &[("tls", "true"), ("tls.ca.file", &bundle)]);
    started(&client, &unique_root("bundle"), &[]);
}

#[test]
fn a_certificate_must_be_for_the_name_in_hosts_unless_that_is_switched_off() {
    let secured = secured();
    let settings = [("tls", "true"), ("tls.ca.file", secured.ca_file.as_str())];
    let fault = refused(&secured.localhost(), &settings);
    assert_says(&fault, Status::Tls, &["localhost", "127.0.0.1", "not valid for name"]);
    let settings = [settings[0], settings[1], ("tls.verify.hostname", "false")];
    let client = client_with(&secured.localhost(), &settings);
    started(&client, &unique_root("name"), &[]);
}

#[test]
fn an_expired_certificate_is_refused_whether_or_not_names_are_verified() {
    let ca = Ca::new("ours");
    let server = Server::builder().tls(&ca.issue_expired(&["127.0.0.1"]), None).start();
    let ca_file = server.write_file("ca.pem", &ca.pem());
    for verify in ["true", "false"] {
        let fault = refused(
            &server.secure_addr().to_string(),
            &[("tls", "true"), ("tls.ca.file", &ca_file), ("tls.verify.hostname", verify)],
        );
        assert_says(&fault, Status::Tls, &["certificate", "expired"]);
    }
}

#[test]
fn a_server_that_wants_to_know_its_clients_takes_those_with_the_right_certificate() {
    // In 1.3 a client learns only behind the handshake that it was refused.
    for protocol in ["TLSv1.2", "TLSv1.3"] {
        let (ca, clients, root) = (Ca::new("servers"), Ca::new("clients"), unique_root("mutual"));
        let server = Server::builder()
            .tls(&ca.issue(&["localhost"]), Some(&clients))
            .config(&format!("ssl.protocol={protocol}"))
            .config("ssl.ciphersuites=TLS_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")
            .start();
        let witness = Witness::connect(&server.hosts());
        witness.create(&root, b"data");
        let hosts = format!("localhost:{}", server.secure_addr().port());
        let ca_file = server.write_file("ca.pem", &ca.pem());
        let trust = [("tls", "true"), ("tls.ca.file", ca_file.as_str())];

        assert_says(&refused(&hosts, &trust), Status::Tls, &["client's certificate", "misses one"]);

        let files = |name: &str, identity: &Identity| {
            let (cert, key) = (format!("{name}.crt"), format!("{name}.key"));
            (server.write_file(&cert, &identity.cert), server.write_file(&key, &identity.key))
        };
        let stranger = files("stranger", &Ca::new("clients").issue(&["me"]));
        let expired = files("expired", &clients.issue_expired(&["me"]));
        for (cert, key) in [stranger, expired] {
            let settings = [trust[0], trust[1], ("tls.cert.file", &cert), ("tls.key.file", &key)];
            assert_says(&refused(&hosts, &settings), Status::Tls, &["client's certificate"]);
        }

        let (cert, key) = files("me", &clients.issue(&["me"]));
        let settings = [trust[0], trust[1], ("tls.cert.file", &cert), ("tls.key.file", &key)];
        let client = client_with(&hosts, &settings);
        assert_same_as_server(&started(&client, &root, &[]), &witness, &root);
    }
}

#[test]
fn where_one_side_speaks_tls_and_the_other_does_not_a_fault_says_so() {
    let secured = secured();
    let plain = secured.server.addr().to_string();
    let fault = refused(&plain, &[("tls", "true"), ("tls.ca.file", &secured.ca_file)]);
    assert_says(&fault, Status::Tls, &[&plain, "may not speak TLS"]);

    let fault = refused(&secured.server.secure_addr().to_string(), &[]);
    assert_says(
        &fault,
        Status::Connection,
        &["the server closed the connection", "one side alone speaks TLS"],
    );

    let chatty = listener(|mut client| {
        let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        let _ = client.read(&mut [0; 1000]);
    });
    let fault = refused(&chatty.to_string(), &[("tls", "true"), ("tls.ca.file", &secured.ca_file)]);
    assert_says(&fault, Status::Tls, &["does not speak TLS"]);
}

#[test]
fn renewed_files_count_from_the_next_connection_on_and_broken_ones_do_not() {
    let (secured, root) = (secured(), unique_root("renewed"));
    let (witness, proxy) = (secured.witness(), Proxy::start(secured.server.secure_addr()));
    witness.create(&root, b"");
    let file = secured.server.write_file("renewed.pem", &Ca::new("of last year").pem());
    let client = client_with(&proxy.hosts(), &[("tls", "true"), ("tls.ca.file", &file)]);
    let faults = Faults::of_client(&client);
    faults.wait_for(|fault| fault.status == Status::Tls && fault.message.contains("issuer"));

    secured.server.write_file("renewed.pem", &secured.ca.pem());
    let cache = started(&client, &root, &[]);
    assert_same_as_server(&cache, &witness, &root);

    let recorder = Recorder::listen(&cache);
    secured.server.write_file("renewed.pem", "half of it");
    proxy.drop_connections();
    recorder.wait_for_event(EventKind::ConnectionReconnected, "");
    let fault = faults.wait_for(|fault| fault.message.contains("renewed.pem"));
    assert_says(&fault, Status::Tls, &["read before", "no certificate"]);
    assert_same_as_server(&cache, &witness, &root);
}

#[test]
fn a_pipe_in_the_place_of_a_file_holds_up_nothing() {
    let (secured, root) = (secured(), unique_root("pipe"));
    let (witness, proxy) = (secured.witness(), Proxy::start(secured.server.secure_addr()));
    witness.create(&root, b"");
    let file = secured.server.write_file("swapped.pem", &secured.ca.pem());
    let client = client_with(&proxy.hosts(), &[("tls", "true"), ("tls.ca.file", &file)]);
    let faults = Faults::of_client(&client);
    let cache = started(&client, &root, &[]);
    let recorder = Recorder::listen(&cache);
    std::fs::remove_file(&file).unwrap();
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    for round in 1..=2 {
        proxy.drop_connections();
        recorder.wait_for_kind(EventKind::ConnectionReconnected, round);
    }
    let fault = faults.wait_for(|fault| fault.status == Status::Tls);
    assert_says(&fault, Status::Tls, &["read before", "swapped.pem: not a file"]);
    assert_same_as_server(&cache, &witness, &root);
    // Nor when a client is made.
    let error = Client::new("127.0.0.1:1", &config(&[("tls", "true"), ("tls.ca.file", &file)])).err();
    assert!(error.expect("no client").to_string().contains("swapped.pem: not a file"));
}

#[test]
fn files_that_cannot_be_used_are_named_when_the_client_is_made() {
    let secured = secured();
    let mine = secured.ca.issue(&["me"]);
    let cert = secured.server.write_file("mine.crt", &mine.cert);
    let key = secured.server.write_file("mine.key", &mine.key);
    let other_key = secured.server.write_file("other.key", &secured.ca.issue(&["me"]).key);
    let junk = secured.server.write_file("junk.pem", "-----BEGIN PRIVATE KEY-----\nhunter2\n");
    let (tls, ca) = (("tls", "true"), ("tls.ca.file", secured.ca_file.as_str()));
    for (settings, reason) in [
        (&[tls][..], "tls.ca.file"),
        (&[ca], "\"tls\" is not true"),
        (&[("tls.key.file", &key)], "\"tls\" is not true"),
        (&[tls, ca, ("tls.cert.file", &cert)], "need each other"),
        (&[tls, ca, ("tls.key.file", &key)], "need each other"),
        (&[tls, ("tls.ca.file", "/no/such/file")], "/no/such/file: No such file"),
        (&[tls, ("tls.ca.file", "/tmp")], "/tmp: not a file"),
        (&[tls, ("tls.ca.file", "/dev/zero")], "/dev/zero: not a file"),
        (&[tls, ("tls.ca.file", &key)], "mine.key: no certificate"),
        (&[tls, ca, ("tls.cert.file", &cert), ("tls.key.file", &cert)], "mine.crt: no private key"),
        (&[tls, ca, ("tls.cert.file", &cert), ("tls.key.file", &junk)], "junk.pem: no private key"),
        (&[tls, ca, ("tls.cert.file", &key), ("tls.key.file", &key)], "mine.key: no certificate"),
        (&[tls, ca, ("tls.cert.file", &cert), ("tls.key.file", &other_key)], "other.key"),
    ] {
        let error = Client::new("127.0.0.1:1", &config(settings)).err().expect(reason);
        assert_eq!(error.status(), Status::InvalidArgument, "{error}");
        assert!(error.to_string().contains(reason), "{reason:?} is missing in {error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    assert!(Config::new().set("tls.ca.file", "").is_err());
}

fn listen_for_ever(mut client: TcpStream) {
    while let Ok(1..) = client.read(&mut [0; 1000]) {}
}

fn say_nothing(client: TcpStream) {
    listen_for_ever(client);
}

/// The head of a record of 100 bytes, and one of them.
fn begin_to_say_something(mut client: TcpStream) {
    let _ = client.write_all(&[22, 3, 3, 0, 100, 2]);
    listen_for_ever(client);
}

/// Records without end, of which each holds a byte of one long handshake message.
fn never_stop(mut client: TcpStream) {
    let _ = client.write_all(&[22, 3, 3, 0, 5, 2, 0, 255, 255, 0]);
    while client.write_all(&[22, 3, 3, 0, 1, 0]).is_ok() {}
}

fn warn_without_end(mut client: TcpStream) {
    while client.write_all(&[21, 3, 3, 0, 2, 1, 90]).is_ok() {}
}

#[test]
fn a_handshake_that_does_not_end_is_given_up_in_time_and_nobody_spins() {
    let ca_file = secured().ca_file.as_str();
    let client = |serve: fn(TcpStream), timeout: &str| {
        let settings = [("tls", "true"), ("tls.ca.file", ca_file), ("connect.timeout.ms", timeout)];
        IoThread::of_a_new_client(&listener(serve).to_string(), &settings)
    };

    // Waiting is for free.
    let waiting = [say_nothing, begin_to_say_something].map(|serve: fn(TcpStream)| client(serve, "60000"));
    thread::sleep(Duration::from_millis(500));
    let used = || waiting.iter().map(|(_, io)| io.cpu_time()).sum::<Duration>();
    let before = used();
    thread::sleep(Duration::from_secs(2));
    let used = used() - before;
    assert!(used < Duration::from_millis(100), "{used:?} of processor time while waiting");
    drop(waiting);

    for (serve, timeout, status) in [
        (say_nothing as fn(TcpStream), "300", Status::Connection),
        (begin_to_say_something, "300", Status::Connection),
        // Time does not end these.
        (never_stop, "20000", Status::Tls),
        (warn_without_end, "20000", Status::Tls),
    ] {
        let (client, _) = client(serve, timeout);
        let faults = Faults::of_client(&client);
        eventually("two faults", || faults.told().len() >= 2);
        assert!(faults.told().iter().all(|fault| fault.status == status), "{:?}", faults.told());
    }
}

//! What becomes of secrets: who exposes one is told so in the log, and none is left behind in memory when a client is gone.
//! Each test has a process of its own, as the log and the memory are the process's.

mod common;

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use common::in_a_process_of_its_own;
use log::{LevelFilter, Log, Metadata, Record};
use treecache::{Client, Config};
use treecache_test_support::Ca;
use zeroize::{Zeroize, Zeroizing};

static TAPE: Tape = Tape(Mutex::new(Vec::new()));

struct Tape(Mutex<Vec<String>>);

impl Log for Tape {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        self.0.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

/// What is said of secrets when a client is made.
fn warnings(settings: &[(&str, &str)]) -> Vec<String> {
    let mut config = Config::new();
    for (key, value) in settings {
        config.set(key, value).unwrap();
    }
    // Nobody is there.
    drop(Client::new("127.0.0.1:1", &config).unwrap());
    let said = std::mem::take(&mut *TAPE.0.lock().unwrap());
    assert!(said.iter().all(|line| !line.contains("hunter2")), "{said:?}");
    said.into_iter().filter(|line| line.contains("\"auth\"") || line.contains("\"tls.key.file\"")).collect()
}

#[test]
fn who_exposes_a_secret_is_told_once_for_each_client() {
    in_a_process_of_its_own(|| {
        log::set_logger(&TAPE).unwrap();
        log::set_max_level(LevelFilter::Warn);
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, contents: &str, mode| {
            let file = folder.path().join(name);
            fs::write(&file, contents).unwrap();
            fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            file.to_str().unwrap().to_owned()
        };
        let ca = Ca::new("ours");
        let me = ca.issue(&["me"]);
        let (ca_file, cert) = (file("ca.pem", &ca.pem(), 0o644), file("me.crt", &me.cert, 0o644));
        let digest = [("auth", "digest:me:hunter2"), ("auth", "digest:you:hunter2")];
        let tls = [("tls", "true"), ("tls.ca.file", ca_file.as_str())];

        for _ in 0..2 {
            let [warning] = &warnings(&digest)[..] else { panic!("not one") };
            assert!(warning.contains("digest") && warning.contains("\"tls\""), "{warning}");
        }
        for quiet in [&[][..], &[("auth", "ip:hunter2")], &[&digest[..], &tls].concat()] {
            assert_eq!(warnings(quiet), [""; 0], "{quiet:?}");
        }
        for (mode, expected) in [(0o600, 0), (0o640, 0), (0o644, 1)] {
            let key = file("me.key", &me.key, mode);
            let mutual = [("tls.cert.file", cert.as_str()), ("tls.key.file", key.as_str())];
            let said = warnings(&[&tls[..], &mutual].concat());
            assert_eq!(said.len(), expected, "{mode:o}: {said:?}");
            assert!(said.iter().all(|line| line.contains("me.key")), "{said:?}");
        }
    });
}

/// So long that what the allocator writes into freed memory, at its beginning, leaves most of it.
const LEN: usize = 128;

/// So much of its end is looked for.
const END: usize = 32;

/// A secret that this test itself does not have in memory as it is.
#[derive(Clone, Copy)]
struct Needle([u8; LEN]);

impl Needle {
    fn new() -> Needle {
        Needle(std::array::from_fn(|_| fastrand::alphanumeric() as u8 ^ 0x80))
    }

    /// One by one, so that no copy is left on the stack.
    fn bytes(self) -> impl Iterator<Item = u8> {
        self.0.into_iter().map(|byte| byte ^ 0x80)
    }

    /// How often it is in the memory of this process.
    fn count(self) -> usize {
        let memory = File::open("/proc/self/mem").unwrap();
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let mut bytes = Vec::new();
        let mut found = 0;
        for map in maps.lines().filter(|map| map.contains(" rw-p ")) {
            let (from, to) = map.split_once(' ').unwrap().0.split_once('-').unwrap();
            let (from, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
            bytes.zeroize();
            bytes.resize((to - from) as usize, 0);
            if memory.read_exact_at(&mut bytes, from).is_ok() {
                let is_it = |window: &&[u8]| window.iter().copied().eq(self.bytes().skip(LEN - END));
                found += bytes.windows(END).filter(is_it).count();
            }
            bytes.zeroize();
        }
        found
    }
}

/// Takes the session and the credentials of a client, and waits for its end.
fn serve(mut client: TcpStream, password: Needle) {
    let mut heard = [0; 1024];
    client.read_exact(&mut heard[..4]).unwrap();
    let len = u32::from_be_bytes(heard[..4].try_into().unwrap()) as usize;
    client.read_exact(&mut heard[..len]).unwrap();
    let mut welcome = Vec::with_capacity(200);
    welcome.extend([0, 0, 0, 20 + LEN as u8, 0, 0, 0, 0, 0, 0, 0x27, 0x10]);
    welcome.extend([1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, LEN as u8]);
    welcome.extend(password.bytes());
    client.write_all(&welcome).unwrap();
    welcome.zeroize();
    while client.read(&mut heard).is_ok_and(|len| len > 0) {}
    heard.zeroize();
}

#[test]
fn no_password_is_left_behind() {
    in_a_process_of_its_own(|| {
        let (credential, session) = (Needle::new(), Needle::new());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let hosts = listener.local_addr().unwrap().to_string();
        let server = thread::spawn(move || serve(listener.accept().unwrap().0, session));
        {
            let mut config = Config::new();
            let mut auth = Zeroizing::new(String::with_capacity(200));
            auth.push_str("digest:me:");
            auth.extend(credential.bytes().map(char::from));
            config.set("auth", &auth).unwrap();
            drop(auth);
            assert!(credential.count() > 0, "what is looked for can be found");
            let client = Client::new(&hosts, &config).unwrap();
            let began = Instant::now();
            while session.count() == 0 {
                assert!(began.elapsed() < Duration::from_secs(20), "no connection");
                thread::sleep(Duration::from_millis(10));
            }
            thread::sleep(Duration::from_millis(100));
            drop(client);
        }
        server.join().unwrap();
        // The I/O thread may still be letting go. A look takes its time: the wait begins behind the first.
        let look = || (credential.count(), session.count());
        let mut left = look();
        let began = Instant::now();
        while left != (0, 0) {
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "left of the credential and of the session: {left:?}"
            );
            thread::sleep(Duration::from_millis(10));
            left = look();
        }
    });
}

//! What the log says of secrets that others may come to know. In a process of its own, as the log is the process's.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;

use log::{LevelFilter, Log, Metadata, Record};
use treecache::{Client, Config};
use treecache_test_support::Ca;

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
}

//! A real Kerberos KDC, of MIT's, in a process of its own.

use crate::port::Port;
use crate::server::WATCH;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

/// Generous: a loaded CI machine does much else.
const START_BOUND: Duration = Duration::from_secs(60);

/// What clients and servers of a realm are told of it.
const CLIENTS: &str = "[libdefaults]
 default_realm = REALM
 dns_lookup_kdc = false
 dns_lookup_realm = false
 dns_canonicalize_hostname = false
 rdns = false
 MORE
[realms]
 REALM = {
  kdc = 127.0.0.1:PORT
 }
[domain_realm]
 localhost = REALM
";

/// What the KDC itself is told.
const KDC: &str = "[kdcdefaults]
 kdc_listen = 127.0.0.1:PORT
 kdc_tcp_listen = 127.0.0.1:PORT
[realms]
 REALM = {
  database_name = FOLDER/principal
  key_stash_file = FOLDER/stash
  supported_enctypes = aes256-cts-hmac-sha1-96:normal
 }
[logging]
 kdc = FILE:FOLDER/kdc.log
";

/// The KDC of a realm, on a loopback port. It ends when this is dropped, and also when the test process ends in any other
/// way.
pub struct Kdc {
    realm: String,
    port: Port,
    folder: PathBuf,
    process: Option<Child>,
}

impl Kdc {
    /// Starts one, and waits until it answers.
    ///
    /// # Panics
    /// When it does not within a minute, or Debian's packages krb5-kdc, krb5-admin-server and krb5-user are missing.
    pub fn start(realm: &str) -> Kdc {
        Kdc::start_at(realm, None)
    }

    /// Starts one whose clock is wrong, by `+1h`, say.
    pub fn start_with_clock(realm: &str, offset: &str) -> Kdc {
        Kdc::start_at(realm, Some(offset))
    }

    fn start_at(realm: &str, offset: Option<&str>) -> Kdc {
        let folder = tempfile::Builder::new().prefix("treecache-kdc-").tempdir();
        let folder = folder.expect("a folder for the KDC").keep();
        let mut kdc = Kdc { realm: realm.to_owned(), port: Port::reserve(), folder, process: None };
        kdc.write_config("krb5.conf", "");
        kdc.write("kdc.conf", KDC);
        kdc.run(kdc.command("kdb5_util").args(["create", "-s", "-P", "master"]));
        let mut command = kdc.command("sh");
        command.args(["-c", WATCH, "kdc"]).arg(&kdc.folder).args(["krb5kdc", "-n"]);
        if let Some(offset) = offset {
            command.envs(wrong_clock(offset));
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        kdc.process = Some(command.spawn().expect("sh"));
        let (started, address) = (Instant::now(), SocketAddr::from((Ipv4Addr::LOCALHOST, kdc.port.number)));
        while TcpStream::connect(address).is_err() {
            assert!(started.elapsed() < START_BOUND, "the KDC does not start: {}", kdc.log());
            thread::sleep(Duration::from_millis(10));
        }
        kdc
    }

    /// The file that `KRB5_CONFIG` names for who belongs to the realm.
    pub fn config(&self) -> String {
        self.path("krb5.conf")
    }

    /// Another such file, with `more` lines among the defaults.
    pub fn write_config(&self, name: &str, more: &str) -> String {
        self.write(name, &CLIENTS.replace("MORE", more))
    }

    /// A file with the keys of a principal, which is added to the realm the first time; it gets other ones each time, so
    /// that those in an older file are of no use any more.
    pub fn keytab(&self, principal: &str) -> String {
        let keytab = self.path(&format!("{}.keytab", principal.replace('/', "-")));
        let known = self.run(self.command("kadmin.local").args(["listprincs", principal]));
        if !known.contains(principal) {
            self.run(self.command("kadmin.local").args([
                "addprinc",
                "-randkey",
                "+requires_preauth",
                principal,
            ]));
        }
        let _ = fs::remove_file(&keytab);
        self.run(self.command("kadmin.local").args(["ktadd", "-k", &keytab, principal]));
        keytab
    }

    /// Gives a principal another key, which is in no keytab.
    pub fn change_key(&self, principal: &str) {
        self.run(self.command("kadmin.local").args(["change_password", "-randkey", principal]));
    }

    /// Puts a ticket that lasts for so many seconds into a cache.
    pub fn kinit(&self, principal: &str, keytab: &str, cache: &str, seconds: u32) {
        let lifetime = format!("{seconds}s");
        self.run(self.command("kinit").args(["-k", "-t", keytab, "-c", cache, "-l", &lifetime, principal]));
    }

    /// What it has logged: a line for each ticket.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("kdc.log")).unwrap_or_default()
    }

    /// A path within its folder. Nothing is made there.
    pub fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().expect("a path in UTF-8").to_owned()
    }

    fn write(&self, name: &str, text: &str) -> String {
        let folder = self.folder.to_str().expect("a path in UTF-8");
        let text = text.replace("REALM", &self.realm).replace("FOLDER", folder);
        let path = self.path(name);
        fs::write(&path, text.replace("PORT", &self.port.number.to_string())).expect("a file");
        path
    }

    fn command(&self, program: &str) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("env");
        command.arg(format!("PATH={path}:/usr/sbin")).arg(program).stdin(Stdio::null());
        command.env("KRB5_CONFIG", self.config()).env("KRB5_KDC_PROFILE", self.path("kdc.conf"));
        command
    }

    #[track_caller]
    fn run(&self, command: &mut Command) -> String {
        let output = command.output().expect("env");
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {said}");
        said.into_owned()
    }
}

impl Drop for Kdc {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.stdin.take());
            let _ = process.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The environment in which a process and its children have a wrong time of day. How fast time goes by stays as it is.
///
/// # Panics
/// When Debian's package faketime is missing.
fn wrong_clock(offset: &str) -> [(&'static str, String); 3] {
    let folders = fs::read_dir("/usr/lib").expect("/usr/lib");
    let mut libraries = folders.flatten().map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    let library = libraries.find(|library| library.exists()).expect("Debian's package faketime");
    [
        ("LD_PRELOAD", library.to_str().expect("a path in UTF-8").to_owned()),
        ("FAKETIME", offset.to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
}

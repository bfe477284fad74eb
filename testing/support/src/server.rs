//! A real ZooKeeper server in a process of its own.

use crate::kdc::Kdc;
use crate::port::Port;
use crate::tls::{Ca, Identity};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

/// How long a server may take to serve. Generous: a loaded CI machine starts several JVMs at once.
const START_BOUND: Duration = Duration::from_secs(60);

/// How long a server that serves may take to answer a four-letter word.
pub(crate) const FOUR_LETTER_BOUND: Duration = Duration::from_secs(5);

/// Where a server's jars come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Version {
    /// Debian's packages `zookeeper` and `libslf4j-java`.
    Debian,
    /// All jars of a folder, as `scripts/zookeeper-servers` prepares it.
    Jars(PathBuf),
}

impl Version {
    /// What the environment variable `TREECACHE_TEST_ZOOKEEPER` says: unset or `debian`, or a folder of jars.
    pub fn from_env() -> Version {
        match env::var_os("TREECACHE_TEST_ZOOKEEPER") {
            Some(value) if !value.is_empty() && value != "debian" => Version::Jars(value.into()),
            _ => Version::Debian,
        }
    }

    fn classpath(&self) -> String {
        // The jar's manifest names the rest, save for a logger and two that Netty needs for TLS.
        const DEBIAN: [&str; 4] = [
            "/usr/share/java/zookeeper.jar",
            "/usr/share/java/slf4j-simple.jar",
            "/usr/share/java/netty-codec.jar",
            "/usr/share/java/netty-resolver.jar",
        ];
        match self {
            Version::Debian => {
                assert!(
                    Path::new(DEBIAN[0]).exists(),
                    "{} is missing: install Debian's packages zookeeper and default-jre-headless",
                    DEBIAN[0]
                );
                DEBIAN.join(":")
            }
            Version::Jars(folder) => {
                let entries = fs::read_dir(folder)
                    .unwrap_or_else(|error| panic!("cannot list the jars in {}: {error}", folder.display()));
                let mut jars: Vec<String> = entries
                    .filter_map(|entry| Some(entry.ok()?.path().to_str()?.to_owned()))
                    .filter(|path| path.ends_with(".jar"))
                    .collect();
                assert!(!jars.is_empty(), "no jars in {}", folder.display());
                jars.sort();
                jars.join(":")
            }
        }
    }
}

/// What a server is to be like. Made by [`Server::builder`].
#[derive(Debug, Clone)]
pub struct ServerBuilder {
    version: Version,
    tick_time: u32,
    heap: u32,
    properties: Vec<(String, String)>,
    config: Vec<String>,
    tls: Option<(Identity, Option<String>)>,
    /// Who the server itself is to SASL.
    jaas: Option<String>,
    /// `myid`, of a member of an ensemble.
    id: Option<usize>,
    commanded: bool,
}

impl ServerBuilder {
    /// Serves with TLS on a port of its own, besides the one without, and shows `identity` there. With `clients`, who
    /// connects there must have a certificate of that CA.
    pub fn tls(mut self, identity: &Identity, clients: Option<&Ca>) -> Self {
        self.tls = Some((identity.clone(), clients.map(Ca::pem)));
        self
    }

    /// Lets these users authenticate with SASL DIGEST-MD5.
    pub fn sasl(mut self, users: &[(&str, &str)]) -> Self {
        let users: String = users.iter().map(|&(user, password)| jaas_user(user, password)).collect();
        let module = "org.apache.zookeeper.server.auth.DigestLoginModule";
        self.jaas = Some(format!("Server {{ {module} required {users}; }};\n"));
        self.config("authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider")
    }

    /// Lets whoever has a ticket of the realm authenticate with SASL GSSAPI. The server is `principal`, and has the keys
    /// that are in its keytab now.
    pub fn kerberos(mut self, kdc: &Kdc, principal: &str) -> Self {
        let keytab = kdc.keytab(principal);
        self.jaas = Some(format!(
            "Server {{ com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true keyTab=\"{keytab}\" \
             storeKey=true useTicketCache=false isInitiator=false principal=\"{principal}\"; }};\n"
        ));
        self.property("java.security.krb5.conf", &kdc.config())
            .config("authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider")
    }

    /// Sets a Java system property, say `zookeeper.watchManagerName`.
    pub fn property(mut self, name: &str, value: &str) -> Self {
        self.properties.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Appends a line to the configuration file; it wins over the same key set before.
    pub fn config(mut self, line: &str) -> Self {
        self.config.push(line.to_owned());
        self
    }

    /// Sets the tick, in milliseconds. Session timeouts may be as short as two ticks and as long as a minute.
    pub fn tick_time(mut self, milliseconds: u32) -> Self {
        self.tick_time = milliseconds;
        self
    }

    /// Sets the most memory that its data may take, in MiB.
    pub fn heap(mut self, mebibytes: u32) -> Self {
        self.heap = mebibytes;
        self
    }

    /// Chooses another version than the environment's.
    pub fn version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    /// Lets the server do what [`Server::command`] says. Needs a JDK.
    pub fn commanded(mut self) -> Self {
        self.commanded = true;
        self
    }

    /// Starts the server and waits until it serves.
    ///
    /// # Panics
    /// With the server's log, when it does not within a minute.
    pub fn start(self) -> Server {
        let mut server = self.prepare();
        server.launch();
        server.wait_until_it_serves();
        server
    }

    /// The server becomes member `id` of an ensemble, whose members the configuration names.
    pub(crate) fn member(mut self, id: usize) -> Self {
        self.id = Some(id);
        self
    }

    /// A server that is not started yet.
    pub(crate) fn prepare(self) -> Server {
        let folder = tempfile::Builder::new().prefix("treecache-zookeeper-").tempdir();
        let folder = folder.expect("a folder for the server").keep();
        let secure_port = self.tls.is_some().then(Port::reserve);
        let command_port = self.commanded.then(Port::reserve);
        let server =
            Server { port: Port::reserve(), secure_port, command_port, folder, builder: self, process: None };
        server.configure();
        server
    }
}

/// A standalone ZooKeeper server on a loopback port. It ends when this is dropped, and also when the test process
/// ends in any other way.
pub struct Server {
    port: Port,
    secure_port: Option<Port>,
    command_port: Option<Port>,
    folder: PathBuf,
    builder: ServerBuilder,
    process: Option<Process>,
}

/// The server's JVM and the shell that watches over it.
struct Process {
    shell: Child,
    pid: u32,
}

/// Runs the JVM and ends it when standard input closes, which it does however the test process ends. (A parent
/// death signal would be tied to the thread that called, which in tests is a short-lived one.) Nobody is left to
/// remove the folder then, so the shell does, unless it was told to keep it.
pub(crate) const WATCH: &str = r#"
folder=$1; shift
"$@" </dev/null >>"$folder/log" 2>&1 &
pid=$!
echo $pid
exec >/dev/null 2>&1
word=
read -r word
kill -9 $pid
wait $pid
[ "$word" = keep ] || rm -rf "$folder"
"#;

impl Server {
    /// Starts a server with the defaults.
    pub fn start() -> Server {
        Server::builder().start()
    }

    /// A server of the environment's version with a tick of 200 ms, to be adjusted.
    pub fn builder() -> ServerBuilder {
        ServerBuilder {
            version: Version::from_env(),
            tick_time: 200,
            heap: 512,
            properties: Vec::new(),
            config: Vec::new(),
            tls: None,
            jaas: None,
            id: None,
            commanded: false,
        }
    }

    /// The connect string: `127.0.0.1:port`.
    pub fn hosts(&self) -> String {
        self.addr().to_string()
    }

    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port.number))
    }

    /// Where TLS is spoken.
    ///
    /// # Panics
    /// When the server was made without.
    pub fn secure_addr(&self) -> SocketAddr {
        let port = self.secure_port.as_ref().expect("a server with TLS");
        SocketAddr::from((Ipv4Addr::LOCALHOST, port.number))
    }

    /// Writes a file, in place of the one before, and returns its path. It is gone with the server.
    pub fn write_file(&self, name: &str, contents: &str) -> String {
        let (file, new) = (self.folder.join(name), self.folder.join(format!("{name}.new")));
        fs::write(&new, contents).and_then(|()| fs::rename(&new, &file)).expect("a file");
        file.to_str().expect("a path in UTF-8").to_owned()
    }

    /// The JVM's process id.
    ///
    /// # Panics
    /// While the server is down.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("the server is down").pid
    }

    /// Ends the server at once (SIGKILL) and waits until it is gone. The data stays.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            if let Some(mut stdin) = process.shell.stdin.take() {
                let _ = stdin.write_all(b"keep\n");
            }
            let _ = process.shell.wait();
        }
    }

    /// Starts the server again, on the same port and with the same data, and waits until it serves. A running one
    /// is killed first.
    pub fn restart(&mut self) {
        self.kill();
        self.launch();
        self.wait_until_it_serves();
    }

    /// Deletes the server's data, so that the next [`restart`](Self::restart) begins at zxid 0.
    ///
    /// # Panics
    /// While the server runs.
    pub fn wipe(&mut self) {
        assert!(self.process.is_none(), "kill the server before wiping its data");
        fs::remove_dir_all(self.data()).expect("the server's data removed");
    }

    /// Keeps a copy of the data of a server that is down.
    pub fn back_up(&self) -> Backup {
        assert!(self.process.is_none(), "kill the server before its data are copied");
        let folder = tempfile::Builder::new().prefix("backup-").tempdir_in(&self.folder);
        let folder = folder.expect("a folder for the copy");
        copy_folder(&self.data(), folder.path());
        Backup { folder }
    }

    /// Puts a copy in place of the data of a server that is down. It may be that of another server.
    pub fn put_back(&mut self, backup: &Backup) {
        if self.data().exists() {
            self.wipe();
        }
        copy_folder(backup.folder.path(), &self.data());
    }

    /// Deletes the data but the epoch: an ensemble whose servers are all down begins anew in the one behind
    /// `epoch`, as if it had had that many elections.
    pub fn wipe_all_but_epoch(&mut self, epoch: i64) {
        self.wipe();
        fs::create_dir_all(self.history()).expect("a folder for the data");
        for file in ["acceptedEpoch", "currentEpoch"] {
            fs::write(self.history().join(file), epoch.to_string()).expect("the epoch written");
        }
    }

    /// The zxid of the last transaction, or what the server takes for one. Waits for one that looks for a leader.
    pub fn zxid(&self) -> i64 {
        let deadline = Instant::now() + START_BOUND;
        loop {
            let answer = self.four_letter("srvr");
            let hex = answer.split("Zxid: 0x").nth(1).and_then(|rest| rest.lines().next());
            if let Some(zxid) = hex.and_then(|hex| i64::from_str_radix(hex, 16).ok()) {
                return zxid;
            }
            assert!(Instant::now() < deadline, "no zxid in {answer:?}");
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Has the server do what no client can ask of it; `testing/support/java` says what there is. Returns when done.
    ///
    /// # Panics
    /// When it cannot be done, or the server was not made for it.
    #[track_caller]
    pub fn command(&self, command: &str) {
        let port = self.command_port.as_ref().expect("a server that can be commanded").number;
        let answer = four_letter((Ipv4Addr::LOCALHOST, port).into(), &format!("{command}\n"), START_BOUND);
        assert_eq!(answer.expect("an answer").trim_end(), "ok", "{}", self.log());
    }

    /// A path within the server's folder, for [`command`](Self::command). Nothing is made there.
    pub fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().expect("a path in UTF-8").to_owned()
    }

    /// What the server is: `standalone`, `leader` or `follower`; `None` while it does not serve.
    pub fn mode(&self) -> Option<String> {
        // Asked again soon: a server that is only just starting may lose a connection and never answer it.
        let answer = four_letter(self.addr(), "srvr", Duration::from_secs(1)).ok()?;
        answer.lines().find_map(|line| Some(line.strip_prefix("Mode: ")?.to_owned()))
    }

    /// Stops the process (SIGSTOP): connections stay open, nothing is answered.
    pub fn pause(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// Lets a paused process run on (SIGCONT).
    pub fn resume(&self) {
        self.signal(libc::SIGCONT);
    }

    /// Sends a four-letter word and returns the answer; empty when the server is down. A busy one is asked again.
    ///
    /// # Panics
    /// When it does not answer within a minute.
    pub fn four_letter(&self, word: &str) -> String {
        let deadline = Instant::now() + START_BOUND;
        loop {
            match four_letter(self.addr(), word, FOUR_LETTER_BOUND) {
                Ok(answer) => return answer,
                Err(error) if !matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => {
                    return String::new();
                }
                Err(error) => assert!(Instant::now() < deadline, "no answer to {word}: {error}"),
            }
        }
    }

    /// The server's version, as in `(3, 8, 0)`.
    pub fn version(&self) -> (u32, u32, u32) {
        let answer = self.four_letter("srvr");
        let text = answer.strip_prefix("Zookeeper version: ").unwrap_or_default();
        let mut parts = text.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse().ok());
        let mut next = || parts.next().unwrap_or_else(|| panic!("no version in {answer:?}"));
        (next(), next(), next())
    }

    /// What the server has logged, warnings and worse.
    pub fn log(&self) -> String {
        fs::read(self.folder.join("log")).map_or_else(
            |error| format!("(no log: {error})"),
            |bytes| String::from_utf8_lossy(&bytes).into_owned(),
        )
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Where the server keeps its transaction logs and snapshots, for [`crate::TransactionLog::read`].
    pub fn history(&self) -> PathBuf {
        self.data().join("version-2")
    }

    fn signal(&self, signal: libc::c_int) {
        // SAFETY: no memory effects. The shell reaps the JVM only after `process` is taken, so the id is still its.
        let result = unsafe { libc::kill(self.pid() as libc::pid_t, signal) };
        assert_eq!(result, 0, "signal {signal} to the server: {}", std::io::Error::last_os_error());
    }

    fn configure(&self) {
        let mut lines = vec![
            format!("dataDir={}", self.data().display()),
            format!("clientPort={}", self.port.number),
            "clientPortAddress=127.0.0.1".into(),
            format!("tickTime={}", self.builder.tick_time),
            format!("minSessionTimeout={}", 2 * self.builder.tick_time),
            "maxSessionTimeout=60000".into(),
            "maxClientCnxns=0".into(),
            "admin.enableServer=false".into(),
            "4lw.commands.whitelist=*".into(),
            // The data need not survive the machine, and snapshots would only add noise to what is timed.
            "forceSync=no".into(),
            "preAllocSize=256".into(),
            "snapCount=10000000".into(),
            "autopurge.purgeInterval=0".into(),
        ];
        if let Some((identity, clients)) = &self.builder.tls {
            let store = self.write_file("server.pem", &format!("{}{}", identity.key, identity.cert));
            lines.extend([
                "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory".into(),
                format!("secureClientPort={}", self.secure_addr().port()),
                "secureClientPortAddress=127.0.0.1".into(),
                format!("ssl.keyStore.location={store}"),
                "ssl.keyStore.type=PEM".into(),
                format!("ssl.clientAuth={}", if clients.is_some() { "need" } else { "none" }),
            ]);
            if let Some(clients) = clients {
                let trusted = self.write_file("clients.pem", clients);
                lines.push(format!("ssl.trustStore.location={trusted}"));
                lines.push("ssl.trustStore.type=PEM".into());
            }
        }
        if let Some(jaas) = &self.builder.jaas {
            self.write_file(JAAS, jaas);
        }
        lines.extend(self.builder.config.iter().cloned());
        fs::write(self.folder.join("zoo.cfg"), lines.join("\n") + "\n").expect("the configuration written");
        // For the versions that come with log4j 1; the others read the system properties set at the start.
        let log4j = "log4j.rootLogger=WARN, out\nlog4j.appender.out=org.apache.log4j.ConsoleAppender\n\
                     log4j.appender.out.layout=org.apache.log4j.PatternLayout\n\
                     log4j.appender.out.layout.ConversionPattern=%d %p [%t] %c: %m%n\n";
        fs::write(self.folder.join("log4j.properties"), log4j).expect("the log configuration written");
    }

    /// Starts the process, and does not wait until it serves.
    pub(crate) fn launch(&mut self) {
        if let Some(id) = self.builder.id {
            fs::create_dir_all(self.data()).expect("a folder for the data");
            fs::write(self.data().join("myid"), id.to_string()).expect("the id written");
        }
        let mut command = Command::new("sh");
        command.args(["-c", WATCH, "zookeeper"]).arg(&self.folder);
        command.arg("java").arg(format!("-Xmx{}m", self.builder.heap));
        command.args(["-XX:+UseSerialGC", "-Xshare:auto"]);
        command.args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dlog4j2.level=WARN"]);
        command.arg(format!("-Dlog4j.configuration=file:{}", self.folder.join("log4j.properties").display()));
        if self.builder.jaas.is_some() {
            let jaas = self.folder.join(JAAS);
            command.arg(format!("-Djava.security.auth.login.config={}", jaas.display()));
        }
        for (name, value) in &self.builder.properties {
            command.arg(format!("-D{name}={value}"));
        }
        command.args(["-cp", &self.builder.version.classpath()]);
        command.arg(match self.builder.id {
            _ if self.builder.commanded => self.write_file("CommandedServer.java", COMMANDED_SERVER),
            None => "org.apache.zookeeper.server.ZooKeeperServerMain".into(),
            Some(_) => "org.apache.zookeeper.server.quorum.QuorumPeerMain".into(),
        });
        command.arg(self.folder.join("zoo.cfg"));
        command.args(self.command_port.as_ref().map(|port| port.number.to_string()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // Its own process group: what ends the test process by its group must leave the shell to clean up.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut shell = command.spawn().expect("sh");
        let mut line = String::new();
        let stdout = shell.stdout.take().expect("a piped stdout");
        BufReader::new(stdout).read_line(&mut line).expect("the server's process id");
        let pid = line.trim().parse().expect("the server's process id");
        self.process = Some(Process { shell, pid });
    }

    pub(crate) fn wait_until_it_serves(&self) {
        let pid = self.pid();
        let deadline = Instant::now() + START_BOUND;
        // Short at first: a server that is only just starting may lose a connection and never answer it.
        let mut patience = Duration::from_millis(100);
        loop {
            // Asked first: an answer counts only from a server that is still there afterwards.
            let asked = Instant::now();
            let serves =
                four_letter(self.addr(), "srvr", patience).is_ok_and(|answer| answer.contains("Mode: "));
            if asked.elapsed() >= patience {
                patience = FOUR_LETTER_BOUND.min(patience * 2);
            }
            // The port with TLS is opened last.
            let serves = serves
                && self.secure_port.as_ref().is_none_or(|_| TcpStream::connect(self.secure_addr()).is_ok());
            let ended = has_ended(pid);
            if serves && !ended {
                return;
            }
            if ended || Instant::now() > deadline {
                let why = if ended { "ended" } else { "does not serve" };
                panic!("the ZooKeeper server on {} {why}; its log:\n{}", self.addr(), self.log());
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// One server for all tests of this binary, started on first use. It ends with the process.
pub fn shared() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(Server::start)
}

/// The data of a server as they were. It is within the server's folder, and gone with it or when this is dropped.
pub struct Backup {
    folder: tempfile::TempDir,
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder's entries") {
        let from = entry.expect("a folder's entry").path();
        let to = to.join(from.file_name().expect("a name"));
        if from.is_dir() {
            copy_folder(&from, &to);
        } else {
            fs::copy(&from, &to).expect("a copy");
        }
    }
}

/// Java compiles it when it starts it.
const COMMANDED_SERVER: &str = include_str!("../java/CommandedServer.java");

/// Where a server finds its users.
const JAAS: &str = "jaas.conf";

fn jaas_user(user: &str, password: &str) -> String {
    format!("user_{user}=\"{}\" ", password.replace('\\', "\\\\").replace('"', "\\\""))
}

/// True when the process is gone, or dead and waiting for the shell to reap it.
fn has_ended(pid: u32) -> bool {
    if !Path::new("/proc/self/stat").exists() {
        return false; // the deadline decides
    }
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_none_or(|rest| rest.trim_start().is_empty() || rest.starts_with(" Z"))
}

/// Sends a four-letter word and reads the answer, for `patience` at most a step.
pub(crate) fn four_letter(addr: SocketAddr, word: &str, patience: Duration) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&addr, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.write_all(word.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Witness, Writer};

    #[test]
    fn a_killed_server_comes_back_with_its_data_and_a_wiped_one_without() {
        let mut server = Server::start();
        let folder = server.folder.clone();
        Witness::connect(&server.hosts()).create("/kept", b"data");
        let port = server.addr();
        server.kill();
        assert_eq!(server.four_letter("srvr"), "");
        server.restart();
        assert_eq!(server.addr(), port);
        assert_eq!(Witness::connect(&server.hosts()).get("/kept").expect("/kept").0, b"data");
        server.kill();
        server.wipe();
        server.restart();
        assert!(!Witness::connect(&server.hosts()).exists("/kept"));
        drop(server);
        assert!(!folder.exists());
    }

    #[test]
    fn a_server_that_is_put_back_has_what_it_had() {
        let mut server = Server::start();
        Witness::connect(&server.hosts()).create("/kept", b"data");
        server.kill();
        let backup = server.back_up();
        server.restart();
        let zxid = server.zxid();
        let witness = Witness::connect(&server.hosts());
        witness.set("/kept", b"later");
        witness.create("/late", b"");
        server.kill();
        server.put_back(&backup);
        server.restart();
        assert_eq!(server.zxid(), zxid);
        let witness = Witness::connect(&server.hosts());
        assert_eq!(witness.get("/kept").expect("/kept").0, b"data");
        assert!(!witness.exists("/late"));
    }

    #[test]
    fn a_server_does_what_it_is_told() {
        let server = Server::builder().commanded().start();
        let mut writer = Writer::connect(server.addr(), Duration::from_secs(20)).expect("a session");
        let witness = Witness::connect(&server.hosts());
        writer.create("/a", Some(b"1"), 0).expect("a node");
        let folder = server.path("snapshot");
        server.command(&format!("snapshot {folder}"));
        let zxid = writer.set("/a", Some(b"2")).expect("a set");
        server.command(&format!("restore {folder}"));
        assert_eq!(server.zxid(), zxid - 1);
        assert_eq!(witness.get("/a").expect("/a").0, b"1");
        assert_eq!(writer.set("/a", Some(b"3")), Ok(zxid + 1));

        server.command(&format!("cversion /a {}", i32::MAX));
        let before = witness.stat("/a").expect("/a");
        writer.create("/a/b", None, 0).expect("a node");
        let after = witness.stat("/a").expect("/a");
        assert_eq!((after.cversion, after.pzxid), (before.cversion - 1, before.pzxid));

        server.command("hold /a");
        writer.send_set("/a", Some(b"held")).expect("a set");
        thread::scope(|scope| {
            let held = scope.spawn(|| writer.drain());
            thread::sleep(Duration::from_millis(300));
            assert!(!held.is_finished());
            server.command("release");
            held.join().expect("no panic").expect("a set");
        });
    }

    #[test]
    fn a_paused_server_answers_once_it_is_resumed() {
        let server = Server::start();
        let mut writer = Writer::connect(server.addr(), Duration::from_secs(20)).expect("a session");
        server.pause();
        let started = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(300));
                server.resume();
            });
            writer.ping().expect("an answer");
        });
        assert!(started.elapsed() >= Duration::from_millis(300));
    }

    #[test]
    fn the_shell_ends_the_server_and_removes_its_folder_when_the_pipe_closes() {
        let mut server = Server::start();
        let pid = server.pid();
        let mut process = server.process.take().expect("a process");
        drop(process.shell.stdin.take());
        process.shell.wait().expect("the shell's end");
        assert!(has_ended(pid));
        assert!(!server.folder.exists());
    }

    #[test]
    fn the_tick_bounds_session_timeouts() {
        let server = Server::builder().tick_time(300).config("maxSessionTimeout=5000").start();
        let short = Writer::connect(server.addr(), Duration::from_millis(1)).expect("a session");
        assert_eq!(short.timeout(), Duration::from_millis(600));
        let long = Writer::connect(server.addr(), Duration::from_secs(50)).expect("a session");
        assert_eq!(long.timeout(), Duration::from_secs(5));
    }
}

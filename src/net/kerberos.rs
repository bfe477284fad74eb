//! Tokens of Kerberos for the servers that a client connects to (SASL's GSSAPI, RFC 4752). They are made on a thread that
//! nobody waits for: a KDC or a resolver may take its time.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::errand::Errand;
use super::gssapi::{self, Credentials, Library, TicketCache};
use super::waker::Waker;
use crate::escape::Escaped;
use crate::planted::{self, Defect};
use crate::session::{Host, Token};

/// How often tickets are got anew because a server rejects those that there are.
const RENEWAL: Duration = Duration::from_secs(60);

/// RFC 4752: what follows the exchange is neither signed nor encrypted.
const NO_SECURITY_LAYER: u8 = 1;

/// What a client says of Kerberos, by the keys that say it.
#[derive(Debug, Clone)]
pub struct KerberosKeys {
    /// `sasl.service`: the first part of the servers' principals.
    pub service: String,
    /// `sasl.host`: the second part; `None` for the name that a server has in the connection string.
    pub host: Option<String>,
    /// `sasl.principal`: who the client is; `None` for the keytab's first, or whoever the ticket cache is of.
    pub principal: Option<String>,
    /// `sasl.keytab`; `None` for the ticket cache.
    pub keytab: Option<PathBuf>,
}

/// The system's Kerberos, as one client uses it.
pub struct Kerberos {
    library: &'static Library,
    keys: KerberosKeys,
    /// For what is got with the keytab.
    tickets: TicketCache,
}

impl Kerberos {
    /// Loads the system's library, if no client of this process has done so. Whether there are tickets shows when a server
    /// is to be connected to.
    ///
    /// # Errors
    /// The library is not there, or too old; the text says what is missing.
    pub fn load(keys: KerberosKeys) -> Result<Kerberos, String> {
        let library = Library::load()?;
        Ok(Kerberos { library, keys, tickets: TicketCache::new(library) })
    }

    /// A context with a server, with tickets that are renewed as need be; with `anew`, in any case.
    fn context(&self, host: &Host, anew: bool) -> Result<gssapi::Context, String> {
        let principal = self.keys.principal.as_deref();
        let credentials = match &self.keys.keytab {
            None => Credentials::acquire(self.library, principal, None)?,
            Some(keytab) => {
                if anew {
                    self.tickets.forget();
                }
                self.credentials_with(keytab.as_os_str(), principal).map_err(|reason| {
                    format!("\"sasl.keytab\": {}: {reason}", Escaped(&keytab.to_string_lossy()))
                })?
            }
        };
        gssapi::Context::new(credentials, &self.target(host))
    }

    fn credentials_with(&self, keytab: &OsStr, principal: Option<&str>) -> Result<Credentials, String> {
        // The library does not say that it could not read the file.
        File::open(keytab).map_err(|error| error.to_string())?;
        let name = CString::new([b"FILE:", keytab.as_bytes()].concat());
        let name = name.map_err(|_| "a NUL in the name".to_owned())?;
        Credentials::acquire(self.library, principal, Some((&name, &self.tickets)))
    }

    fn target(&self, host: &Host) -> String {
        let name = self.keys.host.as_deref().unwrap_or(host.name_without_zone());
        format!("{}@{name}", self.keys.service)
    }

    /// What to say where there is no ticket for a server.
    fn no_ticket(&self, host: &Host, reason: &str) -> String {
        let target = self.target(host);
        let hint = match self.keys.host {
            None if host.name_without_zone().parse::<IpAddr>().is_ok() => {
                "; the server is named by its address, and \"sasl.host\" can name the host of its principal"
            }
            _ => "",
        };
        format!("no ticket for {}: {reason}{hint}", Escaped(&target))
    }
}

/// What a handshake needs of a context; tests have their own.
trait Context {
    fn step(&mut self, token: Option<&[u8]>) -> Result<Vec<u8>, String>;
    fn is_established(&self) -> bool;
    fn is_mutual(&self) -> bool;
    fn own_name(&self) -> Result<Vec<u8>, String>;
    fn unwrap(&mut self, token: &[u8]) -> Result<Vec<u8>, String>;
    fn wrap(&mut self, message: &[u8]) -> Result<Vec<u8>, String>;
}

impl Context for gssapi::Context {
    fn step(&mut self, token: Option<&[u8]>) -> Result<Vec<u8>, String> {
        self.step(token)
    }

    fn is_established(&self) -> bool {
        self.is_established()
    }

    fn is_mutual(&self) -> bool {
        self.is_mutual()
    }

    fn own_name(&self) -> Result<Vec<u8>, String> {
        self.own_name()
    }

    fn unwrap(&mut self, token: &[u8]) -> Result<Vec<u8>, String> {
        self.unwrap(token)
    }

    fn wrap(&mut self, message: &[u8]) -> Result<Vec<u8>, String> {
        self.wrap(message)
    }
}

/// RFC 4752, from the client's side.
struct Handshake<C>(C);

impl<C: Context> Handshake<C> {
    /// The answer to a server's challenge; `None` begins.
    fn next(&mut self, challenge: Option<&[u8]>) -> Result<Token, String> {
        let Handshake(context) = self;
        if !context.is_established() {
            let bytes = match (context.step(challenge), challenge) {
                (Err(reason), Some(word)) => return Err(not_shown(word, &reason)),
                (bytes, _) => bytes?,
            };
            if context.is_established() && !context.is_mutual() && !planted::is(Defect::MutualNotDemanded) {
                return Err(not_shown(challenge.unwrap_or_default(), "it does not say"));
            }
            return Ok(Token { bytes, is_last: false });
        }
        let offer = match context.unwrap(challenge.unwrap_or_default()) {
            Err(_) if planted::is(Defect::LastTokenUnchecked) => vec![NO_SECURITY_LAYER, 0, 0, 0],
            offer => offer.map_err(|reason| format!("the server's last token: {reason}"))?,
        };
        match offer[..] {
            [layers, _, _, _] if layers & NO_SECURITY_LAYER != 0 => {}
            [_, _, _, _] => return Err("the server insists on a security layer".to_owned()),
            _ => return Err("the server's last token has not 4 bytes".to_owned()),
        }
        // As ZooKeeper's client in Java, which acts for nobody but itself.
        let answer = [&[NO_SECURITY_LAYER, 0, 0, 0][..], &context.own_name()?].concat();
        Ok(Token { bytes: context.wrap(&answer)?, is_last: true })
    }
}

/// A server's word is no answer to a ticket.
fn not_shown(word: &[u8], reason: &str) -> String {
    let is_digest = word.windows(6).any(|part| part == b"nonce=");
    let reason = if is_digest { "it speaks DIGEST-MD5" } else { reason };
    format!("the server has not shown that it could read the ticket: {reason}")
}

/// Whether tickets that are kept may be of no use any more: the keys of a KDC's principals may change long before the
/// tickets end.
#[derive(Default)]
struct Doubt {
    /// A ticket was shown to a server that has not answered with a token of its own.
    is_open: bool,
    renewed: Option<Instant>,
}

impl Doubt {
    /// Whether to get tickets anew. At most once in a while: not all that servers reject is cured by that.
    fn take(&mut self, now: Instant) -> bool {
        let is_due = self.is_open && self.renewed.is_none_or(|renewed| now >= renewed + RENEWAL);
        if is_due {
            self.renewed = Some(now);
        }
        is_due
    }
}

/// What a connection waits for.
struct Wish {
    host: Host,
    challenge: Option<Vec<u8>>,
}

/// What came of an errand.
struct Made {
    host: Host,
    is_first: bool,
    made: Result<(Handshake<gssapi::Context>, Token), String>,
}

/// Makes the tokens of a client, one at a time.
pub(super) struct Tokens {
    kerberos: Arc<Kerberos>,
    maker: Errand<Made>,
    wish: Option<Wish>,
    /// Of the connection, unless an errand has it.
    handshake: Option<Handshake<gssapi::Context>>,
    doubt: Doubt,
}

impl Tokens {
    pub(super) fn new(kerberos: Arc<Kerberos>, waker: Arc<Waker>) -> Tokens {
        Tokens {
            kerberos,
            maker: Errand::new("treecache-krb5", waker),
            wish: None,
            handshake: None,
            doubt: Doubt::default(),
        }
    }

    /// Begins to make a token; the waker tells when to poll. If there is an answer at once, it is that there will be none.
    pub(super) fn make(&mut self, host: Host, challenge: Option<Vec<u8>>, now: Instant) -> Option<String> {
        if challenge.is_some() {
            self.doubt.is_open = false;
        }
        self.wish = Some(Wish { host, challenge });
        self.start(now)
    }

    /// The connection is gone. An errand goes on: the first token that it makes may serve the next connection to that
    /// server.
    pub(super) fn abandon(&mut self) {
        (self.wish, self.handshake) = (None, None);
    }

    /// The token that is waited for, or why there is none, once.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Result<Token, String>> {
        let Made { host, is_first, made } = self.maker.poll()?;
        if self.wish.take_if(|wish| wish.host == host && wish.challenge.is_none() == is_first).is_none() {
            return self.start(now).map(Err);
        }
        Some(made.map(|(handshake, token)| {
            self.doubt.is_open = is_first;
            self.handshake = Some(handshake);
            token
        }))
    }

    /// Starts an errand for what is wished for, unless one for an earlier connection is under way.
    fn start(&mut self, now: Instant) -> Option<String> {
        if self.maker.is_under_way() {
            return None;
        }
        let Wish { host, challenge } = self.wish.as_ref()?;
        let (kerberos, host, challenge) = (self.kerberos.clone(), host.clone(), challenge.clone());
        let (is_first, handshake) = (challenge.is_none(), self.handshake.take());
        let anew = is_first && self.doubt.take(now);
        let started = self.maker.start(move || {
            let made = match handshake.filter(|_| !is_first) {
                Some(handshake) => answer(handshake, challenge.as_deref()),
                None => kerberos
                    .context(&host, anew)
                    .and_then(|context| answer(Handshake(context), None))
                    .map_err(|reason| kerberos.no_ticket(&host, &reason)),
            };
            Made { host, is_first, made }
        });
        let error = started.err()?;
        self.wish = None;
        Some(format!("no thread to ask Kerberos on: {error}"))
    }
}

fn answer<C: Context>(
    mut handshake: Handshake<C>,
    challenge: Option<&[u8]>,
) -> Result<(Handshake<C>, Token), String> {
    let token = handshake.next(challenge)?;
    Ok((handshake, token))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A context with a server that signs with an `S:` in front.
    struct Fake {
        words: usize,
        is_mutual: bool,
    }

    impl Context for Fake {
        fn step(&mut self, token: Option<&[u8]>) -> Result<Vec<u8>, String> {
            self.words += 1;
            match (token, self.words) {
                (None, 1) => Ok(b"ticket".to_vec()),
                (Some(b"proof"), 2) => Ok(Vec::new()),
                _ => Err("defective token".to_owned()),
            }
        }

        fn is_established(&self) -> bool {
            self.words == if self.is_mutual { 2 } else { 1 }
        }

        fn is_mutual(&self) -> bool {
            self.is_mutual
        }

        fn own_name(&self) -> Result<Vec<u8>, String> {
            Ok(b"ada@TREE".to_vec())
        }

        fn unwrap(&mut self, token: &[u8]) -> Result<Vec<u8>, String> {
            token.strip_prefix(b"S:").map(<[u8]>::to_vec).ok_or("bad signature".to_owned())
        }

        fn wrap(&mut self, message: &[u8]) -> Result<Vec<u8>, String> {
            Ok([b"C:", message].concat())
        }
    }

    fn handshake(is_mutual: bool) -> Handshake<Fake> {
        Handshake(Fake { words: 0, is_mutual })
    }

    /// The answers to these challenges, up to the first failure.
    fn play(mut handshake: Handshake<Fake>, challenges: &[&[u8]]) -> Result<Vec<Token>, String> {
        let first = handshake.next(None)?;
        let rest = challenges.iter().map(|challenge| handshake.next(Some(challenge)));
        std::iter::once(Ok(first)).chain(rest).collect()
    }

    #[test]
    fn the_last_token_says_that_nothing_is_signed_and_who_the_client_is() {
        let tokens = play(handshake(true), &[b"proof", b"S:\x07\0\x40\0"]).unwrap();
        let expected = [(&b"ticket"[..], false), (b"", false), (b"C:\x01\0\0\0ada@TREE", true)];
        let tokens: Vec<_> = tokens.iter().map(|token| (&token.bytes[..], token.is_last)).collect();
        assert_eq!(tokens, expected);
    }

    #[test]
    fn a_server_that_has_not_read_the_ticket_is_not_believed() {
        assert!(
            play(handshake(false), &[]).unwrap_err().contains("has not shown that it could read the ticket")
        );
        for (word, reason) in [
            (&b""[..], "defective token"),
            (b"proof?", "defective token"),
            (b"S:\x01\0\0\0", "defective token"),
            (b"realm=\"zk-sasl-md5\",nonce=\"n\"", "it speaks DIGEST-MD5"),
        ] {
            let error = play(handshake(true), &[word]).unwrap_err();
            assert_eq!(error, format!("the server has not shown that it could read the ticket: {reason}"));
        }
    }

    #[test]
    fn what_a_server_says_last_must_be_signed() {
        for word in [&b""[..], b"\x01\0\0\0", b"s:\x01\0\0\0"] {
            let error = play(handshake(true), &[b"proof", word]).unwrap_err();
            assert_eq!(error, "the server's last token: bad signature");
        }
    }

    #[test]
    fn a_server_offers_to_go_on_without_a_security_layer_or_is_left() {
        for (offer, reason) in [
            (&b"S:\x06\0\0\0"[..], "insists on a security layer"),
            (b"S:\x01\0\0", "has not 4 bytes"),
            (b"S:\x01\0\0\0\0", "has not 4 bytes"),
            (b"S:", "has not 4 bytes"),
        ] {
            let error = play(handshake(true), &[b"proof", offer]).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn tickets_that_servers_reject_are_got_anew_but_not_each_time() {
        let (mut doubt, start) = (Doubt::default(), Instant::now());
        assert!(!doubt.take(start), "none was shown");
        doubt.is_open = true;
        assert!(doubt.take(start));
        assert!(!doubt.take(start + RENEWAL / 2));
        assert!(doubt.take(start + RENEWAL));
        doubt.is_open = false;
        assert!(!doubt.take(start + RENEWAL * 2), "the last one was accepted");
    }
}

//! SASL DIGEST-MD5 (RFC 2831), as ZooKeeper has it: what is answered to a server's challenge, and whether the server
//! knows the password itself. It knows no packets.

use md5::{Digest, Md5};
use zeroize::Zeroizing;

use super::{SaslError, Secret};

/// The name that servers give themselves, whatever they are called.
pub(super) const DIGEST_URI: &str = "zookeeper/zk-sasl-md5";

/// As the RFC has it.
const LONGEST_CHALLENGE: usize = 2048;

/// Who the session is, to a server that knows the same password.
#[derive(Debug, Clone)]
pub struct DigestMd5 {
    /// Sent to the server, and named in faults.
    pub username: String,
    /// Never sent. Nobody who does not know it can answer the challenge.
    pub password: Secret,
    /// Makes a number that nobody can guess, a new one for each answer; `None` if the system has no random numbers.
    pub nonce: fn() -> Option<[u8; 16]>,
}

/// A text that only a server that knows the password can send.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Proof(pub(super) String);

impl Proof {
    /// Whether the server's last word holds it.
    pub(super) fn check(&self, word: &[u8]) -> Result<(), SaslError> {
        let directives = Directives::parse(word).map_err(|_| SaslError::NotProven)?;
        match directives.one("rspauth")? {
            Some(rspauth) if rspauth == self.0 => Ok(()),
            _ => Err(SaslError::NotProven),
        }
    }
}

/// The answer to a challenge.
pub(super) fn respond(challenge: &[u8], identity: &DigestMd5) -> Result<(Vec<u8>, Proof), SaslError> {
    let nonce = (identity.nonce)().ok_or(SaslError::NoRandomness)?;
    respond_with(challenge, identity, DIGEST_URI, &hex(&nonce))
}

pub(super) fn respond_with(
    challenge: &[u8],
    identity: &DigestMd5,
    uri: &str,
    cnonce: &str,
) -> Result<(Vec<u8>, Proof), SaslError> {
    if challenge.is_empty() {
        return Err(SaslError::NotOffered);
    }
    let challenge = Directives::parse(challenge)?;
    let nonce = challenge.one("nonce")?.ok_or(SaslError::Malformed("no nonce"))?;
    if challenge.one("algorithm")? != Some("md5-sess") {
        return Err(SaslError::Unsupported("md5-sess"));
    }
    let mut qop = challenge.one("qop")?.unwrap_or("auth").split(',');
    if !qop.any(|offered| offered.trim().eq_ignore_ascii_case("auth")) {
        return Err(SaslError::Unsupported("authentication alone"));
    }
    let realm = challenge.all("realm").next().unwrap_or_default();
    let utf8 = match challenge.one("charset")? {
        None => false,
        Some(charset) if charset.eq_ignore_ascii_case("utf-8") => true,
        Some(_) => return Err(SaslError::Malformed("charset")),
    };
    let (username, password) = (identity.username.as_str(), identity.password.expose());
    let is_ascii = username.is_ascii() && password.is_ascii();
    if !utf8 && !is_ascii {
        return Err(SaslError::Unsupported("UTF-8"));
    }

    // Whoever has one of these three does not need the password, so all three are wiped.
    let password = Zeroizing::new(latin1(password));
    let secret = Zeroizing::new(md5(&[&latin1(username), b":", &latin1(realm), b":", &password]));
    let a1 = Zeroizing::new(hex(&md5(&[&*secret, b":", nonce.as_bytes(), b":", cnonce.as_bytes()])));
    let digest = |method: &str| {
        let a2 = hex(&md5(&[method.as_bytes(), b":", uri.as_bytes()]));
        let behind = format!(":{nonce}:00000001:{cnonce}:auth:{a2}");
        hex(&md5(&[a1.as_bytes(), behind.as_bytes()]))
    };
    let charset = if utf8 { "charset=utf-8," } else { "" };
    let answer = format!(
        "{charset}username={},realm={},nonce={},nc=00000001,cnonce={},digest-uri={},response={},qop=auth",
        quoted(username),
        quoted(realm),
        quoted(nonce),
        quoted(cnonce),
        quoted(uri),
        digest("AUTHENTICATE"),
    );
    Ok((answer.into_bytes(), Proof(digest(""))))
}

fn md5(parts: &[&[u8]]) -> [u8; 16] {
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(part);
    }
    md5.finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Text that fits into ISO 8859-1 is hashed in that encoding, even if UTF-8 is sent.
fn latin1(text: &str) -> Vec<u8> {
    let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
    bytes.unwrap_or_else(|| text.as_bytes().to_vec())
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// `name=value,name="value"`: what a server says, its names in lower case, its values without quotes.
struct Directives(Vec<(String, String)>);

impl Directives {
    fn parse(bytes: &[u8]) -> Result<Directives, SaslError> {
        let malformed = SaslError::Malformed;
        if bytes.len() > LONGEST_CHALLENGE {
            return Err(malformed("too long"));
        }
        let mut rest = std::str::from_utf8(bytes).map_err(|_| malformed("not UTF-8"))?;
        let mut directives = Vec::new();
        loop {
            rest = rest.trim_start_matches([' ', '\t', '\r', '\n', ',']);
            if rest.is_empty() {
                return Ok(Directives(directives));
            }
            let (name, behind) = rest.split_once('=').ok_or(malformed("no '='"))?;
            let name = name.trim_end();
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
                return Err(malformed("no name"));
            }
            let behind = behind.trim_start();
            let value;
            (value, rest) = match behind.strip_prefix('"') {
                Some(behind) => unquote(behind).ok_or(malformed("a '\"' is missing"))?,
                None => {
                    let (value, rest) = behind.split_at(behind.find(',').unwrap_or(behind.len()));
                    (value.trim_end().to_owned(), rest)
                }
            };
            if !matches!(rest.trim_start().bytes().next(), None | Some(b',')) {
                return Err(malformed("a ',' is missing"));
            }
            directives.push((name.to_ascii_lowercase(), value));
        }
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The value of a directive that may be there once at most.
    fn one<'a>(&'a self, name: &'a str) -> Result<Option<&'a str>, SaslError> {
        let mut all = self.all(name);
        match (all.next(), all.next()) {
            (value, None) => Ok(value),
            _ => Err(SaslError::Malformed("a directive is there twice")),
        }
    }
}

/// The text up to the closing quote, and what is behind it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let (mut value, mut chars) = (String::new(), text.chars());
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(chars.next()?),
            c => value.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sasl(username: &str, password: &str) -> DigestMd5 {
        DigestMd5 { username: username.to_owned(), password: Secret::new(password), nonce: || Some([7; 16]) }
    }

    /// RFC 2831, section 4: the example of IMAP, and that of ACAP.
    #[test]
    fn the_examples_of_the_rfc_are_answered_as_there() {
        let chris = sasl("chris", "secret");
        for (nonce, cnonce, uri, response, rspauth) in [
            (
                "OA6MG9tEQGm2hh",
                "OA6MHXh6VqTrRk",
                "imap/elwood.innosoft.com",
                "d388dad90d4bbd760a152321f2143af7",
                "ea40f60335c427b5527b84dbabcdfffd",
            ),
            (
                "OA9BSXrbuRhWay",
                "OA9BSuZWMSpW8m",
                "acap/elwood.innosoft.com",
                "6084c6db3fede7352c551284490fd0fc",
                "2f0b3d7c3c2e486600ef710726aa2eae",
            ),
        ] {
            let challenge = format!(
                "realm=\"elwood.innosoft.com\",nonce=\"{nonce}\",qop=\"auth\",\r\n \
                 algorithm=md5-sess,charset=utf-8"
            );
            let (answer, proof) = respond_with(challenge.as_bytes(), &chris, uri, cnonce).unwrap();
            let expected = format!(
                "charset=utf-8,username=\"chris\",realm=\"elwood.innosoft.com\",nonce=\"{nonce}\",nc=00000001,\
                 cnonce=\"{cnonce}\",digest-uri=\"{uri}\",response={response},qop=auth"
            );
            assert_eq!(String::from_utf8(answer).unwrap(), expected);
            assert_eq!(proof.check(format!("rspauth={rspauth}").as_bytes()), Ok(()));
            let other = rspauth.replace('a', "b");
            for word in [&format!("rspauth={other}")[..], "rspauth=", "", ",", "x=y", "rspauth"] {
                assert_eq!(proof.check(word.as_bytes()), Err(SaslError::NotProven), "{word}");
            }
        }
    }

    #[test]
    fn an_answer_has_the_nonce_that_it_was_given_and_without_one_there_is_none() {
        let challenge = b"realm=\"zk-sasl-md5\",nonce=\"n\",charset=utf-8,algorithm=md5-sess";
        let me = sasl("me", "secret");
        let answer = String::from_utf8(respond(challenge, &me).unwrap().0).unwrap();
        let cnonce = format!("cnonce=\"{}\"", "07".repeat(16));
        assert!(
            answer.contains(&cnonce) && answer.contains("digest-uri=\"zookeeper/zk-sasl-md5\""),
            "{answer}"
        );
        assert!(!answer.contains("secret"), "{answer}");
        let without = DigestMd5 { nonce: || None, ..me };
        assert_eq!(respond(challenge, &without), Err(SaslError::NoRandomness));
    }

    #[test]
    fn what_has_a_meaning_between_quotes_is_escaped_and_unescaped() {
        let challenge = br#"realm="a \"b\" \\c",realm="other", nonce = "n\"",  algorithm=md5-sess,,"#;
        let (answer, _) = respond_with(challenge, &sasl(r#"m"e\"#, "x"), "u", "c").unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let begins = r#"username="m\"e\\",realm="a \"b\" \\c",nonce="n\"",nc=00000001,"#;
        assert!(answer.starts_with(begins), "{answer}");
    }

    #[test]
    fn text_is_hashed_in_latin_1_where_that_has_its_characters() {
        assert_eq!(latin1("caf\u{e9}"), b"caf\xe9");
        assert_eq!(latin1("\u{20ac}"), "\u{20ac}".as_bytes());
        let challenge = b"nonce=\"n\",algorithm=md5-sess";
        let answer = respond_with(challenge, &sasl("\u{e9}", "x"), "u", "c");
        assert_eq!(answer.unwrap_err(), SaslError::Unsupported("UTF-8"));
    }

    #[test]
    fn a_challenge_that_is_none_or_asks_too_much_is_refused() {
        let long = format!("nonce=\"{}\",algorithm=md5-sess", "n".repeat(LONGEST_CHALLENGE));
        for (challenge, expected) in [
            ("", "the server does not do SASL"),
            ("nonce=\"n\"", "the server does not offer md5-sess"),
            ("nonce=\"n\",algorithm=md5", "the server does not offer md5-sess"),
            ("algorithm=md5-sess", "malformed challenge: no nonce"),
            ("nonce=\"n\",nonce=\"m\",algorithm=md5-sess", "malformed challenge: a directive is there twice"),
            (
                "nonce=\"n\",algorithm=md5-sess,qop=\"auth-int\"",
                "the server does not offer authentication alone",
            ),
            ("nonce=\"n\",algorithm=md5-sess,charset=latin-1", "malformed challenge: charset"),
            ("nonce", "malformed challenge: no '='"),
            ("=n", "malformed challenge: no name"),
            ("a b=n", "malformed challenge: no name"),
            ("nonce=\"n", "malformed challenge: a '\"' is missing"),
            ("nonce=\"n\\", "malformed challenge: a '\"' is missing"),
            ("nonce=\"n\"algorithm=md5-sess", "malformed challenge: a ',' is missing"),
            (&long, "malformed challenge: too long"),
        ] {
            let error = respond(challenge.as_bytes(), &sasl("me", "secret")).unwrap_err();
            assert_eq!(error.to_string(), expected, "{challenge}");
        }
        assert!(respond(b"nonce=\"\xff\"", &sasl("me", "secret")).is_err());
    }

    proptest! {
        #[test]
        fn no_challenge_makes_the_parser_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..100),
            text in "[a-z=\",\\\\ ]{0,60}",
        ) {
            let _ = respond(&bytes, &sasl("me", "secret"));
            let _ = respond(text.as_bytes(), &sasl("me", "secret"));
        }

        #[test]
        fn any_text_survives_its_quotes(text in ".*") {
            let quoted = quoted(&text);
            prop_assert_eq!(unquote(&quoted[1..]), Some((text, "")));
        }
    }
}

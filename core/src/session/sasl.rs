//! SASL: what is said next, until both ends know each other. It knows no packets.

use std::fmt;

use super::SaslFailure;
use super::digest_md5::{self, DigestMd5, Proof};
use crate::escape::Escaped;
use crate::planted::{self, Defect};
use crate::wire::ServerError;

/// Who the session is, to SASL, and by which mechanism.
#[derive(Debug, Clone)]
pub enum Sasl {
    /// A name and a password, in RFC 2831's way.
    DigestMd5(DigestMd5),
    /// Kerberos, in RFC 4752's way: the caller makes the tokens ([`Action::Token`](super::Action::Token)).
    Gssapi {
        /// As it is named in faults; `None` for whoever the tickets are of.
        principal: Option<String>,
    },
}

/// The mechanism, and who the session is to it, as in `DIGEST-MD5 as "bob"`.
impl fmt::Display for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sasl::DigestMd5(DigestMd5 { username, .. }) => {
                write!(f, "DIGEST-MD5 as {:?}", Escaped(username))
            }
            Sasl::Gssapi { principal: Some(principal) } => write!(f, "GSSAPI as {:?}", Escaped(principal)),
            Sasl::Gssapi { principal: None } => f.write_str("GSSAPI"),
        }
    }
}

/// What is wrong with what a server says, or does not say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SaslError {
    /// The server's first word is empty.
    #[error("the server does not do SASL")]
    NotOffered,
    /// The challenge, or the server's last word, cannot be read; says what is wrong with it.
    #[error("malformed challenge: {0}")]
    Malformed(&'static str),
    /// The challenge leaves out what is needed: `md5-sess`, authentication alone (`auth`), or UTF-8 for a name or
    /// password that is not ASCII.
    #[error("the server does not offer {0}")]
    Unsupported(&'static str),
    /// The server accepts the answer without the proof (`rspauth`) that it knows the password, or with a wrong one.
    #[error("the server does not know the password itself")]
    NotProven,
    /// [`DigestMd5::nonce`] gave none, so that no answer could be made.
    #[error("the system has no random numbers")]
    NoRandomness,
}

/// What the caller has made of a server's challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// To be sent to the server. May be empty.
    pub bytes: Vec<u8>,
    /// By its challenges the server has proven itself to the caller, and there is nothing more to say: it accepts or
    /// rejects the client now.
    pub is_last: bool,
}

/// How far the two ends are: what the server's next word is about.
pub(super) enum Exchange {
    /// DIGEST-MD5: the server sends its challenge.
    Challenge,
    /// DIGEST-MD5: the server accepts the answer, and proves that it knows the password.
    Proof(Proof),
    /// GSSAPI: the server answers a token, perhaps the first one.
    Token { is_first: bool },
    /// GSSAPI: the server has proven itself, and accepts the client.
    Acceptance,
}

/// What follows.
pub(super) enum Next {
    /// This is sent to the server.
    Send(Vec<u8>),
    /// The caller is asked for a token, the first one or one that answers this challenge.
    Ask(Option<Vec<u8>>),
    /// Nothing: each end knows who the other is.
    Done,
}

impl Exchange {
    pub(super) fn begin(sasl: &Sasl) -> (Exchange, Next) {
        match sasl {
            // The server speaks first: the client begins with an empty message.
            Sasl::DigestMd5(_) => (Exchange::Challenge, Next::Send(Vec::new())),
            Sasl::Gssapi { .. } => (Exchange::Token { is_first: true }, Next::Ask(None)),
        }
    }

    /// The server has accepted what was sent last, and says `word`.
    pub(super) fn handle_word(&mut self, sasl: &Sasl, word: &[u8]) -> Result<Next, SaslError> {
        match (&self, sasl) {
            (Exchange::Challenge, Sasl::DigestMd5(identity)) => {
                let (answer, proof) = digest_md5::respond(word, identity)?;
                *self = Exchange::Proof(proof);
                Ok(Next::Send(answer))
            }
            (Exchange::Proof(proof), _) => proof.check(word).map(|()| Next::Done),
            (Exchange::Token { .. }, _) if planted::is(Defect::SaslCutShort) => Ok(Next::Done),
            (Exchange::Token { is_first: true }, _) if word.is_empty() => Err(SaslError::NotOffered),
            (Exchange::Token { .. } | Exchange::Challenge, _) => {
                *self = Exchange::Token { is_first: false };
                Ok(Next::Ask(Some(word.to_vec())))
            }
            (Exchange::Acceptance, _) if word.is_empty() => Ok(Next::Done),
            (Exchange::Acceptance, _) => Err(SaslError::Malformed("it comes behind the last token")),
        }
    }

    /// The server has rejected what was sent last.
    pub(super) fn rejected(&self, error: ServerError) -> SaslFailure {
        match self {
            Exchange::Challenge | Exchange::Proof(_) => SaslFailure::Rejected(error),
            Exchange::Token { .. } | Exchange::Acceptance => SaslFailure::TicketRejected(error),
        }
    }

    /// The caller has made a token; returns what is sent of it.
    pub(super) fn handle_token(&mut self, token: Token) -> Vec<u8> {
        if token.is_last {
            *self = Exchange::Acceptance;
        }
        token.bytes
    }
}

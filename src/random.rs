//! Numbers that nobody can guess.

use ring::rand::{SecureRandom, SystemRandom};

/// A nonce for a challenge; `None` if the system has no random numbers.
pub(crate) fn nonce() -> Option<[u8; 16]> {
    let mut nonce = [0; 16];
    SystemRandom::new().fill(&mut nonce).ok()?;
    Some(nonce)
}

/// A number that no other one is likely to be, and not 0; `None` if the system has no random numbers.
pub(crate) fn number() -> Option<u64> {
    let nonce = nonce()?;
    Some(u64::from_le_bytes(*nonce.first_chunk()?) | 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_another_one() {
        assert_ne!(nonce().expect("random numbers"), nonce().expect("random numbers"));
    }
}

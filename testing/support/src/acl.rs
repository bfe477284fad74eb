//! Access control lists, and the `digest` scheme's identities.

/// One entry of a node's ACL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acl {
    /// An or of the constants of this type.
    pub perms: i32,
    pub scheme: String,
    pub id: String,
}

impl Acl {
    pub const READ: i32 = 1;
    pub const WRITE: i32 = 2;
    pub const CREATE: i32 = 4;
    pub const DELETE: i32 = 8;
    pub const ADMIN: i32 = 16;
    pub const ALL: i32 = 31;

    /// Anyone may do `perms`.
    pub fn world(perms: i32) -> Acl {
        Acl { perms, scheme: "world".into(), id: "anyone".into() }
    }

    /// Who authenticated as `user` with `password` may do `perms`.
    pub fn digest(perms: i32, user: &str, password: &str) -> Acl {
        Acl { perms, scheme: "digest".into(), id: digest_id(user, password) }
    }

    /// Anyone may do anything.
    pub fn open() -> Vec<Acl> {
        vec![Acl::world(Acl::ALL)]
    }

    /// Only `user` may read; anyone may do all the rest, so that a test needs no second identity to write.
    pub fn read_only_by(user: &str, password: &str) -> Vec<Acl> {
        vec![Acl::digest(Acl::ALL, user, password), Acl::world(Acl::ALL & !Acl::READ)]
    }
}

/// The identity of the `digest` scheme: `user:base64(sha1(user:password))`.
pub fn digest_id(user: &str, password: &str) -> String {
    format!("{user}:{}", base64(&sha1(format!("{user}:{password}").as_bytes())))
}

// Twenty lines each weigh less than two dependency trees.
fn sha1(message: &[u8]) -> [u8; 20] {
    let mut padded = message.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend_from_slice(&(message.len() as u64 * 8).to_be_bytes());

    let mut state: [u32; 5] = [0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0];
    for block in padded.chunks_exact(64) {
        let mut w = [0u32; 80];
        for (word, bytes) in w.iter_mut().zip(block.chunks_exact(4)) {
            *word = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        for i in 16..80 {
            w[i] = (w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16]).rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (i, word) in w.iter().enumerate() {
            let (f, k) = match i {
                0..20 => ((b & c) | (!b & d), 0x5A827999),
                20..40 => (b ^ c ^ d, 0x6ED9EBA1),
                40..60 => ((b & c) | (b & d) | (c & d), 0x8F1BBCDC),
                _ => (b ^ c ^ d, 0xCA62C1D6u32),
            };
            let next = a.rotate_left(5).wrapping_add(f).wrapping_add(e).wrapping_add(k).wrapping_add(*word);
            (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
        }
        for (sum, part) in state.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(part);
        }
    }
    let mut digest = [0; 20];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().fold(0u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            if i <= chunk.len() {
                text.push(char::from(ALPHABET[(group >> (18 - 6 * i)) as usize & 63]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_ids_are_those_of_zookeepers_documentation() {
        assert_eq!(digest_id("super", "superpw"), "super:g9oN2HttPfn8MMWJZ2r45Np/LIA=");
        assert_eq!(base64(&sha1(b"")), "2jmj7l5rSw0yVb/vlWAYkK/YBwk=");
    }
}

//! Keys, of the bytes that a terminal sends for them.
//!
//! Crossterm has a reader of its own. That one waits for the rest of an escape sequence in a read, goes round in circles when the
//! terminal is gone, and cannot be waited for beside something else; so it is not used.

use std::time::Duration;

use super::model::Key;

/// After which an ESC without more is the key of that name.
pub const PATIENCE: Duration = Duration::from_millis(50);

const ESC: u8 = 0x1b;

/// No key sends a longer sequence.
const LONGEST: usize = 32;

/// What was typed and not understood yet: sequences may come in pieces.
#[derive(Default)]
pub struct Keyboard {
    bytes: Vec<u8>,
    typed_at: Duration,
}

impl Keyboard {
    pub fn type_in(&mut self, bytes: &[u8], now: Duration) {
        self.bytes.extend_from_slice(bytes);
        self.typed_at = now;
    }

    /// Whether something is waited for that may not come.
    pub fn waits(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Takes out the next key that is known here; `None`: there is no more of them so far.
    pub fn next(&mut self, now: Duration) -> Option<Key> {
        loop {
            let is_all = now.saturating_sub(self.typed_at) >= PATIENCE || self.bytes.len() > LONGEST;
            let (len, key) = first(&self.bytes, is_all)?;
            self.bytes.drain(..len);
            if key.is_some() {
                return key;
            }
        }
    }
}

/// How many bytes are the first key's, and which one that is; `None`: the rest of it is still to come. `is_all`: it will not.
fn first(bytes: &[u8], is_all: bool) -> Option<(usize, Option<Key>)> {
    let known = |key| Some((1, Some(key)));
    match *bytes {
        [] => None,
        [ESC] if !is_all => None,
        [ESC, b'[' | b'O', ref rest @ ..] => match rest.iter().position(|byte| (0x40..0x7f).contains(byte)) {
            Some(end) => Some((end + 3, of_sequence(rest[0], rest[end]))),
            None if is_all => Some((bytes.len(), None)),
            None => None,
        },
        [ESC, ..] => known(Key::Escape),
        [b'\r' | b'\n', ..] => known(Key::Enter),
        [0x7f | 0x08, ..] => known(Key::Backspace),
        [byte, ..] if byte < 0x20 => Some((1, None)),
        [byte, ..] if byte < 0x80 => known(Key::Char(char::from(byte))),
        _ => match bytes.utf8_chunks().next() {
            Some(chunk) if !chunk.valid().is_empty() => {
                let c = chunk.valid().chars().next()?;
                Some((c.len_utf8(), Some(Key::Char(c))))
            }
            // What is no UTF-8 may be the beginning of a character.
            Some(chunk) if chunk.invalid().len() == bytes.len() && !is_all => None,
            Some(chunk) => Some((chunk.invalid().len().max(1), None)),
            None => None,
        },
    }
}

fn of_sequence(first: u8, last: u8) -> Option<Key> {
    match (last, first) {
        (b'A', _) => Some(Key::Up),
        (b'B', _) => Some(Key::Down),
        (b'C', _) => Some(Key::Right),
        (b'D', _) => Some(Key::Left),
        (b'H', _) | (b'~', b'1' | b'7') => Some(Key::Home),
        (b'F', _) | (b'~', b'4' | b'8') => Some(Key::End),
        (b'~', b'5') => Some(Key::PageUp),
        (b'~', b'6') => Some(Key::PageDown),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys of some pieces, the last of which comes long before the end.
    fn keys(pieces: &[&[u8]]) -> Vec<Key> {
        let (mut keyboard, mut keys) = (Keyboard::default(), Vec::new());
        for piece in pieces {
            keyboard.type_in(piece, Duration::ZERO);
            keys.extend(std::iter::from_fn(|| keyboard.next(Duration::ZERO)));
        }
        keys.extend(std::iter::from_fn(|| keyboard.next(PATIENCE)));
        assert!(!keyboard.waits());
        keys
    }

    #[test]
    fn keys_are_known_by_their_sequences() {
        let all = b"j\x1b[B\x1bOA\x1b[5~\x1b[6~\x1b[1~\x1b[F\x1b[1;5C\x1b[D\r\n\x7f\x08/";
        let keys = keys(&[all]);
        use Key::*;
        assert_eq!(
            keys,
            [
                Char('j'),
                Down,
                Up,
                PageUp,
                PageDown,
                Home,
                End,
                Right,
                Left,
                Enter,
                Enter,
                Backspace,
                Backspace,
                Char('/')
            ]
        );
    }

    #[test]
    fn a_sequence_may_come_in_pieces_and_an_escape_alone_is_a_key() {
        assert_eq!(keys(&[b"\x1b", b"[", b"B"]), [Key::Down]);
        assert_eq!(keys(&[b"\x1b"]), [Key::Escape]);
        assert_eq!(keys(&[b"\x1b\x1b[A"]), [Key::Escape, Key::Up]);
        assert_eq!(keys(&[b"\x1bq"]), [Key::Escape, Key::Char('q')]);
        assert_eq!(keys(&[b"\xc3", b"\xa4\xe6\x97", b"\xa5"]), [Key::Char('ä'), Key::Char('日')]);
    }

    #[test]
    fn what_is_no_key_is_left_out() {
        assert_eq!(keys(&[b"\x01\x1b[200~\x1b[99;99Xa\xff\xffb\xe6"]), [Key::Char('a'), Key::Char('b')]);
        assert_eq!(keys(&[b"\x1b["]), []);
        assert_eq!(keys(&[&[&b"\x1b["[..], &b"0".repeat(1000)].concat()]), []);
    }
}

//! Cutting a byte stream into frames.

use crate::planted::{self, Defect};

/// The longest answer to a connect request: some numbers and a password of 16 bytes. With this bound, a peer that is no
/// ZooKeeper at all is noticed at once.
pub const MAX_CONNECT_RESPONSE: usize = 1 << 10;

/// The longest reply to a step of SASL: RFC 2831 allows 2,048 bytes in it, and a server's tokens of Kerberos have a few
/// hundred.
pub const MAX_SASL_REPLY: usize = 4 << 10;

/// How much is reserved on the word of a length prefix alone. More is allocated only as bytes arrive.
const TRUSTED: usize = 256 << 10;

/// A frame is longer than what is taken; or its length is negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {len} bytes")]
pub struct FrameTooLong {
    /// The length that the prefix claims, in bytes, without the prefix itself. Negative if the prefix is.
    pub len: i32,
}

/// Collects bytes and hands out whole frames.
#[derive(Default)]
pub struct FrameDecoder {
    prefix: Vec<u8>,
    frame: Vec<u8>,
    /// Length of the frame under way, once its prefix is whole.
    expected: Option<usize>,
}

impl FrameDecoder {
    /// Takes bytes from `input` up to the end of a frame of at most `longest` bytes, and returns the frame when it is
    /// whole.
    pub fn next(&mut self, input: &mut &[u8], longest: usize) -> Result<Option<Vec<u8>>, FrameTooLong> {
        let expected = match self.expected {
            Some(expected) => expected,
            None => {
                self.prefix.extend_from_slice(take(input, 4 - self.prefix.len()));
                let Ok(prefix) = <[u8; 4]>::try_from(self.prefix.as_slice()) else { return Ok(None) };
                let len = i32::from_be_bytes(prefix);
                let expected = usize::try_from(len).ok().filter(|len| *len <= longest);
                let expected = expected.ok_or(FrameTooLong { len })?;
                self.prefix.clear();
                let is_trusted = planted::is(Defect::ReserveWhatIsClaimed);
                self.frame.reserve_exact(if is_trusted { expected } else { expected.min(TRUSTED) });
                self.expected = Some(expected);
                expected
            }
        };
        self.frame.extend_from_slice(take(input, expected - self.frame.len()));
        if self.frame.len() < expected {
            return Ok(None);
        }
        self.expected = None;
        Ok(Some(std::mem::take(&mut self.frame)))
    }

    /// Forgets a frame that will not be finished, as its connection is gone.
    pub fn clear(&mut self) {
        *self = FrameDecoder::default();
    }
}

fn take<'a>(input: &mut &'a [u8], at_most: usize) -> &'a [u8] {
    let (head, rest) = input.split_at(at_most.min(input.len()));
    *input = rest;
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_length_that_is_too_long_or_negative_is_refused_before_anything_is_allocated() {
        const LONGEST: i32 = 128 << 20;
        for len in [-1, i32::MIN, i32::MAX, LONGEST + 1] {
            let mut decoder = FrameDecoder::default();
            let decoded = decoder.next(&mut &len.to_be_bytes()[..], LONGEST as usize);
            assert_eq!(decoded, Err(FrameTooLong { len }));
            assert_eq!(decoder.frame.capacity(), 0);
        }
        let mut decoder = FrameDecoder::default();
        assert_eq!(decoder.next(&mut &LONGEST.to_be_bytes()[..], LONGEST as usize), Ok(None));
        assert!(decoder.frame.capacity() <= 2 * TRUSTED);
    }

    proptest! {
        #[test]
        fn frames_come_out_whole_however_the_stream_is_cut(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20),
            cuts in prop::collection::vec(1usize..30, 1..100),
        ) {
            let mut stream = Vec::new();
            for frame in &frames {
                stream.extend_from_slice(&(frame.len() as u32).to_be_bytes());
                stream.extend_from_slice(frame);
            }
            let (mut decoder, mut decoded) = (FrameDecoder::default(), Vec::new());
            let mut rest = &stream[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let mut chunk = take(&mut rest, *cut);
                while let Some(frame) = decoder.next(&mut chunk, 50).unwrap() {
                    decoded.push(frame);
                }
            }
            prop_assert_eq!(decoded, frames);
        }
    }
}

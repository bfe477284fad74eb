//! Cutting a byte stream into frames.

use super::Malformed;

/// The longest frame that is accepted. ZooKeeper does not limit its replies; the longest that can be of use is the
/// child list of a node with millions of children, or a batch of the largest nodes.
pub const MAX_FRAME: usize = 128 << 20;

/// The longest answer to a connect request: some numbers and a password of 16 bytes. What is no ZooKeeper at all is
/// noticed by it at once.
pub const MAX_CONNECT_RESPONSE: usize = 1 << 10;

/// The longest reply to a step of SASL: RFC 2831 allows 2,048 bytes in it.
pub const MAX_SASL_REPLY: usize = 4 << 10;

/// How much is reserved on the word of a length prefix alone. More is allocated only as bytes arrive.
const TRUSTED: usize = 256 << 10;

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
    pub fn next(&mut self, input: &mut &[u8], longest: usize) -> Result<Option<Vec<u8>>, Malformed> {
        let expected = match self.expected {
            Some(expected) => expected,
            None => {
                self.prefix.extend_from_slice(take(input, 4 - self.prefix.len()));
                let Ok(prefix) = <[u8; 4]>::try_from(self.prefix.as_slice()) else { return Ok(None) };
                let expected = u32::from_be_bytes(prefix) as usize;
                if expected > longest {
                    return Err(Malformed { what: "frame length" });
                }
                self.prefix.clear();
                self.frame.reserve_exact(expected.min(TRUSTED));
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
        for prefix in [u32::MAX, 1 << 31, MAX_FRAME as u32 + 1] {
            let mut decoder = FrameDecoder::default();
            assert!(decoder.next(&mut &prefix.to_be_bytes()[..], MAX_FRAME).is_err());
            assert_eq!(decoder.frame.capacity(), 0);
        }
        let mut decoder = FrameDecoder::default();
        assert_eq!(decoder.next(&mut &(MAX_FRAME as u32).to_be_bytes()[..], MAX_FRAME), Ok(None));
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
                while let Some(frame) = decoder.next(&mut chunk, MAX_FRAME).unwrap() {
                    decoded.push(frame);
                }
            }
            prop_assert_eq!(decoded, frames);
        }
    }
}

//! Bytes for the decoders.

use treecache_core::wire::{
    ConnectResponse, FrameDecoder, MultiReadResults, Notification, ReadResult, ReplyHeader,
    children_with_stat, stat_reply,
};

const LONGEST_FRAME: usize = 1 << 20;

/// The bytes as a stream that is cut in pieces, whose lengths the first byte chooses; and each frame, and all of
/// them, as every record there is.
pub fn wire(data: &[u8]) -> usize {
    let Some((first, mut stream)) = data.split_first() else { return 0 };
    decode(stream);
    let mut decoder = FrameDecoder::default();
    let mut frames = 0;
    while !stream.is_empty() {
        let (mut piece, rest) = stream.split_at((1 + usize::from(*first)).min(stream.len()));
        stream = rest;
        loop {
            match decoder.next(&mut piece, LONGEST_FRAME) {
                Ok(Some(frame)) => {
                    frames += 1;
                    decode(&frame);
                }
                Ok(None) => break,
                Err(too_long) => {
                    assert!(too_long.len < 0 || too_long.len as usize > LONGEST_FRAME);
                    return data.len();
                }
            }
        }
        assert!(piece.is_empty(), "what is no frame yet was not taken");
    }
    assert!(frames * 4 < data.len(), "{frames} frames in {} bytes", data.len());
    data.len()
}

fn decode(bytes: &[u8]) {
    let _ = ConnectResponse::decode(bytes);
    let _ = ReplyHeader::decode(bytes);
    let _ = stat_reply(bytes);
    if let Ok(notification) = Notification::decode(bytes) {
        assert!(notification.path.len() <= bytes.len());
    }
    if let Ok((names, _)) = children_with_stat(bytes) {
        assert!(names.len() * 4 <= bytes.len());
    }
    let (mut results, mut count) = (MultiReadResults::new(bytes), 0);
    while let Ok(Some(result)) = results.next() {
        count += 1;
        if let ReadResult::Children(names) = result {
            assert!(names.len() * 4 <= bytes.len());
        }
    }
    assert!(count * 9 <= bytes.len(), "{count} results in {} bytes", bytes.len());
}

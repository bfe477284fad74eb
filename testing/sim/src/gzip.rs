//! Data as gzip compresses it, without compressing it: made and read by other code than the library's.

use std::borrow::Cow;

/// The most that fits into one stored block.
const LONGEST: usize = 0xffff;
/// Of a member with one stored block (RFC 1951, 3.2.4): what stands before the data, and behind it.
const HEAD: usize = 15;
const TRAILER: usize = 8;

/// A member of one stored block; `None` where there is too much for one.
pub fn stored(data: &[u8]) -> Option<Vec<u8>> {
    let len = u16::try_from(data.len()).ok()?;
    debug_assert!(data.len() <= LONGEST);
    let mut member = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 1];
    member.extend(len.to_le_bytes());
    member.extend((!len).to_le_bytes());
    member.extend(data);
    member.extend(crc32(data).to_le_bytes());
    member.extend(u32::from(len).to_le_bytes());
    Some(member)
}

/// What a cache that uncompresses keeps of it: what is no member stays as it is, and so does one of more than `most` bytes.
pub fn kept(data: &[u8], most: usize) -> Cow<'_, [u8]> {
    let is_member = data.starts_with(&[0x1f, 0x8b]) && data.len() >= HEAD + TRAILER;
    let content = is_member.then(|| &data[HEAD..data.len() - TRAILER]).filter(|data| data.len() <= most);
    Cow::Borrowed(content.unwrap_or(data))
}

fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_what_gzip_would_make_of_it() {
        // `printf abc | gzip -n`, but for the block, which is compressed there.
        let member = stored(b"abc").unwrap();
        assert_eq!(member[HEAD..], [0x61, 0x62, 0x63, 0xc2, 0x41, 0x24, 0x35, 3, 0, 0, 0]);
        assert_eq!(*kept(&member, 3), *b"abc");
        assert_eq!(*kept(&member, 2), *member);
        assert_eq!(*kept(b"abc", 3), *b"abc");
        assert_eq!(stored(&[0; LONGEST + 1]), None);
    }
}

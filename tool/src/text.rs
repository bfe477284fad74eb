//! Names and bytes that others have chosen, as they are shown to people.
//!
//! On a terminal an escape sequence acts, and a mark that turns the direction of writing makes a name look like another.

use std::borrow::Cow;
use std::fmt::Write;

/// A character as it is shown: as itself, or as what stands for it.
pub enum Sign {
    Plain(char),
    Escaped(String),
}

impl Sign {
    /// What stands for a character that is not to be shown as itself.
    pub fn escaped(c: char) -> Sign {
        Sign::Escaped(c.escape_unicode().to_string())
    }

    fn of(c: char) -> Sign {
        if acts(c) { Sign::escaped(c) } else { Sign::Plain(c) }
    }

    fn write(&self, text: &mut String) {
        match self {
            Sign::Plain(c) => text.push(*c),
            Sign::Escaped(escape) => text.push_str(escape),
        }
    }
}

/// A name or path: all characters are escaped that act or cannot be seen.
pub fn signs_of_name(text: &str) -> impl Iterator<Item = Sign> {
    text.chars().map(Sign::of)
}

/// Data on one line: text if it is some, or else each byte that is none as `\xNN`.
pub fn signs_of_data(data: &[u8]) -> impl Iterator<Item = Sign> {
    data.utf8_chunks().flat_map(|chunk| {
        let valid = chunk.valid().chars().map(|c| match c {
            '\n' => Sign::Escaped("\\n".to_owned()),
            '\r' => Sign::Escaped("\\r".to_owned()),
            '\t' => Sign::Escaped("\\t".to_owned()),
            '\\' => Sign::Escaped("\\\\".to_owned()),
            c => Sign::of(c),
        });
        valid.chain(chunk.invalid().iter().map(|byte| Sign::Escaped(format!("\\x{byte:02x}"))))
    })
}

/// A name or path, as it is shown.
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    signs_of_name(text).for_each(|sign| sign.write(&mut escaped));
    Cow::Owned(escaped)
}

/// Data, as it is shown.
pub fn one_line(data: &[u8]) -> String {
    let mut line = String::with_capacity(data.len());
    signs_of_data(data).for_each(|sign| sign.write(&mut line));
    line
}

/// Text in pieces: in turn as it is, and escaped. So whoever shows it can mark what is not the text's own. Ends of lines and tabs
/// are left in data, and escaped in names.
pub fn pieces(text: &str, is_data: bool) -> Vec<String> {
    let (mut pieces, mut is_escaped) = (vec![String::new()], false);
    for c in text.chars() {
        let acts = acts(c) && !(is_data && matches!(c, '\n' | '\r' | '\t'));
        if acts != is_escaped {
            is_escaped = acts;
            pieces.push(String::new());
        }
        if let Some(piece) = pieces.last_mut() {
            match acts {
                true => _ = write!(piece, "{}", c.escape_unicode()),
                false => piece.push(c),
            }
        }
    }
    pieces
}

/// Data as people read what is no text: 16 bytes in a line, each in two digits, and beside them those that are ASCII.
pub fn dump(data: &[u8]) -> String {
    let mut lines = String::with_capacity(data.len() * 5);
    for (n, bytes) in data.chunks(16).enumerate() {
        _ = write!(lines, "{:06x} ", n * 16);
        for at in 0..16 {
            lines.push_str(if at == 8 { "  " } else { " " });
            match bytes.get(at) {
                Some(byte) => _ = write!(lines, "{byte:02x}"),
                None => lines.push_str("  "),
            }
        }
        lines.push_str("  ");
        let visible = |byte: &u8| if matches!(byte, b' '..=b'~') { char::from(*byte) } else { '.' };
        lines.extend(bytes.iter().map(visible));
        lines.push('\n');
    }
    lines
}

/// Controls, ends of lines, and marks that turn the direction of writing or have no width.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_escaped_and_all_else_is_left_alone() {
        assert!(matches!(shown("/dienste/größe"), Cow::Borrowed("/dienste/größe")));
        assert_eq!(shown("/a\u{1b}[2J\u{202e}b\u{e0041}"), "/a\\u{1b}[2J\\u{202e}b\\u{e0041}");
        assert_eq!(one_line(b"a\nb\\\xff\0\xc3\xa4"), "a\\nb\\\\\\xff\\u{0}ä");
        assert_eq!(one_line(b""), "");
    }

    #[test]
    fn pieces_tell_what_is_escaped_from_text_that_looks_so() {
        assert_eq!(pieces("", false), [""]);
        assert_eq!(pieces("a\u{202e}\u{7}b\\u{7}", false), ["a", "\\u{202e}\\u{7}", "b\\u{7}"]);
        assert_eq!(pieces("\u{0}a\n", false), ["", "\\u{0}", "a", "\\u{a}"]);
        assert_eq!(pieces("a\n\tb\r\n", true), ["a\n\tb\r\n"]);
    }

    #[test]
    fn what_is_no_text_is_dumped_in_lines_of_sixteen_bytes() {
        assert_eq!(dump(b""), "");
        assert_eq!(
            dump(b"0123456789abcdef\x00<\xff"),
            "000000  30 31 32 33 34 35 36 37  38 39 61 62 63 64 65 66  0123456789abcdef\n\
             000010  00 3c ff                                          .<.\n"
        );
    }
}

//! Names and bytes that others have chosen, as they are shown to people.
//!
//! On a terminal an escape sequence acts, and a mark that turns the direction of writing makes a name look like another.

use std::borrow::Cow;
use std::fmt::Write;

/// A name or path with all characters escaped that act or cannot be seen.
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match acts(c) {
            true => _ = write!(escaped, "{}", c.escape_unicode()),
            false => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

/// Data on one line: text if it is some, or else each byte that is none as `\xNN`.
pub fn one_line(data: &[u8]) -> String {
    let mut line = String::with_capacity(data.len());
    for chunk in data.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => line.push_str("\\n"),
                '\r' => line.push_str("\\r"),
                '\t' => line.push_str("\\t"),
                '\\' => line.push_str("\\\\"),
                c if acts(c) => _ = write!(line, "{}", c.escape_unicode()),
                c => line.push(c),
            }
        }
        for byte in chunk.invalid() {
            _ = write!(line, "\\x{byte:02x}");
        }
    }
    line
}

/// Controls, ends of lines, and marks that turn the direction of writing or have no width.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_escaped_and_all_else_is_left_alone() {
        assert!(matches!(shown("/dienste/größe"), Cow::Borrowed("/dienste/größe")));
        assert_eq!(shown("/a\u{1b}[2J\u{202e}b"), "/a\\u{1b}[2J\\u{202e}b");
        assert_eq!(one_line(b"a\nb\\\xff\0\xc3\xa4"), "a\\nb\\\\\\xff\\u{0}ä");
        assert_eq!(one_line(b""), "");
    }
}

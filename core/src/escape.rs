//! Text that others have chosen, as it becomes part of a message: paths, host names, what is in a certificate or comes
//! from a server.
//!
//! Messages end up in logs and terminals. There, a line break forges a line, an escape sequence acts, and a character
//! that turns the direction of writing makes a name look like another. ZooKeeper itself takes all of these but the
//! first two. Such a text can also be of any length.

use std::fmt::{self, Write};

/// At most this many characters are shown. No name that people gave is longer.
const LONGEST: usize = 500;

/// Shows text with such characters escaped, as in `\u{202e}`. If the text is long, only its beginning is shown.
/// [`Debug`](fmt::Debug) puts it in quotes. Backslashes stay as they are, so text that is escaped already is not
/// escaped twice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Escaped<'a>(pub &'a str);

impl Escaped<'_> {
    fn write(self, f: &mut fmt::Formatter<'_>, also: Option<char>) -> fmt::Result {
        let mut chars = self.0.chars();
        for c in chars.by_ref().take(LONGEST) {
            match c {
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                c if acts(c) => write!(f, "{}", c.escape_unicode())?,
                c if Some(c) == also => write!(f, "\\{c}")?,
                c => f.write_char(c)?,
            }
        }
        match chars.as_str().len() {
            0 => Ok(()),
            more => write!(f, "... ({more} bytes more)"),
        }
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, None)
    }
}

impl fmt::Debug for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        self.write(f, Some('"'))?;
        f.write_char('"')
    }
}

/// Whether a character does something where it is shown, or cannot be seen there: controls, ends of lines, marks that
/// turn the direction or have no width. `examples/c/shown.h` has the same ones.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_acts_on_a_terminal_is_shown_and_the_rest_stays() {
        for (text, shown) in [
            ("/größe/日本/\u{1f600} 'x'", "/größe/日本/\u{1f600} 'x'"),
            ("\u{1b}[2J\r\n\t\0\u{7f}\u{9b}31m", "\\u{1b}[2J\\r\\n\\t\\u{0}\\u{7f}\\u{9b}31m"),
            ("/admin\u{202e}txt\u{2066}\u{200b}\u{2028}", "/admin\\u{202e}txt\\u{2066}\\u{200b}\\u{2028}"),
            ("\\u{202e}", "\\u{202e}"),
        ] {
            assert_eq!(Escaped(text).to_string(), shown);
        }
        assert_eq!(format!("{:?}", Escaped("a \"b\"\n")), r#""a \"b\"\n""#);
    }

    #[test]
    fn of_what_is_long_the_beginning_is_shown() {
        assert_eq!(Escaped(&"é".repeat(LONGEST)).to_string(), "é".repeat(LONGEST));
        let shown = Escaped(&"é".repeat(LONGEST + 10)).to_string();
        assert_eq!(shown, format!("{}... (20 bytes more)", "é".repeat(LONGEST)));
    }

    proptest! {
        #[test]
        fn whatever_it_is_it_does_nothing_and_is_short(text in "\\PC{0,600}|[\\x00-\\x{ffff}]{0,600}") {
            let shown = Escaped(&text).to_string();
            prop_assert!(!shown.chars().any(acts), "{shown:?}");
            prop_assert!(shown.chars().count() <= 8 * LONGEST + 40);
        }
    }
}

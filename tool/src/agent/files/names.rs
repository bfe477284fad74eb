//! What a node's file is called.
//!
//! A node without children is a file of its name. One that has some is a folder of its name, and its own data is in there, as
//! [`DATA`]. A name that would be something else is escaped as in URLs: so any two nodes have two files, and who undoes the
//! escapes has the name.

use std::borrow::Cow;

/// The data of a node that has children.
pub const DATA: &str = ".data";

/// What file systems take for one name.
const LONGEST_NAME: usize = 255;

/// What a node of this name is called; `None`: no file may have such a name.
pub fn file_name(name: &str) -> Option<Cow<'_, str>> {
    let escaped = match name {
        DATA | "." | ".." => Cow::Owned(name.replacen('.', "%2E", 1)),
        _ if name.contains(['%', '/', '\0']) => {
            Cow::Owned(name.replace('%', "%25").replace('/', "%2F").replace('\0', "%00"))
        }
        _ => Cow::Borrowed(name),
    };
    (!escaped.is_empty() && escaped.len() <= LONGEST_NAME).then_some(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_two_names_have_two_files_and_none_of_them_is_special() {
        for (name, file) in [
            ("price", "price"),
            ("größe", "größe"),
            (".data", "%2Edata"),
            ("%2Edata", "%252Edata"),
            (".data2", ".data2"),
            (".", "%2E"),
            ("..", "%2E."),
            ("...", "..."),
            ("100%", "100%25"),
            ("a/b\0", "a%2Fb%00"),
        ] {
            assert_eq!(file_name(name).as_deref(), Some(file));
        }
        assert_eq!(file_name(""), None);
        assert!(file_name(&"x".repeat(255)).is_some());
        assert!(file_name(&"x".repeat(256)).is_none());
        assert!(file_name(&"%".repeat(86)).is_none());
    }
}

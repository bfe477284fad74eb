//! A file of settings in TOML, with the line of each: so a message can say where something is wrong.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A larger file is none of settings.
const LONGEST: u64 = 16 << 20;

/// What is wrong with a file, and where.
#[derive(Debug)]
pub struct Invalid {
    pub file: PathBuf,
    /// 0: the file as a whole.
    pub line: usize,
    pub message: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file.display(), self.message),
            line => write!(f, "{}:{line}: {}", self.file.display(), self.message),
        }
    }
}

/// A value, and where it is from.
#[derive(Clone, Debug)]
pub struct At<T> {
    pub value: T,
    file: PathBuf,
    line: usize,
}

impl<T> At<T> {
    pub fn invalid(&self, message: impl Into<String>) -> Invalid {
        self.invalid_at(self.line, message)
    }

    /// What is made of the value, from the same place.
    pub fn with<U>(self, make: impl FnOnce(T) -> U) -> At<U> {
        At { value: make(self.value), file: self.file, line: self.line }
    }

    /// About another line of the same file.
    pub fn invalid_at(&self, line: usize, message: impl Into<String>) -> Invalid {
        Invalid { file: self.file.clone(), line, message: message.into() }
    }
}

/// Lines may move.
impl<T: PartialEq> PartialEq for At<T> {
    fn eq(&self, other: &At<T>) -> bool {
        self.value == other.value
    }
}

/// A table of a file.
pub struct Table<'t> {
    document: &'t Document,
    /// Where it begins.
    line: usize,
    entries: &'t DeTable<'t>,
}

/// One key of a table, with what is there.
pub struct Entry<'t> {
    document: &'t Document,
    pub key: String,
    line: usize,
    value: &'t DeValue<'t>,
}

/// The text of a file.
pub struct Document {
    file: PathBuf,
    text: String,
}

impl Document {
    pub fn read(file: &Path) -> Result<Document, Invalid> {
        let whole = |message: String| Invalid { file: file.to_owned(), line: 0, message };
        let len = std::fs::metadata(file).map_err(|error| whole(error.to_string()))?.len();
        if len > LONGEST {
            return Err(whole(format!("it has {len} bytes, which is too long for settings")));
        }
        let text = std::fs::read_to_string(file).map_err(|error| whole(error.to_string()))?;
        Ok(Document { file: file.to_owned(), text })
    }

    /// Reads what is in it, and gives the outermost table to `visit`.
    pub fn with<T>(&self, visit: impl FnOnce(Table<'_>) -> Result<T, Invalid>) -> Result<T, Invalid> {
        let parsed = DeTable::parse(&self.text).map_err(|error| {
            let at = error.span().map_or(0, |span| self.line(span.start));
            // A key that is continued behind a dot, and has a value of its own too.
            let message =
                match error.message().contains("dotted key") || error.message().contains("duplicate key") {
                    true => format!("{} (keys with dots in them are written with quotes)", error.message()),
                    false => error.message().to_owned(),
                };
            self.invalid(at, message)
        })?;
        visit(Table { document: self, line: 1, entries: parsed.get_ref() })
    }

    pub fn invalid(&self, line: usize, message: impl Into<String>) -> Invalid {
        Invalid { file: self.file.clone(), line, message: message.into() }
    }

    fn line(&self, at: usize) -> usize {
        self.text.as_bytes()[..at.min(self.text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
    }
}

impl<'t> Table<'t> {
    pub fn at<T>(&self, value: T) -> At<T> {
        At { value, file: self.document.file.clone(), line: self.line }
    }

    pub fn invalid(&self, message: impl Into<String>) -> Invalid {
        self.document.invalid(self.line, message)
    }

    /// What is in it, in the order of the lines.
    pub fn entries(&self) -> Vec<Entry<'t>> {
        let document = self.document;
        let entry = |(key, value): (&'t Spanned<_>, &'t Spanned<DeValue<'t>>)| {
            let line = document.line(key.span().start);
            let key: &std::borrow::Cow<'t, str> = key.get_ref();
            Entry { document, key: key.to_string(), line, value: value.get_ref() }
        };
        let mut entries: Vec<_> = self.entries.iter().map(entry).collect();
        entries.sort_by_key(|entry| entry.line);
        entries
    }
}

impl<'t> Entry<'t> {
    pub fn at<T>(&self, value: T) -> At<T> {
        At { value, file: self.document.file.clone(), line: self.line }
    }

    pub fn invalid(&self, message: impl Into<String>) -> Invalid {
        self.document.invalid(self.line, message)
    }

    /// The text that is there.
    pub fn text(&self) -> Result<String, Invalid> {
        self.value
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| self.invalid(format!("{:?} takes text in quotes", self.key)))
    }

    /// The name of a file, wherever the process is.
    pub fn path(&self) -> Result<PathBuf, Invalid> {
        std::path::absolute(self.text()?).map_err(|error| self.invalid(format!("{:?}: {error}", self.key)))
    }

    /// A time in milliseconds, at most a day.
    pub fn milliseconds(&self) -> Result<Duration, Invalid> {
        const DAY: u64 = 86_400_000;
        match scalar(self.value).and_then(|number| number.parse().ok()) {
            Some(number) if number <= DAY => Ok(Duration::from_millis(number)),
            _ => Err(self.invalid(format!("{:?} takes 0 to {DAY} ms", self.key))),
        }
    }

    pub fn table(&self) -> Result<Table<'t>, Invalid> {
        match self.value {
            DeValue::Table(entries) => Ok(Table { document: self.document, line: self.line, entries }),
            _ => Err(self.invalid(format!("{:?} is a table: [{}]", self.key, self.key))),
        }
    }

    /// All tables of an array, as in `[[key]]`.
    pub fn tables(&self) -> Result<Vec<Table<'t>>, Invalid> {
        let wrong = || self.invalid(format!("{:?} is written as [[{}]]", self.key, self.key));
        let DeValue::Array(values) = self.value else { return Err(wrong()) };
        let table = |value: &'t Spanned<DeValue<'t>>| match value.get_ref() {
            DeValue::Table(entries) => {
                let line = self.document.line(value.span().start);
                Ok(Table { document: self.document, line, entries })
            }
            _ => Err(wrong()),
        };
        values.iter().map(table).collect()
    }

    /// The keys and values that are set here, as the library takes them: `a.b = 1` is as `"a.b" = 1`, and a list sets
    /// its key several times.
    pub fn settings(&self) -> Result<Vec<(String, String, usize)>, Invalid> {
        let mut found = Vec::new();
        match self.value {
            DeValue::Table(_) => {
                for mut entry in self.table()?.entries() {
                    entry.key = format!("{}.{}", self.key, entry.key);
                    found.extend(entry.settings()?);
                }
            }
            DeValue::Array(values) => {
                for value in values.iter() {
                    let line = self.document.line(value.span().start);
                    let value = scalar(value.get_ref()).ok_or_else(|| self.no_scalar())?;
                    found.push((self.key.clone(), value, line));
                }
            }
            value => {
                let value = scalar(value).ok_or_else(|| self.no_scalar())?;
                found.push((self.key.clone(), value, self.line));
            }
        }
        Ok(found)
    }

    fn no_scalar(&self) -> Invalid {
        self.invalid(format!("{:?} takes text, a whole number, true, false, or a list of these", self.key))
    }
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Boolean(set) => Some(set.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<Vec<(String, String, usize)>, String> {
        let document = Document { file: "t.toml".into(), text: text.to_owned() };
        let read = |table: Table<'_>| {
            let all: Result<Vec<_>, _> = table.entries().iter().map(Entry::settings).collect();
            Ok(all?.concat())
        };
        document.with(read).map_err(|invalid| invalid.to_string())
    }

    #[test]
    fn keys_keep_their_dots_and_their_lines() {
        let read = settings(
            "\"session.timeout.ms\" = 5_000\nsasl.username = 'me'\n\nselect.exclude = [\n 'a',\n 'b']\ntls = true\n",
        );
        let own = |key: &str, value: &str, line| (key.to_owned(), value.to_owned(), line);
        assert_eq!(
            read.unwrap(),
            [
                own("session.timeout.ms", "5000", 1),
                own("sasl.username", "me", 2),
                own("select.exclude", "a", 5),
                own("select.exclude", "b", 6),
                own("tls", "true", 7),
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let message = |text| settings(text).unwrap_err();
        assert!(message("a = 1\nb = \n").starts_with("t.toml:2: "), "{}", message("a = 1\nb = \n"));
        assert!(message("tls = true\ntls.ca.file = 'x'\n").starts_with("t.toml:2: "));
        assert!(message("tls = true\ntls.ca.file = 'x'\n").contains("with quotes"));
        assert!(message("a = 1.5\n").starts_with("t.toml:1: \"a\" takes text"));
        assert!(message("\na = [[1]]\n").starts_with("t.toml:2: "));
        let deep = format!("a = {}", "[".repeat(100_000));
        assert!(message(&deep).starts_with("t.toml:1: "));
    }
}

//! Keys of the library, from files, the environment and the command line.
//!
//! Secrets come from files and from the environment, and never from the command line, which everybody on the machine can read.

use std::path::Path;

use treecache::Config;

use crate::failure::Failure;
use crate::toml_file::{Document, Entry, Invalid};

/// Keys whose values are secrets, each with the variable of the environment that may have it.
const SECRETS: [(&str, &str); 2] = [("auth", "TREECACHE_AUTH"), ("sasl.password", "TREECACHE_SASL_PASSWORD")];

/// Keys and values, in the order in which they are set. Not to be shown: there may be secrets among them.
#[derive(Clone, Default)]
pub struct Settings(Vec<Setting>);

#[derive(Clone)]
struct Setting {
    key: String,
    value: String,
    /// Of the file that it is from.
    line: usize,
}

/// Lines may move.
impl PartialEq for Settings {
    fn eq(&self, other: &Settings) -> bool {
        let what = |settings: &'_ Settings| -> Vec<(String, String)> {
            settings.0.iter().map(|setting| (setting.key.clone(), setting.value.clone())).collect()
        };
        what(self) == what(other)
    }
}

impl Settings {
    /// Adds what an entry of a file sets. `auth.file` and `sasl.password.file` name files that have the secret.
    ///
    /// # Errors
    /// The library does not know the key or does not take the value.
    pub fn add(&mut self, entry: &Entry<'_>) -> Result<(), Invalid> {
        for (key, value, line) in entry.settings()? {
            let wrong = |message: String| Invalid { line, ..entry.invalid(message) };
            let secret = SECRETS.iter().find(|(name, _)| key.strip_suffix(".file") == Some(*name));
            let (key, value) = match secret {
                Some((name, _)) => ((*name).to_owned(), secret_in(Path::new(&value)).map_err(wrong)?),
                None => (key, value),
            };
            Config::new().set(&key, &value).map_err(|error| wrong(error.to_string()))?;
            self.0.push(Setting { key, value, line });
        }
        Ok(())
    }

    /// Adds one that is not from a file.
    pub fn set(&mut self, key: &str, value: &str) {
        self.0.push(Setting { key: key.to_owned(), value: value.to_owned(), line: 0 });
    }

    /// The last value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find(|setting| setting.key == key).map(|setting| setting.value.as_str())
    }

    /// The line where a key was set last.
    pub fn line_of(&self, key: &str) -> Option<usize> {
        self.0.iter().rev().find(|setting| setting.key == key && setting.line > 0).map(|setting| setting.line)
    }

    pub fn has_secrets(&self) -> bool {
        SECRETS.iter().any(|(key, _)| self.get(key).is_some())
    }

    /// All of them, for the library.
    ///
    /// # Errors
    /// As [`Config::set`].
    pub fn config(&self) -> Result<Config, treecache::Error> {
        let mut config = Config::new();
        for Setting { key, value, .. } in &self.0 {
            config.set(key, value)?;
        }
        Ok(config)
    }

    /// What a command that looks into a tree is given: a file, the environment, and `KEY=VALUE`s, each of which has the word
    /// over what is before it.
    pub fn given(file: Option<&Path>, pairs: &[String]) -> Result<Settings, Failure> {
        let mut settings = Settings::default();
        if let Some(file) = file {
            let usage = |invalid: Invalid| Failure::Usage(invalid.to_string());
            let document = Document::read(file).map_err(usage)?;
            document
                .with(|table| table.entries().iter().try_for_each(|entry| settings.add(entry)))
                .map_err(usage)?;
        }
        for (key, variable) in SECRETS {
            match std::env::var(variable) {
                Ok(value) => settings.set(key, &value),
                Err(std::env::VarError::NotPresent) => {}
                Err(std::env::VarError::NotUnicode(_)) => {
                    return Err(Failure::Usage(format!("{variable} is not UTF-8")));
                }
            }
        }
        for pair in pairs {
            let Some((key, value)) = pair.split_once('=') else {
                return Err(Failure::Usage("--set takes KEY=VALUE".to_owned()));
            };
            if let Some((key, variable)) = SECRETS.iter().find(|(secret, _)| *secret == key) {
                return Err(Failure::Usage(format!(
                    "{key:?} is a secret, and everybody on this machine can read a command line: set {variable} in the \
                     environment, or write it into a file for --settings"
                )));
            }
            settings.set(key, value);
        }
        Ok(settings)
    }
}

/// What is in a file with one secret, without the end of its line.
fn secret_in(file: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

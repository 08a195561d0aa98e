//! The file of settings, in TOML: `listen = "0.0.0.0:8080"`, and so on.
//!
//! What it says becomes the defaults of the command line, so that a value goes through the same parser wherever it comes from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Arg, Command};
use toml::Value;

/// Why a file of settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("the file of settings {} cannot be read: {source}; correct SNUG_CONFIG or --config", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no TOML.
    #[error("{}, line {line}: {reason}", path.display())]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What is wrong, in one line.
        reason: String,
    },
    /// It names a setting that does not exist.
    #[error("{}: there is no setting {key}; `snug config` prints all of them", path.display())]
    Unknown {
        /// Which file.
        path: PathBuf,
        /// What it names.
        key: String,
    },
    /// A setting has a value that it cannot have.
    #[error("{}: {key}: {reason}", path.display())]
    Value {
        /// Which file.
        path: PathBuf,
        /// Which setting.
        key: String,
        /// What is wrong, in one line.
        reason: String,
    },
}

/// The settings that a file has.
#[derive(Debug, Default)]
pub(super) struct SettingsFile {
    values: BTreeMap<String, Vec<String>>,
}

/// What an argument is called in the file; `None` for one that is no setting.
pub(super) fn key_of(arg: &Arg) -> Option<String> {
    Some(arg.get_env()?.to_str()?.strip_prefix("SNUG_")?.to_lowercase())
}

impl SettingsFile {
    /// Reads the file at `path`; what it names must be an argument of `command`, and have a value that this argument takes.
    pub fn read(path: &Path, command: &Command) -> Result<Self, FileError> {
        let text = std::fs::read_to_string(path).map_err(|source| FileError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path, command)
    }

    fn parse(text: &str, path: &Path, command: &Command) -> Result<Self, FileError> {
        let table: toml::Table = toml::from_str(text).map_err(|error| syntax(path, text, &error))?;
        let mut values = BTreeMap::new();
        for (key, value) in table {
            let wrong = |reason: String| FileError::Value { path: path.to_owned(), key: key.clone(), reason };
            let arg = command.get_arguments().find(|arg| key_of(arg).as_ref() == Some(&key));
            let arg = arg.ok_or_else(|| FileError::Unknown { path: path.to_owned(), key: key.clone() })?;
            if key == "config" {
                return Err(wrong("a file of settings cannot name another".into()));
            }
            let texts = texts(value, arg.get_value_delimiter().is_some()).map_err(wrong)?;
            check(arg, &texts).map_err(wrong)?;
            if !texts.is_empty() {
                values.insert(key, texts);
            }
        }
        Ok(Self { values })
    }

    /// Whether it has this setting.
    pub fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// Makes what it says the defaults of `command` and its subcommands.
    pub fn apply(&self, command: Command) -> Command {
        let value = |arg: &Arg| key_of(arg).and_then(|key| self.values.get(&key));
        let command = command.mut_args(|arg| match value(&arg) {
            // Help tells defaults, and some are secret.
            Some(texts) if arg.is_hide_env_values_set() => {
                arg.required(false).default_values(texts).hide_default_value(true)
            }
            Some(texts) => arg.required(false).default_values(texts),
            None => arg,
        });
        command.mut_subcommands(|subcommand| self.apply(subcommand))
    }
}

fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> FileError {
    let at = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
    let reason = error.message().lines().map(str::trim).collect::<Vec<_>>().join(" ");
    FileError::Syntax { path: path.to_owned(), line, reason }
}

/// A value as it would stand on the command line.
fn texts(value: Value, may_be_list: bool) -> Result<Vec<String>, String> {
    match value {
        Value::String(text) => Ok(vec![text]),
        Value::Integer(number) => Ok(vec![number.to_string()]),
        Value::Float(number) => Ok(vec![number.to_string()]),
        Value::Boolean(flag) => Ok(vec![flag.to_string()]),
        Value::Array(values) if may_be_list => {
            let each = values.into_iter().map(|value| texts(value, false));
            Ok(each.collect::<Result<Vec<_>, _>>()?.concat())
        }
        Value::Array(_) => Err("takes one value, not a list".into()),
        Value::Table(_) => Err("settings are not in sections; write it without [ ]".into()),
        Value::Datetime(_) => Err("takes no time".into()),
    }
}

/// Whether an argument takes these values, and if not, why.
fn check(arg: &Arg, texts: &[String]) -> Result<(), String> {
    let alone = arg.clone().env(None::<&'static str>).required(false).default_values(texts);
    let parsed = Command::new("snug").arg(alone).try_get_matches_from(["snug"]);
    parsed.map(|_| ()).map_err(|error| super::source::one_line(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<SettingsFile, String> {
        SettingsFile::parse(text, Path::new("snug.toml"), &crate::config::command()).map_err(|error| error.to_string())
    }

    #[test]
    fn each_mistake_is_one_line_that_names_the_file_and_the_place() {
        for (text, words) in [
            ("listen = \"127.0.0.1:80\"\nlog = \"info", &["snug.toml, line 2"][..]),
            ("listen = \"a\"\nlisten = \"b\"", &["line 2", "duplicate"]),
            ("lisen = \"127.0.0.1:80\"", &["no setting lisen"]),
            ("SNUG_LISTEN = \"127.0.0.1:80\"", &["no setting SNUG_LISTEN"]),
            ("listen = \"localhost\"", &["listen: ", "localhost", "socket address"]),
            ("log_format = \"xml\"", &["log_format: ", "pretty, json"]),
            ("sends_burst = -1", &["sends_burst: ", "-1"]),
            ("sends_burst = 1.5", &["sends_burst: ", "1.5"]),
            ("allow_weak_durability = \"perhaps\"", &["allow_weak_durability: ", "perhaps"]),
            ("log = [\"info\"]", &["log: ", "not a list"]),
            ("trusted_proxies = [\"10.0.0.0/8\", \"everyone\"]", &["trusted_proxies: ", "everyone"]),
            ("[limits]\nsends_burst = 1", &["no setting limits"]),
            ("[listen]\naddress = 1", &["listen: ", "sections"]),
            ("config = \"other.toml\"", &["cannot name another"]),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.starts_with("snug.toml") && !error.contains('\n'), "{text}: {error}");
            for word in words {
                assert!(error.contains(word), "{text}: {error}");
            }
        }
    }

    #[test]
    fn what_it_says_is_kept_and_an_empty_list_is_as_none() {
        let file =
            parse("# nothing else\nlisten = \"127.0.0.1:80\"\nallow_weak_durability = true\ntrusted_proxies = []");
        let file = file.expect("it is right");
        assert!(file.has("listen") && file.has("allow_weak_durability") && !file.has("trusted_proxies"));
    }
}

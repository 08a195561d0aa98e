//! Reading the command line, the environment and the file together, and telling where each setting came from.

use std::any::TypeId;
use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, CommandFactory as _, FromArgMatches as _};
use serde::Serialize;

use super::Cli;
use super::file::{FileError, SettingsFile, key_of};

/// The settings that the help of a command which only needs the database shows; it takes all of them.
const OF_EVERY_COMMAND: [&str; 3] = ["config", "data_dir", "database_url"];
/// Commands whose help lists all settings.
const LIST_ALL: [&str; 3] = ["serve", "check", "config"];

/// What was asked for, and by what.
#[derive(Debug)]
pub struct Parsed {
    /// What to do.
    pub cli: Cli,
    /// Every setting with its value and where it came from.
    pub effective: Effective,
}

/// Why the program does not know what to do.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The command line or a variable; or help was asked for.
    #[error("{}", one_line(.0))]
    CommandLine(#[from] clap::Error),
    /// A variable has a value that its setting cannot have.
    #[error("{variable}: {reason}")]
    Variable {
        /// Which.
        variable: String,
        /// What is wrong with it, in one line.
        reason: String,
    },
    /// The file of settings.
    #[error(transparent)]
    File(#[from] FileError),
}

impl ReadError {
    /// Tells the operator, and ends the process; as a failure, unless only help was asked for.
    pub fn exit(&self) -> ! {
        if let Self::CommandLine(error) = self {
            error.exit();
        }
        eprintln!("snug: {self}");
        std::process::exit(2);
    }
}

/// Where a setting's value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The command line.
    Flag,
    /// An environment variable.
    Environment,
    /// The file that `SNUG_CONFIG` names.
    File,
    /// Nobody set it.
    Default,
}

/// A setting as it is in force.
#[derive(Clone, Debug, Serialize)]
pub struct Setting {
    /// What it is called in the file.
    #[serde(skip)]
    pub key: String,
    /// Its environment variable.
    pub variable: String,
    /// Its flag, without `--`.
    pub flag: String,
    /// Its value, passwords left out; `None` if it has none.
    pub value: Option<toml::Value>,
    /// Where that came from.
    pub origin: Origin,
    /// What it is for.
    #[serde(skip)]
    pub help: String,
}

/// All settings as they are in force, in the order in which help lists them.
#[derive(Clone, Debug)]
pub struct Effective(pub Vec<Setting>);

/// The command line with its help.
#[must_use]
pub fn command() -> clap::Command {
    let hidden = |arg: Arg| if arg.get_env().is_some() { arg.hide(true) } else { arg };
    let elsewhere = |arg: Arg| match key_of(&arg) {
        Some(key) if !OF_EVERY_COMMAND.contains(&key.as_str()) => arg.hide(true),
        _ => arg,
    };
    Cli::command()
        .mut_args(hidden)
        .mut_subcommands(|command| {
            if LIST_ALL.contains(&command.get_name()) { command } else { command.mut_args(elsewhere) }
        })
        .after_help(
            "Without a command: serve. Every setting is a flag, an environment variable and a key of the file that --config names; \
             `snug serve --help` lists them, and all commands take them.",
        )
}

/// Reads the arguments (the first is the program's name), the environment, and the file if one is named.
///
/// # Errors
/// What is wrong, and where. Also when help was asked for.
pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<Parsed, ReadError> {
    let args: Vec<OsString> = args.into_iter().collect();
    let file = match file_named(&args) {
        Some(path) => SettingsFile::read(path.as_ref(), &command())?,
        None => SettingsFile::default(),
    };
    let mut command = file.apply(command());
    let matches = command.try_get_matches_from_mut(&args).map_err(|error| blame(&command, &args, error))?;
    let cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    Ok(Parsed { cli, effective: Effective::of(&command, &matches, &file) })
}

/// The file that these arguments or the environment name. What is wrong otherwise, the second reading says.
fn file_named(args: &[OsString]) -> Option<std::path::PathBuf> {
    let matches = command().ignore_errors(true).try_get_matches_from(args).ok()?;
    let chosen = matches.subcommand().map_or(&matches, |(_, chosen)| chosen);
    chosen.try_get_one::<std::path::PathBuf>("config").ok().flatten().cloned()
}

/// Says of a value that came from the environment that it did.
fn blame(command: &clap::Command, args: &[OsString], error: clap::Error) -> ReadError {
    if !matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue) {
        return error.into();
    }
    let Some(ContextValue::String(blamed)) = error.get(ContextKind::InvalidArg) else { return error.into() };
    let mut all = command.get_subcommands().flat_map(|command| command.get_arguments()).chain(command.get_arguments());
    let Some(arg) = all.find(|arg| arg.to_string() == *blamed) else { return error.into() };
    let flag = format!("--{}", arg.get_long().unwrap_or_default());
    let is_flag = args.iter().filter_map(|arg| arg.to_str()).any(|arg| arg.split('=').next() == Some(flag.as_str()));
    match arg.get_env() {
        Some(variable) if !is_flag => {
            ReadError::Variable { variable: variable.to_string_lossy().into_owned(), reason: one_line(&error) }
        }
        _ => error.into(),
    }
}

/// What an error of the command line says, without the hints for people at a terminal.
pub(super) fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let said = text.split("\n\nFor more information").next().unwrap_or_default().split("\n\nUsage:").next();
    let lines = said.unwrap_or_default().lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines.collect::<Vec<_>>().join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

impl Effective {
    fn of(command: &clap::Command, matches: &ArgMatches, file: &SettingsFile) -> Self {
        let (command, matches) = match matches.subcommand() {
            Some((name, matches)) => (command.find_subcommand(name).unwrap_or(command), matches),
            None => (command, matches),
        };
        Self(command.get_arguments().filter_map(|arg| setting(arg, matches, file)).collect())
    }
}

fn setting(arg: &Arg, matches: &ArgMatches, file: &SettingsFile) -> Option<Setting> {
    let key = key_of(arg)?;
    let id = arg.get_id().as_str();
    let origin = match matches.value_source(id) {
        Some(ValueSource::CommandLine) => Origin::Flag,
        Some(ValueSource::EnvVariable) => Origin::Environment,
        _ if file.has(&key) => Origin::File,
        _ => Origin::Default,
    };
    let values = matches.try_get_raw(id).ok().flatten().map(|values| values.map(|value| value.to_string_lossy()));
    let values = values.map(|values| values.map(|value| shown(arg, &value)).collect::<Vec<_>>());
    let value = match values {
        Some(values) if arg.get_value_delimiter().is_some() => Some(toml::Value::Array(values)),
        values => values.and_then(|values| values.into_iter().next()),
    };
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let variable = arg.get_env()?.to_string_lossy().into_owned();
    Some(Setting { key, variable, flag: arg.get_long()?.to_owned(), value, origin, help })
}

/// A value as the file would have it. What must not be shown in help is not shown here either.
fn shown(arg: &Arg, value: &str) -> toml::Value {
    if arg.is_hide_env_values_set() {
        return without_secrets(value).into();
    }
    let kind = arg.get_value_parser().type_id();
    if kind == TypeId::of::<bool>() {
        return value.parse::<bool>().map_or_else(|_| value.into(), toml::Value::Boolean);
    }
    let is_number = [TypeId::of::<u16>(), TypeId::of::<u32>(), TypeId::of::<u64>(), TypeId::of::<usize>()]
        .iter()
        .any(|id| kind == *id);
    match value.parse::<i64>() {
        Ok(number) if is_number => number.into(),
        _ => value.into(),
    }
}

/// What of an address is no secret: scheme, host, port and path. Of anything else: nothing.
fn without_secrets(url: &str) -> String {
    const HIDDEN: &str = "(hidden)";
    let Some((scheme, rest)) = url.split_once("://") else { return HIDDEN.into() };
    let (rest, has_more) = match rest.split_once(['?', '#']) {
        Some((rest, _)) => (rest, true),
        None => (rest, false),
    };
    // A password may hold what it should not, such as an @ or a slash: only what follows the last @ is surely none of it.
    let (user, place) = rest.rsplit_once('@').map_or((None, rest), |(user, place)| (Some(user), place));
    let hosts = place.split('/').next().unwrap_or_default();
    let is_host = |host: &str| {
        let (name, port) = host.rsplit_once(':').unwrap_or((host, "0"));
        let is_bare_ipv6 = host.ends_with(']');
        let name = if is_bare_ipv6 { host } else { name };
        name.chars().all(|c| c.is_ascii_alphanumeric() || "-._[]:".contains(c))
            && (is_bare_ipv6 || port.parse::<u16>().is_ok())
    };
    if !scheme.chars().all(|c| c.is_ascii_alphanumeric() || "-+".contains(c)) || !hosts.split(',').all(is_host) {
        return HIDDEN.into();
    }
    let user = if user.is_some() { format!("{HIDDEN}@") } else { String::new() };
    format!("{scheme}://{user}{place}{}", if has_more { "?(hidden)" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_with(file: &str, args: &[&str]) -> Result<Parsed, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("snug.toml");
        std::fs::write(&path, file).expect("a file");
        let config = format!("--config={}", path.display());
        let args = ["snug"].into_iter().chain(args.iter().copied()).chain([config.as_str()]);
        read(args.map(OsString::from)).map_err(|error| error.to_string())
    }

    fn origin(parsed: &Parsed, key: &str) -> (Option<String>, Origin) {
        let found = parsed.effective.0.iter().find(|setting| setting.key == key).expect("a setting");
        (found.value.as_ref().map(ToString::to_string), found.origin)
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let file = "listen = \"127.0.0.1:81\"\nsends_burst = 7\nallow_weak_durability = true\ntrusted_proxies = [\"10.0.0.0/8\", \"::1\"]";
        for command in [&[][..], &["serve"]] {
            let parsed = read_with(file, &[command, &["--listen=127.0.0.1:82"]].concat()).expect("it is right");
            assert_eq!(origin(&parsed, "listen"), (Some("\"127.0.0.1:82\"".into()), Origin::Flag));
            assert_eq!(origin(&parsed, "sends_burst"), (Some("7".into()), Origin::File));
            assert_eq!(origin(&parsed, "sends_per_second"), (Some("10".into()), Origin::Default));
            assert_eq!(origin(&parsed, "database_url"), (None, Origin::Default));
            let settings = match parsed.cli.command {
                Some(super::super::Command::Serve(settings)) => *settings,
                _ => parsed.cli.settings,
            };
            assert_eq!(settings.listen.port(), 82);
            assert_eq!((settings.limits.sends_burst, settings.allow_weak_durability), (7, true));
            assert_eq!(settings.trusted_proxies.len(), 2);
        }
    }

    #[test]
    fn a_command_that_must_have_a_setting_takes_it_from_the_file() {
        let parsed = read_with("database_url = \"postgres://host/snug\"", &["migrate-store", "--from=/data"]);
        let Some(super::super::Command::MigrateStore(copy)) = parsed.expect("it is right").cli.command else {
            panic!("another command")
        };
        assert_eq!(copy.to.as_str(), "postgres://host/snug");
        let refused = read_with("", &["migrate-store", "--from=/data"]).expect_err("a setting is missing");
        assert!(refused.contains("--to"), "{refused}");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = read(["snug", "--config=/nowhere/snug.toml"].map(OsString::from)).expect_err("it is not there");
        assert!(error.to_string().contains("/nowhere/snug.toml"), "{error}");
    }

    #[test]
    fn no_secret_of_an_address_is_shown() {
        for (url, shown) in [
            (
                "postgres://snug:secret@db.example:5432/snug?sslmode=verify-full",
                "postgres://(hidden)@db.example:5432/snug?(hidden)",
            ),
            ("postgres://db/snug", "postgres://db/snug"),
            ("redis://:se@cret@[::1]:6379/0", "redis://(hidden)@[::1]:6379/0"),
            ("redis-sentinel://:se/cret@a:1,b:2", "redis-sentinel://(hidden)@a:1,b:2"),
            ("postgres://snug:secret", "(hidden)"),
            ("postgres://se cret/snug", "(hidden)"),
            ("secret", "(hidden)"),
            ("", "(hidden)"),
        ] {
            assert_eq!(without_secrets(url), shown, "{url}");
        }
    }

    #[test]
    fn every_setting_is_a_flag_a_variable_and_a_key_of_one_name() {
        let command = command();
        let mut seen = 0;
        for arg in command.get_arguments().filter(|arg| arg.get_env().is_some()) {
            let key = key_of(arg).expect("the variable begins with SNUG_");
            assert_eq!(arg.get_long(), Some(key.replace('_', "-").as_str()));
            assert!(arg.get_help().is_some(), "{key} has no help");
            seen += 1;
        }
        assert!(seen > 30, "{seen}");
    }

    #[test]
    fn the_command_line_is_as_clap_wants_it() {
        command().debug_assert();
    }
}

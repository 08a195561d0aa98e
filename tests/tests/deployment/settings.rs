//! Every setting of the program is known to what is shipped with it, and the reverse.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use snug_gateway::Settings;
use snug_gateway::config::Cli;
use snug_gateway::server::DRAIN_LIMIT;

use crate::files::{OVERLAYS, compose_node, environment, text};

/// What the compose file itself is set by, and not the program.
const OF_COMPOSE: [&str; 8] = [
    "SNUG_HOST",
    "SNUG_PORT",
    "SNUG_BIND",
    "SNUG_SUBNET",
    "SNUG_NOFILE",
    "SNUG_IMAGE",
    "SNUG_COLLECTOR",
    "SNUG_GRAFANA_PORT",
];

/// Environment variable and flag of every setting.
fn known() -> BTreeMap<String, String> {
    let command = Cli::command();
    let settings = command.get_arguments().filter_map(|argument| {
        let variable = argument.get_env()?.to_str().expect("ASCII").to_owned();
        Some((variable, argument.get_long().expect("every setting is a flag too").to_owned()))
    });
    let known: BTreeMap<_, _> = settings.collect();
    assert!(known.len() > 20 && known.contains_key("SNUG_LISTEN"), "{known:?}");
    known
}

fn names<'a>(names: impl IntoIterator<Item = &'a String>) -> BTreeSet<&'a str> {
    names.into_iter().map(String::as_str).collect()
}

/// The settings that a node has in this environment, as the program itself reads them.
fn parsed(environment: &BTreeMap<String, String>) -> Settings {
    let known = known();
    let secrets = [("SNUG_DATABASE_URL", "postgres://snug:secret@host/snug"), ("SNUG_REDIS_URL", "redis://host")];
    let mut environment = environment.clone();
    for (name, value) in secrets {
        environment.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }
    let flags = environment.iter().filter(|(name, _)| name.starts_with("SNUG_")).map(|(name, value)| {
        let flag = known.get(name).unwrap_or_else(|| panic!("the program has no setting {name}"));
        format!("--{flag}={value}")
    });
    let cli = Cli::try_parse_from(["snug".to_owned()].into_iter().chain(flags));
    let settings = cli.unwrap_or_else(|error| panic!("the program refuses the settings: {error}")).settings;
    settings.check().unwrap_or_else(|error| panic!("the program refuses the settings: {error}"));
    settings.identity(settings.listen).expect("the public address is one");
    settings
}

fn compose_environment() -> BTreeMap<String, String> {
    let node = compose_node();
    let environment = node["environment"].as_object().expect("a map");
    environment.iter().map(|(name, value)| (name.clone(), value.as_str().expect("text").to_owned())).collect()
}

/// The settings that a node has with this environment written as a file.
fn from_file(environment: &BTreeMap<String, String>) -> Settings {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("snug.toml");
    let key = |name: &str| name.strip_prefix("SNUG_").expect("a setting").to_lowercase();
    let settings = environment.iter().filter(|(name, _)| name.starts_with("SNUG_"));
    let lines: Vec<String> = settings.map(|(name, value)| format!("{} = {value:?}\n", key(name))).collect();
    std::fs::write(&path, lines.concat()).expect("a file");
    let args = ["snug".to_owned(), format!("--config={}", path.display())].map(Into::into);
    let read = snug_gateway::config::read(args);
    read.unwrap_or_else(|error| panic!("the program refuses the file: {error}")).cli.settings
}

#[test]
fn every_setting_is_a_flag_a_variable_and_a_key_of_the_file_by_one_rule() {
    for (variable, flag) in known() {
        let key = variable.strip_prefix("SNUG_").expect("ours begin so").to_lowercase();
        assert_eq!(flag, key.replace('_', "-"), "{variable}");
    }
    // The document says the rule once, with an example that holds.
    let document = text("README.md");
    assert!(
        document.contains("`--data-dir`, `SNUG_DATA_DIR`, and `data_dir = "),
        "the rule is not in deploy/README.md"
    );
    assert_eq!(known()["SNUG_DATA_DIR"], "data-dir");
}

#[test]
fn the_settings_of_every_overlay_are_the_same_as_a_file() {
    for overlay in OVERLAYS {
        let environment = environment(overlay);
        let (flags, file) = (parsed(&environment), from_file(&environment));
        // A file has no databases' addresses here, which `parsed` adds.
        let same = [
            flags.listen == file.listen,
            flags.public_url == file.public_url,
            flags.trusted_proxies == file.trusted_proxies,
            flags.pepper_file == file.pepper_file,
            flags.migrate == file.migrate,
            flags.drain_wait_ms == file.drain_wait_ms,
            flags.log == file.log,
            flags.log_format == file.log_format,
            format!("{:?}", flags.limits) == format!("{:?}", file.limits),
        ];
        assert!(same.iter().all(|same| *same), "{overlay}: {same:?}");
    }
}

#[test]
fn the_settings_of_kubernetes_name_every_setting_and_no_other() {
    let file = text("kubernetes/base/settings.env");
    let word = |line: &str| line.split(['=', ':', ' ']).next().unwrap_or_default().to_owned();
    let named: BTreeSet<String> = file
        .lines()
        .map(|line| line.trim_start_matches("# "))
        .filter(|line| line.starts_with("SNUG_"))
        .map(word)
        .collect();
    assert_eq!(names(&named), names(known().keys()));
}

#[test]
fn the_operators_document_names_every_setting_and_no_other() {
    let document = text("README.md");
    let rows = document.lines().filter(|line| line.starts_with("| `SNUG_"));
    let first_cells = rows.map(|row| row.split('|').nth(1).expect("a cell"));
    let quoted =
        |cell: &str| cell.split('`').filter(|part| part.starts_with("SNUG_")).map(str::to_owned).collect::<Vec<_>>();
    let mut documented: BTreeSet<String> = first_cells.flat_map(quoted).collect();
    for name in OF_COMPOSE {
        assert!(documented.remove(name), "deploy/README.md does not document {name}");
    }
    assert_eq!(names(&documented), names(known().keys()));
}

#[test]
fn the_program_takes_the_settings_of_every_overlay_and_of_compose() {
    for overlay in OVERLAYS {
        let settings = parsed(&environment(overlay));
        assert!(settings.public_url.is_some(), "{overlay}");
        assert!(settings.pepper_file.is_some(), "{overlay}: a node on Postgres needs the pepper's file");
    }
    let settings = parsed(&compose_environment());
    assert!(!settings.trusted_proxies.is_empty(), "behind a load balancer that is not trusted all clients are one");
    assert!(parsed(&environment("production")).public_url.is_some_and(|url| url.starts_with("https://")));
}

#[test]
fn what_compose_takes_from_its_environment_is_what_it_says() {
    let file = text("compose.yaml");
    let taken = file.split("${").skip(1).map(|rest| rest.split(":-").next().expect("a name").to_owned());
    let taken: BTreeSet<String> = taken.filter(|name| name.starts_with("SNUG_")).collect();
    assert_eq!(names(&taken), OF_COMPOSE.into_iter().collect());
}

#[test]
fn the_image_listens_where_it_says() {
    let dockerfile = text("Dockerfile");
    let words: Vec<&str> = dockerfile.split_whitespace().collect();
    let listens = words.iter().find_map(|word| word.strip_prefix("SNUG_LISTEN=")).expect("set");
    let listens: SocketAddr = listens.parse().expect("an address");
    assert!(listens.ip().is_unspecified(), "loopback inside a container is reached by nobody");
    let exposed = words.windows(2).find(|pair| pair[0] == "EXPOSE").expect("exposed")[1];
    assert_eq!(exposed, listens.port().to_string());
    assert_eq!(parsed(&compose_environment()).listen, listens);
    for overlay in OVERLAYS {
        assert_eq!(parsed(&environment(overlay)).listen, listens, "{overlay}");
    }
}

#[test]
fn a_drain_has_the_time_it_is_told_to_take() {
    for overlay in OVERLAYS {
        let environment = environment(overlay);
        let span = |name: &str| Duration::from_millis(environment[name].parse().expect("a number"));
        assert!(span("SNUG_DRAIN_WAIT_MS") + span("SNUG_DRAIN_MOVE_MS") < DRAIN_LIMIT, "{overlay}");
    }
}

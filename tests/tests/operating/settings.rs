//! Where settings come from, and what the program says about them.

use std::path::Path;

use clap::CommandFactory as _;
use serde_json::Value;
use snug_backing::free_port;
use snug_gateway::config::Cli;
use snug_tests::process::Process;

use crate::commands::{does, fails, snug, snug_with};

fn file(folder: &Path, text: &str) -> String {
    let path = folder.join("snug.toml");
    std::fs::write(&path, text).expect("a file");
    format!("--config={}", path.display())
}

/// The settings in force, as the program says.
async fn in_force(args: &[&str], variables: &[(&str, &str)]) -> Value {
    let said = snug_with(&[&["config", "--json"], args].concat(), variables).await;
    assert!(said.ended_well, "{said:?}");
    serde_json::from_str(&said.out).expect("JSON")
}

#[tokio::test]
async fn a_flag_wins_over_the_environment_which_wins_over_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = file(
        folder.path(),
        "listen = \"127.0.0.1:1\"\nsends_burst = 1\nhttp_burst = 1\ntrusted_proxies = [\"10.0.0.0/8\", \"::1\"]\n",
    );
    let variables = [("SNUG_SENDS_BURST", "2"), ("SNUG_LISTEN", "127.0.0.1:2")];
    let settings = in_force(&[&config, "--listen=127.0.0.1:3"], &variables).await;
    let is = |key: &str| (settings[key]["value"].clone(), settings[key]["origin"].as_str().expect("text").to_owned());
    assert_eq!(is("listen"), ("127.0.0.1:3".into(), "flag".into()));
    assert_eq!(is("sends_burst"), (2.into(), "environment".into()));
    assert_eq!(is("http_burst"), (1.into(), "file".into()));
    assert_eq!(is("trusted_proxies"), (serde_json::json!(["10.0.0.0/8", "::1"]), "file".into()));
    assert_eq!(is("http_per_second"), (50.into(), "default".into()));
    assert_eq!(is("public_url"), (Value::Null, "default".into()));
    // The file may be named by its variable, too.
    let path = config.strip_prefix("--config=").expect("a flag");
    let settings = in_force(&[], &[("SNUG_CONFIG", path)]).await;
    assert_eq!(settings["listen"]["value"], "127.0.0.1:1");
}

#[tokio::test]
async fn a_node_starts_with_nothing_but_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let (port, data) = (free_port(), folder.path().join("data"));
    let text =
        format!("listen = \"127.0.0.1:{port}\"\ndata_dir = {:?}\nlog_format = \"json\"\n", data.display().to_string());
    let config = file(folder.path(), &text);
    let mut process = Process::start(&["serve", &config]).await;
    assert!(process.url.ends_with(&format!(":{port}")));
    assert!(snug(&["health", &config]).await.ended_well, "every command reads it");
    assert!(process.terminate().await);
    assert!(data.join("snug.db").exists());
}

#[tokio::test]
async fn what_config_prints_is_a_file_with_the_same_effect() {
    let folder = tempfile::tempdir().expect("a folder");
    let args = [
        "--sends-burst=7",
        "--public-url=https://chat.example",
        "--trusted-proxies=10.0.0.0/8,::1",
        "--allow-weak-durability",
    ];
    let printed = does(&[&["config"][..], &args].concat()).await;
    let config = file(folder.path(), &printed);
    let (once, again) = (in_force(&args, &[]).await, in_force(&[&config], &[]).await);
    for (key, setting) in once.as_object().expect("settings").iter().filter(|(key, _)| *key != "config") {
        assert_eq!(setting["value"], again[key]["value"], "{key}");
        assert!(printed.contains(key.as_str()), "{key} is not printed");
    }
    let of_file = again.as_object().expect("settings").values().filter(|setting| setting["origin"] == "file").count();
    assert_eq!(of_file, args.len(), "what nobody set stays a comment");
}

#[tokio::test]
async fn no_secret_is_printed_wherever_it_comes_from() {
    let folder = tempfile::tempdir().expect("a folder");
    let (postgres, redis) =
        ("postgres://snug:secret@db.example:5432/snug?password=secret", "rediss://user:secret@r.example");
    let config = file(folder.path(), &format!("database_url = \"{postgres}\"\nredis_url = \"{redis}\"\n"));
    let flags = [format!("--database-url={postgres}"), format!("--redis-url={redis}")];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let variables = [("SNUG_DATABASE_URL", postgres), ("SNUG_REDIS_URL", redis)];
    for (args, variables) in [(&flags[..], &[][..]), (&[&config], &[]), (&[], &variables)] {
        for form in [&["config"][..], &["config", "--json"], &["serve", "--help"], &["rooms", "--help"]] {
            let said = snug_with(&[form, args].concat(), variables).await;
            assert!(said.ended_well, "{said:?}");
            assert!(!said.out.contains("secret") && !said.err.contains("secret"), "{form:?}: {said:?}");
        }
        let said = snug_with(&[&["config"], args].concat(), variables).await;
        assert!(said.out.contains("@db.example:5432/snug") && said.out.contains("@r.example"), "{said:?}");
    }
}

#[tokio::test]
async fn a_setting_that_cannot_be_is_refused_in_one_line_that_says_where_it_stands() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = file(folder.path(), "# a comment\nlisten = \"nowhere\"\n");
    let refused = fails(&["serve", &config]).await;
    assert!(refused.contains("snug.toml: listen: ") && refused.contains("nowhere"), "{refused}");
    let said = snug_with(&["serve"], &[("SNUG_LISTEN", "nowhere")]).await;
    assert!(
        !said.ended_well && said.err.starts_with("snug: SNUG_LISTEN: ") && said.err.trim_end().lines().count() == 1,
        "{said:?}"
    );
    let refused = fails(&["rooms", "--config=/nowhere/snug.toml"]).await;
    assert!(refused.contains("/nowhere/snug.toml"), "{refused}");
}

#[tokio::test]
async fn every_command_has_help_and_shells_complete_it() {
    let command = Cli::command();
    for name in command.get_subcommands().map(clap::Command::get_name) {
        let help = does(&[name, "--help"]).await;
        assert!(help.contains("Usage: snug") && help.lines().count() < 250, "{name}: {help}");
    }
    let help = does(&["--help"]).await;
    assert!(help.contains("restore") && help.lines().count() < 60, "it fits on a page: {help}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = does(&["completions", shell]).await;
        assert!(script.contains("new-history") && script.contains("database-url"), "{shell}");
    }
    let completes = "source /dev/stdin; COMP_WORDS=(snug mi); COMP_CWORD=1; _snug snug mi snug; echo ${COMPREPLY[@]}";
    let mut bash = tokio::process::Command::new("bash");
    let mut child = bash
        .args(["-c", completes])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("bash runs");
    let script = does(&["completions", "bash"]).await;
    let mut stdin = child.stdin.take().expect("piped");
    tokio::io::AsyncWriteExt::write_all(&mut stdin, script.as_bytes()).await.expect("bash reads");
    drop(stdin);
    let output = snug_tests::in_time("bash ends", child.wait_with_output()).await.expect("bash runs");
    let completed = String::from_utf8(output.stdout).expect("text");
    assert_eq!(completed.split_whitespace().collect::<Vec<_>>(), ["migrate", "migrate-store"]);
}

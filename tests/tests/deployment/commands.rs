//! Every `snug` command that a document shows is one that the program has, with the flags that it shows.

use std::collections::BTreeSet;

use clap::{Command, CommandFactory as _};
use snug_gateway::config::Cli;

use crate::files::text;

/// What stands between backticks, and the lines of fenced blocks, joined where they end in a backslash.
fn code(document: &str) -> Vec<String> {
    let mut code = Vec::new();
    for (at, part) in document.split("```").enumerate() {
        if at % 2 == 1 {
            let block = part.replace("\\\n", " ");
            code.extend(block.lines().map(str::to_owned));
        } else {
            code.extend(part.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    code
}

/// The words after `snug` of a line that runs it, after variables, or within a container.
fn run(line: &str) -> Option<Vec<String>> {
    let mut words = line.split_whitespace().skip_while(|word| word.contains('=') && !word.starts_with('-'));
    let first = words.next()?;
    let is_ours = |word: &str| word == "/snug" || word == "target/release/snug";
    if first != "snug" && !is_ours(first) {
        words.find(|word| is_ours(word))?;
    }
    Some(words.take_while(|word| !matches!(*word, "&&" | "|" | ">")).map(str::to_owned).collect())
}

/// What is wrong with a run of the program, if anything.
fn judge(words: &[String], program: &Command) -> Result<(), String> {
    let Some(name) = words.first() else { return Ok(()) };
    let command = program.find_subcommand(name).ok_or_else(|| format!("there is no command {name}"))?;
    let flags: BTreeSet<&str> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
    for word in words.iter().filter_map(|word| word.strip_prefix("--")) {
        let flag = word.split('=').next().expect("a first part");
        if flag != "help" && !flags.contains(flag) {
            return Err(format!("{name} has no --{flag}"));
        }
    }
    Ok(())
}

#[test]
fn commands_that_the_documents_show_exist() {
    let program = Cli::command();
    let mut seen = BTreeSet::new();
    for document in ["README.md", "load-balancers.md", "../README.md", "../SECURITY.md", "../ARCHITECTURE.md"] {
        for words in code(&text(document)).iter().filter_map(|line| run(line)) {
            judge(&words, &program).unwrap_or_else(|why| panic!("{document}: snug {}: {why}", words.join(" ")));
            seen.extend(words.first().cloned());
        }
    }
    let all: BTreeSet<String> = program.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    assert_eq!(seen, all, "every command is shown somewhere");
}

#[test]
fn a_command_that_does_not_exist_is_found() {
    let program = Cli::command();
    for (line, wrong) in [
        ("snug serve", false),
        ("SNUG_LISTEN=0.0.0.0:443 snug serve --data-dir /data", false),
        ("docker exec node /snug rooms --json", false),
        ("snug listen", true),
        ("snug rooms --names", true),
        ("docker exec node /snug rums", true),
    ] {
        let words = run(line).expect("it runs the program");
        assert_eq!(judge(&words, &program).is_err(), wrong, "{line}");
    }
    assert_eq!(run("docker build -t snug ."), None);
    assert_eq!(code("see `snug serve` or\n```\nsnug \\\n  migrate\n```\n")[..], ["snug serve", "", "snug    migrate"]);
}

//! Running the program to its end.

use snug_tests::process::command;

/// How it ended, and what it said.
#[derive(Debug)]
pub struct Said {
    pub ended_well: bool,
    pub out: String,
    pub err: String,
}

/// Runs `snug` with these arguments and no other settings.
pub async fn snug(args: &[&str]) -> Said {
    snug_with(args, &[]).await
}

/// Runs `snug` with these arguments and environment variables.
pub async fn snug_with(args: &[&str], variables: &[(&str, &str)]) -> Said {
    let mut command = command(args);
    command.envs(variables.iter().copied());
    let output = snug_tests::in_time("the command ends", command.output()).await.expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Said { ended_well: output.status.success(), out: text(output.stdout), err: text(output.stderr) }
}

/// The same, where it must end well; returns what it printed.
pub async fn does(args: &[&str]) -> String {
    let said = snug(args).await;
    assert!(said.ended_well, "{args:?}: {said:?}");
    said.out
}

/// The same, where it must fail; returns its one line.
pub async fn fails(args: &[&str]) -> String {
    let said = snug(args).await;
    assert!(!said.ended_well, "{args:?}: {said:?}");
    let line = said.err.trim_end();
    assert!(line.starts_with("snug: ") && !line.contains('\n'), "one line: {:?}", said.err);
    line.to_owned()
}

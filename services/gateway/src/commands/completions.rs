//! `snug completions`.

use std::io::Write as _;

use clap_complete::Shell;

/// Prints the script for a shell.
pub fn print(shell: Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut snug_gateway::config::command(), "snug", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(())
}

//! `snug config`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use snug_gateway::config::{Effective, Origin, Setting};

/// Prints the settings that are in force.
pub fn print(effective: &Effective, json: bool) -> anyhow::Result<()> {
    let text = if json {
        let by_key: BTreeMap<&str, &Setting> =
            effective.0.iter().map(|setting| (setting.key.as_str(), setting)).collect();
        serde_json::to_string_pretty(&by_key)? + "\n"
    } else {
        as_file(effective)?
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

/// A file of settings that has the same effect, but for what is hidden.
fn as_file(effective: &Effective) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    for setting in &effective.0 {
        // A file cannot name another.
        let is_comment = setting.origin == Origin::Default || setting.key == "config";
        let origin = match setting.origin {
            Origin::Flag => format!("flag --{}", setting.flag),
            Origin::Environment => format!("environment, {}", setting.variable),
            Origin::File => "file".to_owned(),
            Origin::Default => "default".to_owned(),
        };
        for line in setting.help.lines() {
            writeln!(text, "# {line}")?;
        }
        let mark = if is_comment { "# " } else { "" };
        match &setting.value {
            Some(value) => writeln!(text, "{mark}{} = {value}  # {origin}\n", setting.key)?,
            None => writeln!(text, "# {} is not set\n", setting.key)?,
        }
    }
    Ok(text)
}

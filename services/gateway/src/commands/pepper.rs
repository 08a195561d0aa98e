//! `snug make-pepper`.

use std::path::Path;

use snug_gateway::auth::Peppers;

/// Makes a file of peppers, or adds one to it.
pub fn make(file: &Path, add: bool) -> anyhow::Result<()> {
    if add {
        let number = Peppers::add(file)?;
        println!(
            "{} has pepper {number} now. Give every node the same file, and only then start them anew, one after the other.",
            file.display()
        );
        return Ok(());
    }
    Peppers::make(file)?;
    println!(
        "{} is made. Give every node the same file, and keep a copy apart from the database's backups.",
        file.display()
    );
    Ok(())
}

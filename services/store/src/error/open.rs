//! Why a database does not open.

use std::path::PathBuf;

use super::Cause;

/// Why a database could not be opened, in one line for an operator. No address is shown with its password.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder does not exist, or the file cannot be created or written.
    #[error("cannot write the database {}: {source}", path.display())]
    NotWritable {
        /// The database file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// There is no file.
    #[error("there is no database {}; is that the data folder of a node that has run (SNUG_DATA_DIR)?", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Another process has it open.
    #[error("the database {} is in use by another process; only one Snug may have it open", path.display())]
    Locked {
        /// The database file.
        path: PathBuf,
    },
    /// It is another kind of file, or damaged.
    #[error("{} is not a database, or is damaged: {reason}; restore a backup or choose another data folder", path.display())]
    NotADatabase {
        /// The database file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The address is not one.
    #[error("the database's address cannot be used: {reason}; write it as postgres://user:password@host:5432/database")]
    Address {
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody answers there, or not as Postgres does.
    #[error("cannot reach the database {database}: {reason}; is Postgres running there, and is its address right?")]
    Unreachable {
        /// Which one, and where.
        database: String,
        /// What happened.
        reason: String,
    },
    /// User or password are wrong, or the server lets them in from elsewhere only.
    #[error(
        "the database {database} refuses the user: {reason}; check user and password, and the server's pg_hba.conf"
    )]
    AccessRefused {
        /// Which one, and where.
        database: String,
        /// What the server says.
        reason: String,
    },
    /// The server has none of this name.
    #[error("there is no database {database}; create it (createdb), or correct its name")]
    NoSuchDatabase {
        /// Which one, and where.
        database: String,
    },
    /// The user may not do what is needed.
    #[error(
        "the user may not use the database {database} as is needed: {reason}; grant it the right, or run `snug migrate` as the schema's owner"
    )]
    NoRight {
        /// Which one, and where.
        database: String,
        /// What the server says.
        reason: String,
    },
    /// The server is too old.
    #[error("the database {database} runs on Postgres {version}; Snug needs version {oldest} or later")]
    TooOld {
        /// Which one, and where.
        database: String,
        /// The server's version.
        version: String,
        /// The oldest that will do.
        oldest: i64,
    },
    /// It is a standby, or set to be read only.
    #[error("the database {database} takes no writes (a standby, or read only); give the address of the primary")]
    ReadOnly {
        /// Which one, and where.
        database: String,
    },
    /// Its settings let acknowledged messages be lost.
    #[error(
        "the database {database} would lose acknowledged messages in a crash ({setting}); change that, or accept it with SNUG_ALLOW_WEAK_DURABILITY=true"
    )]
    Weak {
        /// Which one, and where.
        database: String,
        /// The setting.
        setting: &'static str,
    },
    /// A later version of Snug has written to it.
    #[error(
        "the database {database} is from a newer version of Snug (schema {version}); start that version or a later one"
    )]
    Newer {
        /// Which one, and where.
        database: String,
        /// The newest migration in it.
        version: i64,
    },
    /// Its schema was made by other migrations than this version's.
    #[error("the database {database} has a schema that this version of Snug did not make: {reason}")]
    OtherSchema {
        /// Which one, and where.
        database: String,
        /// What differs.
        reason: String,
    },
    /// Migrations are pending and the options say not to run them.
    #[error("the database {database} needs to be migrated first: run `snug migrate`")]
    MigrationPending {
        /// Which one, and where.
        database: String,
    },
    /// Something holds a lock that a migration needs, such as another node's migration.
    #[error(
        "the database {database} could not be migrated, since something holds a lock on it; try again when that is done"
    )]
    MigrationBusy {
        /// Which one, and where.
        database: String,
    },
    /// A copy into it was cut short.
    #[error(
        "the database {database} has part of a copy in it: run `snug migrate-store` again, or drop it and create it anew"
    )]
    Unfinished {
        /// Which one, and where.
        database: String,
    },
    /// No space left.
    #[error("no space left to open the database {database}")]
    Full {
        /// Which one, and where.
        database: String,
    },
    /// Anything else.
    #[error("cannot open the database {database}: {source}")]
    Other {
        /// Which one, and where.
        database: String,
        /// What went wrong.
        source: Cause,
    },
}

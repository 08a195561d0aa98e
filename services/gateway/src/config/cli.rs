//! The command line: what the binary can do.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use snug_protocol::{DeviceId, RoomId};

use super::{DatabaseUrl, Settings};

/// Private, password-protected, end-to-end encrypted chat rooms.
#[derive(Debug, Parser)]
#[command(name = "snug", version, about, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do; without it: serve.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The settings of `serve`.
    #[command(flatten)]
    pub settings: Settings,
}

/// What the binary can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the browser client and the chat.
    Serve(Box<Settings>),
    /// Bring the database's schema up to date, then end.
    Migrate(Box<Settings>),
    /// Ask the node that runs here with these settings whether it is ready; fails if not. For container health checks.
    Health(Box<Settings>),
    /// Look whether a node could start with these settings, and what it would find: database, pepper, Redis, certificate, port. Changes
    /// nothing, also beside a running node. Fails if anything is wrong.
    Check(Box<Check>),
    /// Copy the SQLite database into a file, while the node runs, and read the copy back. On Postgres use pg_dump.
    Backup(Box<Backup>),
    /// Make a backup the database of a stopped node. Clients find out what is missing and offer to send it again.
    Restore(Box<Restore>),
    /// Begin a new history of every room, after a Postgres database was put back by pg_restore, before any node starts: clients then find
    /// out what is missing and offer to send it again.
    NewHistory(Box<Settings>),
    /// List the rooms: ids and sizes. Their names are nobody's business here.
    Rooms(Box<Rooms>),
    /// List the access tokens: whose they are, and when they were used.
    Sessions(Box<Sessions>),
    /// End access tokens: what holds them must sign in again with its key. Open sockets close within seconds.
    Revoke(Box<Revoke>),
    /// Erase a room for everyone: its log, its members, its ways in.
    Purge(Box<Purge>),
    /// Copy a SQLite installation into an empty Postgres database. Cut short, it goes on when it is run again.
    MigrateStore(Box<MigrateStore>),
    /// Print the settings that are in force and where each comes from, as a file that --config takes. Passwords are left out.
    Config {
        /// As one JSON object.
        #[arg(long)]
        json: bool,
        /// The settings.
        #[command(flatten)]
        settings: Box<Settings>,
    },
    /// Print a script that completes commands and settings in a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Make a file of peppers for a new installation on Postgres, then end. Every node needs the same.
    MakePepper {
        /// The file; must not be there, unless a pepper is added to it.
        file: PathBuf,
        /// Add a new pepper to the file. It seals from a node's next start on; the older ones still open.
        #[arg(long)]
        add: bool,
    },
}

/// What to copy, and where to.
#[derive(Debug, Args)]
pub struct MigrateStore {
    /// TOML file with the settings, as for `snug serve`.
    #[arg(long, env = "SNUG_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The data folder of a node that has been stopped, or the database file in it.
    #[arg(long, value_name = "FOLDER")]
    pub from: PathBuf,
    /// The address of an empty Postgres database.
    #[arg(long, value_name = "URL", env = "SNUG_DATABASE_URL", hide_env_values = true)]
    pub to: DatabaseUrl,
    /// Copy although the target's settings let acknowledged messages be lost.
    #[arg(long, env = "SNUG_ALLOW_WEAK_DURABILITY")]
    pub allow_weak_durability: bool,
}

/// How to look.
#[derive(Debug, Args)]
pub struct Check {
    /// As one JSON object.
    #[arg(long)]
    pub json: bool,
    /// The settings.
    #[command(flatten)]
    pub settings: Settings,
}

/// Where to copy.
#[derive(Debug, Args)]
pub struct Backup {
    /// The file to make; must not be there.
    pub file: PathBuf,
    /// The settings.
    #[command(flatten)]
    pub settings: Settings,
}

/// What to put back.
#[derive(Debug, Args)]
pub struct Restore {
    /// A file that `snug backup` made.
    pub file: PathBuf,
    /// Move a database that is there aside.
    #[arg(long)]
    pub replace: bool,
    /// The settings.
    #[command(flatten)]
    pub settings: Settings,
}

/// Which rooms to list.
#[derive(Debug, Args)]
pub struct Rooms {
    /// As one JSON object a line.
    #[arg(long)]
    pub json: bool,
    /// The settings.
    #[command(flatten)]
    pub settings: Settings,
}

/// Which access tokens to list.
#[derive(Debug, Args)]
pub struct Sessions {
    /// Only those of this device.
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    pub device: Option<DeviceId>,
    /// Only those of members of this room.
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    pub room: Option<RoomId>,
    /// As one JSON object a line.
    #[arg(long)]
    pub json: bool,
    /// The settings.
    #[command(flatten)]
    pub settings: Settings,
}

/// Which access tokens to end.
#[derive(Debug, Args)]
pub struct Revoke {
    /// Whose.
    #[command(flatten)]
    pub whose: Whose,
    /// The settings.
    #[command(flatten)]
    pub settings: Settings,
}

/// Whose access tokens: one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Whose {
    /// Those of this device.
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    pub device: Option<DeviceId>,
    /// Those of all members of this room.
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    pub room: Option<RoomId>,
    /// All there are.
    #[arg(long)]
    pub all: bool,
}

/// What to erase.
#[derive(Debug, Args)]
pub struct Purge {
    /// The room, by its id: see `snug rooms`.
    #[arg(allow_hyphen_values = true)]
    pub room: RoomId,
    /// Erase it; else only say what would be erased.
    #[arg(long)]
    pub yes: bool,
    /// The settings.
    #[command(flatten)]
    pub settings: Settings,
}

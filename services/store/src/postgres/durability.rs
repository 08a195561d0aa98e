//! What a commit survives, by the server's settings as our sessions see them.

use sqlx::Row as _;

use super::Connection;
use crate::Durability;

/// The settings that decide.
pub(super) struct Settings {
    fsync: String,
    full_page_writes: String,
    synchronous_commit: String,
    standbys: String,
}

/// Reads what is in force in this session.
pub(super) async fn read(connection: &mut Connection) -> Result<Settings, sqlx::Error> {
    const SELECT: &str =
        "select current_setting('fsync') as fsync, current_setting('full_page_writes') as full_page_writes,
            current_setting('synchronous_commit') as synchronous_commit,
            current_setting('synchronous_standby_names') as standbys";
    let row = sqlx::query(SELECT).persistent(false).fetch_one(connection).await?;
    Ok(Settings {
        fsync: row.try_get("fsync")?,
        full_page_writes: row.try_get("full_page_writes")?,
        synchronous_commit: row.try_get("synchronous_commit")?,
        standbys: row.try_get("standbys")?,
    })
}

impl Settings {
    /// What a commit survives, and by which setting if that is little.
    pub fn durability(&self) -> (Durability, &'static str) {
        match self.synchronous_commit.as_str() {
            _ if self.fsync != "on" => (Durability::Weak, "fsync = off"),
            _ if self.full_page_writes != "on" => (Durability::Weak, "full_page_writes = off"),
            "off" => (Durability::Weak, "synchronous_commit = off"),
            "on" | "remote_apply" | "remote_write" if !self.standbys.trim().is_empty() => (Durability::Replicated, ""),
            _ => (Durability::Local, ""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn durability(fsync: &str, full_page_writes: &str, synchronous_commit: &str, standbys: &str) -> Durability {
        let [fsync, full_page_writes, synchronous_commit, standbys] =
            [fsync, full_page_writes, synchronous_commit, standbys].map(str::to_owned);
        Settings { fsync, full_page_writes, synchronous_commit, standbys }.durability().0
    }

    #[test]
    fn a_commit_is_as_durable_as_the_weakest_setting() {
        assert_eq!(durability("on", "on", "on", ""), Durability::Local);
        assert_eq!(durability("on", "on", "local", "*"), Durability::Local);
        for replicated in ["on", "remote_write", "remote_apply"] {
            assert_eq!(durability("on", "on", replicated, "ANY 1 (a, b)"), Durability::Replicated);
        }
        assert_eq!(durability("off", "on", "on", "*"), Durability::Weak);
        assert_eq!(durability("on", "off", "on", "*"), Durability::Weak);
        assert_eq!(durability("on", "on", "off", "*"), Durability::Weak);
    }
}

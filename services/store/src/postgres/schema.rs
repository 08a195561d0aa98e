//! Whose database it is, and bringing its schema up to date.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use sqlx::Row as _;
use sqlx::migrate::{MigrateError, Migrator};

use super::Connection;
use super::open::refusal;
use crate::OpenError;
use crate::sql::error::{postgres, postgres_code};

/// Migrations that are in the database and not here are those of a later version, and `snug.oldest_reader` says whether it matters.
pub(super) static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrations = sqlx::migrate!("../../migrations/postgres");
    migrations.set_ignore_missing(true);
    migrations
});

/// How long migrations may take once they have begun. Large tables may need it; what waits for others is cut off much earlier.
const MIGRATE_LIMIT: Duration = Duration::from_secs(600);

/// What is known of a database's schema.
#[derive(Debug, Default)]
struct State {
    /// It has the table that marks ours.
    is_ours: bool,
    /// It has a list of migrations.
    has_list: bool,
    /// It has tables or views of others; extensions' own do not count.
    has_others: bool,
    /// The oldest version, by its number of migrations, that may use it.
    oldest_reader: i64,
    /// Migrations that have run, and what they were.
    applied: BTreeMap<i64, Vec<u8>>,
}

impl State {
    async fn read(connection: &mut Connection) -> Result<Self, sqlx::Error> {
        const TABLES: &str = "select coalesce(bool_or(relname = 'snug'), false) as is_ours,
                coalesce(bool_or(relname = '_sqlx_migrations'), false) as has_list,
                coalesce(bool_or(relname not in ('snug', '_sqlx_migrations')), false) as has_others
             from pg_class where relnamespace = to_regnamespace(current_schema()) and relkind in ('r', 'p', 'v', 'm', 'f')
                 and not exists (select 1 from pg_depend where classid = 'pg_class'::regclass and objid = pg_class.oid and deptype = 'e')";
        const APPLIED: &str = "select version, checksum from _sqlx_migrations where success";
        let tables = sqlx::query(TABLES).persistent(false).fetch_one(&mut *connection).await?;
        let mut state = Self {
            is_ours: tables.try_get("is_ours")?,
            has_list: tables.try_get("has_list")?,
            has_others: tables.try_get("has_others")?,
            ..Self::default()
        };
        if state.is_ours {
            let select = sqlx::query_scalar("select oldest_reader from snug").persistent(false);
            state.oldest_reader = select.fetch_one(&mut *connection).await?;
        }
        if state.has_list {
            for row in sqlx::query(APPLIED).persistent(false).fetch_all(connection).await? {
                state.applied.insert(row.try_get("version")?, row.try_get("checksum")?);
            }
        }
        Ok(state)
    }

    /// Refuses what this version cannot use. Whether migrations are pending.
    fn judge(&self, known: &Migrator, place: &str) -> Result<bool, OpenError> {
        let other =
            |reason: &str| Err(OpenError::OtherSchema { database: place.to_owned(), reason: reason.to_owned() });
        if !self.is_ours && (self.has_others || !self.applied.is_empty()) {
            return other("it belongs to another program; create a database for Snug alone");
        }
        let newest = known.iter().map(|migration| migration.version).max().unwrap_or(0);
        if self.oldest_reader > newest {
            let version = self.applied.keys().next_back().copied().unwrap_or(self.oldest_reader);
            return Err(OpenError::Newer { database: place.to_owned(), version });
        }
        let mut pending = false;
        for migration in known.iter() {
            match self.applied.get(&migration.version) {
                None => pending = true,
                Some(checksum) if checksum[..] != migration.checksum[..] => {
                    return other(&format!("its migration {} was another one", migration.version));
                }
                Some(_) => {}
            }
        }
        Ok(pending)
    }
}

/// Checks that the database is ours to use, and brings its schema up to date unless `migrate` is off. However many nodes do so at one
/// time, each migration runs once: they take turns, each waiting at most `patience`.
pub(super) async fn bring_up(
    connection: &mut Connection,
    place: &str,
    migrate: bool,
    patience: Duration,
) -> Result<(), OpenError> {
    let read = State::read(connection).await.map_err(|error| refusal(place, error))?;
    if !read.judge(&MIGRATIONS, place)? {
        return Ok(());
    }
    if !migrate {
        return Err(OpenError::MigrationPending { database: place.to_owned() });
    }
    let settings = format!("set lock_timeout = {}; set statement_timeout = 0", patience.as_millis().max(1));
    let set = sqlx::raw_sql(sqlx::AssertSqlSafe(settings)).execute(&mut *connection);
    set.await.map_err(|error| refusal(place, error))?;
    let run = tokio::time::timeout(MIGRATE_LIMIT, MIGRATIONS.run(&mut *connection));
    match run.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(migrate_error(place, error)),
        Err(_) => {
            Err(OpenError::Unreachable { database: place.to_owned(), reason: "its migration did not end".into() })
        }
    }
}

/// Whether the database is being filled by a copy that is not finished.
pub(crate) async fn is_unfinished(connection: &mut Connection) -> Result<bool, sqlx::Error> {
    let select = sqlx::query_scalar("select to_regclass('unfinished_transfer') is not null").persistent(false);
    select.fetch_one(connection).await
}

fn migrate_error(place: &str, error: MigrateError) -> OpenError {
    let database = place.to_owned();
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            if postgres_code(&error) == Some(postgres::LOCK_NOT_AVAILABLE) {
                return OpenError::MigrationBusy { database };
            }
            refusal(place, error)
        }
        error => OpenError::OtherSchema { database, reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A database that this version has brought up to date.
    fn ours() -> State {
        let applied = MIGRATIONS.iter().map(|migration| (migration.version, migration.checksum.to_vec()));
        State { is_ours: true, has_list: true, has_others: true, oldest_reader: 1, applied: applied.collect() }
    }

    fn newest() -> i64 {
        MIGRATIONS.iter().map(|migration| migration.version).max().expect("there are migrations")
    }

    #[test]
    fn an_empty_database_is_to_be_migrated_and_ours_is_used() {
        assert!(State::default().judge(&MIGRATIONS, "chat").expect("it is free"));
        assert!(!ours().judge(&MIGRATIONS, "chat").expect("it is ours"));
    }

    #[test]
    fn tomorrows_schema_is_used_unless_it_says_that_it_is_not_for_today() {
        let mut tomorrow = ours();
        tomorrow.applied.insert(newest() + 1, vec![1; 48]);
        assert!(!tomorrow.judge(&MIGRATIONS, "chat").expect("it only has more"));
        tomorrow.oldest_reader = newest();
        assert!(!tomorrow.judge(&MIGRATIONS, "chat").expect("this version is new enough"));
        tomorrow.oldest_reader = newest() + 1;
        let refused = tomorrow.judge(&MIGRATIONS, "chat").expect_err("it is not for today");
        assert!(matches!(refused, OpenError::Newer { version, .. } if version == newest() + 1), "{refused}");
    }

    #[test]
    fn another_programs_database_is_refused() {
        let other = State { has_others: true, ..State::default() };
        assert!(matches!(other.judge(&MIGRATIONS, "chat"), Err(OpenError::OtherSchema { .. })));
        let migrated_by_another = State { has_list: true, applied: [(1, vec![1])].into(), ..State::default() };
        assert!(matches!(migrated_by_another.judge(&MIGRATIONS, "chat"), Err(OpenError::OtherSchema { .. })));
        let mut changed = ours();
        changed.applied.insert(1, vec![1]);
        assert!(matches!(changed.judge(&MIGRATIONS, "chat"), Err(OpenError::OtherSchema { .. })));
    }
}

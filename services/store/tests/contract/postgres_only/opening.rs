//! Opening: by many at once, on tomorrow's schema, and what an operator is told when it does not work.

use std::time::{Duration, Instant};

use snug_store::{Durability, OpenError, PostgresOptions, Store};
use tokio_util::task::TaskTracker;

use crate::fixture::{PostgresDatabase, device, postgres_options, room_of, together, with_database};
use crate::proxy::Proxy;

/// In this time every start has either worked or said why not.
const OPEN_LIMIT: Duration = Duration::from_secs(15);

async fn try_open(url: &str, options: PostgresOptions) -> Result<Store, OpenError> {
    Store::open_postgres(url, options, &TaskTracker::new()).await
}

/// What an operator is told about an address that does not work.
async fn refused(url: &str) -> OpenError {
    let started = Instant::now();
    let error = try_open(url, postgres_options()).await.err().expect("it is refused");
    assert!(started.elapsed() < OPEN_LIMIT, "{:?}", started.elapsed());
    let text = error.to_string();
    assert!(!text.contains('\n') && !text.contains("secret"), "{text}");
    error
}

/// `url` with another user, whose password is `secret`.
fn as_user(url: &str, user: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    let host = rest.split_once('@').map_or(rest, |(_, host)| host);
    format!("{scheme}://{user}:secret@{host}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_many_nodes_start_at_once_each_migration_runs_once() {
    let database = PostgresDatabase::create().await;
    let stores = together((0..8).map(|_| database.open())).await;
    room_of(&stores[0], 1, &[device(1)]).await;
    assert_eq!(stores[7].rooms_of(device(1).device).await.unwrap().len(), 1);
    let ran = database.number("select count(*) from _sqlx_migrations where success").await;
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations/postgres")).unwrap();
    assert_eq!(usize::try_from(ran).unwrap(), files.count());
    super::close(&stores).await;
}

#[tokio::test]
async fn a_pending_migration_is_refused_when_migrating_is_off() {
    let database = PostgresDatabase::create().await;
    let off = PostgresOptions { migrate: false, ..postgres_options() };
    let error = try_open(&database.url, off.clone()).await.err().expect("it is refused");
    assert!(matches!(error, OpenError::MigrationPending { .. }), "{error:?}");
    assert!(error.to_string().contains("snug migrate"));
    database.open().await.close().await;
    try_open(&database.url, off).await.expect("it is up to date").close().await;
}

#[tokio::test]
async fn today_runs_on_tomorrows_schema_unless_it_says_that_it_cannot() {
    let database = PostgresDatabase::create().await;
    let today = database.open().await;
    let room = room_of(&today, 1, &[device(1)]).await;
    database
        .run(
            "alter table room add column topic text; alter table entry add column weight bigint not null default 1;
             insert into _sqlx_migrations (version, description, success, checksum, execution_time)
             values (9999, 'of tomorrow', true, '\\x00', 0)",
        )
        .await;
    let mut instance = crate::fixture::Instance::new(room, device(1), 1);
    instance.say(&today).await;
    let started_later = database.open().await;
    instance.say(&started_later).await;
    room_of(&started_later, 2, &[device(2)]).await;
    super::close(&[today, started_later]).await;

    database.run("update snug set oldest_reader = 9999").await;
    let error = refused(&database.url).await;
    assert!(matches!(error, OpenError::Newer { version: 9999, .. }), "{error:?}");
    assert!(error.to_string().contains("newer version of Snug"));
}

#[tokio::test]
async fn another_programs_database_is_refused_and_left_alone() {
    let database = PostgresDatabase::create().await;
    database.run("create table bookmark (url text)").await;
    let error = refused(&database.url).await;
    assert!(matches!(error, OpenError::OtherSchema { .. }), "{error:?}");
    assert!(error.to_string().contains("another program"));
    assert_eq!(database.number("select count(*) from pg_tables where schemaname = 'public'").await, 1);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_without_the_password() {
    let database = PostgresDatabase::create().await;
    let (proxy, url) = Proxy::before(&database.url).await;
    let url = as_user(&url, "snug");
    proxy.down();
    let error = refused(&url).await;
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains(&proxy.address.to_string()), "{error}");
    let error = refused("postgres://snug:secret@no-such-host.invalid/chat").await;
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up_in_time() {
    let database = PostgresDatabase::create().await;
    let (proxy, url) = Proxy::before(&database.url).await;
    proxy.pause();
    let error = refused(&url).await;
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn users_and_databases_that_are_not_there_are_named() {
    let database = PostgresDatabase::create().await;
    let error = refused(&as_user(&database.url, "nobody_of_this_name")).await;
    assert!(matches!(error, OpenError::AccessRefused { .. }), "{error:?}");
    assert!(error.to_string().contains("nobody_of_this_name"), "{error}");
    let error = refused(&with_database(&database.url, "no_such_database")).await;
    assert!(matches!(error, OpenError::NoSuchDatabase { .. }), "{error:?}");
    assert!(error.to_string().contains("no_such_database"), "{error}");
    for nonsense in ["postgres://snug:secret@h:port/db", "mysql://snug:secret@h/db", "postgres://snug:sec/ret@h/db"] {
        assert!(matches!(refused(nonsense).await, OpenError::Address { .. }), "{nonsense}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_may_not_migrate_is_told_so_and_may_run_what_the_owner_migrated() {
    let database = PostgresDatabase::create().await;
    let user = format!("{}_user", database.name);
    database.administer(&format!("create role {user} login password 'secret'")).await;
    database.run("revoke create on schema public from public").await;
    let url = as_user(&database.url, &user);
    let error = refused(&url).await;
    database.open().await.close().await;
    let unreadable = refused(&url).await;
    database
        .run(&format!(
            "grant select, insert, update, delete on all tables in schema public to {user};
             revoke insert, update, delete on snug, _sqlx_migrations from {user}"
        ))
        .await;
    let store = try_open(&url, postgres_options()).await;
    let works = match &store {
        Ok(store) => {
            room_of(store, 1, &[device(1)]).await;
            store.close().await;
            true
        }
        Err(_) => false,
    };
    database.run(&format!("drop owned by {user}")).await;
    database.administer(&format!("drop role {user}")).await;
    assert!(matches!(error, OpenError::NoRight { .. }), "{error:?}");
    assert!(error.to_string().contains("snug migrate"), "{error}");
    assert!(matches!(unreadable, OpenError::NoRight { .. }), "{unreadable:?}");
    assert!(works, "rights on rows are enough where nothing is to be migrated: {:?}", store.err());
}

#[tokio::test]
async fn durability_is_read_from_the_server_and_raised_where_a_session_can() {
    let database = PostgresDatabase::create().await;
    database.run(&format!("alter database {} set synchronous_commit = off", database.name)).await;
    let is_safe = database
        .number("select (current_setting('fsync') = 'on' and current_setting('full_page_writes') = 'on')::int::bigint")
        .await;
    let strict = PostgresOptions { allow_weak: false, ..postgres_options() };
    match try_open(&database.url, strict).await {
        Ok(store) => {
            assert_eq!((is_safe, store.durability()), (1, Durability::Local));
            store.close().await;
        }
        Err(error) => {
            assert!(is_safe == 0 && matches!(error, OpenError::Weak { .. }), "{error:?}");
            assert!(error.to_string().contains("SNUG_ALLOW_WEAK_DURABILITY"));
        }
    }
    let store = database.open().await;
    let expected = if is_safe == 1 { Durability::Local } else { Durability::Weak };
    assert_eq!((store.durability(), store.kind(), store.is_shared()), (expected, "postgres", true));
    store.close().await;
}

#[tokio::test]
async fn both_databases_have_the_same_tables_and_columns() {
    use sqlx::Connection as _;
    let database = PostgresDatabase::create().await;
    database.open().await.close().await;
    let (store, folder) = crate::fixture::sqlite().await;
    store.close().await;
    let of_sqlite = "select t.name || '.' || c.name from sqlite_schema t, pragma_table_info(t.name) c
         where t.type = 'table' and t.name not like '\\_sqlx%' escape '\\'";
    // Only nodes that share a database take turns at chores.
    let of_postgres = "select table_name || '.' || column_name from information_schema.columns
         where table_schema = 'public' and table_name not in ('snug', 'turn', '_sqlx_migrations')";
    let file = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("snug.db"));
    let mut sqlite = sqlx::SqliteConnection::connect_with(&file).await.unwrap();
    let mut postgres = sqlx::PgConnection::connect(&database.url).await.unwrap();
    let mut sqlite: Vec<String> = sqlx::query_scalar(of_sqlite).fetch_all(&mut sqlite).await.unwrap();
    let mut postgres: Vec<String> = sqlx::query_scalar(of_postgres).fetch_all(&mut postgres).await.unwrap();
    sqlite.sort_unstable();
    postgres.sort_unstable();
    assert!(sqlite.len() > 60, "{sqlite:?}");
    assert_eq!(sqlite, postgres);
}

//! How Postgres goes about statements, for tests: with the settings of our sessions and tables that hold something, since it goes about
//! empty ones in any way. Everything is made in a transaction that is rolled back.

#[path = "../../tests/contract/server.rs"]
mod server;

use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{Connection as _, Row as _};

use super::schema::MIGRATIONS;
use super::{Connection, session};

/// Twenty rooms with a hundred entries each, most of them messages, and their members.
const FILL: &str = "
    insert into device select substr(sha256(d::text::bytea), 1, 16), sha256('s'), sha256('a') from generate_series(1, 30) d;
    insert into room
    select substr(sha256(r::text::bytea), 1, 16), r, r, substr(sha256('h'), 1, 16), 100, 0, 1, 1, false, 0, 0, 0, 1, 0 from generate_series(1, 20) r;
    insert into member (room, device, role, state, joined_at_ms) select room, device, 3, 1, 0 from room, device;
    insert into entry
    select room, s, 0, case when s % 20 = 0 then 8 when s % 10 = 0 then 9 when s % 5 = 0 then 5 else 3 end,
           substr(sha256((s % 30 + 1)::text::bytea), 1, 16), substr(sha256((s % 30)::text::bytea), 1, 16), s, s % 5, sha256('e'), repeat('e', 300)::bytea
    from room, generate_series(1, 100) s;
    insert into epoch_key select room, sha256('r'), device, repeat('k', 80)::bytea from room, device;
    insert into epoch select room, 0, sha256('r') from room;
    insert into token select sha256(t::text::bytea), substr(sha256('d'), 1, 16), 0, t, t from generate_series(1, 300) t;
    insert into move select substr(sha256(m::text::bytea), 1, 16), 'o', null, null, null, m from generate_series(1, 300) m;
    insert into room_grant
    select room, substr(sha256(g::text::bytea), 1, 16), 2, 0, 'v', 'b', 1, (select device from device limit 1), 0, g, 0, null
    from room, generate_series(1, 20) g;
    analyze";

static SCHEMAS: AtomicU32 = AtomicU32::new(0);

/// A schema of its own with rows in all tables, in a transaction that goes with the connection.
pub(super) async fn filled() -> Connection {
    let mut connection = Connection::connect(&server::postgres_server().await).await.expect("the server is there");
    session::prepare(&mut connection).await.expect("the session is set");
    // Other tests analyze the same catalogs at the same time, and are waited for.
    // Names of their own: a name that another transaction is about to take is waited for until that one ends.
    let schema = format!("explained_{}_{}", std::process::id(), SCHEMAS.fetch_add(1, Ordering::Relaxed));
    let begin = format!(
        "begin; set local statement_timeout = 0; set local lock_timeout = 0; create schema {schema}; set local search_path = {schema}"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(begin)).execute(&mut connection).await.expect("a schema of its own");
    for migration in MIGRATIONS.iter() {
        sqlx::raw_sql(migration.sql.clone()).execute(&mut connection).await.expect("the migrations run");
    }
    sqlx::raw_sql(FILL).execute(&mut connection).await.expect("rows for the tables");
    connection
}

/// How Postgres goes about a statement, whatever its parameters are.
async fn plan(statement: &str) -> Vec<String> {
    let mut connection = filled().await;
    let parameters = (1..).take_while(|number| statement.contains(&format!("${number}"))).count();
    let nulls = if parameters == 0 { String::new() } else { format!("({})", vec!["null"; parameters].join(", ")) };
    let explain = format!("prepare it as {statement}; explain (costs off) execute it{nulls}");
    let rows = sqlx::raw_sql(sqlx::AssertSqlSafe(explain)).fetch_all(&mut connection).await;
    let rows = rows.expect("the statement is well formed");
    sqlx::raw_sql("rollback").execute(&mut connection).await.expect("nothing stays");
    rows.iter().map(|row| row.try_get(0).expect("a plan has lines")).collect()
}

/// Checks that Postgres finds the rows of a statement by key or index, and reads no table from end to end.
pub(super) async fn assert_searches(statement: &str) {
    for line in plan(statement).await {
        assert!(!line.contains("Seq Scan on"), "{line}\n{statement}");
    }
}

/// Checks that Postgres finds a statement's rows by this index, comparing these columns of it.
pub(super) async fn assert_uses(statement: &str, index: &str, columns: &[&str]) {
    let plan = plan(statement).await;
    let scan = plan
        .iter()
        .position(|line| line.contains(&format!("using {index} ")) || line.ends_with(&format!("on {index}")));
    let condition = scan.and_then(|at| plan[at..].iter().find(|line| line.contains("Index Cond:")));
    let is_compared = |column: &&str| condition.is_some_and(|condition| condition.contains(*column));
    assert!(scan.is_some() && columns.iter().all(is_compared), "{plan:#?}\n{statement}");
}

/// Checks that a statement's rows come in the order of an index.
pub(super) async fn assert_sorts_nothing(statement: &str) {
    let plan = plan(statement).await;
    assert!(!plan.iter().any(|line| line.contains("Sort")), "{plan:#?}\n{statement}");
}

#[tokio::test]
#[should_panic(expected = "Seq Scan on entry")]
async fn a_search_through_a_whole_table_is_noticed() {
    assert_searches("select seq from entry where at_ms = 1").await;
}

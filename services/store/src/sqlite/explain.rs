//! How SQLite goes about statements, for tests.

use sqlx::{Connection as _, Row as _};

use super::Connection;
use super::open::MIGRATIONS;

/// How SQLite goes about a statement.
pub(super) async fn plan(statement: &str) -> Vec<String> {
    let mut connection = Connection::connect("sqlite::memory:").await.expect("a database in memory");
    MIGRATIONS.run(&mut connection).await.expect("the migrations run");
    let explained = sqlx::AssertSqlSafe(format!("explain query plan {statement}"));
    let steps = sqlx::raw_sql(explained).fetch_all(&mut connection).await.expect("the statement is well formed");
    steps.iter().map(|step| step.try_get("detail").expect("a plan has details")).collect()
}

/// Checks that SQLite finds the rows of a statement by key or index, and reads no table from end to end.
pub(super) async fn assert_searches(statement: &str) {
    for step in plan(statement).await {
        let table = step.strip_prefix("SCAN ").unwrap_or_default();
        for whole in ["room", "room_grant", "member", "device", "entry", "token", "epoch", "move"] {
            assert!(!table.starts_with(whole), "{step}\n{statement}");
        }
    }
}

/// Checks that SQLite finds a statement's rows by this index, comparing these columns of it. `_pkey` is the primary key's.
pub(super) async fn assert_uses(statement: &str, index: &str, columns: &[&str]) {
    let index = if index.ends_with("_pkey") { "PRIMARY KEY" } else { index };
    let plan = plan(statement).await;
    let compared = plan.iter().find_map(|step| step.split_once(index)).map(|(_, compared)| compared);
    let is_compared = |column: &&str| compared.is_some_and(|compared| compared.contains(*column));
    assert!(compared.is_some() && columns.iter().all(is_compared), "{plan:?}\n{statement}");
}

/// Checks that a statement's rows come in the order of an index.
pub(super) async fn assert_sorts_nothing(statement: &str) {
    let plan = plan(statement).await;
    assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{plan:?}\n{statement}");
}

#[tokio::test]
#[should_panic(expected = "SCAN entry")]
async fn a_search_through_a_whole_table_is_noticed() {
    assert_searches("select seq from entry where at_ms = 1").await;
}

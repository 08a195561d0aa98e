//! Where the tests find a Postgres server. The one place that knows.

/// The address of a server's database `postgres`, for a user who may create databases and roles: each case makes a database of its own.
pub async fn postgres_server() -> String {
    std::env::var("SNUG_TEST_POSTGRES_URL").expect(
        "SNUG_TEST_POSTGRES_URL must be the address of a Postgres server for tests, such as postgres://postgres@127.0.0.1:5432/postgres",
    )
}

//! Where the tests find a Postgres server. The one place that knows.

/// The address of a server's database `postgres`, for a user who may create databases and roles: each case makes a database of its own.
pub async fn postgres_server() -> String {
    snug_backing::postgres().await.url().to_owned()
}

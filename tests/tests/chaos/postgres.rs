//! Faults of Postgres, and of the way to it.

use std::time::Duration;

use snug_backing::Direction;
use snug_protocol::RoomId;
use snug_tests::history::ledger::Row;
use snug_tests::{eventually, in_time};
use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, sleep, timeout};

use super::faults::{Fault, Strike};
use super::scene::Scene;

/// How long Postgres stands still.
const STILL: Duration = Duration::from_secs(3);
/// How long a query may take that is to show that Postgres answers.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// What a node says to commit, once on each connection since it is prepared, and how the server says each time that it has.
const COMMIT: &[u8] = b"\0commit\0";
const COMMITTED: &[u8] = b"COMMIT\0";

impl Scene {
    async fn connection(&self) -> PgConnection {
        let connecting = PgConnection::connect(&self.fleet.database);
        in_time("Postgres answers", connecting).await.expect("a connection")
    }

    async fn postgres_life(&self) -> String {
        let mut connection = self.connection().await;
        let began = sqlx::query_scalar("select pg_postmaster_start_time()::text").fetch_one(&mut connection).await;
        began.expect("an answer")
    }

    pub async fn postgres_restarted(&mut self) -> Strike {
        let life = self.postgres_life().await;
        self.fleet.postgres.stop().await;
        self.fleet.postgres.start_again().await;
        let healed = Instant::now();
        assert_ne!(self.postgres_life().await, life);
        self.healed(Fault::PostgresRestarted, healed, "another start time".into()).await
    }

    pub async fn postgres_paused(&mut self) -> Strike {
        let mut connection = self.connection().await;
        self.fleet.postgres.pause().await;
        let from = Instant::now();
        let asked = sqlx::query("select 1").execute(&mut connection);
        assert!(timeout(ANSWER_LIMIT, asked).await.is_err(), "Postgres answers although it is paused");
        sleep(STILL.saturating_sub(from.elapsed())).await;
        self.fleet.postgres.unpause().await;
        let healed = Instant::now();
        let proof = format!("no answer for {:.1?}", healed - from);
        self.healed(Fault::PostgresPaused, healed, proof).await
    }

    /// Once after the server has committed and before the node knows, once before the server has heard of the commit.
    pub async fn commit_cut(&mut self) -> Strike {
        let node = self.fleet.busiest();
        let proxy = &self.fleet.nodes[node].postgres;
        let before = proxy.counts().cut_by_pattern;
        proxy.cut_at(Direction::ToClient, COMMITTED);
        eventually("a commit is done", async || (!proxy.is_armed()).then_some(())).await;
        proxy.cut_at(Direction::ToServer, COMMIT);
        // New connections, on which a first commit is to come.
        proxy.cut();
        eventually("a commit is asked for", async || (!proxy.is_armed()).then_some(())).await;
        let healed = Instant::now();
        let cut = proxy.counts().cut_by_pattern - before;
        assert_eq!(cut, 2, "a connection was not cut");
        let proof = format!("{cut} connections of node {node} cut, after a commit and before one");
        self.healed(Fault::CommitCut, healed, proof).await
    }
}

/// Place, kind, device, instance, counter.
type Columns = (i64, i64, Vec<u8>, Vec<u8>, i64);

/// The room's head and rows, straight from the database at `url`.
pub async fn ledger(url: &str, room: RoomId) -> (i64, Vec<Row>) {
    let connecting = PgConnection::connect(url);
    let mut connection = in_time("Postgres answers", connecting).await.expect("a connection");
    let room = room.as_bytes().to_vec();
    let head = sqlx::query_scalar("select head from room where room = $1").bind(&room);
    let head: i64 = head.fetch_one(&mut connection).await.expect("the room");
    let rows =
        sqlx::query_as("select seq, kind::bigint, device, instance, counter from entry where room = $1 order by seq");
    let rows: Vec<Columns> = rows.bind(&room).fetch_all(&mut connection).await.expect("the log");
    let rows =
        rows.into_iter().map(|(seq, kind, device, instance, counter)| Row { seq, kind, device, instance, counter });
    (head, rows.collect())
}

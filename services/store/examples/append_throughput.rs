//! How many messages a second this machine commits: through the store with group commit, and in a bare loop of transactions of the same
//! sizes, which is what disk and database allow.
//! `cargo run --release -p snug-store --example append_throughput [folder | postgres://…]`
//!
//! With the address of a Postgres server's administrator, databases `snug_throughput_…` are made there and dropped again.

#![allow(clippy::print_stdout, reason = "its figures are its purpose")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use snug_protocol::{DeviceId, EntryKind, Envelope, GrantId, Header, InstanceId, RoomId, Seq};
use snug_store::{DeviceKeys, GrantSecret, NewRoom, PostgresOptions, SqliteOptions, Store};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use tokio_util::task::TaskTracker;

/// Of one measurement.
const SPAN: Duration = Duration::from_secs(3);
const DEVICE: DeviceId = DeviceId([7; 16]);

/// Where to measure.
enum Place {
    Folder(tempfile::TempDir),
    /// The administrator's address, up to the name of the database.
    Server(String),
}

fn id(number: usize) -> [u8; 16] {
    (number as u128 + 1).to_be_bytes()
}

fn envelope(room: usize, sender: usize, kind: EntryKind, counter: u64) -> Envelope {
    let (room, instance) = (RoomId(id(room)), InstanceId(id(sender)));
    let header = Header { kind, room, epoch: 0, device: DEVICE, instance, counter, target: Seq::ZERO };
    let mut bytes = header.encode().to_vec();
    bytes.resize(bytes.len() + 256 + 16, 0);
    Envelope::parse(Bytes::from(bytes)).expect("a valid size")
}

impl Place {
    /// A new database.
    async fn database(&self, name: &str) -> String {
        match self {
            Self::Folder(folder) => folder.path().join(format!("{name}.db")).display().to_string(),
            Self::Server(server) => {
                self.drop(name).await;
                run(&format!("{server}/postgres"), &format!("create database snug_throughput_{name}")).await;
                format!("{server}/snug_throughput_{name}")
            }
        }
    }

    async fn drop(&self, name: &str) {
        if let Self::Server(server) = self {
            let drop = format!("drop database if exists snug_throughput_{name} with (force)");
            run(&format!("{server}/postgres"), &drop).await;
        }
    }

    async fn open(&self, database: &str) -> Store {
        let tasks = TaskTracker::new();
        match self {
            Self::Folder(_) => Store::open_sqlite(database.as_ref(), SqliteOptions::default(), &tasks).await,
            Self::Server(_) => Store::open_postgres(database, PostgresOptions::default(), &tasks).await,
        }
        .expect("it opens")
    }
}

async fn run(url: &str, sql: &str) {
    let mut connection = PgConnection::connect(url).await.expect("the server is there");
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.expect("the statement runs");
}

async fn create_rooms(store: &Store, rooms: usize) {
    for room in 0..rooms {
        let new = NewRoom {
            room: RoomId(id(room)),
            name: room.to_string(),
            likeness: room.to_string(),
            owner: DeviceKeys { device: DEVICE, sign_key: [1; 32], agree_key: [2; 32] },
            grant: GrantId(id(room)),
            kdf: 1,
            secret: GrantSecret { verifier: vec![0; 32], sealed_blob: vec![0; 129], pepper: 1 },
            recovery: DeviceKeys { device: DeviceId([8; 16]), sign_key: [3; 32], agree_key: [4; 32] },
            recovery_key: [0; 80],
            epoch_record: envelope(room, usize::MAX, EntryKind::EpochRecord, 0),
        };
        store.create_room(new).await.expect("a new room");
    }
}

/// `senders` senders over `rooms` rooms on `nodes` nodes, each sending its next message when the last was acknowledged.
async fn grouped(place: &Place, rooms: usize, senders: usize, nodes: usize) -> f64 {
    let name = format!("grouped_{rooms}_{senders}_{nodes}");
    let database = place.database(&name).await;
    let mut stores = Vec::new();
    for _ in 0..nodes {
        stores.push(place.open(&database).await);
    }
    create_rooms(&stores[0], rooms).await;
    let started = Instant::now();
    let sending = (0..senders).map(|sender| {
        let store = stores[sender % nodes].clone();
        async move {
            let mut sent = 0;
            while started.elapsed() < SPAN {
                let message = envelope(sender % rooms, sender, EntryKind::Message, sent);
                store.append(message).await.expect("it is appended");
                sent += 1;
            }
            sent
        }
    });
    let sent: u64 = futures_util::future::join_all(sending).await.into_iter().sum();
    let rate = sent as f64 / started.elapsed().as_secs_f64();
    for store in &stores {
        store.close().await;
    }
    drop(stores);
    place.drop(&name).await;
    rate
}

/// Transactions of `batch` messages into the same tables, without asking anything first.
async fn bare(place: &Place, rooms: usize, batch: u32) -> f64 {
    let name = format!("bare_{rooms}_{batch}");
    let database = place.database(&name).await;
    let store = place.open(&database).await;
    create_rooms(&store, rooms).await;
    store.close().await;
    drop(store);
    let rate = match place {
        Place::Folder(_) => bare_sqlite(&database, rooms, batch).await,
        Place::Server(_) => bare_postgres(&database, rooms, batch).await,
    };
    place.drop(&name).await;
    rate
}

/// One statement a message.
async fn bare_sqlite(database: &str, rooms: usize, batch: u32) -> f64 {
    const INSERT: &str = "insert into entry
         (room, seq, at_ms, kind, device, instance, counter, target_seq, hash, envelope)
         values (?, ?, 0, 3, ?, ?, ?, 0, ?, ?)";
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(database)
        .synchronous(sqlx::sqlite::SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", "8192")
        .pragma("cache_size", "-32768");
    let mut connection = SqliteConnection::connect_with(&options).await.expect("it opens");
    let (started, mut sent) = (Instant::now(), 0u32);
    while started.elapsed() < SPAN {
        sqlx::query("begin immediate").execute(&mut connection).await.expect("it begins");
        for _ in 0..batch {
            sent += 1;
            sqlx::query(INSERT)
                .bind(&id(sent as usize % rooms)[..])
                .bind(i64::from(sent + 1))
                .bind(&DEVICE.0[..])
                .bind(&DEVICE.0[..])
                .bind(i64::from(sent + 1))
                .bind(&[0u8; 32][..])
                .bind(&[0u8; 348][..])
                .execute(&mut connection)
                .await
                .expect("it is inserted");
        }
        sqlx::query("commit").execute(&mut connection).await.expect("it commits");
    }
    f64::from(sent) / started.elapsed().as_secs_f64()
}

/// One statement a batch.
async fn bare_postgres(database: &str, rooms: usize, batch: u32) -> f64 {
    const INSERT: &str = "insert into entry
         (room, seq, at_ms, kind, device, instance, counter, target_seq, hash, envelope)
         select room, seq, 0, 3, $3, $3, seq, 0, $4, $5 from unnest($1::bytea[], $2::bigint[]) as list (room, seq)";
    let mut connection = PgConnection::connect(database).await.expect("it opens");
    let (started, mut sent) = (Instant::now(), 0u32);
    while started.elapsed() < SPAN {
        let numbers: Vec<u32> = (sent + 1..=sent + batch).collect();
        sent += batch;
        let into: Vec<[u8; 16]> = numbers.iter().map(|number| id(*number as usize % rooms)).collect();
        sqlx::query("begin").execute(&mut connection).await.expect("it begins");
        sqlx::query(INSERT)
            .bind(into.iter().map(|room| &room[..]).collect::<Vec<_>>())
            .bind(numbers.iter().map(|number| i64::from(number + 1)).collect::<Vec<_>>())
            .bind(&DEVICE.0[..])
            .bind(&[0u8; 32][..])
            .bind(&[0u8; 348][..])
            .execute(&mut connection)
            .await
            .expect("they are inserted");
        sqlx::query("commit").execute(&mut connection).await.expect("it commits");
    }
    f64::from(sent) / started.elapsed().as_secs_f64()
}

#[tokio::main]
async fn main() {
    let argument = std::env::args().nth(1);
    let place = match argument.as_deref() {
        Some(url) if url.starts_with("postgres") => {
            let authority = url.find("://").map_or(0, |at| at + 3);
            let end = url[authority..].find('/').map_or(url.len(), |at| authority + at);
            Place::Server(url[..end].to_owned())
        }
        folder => {
            let folder = folder.map_or_else(std::env::temp_dir, PathBuf::from);
            Place::Folder(tempfile::tempdir_in(folder).expect("a folder"))
        }
    };
    let nodes: &[usize] = if matches!(place, Place::Server(_)) { &[1, 3] } else { &[1] };
    println!("messages of 348 bytes, {} s each", SPAN.as_secs());
    for (rooms, batch) in [(1, 1), (1, 8), (1, 64), (64, 64), (64, 1024)] {
        println!(
            "bare loop     {rooms:>3} rooms {batch:>5} a batch            {:>8.0}/s",
            bare(&place, rooms, batch).await
        );
    }
    for nodes in nodes {
        for (rooms, senders) in [(1, 1), (1, 8), (1, 64), (1, 256), (64, 64), (64, 256), (64, 1024)] {
            println!(
                "group commit  {rooms:>3} rooms {senders:>5} senders, {nodes} nodes  {:>8.0}/s",
                grouped(&place, rooms, senders, *nodes).await
            );
        }
    }
}

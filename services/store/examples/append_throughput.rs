//! How many messages a second this machine commits: through the store with group commit, and in a bare loop of transactions of the same
//! sizes, which is what the disk and SQLite allow. `cargo run --release -p snug-store --example append_throughput [folder]`

#![allow(clippy::print_stdout, reason = "its figures are its purpose")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use snug_protocol::{DeviceId, EntryKind, Envelope, GrantId, Header, InstanceId, RoomId, Seq};
use snug_store::{DeviceKeys, GrantSecret, NewRoom, SqliteOptions, Store};
use sqlx::Connection as _;
use tokio_util::task::TaskTracker;

/// Of one measurement.
const SPAN: Duration = Duration::from_secs(3);
const DEVICE: DeviceId = DeviceId([7; 16]);

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

async fn open(path: &Path, rooms: usize) -> Store {
    let store = Store::open_sqlite(path, SqliteOptions::default(), &TaskTracker::new()).await.expect("it opens");
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
    store
}

/// `senders` senders over `rooms` rooms, each sending its next message when the last was acknowledged.
async fn grouped(folder: &Path, rooms: usize, senders: usize) -> f64 {
    let path = folder.join(format!("grouped-{rooms}-{senders}.db"));
    let store = open(&path, rooms).await;
    let started = Instant::now();
    let sending = (0..senders).map(|sender| {
        let store = store.clone();
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
    store.close().await;
    rate
}

/// Transactions of `batch` inserts into the same tables, one statement each, without asking anything first.
async fn bare(folder: &Path, rooms: usize, batch: u64) -> f64 {
    let path = folder.join(format!("bare-{rooms}-{batch}.db"));
    open(&path, rooms).await.close().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(&path)
        .synchronous(sqlx::sqlite::SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", "4096");
    let mut connection = sqlx::sqlite::SqliteConnection::connect_with(&options).await.expect("it opens");
    const INSERT: &str = "insert into entry
         (room, seq, at_ms, kind, device, instance, counter, target_seq, hash, envelope)
         values ($1, $2, 0, 3, $3, $3, $2, 0, $4, $5)";
    let (started, mut sent) = (Instant::now(), 0u32);
    while started.elapsed() < SPAN {
        sqlx::query("begin immediate").execute(&mut connection).await.expect("it begins");
        for _ in 0..batch {
            sent += 1;
            let room = usize::try_from(sent).expect("a count") % rooms;
            sqlx::query(INSERT)
                .bind(&id(room)[..])
                .bind(i64::from(sent + 1))
                .bind(&DEVICE.0[..])
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

#[tokio::main]
async fn main() {
    let folder = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(folder).expect("a folder");
    println!("messages of 348 bytes, {} s each, in {}", SPAN.as_secs(), folder.path().display());
    for (rooms, senders) in [(1, 1), (1, 8), (1, 64), (1, 256), (64, 64), (64, 256), (64, 1024)] {
        println!(
            "group commit  {rooms:>3} rooms {senders:>5} senders  {:>8.0}/s",
            grouped(folder.path(), rooms, senders).await
        );
    }
    for (rooms, batch) in [(1, 1), (1, 8), (1, 64), (64, 64), (64, 1024)] {
        println!(
            "bare loop     {rooms:>3} rooms {batch:>5} a batch  {:>8.0}/s",
            bare(folder.path(), rooms, batch).await
        );
    }
}

//! Stores to test, and the rooms, devices and envelopes to fill them with.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::maybe_done;
use snug_protocol::limits::EPOCH_KEY_BYTES;
use snug_protocol::{DeviceId, EntryKind, Envelope, GrantId, Header, InstanceId, RoomId, Seq, recipients_hash};
use snug_store::{
    AppendError, Appended, DeviceKeys, GrantSecret, NewEpoch, NewInvite, NewRoom, NewStep, PostgresOptions,
    SqliteOptions, StepEffect, StepError, Store,
};
use sqlx::Connection as _;
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

/// The epoch of every room here.
pub const EPOCH: u32 = 0;
/// Large enough to be no limit.
pub const ANY: usize = usize::MAX;

pub async fn open(path: &Path) -> Store {
    Store::open_sqlite(path, SqliteOptions::default(), &TaskTracker::new()).await.expect("the database opens")
}

/// A store in a folder of its own.
pub async fn sqlite() -> (Store, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    (open(&folder.path().join("snug.db")).await, folder)
}

/// How tests open Postgres: some servers for tests do without the disk.
pub fn postgres_options() -> PostgresOptions {
    PostgresOptions { readers: 4, writers: 2, allow_weak: true, ..PostgresOptions::default() }
}

/// A database of its own on the tests' Postgres; gone with the value.
pub struct PostgresDatabase {
    admin: String,
    pub name: String,
    pub url: String,
}

impl PostgresDatabase {
    pub async fn create() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let admin = crate::server::postgres_server().await;
        let name = format!("snug_test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run_on(&admin, &format!("create database {name}")).await;
        Self { url: with_database(&admin, &name), name, admin }
    }

    /// A store on it, as one node has it.
    pub async fn open(&self) -> Store {
        open_postgres(&self.url).await
    }

    /// Runs statements behind the stores' back.
    pub async fn run(&self, sql: &str) {
        run_on(&self.url, sql).await;
    }

    /// The first column of a query's first row.
    pub async fn number(&self, sql: &str) -> i64 {
        number_on(&self.url, sql).await
    }

    /// Runs statements on the server as its administrator.
    pub async fn administer(&self, sql: &str) {
        run_on(&self.admin, sql).await;
    }
}

impl Drop for PostgresDatabase {
    fn drop(&mut self) {
        let (admin, drop) = (self.admin.clone(), format!("drop database if exists {} with (force)", self.name));
        // Also when a test has failed: a thread of its own, since a panic may be ending the test's runtime.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(run_on(&admin, &drop));
        });
        let _ = dropping.join();
    }
}

async fn open_postgres(url: &str) -> Store {
    Store::open_postgres(url, postgres_options(), &TaskTracker::new()).await.expect("the database opens")
}

async fn run_on(url: &str, sql: &str) {
    let mut connection = sqlx::PgConnection::connect(url).await.expect("the server is there");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.expect("the statements run");
    connection.close().await.expect("the connection ends");
}

async fn number_on(url: &str, sql: &str) -> i64 {
    let mut connection = sqlx::PgConnection::connect(url).await.expect("the server is there");
    let number = sqlx::query_scalar(sqlx::AssertSqlSafe(sql.to_owned())).fetch_one(&mut connection).await;
    number.expect("the query finds a number")
}

/// `url` with another database's name.
pub fn with_database(url: &str, name: &str) -> String {
    let (address, parameters) =
        url.split_once('?').map_or((url, String::new()), |(url, rest)| (url, format!("?{rest}")));
    let authority = address.find("://").map_or(0, |at| at + 3);
    let end = address[authority..].find('/').map_or(address.len(), |at| authority + at);
    format!("{}/{name}{parameters}", &address[..end])
}

/// Makes a test of each case for each backend.
macro_rules! contract {
    ($($case:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(snug_store::Store::memory()).await;
            })*
        }
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let (store, _folder) = crate::fixture::sqlite().await;
                super::$case(store.clone()).await;
                store.close().await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let database = crate::fixture::PostgresDatabase::create().await;
                let store = database.open().await;
                super::$case(store.clone()).await;
                store.close().await;
            })*
        }
    };
}
pub(crate) use contract;

/// A way to a store's database that does not lead through the store.
pub enum Behind {
    Sqlite(PathBuf),
    Postgres(String),
}

impl Behind {
    /// Another store on the same database: another node's, or that of an operator's command beside the node.
    pub async fn another(&self) -> Store {
        match self {
            Self::Sqlite(path) => {
                let options = SqliteOptions { beside: true, ..SqliteOptions::default() };
                Store::open_sqlite(path, options, &TaskTracker::new()).await.expect("it opens beside the other")
            }
            Self::Postgres(url) => open_postgres(url).await,
        }
    }

    pub async fn run(&self, sql: &'static str) {
        match self {
            Self::Sqlite(path) => {
                let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
                let mut connection = sqlx::SqliteConnection::connect_with(&options).await.expect("the file is there");
                sqlx::raw_sql(sql).execute(&mut connection).await.expect("the statements run");
                connection.close().await.expect("the connection ends");
            }
            Self::Postgres(url) => run_on(url, sql).await,
        }
    }

    /// The number that a query finds.
    pub async fn number(&self, sql: &'static str) -> i64 {
        match self {
            Self::Sqlite(path) => {
                let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
                let mut connection = sqlx::SqliteConnection::connect_with(&options).await.expect("the file is there");
                sqlx::query_scalar(sql).fetch_one(&mut connection).await.expect("the query finds a number")
            }
            Self::Postgres(url) => number_on(url, sql).await,
        }
    }
}

/// Makes a test of each case for each database, which is also given a way behind the store's back.
macro_rules! behind {
    ($($case:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let (store, folder) = crate::fixture::sqlite().await;
                let behind = crate::fixture::Behind::Sqlite(folder.path().join("snug.db"));
                super::$case(store.clone(), behind).await;
                store.close().await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let database = crate::fixture::PostgresDatabase::create().await;
                let store = database.open().await;
                super::$case(store.clone(), crate::fixture::Behind::Postgres(database.url.clone())).await;
                store.close().await;
            })*
        }
    };
}
pub(crate) use behind;

pub fn id(number: u32) -> [u8; 16] {
    let mut id = [0xA5; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    id
}

pub fn device(number: u32) -> DeviceKeys {
    let key = |first| {
        let mut key = [first; 32];
        key[28..].copy_from_slice(&number.to_be_bytes());
        key
    };
    DeviceKeys { device: DeviceId(id(number)), sign_key: key(1), agree_key: key(2) }
}

/// An envelope with this header around bytes that stand for ciphertext.
pub fn envelope(header: &Header) -> Envelope {
    sized(header, 256)
}

pub fn sized(header: &Header, bucket: usize) -> Envelope {
    let mut bytes = header.encode().to_vec();
    let filler = u8::try_from(header.counter % 251).expect("below 251");
    bytes.resize(bytes.len() + bucket + 16, filler);
    Envelope::parse(Bytes::from(bytes)).expect("a valid envelope")
}

/// One run of a client in a room. Cloning it is running it twice.
#[derive(Clone)]
pub struct Instance {
    pub room: RoomId,
    pub device: DeviceId,
    pub instance: InstanceId,
    pub counter: u64,
}

impl Instance {
    pub fn new(room: RoomId, device: DeviceKeys, instance: u32) -> Self {
        Self { room, device: device.device, instance: InstanceId(id(instance)), counter: 0 }
    }

    pub fn header(&self, kind: EntryKind, counter: u64, target: u64) -> Header {
        let (room, device, instance) = (self.room, self.device, self.instance);
        Header { kind, room, epoch: EPOCH, device, instance, counter, target: Seq(target) }
    }

    /// Seals the next envelope.
    pub fn next(&mut self, kind: EntryKind, target: u64) -> Envelope {
        self.counter += 1;
        envelope(&self.header(kind, self.counter - 1, target))
    }

    pub fn message(&mut self) -> Envelope {
        self.next(EntryKind::Message, 0)
    }

    /// Appends the next message, which must succeed.
    pub async fn say(&mut self, store: &Store) -> Appended {
        store.append(self.message()).await.expect("the message is appended")
    }
}

pub fn secret(pepper: u32) -> GrantSecret {
    GrantSecret { verifier: vec![7; 32], sealed_blob: vec![8; 157], pepper }
}

/// The recovery device of room `number`.
pub fn recovery(number: u32) -> DeviceKeys {
    device(1_000_000 + number)
}

/// Room `number`, made by `owner`; its password grant has the same number.
pub fn new_room(number: u32, owner: DeviceKeys) -> NewRoom {
    let room = RoomId(id(number));
    NewRoom {
        room,
        name: format!("Room {number:03}"),
        likeness: format!("room {number:03}"),
        owner,
        grant: GrantId(id(number)),
        kdf: 1,
        secret: secret(1),
        recovery: recovery(number),
        recovery_key: [9; EPOCH_KEY_BYTES],
        epoch_record: envelope(&Instance::new(room, owner, u32::MAX).header(EntryKind::EpochRecord, 0, 0)),
    }
}

/// Creates room `number` with these members, the first being its owner.
pub async fn room_of(store: &Store, number: u32, members: &[DeviceKeys]) -> RoomId {
    let new = new_room(number, members[0]);
    let (room, grant) = (new.room, new.grant);
    store.create_room(new).await.expect("the room is created");
    for member in &members[1..] {
        store.enter(room, grant, *member).await.expect("the member enters");
    }
    room
}

pub fn invite(room: RoomId, number: u32, made_by: DeviceKeys) -> NewInvite {
    NewInvite {
        room,
        grant: GrantId(id(number)),
        secret: secret(1),
        made_by: made_by.device,
        expires_in: None,
        uses_max: None,
    }
}

pub fn expired(invite: NewInvite) -> NewInvite {
    NewInvite { expires_in: Some(Duration::ZERO), ..invite }
}

/// Begins all of `work` in this order before it waits for any; the answers in the same order.
pub async fn together<T>(work: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut work: Vec<_> = work.into_iter().map(|one| Box::pin(maybe_done(one))).collect();
    std::future::poll_fn(|context| {
        // Every one is polled each time: `join_all` begins many futures in no promised order.
        let pending = work.iter_mut().filter_map(|one| one.as_mut().poll(context).is_pending().then_some(())).count();
        if pending == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    work.iter_mut().map(|one| one.as_mut().take_output().expect("it is done")).collect()
}

/// The envelopes of a whole log, checked to be gapless from 1.
pub async fn log(store: &Store, room: RoomId) -> Vec<Bytes> {
    let entries = store.read_after(room, Seq::ZERO, ANY, ANY).await.expect("the log is read");
    let seqs: Vec<u64> = entries.iter().map(|entry| entry.seq().0).collect();
    assert_eq!(seqs, (1..=entries.len() as u64).collect::<Vec<_>>(), "seqs are gapless from 1");
    entries.iter().map(snug_protocol::frame::EntryFrame::envelope_bytes).collect()
}

pub fn is_duplicate(answer: &Result<Appended, AppendError>, seq: Seq) -> bool {
    matches!(answer, Ok(appended) if appended.seq == seq && appended.frame.is_none())
}

/// An instance of its own for each entry of a chain.
fn fresh(room: RoomId, author: DeviceKeys) -> Instance {
    static NEXT: AtomicU32 = AtomicU32::new(1 << 30);
    Instance::new(room, author, NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A step of `author` at the end of the room's chain as it is now.
pub async fn step(store: &Store, room: RoomId, author: DeviceKeys, effect: StepEffect) -> NewStep {
    let now = store.room(room).await.expect("the room is read").expect("there is one");
    let header = fresh(room, author).header(EntryKind::Step, 0, now.chain.0);
    NewStep { envelope: envelope(&Header { epoch: now.epoch, ..header }), effect }
}

/// Takes a step, which must succeed.
pub async fn administer(store: &Store, room: RoomId, author: DeviceKeys, effect: StepEffect) -> Appended {
    store.administer(step(store, room, author, effect).await).await.expect("the step is taken")
}

/// An epoch of `author` at the end of the room's chain as it is now, removing nobody; its password grant is `grant`. For whom it has keys is
/// to be said: [`keyed`].
pub async fn epoch(store: &Store, room: RoomId, author: DeviceKeys, grant: u32) -> NewEpoch {
    let now = store.room(room).await.expect("the room is read").expect("there is one");
    let header = fresh(room, author).header(EntryKind::EpochRecord, 0, now.chain.0);
    NewEpoch {
        record: envelope(&Header { epoch: now.epoch + 1, ..header }),
        remove: Vec::new(),
        ban: false,
        recipients: [0; 32],
        sent_at_ms: 0,
        recovery: None,
        grant: GrantId(id(grant)),
        kdf: 1,
        secret: secret(1),
    }
}

/// The same with keys for these devices, and for the new recovery device, if it has one.
pub fn keyed(new: NewEpoch, devices: &[DeviceKeys]) -> NewEpoch {
    let fresh = new.recovery.map(|(keys, _)| keys);
    NewEpoch { recipients: recipients_hash(devices.iter().chain(&fresh).map(|keys| keys.device)), ..new }
}

/// What is sealed to a device by these tests.
pub fn sealed(device: DeviceKeys) -> [u8; EPOCH_KEY_BYTES] {
    let mut key = [0; EPOCH_KEY_BYTES];
    key[..16].copy_from_slice(&device.device.0);
    key
}

/// Stages keys for an epoch to begin, as its author.
pub async fn stage(store: &Store, new: &NewEpoch, devices: &[DeviceKeys]) -> Result<(), StepError> {
    let (header, keys) = (new.record.header(), devices.iter().map(|keys| (keys.device, sealed(*keys))).collect());
    store.stage_epoch_keys(header.room, header.device, header.epoch, new.record.hash(), keys).await
}

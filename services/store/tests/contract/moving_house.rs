//! Copying an installation from SQLite to Postgres: everything arrives, whatever happens on the way, and nothing else is overwritten.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::FutureExt as _;
use snug_protocol::{EntryKind, RoomId, Seq};
use snug_store::{OpenError, Progress, StepEffect, Store, TransferError, TransferOptions, Transferred, transfer};
use tempfile::TempDir;

use crate::fixture::{
    self, ANY, Behind, Instance, PostgresDatabase, administer, device, epoch, expired, id, invite, is_duplicate, keyed,
    log, recovery, room_of, stage, together,
};

/// Of the messages in the first room: enough for many chunks.
const MESSAGES: usize = 400;

fn options() -> TransferOptions {
    TransferOptions { allow_weak: true, chunk_rows: 7 }
}

async fn copy(from: &Path, to: &str) -> Result<Transferred, TransferError> {
    transfer(from, to, options(), &mut |_| {}).await
}

/// A stopped installation with something in every table.
async fn installation() -> TempDir {
    let (store, folder) = fixture::sqlite().await;
    let room = room_of(&store, 1, &[device(1), device(2), device(3)]).await;
    let mut instance = Instance::new(room, device(1), 1);
    let sends: Vec<_> = (0..MESSAGES).map(|_| store.append(instance.message())).collect();
    together(sends).await;
    store.append(instance.next(EntryKind::Profile, 0)).await.unwrap();
    store.append(instance.next(EntryKind::Deletion, 5)).await.unwrap();
    store.append(instance.next(EntryKind::Pin, 6)).await.unwrap();
    store.append(Instance::new(room, device(3), 1).next(EntryKind::Leave, 0)).await.unwrap();
    store.create_invite(invite(room, 7, device(1))).await.unwrap();
    store.create_invite(expired(invite(room, 8, device(1)))).await.unwrap();
    administer(&store, room, device(1), StepEffect::Mute { device: device(2).device, until_ms: u64::MAX >> 12 }).await;
    administer(&store, room, device(1), StepEffect::Lock { locked: true }).await;
    let keys = [device(1), device(2), recovery(1)];
    let new = keyed(epoch(&store, room, device(1), 9).await, &keys);
    stage(&store, &new, &keys).await.unwrap();
    store.begin_epoch(new).await.unwrap();
    let staged = epoch(&store, room, device(1), 10).await;
    stage(&store, &staged, &[device(1)]).await.unwrap();
    room_of(&store, 2, &[device(2)]).await;
    store.add_pepper_check(1, [5; 32]).await.unwrap();
    store.issue_token([3; 32], device(1).device, Duration::from_secs(3600), Duration::from_secs(7200)).await.unwrap();
    store.put_offer(id(1), &[1; 96]).await.unwrap();
    store.close().await;
    Behind::Sqlite(folder.path().join("snug.db"))
        .run(
            "insert into erasure (room) values (x'00112233445566778899aabbccddeeff');
             insert into device_erasure (room, device, before_seq) select room, made_by, 1 from room_grant limit 1",
        )
        .await;
    folder
}

/// What callers can see of a store.
async fn seen(store: &Store) -> String {
    let room = RoomId(id(1));
    let mut all = Vec::new();
    for device in [device(1), device(2), device(3)] {
        all.push(format!("{:?}", store.rooms_of(device.device).await.unwrap()));
        all.push(format!("{:?}", store.standing(room, device.device).await.unwrap()));
        all.push(format!("{:?}", store.epoch_keys(room, 1, device.device).await.unwrap()));
    }
    all.push(format!("{:?}", log(store, room).await));
    all.push(format!("{:?}", store.members(room, None, 100).await.unwrap()));
    all.push(format!("{:?}", store.invites(room).await.unwrap()));
    all.push(format!("{:?}", store.grant(room, snug_protocol::GrantId(id(9))).await.unwrap()));
    all.push(format!("{:?}", store.pins(room, 10).await.unwrap()));
    all.push(format!("{:?}", store.chain(room, None, 10).await.unwrap()));
    all.push(format!("{:?}", store.token([3; 32]).await.unwrap()));
    all.push(format!("{:?}", store.pepper_checks().await.unwrap()));
    all.push(format!("{:?}", store.offer(id(1)).await.unwrap()));
    all.join("\n")
}

/// Checks that what stands in the target is the installation, and that it is a store to go on with.
async fn assert_moved(folder: &TempDir, database: &PostgresDatabase) {
    let (old, new) = (fixture::open(&folder.path().join("snug.db")).await, database.open().await);
    assert_eq!(seen(&old).await, seen(&new).await);
    let room = RoomId(id(1));
    let head = old.room(room).await.unwrap().unwrap().head;
    let mut instance = Instance { counter: 0, ..Instance::new(room, device(1), 1) };
    assert!(is_duplicate(&new.append(instance.message()).await, Seq(2)), "a resend is known");
    let hash = old.entry_hash(room, head).await.unwrap();
    assert_eq!(new.entry_hash(room, head).await.unwrap(), hash, "a cursor fits");
    let later = new.read_after(room, head.back(3), ANY, ANY).await.unwrap();
    assert_eq!(later.len(), 3);
    let other = Instance::new(RoomId(id(2)), device(2), 77).say(&new).await;
    assert_eq!(other.seq, Seq(2), "the log goes on where it was");
    old.close().await;
    new.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_moves_with_everything_in_it() {
    let (folder, database) = (installation().await, PostgresDatabase::create().await);
    let mut said = Vec::new();
    let moved = transfer(folder.path(), &database.url, options(), &mut |progress| said.push(progress)).await.unwrap();
    assert_eq!((moved.rooms, moved.damaged), (2, 0));
    assert_eq!(moved.tables.len(), 13);
    assert!(moved.tables.iter().all(|(_, rows, _)| *rows > 0), "every table had something: {:?}", moved.tables);
    let entries = said.iter().filter(|progress| progress.table == "entry").count();
    assert!(entries > 2 * MESSAGES / 7, "it says how far it is: {entries}");
    assert!(said.iter().all(|progress| progress.rows <= progress.rows_total));
    assert_moved(&folder, &database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_that_nobody_has_used_yet_moves_too() {
    let (database, (store, folder)) = (PostgresDatabase::create().await, fixture::sqlite().await);
    store.close().await;
    drop(store);
    let moved = copy(&folder.path().join("snug.db"), &database.url).await.unwrap();
    assert_eq!((moved.rooms, moved.tables.iter().map(|(_, rows, _)| rows).sum::<u64>()), (0, 0));
    room_of(&database.open().await, 1, &[device(1)]).await;
}

/// Not a test: what the next one kills. Copies, and prints a line for each chunk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "is started by another test, as a process of its own"]
async fn child_that_copies_until_it_is_killed() {
    let [from, to] = ["SNUG_TEST_FROM", "SNUG_TEST_TO"].map(|name| std::env::var(name).expect("the test names both"));
    let mut tell = |progress: Progress| println!("copied {:?} {} {}", progress.stage, progress.table, progress.rows);
    transfer(Path::new(&from), &to, options(), &mut tell).await.expect("it is killed or ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_killed_goes_on_where_it_was() {
    let (folder, database) = (installation().await, PostgresDatabase::create().await);
    for kill_after in [1, 12, 30, 55, 90] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "moving_house::child_that_copies_until_it_is_killed"])
            .env("SNUG_TEST_FROM", folder.path())
            .env("SNUG_TEST_TO", &database.url)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let heard = lines.filter(|line| line.starts_with("copied ")).take(kill_after).count();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(heard, kill_after, "it was in the middle");
        wait_for_the_lock(&database).await;
        let refused = Store::open_postgres(&database.url, fixture::postgres_options(), &Default::default()).await;
        assert!(matches!(refused.err(), Some(OpenError::Unfinished { .. })), "no node takes a part for the whole");
    }
    let before = database.number("select count(*) from entry").await;
    assert!(before > 0, "something had arrived");
    copy(folder.path(), &database.url).await.unwrap();
    assert_moved(&folder, &database).await;
}

/// A killed process's session ends when the server notices.
async fn wait_for_the_lock(database: &PostgresDatabase) {
    const HELD: &str = "select count(*) from pg_locks join pg_database on pg_database.oid = pg_locks.database
         where locktype = 'advisory' and datname = current_database()";
    let released = async {
        while database.number(HELD).await > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), released).await.expect("the server notices in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_changed_after_a_copy_was_begun_is_noticed() {
    let (folder, database) = (installation().await, PostgresDatabase::create().await);
    let mut chunks = 0;
    let mut tell = |_| {
        chunks += 1;
        assert!(chunks < 20, "cut short");
    };
    let cut_short = transfer(folder.path(), &database.url, options(), &mut tell);
    assert!(std::panic::AssertUnwindSafe(cut_short).catch_unwind().await.is_err());
    wait_for_the_lock(&database).await;
    let store = fixture::open(&folder.path().join("snug.db")).await;
    Instance::new(RoomId(id(2)), device(2), 5).say(&store).await;
    store.close().await;
    let refused = copy(folder.path(), &database.url).await.unwrap_err();
    assert!(matches!(refused, TransferError::OtherCopy { .. }), "{refused:?}");
    assert!(refused.to_string().contains("drop and create"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_is_somebodys_is_left_alone() {
    let (folder, database) = (installation().await, PostgresDatabase::create().await);
    let store = database.open().await;
    room_of(&store, 9, &[device(9)]).await;
    let refused = copy(folder.path(), &database.url).await.unwrap_err();
    assert!(matches!(refused, TransferError::NotEmpty { .. }), "{refused:?}");
    assert_eq!(store.rooms_of(device(9).device).await.unwrap().len(), 1);
    store.close().await;
    let other = PostgresDatabase::create().await;
    other.run("create table bookmark (url text)").await;
    let refused = copy(folder.path(), &other.url).await.unwrap_err();
    assert!(matches!(refused, TransferError::Open(OpenError::OtherSchema { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_a_node_has_open_or_that_is_not_there_is_refused() {
    let (folder, database) = (installation().await, PostgresDatabase::create().await);
    let node = fixture::open(&folder.path().join("snug.db")).await;
    let refused = copy(folder.path(), &database.url).await.unwrap_err();
    assert!(matches!(refused, TransferError::Open(OpenError::Locked { .. })), "{refused:?}");
    node.close().await;
    drop(node);
    let refused = copy(&folder.path().join("elsewhere"), &database.url).await.unwrap_err();
    assert!(matches!(refused, TransferError::NoSource { .. }), "{refused:?}");
    copy(folder.path(), &database.url).await.expect("it was left as it was");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_differs_in_one_value_is_not_passed_on() {
    let (folder, database) = (installation().await, PostgresDatabase::create().await);
    let spoil = "create function spoil() returns trigger language plpgsql as
         $$ begin if new.seq = 100 then new.at_ms = new.at_ms + 1; end if; return new; end $$;
         create trigger spoil before insert on entry for each row execute function spoil()";
    database.open().await.close().await;
    database.run(spoil).await;
    let refused = copy(folder.path(), &database.url).await.unwrap_err();
    assert!(matches!(refused, TransferError::Differs { .. }), "{refused:?}");
    assert!(refused.to_string().contains("table entry, row"), "{refused}");
    let node = Store::open_postgres(&database.url, fixture::postgres_options(), &Default::default()).await;
    assert!(matches!(node.err(), Some(OpenError::Unfinished { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_was_damaged_in_the_source_is_told() {
    let (folder, database) = (installation().await, PostgresDatabase::create().await);
    Behind::Sqlite(folder.path().join("snug.db")).run("update entry set hash = zeroblob(32) where seq = 50").await;
    assert_eq!(copy(folder.path(), &database.url).await.unwrap().damaged, 1);
}

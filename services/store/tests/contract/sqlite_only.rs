//! What SQLite promises besides: nothing acknowledged is lost, and an operator is told why a database does not open.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use snug_protocol::{EntryKind, RoomId};
use snug_store::{AppendError, CreateRoomError, Durability, OpenError, SqliteOptions, Store, StoreError};
use sqlx::Connection as _;
use tokio_util::task::TaskTracker;

use crate::fixture::{self, Instance, device, envelope, id, is_duplicate, log, new_room, room_of, sized, together};

async fn try_open(path: &Path, options: SqliteOptions) -> Result<Store, OpenError> {
    Store::open_sqlite(path, options, &TaskTracker::new()).await
}

async fn limited(path: &Path, bytes_max: u64) -> Store {
    try_open(path, SqliteOptions { bytes_max: Some(bytes_max), ..SqliteOptions::default() }).await.expect("it opens")
}

/// Runs statements on the file behind the store's back.
async fn behind_its_back(path: &Path, sql: &'static str) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = sqlx::sqlite::SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

fn file(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("snug.db")
}

fn one_line(error: &OpenError) -> String {
    let text = error.to_string();
    assert!(!text.contains('\n') && text.contains("snug.db"), "{text}");
    text
}

#[tokio::test]
async fn what_was_acknowledged_is_there_when_reopened() {
    let (store, folder) = fixture::sqlite().await;
    let room = room_of(&store, 1, &[device(1), device(2)]).await;
    let mut instance = Instance::new(room, device(1), 1);
    let messages: Vec<_> = (0..100).map(|_| instance.message()).collect();
    for answer in together(messages.iter().map(|message| store.append(message.clone()))).await {
        answer.unwrap();
    }
    let before = store.room(room).await.unwrap();
    store.close().await;
    drop(store);
    assert!(!folder.path().join("snug.db-wal").exists(), "closing leaves one file, whole by itself");

    let store = fixture::open(&file(&folder)).await;
    assert_eq!(store.room(room).await.unwrap(), before);
    assert!(log(&store, room).await[1..].iter().eq(messages.iter().map(snug_protocol::Envelope::bytes)));
    assert!(is_duplicate(&store.append(messages[0].clone()).await, snug_protocol::Seq(2)));
    instance.say(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_finishes_what_was_submitted() {
    let (store, folder) = fixture::sqlite().await;
    let room = room_of(&store, 1, &[device(1)]).await;
    let mut instance = Instance::new(room, device(1), 1);
    let sends: Vec<_> = (0..300).map(|_| store.append(instance.message())).collect();
    let (answers, ()) = tokio::join!(together(sends), store.close());
    let acknowledged = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!(answers.iter().skip(acknowledged).all(|answer| matches!(answer, Err(AppendError::Store(_)))));
    drop(store);
    let store = fixture::open(&file(&folder)).await;
    assert_eq!(log(&store, room).await.len(), 1 + acknowledged);
}

/// Not a test: what `a_killed_process_loses_nothing_it_acknowledged` kills. Appends for ever, and prints each acknowledgement.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "is started by another test, as a process of its own"]
async fn child_that_appends_until_it_is_killed() {
    let path = std::env::var_os("SNUG_TEST_DATABASE").expect("the test that starts this names a database");
    let store = fixture::open(Path::new(&path)).await;
    let senders = (0..8).map(|sender| {
        let store = store.clone();
        async move {
            let mut instance = Instance::new(RoomId(id(1 + sender % 2)), device(1), sender);
            loop {
                let counter = instance.counter;
                let appended = instance.say(&store).await;
                println!("ack {sender} {counter} {}", appended.seq);
            }
        }
    });
    together(senders).await;
}

fn start_child(path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "sqlite_only::child_that_appends_until_it_is_killed"])
        .env("SNUG_TEST_DATABASE", path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Sender, counter and seq of an acknowledgement, if the line is a whole one.
fn ack(line: &str) -> Option<(u32, u64, u64)> {
    let mut words = line.strip_suffix('\n')?.strip_prefix("ack ")?.split(' ');
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_loses_nothing_it_acknowledged() {
    let (store, folder) = fixture::sqlite().await;
    for number in [1, 2] {
        room_of(&store, number, &[device(1)]).await;
    }
    store.close().await;
    drop(store);
    let mut acknowledged = Vec::new();
    for kill_after in [1, 150, 400] {
        let mut child = start_child(&file(&folder));
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let (mut line, mut heard) = (String::new(), 0);
        while output.read_line(&mut line).unwrap() > 0 {
            acknowledged.extend(ack(&line));
            heard += usize::from(ack(&line).is_some());
            if heard == kill_after {
                child.kill().unwrap();
            }
            line.clear();
        }
        child.wait().unwrap();
        assert!(heard >= kill_after, "the child appended {heard}");
    }
    let store = fixture::open(&file(&folder)).await;
    let logs = [log(&store, RoomId(id(1))).await, log(&store, RoomId(id(2))).await];
    // Each child begins its counters at 0 again: the later ones are answered with the first one's seqs.
    for (sender, counter, seq) in acknowledged {
        let sent = envelope(&Instance::new(RoomId(id(1 + sender % 2)), device(1), sender).header(
            EntryKind::Message,
            counter,
            0,
        ));
        assert_eq!(logs[sender as usize % 2][usize::try_from(seq).unwrap() - 1], sent.bytes());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_database_refuses_loses_nothing_and_works_again_with_space() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder);
    let store = limited(&path, 1024 * 1024).await;
    let room = room_of(&store, 1, &[device(1)]).await;
    let other = room_of(&store, 2, &[device(1)]).await;
    let instance = Instance::new(room, device(1), 1);
    let large = |counter| sized(&instance.header(EntryKind::Message, counter, 0), 16_384);
    let mut acknowledged = 0;
    let refused = loop {
        match store.append(large(acknowledged)).await {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, AppendError::Store(StoreError::Full)), "{refused:?}");
    assert!(acknowledged > 30, "{acknowledged}");
    let batch = together((0..8).map(|more| store.append(large(acknowledged + more)))).await;
    assert!(matches!(batch[0], Err(AppendError::Store(StoreError::Full))), "{batch:?}");
    assert!(batch.iter().all(Result::is_err), "those behind it fail with it, or are out of order now: {batch:?}");
    store.check().await.expect("reading goes on");
    let read = log(&store, room).await;
    assert!((0..acknowledged).all(|counter| read[usize::try_from(counter).unwrap() + 1] == large(counter).bytes()));
    assert_eq!(read.len() as u64, 1 + acknowledged, "what was refused is not there");

    store.delete_room(room).await.expect("a full database still deletes");
    let mut instance = Instance::new(other, device(1), 1);
    for _ in 0..20 {
        instance.say(&store).await;
    }
    store.close().await;
}

#[tokio::test]
async fn a_raised_limit_lets_the_refused_message_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder);
    let store = limited(&path, 512 * 1024).await;
    let room = room_of(&store, 1, &[device(1)]).await;
    let instance = Instance::new(room, device(1), 1);
    let large = |counter| sized(&instance.header(EntryKind::Message, counter, 0), 16_384);
    let mut next = 0;
    while store.append(large(next)).await.is_ok() {
        next += 1;
    }
    let refused = store.create_room(new_room(2, device(2))).await;
    assert!(matches!(refused, Ok(_) | Err(CreateRoomError::Store(StoreError::Full))), "{refused:?}");
    store.close().await;
    drop(store);
    let store = limited(&path, 1024 * 1024).await;
    store.append(large(next)).await.expect("there is space");
    assert_eq!(log(&store, room).await.len() as u64, next + 2);
}

#[tokio::test]
async fn durability_is_read_back_from_the_database() {
    let (store, _folder) = fixture::sqlite().await;
    assert_eq!((store.durability(), store.kind()), (Durability::Local, "sqlite"));
    let folder = tempfile::tempdir().unwrap();
    let weak = try_open(&file(&folder), SqliteOptions { durable: false, ..SqliteOptions::default() }).await.unwrap();
    assert_eq!(weak.durability(), Durability::Weak);
    assert_eq!(Store::memory().durability(), Durability::Weak);
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_may_read_the_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(file(&folder), "").unwrap();
    std::fs::set_permissions(file(&folder), std::fs::Permissions::from_mode(0o644)).unwrap();
    let store = fixture::open(&file(&folder)).await;
    room_of(&store, 1, &[device(1)]).await;
    for found in std::fs::read_dir(folder.path()).unwrap() {
        let found = found.unwrap();
        assert_eq!(found.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", found.path());
    }
}

#[tokio::test]
async fn a_newer_database_is_refused_and_left_alone() {
    let (store, folder) = fixture::sqlite().await;
    room_of(&store, 1, &[device(1)]).await;
    store.close().await;
    drop(store);
    behind_its_back(
        &file(&folder),
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values (9999, 'of the future', true, x'00', 0)",
    )
    .await;
    let refused = try_open(&file(&folder), SqliteOptions::default()).await.err().expect("it is refused");
    assert!(matches!(refused, OpenError::Newer { version: 9999, .. }), "{refused:?}");
    assert!(one_line(&refused).contains("newer version of Snug"));
    behind_its_back(&file(&folder), "delete from _sqlx_migrations where version = 9999").await;
    assert_eq!(log(&fixture::open(&file(&folder)).await, RoomId(id(1))).await.len(), 1);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let text = "a shopping list, and not a short one ".repeat(200);
    std::fs::write(file(&folder), &text).unwrap();
    let refused = try_open(&file(&folder), SqliteOptions::default()).await.err().expect("it is refused");
    assert!(matches!(refused, OpenError::NotADatabase { .. }), "{refused:?}");
    assert!(one_line(&refused).contains("not a database"));
    assert_eq!(std::fs::read_to_string(file(&folder)).unwrap(), text);
}

#[tokio::test]
async fn another_programs_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    behind_its_back(&file(&folder), "create table bookmark (url text)").await;
    let refused = try_open(&file(&folder), SqliteOptions::default()).await.err().expect("it is refused");
    assert!(matches!(refused, OpenError::OtherSchema { .. }), "{refused:?}");
    assert!(one_line(&refused).contains("another program"));
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    for path in [folder.path().join("missing/snug.db"), folder.path().join("file/snug.db")] {
        let refused = try_open(&path, SqliteOptions::default()).await.err().expect("it is refused");
        assert!(matches!(refused, OpenError::NotWritable { .. }), "{refused:?}");
        assert!(one_line(&refused).starts_with("cannot write the database"));
    }
}

#[tokio::test]
async fn a_database_in_use_is_refused() {
    let (store, folder) = fixture::sqlite().await;
    let refused = try_open(&file(&folder), SqliteOptions::default()).await.err().expect("it is refused");
    assert!(matches!(refused, OpenError::Locked { .. }), "{refused:?}");
    assert!(one_line(&refused).contains("in use"));
    store.check().await.expect("the first one goes on");
    store.close().await;
    fixture::open(&file(&folder)).await.check().await.expect("closing sets it free");
}

#[tokio::test]
async fn a_dropped_store_finishes_and_sets_its_database_free() {
    let folder = tempfile::tempdir().unwrap();
    let tasks = TaskTracker::new();
    let store = Store::open_sqlite(&file(&folder), SqliteOptions::default(), &tasks).await.unwrap();
    let room = room_of(&store, 1, &[device(1)]).await;
    let mut instance = Instance::new(room, device(1), 1);
    for _ in 0..20 {
        // Submitted, and nobody waits for the answer.
        let sending = Box::pin(store.append(instance.message()));
        let _ = futures_util::future::select(sending, std::future::ready(())).await;
    }
    drop(store);
    tasks.close();
    tasks.wait().await;
    assert_eq!(log(&fixture::open(&file(&folder)).await, room).await.len(), 21);
}

#[tokio::test]
async fn a_disk_that_is_full_at_the_start_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteOptions { bytes_max: Some(8192), ..SqliteOptions::default() };
    let refused = try_open(&file(&folder), options).await.err().expect("it is refused");
    assert!(matches!(refused, OpenError::Full { .. }), "{refused:?}");
    assert!(one_line(&refused).starts_with("no space left"));
}

#[tokio::test]
async fn a_pending_migration_is_refused_when_migrating_is_off() {
    let folder = tempfile::tempdir().unwrap();
    let off = SqliteOptions { migrate: false, ..SqliteOptions::default() };
    let refused = try_open(&file(&folder), off.clone()).await.err().expect("it is refused");
    assert!(matches!(refused, OpenError::MigrationPending { .. }), "{refused:?}");
    assert!(one_line(&refused).contains("snug migrate"));
    let store = fixture::open(&file(&folder)).await;
    store.close().await;
    drop(store);
    try_open(&file(&folder), off).await.expect("it is up to date");
}

#[tokio::test]
async fn what_is_erased_is_not_in_the_file_any_more() {
    let (store, folder) = fixture::sqlite().await;
    let room = room_of(&store, 1, &[device(1)]).await;
    let mut instance = Instance::new(room, device(1), 1);
    instance.counter = 0;
    let mut bytes = instance.message().bytes().to_vec();
    bytes[100..132].copy_from_slice(b"a text that nobody shall find...");
    let message = snug_protocol::Envelope::parse(bytes.into()).unwrap();
    store.append(message).await.unwrap();
    store.append(instance.next(EntryKind::Deletion, 2)).await.unwrap();
    store.close().await;
    let stored = std::fs::read(file(&folder)).unwrap();
    assert!(!stored.windows(32).any(|window| window == b"a text that nobody shall find..."));
}

/// Whether these bytes lie in the database's file or in its write-ahead log, as they are on the disk now.
fn lies_there(folder: &tempfile::TempDir, text: &[u8]) -> bool {
    ["snug.db", "snug.db-wal"].iter().any(|name| {
        let stored = std::fs::read(folder.path().join(name)).unwrap_or_default();
        stored.windows(text.len()).any(|window| window == text)
    })
}

#[tokio::test]
async fn what_is_erased_is_neither_in_the_file_nor_in_its_log_after_the_next_sweep() {
    let (store, folder) = fixture::sqlite().await;
    let texts = [b"deleted: nobody shall find this.", b"in a room that was deleted, too."];
    let rooms = [room_of(&store, 1, &[device(1)]).await, room_of(&store, 2, &[device(1)]).await];
    let mut instances = rooms.map(|room| Instance::new(room, device(1), 1));
    for (instance, text) in instances.iter_mut().zip(texts) {
        let mut bytes = instance.message().bytes().to_vec();
        bytes[100..132].copy_from_slice(text);
        store.append(snug_protocol::Envelope::parse(bytes.into()).unwrap()).await.unwrap();
        assert!(lies_there(&folder, text), "it is on the disk");
    }
    // What is kept must be on the disk afterwards, or nothing would be proven.
    store.sweep().await.unwrap();
    assert!(texts.iter().all(|text| lies_there(&folder, *text)));
    store.append(instances[0].next(EntryKind::Deletion, 2)).await.unwrap();
    assert!(store.delete_room(rooms[1]).await.unwrap());
    assert!(texts.iter().any(|text| lies_there(&folder, *text)), "the log has it still");
    store.sweep().await.unwrap();
    for text in texts {
        assert!(!lies_there(&folder, text), "{}", String::from_utf8_lossy(text));
    }
    store.check().await.expect("the store was not closed for it");
    assert_eq!(log(&store, rooms[0]).await.len(), 3);
}

#[tokio::test]
async fn a_reader_in_the_way_of_emptying_the_log_stops_nobody_and_the_next_sweep_does_it() {
    let (store, folder) = fixture::sqlite().await;
    let room = room_of(&store, 1, &[device(1)]).await;
    let mut instance = Instance::new(room, device(1), 1);
    // As a backup does: it reads one state of the database for as long as it takes.
    let url = format!("sqlite://{}?mode=ro", file(&folder).display());
    let mut backup = <sqlx::SqliteConnection as sqlx::Connection>::connect(&url).await.unwrap();
    sqlx::raw_sql("begin; select count(*) from entry").execute(&mut backup).await.unwrap();
    let mut bytes = instance.message().bytes().to_vec();
    let text = b"read by nobody, and then deleted";
    bytes[100..132].copy_from_slice(text);
    store.append(snug_protocol::Envelope::parse(bytes.into()).unwrap()).await.unwrap();
    store.append(instance.next(EntryKind::Deletion, 2)).await.unwrap();
    store.sweep().await.expect("it goes on");
    instance.say(&store).await;
    assert!(lies_there(&folder, text));
    sqlx::raw_sql("commit").execute(&mut backup).await.unwrap();
    store.sweep().await.unwrap();
    assert!(!lies_there(&folder, text));
}

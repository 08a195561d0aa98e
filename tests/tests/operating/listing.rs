//! Looking at a node that runs, signing out, erasing.

use std::path::Path;

use serde_json::Value;
use snug_protocol::ErrorCode;
use snug_protocol::frame::{ServerFrame, close};
use snug_tests::guest::Guest;
use snug_tests::process::Process;

use crate::commands::{does, fails, snug};

fn data(folder: &Path) -> String {
    format!("--data-dir={}", folder.display())
}

async fn running(folder: &Path) -> Process {
    Process::start(&["--listen=127.0.0.1:0", &data(folder)]).await
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
}

#[tokio::test]
async fn rooms_are_listed_beside_the_node_by_id_and_size_and_without_their_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = running(folder.path()).await;
    let data = data(folder.path());
    let (mut ana, mut ben) = (Guest::new(&node.url), Guest::new(&node.url));
    let (mut garden, cellar) = (ana.create("Garden").await, ben.create("Cellar").await);
    ben.join(&garden).await;
    let mut socket = ana.socket().await;
    for id in 0..3 {
        let envelope = ana.message(&mut garden, "hello");
        socket.send(id, &envelope).await;
        socket.sent(id).await;
    }
    let listed = lines(&does(&["rooms", "--json", &data]).await);
    assert_eq!(listed.len(), 2);
    let of = |room: snug_protocol::RoomId| {
        listed.iter().find(|row| row["room"] == room.to_string()).expect("it is listed").clone()
    };
    assert_eq!((of(garden.room)["members"].as_u64(), of(garden.room)["entries"].as_u64()), (Some(2), Some(4)));
    assert_eq!((of(cellar.room)["members"].as_u64(), of(cellar.room)["entries"].as_u64()), (Some(1), Some(1)));
    assert!(of(garden.room)["bytes"].as_u64() > of(cellar.room)["bytes"].as_u64());
    assert!(of(garden.room)["active_at_ms"].as_u64() >= of(garden.room)["created_at_ms"].as_u64());
    let table = does(&["rooms", &data]).await;
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(table.contains(&garden.room.to_string()) && table.contains("2 rooms"), "{table}");
    assert!(!table.to_lowercase().contains("garden") && !table.to_lowercase().contains("cellar"), "{table}");
}

#[tokio::test]
async fn revoking_ends_the_tokens_of_a_device_and_its_open_sockets_and_nobody_elses() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = running(folder.path()).await;
    let data = data(folder.path());
    let (mut ana, mut ben) = (Guest::new(&node.url), Guest::new(&node.url));
    let room = ana.create("Garden").await;
    ben.join(&room).await;
    let (mut hers, mut his) = (ana.socket().await, ben.socket().await);
    for socket in [&mut hers, &mut his] {
        assert!(matches!(socket.follow(room.room, None).await, ServerFrame::Followed { .. }));
    }
    let sessions = lines(&does(&["sessions", "--json", &data]).await);
    assert_eq!(sessions.len(), 2);
    let ids = [ana.device.id().to_string(), ben.device.id().to_string()];
    assert!(sessions.iter().all(|session| ids.iter().any(|id| session["device"] == *id)), "{sessions:?}");
    let device = format!("--device={}", ids[1]);
    assert_eq!(lines(&does(&["sessions", "--json", &device, &data]).await).len(), 1);
    let of_room = format!("--room={}", room.room);
    assert_eq!(lines(&does(&["sessions", "--json", &of_room, &data]).await).len(), 2);

    let said = does(&["revoke", &device, &data]).await;
    assert!(said.starts_with("1 access tokens ended"), "{said}");
    assert_eq!(his.closed().await, Some(close::TOKEN));
    assert_eq!(ben.get("/api/rooms").await.0, 401);
    assert_eq!(ana.get("/api/rooms").await.0, 200);
    // Whoever holds the device's key signs in again.
    ben.renew().await;
    assert_eq!(ben.get("/api/rooms").await.0, 200);

    assert!(does(&["revoke", "--all", &data]).await.starts_with("2 access tokens ended"));
    assert_eq!(hers.closed().await, Some(close::TOKEN));
    assert_eq!((ana.get("/api/rooms").await.0, ben.get("/api/rooms").await.0), (401, 401));
    let said = snug(&["revoke", &data]).await;
    assert!(!said.ended_well, "whose must be said: {said:?}");
}

#[tokio::test]
async fn purging_a_room_asks_first_and_then_erases_it_for_everyone_who_is_in_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = running(folder.path()).await;
    let data = data(folder.path());
    let mut ana = Guest::new(&node.url);
    let (garden, cellar) = (ana.create("Garden").await, ana.create("Cellar").await);
    let mut socket = ana.socket().await;
    assert!(matches!(socket.follow(garden.room, None).await, ServerFrame::Followed { .. }));
    let id = garden.room.to_string();
    let said = does(&["purge", &id, &data]).await;
    assert!(said.starts_with("Would erase") && said.contains("1 members"), "{said}");
    assert_eq!(ana.get("/api/rooms").await.1["rooms"].as_array().map(Vec::len), Some(2));
    let said = does(&["purge", &id, "--yes", &data]).await;
    assert!(said.starts_with("Erased"), "{said}");
    let rooms = ana.get("/api/rooms").await.1;
    assert_eq!(rooms["rooms"].as_array().map(Vec::len), Some(1));
    assert_eq!(rooms["rooms"][0]["room"], cellar.room.to_string());
    assert_eq!(socket.room_closed().await, ErrorCode::RoomDeleted);
    let refused = fails(&["purge", &id, "--yes", &data]).await;
    assert!(refused.contains("there is no room"), "{refused}");
}

#[tokio::test]
async fn where_no_node_has_run_there_is_nothing_to_ask() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data(&folder.path().join("none"));
    for command in [&["rooms"][..], &["sessions"], &["revoke", "--all"], &["new-history"]] {
        let refused = fails(&[command, &[data.as_str()]].concat()).await;
        assert!(refused.contains("there is no database") && refused.contains("SNUG_DATA_DIR"), "{refused}");
    }
    assert!(!folder.path().join("none").exists());
}

//! `snug rooms` and `snug purge`.

use anyhow::bail;
use snug_gateway::config::{Purge, Rooms};
use snug_gateway::server;
use snug_protocol::RoomId;
use snug_store::{RoomSummary, Store};
use tokio_util::task::TaskTracker;

use super::shown;

/// Rooms asked for at a time.
const PAGE: usize = 100;

/// Lists all rooms.
pub async fn list(rooms: &Rooms) -> anyhow::Result<()> {
    let store = server::open_store_beside(&rooms.settings, &TaskTracker::new()).await?;
    let listed = print_all(&store, rooms.json).await;
    store.close().await;
    listed
}

async fn print_all(store: &Store, json: bool) -> anyhow::Result<()> {
    if !json {
        println!(
            "{:<22}  {:>7}  {:>9}  {:>12}  {:<20}  {:<20}",
            "room", "members", "entries", "bytes", "last entry", "made"
        );
    }
    let (mut all, mut members, mut entries, mut bytes) = (0, 0, 0, 0);
    let mut after = None;
    loop {
        let page = store.room_summaries(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.room);
        for room in &page {
            let size = store.room_bytes(room.room, room.head).await?;
            if json {
                println!(
                    "{}",
                    serde_json::json!({
                        "room": room.room.to_string(), "members": room.members, "entries": room.head.0, "bytes": size,
                        "active_at_ms": room.active_at_ms, "created_at_ms": room.created_at_ms,
                    })
                );
            } else {
                let (active, made) = (shown::time(room.active_at_ms), shown::time(room.created_at_ms));
                println!(
                    "{}  {:>7}  {:>9}  {size:>12}  {active:<20}  {made:<20}",
                    room.room, room.members, room.head.0
                );
            }
            (all, members, entries, bytes) = (all + 1, members + room.members, entries + room.head.0, bytes + size);
        }
    }
    if !json {
        println!("{:<22}  {members:>7}  {entries:>9}  {bytes:>12}", format!("{all} rooms"));
    }
    Ok(())
}

/// Erases a room, or says what would be erased.
pub async fn purge(purge: &Purge) -> anyhow::Result<()> {
    let store = server::open_store_beside(&purge.settings, &TaskTracker::new()).await?;
    let purged = erase(&store, purge.room, purge.yes).await;
    store.close().await;
    purged
}

async fn erase(store: &Store, id: RoomId, yes: bool) -> anyhow::Result<()> {
    let Some(room) = find(store, id).await? else { bail!("there is no room {id}; `snug rooms` lists them") };
    let bytes = store.room_bytes(id, room.head).await?;
    let what = format!("room {id}: {} members, {} entries, {bytes} bytes", room.members, room.head.0);
    if !yes {
        println!("Would erase {what}. Nothing brings it back but a backup. Run it again with --yes to erase it.");
        return Ok(());
    }
    store.delete_room(id).await?;
    println!("Erased {what}. Who is in it is told within seconds.");
    Ok(())
}

/// The room with this id: the first one after whatever lies just before it.
async fn find(store: &Store, id: RoomId) -> anyhow::Result<Option<RoomSummary>> {
    let before = u128::from_be_bytes(id.0).checked_sub(1).map(|before| RoomId(before.to_be_bytes()));
    let page = store.room_summaries(before, 1).await?;
    Ok(page.into_iter().find(|room| room.room == id))
}

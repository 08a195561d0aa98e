//! A room's life as the server sees it: what is said about messages, who governs, who is removed, how one moves to another device.

mod chain;
mod governing;
mod messages;
mod moves;
mod on_disk;
mod recovery;
mod removal;

use snug_protocol::frame::ServerFrame;
use snug_protocol::http::{Effect, Role};
use snug_protocol::{DeviceId, Seq};
use snug_tests::guest::{Answer, Guest, GuestRoom, Socket};

/// Status and code of a refusal.
fn refusal(answer: &Answer) -> (u16, &str) {
    (answer.0, answer.1["code"].as_str().unwrap_or("no code"))
}

fn role(device: DeviceId, role: Role) -> Effect {
    Effect::Role { device, role }
}

/// A socket that follows the room.
async fn following(guest: &Guest, room: &GuestRoom) -> Socket {
    let mut socket = guest.socket().await;
    let answer = socket.follow(room.room, None).await;
    assert!(matches!(answer, ServerFrame::Followed { .. }), "{answer:?}");
    socket
}

/// Waits until the socket has got the entry at `seq`, and returns it.
async fn entry_at(socket: &mut Socket, seq: Seq) -> snug_protocol::frame::EntryFrame {
    loop {
        let entry = socket.entry().await;
        if entry.seq() == seq {
            return entry;
        }
        assert!(entry.seq() < seq, "{} came instead of {seq}", entry.seq());
    }
}

/// What the room's log holds now, as its newest page.
async fn log(guest: &Guest, room: &GuestRoom) -> Vec<snug_protocol::frame::EntryFrame> {
    guest.page(&format!("/api/rooms/{}/history?limit=200", room.room)).await.1
}

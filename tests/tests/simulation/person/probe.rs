//! A look at who is said to be in a room, by a device that nobody sees come: the recovery device.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use snug_protocol::frame::{ClientFrame, ServerFrame};
use snug_protocol::{DeviceId, RoomId};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::session::{greet, text};
use crate::node::Node;
use crate::scene::Scene;

const LIMIT: Duration = Duration::from_secs(5);

/// Who is in `room`, as `node` tells somebody who follows it now, and their number; `None`: it tells nothing.
pub async fn who_is_here(scene: &Scene, node: &Node, room: RoomId) -> Option<(BTreeSet<DeviceId>, u32)> {
    let (_cable, stream) = node.connect(scene, SocketAddr::from(([10, 0, 0, 2], 1)))?;
    let looking = async {
        let mut socket = greet(stream, &scene.recovery_secret).await?;
        socket.send(text(&ClientFrame::Follow { id: 1, room, cursor: None })).await.ok()?;
        loop {
            let Message::Text(text) = socket.next().await?.ok()? else { continue };
            if let Ok(ServerFrame::Followed { here, here_count, .. }) = serde_json::from_str(&text) {
                let _ = socket.close(None).await;
                return Some((here.into_iter().collect(), here_count));
            }
        }
    };
    timeout(LIMIT, looking).await.ok().flatten()
}

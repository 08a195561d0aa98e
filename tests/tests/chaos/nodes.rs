//! Faults of nodes.

use std::time::Duration;

use snug_client::crypto::Device;
use snug_client::{Client, Room};
use snug_protocol::DeviceId;
use snug_protocol::frame::ServerFrame;
use snug_tests::guest::{Guest, Socket};
use snug_tests::{eventually, in_time};
use tokio::time::{Instant, sleep};

use super::faults::{Fault, Strike};
use super::load::config;
use super::scene::Scene;

const SIGKILL: i32 = 9;
/// How long a killed node stays away.
const DEAD: Duration = Duration::from_secs(2);
/// How often an observer looks who is here.
const LOOK_EVERY: Duration = Duration::from_millis(50);

impl Scene {
    /// kill -9 of the node with the most connections. Beside, somebody waits until those who do not come back are seen to be gone.
    pub async fn node_killed(&mut self) -> Strike {
        let victim = self.fleet.busiest_but(self.spared);
        let goner = self.somebody_at(victim).await;
        let died = Instant::now();
        let signal = self.fleet.nodes[victim].kill().await;
        self.note_death(died);
        assert_eq!(signal, Some(SIGKILL));
        self.presence.spawn(goner.gone(died));
        let strike = self.healed(Fault::NodeKilled, died, String::new()).await;
        let lost = self.load.members().filter(|member| member.lost_since(died) > 0).count();
        assert!(lost > 0, "nobody of the load had a connection to the node with the most connections");
        sleep(DEAD.saturating_sub(died.elapsed())).await;
        self.fleet.restart(victim).await;
        Strike { proof: format!("node {victim} died of signal 9, {lost} members lost their connection"), ..strike }
    }

    /// One node after the other is told to stop, and started again.
    pub async fn nodes_restarted(&mut self) -> Strike {
        let began = Instant::now();
        let mut slowest = Duration::ZERO;
        for node in 0..self.fleet.nodes.len() {
            let told = Instant::now();
            assert!(self.fleet.nodes[node].terminate().await, "node {node} did not end well");
            slowest = slowest.max(told.elapsed());
            self.fleet.restart(node).await;
        }
        let lost: usize = self.load.members().map(|member| member.lost_since(began)).sum();
        let count = self.fleet.nodes.len();
        let proof = format!("{count} nodes ended with status 0 within {slowest:.1?}, members lost {lost} connections");
        self.healed(Fault::NodesRestarted, Instant::now(), proof).await
    }

    /// A room with an observer who stays, and a device whose only connection is to this node.
    async fn somebody_at(&self, node: usize) -> Goner {
        let client = Client::connect(config(&self.fleet.url), Device::generate()).expect("a client");
        let name = format!("Presence {}", self.strikes.len());
        let created = client.create_room(&name, "orbit velvet canyon seven", "observer");
        let (room, _) = in_time("a room is made", created).await.expect("a room");
        let (link, _) = in_time("an invite", room.create_invite(None, None)).await.expect("an invite");
        let mut guest = Guest::new(&self.fleet.url);
        let join = guest.draft_join(link.room, link.grant, &link.secret).await;
        let (status, answer) = guest.post("/api/join", &join).await;
        assert_eq!(status, 200, "{answer}");
        guest.token = answer["token"].as_str().map(str::to_owned);
        let mut socket = guest.socket_at(self.fleet.nodes[node].address).await;
        let followed = socket.follow(link.room, None).await;
        assert!(matches!(followed, ServerFrame::Followed { .. }), "{followed:?}");
        let device = guest.device.id();
        eventually("the observer sees it", async || is_here(&room, device).await.then_some(())).await;
        Goner { client, room, device, _socket: socket }
    }
}

/// A device that goes with its node, and who looks on.
struct Goner {
    client: Client,
    room: Room,
    device: DeviceId,
    _socket: Socket,
}

impl Goner {
    /// Waits until it is seen to be gone.
    async fn gone(self, died: Instant) -> Duration {
        let waiting = async {
            while is_here(&self.room, self.device).await {
                sleep(LOOK_EVERY).await;
            }
        };
        in_time("the dead are seen to be gone", waiting).await;
        let span = died.elapsed();
        self.client.close().await;
        span
    }
}

async fn is_here(room: &Room, device: DeviceId) -> bool {
    room.here().await.expect("the room is open").contains(&device)
}

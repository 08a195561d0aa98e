//! A room in which nothing is said but what a fault needs: two devices, each at a node of the fault's choice.

use std::time::Duration;

use snug_client::wire::Incoming;
use snug_protocol::frame::ServerFrame;
use snug_protocol::{ErrorCode, Seq};
use snug_tests::fleet::Fleet;
use snug_tests::guest::{Guest, GuestRoom, Socket};
use tokio::time::{Instant, timeout};

/// A writer and a reader.
pub struct Quiet {
    pub writer: Guest,
    pub room: GuestRoom,
    pub reader: Guest,
    writing: Socket,
    reading: Socket,
}

impl Quiet {
    /// A room called `name`: the writer at one node, the reader at another, who has seen everything so far.
    pub async fn start(fleet: &Fleet, name: &str, writer_at: usize, reader_at: usize) -> Self {
        let (mut writer, mut reader) = (Guest::new(&fleet.url), Guest::new(&fleet.url));
        let room = writer.create_in_time(name).await;
        reader.join_in_time(&room).await;
        let writing = writer.socket_in_time_at(fleet.nodes[writer_at].address).await;
        let mut reading = reader.socket_in_time_at(fleet.nodes[reader_at].address).await;
        let followed = reading.follow(room.room, None).await;
        assert!(matches!(followed, ServerFrame::Followed { .. }), "{followed:?}");
        assert_eq!(reading.entry().await.seq(), Seq(1));
        Self { writer, room, reader, writing, reading }
    }

    /// Appends a message; returns its place.
    pub async fn say(&mut self, text: &str) -> Seq {
        let envelope = self.writer.message(&mut self.room, text);
        self.writing.insist(0, &envelope).await.0
    }

    /// Waits until the reader has the entry at `seq`; `None` if it has not within `limit`.
    pub async fn read(&mut self, seq: Seq, limit: Duration) -> Option<Duration> {
        let began = Instant::now();
        let reading = async { while self.reading.entry().await.seq() < seq {} };
        timeout(limit, reading).await.ok().map(|()| began.elapsed())
    }

    /// Removes the reader; returns how long after the answer its socket was told, having been sent nothing of the time after.
    pub async fn remove(mut self) -> Duration {
        let stay = [self.writer.device.id()];
        let removed = self.writer.remove(&mut self.room, Seq(1), &stay, self.reader.device.id(), false).await;
        let done = Instant::now();
        let envelope = self.writer.message(&mut self.room, "among us");
        self.writing.insist(1, &envelope).await;
        loop {
            match self.reading.next().await {
                Incoming::Frame(ServerFrame::RoomClosed { code, .. }) => {
                    assert_eq!(code, ErrorCode::Removed);
                    return done.elapsed();
                }
                Incoming::Entry(entry) => {
                    assert!(entry.seq() <= removed, "it was sent what was said after its removal");
                }
                Incoming::Frame(_) | Incoming::Other => {}
                Incoming::Closed { code } => panic!("closed with {code:?} instead"),
            }
        }
    }
}

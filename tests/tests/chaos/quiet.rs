//! A room in which nothing is said but what a fault needs: two devices, each at a node of the fault's choice.

use std::time::Duration;

use snug_client::wire::Incoming;
use snug_protocol::frame::ServerFrame;
use snug_protocol::{ErrorCode, Seq};
use snug_tests::eventually;
use snug_tests::fleet::Fleet;
use snug_tests::guest::{Answer, Guest, GuestRoom, Socket};
use tokio::time::{Instant, timeout};

/// The answer to what may be asked again, once the node can give one.
async fn answered(mut ask: impl AsyncFnMut() -> Answer) -> Answer {
    eventually("the node can answer", async || Some(ask().await).filter(|(status, _)| *status != 503)).await
}

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

    /// Removes the reader; returns how long after the answer its socket was told, after which it is sent nothing. What is said before
    /// that may reach it, sealed under a key that it does not have.
    pub async fn remove(mut self) -> Duration {
        let draft = self.writer.draft_epoch(&self.room, Seq(1), &[self.reader.device.id()]);
        let stay = [self.writer.device.id()];
        let (status, answer) = answered(async || self.writer.stage(&self.room, &draft, &stay).await).await;
        assert_eq!(status, 204, "{answer}");
        let (status, answer) = answered(async || self.writer.begin_epoch(&self.room, &draft).await).await;
        assert_eq!(status, 200, "{answer}");
        let done = Instant::now();
        self.room.enter_epoch(&draft);
        self.say("among us").await;
        loop {
            match self.reading.next().await {
                Incoming::Frame(ServerFrame::RoomClosed { code, .. }) => {
                    assert_eq!(code, ErrorCode::Removed);
                    break;
                }
                Incoming::Entry(_) | Incoming::Frame(_) | Incoming::Other => {}
                Incoming::Closed { code } => panic!("closed with {code:?} instead"),
            }
        }
        let told = done.elapsed();
        self.say("still among us").await;
        // What was on its way would come before the answer to this.
        self.reading.say_text("{}").await;
        loop {
            match self.reading.next().await {
                Incoming::Entry(entry) => panic!("it was sent {} after it was told", entry.seq()),
                Incoming::Frame(ServerFrame::Error { .. }) => return told,
                Incoming::Frame(_) | Incoming::Other => {}
                Incoming::Closed { code } => panic!("closed with {code:?} instead"),
            }
        }
    }
}

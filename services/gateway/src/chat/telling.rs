//! Telling others of what was committed: this node's rooms and, by the bus, those of other nodes.
//!
//! A batch of the store answers many messages of a room at one moment, and each thing that is told costs more than what is in it: so what is
//! of one room is told at once.

use snug_bus::{BusEvent, HINT_BYTES_MAX};
use snug_protocol::envelope::Header;
use snug_protocol::frame::EntryFrame;
use snug_protocol::{DeviceId, EntryKind, RoomId, Seq};
use snug_store::Appended;
use tracing::Span;

use super::Chat;
use crate::room::may_erase;
use crate::telemetry::trace;

/// Envelopes up to this size travel inside the hint; others are read from the store by each node.
const INLINE_BYTES_MAX: usize = 8 * 1024;
/// News of devices that lost access, one by one; of more than this many all who follow the room are told to look instead.
const ACCESS_NEWS_MAX: usize = 64;

/// What others are to be told of an entry that was committed.
#[derive(Debug)]
#[must_use = "others hear of it late if it is not told"]
pub struct News {
    room: RoomId,
    seq: Seq,
    /// Where it travels with the hint.
    frame: Option<EntryFrame>,
    /// Who has left by it.
    left: Option<DeviceId>,
    /// The message's.
    span: Span,
}

impl News {
    pub(super) fn of(header: &Header, appended: Appended, span: Span) -> Self {
        let is_new = appended.frame.is_some();
        let left = (is_new && header.kind == EntryKind::Leave).then_some(header.device);
        // Of what erases each node must hear, even if it has found the entry already.
        let travels = |frame: &EntryFrame| frame.bytes().len() <= INLINE_BYTES_MAX || may_erase(header.kind);
        Self { room: header.room, seq: appended.seq, frame: appended.frame.filter(travels), left, span }
    }

    /// Whether it is told of by itself: its span and what follows from it are its own.
    fn is_told_alone(&self) -> bool {
        self.left.is_some() || trace::is_traced(&self.span)
    }
}

/// News of one room that are told of together.
struct Run {
    room: RoomId,
    seq: Seq,
    frames: Vec<EntryFrame>,
    bytes: usize,
}

impl Run {
    fn of(news: News) -> Self {
        let mut run = Self { room: news.room, seq: news.seq, frames: Vec::new(), bytes: 0 };
        run.add(news);
        run
    }

    fn add(&mut self, news: News) {
        self.seq = news.seq;
        self.bytes += news.frame.as_ref().map_or(0, |frame| frame.bytes().len());
        self.frames.extend(news.frame);
    }

    /// Not behind one that is to be read from the store: that one would pass for lost.
    fn takes(&self, news: &News) -> bool {
        let bytes = news.frame.as_ref().map_or(0, |frame| frame.bytes().len());
        let is_whole = self.frames.last().is_some_and(|last| last.seq() == self.seq);
        self.room == news.room && is_whole && self.seq < news.seq && self.bytes + bytes <= HINT_BYTES_MAX
    }

    fn hint(self) -> BusEvent {
        BusEvent::Hint { room: self.room, seq: self.seq, frames: self.frames, trace: None }
    }
}

impl Chat {
    /// Tells others of what has just been committed, whatever its type, and even if it had been before: whoever committed it may have had no
    /// time to tell of it. What is of one room is to be in its order.
    pub fn tell(&self, all: impl IntoIterator<Item = News>) {
        let mut run: Option<Run> = None;
        for news in all {
            let alone = news.is_told_alone();
            if !alone && let Some(run) = run.as_mut().filter(|run| run.takes(&news)) {
                run.add(news);
                continue;
            }
            self.tell_run(run.take());
            if alone {
                self.tell_alone(news);
            } else {
                run = Some(Run::of(news));
            }
        }
        self.tell_run(run);
    }

    fn tell_run(&self, run: Option<Run>) {
        if let Some(run) = run {
            self.publish(run.hint());
        }
    }

    fn tell_alone(&self, news: News) {
        let News { room, seq, frame, left, span: message } = news;
        // To its end: a span ends in a trace when it is left for the last time.
        message.in_scope(|| {
            let span = trace::publish();
            let hint = BusEvent::Hint { room, seq, frames: frame.into_iter().collect(), trace: trace::parent(&span) };
            self.publish_in(&span, hint);
            drop(span);
            if let Some(device) = left {
                self.tell_access_lost(room, &[device]);
            }
        });
    }

    /// These devices are in the room no longer: they are gone at once, and their sockets ask why.
    pub(super) fn tell_access_lost(&self, room: RoomId, devices: &[DeviceId]) {
        for device in devices {
            self.shared.presence.expel(room, *device);
        }
        if devices.len() > ACCESS_NEWS_MAX {
            return self.publish(BusEvent::Access { room, device: None });
        }
        for device in devices {
            self.publish(BusEvent::Access { room, device: Some(*device) });
        }
    }

    /// Publishes without caring whether it arrives: losses are found by those who miss something.
    pub fn publish(&self, event: BusEvent) {
        self.publish_in(&trace::publish(), event);
    }

    fn publish_in(&self, span: &Span, event: BusEvent) {
        if let Err(error) = span.in_scope(|| self.shared.bus.publish(event)) {
            tracing::debug!(%error, "an event was not published");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use snug_bus::{Backplane, Listener, NodeId};
    use snug_protocol::InstanceId;
    use snug_store::Store;
    use tokio_util::sync::CancellationToken;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::limit::Rate;
    use crate::presence::Presence;

    /// A hint's room, seq and frames; of other events the room.
    #[derive(Debug, PartialEq, Eq)]
    enum Heard {
        Hint(u8, u64, Vec<u64>),
        Access(u8),
    }

    #[derive(Default)]
    struct Ear(Mutex<Vec<Heard>>);

    impl Listener for Ear {
        fn hear(&self, event: &BusEvent) {
            let heard = match event {
                BusEvent::Hint { room, seq, frames, .. } => {
                    Heard::Hint(room.0[0], seq.0, frames.iter().map(|frame| frame.seq().0).collect())
                }
                BusEvent::Access { room, .. } => Heard::Access(room.0[0]),
                _ => return,
            };
            self.0.lock().expect("nobody panics with it").push(heard);
        }
    }

    fn news(room: u8, seq: u64, kind: EntryKind, bytes: Option<usize>) -> News {
        let header = Header {
            kind,
            room: RoomId([room; 16]),
            epoch: 0,
            device: DeviceId([2; 16]),
            instance: InstanceId([3; 16]),
            counter: seq,
            target: Seq::ZERO,
        };
        let frame = bytes.map(|bytes| {
            let mut envelope = header.encode().to_vec();
            envelope.resize(bytes, 0);
            EntryFrame::new(Seq(seq), 0, &envelope)
        });
        News::of(&header, Appended { seq: Seq(seq), at_ms: 0, frame }, Span::none())
    }

    fn message(room: u8, seq: u64) -> News {
        news(room, seq, EntryKind::Message, Some(300))
    }

    async fn told(all: Vec<News>) -> Vec<Heard> {
        let (backplane, tasks, stop) = (Backplane::local(), TaskTracker::new(), CancellationToken::new());
        let presence = Presence::start(NodeId([1; 8]), &backplane, &tasks, &stop);
        let ear = Arc::new(Ear::default());
        let _listening = backplane.bus.listen(Arc::clone(&ear) as Arc<dyn Listener>);
        let chat = Chat::new(Store::memory(), Arc::clone(&backplane.bus), presence, Rate::per_second(1, 1));
        chat.tell(all);
        stop.cancel();
        std::mem::take(&mut ear.0.lock().expect("nobody panics with it"))
    }

    #[tokio::test]
    async fn what_is_of_one_room_is_told_of_at_once() {
        let all = [(1, 4), (1, 5), (1, 8), (2, 3), (2, 4), (1, 9)];
        let heard = told(all.map(|(room, seq)| message(room, seq)).into()).await;
        let hints = [Heard::Hint(1, 8, vec![4, 5, 8]), Heard::Hint(2, 4, vec![3, 4]), Heard::Hint(1, 9, vec![9])];
        assert_eq!(heard, hints);
        assert_eq!(told(Vec::new()).await, []);
    }

    #[tokio::test]
    async fn nothing_is_told_behind_what_each_node_is_to_read_or_has_been_told() {
        let large = news(1, 5, EntryKind::Message, Some(INLINE_BYTES_MAX + 1));
        let heard = told(vec![message(1, 4), large, message(1, 6), message(1, 7)]).await;
        assert_eq!(heard, [Heard::Hint(1, 5, vec![4]), Heard::Hint(1, 7, vec![6, 7])]);
        let again = news(1, 2, EntryKind::Message, None);
        let heard = told(vec![message(1, 4), again, message(1, 5)]).await;
        assert_eq!(heard, [Heard::Hint(1, 4, vec![4]), Heard::Hint(1, 2, vec![]), Heard::Hint(1, 5, vec![5])]);
        let deletion = news(1, 5, EntryKind::Deletion, Some(INLINE_BYTES_MAX + 1));
        assert_eq!(told(vec![message(1, 4), deletion]).await, [Heard::Hint(1, 5, vec![4, 5])], "it is to reach each");
    }

    #[tokio::test]
    async fn a_leave_is_followed_by_the_news_that_its_device_has_left() {
        let heard = told(vec![message(1, 4), news(1, 5, EntryKind::Leave, Some(300)), message(1, 6)]).await;
        let hint = |seq| Heard::Hint(1, seq, vec![seq]);
        assert_eq!(heard, [hint(4), hint(5), Heard::Access(1), hint(6)]);
        let again = news(1, 5, EntryKind::Leave, None);
        assert_eq!(told(vec![again]).await, [Heard::Hint(1, 5, vec![])], "which it had been told before");
    }

    #[tokio::test]
    async fn a_hint_has_a_size() {
        let each = HINT_BYTES_MAX / 16;
        let all = (1..=40).map(|seq| news(1, seq, EntryKind::Message, Some(each))).collect();
        let heard = told(all).await;
        let sizes = heard.iter().map(|heard| match heard {
            Heard::Hint(_, _, frames) => frames.len(),
            Heard::Access(_) => 0,
        });
        assert_eq!(sizes.collect::<Vec<_>>(), [15, 15, 10]);
    }
}

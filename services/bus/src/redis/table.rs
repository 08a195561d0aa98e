//! Which topics are subscribed and which are to be. Pure: it decides, [`super::follow`] acts.
//!
//! One operation at a time is on its way for a topic, so that whatever the order of wishes, the last one holds. A *round* subscribes
//! everything again.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use snug_protocol::RoomId;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::counters::MissedCause;

/// How long a topic stays subscribed without anyone wanting it, since people come back.
pub(super) const LINGER: Duration = Duration::from_secs(10);
/// How many such topics there may be, about.
pub(super) const LINGERING_MAX: usize = 1_024;

/// What can be subscribed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Topic {
    /// What every node hears.
    Everyone,
    /// This node's probes.
    Probe,
    /// News and ephemeral events of a room.
    Room(RoomId),
}

/// What is to be done about a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Subscribe,
    Unsubscribe,
}

/// A connection, as the table counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Epoch(u64);

/// A step that was handed out, to be given back to [`Table::done`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Errand {
    pub(super) topic: Topic,
    pub(super) step: Step,
    epoch: Epoch,
}

/// What is to be told after a step.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// This room was followed without a confirmation, which has come.
    pub(super) confirmed_late: Option<RoomId>,
    /// A round is complete.
    pub(super) round: Option<MissedCause>,
    /// Something that had been subscribed before was subscribed again.
    pub(super) again: bool,
}

#[derive(Debug, Default)]
struct Entry {
    wanted: bool,
    /// Since when it is not wanted.
    idle_since: Option<Instant>,
    /// Subscribed, as far as is known.
    confirmed: bool,
    /// Has been confirmed before, on whatever connection.
    known: bool,
    queued: bool,
    on_its_way: bool,
    /// Subscribe once more after the step that is on its way.
    again: bool,
    in_round: bool,
    /// Somebody was told that it is unconfirmed.
    owed: bool,
    waiting: Vec<oneshot::Sender<()>>,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    entries: HashMap<Topic, Entry>,
    queue: VecDeque<(Topic, Step)>,
    /// The connection that is subscribed on; what was asked of an earlier one means nothing.
    epoch: Epoch,
    /// Why a round goes on, and how many topics it has left.
    round: Option<(MissedCause, usize)>,
    next_round: Option<MissedCause>,
}

/// How a wish stands.
pub(super) enum Wish {
    Confirmed,
    /// Tells when it is.
    Waiting(oneshot::Receiver<()>),
}

impl Table {
    /// Wants the topic from now on.
    pub(super) fn want(&mut self, topic: Topic) -> Wish {
        let entry = self.entries.entry(topic).or_default();
        entry.wanted = true;
        entry.idle_since = None;
        if entry.confirmed {
            return Wish::Confirmed;
        }
        let (sender, receiver) = oneshot::channel();
        entry.waiting.retain(|waiting| !waiting.is_closed());
        entry.waiting.push(sender);
        self.enqueue(topic);
        Wish::Waiting(receiver)
    }

    /// Somebody stops waiting for a confirmation: `Missed` is owed when it comes. `false`: it has come.
    pub(super) fn owe(&mut self, topic: Topic) -> bool {
        let Some(entry) = self.entries.get_mut(&topic) else { return true };
        entry.owed |= !entry.confirmed;
        !entry.confirmed
    }

    /// Nobody wants the topic any more.
    pub(super) fn unwant(&mut self, topic: Topic, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&topic) {
            entry.wanted = false;
            entry.idle_since = Some(now);
            entry.owed = false;
        }
    }

    /// Whether the topic is subscribed, as far as is known.
    pub(super) fn is_confirmed(&self, topic: Topic) -> bool {
        self.entries.get(&topic).is_some_and(|entry| entry.confirmed)
    }

    /// The connection that is subscribed on at present.
    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The connection is new: nothing is subscribed on it.
    pub(super) fn begin_anew(&mut self) {
        self.epoch.0 += 1;
        self.queue.clear();
        self.next_round = None;
        self.entries.retain(|_, entry| entry.wanted);
        for entry in self.entries.values_mut() {
            (entry.confirmed, entry.on_its_way, entry.queued, entry.again) = (false, false, false, false);
            // The round tells everybody.
            entry.owed = false;
        }
        self.begin_round(MissedCause::Reconnected);
    }

    /// Subscribes everything again, on the same connection; after the round that goes on, if one does.
    pub(super) fn ask_round(&mut self, cause: MissedCause) {
        if self.round.is_some() {
            self.next_round = Some(cause);
        } else {
            self.begin_round(cause);
        }
    }

    fn begin_round(&mut self, cause: MissedCause) {
        let mut topics: Vec<Topic> = self.entries.keys().copied().collect();
        // The node's own first: they tell whether it hears at all.
        topics.sort_by_key(|topic| matches!(topic, Topic::Room(_)));
        self.round = Some((cause, topics.len())).filter(|_| !topics.is_empty());
        for topic in topics {
            if let Some(entry) = self.entries.get_mut(&topic) {
                entry.in_round = true;
                entry.again = entry.on_its_way;
            }
            self.enqueue(topic);
        }
    }

    fn enqueue(&mut self, topic: Topic) {
        if let Some(entry) = self.entries.get_mut(&topic)
            && !entry.queued
            && !entry.on_its_way
        {
            entry.queued = true;
            self.queue.push_back((topic, Step::Subscribe));
        }
    }

    /// The next step to take on this connection: none any more if there is a newer one, whose steps they are. What was wanted when it was queued is subscribed even if it is not wanted any more: it may be again.
    pub(super) fn next(&mut self, epoch: Epoch) -> Option<Errand> {
        if epoch != self.epoch {
            return None;
        }
        while let Some((topic, step)) = self.queue.pop_front() {
            let Some(entry) = self.entries.get_mut(&topic) else { continue };
            entry.queued = false;
            if step == Step::Unsubscribe {
                if entry.wanted {
                    if entry.in_round || !entry.confirmed {
                        self.enqueue(topic);
                    }
                    continue;
                }
                entry.confirmed = false;
            }
            entry.on_its_way = true;
            return Some(Errand { topic, step, epoch });
        }
        None
    }

    /// A step is done; `worked`: Redis said so.
    pub(super) fn done(&mut self, errand: Errand, worked: bool) -> News {
        let mut news = News::default();
        let Some(entry) = self.entries.get_mut(&errand.topic).filter(|_| errand.epoch == self.epoch) else {
            return news;
        };
        entry.on_its_way = false;
        if errand.step == Step::Unsubscribe {
            let in_round = entry.in_round;
            if entry.wanted {
                self.enqueue(errand.topic);
            } else {
                self.entries.remove(&errand.topic);
                news.round = in_round.then(|| self.leave_round()).flatten();
            }
            return news;
        }
        entry.confirmed = worked;
        if worked {
            news.again = std::mem::replace(&mut entry.known, true);
            if std::mem::take(&mut entry.owed)
                && let Topic::Room(room) = errand.topic
            {
                news.confirmed_late = Some(room);
            }
            for waiting in entry.waiting.drain(..) {
                let _ = waiting.send(());
            }
        } else {
            // `tick` asks again.
            entry.owed = true;
        }
        if std::mem::take(&mut entry.again) {
            self.enqueue(errand.topic);
        } else if std::mem::take(&mut entry.in_round) {
            news.round = self.leave_round();
        }
        news
    }

    fn leave_round(&mut self) -> Option<MissedCause> {
        let (cause, left) = self.round.as_mut()?;
        *left = left.saturating_sub(1);
        if *left > 0 {
            return None;
        }
        let cause = *cause;
        self.round = None;
        if let Some(next) = self.next_round.take() {
            self.begin_round(next);
        }
        Some(cause)
    }

    /// Asks again for what failed, and lets go of what has lingered. To be called every now and then, as long as something is not yet as it
    /// is wanted, which it says.
    pub(super) fn tick(&mut self, now: Instant) -> bool {
        let at_rest = self.entries.iter().filter(|(_, entry)| !entry.queued && !entry.on_its_way);
        let (idle, wanted): (Vec<_>, Vec<_>) = at_rest.partition(|(_, entry)| !entry.wanted);
        let failed: Vec<Topic> =
            wanted.into_iter().filter(|(_, entry)| !entry.confirmed).map(|(topic, _)| *topic).collect();
        let mut idle: Vec<_> = idle.into_iter().map(|(topic, entry)| (entry.idle_since, *topic)).collect();
        idle.sort_by_key(|(since, _)| *since);
        let too_many = idle.len().saturating_sub(LINGERING_MAX);
        for (index, (since, topic)) in idle.into_iter().enumerate() {
            if (index < too_many || since.is_none_or(|since| now.duration_since(since) >= LINGER))
                && let Some(entry) = self.entries.get_mut(&topic)
            {
                entry.queued = true;
                self.queue.push_back((topic, Step::Unsubscribe));
            }
        }
        for topic in failed {
            self.enqueue(topic);
        }
        self.entries.values().any(|entry| !entry.wanted || !entry.confirmed)
    }
}

#[cfg(test)]
mod tests;

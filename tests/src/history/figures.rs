//! Figures out of histories: how long things took. Pure.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use super::{History, What};

/// Spans of time of one kind.
#[derive(Clone, Debug, Default)]
pub struct Spans(Vec<Duration>);

impl Spans {
    /// Adds one.
    pub fn push(&mut self, span: Duration) {
        self.0.push(span);
    }

    /// Adds all of these.
    pub fn extend(&mut self, spans: impl IntoIterator<Item = Duration>) {
        self.0.extend(spans);
    }

    /// Adds all of another set.
    pub fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The smallest that at least `percent` of a hundred do not exceed; `None` without any.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Option<Duration> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied()
    }

    /// The largest; zero without any.
    #[must_use]
    pub fn max(&self) -> Duration {
        self.0.iter().max().copied().unwrap_or_default()
    }
}

impl FromIterator<Duration> for Spans {
    fn from_iter<I: IntoIterator<Item = Duration>>(spans: I) -> Self {
        Self(spans.into_iter().collect())
    }
}

impl fmt::Display for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(half), Some(most)) = (self.percentile(50), self.percentile(99)) else { return write!(f, "none") };
        let seconds = |span: Duration| span.as_secs_f64();
        write!(f, "p50 {:.2} s, p99 {:.2} s, ", seconds(half), seconds(most))?;
        write!(f, "max {:.2} s, n={}", seconds(self.max()), self.count())
    }
}

/// From `death` until a member who lost its connection within `soon` of it saw its next message; `None` if it did not lose it.
#[must_use]
pub fn resumed(history: &History, death: Instant, soon: Duration) -> Option<Duration> {
    let after = |what: &What, since: Instant| {
        let found = history.incidents.iter().find(|incident| incident.what == *what && incident.at >= since);
        found.map(|incident| incident.at)
    };
    let lost = after(&What::Lost, death).filter(|at| *at <= death + soon)?;
    let restored = after(&What::Restored, lost)?;
    let seen = history.seen.iter().find(|seen| seen.at >= restored)?;
    Some(seen.at - death)
}

/// From the acknowledgement of each message of the room, where it came between `from` and `to`, until each other member saw it.
#[must_use]
pub fn delays(room: &[History], from: Instant, to: Instant) -> Spans {
    let mut spans = Spans::default();
    for sender in room {
        let answers = sender.sent.iter().filter_map(|attempt| attempt.answer);
        let answered: HashMap<u64, Instant> =
            answers.filter(|answer| (from..to).contains(&answer.at)).map(|answer| (answer.seq, answer.at)).collect();
        for reader in room.iter().filter(|reader| reader.member != sender.member) {
            let seen = reader.seen.iter().filter_map(|seen| Some((seen.at, answered.get(&seen.seq)?)));
            spans.extend(seen.map(|(seen, answered)| seen.saturating_duration_since(*answered)));
        }
    }
    spans
}

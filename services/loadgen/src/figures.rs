//! What is counted while a script plays.

use hdrhistogram::Histogram;

/// Spans beyond this count as this, in microseconds.
const SPAN_US_MAX: u64 = 120_000_000;

/// Socket groups whose latencies are told apart.
pub const GROUPS: usize = 2;

/// Spans of time in microseconds, to two digits.
#[derive(Debug, Clone)]
pub struct Spans(Histogram<u64>);

impl Default for Spans {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, SPAN_US_MAX, 2).expect("bounds that a histogram takes"))
    }
}

impl Spans {
    /// One more.
    pub fn add_ns(&mut self, span_ns: u64) {
        self.0.saturating_record((span_ns / 1_000).max(1));
    }

    /// All of another's.
    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("the same bounds");
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The span that so many of a hundred do not exceed, in milliseconds.
    #[must_use]
    pub fn percentile_ms(&self, percent: f64) -> f64 {
        self.0.value_at_percentile(percent) as f64 / 1_000.0
    }

    /// The longest, in milliseconds.
    #[must_use]
    pub fn max_ms(&self) -> f64 {
        self.0.max() as f64 / 1_000.0
    }

    fn clear(&mut self) {
        self.0.reset();
    }
}

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Numbers of things that happened.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
        pub struct Counts { $($(#[$doc])* pub $name: u64,)* }

        impl Counts {
            /// All of another's.
            pub fn merge(&mut self, other: &Self) { $(self.$name += other.$name;)* }
        }
    };
}

counts! {
    /// Messages written to a socket.
    sent,
    /// Messages acknowledged as committed.
    acknowledged,
    /// Messages refused.
    refused,
    /// Deliveries of the script's messages, each socket's each message once.
    delivered,
    /// Deliveries of what the socket had before.
    duplicates,
    /// Deliveries that came after a later one.
    late,
    /// Entries between two that came one after the other; those that come after all are late.
    skipped,
    /// Entries at another place than on another socket.
    diverged,
    /// Entries that are not what was sealed.
    mangled,
    /// Entries of nobody's script.
    strays,
    /// Entries from before the script.
    backlog,
    /// Sockets that were opened and follow their room.
    opened,
    /// Sockets that could not be opened.
    unopened,
    /// Sockets that the server closed.
    closed,
    /// Bytes read.
    bytes,
    /// Calls that read them.
    reads,
    /// Rests of a receiving thread that had to wait for a core.
    rests,
}

impl Counts {
    /// What must never happen. (What is missing is found by comparing deliveries with the log.)
    #[must_use]
    pub const fn wrongs(&self) -> u64 {
        self.duplicates + self.late + self.diverged + self.mangled + self.strays
    }
}

/// What happened between two looks.
#[derive(Debug, Clone, Default)]
pub struct Window {
    /// How often.
    pub counts: Counts,
    /// From the intended time of sending to delivery, by group of sockets.
    pub latency: [Spans; GROUPS],
    /// From the intended time of sending to the acknowledgement.
    pub acknowledging: Spans,
    /// From the intended time of sending to the write.
    pub sending: Spans,
    /// From the arrival of what one call read to the call.
    pub reading: Spans,
    /// From the start of opening to the socket following its room.
    pub opening: Spans,
}

impl Window {
    /// All of another's.
    pub fn merge(&mut self, other: &Self) {
        self.counts.merge(&other.counts);
        for (mine, theirs) in self.spans_mut().into_iter().zip(other.spans()) {
            mine.merge(theirs);
        }
    }

    /// Begins anew.
    pub fn clear(&mut self) {
        self.counts = Counts::default();
        self.spans_mut().into_iter().for_each(Spans::clear);
    }

    /// Latencies of all groups.
    #[must_use]
    pub fn latency_of_all(&self) -> Spans {
        let mut all = Spans::default();
        self.latency.iter().for_each(|spans| all.merge(spans));
        all
    }

    fn spans(&self) -> [&Spans; GROUPS + 4] {
        let [first, second] = &self.latency;
        [first, second, &self.acknowledging, &self.sending, &self.reading, &self.opening]
    }

    fn spans_mut(&mut self) -> [&mut Spans; GROUPS + 4] {
        let [first, second] = &mut self.latency;
        [first, second, &mut self.acknowledging, &mut self.sending, &mut self.reading, &mut self.opening]
    }
}

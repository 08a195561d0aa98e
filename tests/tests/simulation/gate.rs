//! What lies between one node and the store: nothing much, or a slow, flaky or absent database, or death.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use snug_gateway::room::FILL_BYTES_MAX;
use snug_protocol::limits::HISTORY_PAGE_MAX;
use snug_protocol::{RoomId, Seq};
use snug_store::{Gate, LogRead, Passage};
use tokio::time::{Instant, sleep, sleep_until};

use crate::dice::Dice;
use crate::journal::{Journal, Promise};

/// How the database does, as one node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    Fine,
    /// It answers late.
    Slow,
    /// One call in four fails, half of them after they have been done.
    Flaky,
    /// It answers nothing.
    Away,
    /// The node is no more: what it waits for never comes.
    Dead,
}

struct State {
    weather: Weather,
    /// Appends get through in their order: when the last one does.
    last_append: Instant,
    /// The gaps that were read from the store: which room, from where.
    filled: BTreeSet<(RoomId, Seq)>,
}

pub struct NodeGate {
    pub node: String,
    /// The planted bug: what is asked by the head check gets no answer.
    pub no_head_check: bool,
    state: Mutex<State>,
    dice: Dice,
    journal: Arc<Journal>,
}

impl NodeGate {
    pub fn new(node: String, seed: u64, no_head_check: bool, journal: Arc<Journal>) -> Arc<Self> {
        let dice = Dice::of(seed, &node);
        let state = State { weather: Weather::Fine, last_append: Instant::now(), filled: BTreeSet::new() };
        Arc::new(Self { node, no_head_check, state: Mutex::new(state), dice, journal })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn weather(&self) -> Weather {
        self.state().weather
    }

    /// There is no way back from death.
    pub fn set(&self, weather: Weather) {
        let mut state = self.state();
        if state.weather != Weather::Dead {
            state.weather = weather;
        }
    }

    /// The log has gone back: gaps may be read that were read before.
    pub fn forget_reads(&self) {
        self.state().filled.clear();
    }

    fn delay(&self, weather: Weather) -> Duration {
        match weather {
            Weather::Fine => self.dice.ms(0, 4),
            Weather::Slow => self.dice.ms(50, 1500),
            Weather::Flaky => self.dice.ms(0, 100),
            Weather::Away | Weather::Dead => self.dice.ms(200, 1000),
        }
    }
}

fn after(delay: Duration, through: bool) -> Passage {
    Box::pin(async move {
        if !delay.is_zero() {
            sleep(delay).await;
        }
        through
    })
}

impl Gate for NodeGate {
    fn arrive(&self, call: &'static str) -> Passage {
        let weather = self.weather();
        let delay = self.delay(weather);
        let through = match weather {
            Weather::Fine | Weather::Slow => true,
            Weather::Flaky => !self.dice.one_in(8),
            Weather::Away => false,
            Weather::Dead => return Box::pin(std::future::pending()),
        };
        if call == "heads" && self.no_head_check {
            return after(delay, false);
        }
        if call != "append" {
            return after(delay, through);
        }
        let mut state = self.state();
        let at = (Instant::now() + delay).max(state.last_append + Duration::from_millis(1));
        state.last_append = at;
        Box::pin(async move {
            sleep_until(at).await;
            through
        })
    }

    fn leave(&self, _call: &'static str) -> Passage {
        match self.weather() {
            Weather::Dead => Box::pin(std::future::pending()),
            Weather::Flaky if self.dice.one_in(8) => after(self.dice.ms(1, 1000), false),
            Weather::Away => after(self.dice.ms(200, 1000), false),
            weather => after(self.delay(weather) / 4, true),
        }
    }

    fn reads(&self, read: LogRead) {
        // Sessions read fewer bytes, and a room's beginning fewer entries; the last known entry is read with the gap; a read that may fail
        // is done again.
        let fills = read.limit == HISTORY_PAGE_MAX && read.bytes_max == FILL_BYTES_MAX && read.found > 1;
        let mut state = self.state();
        if !fills || !matches!(state.weather, Weather::Fine | Weather::Slow) {
            return;
        }
        self.journal.tally("gap filled");
        if !state.filled.insert((read.room, read.after)) {
            drop(state);
            let (node, seq) = (&self.node, read.after.next());
            self.journal.violation(Promise::OneRead, format_args!("{node} has read the gap at {seq} twice"));
        }
    }
}

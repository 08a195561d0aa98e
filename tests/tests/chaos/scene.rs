//! Where it happens: the cluster, the load on it, what runs beside, and what has been measured.

use std::time::Duration;

use snug_tests::fleet::Fleet;
use snug_tests::history::Breach;
use snug_tests::history::figures::{Spans, delays, resumed};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::STRIKE_LIMIT;
use super::faults::{Fault, Strike};
use super::load::{Load, Story};
use super::quiet::Quiet;

/// A member who loses its connection within this after a node's death has lost it by that.
const SOON: Duration = Duration::from_secs(1);
/// How long what runs beside the other faults may take.
const BESIDE_LIMIT: Duration = Duration::from_secs(90);

/// How long things took.
#[derive(Default)]
pub struct Figures {
    /// From a node's death to a member's next message by another node.
    pub resume: Spans,
    /// From an acknowledgement to another member's sight of it, while Redis was away.
    pub without_redis: Spans,
    /// The same while Redis stood still.
    pub redis_paused: Spans,
    /// From a message whose hint was lost, and that nothing followed, to its reader on that node.
    pub last_hint_lost: Spans,
    /// From a node's death until those who did not come back were seen to be gone.
    pub presence: Spans,
    /// From a removal to the end of the removed one's following.
    pub removal: Spans,
    /// The same while Redis was away.
    pub removal_without_redis: Spans,
    /// From the cut to the last client's return.
    pub storm: Spans,
    /// Hints stolen, and reads of the store to fill the gaps that they left.
    pub stolen_and_filled: (u64, usize),
}

/// All of it.
pub struct Scene {
    pub fleet: Fleet,
    pub load: Load,
    pub figures: Figures,
    pub strikes: Vec<Strike>,
    pub breaches: Vec<Breach>,
    /// Strikes that take long.
    pub beside: JoinSet<Strike>,
    /// Those who wait until the dead are seen to be gone.
    pub presence: JoinSet<Duration>,
    /// The node on which what runs beside depends, as long as it does.
    pub spared: Option<usize>,
    /// A span of time of which the delays in all rooms are wanted at the end.
    redis_away: Vec<(Instant, Instant)>,
    redis_paused: Vec<(Instant, Instant)>,
    deaths: Vec<Instant>,
}

/// What is left of it when the load has ended.
pub struct Ended {
    pub fleet: Fleet,
    pub figures: Figures,
    pub strikes: Vec<Strike>,
}

impl Scene {
    pub fn new(fleet: Fleet, load: Load) -> Self {
        Self {
            fleet,
            load,
            figures: Figures::default(),
            strikes: Vec::new(),
            breaches: Vec::new(),
            beside: JoinSet::new(),
            presence: JoinSet::new(),
            spared: None,
            redis_away: Vec::new(),
            redis_paused: Vec::new(),
            deaths: Vec::new(),
        }
    }

    /// Does its worst, and waits until everyone is at the head again.
    pub async fn strike(&mut self, fault: Fault) {
        let began = Instant::now();
        let struck = timeout(STRIKE_LIMIT, self.do_worst(fault)).await;
        let Some(strike) = struck.unwrap_or_else(|_| panic!("{fault} had no end within {STRIKE_LIMIT:?}")) else {
            return;
        };
        println!("{:5.1} s  {fault}: {}", began.elapsed().as_secs_f64(), strike.proof);
        self.strikes.push(strike);
    }

    /// `None`: it goes on beside the others.
    async fn do_worst(&mut self, fault: Fault) -> Option<Strike> {
        Some(match fault {
            Fault::NodeKilled => self.node_killed().await,
            Fault::NodesRestarted => self.nodes_restarted().await,
            Fault::RedisAway => self.redis_away().await,
            Fault::RedisRestarted => self.redis_restarted().await,
            Fault::RedisPaused => self.redis_paused().await,
            Fault::RedisFlushed => self.redis_flushed().await,
            Fault::HintsLost => self.hints_lost().await,
            Fault::NodeDeaf => self.node_deaf().await,
            Fault::PostgresRestarted => self.postgres_restarted().await,
            Fault::PostgresPaused => self.postgres_paused().await,
            Fault::CommitCut => self.commit_cut().await,
            Fault::SentThrice => self.sent_thrice().await,
            Fault::Storm => self.storm().await,
            Fault::SlowReader => {
                self.slow_reader().await;
                return None;
            }
            Fault::HalfOpen => {
                self.half_open().await;
                return None;
            }
        })
    }

    /// Waits until everyone is at the head, counted from `healed`, and makes the strike out of it.
    pub async fn healed(&mut self, fault: Fault, healed: Instant, proof: String) -> Strike {
        let (at_head, late) = self.load.at_head(healed).await;
        self.breaches.extend(late.into_iter().map(|breach| match breach {
            Breach::Late(what) => Breach::Late(format!("after {fault}: {what}")),
            other => other,
        }));
        Strike { fault, proof, at_head: Some(at_head) }
    }

    /// A node died at this moment.
    pub fn note_death(&mut self, died: Instant) {
        self.deaths.push(died);
    }

    /// Redis was away, or paused, in between.
    pub fn note_redis(&mut self, fault: Fault, from: Instant, to: Instant) {
        if fault == Fault::RedisAway { &mut self.redis_away } else { &mut self.redis_paused }.push((from, to));
    }

    /// Waits for what runs beside.
    pub async fn join_beside(&mut self) {
        for strike in joined(&mut self.beside).await {
            println!("  beside  {}: {}", strike.fault, strike.proof);
            self.strikes.push(strike);
        }
        self.spared = None;
    }

    /// Waits until the dead are seen to be gone.
    pub async fn join_presence(&mut self) {
        self.figures.presence.extend(joined(&mut self.presence).await);
    }

    /// Somebody at one node is removed by somebody at another.
    pub async fn removal(&mut self) {
        for (by, gone) in [(0, 1), (1, 2), (2, 0)] {
            let quiet = Quiet::start(&self.fleet, &format!("Removal {by}"), by, gone).await;
            let silent = quiet.remove().await;
            self.figures.removal.push(silent);
        }
    }

    /// Ends the load.
    pub async fn finish_load(self) -> (Ended, Vec<Story>) {
        let Self { fleet, load, figures, strikes, .. } = self;
        (Ended { fleet, figures, strikes }, load.finish().await)
    }

    /// What the members' histories tell about the times that were noted.
    pub fn measure(&mut self) {
        for room in &self.load.rooms {
            let histories: Vec<_> = room.members.iter().map(|member| member.history()).collect();
            for died in &self.deaths {
                self.figures.resume.extend(histories.iter().filter_map(|history| resumed(history, *died, SOON)));
            }
            for (from, to) in &self.redis_away {
                self.figures.without_redis.append(delays(&histories, *from, *to));
            }
            for (from, to) in &self.redis_paused {
                self.figures.redis_paused.append(delays(&histories, *from, *to));
            }
        }
    }
}

async fn joined<T: 'static>(tasks: &mut JoinSet<T>) -> Vec<T> {
    let tasks = std::mem::take(tasks);
    timeout(BESIDE_LIMIT, tasks.join_all()).await.expect("what runs beside ends")
}

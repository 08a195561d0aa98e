//! What the nemesis can do, and in which order.

use std::fmt;
use std::time::Duration;

/// One way to hurt the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// kill -9 of the node with the most connections; it comes back.
    NodeKilled,
    /// SIGTERM and a new start of one node after the other.
    NodesRestarted,
    /// Redis is away for longer than the head check's period.
    RedisAway,
    /// Redis is killed and comes back at once.
    RedisRestarted,
    /// Redis stands still.
    RedisPaused,
    /// Redis forgets everything.
    RedisFlushed,
    /// News are lost on their way to one node, the last ones of a room too; nothing else is wrong.
    HintsLost,
    /// One node hears nothing from Redis over connections that look healthy.
    NodeDeaf,
    /// Postgres is stopped and started.
    PostgresRestarted,
    /// Postgres stands still.
    PostgresPaused,
    /// The connection to Postgres is cut before a commit, and after one before the node learns of it.
    CommitCut,
    /// One envelope is sent through three nodes at once.
    SentThrice,
    /// Somebody reads nothing while a lot is said.
    SlowReader,
    /// A client's machine is gone without a word.
    HalfOpen,
    /// Everyone loses the connection and comes back at once.
    Storm,
}

impl Fault {
    /// All of them once, in an order that lets those that take long run beside the others.
    pub const ALL: [Self; 15] = [
        Self::NodesRestarted,
        Self::HalfOpen,
        Self::SlowReader,
        Self::NodeKilled,
        Self::PostgresRestarted,
        Self::PostgresPaused,
        Self::CommitCut,
        Self::SentThrice,
        Self::HintsLost,
        Self::NodeDeaf,
        Self::RedisFlushed,
        Self::RedisRestarted,
        Self::RedisPaused,
        Self::RedisAway,
        Self::Storm,
    ];

    /// Those that come again and again in a long run.
    pub const AGAIN: [Self; 12] = [
        Self::NodeKilled,
        Self::NodesRestarted,
        Self::RedisAway,
        Self::RedisRestarted,
        Self::RedisPaused,
        Self::RedisFlushed,
        Self::HintsLost,
        Self::NodeDeaf,
        Self::PostgresRestarted,
        Self::PostgresPaused,
        Self::CommitCut,
        Self::SentThrice,
    ];
}

impl Fault {
    /// Whether Redis, or the way to it, is hurt for long enough to be noticed.
    pub const fn is_about_redis(self) -> bool {
        matches!(self, Self::RedisAway | Self::RedisRestarted | Self::RedisPaused | Self::RedisFlushed | Self::NodeDeaf)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NodeKilled => "node killed (-9)",
            Self::NodesRestarted => "nodes restarted in turn (SIGTERM)",
            Self::RedisAway => "Redis away",
            Self::RedisRestarted => "Redis restarted",
            Self::RedisPaused => "Redis paused",
            Self::RedisFlushed => "Redis flushed",
            Self::HintsLost => "hints lost, the last one too",
            Self::NodeDeaf => "node deaf on healthy connections",
            Self::PostgresRestarted => "Postgres restarted",
            Self::PostgresPaused => "Postgres paused",
            Self::CommitCut => "connection cut during COMMIT",
            Self::SentThrice => "one envelope through three nodes at once",
            Self::SlowReader => "slow reader",
            Self::HalfOpen => "half-open client",
            Self::Storm => "reconnect storm",
        })
    }
}

/// Those of which the name contains what `SNUG_CHAOS_ONLY` says, or all.
pub fn chosen(faults: &[Fault]) -> Vec<Fault> {
    let only = std::env::var("SNUG_CHAOS_ONLY").unwrap_or_default();
    faults.iter().copied().filter(|fault| fault.to_string().contains(&only)).collect()
}

/// What was done, and how it went.
pub struct Strike {
    pub fault: Fault,
    /// What shows that it took place.
    pub proof: String,
    /// How long after healing everyone was at the head; absent where nothing had to heal.
    pub at_head: Option<Duration>,
}

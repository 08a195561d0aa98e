//! What sessions are counted by.

use snug_metrics::{Counter, Counters, Decisions};
use snug_protocol::frame::{Resync, close};

snug_metrics::label! {
    /// Why a socket was closed.
    pub enum Closed("reason") {
        /// The client went, or the connection broke.
        Gone = "gone",
        /// The node is stopping, or the log was replaced: come again.
        Restart = "restart",
        /// Said or took nothing for too long.
        TimedOut = "timed_out",
        /// Its token has ended.
        Token = "token",
        /// It broke the protocol.
        Protocol = "protocol",
        /// Its frame was too large.
        TooLarge = "too_large",
    }
}

impl Closed {
    /// The reason that a close code stands for.
    pub(super) const fn by(code: u16) -> Self {
        match code {
            close::RESTART => Self::Restart,
            close::TIMED_OUT => Self::TimedOut,
            close::TOKEN => Self::Token,
            close::PROTOCOL => Self::Protocol,
            close::TOO_LARGE => Self::TooLarge,
            _ => Self::Gone,
        }
    }
}

snug_metrics::label! {
    /// How it went when a client came back with a cursor.
    pub enum Resumed("outcome") {
        /// It was sent what it had missed.
        Continued = "continued",
        /// It had missed too much, and was sent the latest page.
        Skipped = "skipped",
        /// Its cursor is of another life of the log.
        OtherHistory = "other_history",
        /// Another entry is at its cursor's place.
        OtherHash = "other_hash",
        /// The log does not reach its cursor.
        BeyondHead = "beyond_head",
    }
}

impl From<Resync> for Resumed {
    fn from(resync: Resync) -> Self {
        match resync {
            Resync::OtherHistory => Self::OtherHistory,
            Resync::OtherHash => Self::OtherHash,
            Resync::BeyondHead => Self::BeyondHead,
        }
    }
}

/// What all sessions of a node have done.
#[derive(Debug)]
pub struct SessionCounters {
    /// Sockets let in and not.
    pub admissions: Decisions,
    /// Sessions that began.
    pub opened: Counter,
    /// Sessions that ended.
    pub closed: Counters<Closed>,
    /// Told to go to another node.
    pub told_to_move: Counter,
    /// Control frames let through, and those that came too fast.
    pub controls: Decisions,
    /// Rooms that were followed.
    pub follows: Counter,
    /// Those with a cursor.
    pub resumes: Counters<Resumed>,
}

impl Default for SessionCounters {
    fn default() -> Self {
        Self {
            admissions: Decisions::default(),
            opened: Counter::new(),
            closed: Counters::default(),
            told_to_move: Counter::new(),
            controls: Decisions::default(),
            follows: Counter::new(),
            resumes: Counters::default(),
        }
    }
}

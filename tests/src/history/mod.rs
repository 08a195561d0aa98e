//! What clients lived through, and the one checker over it: the promise of delivery as a function.
//!
//! A [`Recorder`] is one member of one room: what it sent, what it was told, what it saw, and when. [`check`] compares the histories of all
//! members of a room with what is stored, as a newcomer reads it; [`ledger`] looks at the same log in the database's own rows. Both
//! return every breach they find. What is absent: anything about how the servers were hurt meanwhile.

mod check;
pub mod figures;
pub mod ledger;
mod record;
#[cfg(test)]
mod tests;

use std::fmt;

use tokio::time::Instant;

pub use check::{assert_sound, check};
pub use record::{Pace, Recorder, read_all};

/// A message as it stands in the log: its place and its text. Texts are unique in a room.
pub type Stored = (u64, String);

/// One member's history in one room.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Who.
    pub member: String,
    /// It was there from here on and to the end, so it must have seen every message after this place. `None`: it came and went.
    pub since: Option<u64>,
    /// What it sent, in the order of its calls.
    pub sent: Vec<Attempt>,
    /// What it saw, in the order of arrival.
    pub seen: Vec<Seen>,
    /// What it was told besides.
    pub incidents: Vec<Incident>,
}

/// A message that a member sent.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// What it said.
    pub text: String,
    /// When it was handed to the client.
    pub at: Instant,
    /// Where and when it was acknowledged. `None`: it may be stored or not.
    pub answer: Option<Answer>,
}

/// An acknowledgement.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// The message's place.
    pub seq: u64,
    /// When it was heard.
    pub at: Instant,
}

/// A message that a member saw.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its place.
    pub seq: u64,
    /// What it said.
    pub text: String,
    /// When it came.
    pub at: Instant,
}

/// What a member was told besides messages.
#[derive(Clone, Debug)]
pub struct Incident {
    /// When.
    pub at: Instant,
    /// What.
    pub what: What,
}

/// The kinds of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The connection was lost.
    Lost,
    /// It came back.
    Restored,
    /// Something that must never happen to a member who stayed: a violation, a hole, an unreadable entry, a lost log, a closed room.
    Wrong(String),
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Breach {
    /// An acknowledged message is not where it was acknowledged.
    Lost(String),
    /// A message is stored at two places.
    StoredTwice(String),
    /// Something is stored that nobody sent.
    Phantom(String),
    /// Somebody saw what is not stored there.
    SawOther(String),
    /// Somebody saw a message twice, or after a later one.
    SawAgain(String),
    /// Somebody who was there missed a message.
    Missed(String),
    /// The messages of a sender are not in the order in which they were sent.
    OutOfOrder(String),
    /// A member was told what must not happen.
    Incident(String),
    /// Somebody was not at the head in time.
    Late(String),
    /// The rows of the log contradict each other.
    Rows(String),
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(what) => write!(f, "an acknowledged message is not where it was acknowledged: {what}"),
            Self::StoredTwice(what) => write!(f, "a message is stored twice: {what}"),
            Self::Phantom(what) => write!(f, "something is stored that nobody sent: {what}"),
            Self::SawOther(what) => write!(f, "someone saw what is not stored: {what}"),
            Self::SawAgain(what) => write!(f, "someone saw a message twice or out of order: {what}"),
            Self::Missed(what) => write!(f, "someone missed a message: {what}"),
            Self::OutOfOrder(what) => write!(f, "a sender's order was not kept: {what}"),
            Self::Incident(what) => write!(f, "someone was told what must not happen: {what}"),
            Self::Late(what) => write!(f, "someone was not at the head in time: {what}"),
            Self::Rows(what) => write!(f, "the rows of the log contradict each other: {what}"),
        }
    }
}

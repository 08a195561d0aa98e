//! The words in which Postgres differs. Macros, so that a statement's text is one constant.

use std::time::Duration;

/// The database's clock at the start of the statement, Unix milliseconds. Not the transaction's: that may have waited for a lock since.
macro_rules! now_ms {
    () => {
        "floor(extract(epoch from statement_timestamp()) * 1000)::bigint"
    };
}

/// Names the index that a table is to be read by; Postgres finds it.
macro_rules! indexed_by {
    ($index:literal) => {
        ""
    };
}

/// Begins an insert after whose failure the transaction must be rolled back.
macro_rules! insert_or_fail {
    () => {
        "insert"
    };
}

/// Leaves out rows that another transaction is writing to.
macro_rules! skip_locked {
    () => {
        " for update skip locked"
    };
}

/// What follows a place in a log, `$3` entries at most, up to the one that goes beyond `$4` bytes. The server sends all rows that it finds,
/// whether or not anybody wants them; their lengths it knows without reading them.
macro_rules! entries_after {
    () => {
        "select seq, at_ms, hash, envelope from (
             select seq, at_ms, hash, envelope, sum(length(envelope)) over (order by seq) - length(envelope) as before
             from (select seq, at_ms, hash, envelope from entry where room = $1 and seq > $2 order by seq limit $3) as next
         ) as sized where before < $4 order by seq"
    };
}

/// How long a caller waits for an answer of the database.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(15);
/// How long one transaction may take, as seen from here: a server that is paused or cut off says nothing at all.
pub(super) const ATTEMPT_LIMIT: Option<Duration> = Some(Duration::from_secs(10));
/// Begins a transaction that writes. Each statement of it sees what was committed before that statement began.
pub(super) const BEGIN: &str = "begin isolation level read committed read write";
/// Whether it keeps all others from writing.
pub(super) const BEGIN_LOCKS_ALL: bool = false;
/// Whether other nodes may have the database open.
pub(super) const IS_SHARED: bool = true;

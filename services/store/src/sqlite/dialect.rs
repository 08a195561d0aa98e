//! The words in which SQLite differs. Macros, so that a statement's text is one constant.

use std::time::Duration;

/// The database's clock, Unix milliseconds.
macro_rules! now_ms {
    () => {
        "cast(unixepoch('subsec') * 1000 as integer)"
    };
}

/// Names the index that a table is to be read by: without statistics SQLite prefers the primary key.
macro_rules! indexed_by {
    ($index:literal) => {
        concat!(" indexed by ", $index)
    };
}

/// Begins an insert after whose failure the transaction must be rolled back, which SQLite's own errors end by themselves: rows before the one
/// that violates a constraint stand until then, and so SQLite need not note how each page was before the statement.
macro_rules! insert_or_fail {
    () => {
        "insert or fail"
    };
}

/// Leaves out rows that another transaction is writing to; here there is none.
macro_rules! skip_locked {
    () => {
        ""
    };
}

/// What follows a place in a log, `$3` entries at most; a reader that has enough, `$4` bytes, stops asking for rows.
macro_rules! entries_after {
    () => {
        "select seq, at_ms, hash, envelope from entry where room = $1 and seq > $2 order by seq limit min($3, $4)"
    };
}

/// How long a caller waits for an answer of the database.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// How long one transaction may take: a local disk has no silence to be cut short.
pub(super) const ATTEMPT_LIMIT: Option<Duration> = None;
/// Begins a transaction that writes.
pub(super) const BEGIN: &str = "begin immediate";
/// Whether it keeps all others from writing.
pub(super) const BEGIN_LOCKS_ALL: bool = true;
/// Whether other nodes may have the database open.
pub(super) const IS_SHARED: bool = false;

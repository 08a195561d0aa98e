//! What every backend promises, each promise a function that runs over each of them; and what SQLite promises besides.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod appending;
mod fixture;
mod invites;
mod members;
mod model;
mod paging;
mod rooms;
mod sqlite_only;
mod tokens;

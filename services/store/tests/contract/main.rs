//! What every backend promises, each promise a function that runs over each of them; and what SQLite promises besides.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod administering;
mod appending;
mod changing;
mod epochs;
mod fixture;
mod invites;
mod members;
mod model;
mod moves;
mod paging;
mod rooms;
mod server;
mod sqlite_only;
mod tokens;

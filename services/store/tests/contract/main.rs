//! What every backend promises, each promise a function that runs over each of them; and what SQLite and Postgres promise besides.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod administering;
mod aging;
mod appending;
mod changing;
mod epochs;
mod expand_only;
mod fixture;
mod gathering;
mod invites;
mod members;
mod model;
mod moves;
mod moving_house;
mod operating;
mod paging;
mod postgres_only;
mod proxy;
mod recent;
mod rooms;
mod server;
mod sqlite_only;
mod tokens;

//! What an operator does from the command line, one file a noun. What is decided is decided in the libraries; here it is told.

pub mod backup;
pub mod check;
pub mod completions;
pub mod migrate_store;
pub mod pepper;
pub mod rooms;
pub mod sessions;
pub mod settings;
mod shown;

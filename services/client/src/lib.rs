//! The Rust SDK of Snug.

pub mod crypto;
mod error;
pub mod log;
pub mod text;

pub use error::{ClientError, Field};

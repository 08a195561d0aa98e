//! The Rust SDK of Snug.

pub mod crypto;
mod error;
pub mod text;

pub use error::{ClientError, Field};

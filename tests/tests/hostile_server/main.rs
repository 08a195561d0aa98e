//! A hostile server: whatever it changes, withholds, repeats or invents, the SDK refuses it or flags it, and never shows it as a message.
//!
//! The victim speaks through a proxy that lies; Ana speaks to the node itself.

mod authority;
mod exclusion;
mod joining;
mod keys;
mod log;
mod messages;
mod misplaced;
mod own;
mod pages;
mod removal;
mod withheld;

//! What an operator does beside nodes that run: looking, backing up, putting back, signing out, erasing. With the real program.

mod backup;
mod checking;
mod commands;
mod listing;
mod postgres;
mod settings;

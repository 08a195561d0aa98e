//! A room's life through the SDK: what is said about messages, what admins do, who is removed and what they can still read, and what is
//! left of it when all goes wrong at the worst moment.

mod absent;
mod bad_record;
mod cast;
mod crowd;
mod dump;
mod history_cut;
mod interrupted;
mod many;
mod racing;
mod recovery;
mod removal;
mod renewal;
mod said;
mod steps;
mod storm;
mod thief;

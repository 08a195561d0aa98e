//! What the bus, the roster and the shared limits promise, over every backend; and what Redis may do to its users meanwhile.
//!
//! The cases in `bus`, `roster` and `limits` take their Redis from [`fixture::redis_server`]. Those in `faults`, `refusals` and `cluster`
//! start their own.

mod bus;
mod cluster;
mod faults;
mod fixture;
mod limits;
mod proxy;
mod refusals;
mod roster;
mod server;

//! Ports that servers keep across restarts.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below what systems give to outgoing connections (from 32768 on Linux): else a client that knocks while its server is down could
/// take the server's port, or connect to itself.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// A port of loopback that nobody listens on and that no outgoing connection will take. Each call of this process gives another one.
///
/// # Panics
/// When all of them are taken.
#[must_use]
pub fn free_port() -> u16 {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    // Processes begin far apart, so that they hardly meet.
    let begin = std::process::id().wrapping_mul(7_919) % u32::from(COUNT);
    for _ in 0..COUNT {
        let next = begin + u32::from(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = FIRST + u16::try_from(next % u32::from(COUNT)).expect("less than COUNT");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("all ports of {FIRST}..{} are taken", FIRST + COUNT);
}

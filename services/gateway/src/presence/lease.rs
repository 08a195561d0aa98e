//! This node's lease on its entries in the roster, and the burial of nodes that have let theirs end.

use std::sync::atomic::Ordering;
use std::time::Duration;

use snug_bus::{BusEvent, LEASE_RENEWED_EVERY, Listener};
use snug_protocol::RoomId;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::{CALL_LIMIT, Presence, lock};

/// From the first doubt about who is in a room until those who follow it are told how things stand: by then every node has noticed, and
/// has written its entries again.
const STAND_AFTER: Duration = LEASE_RENEWED_EVERY.saturating_add(Duration::from_secs(2));
/// Rooms that are told in one go, between which the lease is looked after.
const STANDS_MAX: usize = 200;

pub(super) async fn run(presence: Presence, stop: CancellationToken) {
    let mut lease = Lease { presence, held: false, lost: false };
    let mut next = Instant::now();
    let mut stand_at: Option<Instant> = None;
    loop {
        if stand_at.is_none() && !lock(&lease.presence.shared.unsure).is_empty() {
            stand_at = Some(Instant::now() + STAND_AFTER);
        }
        let due = stand_at.map_or(next, |at| at.min(next));
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep_until(due) => {}
            () = lease.presence.shared.doubted.notified() => continue,
        }
        let now = Instant::now();
        if next <= now {
            lease.tick().await;
            lease.presence.shared.begun.cancel();
            next = now + LEASE_RENEWED_EVERY;
        }
        if stand_at.is_some_and(|at| at <= now) {
            stand_at = match lease.presence.tell_stands().await {
                Stands::Told => None,
                Stands::More => Some(now),
                Stands::Away => Some(now + LEASE_RENEWED_EVERY),
            };
        }
    }
}

struct Lease {
    presence: Presence,
    /// There was one once: if it is missing now, the roster may have forgotten us.
    held: bool,
    /// It was missing, and not all has been written again: also when a later renewal finds the one that the first began.
    lost: bool,
}

impl Lease {
    /// Renews the lease, writes everything again if it was gone, and tells of those who are gone because their node is.
    async fn tick(&mut self) {
        let shared = &self.presence.shared;
        let Ok(Ok(was_there)) = timeout(CALL_LIMIT, shared.roster.renew(shared.node)).await else {
            return self.presence.went_away();
        };
        self.lost |= self.held && (!was_there || lock(&shared.pending).has_overflowed());
        if self.lost {
            // Whatever is left of this node's entries goes first, so that nobody stays who has left meanwhile.
            let resigned = timeout(CALL_LIMIT, shared.roster.resign(shared.node)).await;
            let Ok(Ok(departures)) = resigned else { return self.presence.went_away() };
            let Ok(Ok(_)) = timeout(CALL_LIMIT, shared.roster.renew(shared.node)).await else {
                return self.presence.went_away();
            };
            tracing::warn!("the roster had lost this node's entries; writing them again");
            self.presence.doubt(departures.into_iter().map(|departure| departure.room));
            let here: Vec<_> = self.presence.table().keys().collect();
            let rooms = lock(&shared.pending).restart(here.into_iter());
            self.presence.doubt(rooms);
            self.lost = false;
        }
        self.held = true;
        if shared.away.swap(false, Ordering::AcqRel) {
            lock(&shared.pending).resume();
        }
        shared.bell.notify_one();
        match timeout(CALL_LIMIT, shared.roster.bury()).await {
            Ok(Ok(departures)) => self.presence.tell_departures(departures).await,
            Ok(Err(_)) | Err(_) => self.presence.went_away(),
        }
        self.presence.doubt(shared.roster.take_unsure());
    }
}

impl Listener for Presence {
    fn hear(&self, event: &BusEvent) {
        if let BusEvent::Missed { room } = event {
            self.missed(*room);
        }
    }
}

impl Presence {
    /// Events of this room, or of any, have not arrived.
    fn missed(&self, room: Option<RoomId>) {
        let table = self.table();
        match room {
            Some(room) => self.doubt(table.has(room).then_some(room)),
            None => self.doubt(table.rooms()),
        }
    }

    /// Tells some of the rooms that are in doubt how they stand.
    async fn tell_stands(&self) -> Stands {
        let rooms: Vec<RoomId> = lock(&self.shared.unsure).iter().take(STANDS_MAX).copied().collect();
        for room in rooms {
            if self.is_away() {
                return Stands::Away;
            }
            lock(&self.shared.unsure).remove(&room);
            self.tell_stand(room).await;
        }
        if lock(&self.shared.unsure).is_empty() { Stands::Told } else { Stands::More }
    }
}

enum Stands {
    Told,
    More,
    Away,
}

//! The roster in Redis.
//!
//! A node's entries are written under a *term*: the node's id and a number. A term has a lease; when the lease is found to be missing,
//! the term is over for good, the node begins the next one and writes its entries again, and what the old term has left is buried in
//! peace. So removing the entries of a node that was only thought dead never meets its new ones.
//!
//! After Redis was away nobody is buried for the length of a lease, in which everyone who lives can renew.
//!
//! Whatever has entries can be found: a term's rooms are noted before the room has the entry, and a term without a lease has a grave.
//! Every key expires some time after nobody renews it.

mod scripts;
mod terms;

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fred::types::{FromValue, Value};
use futures_util::future::{join_all, try_join, try_join_all};
use snug_protocol::{DeviceId, RoomId};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::link::Link;
use super::script::Script;
use crate::{BusError, Departure, NodeId, Roster, Stand};
use terms::{Term, Terms};

/// How long keys outlive their last renewal.
const LIFE: Duration = Duration::from_secs(3_600);
/// How often a room's life is renewed while a device stays in it.
const ROOMS_RENEWED_EVERY: Duration = Duration::from_secs(600);
/// How long a burial may stand still before another node takes it over.
const CLAIM: Duration = Duration::from_secs(10);
/// Terms that one call buries, at most, and how long it goes on before it tells of those that it has found: an answer that came too late
/// would be lost, and with it those whom nobody else will find again.
const TERMS_CLAIMED_MAX: usize = 8;
const BURIAL_LIMIT: Duration = Duration::from_secs(1);
/// Rooms at a time, in a burial or a renewal.
const ROOMS_AT_ONCE: usize = 64;
/// Changes of one room wait for each other; of different rooms sometimes.
const LOCKS: usize = 64;

pub(super) struct RedisRoster {
    link: Arc<Link>,
    lease: Duration,
    terms: Terms,
    steadiness: std::sync::Mutex<Steadiness>,
    /// Rooms of which a burial has not been told, or not to the end.
    unsure: std::sync::Mutex<HashSet<RoomId>>,
    /// A room's note must not be removed by a departure while an arrival relies on it.
    locks: [Mutex<()>; LOCKS],
}

/// What a burial has found so far.
#[derive(Default)]
struct Found {
    departures: Vec<Departure>,
    /// Rooms whose departures are all among these, and of which nothing was lost before.
    sure: HashSet<RoomId>,
}

/// Whether Redis has done what the roster asked.
#[derive(Clone, Copy, Debug, Default)]
enum Steadiness {
    /// As far as this process remembers.
    #[default]
    Always,
    /// Not the last time.
    Fails,
    /// Again, from this time on.
    Since(Instant),
}

impl Steadiness {
    fn note(&mut self, worked: bool) {
        *self = match *self {
            _ if !worked => Self::Fails,
            Self::Fails => Self::Since(Instant::now()),
            other => other,
        };
    }
}

fn ms(duration: Duration) -> Bytes {
    Bytes::from(duration.as_millis().to_string())
}

fn device(device: DeviceId) -> Bytes {
    Bytes::copy_from_slice(device.as_bytes())
}

fn room_bytes(room: RoomId) -> Bytes {
    Bytes::copy_from_slice(room.as_bytes())
}

fn id(value: &Value) -> Option<[u8; 16]> {
    value.as_bytes()?.try_into().ok()
}

/// An answer that begins with a number and goes on with ids.
fn number_and_ids(answer: &[Value]) -> (u32, impl Iterator<Item = [u8; 16]>) {
    let number = answer.first().and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok()).unwrap_or(0);
    (number, answer.iter().skip(1).filter_map(id))
}

impl RedisRoster {
    pub(super) fn new(link: Arc<Link>, lease: Duration) -> Self {
        Self {
            link,
            lease,
            terms: Terms::default(),
            steadiness: std::sync::Mutex::default(),
            unsure: std::sync::Mutex::default(),
            locks: std::array::from_fn(|_| Mutex::default()),
        }
    }

    async fn lock(&self, room: RoomId) -> MutexGuard<'_, ()> {
        // Ids are random.
        self.locks[usize::from(room.as_bytes()[0]) % LOCKS].lock().await
    }

    /// Runs a script, and notes whether Redis works.
    async fn run<R: FromValue>(&self, script: &Script, keys: &[String], arguments: &[Bytes]) -> Result<R, BusError> {
        let outcome = self.link.run(script, keys, arguments).await;
        self.steadiness.lock().unwrap_or_else(PoisonError::into_inner).note(outcome.is_ok());
        outcome
    }

    /// Whether Redis has worked for the length of a lease. Until then a lease may have ended because nobody could renew it.
    fn is_steady(&self) -> bool {
        match *self.steadiness.lock().unwrap_or_else(PoisonError::into_inner) {
            Steadiness::Always => true,
            Steadiness::Fails => false,
            Steadiness::Since(at) => at.elapsed() >= self.lease,
        }
    }

    fn lease_keys(&self) -> [String; 2] {
        [self.link.names.leases(), self.link.names.graves()]
    }

    async fn stand(&self, script: &Script, room: RoomId, arguments: &[Bytes]) -> Result<Stand, BusError> {
        let (changed, here_count): (bool, u32) = self.run(script, &[self.link.names.here(room)], arguments).await?;
        Ok(Stand { changed, here_count })
    }

    /// The device is not in the room by these terms any more, as far as this process knows.
    async fn forget(&self, left: Vec<Term>, room: RoomId) {
        for term in left {
            let key = self.link.names.rooms_of(&term.name());
            // A note too many does no harm.
            let _ = self.run::<u64>(&scripts::FORGET, &[key], &[room_bytes(room)]).await;
        }
    }

    /// Renews the life of the term's keys. `false`: some are missing.
    async fn renew_rooms(&self, term: Term, rooms: &[RoomId], all: bool) -> Result<bool, BusError> {
        if rooms.is_empty() {
            return Ok(true);
        }
        let life = [ms(LIFE)];
        let mut complete: bool = self.run(&scripts::TOUCH, &[self.link.names.rooms_of(&term.name())], &life).await?;
        for rooms in rooms.chunks(ROOMS_AT_ONCE).filter(|_| all) {
            let keys: Vec<_> = rooms.iter().map(|room| [self.link.names.here(*room)]).collect();
            let touches = keys.iter().map(|key| self.run::<bool>(&scripts::TOUCH, key, &life));
            complete &= try_join_all(touches).await?.into_iter().all(|exists| exists);
        }
        Ok(complete)
    }

    /// Removes a claimed term's entries, adding to `found` as it goes; what is left at `until` is anybody's.
    async fn bury_term(&self, term: &str, until: Instant, found: &mut Found) -> Result<(), BusError> {
        let names = &self.link.names;
        let rooms_key = [names.rooms_of(term)];
        let Some(tag) = Term::parse(term).map(Term::tag) else {
            return self.run(&scripts::BURIED, &[names.graves()], &[Bytes::from(term.to_owned())]).await;
        };
        loop {
            let claim = if Instant::now() < until { CLAIM } else { Duration::ZERO };
            let claimed = [Bytes::from(term.to_owned()), ms(claim), ms(LIFE)];
            let () = self.run(&scripts::CLAIM_ONE, &self.lease_keys(), &claimed).await?;
            if claim.is_zero() {
                return Ok(());
            }
            let count = [Bytes::from(ROOMS_AT_ONCE.to_string())];
            let rooms: Vec<Value> = self.run(&scripts::SOME_ROOMS, &rooms_key, &count).await?;
            if rooms.is_empty() {
                return self.run(&scripts::BURIED, &[names.graves()], &[Bytes::from(term.to_owned())]).await;
            }
            let ids: Vec<RoomId> = rooms.iter().filter_map(id).map(RoomId).collect();
            // From here on somebody's departure may get lost.
            let fresh: Vec<bool> = ids.iter().map(|room| self.unsure().insert(*room)).collect();
            let burials = ids.iter().map(|room| self.bury_in(*room, &tag));
            let mut failed = false;
            for ((room, is_fresh), outcome) in ids.iter().zip(fresh).zip(join_all(burials).await) {
                match outcome {
                    Ok(gone) => {
                        found.departures.extend(gone);
                        found.sure.extend(is_fresh.then_some(*room));
                    }
                    Err(_) => failed = true,
                }
            }
            if failed {
                return Err(BusError::Unavailable);
            }
            let done: Vec<Bytes> = rooms.iter().filter_map(Value::as_bytes).map(Bytes::copy_from_slice).collect();
            let () = self.run(&scripts::FORGET, &rooms_key, &done).await?;
        }
    }

    async fn bury_in(&self, room: RoomId, tag: &[u8; 12]) -> Result<Vec<Departure>, BusError> {
        let tag = [Bytes::copy_from_slice(tag)];
        let answer: Vec<Value> = self.run(&scripts::BURY, &[self.link.names.here(room)], &tag).await?;
        let (here_count, gone) = number_and_ids(&answer);
        Ok(gone.map(|device| Departure { room, device: DeviceId(device), here_count }).collect())
    }

    async fn bury_terms(&self, terms: Vec<String>) -> Result<Vec<Departure>, BusError> {
        let (mut found, until) = (Found::default(), Instant::now() + BURIAL_LIMIT);
        for term in terms {
            match self.bury_term(&term, until, &mut found).await {
                Ok(()) => {}
                // What was removed was removed for good and must be told; the rest waits until the claim ends.
                Err(error) if found.departures.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        self.unsure().retain(|room| !found.sure.contains(room));
        Ok(found.departures)
    }

    fn unsure(&self) -> std::sync::MutexGuard<'_, HashSet<RoomId>> {
        self.unsure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Roster for RedisRoster {
    async fn enter(&self, node: NodeId, room: RoomId, who: DeviceId) -> Result<Stand, BusError> {
        let _changing = self.lock(room).await;
        let term = self.terms.enter(node, room, who);
        let (rooms_key, lease_keys) = ([self.link.names.rooms_of(&term.name())], self.lease_keys());
        let (note, ensure) = ([room_bytes(room), ms(LIFE)], [Bytes::from(term.name()), ms(self.lease), ms(LIFE)]);
        try_join(
            self.run::<u64>(&scripts::NOTE, &rooms_key, &note),
            self.run::<u64>(&scripts::ENSURE, &lease_keys, &ensure),
        )
        .await?;
        let tag = Bytes::copy_from_slice(&term.tag());
        self.stand(&scripts::ENTER, room, &[device(who), tag, ms(LIFE)]).await
    }

    async fn leave(&self, node: NodeId, room: RoomId, who: DeviceId) -> Result<Stand, BusError> {
        let _changing = self.lock(room).await;
        let stand = self.stand(&scripts::LEAVE, room, &[device(who), Bytes::copy_from_slice(&node.0)]).await?;
        self.forget(self.terms.leave(node, room, who).into_iter().collect(), room).await;
        Ok(stand)
    }

    async fn expel(&self, room: RoomId, who: DeviceId) -> Result<Stand, BusError> {
        let _changing = self.lock(room).await;
        let stand = self.stand(&scripts::EXPEL, room, &[device(who)]).await?;
        self.forget(self.terms.expel(room, who), room).await;
        Ok(stand)
    }

    async fn here(&self, room: RoomId, listed_max: usize) -> Result<(Vec<DeviceId>, u32), BusError> {
        let count = [Bytes::from(listed_max.to_string())];
        let answer: Vec<Value> = self.run(&scripts::HERE, &[self.link.names.here(room)], &count).await?;
        let (here_count, listed) = number_and_ids(&answer);
        Ok((listed.map(DeviceId).collect(), here_count))
    }

    async fn renew(&self, node: NodeId) -> Result<bool, BusError> {
        let (term, rooms) = self.terms.of(node);
        let arguments = [term.name(), term.next().name()].map(Bytes::from);
        let arguments = [&arguments[..], &[ms(self.lease), ms(LIFE)]].concat();
        let had: bool = self.run(&scripts::RENEW, &self.lease_keys(), &arguments).await?;
        if !had {
            self.terms.begin_next(node, term);
            return Ok(false);
        }
        let all = self.terms.are_rooms_due(node, Instant::now(), ROOMS_RENEWED_EVERY);
        self.renew_rooms(term, &rooms, all).await
    }

    async fn bury(&self) -> Result<Vec<Departure>, BusError> {
        if !self.is_steady() {
            return Ok(Vec::new());
        }
        let arguments = [ms(CLAIM), Bytes::from(TERMS_CLAIMED_MAX.to_string())];
        let claimed: Vec<String> = self.run(&scripts::CLAIM, &self.lease_keys(), &arguments).await?;
        self.bury_terms(claimed).await
    }

    fn take_unsure(&self) -> Vec<RoomId> {
        self.unsure().drain().collect()
    }

    async fn resign(&self, node: NodeId) -> Result<Vec<Departure>, BusError> {
        let (term, _) = self.terms.of(node);
        let arguments = [Bytes::from(term.name()), ms(CLAIM), ms(LIFE)];
        let () = self.run(&scripts::CLAIM_ONE, &self.lease_keys(), &arguments).await?;
        self.terms.begin_next(node, term);
        self.bury_terms(vec![term.name()]).await
    }
}

//! Random chains against a model that knows the rules as a plain table and nothing of hashes, order or lists.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::tests::{Play, entry, owner, person, recovery, renewing_body};
use super::*;
use crate::crypto::StepBody;

/// Names that take part; 1 founds the room, 2 is the first recovery device.
const PEOPLE: std::ops::RangeInclusive<u8> = 1..=7;
const START_MS: u64 = 1_790_000_000_000;

#[derive(Clone, Debug)]
enum Move {
    Topic(u8),
    Lock(bool),
    Slow(u64),
    Mute(u8, u64),
    Erase(u8),
    Unban(u8),
    Retention(u64),
    Password,
    Role(u8, u8),
    Transfer(u8),
    Remove(BTreeSet<u8>, bool),
    Rotate,
    History,
    /// A new key, with this recovery device in the place of the old.
    Renew(u8),
    /// The same, together with a removal.
    Oust(BTreeSet<u8>, bool, u8),
}

/// How an entry is spoilt, if it is.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Spoil {
    No,
    Target,
    Previous,
    Unreadable,
    Epoch,
    State,
}

#[derive(Clone, Debug, PartialEq)]
struct Model {
    /// 2 owner, 1 moderator.
    ranks: BTreeMap<u8, u8>,
    topic: String,
    locked: bool,
    slow_ms: u64,
    retention_ms: u64,
    history_from: u32,
    banned: BTreeSet<u8>,
    muted: BTreeMap<u8, u64>,
    /// The recovery device, and who made it.
    recovery: (u8, u8),
}

impl Model {
    fn new() -> Self {
        Self {
            ranks: BTreeMap::from([(1, 2), (2, 2)]),
            topic: String::new(),
            locked: false,
            slow_ms: 0,
            retention_ms: 0,
            history_from: 0,
            banned: BTreeSet::new(),
            muted: BTreeMap::new(),
            recovery: (2, 1),
        }
    }

    fn rank(&self, name: u8) -> u8 {
        self.ranks.get(&name).copied().unwrap_or(0)
    }

    /// The state after the move, or nothing if it is forbidden.
    fn after(&self, who: u8, action: &Move, epoch: u32, now_ms: u64) -> Option<Self> {
        if let Move::Oust(others, ban, other) = action {
            // Nobody is removed and named at once; otherwise it is the one and then the other.
            let removed = self.after(who, &Move::Remove(others.clone(), *ban), epoch, now_ms)?;
            let is_free = self.rank(*other) == 0 && !others.contains(other);
            return removed.after(who, &Move::Renew(*other), epoch, now_ms).filter(|_| is_free);
        }
        let (mine, mut next) = (self.rank(who), self.clone());
        let spare = self.recovery.0;
        let beats = |other: u8| other != spare && mine > self.rank(other);
        let allowed = match action {
            Move::Topic(_) | Move::Lock(_) | Move::Slow(_) | Move::Unban(_) | Move::Rotate => mine >= 1,
            Move::Mute(other, _) | Move::Erase(other) => beats(*other),
            Move::Remove(others, _) => others.iter().all(|other| beats(*other)),
            Move::Retention(_) | Move::Password | Move::History => mine == 2,
            Move::Role(other, _) => mine == 2 && *other != spare,
            Move::Transfer(other) => mine == 2 && *other != spare && *other != who,
            Move::Renew(other) => mine == 2 && who != spare && self.rank(*other) == 0 && !self.banned.contains(other),
            Move::Oust(..) => unreachable!("it is two others"),
        };
        match action {
            Move::Topic(n) => next.topic = format!("Topic {n}"),
            Move::Lock(locked) => next.locked = *locked,
            Move::Slow(ms) => next.slow_ms = *ms,
            Move::Mute(other, 0) => drop(next.muted.remove(other)),
            Move::Mute(other, for_ms) => drop(next.muted.insert(*other, START_MS + for_ms)),
            Move::Unban(other) => drop(next.banned.remove(other)),
            Move::Retention(ms) => next.retention_ms = *ms,
            Move::Role(other, 0) => drop(next.ranks.remove(other)),
            Move::Role(other, rank) => drop(next.ranks.insert(*other, *rank)),
            Move::Transfer(other) => {
                next.ranks.insert(*other, 2);
                if who != spare {
                    next.ranks.insert(who, 1);
                }
            }
            Move::Remove(others, ban) => {
                for other in others {
                    next.ranks.remove(other);
                    next.muted.remove(other);
                    if *ban {
                        next.banned.insert(*other);
                    }
                }
            }
            Move::History => next.history_from = epoch,
            Move::Renew(other) => {
                next.ranks.remove(&spare);
                next.ranks.insert(*other, 2);
                next.recovery = (*other, who);
            }
            Move::Erase(_) | Move::Password | Move::Rotate | Move::Oust(..) => {}
        }
        if matches!(action, Move::Remove(..) | Move::Rotate | Move::History | Move::Renew(_)) {
            next.muted.retain(|_, until_ms| *until_ms > now_ms);
        }
        let owned = next.ranks.iter().any(|(name, rank)| *name != next.recovery.0 && *rank == 2);
        let allowed = allowed && !matches!(action, Move::Renew(other) if next.muted.contains_key(other));
        let in_bounds = next.slow_ms <= 3_600_000
            && (next.retention_ms == 0 || (3_600_000..=315_360_000_000).contains(&next.retention_ms));
        (allowed && owned && in_bounds).then_some(next)
    }

    /// The same as the chain would say it.
    fn state(&self) -> RoomState {
        let role = |rank: u8| if rank == 2 { Role::Owner } else { Role::Moderator };
        let admin = |(name, rank): (&u8, &u8)| {
            let recovery = *name == self.recovery.0;
            Admin { keys: person(*name), role: role(*rank), recovery }
        };
        let mut state = RoomState {
            admins: self.ranks.iter().map(admin).collect(),
            topic: self.topic.clone(),
            locked: self.locked,
            slow_ms: self.slow_ms,
            retention_ms: self.retention_ms,
            history_from: self.history_from,
            banned: self.banned.iter().map(|name| person(*name).id()).collect(),
            muted: self.muted.iter().map(|(name, at)| Muted { device: person(*name).id(), until_ms: *at }).collect(),
            recovery_by: person(self.recovery.1).id(),
        };
        state.admins.sort_by_key(Admin::device);
        state.banned.sort_unstable();
        state.muted.sort_by_key(|muted| muted.device);
        state
    }
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        any::<u8>().prop_map(Move::Topic),
        any::<bool>().prop_map(Move::Lock),
        prop_oneof![Just(0), Just(3_600_000), Just(3_600_001)].prop_map(Move::Slow),
        (PEOPLE, 0..40u64).prop_map(|(who, for_ms)| Move::Mute(who, for_ms)),
        PEOPLE.prop_map(Move::Erase),
        PEOPLE.prop_map(Move::Unban),
        prop_oneof![Just(0), Just(3_599_999), Just(3_600_000)].prop_map(Move::Retention),
        Just(Move::Password),
        (PEOPLE, 0..=2u8).prop_map(|(who, rank)| Move::Role(who, rank)),
        (PEOPLE, 1..=2u8).prop_map(|(who, rank)| Move::Role(who, rank)),
        PEOPLE.prop_map(Move::Transfer),
        (proptest::collection::btree_set(PEOPLE, 1..3), any::<bool>()).prop_map(|(who, ban)| Move::Remove(who, ban)),
        Just(Move::Rotate),
        Just(Move::History),
        PEOPLE.prop_map(Move::Renew),
        (proptest::collection::btree_set(PEOPLE, 1..3), any::<bool>(), PEOPLE)
            .prop_map(|(who, ban, next)| Move::Oust(who, ban, next)),
    ]
}

fn spoils() -> impl Strategy<Value = Spoil> {
    prop_oneof![
        12 => Just(Spoil::No),
        1 => Just(Spoil::Target),
        1 => Just(Spoil::Previous),
        1 => Just(Spoil::Unreadable),
        1 => Just(Spoil::Epoch),
        1 => Just(Spoil::State),
    ]
}

/// What a move is in the chain: a step, or a cause with the recovery device it names.
fn said(action: &Move) -> Result<Step, (Cause, Option<PublicKeys>)> {
    let device = |name: &u8| person(*name).id();
    let role = |rank: &u8| [Role::Member, Role::Moderator, Role::Owner][usize::from(*rank)];
    Ok(match action {
        Move::Topic(n) => Step::Topic { topic: format!("Topic {n}") },
        Move::Lock(locked) => Step::Lock { locked: *locked },
        Move::Slow(interval_ms) => Step::Slow { interval_ms: *interval_ms },
        Move::Mute(who, 0) => Step::Mute { device: device(who), until_ms: 0 },
        Move::Mute(who, for_ms) => Step::Mute { device: device(who), until_ms: START_MS + for_ms },
        Move::Erase(who) => Step::Erase { device: device(who) },
        Move::Unban(who) => Step::Unban { device: device(who) },
        Move::Retention(age_ms) => Step::Retention { age_ms: *age_ms },
        Move::Password => Step::Password { grant: snug_protocol::GrantId([7; 16]) },
        Move::Role(who, rank) => Step::Role { device: device(who), keys: person(*who), role: role(rank) },
        Move::Transfer(who) => Step::Transfer { device: device(who), keys: person(*who) },
        Move::Remove(who, ban) | Move::Oust(who, ban, _) => {
            let mut devices: Vec<DeviceId> = who.iter().map(device).collect();
            devices.sort_unstable();
            let recovery = if let Move::Oust(.., next) = action { Some(person(*next)) } else { None };
            return Err((Cause::Remove { devices, ban: *ban }, recovery));
        }
        Move::Rotate => return Err((Cause::Rotate, None)),
        Move::History => return Err((Cause::History, None)),
        Move::Renew(who) => return Err((Cause::Rotate, Some(person(*who)))),
    })
}

/// One random entry upon the chain, and whether the model accepts it.
fn play(play: &mut Play, model: &mut Model, who: u8, action: &Move, spoil: Spoil, now_ms: u64) -> bool {
    let (newest, epoch, next) = (play.chain.newest(), play.chain.pin().0, play.chain.next_epoch());
    let after = model.after(who, action, next, now_ms);
    let (mut links, mut accepted) = (true, after.is_some());
    let named = match spoil {
        Spoil::Previous => ChainPlace { hash: EnvelopeHash([9; 32]), ..newest },
        Spoil::Target => ChainPlace { seq: newest.seq.next(), ..newest },
        _ => newest,
    };
    accepted &= !matches!(spoil, Spoil::Previous | Spoil::Target | Spoil::Unreadable | Spoil::Epoch);
    links &= spoil != Spoil::Target;
    let (body, sealed_in) = match said(action) {
        Ok(step) => {
            // Where a record was refused, nobody has a key for steps until the next one.
            accepted &= next == epoch + 1 || spoil == Spoil::Unreadable;
            (Body::Step(StepBody { previous: named.hash, step }), epoch + u32::from(spoil == Spoil::Epoch))
        }
        Err((cause, recovery)) => {
            accepted &= next == epoch + 1 || cause == Cause::History;
            accepted &= spoil != Spoil::State;
            let mut state = after.as_ref().unwrap_or(model).state();
            if cause == Cause::History {
                state.history_from = next;
            }
            state.locked ^= spoil == Spoil::State;
            let claimed = next + u32::from(spoil == Spoil::Epoch);
            (renewing_body(named, claimed, (cause, recovery), state), claimed)
        }
    };
    let seq = play.entries.last().expect("the founding record").seq.0 + 2;
    let mut made = entry(seq, person(who).id(), sealed_in, named.seq, body, now_ms);
    if spoil == Spoil::Unreadable {
        made.opened = None;
    }
    let taken = play.give(made);
    assert_eq!(taken.is_ok(), accepted, "{who} {action:?} {spoil:?}: {taken:?}");
    assert_eq!(play.chain.newest().seq, if links { Seq(seq) } else { newest.seq });
    if accepted {
        *model = after.expect("accepted");
    }
    accepted
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_sequence_of_entries_folds_to_what_the_table_says(
        script in proptest::collection::vec((PEOPLE, moves(), spoils()), 1..60)
    ) {
        let (mut real, mut model) = (Play::new(), Model::new());
        prop_assert_eq!((owner(), recovery()), (person(1), person(2)));
        let mut ranks = Vec::new();
        for (at, (who, action, spoil)) in script.iter().enumerate() {
            let before = model.clone();
            let accepted = play(&mut real, &mut model, *who, action, *spoil, START_MS + at as u64);
            prop_assert_eq!(real.chain.state(), &model.state());
            prop_assert!(real.chain.state().is_in_bounds());
            prop_assert!(accepted || model == before);
            let seq = real.entries.last().expect("one was given").seq;
            ranks.push((seq, before.ranks));
        }
        let role = |rank: Option<&u8>| [Role::Member, Role::Moderator, Role::Owner][usize::from(rank.copied().unwrap_or(0))];
        for (seq, ranks) in ranks {
            for name in PEOPLE {
                prop_assert_eq!(real.chain.role_at(person(name).id(), seq), Some(role(ranks.get(&name))));
            }
        }
    }

    #[test]
    fn who_comes_later_folds_to_the_same_state(
        script in proptest::collection::vec((PEOPLE, moves(), spoils()), 1..40)
    ) {
        let (mut real, mut model) = (Play::new(), Model::new());
        let mut records = vec![0];
        for (at, (who, action, spoil)) in script.iter().enumerate() {
            let accepted = play(&mut real, &mut model, *who, action, *spoil, START_MS + at as u64);
            if accepted && said(action).is_err() {
                records.push(real.entries.len() - 1);
            }
        }
        for at in records {
            let mut late = Chain::adopt(real.entries[at].clone()).expect("it was accepted");
            for entry in &real.entries[at + 1..] {
                let _ = late.apply(entry);
            }
            prop_assert_eq!(late.state(), real.chain.state());
            prop_assert_eq!((late.newest(), late.pin()), (real.chain.newest(), real.chain.pin()));
            if at > 0 {
                prop_assert!(late.prepend(&real.entries[..at]).is_ok());
                prop_assert_eq!(late.begins_at(), Seq(1));
            }
        }
    }
}

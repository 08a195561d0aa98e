//! Rooms and grants in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use snug_protocol::frame::EntryFrame;
use snug_protocol::http::{MemberState, Role};
use snug_protocol::{DeviceId, GrantId, HistoryId, RoomId, Seq};

use super::{Log, Membership, Memory, now_ms};
use crate::rules::{expired_invites_max, ms};
use crate::{
    CreateInviteError, CreateRoomError, FollowState, Grant, GrantKind, GrantSecret, Lookup, NewInvite, NewRoom, Quotas,
    Room, Standing, StoreError,
};

impl Memory {
    pub fn create_room(&self, new: NewRoom, quotas: &Quotas) -> Result<(Room, EntryFrame), CreateRoomError> {
        let mut state = self.open()?;
        if state.likenesses.contains_key(&new.likeness) {
            return Err(CreateRoomError::NameTaken);
        }
        if state.rooms.contains_key(&new.room) {
            return Err(CreateRoomError::IdTaken);
        }
        if new.recovery.device == new.owner.device {
            return Err(CreateRoomError::IdTaken);
        }
        if state.rooms_of(new.owner.device).count() as u64 >= quotas.rooms_per_device_max {
            return Err(CreateRoomError::TooManyRooms);
        }
        let now_ms = now_ms();
        state.devices.entry(new.owner.device).or_insert(new.owner);
        state.devices.entry(new.recovery.device).or_insert(new.recovery);
        state.likenesses.insert(new.likeness.clone(), new.room);
        let record = new.epoch_record.clone();
        let mut log = Log::new(new, now_ms);
        let appended = log.push(&record, now_ms);
        let room = log.room.clone();
        state.rooms.insert(room.room, log);
        Ok((room, appended.frame.expect("an appended entry has a frame")))
    }

    pub fn name_taken(&self, likeness: &str) -> Result<bool, StoreError> {
        Ok(self.open()?.likenesses.contains_key(likeness))
    }

    pub fn lookup(&self, likeness: &str) -> Result<Option<Lookup>, StoreError> {
        let state = self.open()?;
        let log = state.likenesses.get(likeness).and_then(|room| state.log(*room));
        let password = log.and_then(|log| log.grants.values().find(|grant| grant.kind == GrantKind::Password));
        Ok(password.map(|grant| Lookup { room: grant.room, grant: grant.grant, kdf: grant.kdf }))
    }

    pub fn room(&self, room: RoomId) -> Result<Option<Room>, StoreError> {
        Ok(self.open()?.log(room).map(|log| log.room.clone()))
    }

    pub fn follow_state(&self, room: RoomId, device: DeviceId, cursor: Seq) -> Result<Option<FollowState>, StoreError> {
        Ok(self.open()?.log(room).map(|log| FollowState {
            room: log.room.clone(),
            standing: log.standing(device),
            cursor_hash: log.entry(cursor).map(EntryFrame::hash),
        }))
    }

    pub fn rooms_of(&self, device: DeviceId) -> Result<Vec<(Room, Role)>, StoreError> {
        let state = self.open()?;
        let mut rooms: Vec<_> = state.rooms_of(device).map(|(log, role)| (log.room.clone(), role)).collect();
        rooms.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name).then(a.room.cmp(&b.room)));
        Ok(rooms)
    }

    pub fn begin_new_life(&self, room: RoomId, history: HistoryId) -> Result<bool, StoreError> {
        let mut state = self.open()?;
        let Some(log) = state.rooms.get_mut(&room).filter(|log| log.room.history == history) else { return Ok(false) };
        log.room.history = new_history();
        Ok(true)
    }

    pub fn delete_room(&self, room: RoomId) -> Result<bool, StoreError> {
        let mut state = self.open()?;
        let Some(log) = state.rooms.remove(&room) else { return Ok(false) };
        state.likenesses.remove(&log.likeness);
        Ok(true)
    }

    pub fn grant(&self, room: RoomId, grant: GrantId) -> Result<Option<Grant>, StoreError> {
        let now_ms = now_ms();
        Ok(self.open()?.log(room).and_then(|log| log.grants.get(&grant)).map(|grant| grant.read_at(now_ms)))
    }

    pub fn replace_grant_secret(
        &self,
        room: RoomId,
        grant: GrantId,
        old_pepper: u32,
        secret: &GrantSecret,
    ) -> Result<bool, StoreError> {
        let mut state = self.open()?;
        let grant = state.rooms.get_mut(&room).and_then(|log| log.grants.get_mut(&grant));
        let Some(grant) = grant.filter(|grant| grant.secret.pepper == old_pepper) else { return Ok(false) };
        grant.secret = secret.clone();
        Ok(true)
    }

    pub fn create_invite(&self, new: NewInvite, quotas: &Quotas) -> Result<Grant, CreateInviteError> {
        let mut state = self.open()?;
        let now_ms = now_ms();
        let log = state.rooms.get_mut(&new.room).ok_or(CreateInviteError::NotAMember)?;
        let standing = log.standing(new.made_by);
        if standing.and_then(Standing::role).is_none() {
            return Err(CreateInviteError::NotAMember);
        }
        if log.room.locked && standing != Some(Standing::Recovery) {
            return Err(CreateInviteError::Locked);
        }
        if log.grants.contains_key(&new.grant) {
            return Err(CreateInviteError::IdTaken);
        }
        if log.invites(now_ms).count() as u64 >= quotas.invites_per_room_max {
            return Err(CreateInviteError::TooManyInvites);
        }
        if log.grants.len() as u64 > expired_invites_max(quotas) {
            log.grants.retain(|_, grant| !grant.read_at(now_ms).expired);
        }
        let grant = Grant {
            room: new.room,
            grant: new.grant,
            kind: GrantKind::Invite,
            kdf: 0,
            secret: new.secret,
            made_by: new.made_by,
            created_at_ms: now_ms,
            expires_at_ms: new.expires_in.map(|span| now_ms + ms(span)),
            expired: false,
            uses: 0,
            uses_max: new.uses_max,
        };
        log.grants.insert(grant.grant, grant.clone());
        Ok(grant.read_at(now_ms))
    }

    pub fn invites(&self, room: RoomId) -> Result<Vec<Grant>, StoreError> {
        let state = self.open()?;
        let mut invites: Vec<Grant> = state.log(room).map_or_else(Vec::new, |log| log.invites(now_ms()).collect());
        invites.sort_by_key(|grant| std::cmp::Reverse((grant.created_at_ms, grant.grant)));
        Ok(invites)
    }

    pub fn delete_invite(&self, room: RoomId, grant: GrantId) -> Result<bool, StoreError> {
        let mut state = self.open()?;
        let Some(log) = state.rooms.get_mut(&room) else { return Ok(false) };
        if log.grants.get(&grant).is_none_or(|grant| grant.kind != GrantKind::Invite) {
            return Ok(false);
        }
        Ok(log.grants.remove(&grant).is_some())
    }
}

pub(super) fn new_history() -> HistoryId {
    let mut history = [0; 16];
    getrandom::fill(&mut history).expect("the operating system has random bytes");
    HistoryId(history)
}

impl Grant {
    /// The grant with `expired` as it is at `now_ms`.
    pub(super) fn read_at(&self, now_ms: u64) -> Self {
        Self { expired: self.expires_at_ms.is_some_and(|end| end <= now_ms), ..self.clone() }
    }
}

impl Log {
    fn new(new: NewRoom, now_ms: u64) -> Self {
        let room = Room {
            room: new.room,
            name: new.name,
            history: new_history(),
            head: Seq::ZERO,
            epoch: new.epoch_record.header().epoch,
            chain: Seq(1),
            locked: false,
            access_version: 1,
            created_at_ms: now_ms,
        };
        let grant = Grant {
            room: new.room,
            grant: new.grant,
            kind: GrantKind::Password,
            kdf: new.kdf,
            secret: new.secret,
            made_by: new.owner.device,
            created_at_ms: now_ms,
            expires_at_ms: None,
            expired: false,
            uses: 0,
            uses_max: None,
        };
        let owner = Membership::new(Role::Owner, Some(MemberState::Member), now_ms);
        let recovery = Membership::new(Role::Owner, None, now_ms);
        let record = new.epoch_record.hash();
        let keys = BTreeMap::from([(new.recovery.device, new.recovery_key)]);
        Self {
            room,
            likeness: new.likeness,
            epoch_seq: Seq(1),
            slow_ms: 0,
            retention_ms: 0,
            epochs: BTreeMap::from([(new.epoch_record.header().epoch, record)]),
            keys: HashMap::from([(record, keys)]),
            stagings: HashMap::new(),
            entries: Vec::new(),
            targets: BTreeSet::new(),
            senders: HashMap::new(),
            grants: HashMap::from([(grant.grant, grant)]),
            members: BTreeMap::from([(new.owner.device, owner), (new.recovery.device, recovery)]),
        }
    }

    pub(super) fn invites(&self, now_ms: u64) -> impl Iterator<Item = Grant> {
        let invites = self.grants.values().filter(|grant| grant.kind == GrantKind::Invite);
        invites.map(move |grant| grant.read_at(now_ms)).filter(|grant| !grant.expired)
    }
}

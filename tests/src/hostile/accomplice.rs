//! A member who helps the lying server: seals, with the room's key, what no client would.

use snug_client::crypto::{
    Body, ChainPlace, Content, Device, NextEpoch, Prev, PublicKeys, RoomKey, RoomState, Step, next_record, seal,
    seal_step,
};
use snug_client::{Client, Room};
use snug_protocol::envelope::Header;
use snug_protocol::{DeviceId, Envelope, InstanceId, Seq};

use crate::guest::random;

/// Its device and the room key it has: of the epoch in which it was told.
pub struct Accomplice {
    /// Its device.
    pub device: Device,
    /// The room key.
    pub key: RoomKey,
}

impl Accomplice {
    /// The member that this client is.
    ///
    /// # Panics
    /// Never: a device can be copied.
    #[must_use]
    pub fn of(client: &Client, room: &Room) -> Self {
        Self { device: Device::import(&client.device().export()), key: room.secrets().key }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> DeviceId {
        self.device.id()
    }

    /// An entry as if it had been sent by who has seen `prev`, the first of an instance.
    ///
    /// # Panics
    /// When the body is too long.
    #[must_use]
    pub fn entry(&self, body: &Body, target: Seq, prev: Prev) -> Envelope {
        let header = Header {
            kind: body.kind(),
            room: self.key.room(),
            epoch: self.key.epoch(),
            device: self.id(),
            instance: InstanceId(random()),
            counter: 0,
            target,
        };
        let content = Content { prev, sent_at_ms: 0, body: &body.to_json() };
        seal(&self.device, &self.key, &header, &content).expect("a short body")
    }

    /// A step upon the chain entry at `after`, which it may not take.
    ///
    /// # Panics
    /// When the step is out of bounds.
    #[must_use]
    pub fn step(&self, after: ChainPlace, step: Step, prev: Prev) -> Envelope {
        seal_step(&self.device, &self.key, after, step, prev, 0).expect("in bounds")
    }

    /// A record of the next epoch upon the chain entry at `after`, which it may not make, and the key.
    ///
    /// # Panics
    /// When the record is out of bounds.
    #[must_use]
    pub fn record(&self, after: ChainPlace, state: RoomState, to: &[DeviceId], prev: Prev) -> (Envelope, RoomKey) {
        self.renewal(after, None, state, to, prev)
    }

    /// The same, with another recovery device in the place of the one there is.
    ///
    /// # Panics
    /// When the record is out of bounds.
    #[must_use]
    pub fn renewal(
        &self,
        after: ChainPlace,
        recovery: Option<PublicKeys>,
        state: RoomState,
        to: &[DeviceId],
        prev: Prev,
    ) -> (Envelope, RoomKey) {
        let key = RoomKey::generate(self.key.room(), self.key.epoch() + 1);
        let cause = snug_client::crypto::Cause::Rotate;
        let next = NextEpoch { after, previous_key: &self.key, recipients: to, cause, recovery, state };
        (next_record(&self.device, &key, next, prev, 1).expect("in bounds"), key)
    }
}

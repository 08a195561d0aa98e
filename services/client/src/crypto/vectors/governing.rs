//! Vectors of what governs a room: the chain, sealed keys, moves, and which short texts are taken.

use snug_protocol::http::Role;

use super::*;
use crate::chain::{Admin, Chain, ChainEntry};
use crate::crypto::sealed_key::{Material, seal_with};

/// A new epoch's record, and what it holds beside its state.
#[derive(Serialize, Deserialize)]
pub(super) struct RecordVector {
    pub(super) room: RoomId,
    pub(super) epoch: u32,
    pub(super) room_key: Base64Bytes,
    pub(super) previous_room_key: Base64Bytes,
    pub(super) previous_key_iv: Base64Bytes,
    pub(super) recipients: Vec<DeviceId>,
    pub(super) envelope: Base64Bytes,
}

/// A room key sealed to `device`.
#[derive(Serialize, Deserialize)]
pub(super) struct SealedKeyVector {
    pub(super) room: RoomId,
    pub(super) epoch: u32,
    pub(super) room_key: Base64Bytes,
    pub(super) sealed: Base64Bytes,
}

/// A chain: `room_keys` by epoch, `people` whose keys verify the entries.
#[derive(Serialize, Deserialize)]
pub(super) struct ChainVector {
    pub(super) room: RoomId,
    pub(super) room_keys: Vec<Base64Bytes>,
    pub(super) people: Vec<PublicKeys>,
    pub(super) entries: Vec<ChainStep>,
}

/// An entry, why it changes nothing (any text; null where it counts), and what holds after it.
#[derive(Serialize, Deserialize)]
pub(super) struct ChainStep {
    pub(super) name: String,
    pub(super) seq: Seq,
    pub(super) envelope: Base64Bytes,
    pub(super) fault: Option<String>,
    pub(super) newest: Seq,
    pub(super) state: RoomState,
}

/// A move to `device`.
#[derive(Serialize, Deserialize)]
pub(super) struct MoveVector {
    pub(super) secret: Base64Bytes,
    pub(super) link: String,
    pub(super) id: Base64Bytes,
    /// The new device's and the old one's.
    pub(super) nonces: [Base64Bytes; 2],
    pub(super) offer: Base64Bytes,
    pub(super) nonce: Base64Bytes,
    pub(super) reveal: Base64Bytes,
    pub(super) code: String,
    pub(super) answer_plain: String,
    #[serde(default)]
    pub(super) ikm_e: Option<Base64Bytes>,
    pub(super) answer: Base64Bytes,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Accepted {
    pub(super) accepted: Vec<String>,
    pub(super) refused: Vec<String>,
}

fn key_of(epoch: u32) -> RoomKey {
    if epoch == 0 { room_key() } else { RoomKey::import(room(), epoch, secret(&format!("room key {epoch}"))) }
}

fn person(name: &str) -> Device {
    Device::import(&DeviceSecrets { sign_seed: secret(name), agree_secret: secret(&format!("{name} agree")) })
}

fn recovery() -> Device {
    RecoveryKey::import(secret("recovery")).device()
}

/// A record of `key_of(epoch)` with everything drawn from fixed bytes.
fn record(after: ChainPlace, epoch: u32, cause: Cause, recipients: &[DeviceId], state: RoomState) -> EpochRecord {
    let key = key_of(epoch);
    let joined: Vec<&[u8]> = recipients.iter().map(|device| device.as_bytes().as_slice()).collect();
    let previous_key = cause.keeps_history().then(|| {
        key.seal_previous(&key_of(epoch - 1), fixed(&format!("previous key iv {epoch}"))).expect("two in a row")
    });
    EpochRecord {
        epoch,
        commitment: key.commitment(),
        previous: Some(after.hash),
        previous_key,
        recipients: Some(sha256(&joined)),
        cause,
        recovery: None,
        state,
    }
}

pub(super) fn epoch_record(first: &Sealed) -> (RecordVector, Sealed) {
    let mut recipients = vec![device().id(), person("moderator").id(), recovery().id()];
    recipients.sort_unstable();
    let after = ChainPlace { seq: Seq(1), hash: EnvelopeHash(first.hash.array().expect("32 bytes")) };
    let state = RoomState::founding(device().keys(), recovery().keys());
    let body = Body::EpochRecord(Box::new(record(after, 1, Cause::Rotate, &recipients, state)));
    let body = String::from_utf8(body.to_json()).expect("JSON");
    let prev = Prev { seq: after.seq, hash: after.hash };
    let header = Header { epoch: 1, target: after.seq, ..header(EntryKind::EpochRecord, 0) };
    let header = Header { instance: InstanceId(fixed("instance of epoch 1")), ..header };
    let sealed = sealed_as("record of epoch 1", &key_of(1), &header, prev, &body);
    let vector = RecordVector {
        room: room(),
        epoch: 1,
        room_key: (*key_of(1).export()).into(),
        previous_room_key: (*key_of(0).export()).into(),
        previous_key_iv: fixed::<12>("previous key iv 1").into(),
        recipients,
        envelope: sealed.envelope.clone(),
    };
    (vector, sealed)
}

pub(super) fn sealed_key() -> SealedKeyVector {
    let key = key_of(1);
    SealedKeyVector {
        room: room(),
        epoch: 1,
        room_key: (*key.export()).into(),
        sealed: seal_room_key(&key, device().keys()).expect("usual keys").into(),
    }
}

pub(super) fn moving() -> MoveVector {
    let secret_bytes = secret("move");
    let moving = MoveSecret::import(secret_bytes.clone());
    let keys = vec![MovedKey { epoch: 0, key: fixed("room key") }];
    let mut join = [0; 64];
    join[..16].copy_from_slice(room().as_bytes());
    join[16..32].copy_from_slice(&fixed::<16>("invite grant"));
    join[32..].copy_from_slice(&fixed::<32>("invite"));
    let answer = MoveAnswer { name: "Ana".into(), rooms: vec![MovedRoom { join, keys }] };
    let plain = serde_json::to_string(&answer).expect("JSON");
    let ikm = fixed("ephemeral of the answer");
    let own = MoveReveal { keys: *device().keys(), nonce: fixed("nonce of the new device") };
    let nonce = fixed("nonce of the old device");
    MoveVector {
        secret: (*secret_bytes).into(),
        link: moving.to_link("https://chat.example").to_string(),
        id: moving.mailbox().into(),
        nonces: [own.nonce.into(), nonce.into()],
        offer: moving.offer(&own).into(),
        nonce: moving.nonce(&own.commitment(), &nonce).into(),
        reveal: moving.reveal(&own, &nonce).into(),
        code: moving.code(&own, &nonce),
        answer: seal_with(device().keys(), &moving.info(), plain.as_bytes(), &mut Material(ikm.into()))
            .expect("usual keys")
            .into(),
        answer_plain: plain,
        ikm_e: Some(ikm.into()),
    }
}

fn texts(accepted: &[&str], refused: &[&str]) -> Accepted {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Accepted { accepted: owned(accepted), refused: owned(refused) }
}

pub(super) fn emoji() -> Accepted {
    let many = "\u{1F44D}".repeat(10);
    let too_many = "\u{1F44D}".repeat(11);
    let family = "\u{1F469}\u{200D}\u{1F469}\u{200D}\u{1F467}";
    texts(
        &[
            "\u{1F44D}",
            "\u{1F44B}\u{1F3FD}",
            "\u{2764}\u{FE0F}",
            "\u{1F1E9}\u{1F1EA}",
            "1\u{FE0F}\u{20E3}",
            family,
            "\u{1F170}\u{FE0F}",
            "#",
            &many,
        ],
        &[
            "",
            "a",
            "1",
            "\u{663}",
            "\u{1F44D} ",
            "\u{1F44D}a",
            "\u{E9}",
            "\u{4E16}",
            "\u{2139}",
            "\u{202E}\u{1F44D}",
            "\u{61C}",
            "\u{7}",
            "\u{3000}",
            &too_many,
        ],
    )
}

pub(super) fn topics() -> Accepted {
    let long = "\u{1F9F6}".repeat(200);
    let too_long = "a".repeat(201);
    texts(
        &["", "Gardens", "Gardens and caf\u{E9}s", "x", &long],
        &[
            " ",
            " Gardens",
            "Gardens ",
            "two  spaces",
            "cafe\u{301}",
            "a\u{202E}b",
            "two\nlines",
            "\u{200D}",
            "a\u{FEFF}",
            &too_long,
        ],
    )
}

/// Writes a chain, entry by entry, as the chain itself folds it.
struct Writer {
    chain: Option<Chain>,
    entries: Vec<ChainStep>,
    sent_at_ms: u64,
}

/// What is wrong with an entry that is written.
#[derive(Clone, Copy, PartialEq)]
enum Wrong {
    Nothing,
    Target,
    Hash,
    Counter,
    Bytes,
}

impl Writer {
    fn link(&mut self, name: &str, signer: &Device, epoch: u32, body: &Body, wrong: Wrong) {
        let at = self.chain.as_ref().map_or(Seq::ZERO, |chain| chain.newest().seq);
        let seq = Seq(self.entries.last().map_or(1, |entry| entry.seq.0 + 2));
        self.sent_at_ms += 1_000;
        let target = if wrong == Wrong::Target { Seq(1) } else { at };
        let instance = InstanceId(fixed(&format!("chain instance {seq}")));
        let counter = u64::from(wrong == Wrong::Counter);
        let device = signer.id();
        let header = Header { kind: body.kind(), room: room(), epoch, device, instance, counter, target };
        let seen = self.chain.as_ref().map(Chain::newest);
        let prev = seen.map_or_else(Prev::default, |newest| Prev { seq: newest.seq, hash: newest.hash });
        let content = Content { prev, sent_at_ms: self.sent_at_ms, body: &body.to_json() };
        let mut bytes = seal(signer, &key_of(epoch), &header, &content).expect("it can be sealed").bytes().to_vec();
        *bytes.last_mut().expect("many bytes") ^= u8::from(wrong == Wrong::Bytes);
        let opened = open(room(), &key_of(epoch), signer.keys(), bytes.clone().into()).ok();
        let entry = ChainEntry { seq, hash: EnvelopeHash::of(&bytes), header, opened };
        let fault = match &mut self.chain {
            None => {
                self.chain = Some(Chain::found(entry).expect("a founding record"));
                None
            }
            Some(chain) => chain.apply(&entry).err().map(|fault| fault.as_str().to_owned()),
        };
        let chain = self.chain.as_ref().expect("it has been founded");
        let (newest, state) = (chain.newest().seq, chain.state().clone());
        self.entries.push(ChainStep { name: name.into(), seq, envelope: bytes.into(), fault, newest, state });
    }

    fn chain(&self) -> &Chain {
        self.chain.as_ref().expect("it has been founded")
    }

    fn step(&mut self, name: &str, signer: &Device, step: Step, wrong: Wrong) {
        let previous = if wrong == Wrong::Hash { EnvelopeHash([7; 32]) } else { self.chain().newest().hash };
        let epoch = self.chain().pin().0;
        self.link(name, signer, epoch, &Body::Step(StepBody { previous, step }), wrong);
    }

    fn record(&mut self, name: &str, signer: &Device, cause: Cause, change: impl FnOnce(&mut RoomState)) {
        self.renewing(name, signer, cause, None, change);
    }

    /// A record that puts this device in the place of the recovery device, if one is given.
    fn renewing(
        &mut self,
        name: &str,
        signer: &Device,
        cause: Cause,
        saviour: Option<&Device>,
        change: impl FnOnce(&mut RoomState),
    ) {
        let (after, epoch) = (self.chain().newest(), self.chain().next_epoch());
        let keys = saviour.map(|device| *device.keys());
        let next = self.chain().next_state_with(signer.id(), &cause, keys.as_ref(), self.sent_at_ms + 1_000);
        let mut state = next.unwrap_or_else(|_| self.chain().state().clone());
        change(&mut state);
        let mut recipients = vec![device().id(), saviour.map_or(recovery().id(), Device::id)];
        recipients.sort_unstable();
        let record = record(after, epoch, cause, &recipients, state);
        let body = Body::EpochRecord(Box::new(EpochRecord { recovery: keys, ..record }));
        self.link(name, signer, epoch, &body, Wrong::Nothing);
    }
}

/// The state as if one recovery device had taken the place of another.
fn rename(state: &mut RoomState, before: &Device, after: &Device) {
    state.admins.iter_mut().filter(|admin| admin.keys == *before.keys()).for_each(|admin| admin.keys = *after.keys());
    state.admins.sort_by_key(Admin::device);
}

pub(super) fn chain() -> ChainVector {
    let (owner, moderator, member, saviour) = (device(), person("moderator"), person("member"), recovery());
    let mut to = Writer { chain: None, entries: Vec::new(), sent_at_ms: 1_790_000_000_000 };
    let founding = EpochRecord::founding(&room_key(), owner.keys(), saviour.keys());
    to.link("founding", &owner, 0, &Body::EpochRecord(Box::new(founding)), Wrong::Nothing);
    let role = |of: &Device, role| Step::Role { device: of.id(), keys: *of.keys(), role };
    let mute = |of: &Device, until_ms| Step::Mute { device: of.id(), until_ms };
    let topic = |topic: &str| Step::Topic { topic: topic.into() };
    let fine = Wrong::Nothing;
    to.step("an owner appoints a moderator", &owner, role(&moderator, Role::Moderator), fine);
    to.step("a moderator sets the topic", &moderator, topic("Gardens and cafés"), fine);
    to.step("a member may not", &member, topic("Mine"), fine);
    to.step("a moderator locks the room", &moderator, Step::Lock { locked: true }, fine);
    to.step("a moderator slows the room", &moderator, Step::Slow { interval_ms: 5_000 }, fine);
    to.step("a moderator mutes a member", &moderator, mute(&member, 1_790_000_009_000), fine);
    to.step("a moderator mutes another for long", &moderator, mute(&person("loud"), 1_800_000_000_000), fine);
    to.step("a moderator may not mute an owner", &moderator, mute(&owner, 1_800_000_000_000), fine);
    to.step("nobody mutes a recovery device", &owner, mute(&saviour, 1_800_000_000_000), fine);
    to.step("a moderator may not set the retention", &moderator, Step::Retention { age_ms: 0 }, fine);
    to.step("an owner sets the retention", &owner, Step::Retention { age_ms: 3_600_000 }, fine);
    to.step("an owner replaces the password", &owner, Step::Password { grant: GrantId(fixed("new grant")) }, fine);
    to.step("a moderator erases a member's messages", &moderator, Step::Erase { device: member.id() }, fine);
    to.step("the last owner may not step down", &owner, role(&owner, Role::Member), fine);
    to.step("nobody demotes a recovery device", &owner, role(&saviour, Role::Member), fine);
    to.step("it names an entry that is not the newest", &owner, topic("Late"), Wrong::Target);
    to.step("it names the newest by another hash, and takes its place", &owner, topic("Wrong"), Wrong::Hash);
    to.step("it cannot be opened, and takes its place", &owner, topic("Broken"), Wrong::Bytes);
    to.step("it is not the first of its instance", &owner, topic("Second"), Wrong::Counter);
    let cause = Cause::Remove { devices: vec![member.id()], ban: true };
    to.record("a moderator bans a member; a mute is over", &moderator, cause, |_| ());
    to.step(
        "the recovery device hands the room over",
        &saviour,
        Step::Transfer { device: moderator.id(), keys: *moderator.keys() },
        fine,
    );
    to.step(
        "an owner hands the room over",
        &owner,
        Step::Transfer { device: moderator.id(), keys: *moderator.keys() },
        fine,
    );
    to.step("a moderator lifts the ban", &owner, Step::Unban { device: member.id() }, fine);
    to.record("a record states more than its cause", &owner, Cause::Rotate, |state| state.locked = false);
    to.step("no step counts after a refused record", &moderator, topic("No"), fine);
    to.record("nobody need know the key between", &moderator, Cause::Rotate, |_| ());
    to.record("a moderator may not cut the history", &owner, Cause::History, |state| state.history_from = 4);
    to.record("an owner cuts the history", &moderator, Cause::History, |_| ());
    to.record("an owner replaces the key", &moderator, Cause::Rotate, |_| ());
    let new = RecoveryKey::import(secret("second recovery")).device();
    replace_recovery(&mut to, [&owner, &moderator, &member], [&saviour, &new]);
    ChainVector {
        room: room(),
        room_keys: (0..=12).map(|epoch| (*key_of(epoch).export()).into()).collect(),
        people: [&owner, &moderator, &member, &saviour, &new].map(|device| *device.keys()).to_vec(),
        entries: to.entries,
    }
}

/// An owner, by now called moderator, puts `new` in the place of the first recovery device.
fn replace_recovery(to: &mut Writer, [owner, moderator, member]: [&Device; 3], [saviour, new]: [&Device; 2]) {
    let role = |of: &Device, role| Step::Role { device: of.id(), keys: *of.keys(), role };
    let fine = Wrong::Nothing;
    let astray = |state: &mut RoomState| rename(state, saviour, new);
    to.renewing("a member may not replace the recovery device", member, Cause::Rotate, Some(new), astray);
    let history = |state: &mut RoomState| state.history_from = 8;
    to.renewing("the recovery device may not replace itself", saviour, Cause::History, Some(new), |state| {
        history(state);
        rename(state, saviour, new);
    });
    to.renewing("nobody becomes it who governs", moderator, Cause::History, Some(owner), |state| {
        state.history_from = 9;
    });
    to.renewing("a record that names one has it in its state", moderator, Cause::History, Some(new), |state| {
        rename(state, new, saviour);
    });
    to.renewing("an owner replaces the recovery device", moderator, Cause::History, Some(new), |_| ());
    to.step("the old recovery device may nothing", saviour, role(owner, Role::Owner), fine);
    to.step("the new recovery device makes an owner", new, role(owner, Role::Owner), fine);
    to.step("the one who made the key before it steps down", owner, role(moderator, Role::Member), fine);
    to.renewing(
        "a removal replaces the recovery device too",
        owner,
        Cause::Remove { devices: vec![moderator.id()], ban: true },
        Some(&person("third recovery")),
        |_| (),
    );
}

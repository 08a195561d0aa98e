//! Random interleavings of appends, changes, resends and counters ahead, against a model plain enough to be believed.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use proptest::prelude::*;
use snug_protocol::{EntryKind, Envelope, GrantId, RoomId, Seq};
use snug_store::{AppendError, Appended, Store};

use crate::fixture::{self, Instance, device, envelope, id, new_room, together};

const ROOMS: u32 = 3;
const DEVICES: u32 = 3;
const INSTANCES: u32 = 2;

#[derive(Clone, Debug)]
struct Step {
    room: u32,
    device: u32,
    instance: u32,
    act: Act,
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Next,
    /// Of what has been sent, this many back.
    Resend(u64),
    /// Beyond the next, by this many.
    Ahead(u64),
    /// One of those that are about another entry, and which.
    About(EntryKind, u64),
    Leave,
    Return,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let act = prop_oneof![
        8 => Just(Act::Next),
        3 => (1u64..4).prop_map(Act::Resend),
        2 => (1u64..4).prop_map(Act::Ahead),
        2 => (1u64..20).prop_map(|target| Act::About(EntryKind::Edit, target)),
        2 => (1u64..20).prop_map(|target| Act::About(EntryKind::Reaction, target)),
        1 => (1u64..20).prop_map(|target| Act::About(EntryKind::Pin, target)),
        2 => (1u64..20).prop_map(|target| Act::About(EntryKind::Deletion, target)),
        1 => Just(Act::Leave),
        1 => Just(Act::Return),
    ];
    let step = (0..ROOMS, 0..DEVICES, 0..INSTANCES, act);
    let step = step.prop_map(|(room, device, instance, act)| Step { room, device, instance, act });
    // Steps of one group are in flight together.
    prop::collection::vec(step, 1..120)
}

#[derive(Debug, PartialEq)]
enum Expected {
    New(u64),
    Duplicate(u64),
    OutOfOrder(u64),
    NotAMember,
    TargetInvalid,
    TargetGone,
    NotAllowed,
    Gone,
}

/// A log is a list; an instance is the list of the seqs it got.
#[derive(Default)]
struct Model {
    logs: HashMap<RoomId, Vec<Envelope>>,
    erased: HashSet<(RoomId, u64)>,
    instances: HashMap<(RoomId, u32, u32), Vec<u64>>,
    left: HashMap<(RoomId, u32), bool>,
}

impl Model {
    fn append(&mut self, step: &Step, envelope: &Envelope) -> Expected {
        let room = envelope.header().room;
        let sent = self.instances.entry((room, step.device, step.instance)).or_default();
        let left = self.left.entry((room, step.device)).or_default();
        let counter = envelope.header().counter;
        if let Some(seq) = sent.get(usize::try_from(counter).unwrap()) {
            let is_erased = self.erased.contains(&(room, *seq));
            return if is_erased { Expected::Gone } else { Expected::Duplicate(*seq) };
        }
        if *left {
            return Expected::NotAMember;
        }
        if counter > sent.len() as u64 {
            return Expected::OutOfOrder(sent.len() as u64);
        }
        let log = self.logs.get_mut(&room).unwrap();
        let (kind, target) = (envelope.header().kind, envelope.header().target.0);
        if kind.is_about_a_message() {
            let about = usize::try_from(target).unwrap().checked_sub(1).and_then(|at| log.get(at));
            let Some(about) = about.filter(|about| about.header().kind == EntryKind::Message) else {
                return Expected::TargetInvalid;
            };
            if self.erased.contains(&(room, target)) {
                return Expected::TargetGone;
            }
            let is_own = about.header().device == envelope.header().device;
            if !is_own && matches!(kind, EntryKind::Edit | EntryKind::Deletion) {
                return Expected::NotAllowed;
            }
        }
        if kind == EntryKind::Deletion {
            let goes = |(at, entry): (usize, &Envelope)| {
                let header = entry.header();
                let is_about =
                    header.target.0 == target && matches!(header.kind, EntryKind::Edit | EntryKind::Reaction);
                (at as u64 + 1 == target || is_about).then_some((room, at as u64 + 1))
            };
            self.erased.extend(log.iter().enumerate().filter_map(goes));
        }
        log.push(envelope.clone());
        sent.push(log.len() as u64);
        *left = envelope.header().kind == EntryKind::Leave;
        Expected::New(log.len() as u64)
    }
}

fn told(answer: &Result<Appended, AppendError>) -> Expected {
    match answer {
        Ok(Appended { seq, frame: Some(_), .. }) => Expected::New(seq.0),
        Ok(Appended { seq, frame: None, .. }) => Expected::Duplicate(seq.0),
        Err(AppendError::OutOfOrder { expected }) => Expected::OutOfOrder(*expected),
        Err(AppendError::NotAMember) => Expected::NotAMember,
        Err(AppendError::TargetInvalid) => Expected::TargetInvalid,
        Err(AppendError::TargetGone) => Expected::TargetGone,
        Err(AppendError::NotAllowed) => Expected::NotAllowed,
        Err(AppendError::Gone) => Expected::Gone,
        Err(other) => panic!("nothing here leads to {other:?}"),
    }
}

fn sealed(model: &Model, step: &Step) -> Envelope {
    let room = RoomId(id(step.room));
    let instance = Instance::new(room, device(step.device), step.instance);
    let next = model.instances.get(&(room, step.device, step.instance)).map_or(0, |sent| sent.len() as u64);
    let header = match step.act {
        Act::Next | Act::Return => instance.header(EntryKind::Message, next, 0),
        Act::Resend(back) => instance.header(EntryKind::Message, next.saturating_sub(back), 0),
        Act::Ahead(by) => instance.header(EntryKind::Message, next + by, 0),
        Act::About(kind, target) => instance.header(kind, next, target),
        Act::Leave => instance.header(EntryKind::Leave, next, 0),
    };
    envelope(&header)
}

/// Steps are submitted in order and `in_flight` at a time without waiting for answers, so that batches of many sizes form.
async fn follow_the_model(store: &Store, steps: Vec<Step>, in_flight: usize) {
    let mut model = Model::default();
    for number in 0..ROOMS {
        let new = new_room(number, device(100 + number));
        model.logs.insert(new.room, vec![new.epoch_record.clone()]);
        store.create_room(new).await.unwrap();
        for member in 0..DEVICES {
            store.enter(RoomId(id(number)), GrantId(id(number)), device(member)).await.unwrap();
        }
    }
    for group in steps.chunks(in_flight) {
        let mut sends = Vec::new();
        let (mut expected, mut rooms) = (Vec::new(), Vec::new());
        for step in group.iter().filter(|step| !matches!(step.act, Act::Return)) {
            let envelope = sealed(&model, step);
            rooms.push(envelope.header().room);
            expected.push(model.append(step, &envelope));
            sends.push(store.append(envelope));
        }
        let answers = together(sends).await;
        for ((answer, expected), room) in answers.iter().zip(expected).zip(rooms) {
            match (told(answer), expected) {
                // A resend that is committed together with what erases it is told so.
                (Expected::Gone, Expected::Duplicate(seq)) => assert!(model.erased.contains(&(room, seq))),
                (told, expected) => assert_eq!(told, expected),
            }
        }
        for step in group.iter().filter(|step| matches!(step.act, Act::Return)) {
            let room = RoomId(id(step.room));
            let entering = store.enter(room, GrantId(id(step.room)), device(step.device)).await.unwrap();
            assert_eq!(entering.new_member, model.left.insert((room, step.device), false) == Some(true));
        }
    }
    compare(store, &model).await;
}

/// What an erased envelope leaves: its header and its hash.
fn remains(envelope: &Envelope) -> Bytes {
    [&envelope.header().encode()[..], &envelope.hash().0].concat().into()
}

async fn compare(store: &Store, model: &Model) {
    for (room, log) in &model.logs {
        let stored = fixture::log(store, *room).await;
        let expected = log.iter().zip(1..).map(|(envelope, seq)| {
            let is_erased = model.erased.contains(&(*room, seq));
            if is_erased { remains(envelope) } else { envelope.bytes().clone() }
        });
        assert!(stored.into_iter().eq(expected));
        let mut before = Seq(log.len() as u64 + 1);
        while before > Seq(1) {
            let page = store.read_page(*room, Some(before), 7, usize::MAX).await.unwrap().unwrap();
            let expected = (page.to.0 + 1..=log.len() as u64).filter(|seq| {
                let header = log[usize::try_from(*seq).unwrap() - 1].header();
                header.kind.is_about_a_message() && (page.from..=page.to).contains(&header.target)
            });
            assert!(page.later.iter().map(|entry| entry.seq().0).eq(expected));
            before = page.from;
        }
    }
}

fn run(case: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(case);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn memory_does_what_the_model_does(steps in steps(), in_flight in 1usize..40) {
        run(async { follow_the_model(&Store::memory(), steps, in_flight).await });
    }

    #[test]
    fn sqlite_does_what_the_model_does(steps in steps(), in_flight in 1usize..40) {
        run(async {
            let (store, _folder) = fixture::sqlite().await;
            follow_the_model(&store, steps, in_flight).await;
            store.close().await;
        });
    }
}

proptest! {
    // A database for each case takes its time.
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn postgres_does_what_the_model_does(steps in steps(), in_flight in 1usize..40) {
        run(async {
            let database = fixture::PostgresDatabase::create().await;
            let store = database.open().await;
            follow_the_model(&store, steps, in_flight).await;
            store.close().await;
        });
    }
}

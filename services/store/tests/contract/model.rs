//! Random interleavings of appends, resends and counters ahead, against a model plain enough to be believed.

use std::collections::HashMap;

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
    Edit(u64),
    Leave,
    Return,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let act = prop_oneof![
        8 => Just(Act::Next),
        3 => (1u64..4).prop_map(Act::Resend),
        2 => (1u64..4).prop_map(Act::Ahead),
        2 => (1u64..20).prop_map(Act::Edit),
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
}

/// A log is a list; an instance is the list of the seqs it got.
#[derive(Default)]
struct Model {
    logs: HashMap<RoomId, Vec<Envelope>>,
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
            return Expected::Duplicate(*seq);
        }
        if *left {
            return Expected::NotAMember;
        }
        if counter > sent.len() as u64 {
            return Expected::OutOfOrder(sent.len() as u64);
        }
        let log = self.logs.get_mut(&room).unwrap();
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
        Act::Edit(target) => instance.header(EntryKind::Message, next, target),
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
        let mut expected = Vec::new();
        for step in group.iter().filter(|step| !matches!(step.act, Act::Return)) {
            let envelope = sealed(&model, step);
            expected.push(model.append(step, &envelope));
            sends.push(store.append(envelope));
        }
        let answers = together(sends).await;
        assert_eq!(answers.iter().map(told).collect::<Vec<_>>(), expected);
        for step in group.iter().filter(|step| matches!(step.act, Act::Return)) {
            let room = RoomId(id(step.room));
            let entering = store.enter(room, GrantId(id(step.room)), device(step.device)).await.unwrap();
            assert_eq!(entering.new_member, model.left.insert((room, step.device), false) == Some(true));
        }
    }
    compare(store, &model).await;
}

async fn compare(store: &Store, model: &Model) {
    for (room, log) in &model.logs {
        let stored = fixture::log(store, *room).await;
        assert!(stored.iter().eq(log.iter().map(Envelope::bytes)));
        let mut before = Seq(log.len() as u64 + 1);
        while before > Seq(1) {
            let page = store.read_page(*room, Some(before), 7, usize::MAX).await.unwrap().unwrap();
            let expected = (page.to.0 + 1..=log.len() as u64).filter(|seq| {
                let target = log[usize::try_from(*seq).unwrap() - 1].header().target;
                (page.from..=page.to).contains(&target)
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

//! Checks the vectors of what governs a room, whoever wrote them.

use std::collections::BTreeMap;

use super::verify::key32;
use super::*;
use crate::chain::{Chain, ChainEntry};
use crate::crypto::json;
use crate::crypto::sealed_key::{Material, seal_with};

pub(super) fn verify_governing(vectors: &Vectors, device: &Device) {
    for at in &vectors.epoch_records {
        verify_record(at);
    }
    for at in &vectors.sealed_keys {
        let key = open_room_key(device, at.room, at.epoch, &at.sealed.0).expect("sealed to it");
        assert_eq!(key.export().to_vec(), at.room_key.0);
        let again = seal_room_key(&key, device.keys()).expect("usual keys");
        assert_eq!(again.to_vec(), at.sealed.0, "sealed again, the bytes differ");
    }
    for at in &vectors.chains {
        verify_chain(at);
    }
    for at in &vectors.moves {
        verify_move(at, device);
    }
    for (list, check) in [
        (&vectors.emoji, (|text| reaction_emoji(text).is_ok()) as fn(&str) -> bool),
        (&vectors.topics, (|text| crate::crypto::emoji::is_topic(text)) as fn(&str) -> bool),
    ] {
        for text in list.iter().flat_map(|list| &list.accepted) {
            assert!(check(text), "{text:?} should be accepted");
        }
        for text in list.iter().flat_map(|list| &list.refused) {
            assert!(!check(text), "{text:?} should be refused");
        }
    }
}

fn verify_record(at: &governing::RecordVector) {
    let key = RoomKey::import(at.room, at.epoch, key32(&at.room_key));
    let opened = open_record(&key, at.envelope.0.clone().into()).expect("it opens with its key");
    assert!(opened.record.names_recipients(&at.recipients));
    assert!(!opened.record.names_recipients(&at.recipients[1..]));
    let before = opened.previous_key(&key).expect("newcomers can read back");
    assert_eq!((before.epoch(), before.export().to_vec()), (at.epoch - 1, at.previous_room_key.0.clone()));
    let iv = at.previous_key_iv.array().expect("12 bytes");
    assert_eq!(key.seal_previous(&before, iv), opened.record.previous_key, "sealed again, the bytes differ");
    let other = RoomKey::import(at.room, at.epoch, secret("another key"));
    assert!(open_record(&other, at.envelope.0.clone().into()).is_err());
}

fn verify_chain(vector: &governing::ChainVector) {
    let keys: BTreeMap<DeviceId, PublicKeys> = vector.people.iter().map(|keys| (keys.id(), *keys)).collect();
    let mut chain: Option<Chain> = None;
    for at in &vector.entries {
        let envelope = Envelope::parse(at.envelope.0.clone().into()).expect("an envelope");
        let header = *envelope.header();
        let epoch = usize::try_from(header.epoch).expect("a small number");
        let opened = vector.room_keys.get(epoch).and_then(|key| {
            let key = RoomKey::import(vector.room, header.epoch, key32(key));
            open(vector.room, &key, keys.get(&header.device)?, at.envelope.0.clone().into()).ok()
        });
        let entry = ChainEntry { seq: at.seq, hash: envelope.hash(), header, opened };
        let fault = match &mut chain {
            None => Chain::found(entry).map(|founded| chain = Some(founded)).err(),
            Some(chain) => chain.apply(&entry).err(),
        };
        assert_eq!(fault.is_some(), at.fault.is_some(), "{}: {fault:?}", at.name);
        let chain = chain.as_ref().expect("it begins with a founding record");
        assert_eq!((chain.state(), chain.newest().seq), (&at.state, at.newest), "{}", at.name);
    }
    let faults = vector.entries.iter().filter(|at| at.fault.is_some()).count();
    assert!(faults >= 5 && vector.entries.len() - faults >= 10, "a chain of all sorts");
}

fn verify_move(at: &governing::MoveVector, device: &Device) {
    let secret = MoveSecret::parse(&at.link).expect("a link");
    let origin = at.link.split("/#").next().expect("an origin");
    assert_eq!(*MoveSecret::import(key32(&at.secret)).to_link(origin), at.link);
    assert_eq!(secret.mailbox().to_vec(), at.id.0);
    let [own, nonce] = at.nonces.each_ref().map(|nonce| nonce.array().expect("32 bytes"));
    let own = MoveReveal { keys: *device.keys(), nonce: own };
    let offered = secret.open_offer(&at.offer.0).expect("made with the secret");
    assert_eq!((offered, secret.offer(&own).to_vec()), (own.commitment(), at.offer.0.clone()));
    assert_eq!(secret.open_nonce(&offered, &at.nonce.0).map_err(|error| error.code()), Ok(nonce));
    assert_eq!(secret.nonce(&offered, &nonce).to_vec(), at.nonce.0);
    assert_eq!(secret.open_reveal(&offered, &nonce, &at.reveal.0).map_err(|error| error.code()), Ok(own));
    assert_eq!(secret.reveal(&own, &nonce).to_vec(), at.reveal.0);
    assert_eq!(secret.code(&own, &nonce), at.code);
    let answer = secret.open_answer(device, &at.answer.0).expect("sealed to it");
    assert_eq!(json::parse::<MoveAnswer>(at.answer_plain.as_bytes()), Some(answer));
    if let Some(ikm) = &at.ikm_e {
        let mut rng = Material(ikm.array().expect("32 bytes").into());
        let again = seal_with(device.keys(), &secret.info(), at.answer_plain.as_bytes(), &mut rng).expect("usual keys");
        assert_eq!(again, at.answer.0, "sealed again, the bytes differ");
    }
}

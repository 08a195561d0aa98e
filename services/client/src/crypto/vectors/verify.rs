//! Checks vectors, whoever wrote them.

use super::*;

pub(super) fn key32(bytes: &Base64Bytes) -> zeroize::Zeroizing<[u8; 32]> {
    zeroize::Zeroizing::new(bytes.array().expect("32 bytes"))
}

/// Checks every item, whoever wrote it.
pub(super) fn verify(vectors: &Value) {
    let vectors: Vectors = serde_json::from_value(vectors.clone()).expect("the shape of the vectors");
    assert_eq!(vectors.format, "snug/v1");
    let at = &vectors.device;
    let device =
        Device::import(&DeviceSecrets { sign_seed: key32(&at.sign_seed), agree_secret: key32(&at.agree_secret) });
    assert_eq!(device.keys().sign_key.to_vec(), at.sign_key.0);
    assert_eq!(device.keys().agree_key.to_vec(), at.agree_key.0);
    assert_eq!(device.id(), at.device);
    verify_grants(&vectors);

    let at = &vectors.sign_in;
    let signed = sign_in(&device, at.room, at.grant, &at.nonce, &at.origin).expect("a short nonce");
    assert_eq!(signed.signature.0, at.signature.0);

    let at = &vectors.recovery;
    let recovery = RecoveryKey::parse(&at.text).expect("a recovery key");
    assert_eq!(*recovery.to_text(), at.text);
    assert_eq!(*RecoveryKey::import(key32(&at.secret)).to_text(), at.text);
    assert_eq!(recovery.device().keys().sign_key.to_vec(), at.sign_key.0);
    assert_eq!(recovery.device().keys().agree_key.to_vec(), at.agree_key.0);

    let at = &vectors.room_key_commitment;
    let key = RoomKey::import(at.room, at.epoch, key32(&at.room_key));
    assert_eq!(key.commitment().to_vec(), at.commitment.0);
    verify_envelopes(&vectors, &device);
    verify_governing::verify_governing(&vectors, &device);
}

fn verify_grants(vectors: &Vectors) {
    let at = &vectors.password_grant;
    let secret = Secret::of_password(&at.password, at.room, at.grant).expect("a password");
    assert_eq!(secret.bytes().to_vec(), at.ikm.0);
    assert!(at.password.chars().any(|c| c == '\u{301}' || c == '\u{308}' || !c.is_ascii()), "beyond ASCII");
    let keys = GrantKeys::derive(&secret, at.room, at.grant);
    assert_eq!(
        [keys.auth.to_vec(), keys.kek.to_vec(), keys.commit.to_vec()],
        [at.auth.0.clone(), at.kek.0.clone(), at.commit.0.clone()]
    );
    let opened = keys.open(&at.blob.0).expect("it opens");
    assert_eq!((opened.room_key.epoch(), opened.room_key.export().to_vec()), (at.epoch, at.room_key.0.clone()));
    assert_eq!(opened.record_hash.0.to_vec(), at.record_hash.0);
    assert_eq!(keys.seal_under(&opened, at.iv.array().expect("12 bytes")), at.blob.0);

    let at = &vectors.invite_grant;
    // The browser client's fragment has its mark in front.
    let fragment = at.link_fragment.trim_start_matches("#join=");
    let link = InviteLink::parse(&format!("https://chat.example/#join={fragment}")).expect("a link");
    assert_eq!((link.room, link.grant, link.secret.bytes().to_vec()), (at.room, at.grant, at.secret.0.clone()));
    assert_eq!(*link.fragment(), fragment);
    let keys = GrantKeys::derive(&link.secret, at.room, at.grant);
    assert_eq!(
        [keys.auth.to_vec(), keys.kek.to_vec(), keys.commit.to_vec()],
        [at.auth.0.clone(), at.kek.0.clone(), at.commit.0.clone()]
    );
    let opened = keys.open(&at.blob.0).expect("it opens");
    assert_eq!((opened.room_key.epoch(), opened.room_key.export().to_vec()), (at.epoch, at.room_key.0.clone()));
    assert_eq!(opened.record_hash.0.to_vec(), at.record_hash.0);
    assert_eq!(keys.seal_under(&opened, at.iv.array().expect("12 bytes")), at.blob.0);
}

fn verify_envelopes(vectors: &Vectors, device: &Device) {
    assert!(vectors.envelopes.len() >= 6 && vectors.refused.len() >= 6);
    for at in &vectors.envelopes {
        let key = RoomKey::import(at.room, at.epoch, key32(&at.room_key));
        let opened = open(at.room, &key, device.keys(), at.envelope.0.clone().into())
            .unwrap_or_else(|error| panic!("{}: {error}", at.name));
        let kind = EntryKind::from_u8(at.r#type).expect("a known type");
        let prev = Prev { seq: at.prev_seq, hash: EnvelopeHash(at.prev_hash.array().expect("32 bytes")) };
        let header = Header {
            kind,
            room: at.room,
            epoch: at.epoch,
            device: at.device,
            instance: at.instance,
            counter: at.counter,
            target: at.target_seq,
        };
        let body = Body::parse(kind, at.body.as_bytes()).unwrap_or_else(|error| panic!("{}: {error}", at.name));
        assert_eq!(opened, Opened { header, prev, sent_at_ms: at.sent_at_ms, body }, "{}", at.name);
        let content = Content { prev, sent_at_ms: at.sent_at_ms, body: at.body.as_bytes() };
        let again = seal(device, &key, &header, &content).expect("it can be sealed");
        assert_eq!(again.bytes(), &at.envelope.0, "{}: sealed again, the bytes differ", at.name);
        assert_eq!(EnvelopeHash::of(&at.envelope.0).0.to_vec(), at.hash.0, "{}", at.name);
    }
    let usual = &vectors.envelopes[0];
    let key = RoomKey::import(usual.room, usual.epoch, key32(&usual.room_key));
    for at in &vectors.refused {
        let opened = open(usual.room, &key, device.keys(), at.envelope.0.clone().into());
        assert_eq!(opened.map(|_| ()).map_err(|error| error.code()), Err("unreadable"), "{}: {}", at.name, at.why);
    }
}

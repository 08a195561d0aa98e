//! A stolen copy of the database opens nothing that was sealed after a removal, whatever the removed member still has.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use snug_client::RekeyCause;
use snug_client::crypto::{Device, InviteLink, Message};
use snug_protocol::http::{CreateInvite, CreateRoom, Effect, NewEpoch, StepRequest};
use snug_protocol::{GrantId, Seq};
use snug_store::{SqliteOptions, Store};
use snug_tests::hostile::{HostileServer, Passage};
use snug_tests::in_time;
use snug_tests::node::Node;
use tokio_util::task::TaskTracker;

use super::cast::{Cast, PASSWORD, Person, client_of, done, joins};
use super::thief::{Dump, Thief};

type Grants = Arc<Mutex<Vec<(GrantId, Vec<u8>)>>>;

/// A wire to the node that keeps the grants which pass.
async fn tapped(node: &Node) -> (HostileServer, Grants) {
    let (tap, grants) = (HostileServer::before(&node.url).await, Grants::default());
    let kept = Arc::clone(&grants);
    tap.on_call(move |call| {
        let mut kept = kept.lock().expect("no panic");
        if let Ok(NewEpoch { grant, blob, .. }) = serde_json::from_slice(&call.body) {
            kept.push((grant, blob.0));
        } else if let Ok(CreateRoom { grant, blob, .. }) = serde_json::from_slice(&call.body) {
            kept.push((grant, blob.0));
        } else if let Ok(StepRequest { effect: Effect::Password { grant, blob, .. }, .. }) =
            serde_json::from_slice(&call.body)
        {
            kept.push((grant, blob.0));
        } else if call.path.ends_with("/invites")
            && let Ok(CreateInvite { grant, blob, .. }) = serde_json::from_slice(&call.body)
        {
            kept.push((grant, blob.0));
        }
        Passage::Whole
    });
    (tap, grants)
}

fn key_of(person: &Person) -> [u8; 32] {
    *person.room.secrets().key.export()
}

#[tokio::test]
async fn a_stolen_database_and_a_former_members_keys_open_nothing_sealed_after_the_removal() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("snug.db");
    let store = Store::open_sqlite(&path, SqliteOptions::default(), &TaskTracker::new()).await.expect("a database");
    let mut cast = Cast::at(Node::over(store, &[]).await).await;
    let (tap, grants) = tapped(&cast.node).await;
    // Ana once more, on a wire that is listened to: all she makes from here on passes there.
    let device = Device::import(&cast.ana.device());
    let secrets = cast.ana.room.secrets();
    cast.ana.client.close().await;
    let ana = client_of(&cast.node, &tap.url, device);
    let room = in_time("back", ana.resume(secrets)).await.expect("nothing is typed");
    cast.ana = Person::of(ana, room).await;

    let before = cast.ben.says("while Ben was one of us").await;
    done(cast.cleo.room.react(before, "👍", true)).await;
    let mut bens_keys = HashSet::from([key_of(&cast.ben)]);
    cast.ana.rekeys(RekeyCause::Rotate, "the second password").await.expect("an owner may");
    cast.ben.reaches(1).await;
    bens_keys.insert(key_of(&cast.ben));
    let (bens_invite, _) = cast.ben.room.create_invite(None, None).await.expect("any member may");
    let (anas_invite, _) = cast.ana.room.create_invite(None, None).await.expect("any member may");
    cast.cleo.reaches(1).await;
    let last = cast.cleo.says("Ben hears this last").await;
    cast.ben.hears_text("Ben hears this last").await;

    let removal = cast.ana.removes(cast.ben.id(), false, "the third password").await;
    assert_eq!(removal.seq, last.next());
    cast.cleo.reaches(2).await;
    let secret = cast.cleo.says("what Ben shall not read").await;
    let answer = Message { text: "nor this".into(), reply_to: Some(secret), mentions: vec![cast.cleo.id()] };
    let answer = done(cast.ana.room.send(answer)).await.seq;
    done(cast.ana.room.edit(answer, "nor that")).await;
    done(cast.cleo.room.react(answer, "🤫", true)).await;
    done(cast.cleo.room.pin(answer, true)).await;
    cast.ana.room.set_topic("a topic that he does not know").await.expect("an owner may");
    cast.ana.room.change_password("the fourth password").await.expect("an owner may");
    let (link, _) = cast.ana.room.create_invite(None, None).await.expect("an invite");
    drop(link);
    cast.ana.rekeys(RekeyCause::Rotate, "the fifth password").await.expect("an owner may");
    cast.cleo.reaches(3).await;
    let dora = joins(&cast.node, &cast.cleo, "Dora").await;
    dora.says("hello, who was here before me?").await;
    cast.ana.rekeys(RekeyCause::CutHistory, "the sixth password").await.expect("an owner may");
    cast.cleo.reaches(4).await;
    let newest = cast.cleo.says("in the newest epoch").await;

    let dump = Dump::of(&path).await;
    let grants = grants.lock().expect("no panic").clone();
    let room = cast.ana.room.id();
    assert!(dump.entries.contains_key(&newest));
    assert_eq!(grants.len(), 7, "four epochs, a password and two invites of Ana's");
    let secrets = [&bens_invite, &anas_invite].map(|link: &InviteLink| link.secret.clone()).to_vec();
    let ben = Thief {
        room,
        device: Device::import(&cast.ben.device()),
        keys: bens_keys.clone(),
        passwords: vec![PASSWORD.into(), "the second password".into()],
        secrets: secrets.clone(),
        grants: grants.clone(),
    };
    let readable: Vec<Seq> = dump.entries.keys().copied().filter(|seq| *seq < removal.seq).collect();
    assert_eq!(ben.opens(&dump), readable, "all that he could read before, and nothing since");

    // The same attack with what a member who stayed has in her pocket opens all of it: it is a real one.
    let cleo = Thief {
        room,
        device: Device::import(&cast.cleo.device()),
        keys: HashSet::new(),
        passwords: Vec::new(),
        secrets: Vec::new(),
        grants: Vec::new(),
    };
    let all: Vec<Seq> = dump.entries.keys().copied().collect();
    assert_eq!(cleo.opens(&dump), all);
    // And so does a password that Ben did not know.
    let knowing = Thief {
        room,
        device: Device::generate(),
        keys: HashSet::new(),
        passwords: vec!["the fifth password".into()],
        secrets: Vec::new(),
        grants,
    };
    let opened = knowing.opens(&dump);
    assert!(opened.contains(&answer) && !opened.contains(&newest), "{opened:?}");

    for text in
        ["Ben hears this last", "what Ben shall not read", "a topic that he", "the third password", "hello, who"]
    {
        assert!(!dump.holds(text.as_bytes()), "{text}");
    }
    for key in bens_keys.iter().chain(&[key_of(&cast.ana)]) {
        assert!(!dump.holds(key), "a room key lies in the database");
    }
    assert!(dump.holds(room.as_bytes()), "the files are read");
    cast.ana.is_content().await;
    cast.cleo.is_content().await;
}

//! A stolen copy of the database opens nothing that was sealed after a removal, whatever the removed member still has.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use snug_client::RekeyCause;
use snug_client::crypto::{Device, Message};
use snug_protocol::http::{CreateInvite, CreateRoom, Effect, NewEpoch, StepRequest};
use snug_protocol::{GrantId, Seq};
use snug_store::{SqliteOptions, Store};
use snug_tests::hostile::{HostileServer, Passage};
use snug_tests::in_time;
use snug_tests::node::Node;
use tempfile::TempDir;
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

/// A room's life around a removal, and what Ben has of it.
struct Story {
    cast: Cast,
    ben: Thief,
    /// All grants that Ana made.
    grants: Vec<(GrantId, Vec<u8>)>,
    removal: Seq,
    /// Said soon after the removal, and in the newest epoch.
    answer: Seq,
    newest: Seq,
    folder: TempDir,
}

impl Story {
    async fn tell() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("snug.db");
        let store = Store::open_sqlite(&path, SqliteOptions::default(), &TaskTracker::new()).await.expect("a database");
        let mut cast = Cast::at(Node::over(store, &[]).await).await;
        let (tap, grants) = tapped(&cast.node).await;
        // Ana comes back on a wire that is listened to: all she makes from here on passes there.
        let (device, secrets) = (Device::import(&cast.ana.device()), cast.ana.room.secrets());
        cast.ana.client.close().await;
        let ana = client_of(&cast.node, &tap.url, device);
        let room = in_time("back", ana.resume(secrets)).await.expect("nothing is typed");
        cast.ana = Person::of(ana, room).await;
        let (ben, last) = Self::while_ben_was_there(&mut cast).await;
        let removal = cast.ana.removes(cast.ben.id(), false, "the third password").await.seq;
        assert_eq!(removal, last.next());
        let (answer, newest) = Self::without_ben(&cast).await;
        let grants = grants.lock().expect("no panic").clone();
        assert_eq!(grants.len(), 7, "four epochs, a password and two invites of Ana's");
        Self { ben: Thief { grants: grants.clone(), ..ben }, cast, grants, removal, answer, newest, folder }
    }

    /// What Ben has in the end, and the last that he hears.
    async fn while_ben_was_there(cast: &mut Cast) -> (Thief, Seq) {
        let before = cast.ben.says("while Ben was one of us").await;
        done(cast.cleo.room.react(before, "👍", true)).await;
        let mut keys = HashSet::from([key_of(&cast.ben)]);
        cast.ana.rekeys(RekeyCause::Rotate, "the second password").await.expect("an owner may");
        cast.ben.reaches(1).await;
        keys.insert(key_of(&cast.ben));
        let (bens, _) = cast.ben.room.create_invite(None, None).await.expect("any member may");
        let (anas, _) = cast.ana.room.create_invite(None, None).await.expect("any member may");
        cast.cleo.reaches(1).await;
        let last = cast.cleo.says("Ben hears this last").await;
        cast.ben.hears_text("Ben hears this last").await;
        let passwords = vec![PASSWORD.into(), "the second password".into()];
        let secrets = vec![bens.secret, anas.secret];
        (Thief { keys, passwords, secrets, ..Thief::of(&cast.ben) }, last)
    }

    /// All kinds of entries and grants, in three epochs. Returns the places of an early and of the last message.
    async fn without_ben(cast: &Cast) -> (Seq, Seq) {
        cast.cleo.reaches(2).await;
        let secret = cast.cleo.says("what Ben shall not read").await;
        let answer = Message { text: "nor this".into(), reply_to: Some(secret), mentions: vec![cast.cleo.id()] };
        let answer = done(cast.ana.room.send(answer)).await.seq;
        done(cast.ana.room.edit(answer, "nor that")).await;
        done(cast.cleo.room.react(answer, "🤫", true)).await;
        done(cast.cleo.room.pin(answer, true)).await;
        cast.ana.room.set_topic("a topic that he does not know").await.expect("an owner may");
        cast.ana.room.change_password("the fourth password").await.expect("an owner may");
        cast.ana.room.create_invite(None, None).await.expect("an invite");
        cast.ana.rekeys(RekeyCause::Rotate, "the fifth password").await.expect("an owner may");
        cast.cleo.reaches(3).await;
        let dora = joins(&cast.node, &cast.cleo, "Dora").await;
        dora.says("hello, who was here before me?").await;
        cast.ana.rekeys(RekeyCause::CutHistory, "the sixth password").await.expect("an owner may");
        cast.cleo.reaches(4).await;
        (answer, cast.cleo.says("in the newest epoch").await)
    }

    async fn dump(&self) -> Dump {
        Dump::of(&self.folder.path().join("snug.db")).await
    }
}

#[tokio::test]
async fn a_stolen_database_and_a_former_members_keys_open_nothing_sealed_after_the_removal() {
    let story = Story::tell().await;
    let dump = story.dump().await;
    assert!(dump.entries.contains_key(&story.newest));
    let readable: Vec<Seq> = dump.entries.keys().copied().filter(|seq| *seq < story.removal).collect();
    assert_eq!(story.ben.opens(&dump), readable, "all that he could read before, and nothing since");

    // The same attack with what a member who stayed has in her pocket opens all of it: it is a real one.
    let all: Vec<Seq> = dump.entries.keys().copied().collect();
    assert_eq!(Thief::of(&story.cast.cleo).opens(&dump), all);
    // And so does a password that Ben did not know, up to where the history was cut.
    let passwords = vec!["the fifth password".into()];
    let stranger = Thief { device: Device::generate(), passwords, grants: story.grants, ..Thief::of(&story.cast.ben) };
    let opened = stranger.opens(&dump);
    assert!(opened.contains(&story.answer) && !opened.contains(&story.newest), "{opened:?}");
}

#[tokio::test]
async fn neither_texts_nor_passwords_nor_room_keys_lie_in_the_database() {
    let story = Story::tell().await;
    let dump = story.dump().await;
    for text in
        ["Ben hears this last", "what Ben shall not read", "a topic that he", "the third password", "hello, who"]
    {
        assert!(!dump.holds(text.as_bytes()), "{text}");
    }
    for key in story.ben.keys.iter().chain(&[key_of(&story.cast.ana)]) {
        assert!(!dump.holds(key), "a room key lies in the database");
    }
    assert!(dump.holds(story.cast.ana.room.id().as_bytes()), "the files are read");
    story.cast.ana.is_content().await;
    story.cast.cleo.is_content().await;
}

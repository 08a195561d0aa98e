//! The main job, through the SDK: create a room, join it, talk, come later and read, invite, go and come back.

use snug_client::crypto::{Device, InviteLink};
use snug_client::{Client, ClientConfig, Event, Events, Room};
use snug_protocol::http::Role;
use snug_tests::node::Node;
use snug_tests::{eventually, in_time};

const PASSWORD: &str = "orbit velvet canyon seven";

fn client(node: &Node) -> Client {
    Client::connect(ClientConfig::new(&node.url), Device::generate()).expect("an address")
}

/// The next message: who says what.
async fn heard(events: &mut Events) -> (Option<String>, String, bool) {
    loop {
        match in_time("a message comes", events.next()).await.expect("the room is open") {
            Event::Message { name, text, mine, .. } => return (name, text, mine),
            Event::Violation(violation) => panic!("{violation:?}"),
            Event::Unreadable { seq, .. } => panic!("{seq} cannot be read"),
            _ => {}
        }
    }
}

async fn says(room: &Room, text: &str) {
    in_time("a message is acknowledged", room.send(text)).await.expect("it is stored");
}

#[tokio::test]
async fn two_people_talk_and_a_third_who_comes_later_reads_it_all() {
    let node = Node::start().await;
    let (ana, ben, cleo) = (client(&node), client(&node), client(&node));
    let (anas, _recovery) = ana.create_room("Book Club", PASSWORD, "Ana").await.expect("a room");
    let mut ana_hears = anas.events().await.expect("open");
    assert_eq!(anas.role(), Role::Owner);
    let bens = ben.join(" book  club", PASSWORD, "Ben").await.expect("in");
    let mut ben_hears = bens.events().await.expect("open");
    says(&anas, "Which one is next?").await;
    assert_eq!(heard(&mut ben_hears).await, (Some("Ana".into()), "Which one is next?".into(), false));
    says(&bens, "Middlemarch 📚\n**all** of it").await;
    assert!(heard(&mut ana_hears).await.2, "one's own messages come back by the same door");
    assert_eq!(heard(&mut ana_hears).await, (Some("Ben".into()), "Middlemarch 📚\n**all** of it".into(), false));
    let cleos = cleo.join("Book Club", PASSWORD, "Cleo").await.expect("in");
    let mut cleo_hears = cleos.events().await.expect("open");
    assert_eq!(heard(&mut cleo_hears).await.1, "Which one is next?");
    assert_eq!(heard(&mut cleo_hears).await, (Some("Ben".into()), "Middlemarch 📚\n**all** of it".into(), false));
    let names = async || {
        let mut names: Vec<_> =
            anas.members().await.expect("a list").into_iter().filter_map(|member| member.name).collect();
        names.sort();
        (names == ["Ana", "Ben", "Cleo"]).then_some(())
    };
    eventually("everyone is known by name", names).await;
    eventually("everyone is here", async || (anas.here().await.expect("open").len() == 3).then_some(())).await;
}

#[tokio::test]
async fn a_wrong_password_opens_nothing_and_says_so() {
    let node = Node::start().await;
    let (ana, eve) = (client(&node), client(&node));
    ana.create_room("Closed", PASSWORD, "Ana").await.expect("a room");
    for (name, password) in [("Closed", "orbit velvet canyon eight"), ("Nowhere", PASSWORD)] {
        let error = eve.join(name, password, "Eve").await.expect_err("it is refused");
        assert_eq!(error.code(), "wrong_credentials", "{name}");
    }
}

#[tokio::test]
async fn an_invite_link_is_a_way_in_without_the_password() {
    let node = Node::start().await;
    let (ana, ben) = (client(&node), client(&node));
    let (anas, _recovery) = ana.create_room("By invitation", PASSWORD, "Ana").await.expect("a room");
    says(&anas, "before you came").await;
    let (link, invite) = anas.create_invite(None, Some(1)).await.expect("an invite");
    let text = link.to_text();
    assert!(text.starts_with(&format!("{}/#join=", node.url)), "the key is behind the #, which no server gets");
    let bens = ben.join_by_link(&InviteLink::parse(&text).expect("our own link"), "Ben").await.expect("in");
    let mut ben_hears = bens.events().await.expect("open");
    assert_eq!(heard(&mut ben_hears).await.1, "before you came");
    assert_eq!(anas.invites().await.expect("a list")[0].uses, 1);
    anas.revoke_invite(invite.grant).await.expect("his to revoke");
    assert!(anas.invites().await.expect("a list").is_empty());
}

#[tokio::test]
async fn who_comes_back_with_the_same_device_retypes_nothing() {
    let node = Node::start().await;
    let device = Device::generate();
    let secrets = device.export();
    let first = Client::connect(ClientConfig::new(&node.url), device).expect("an address");
    let (room, _recovery) = first.create_room("Return", PASSWORD, "Ana").await.expect("a room");
    says(&room, "remember me").await;
    let kept = room.secrets();
    drop(room);
    first.close().await;
    let again = Client::connect(ClientConfig::new(&node.url), Device::import(&secrets)).expect("an address");
    assert_eq!(again.rooms().await.expect("a list")[0].name, "Return");
    let room = again.resume(kept).await.expect("no password is asked for");
    let mut hears = room.events().await.expect("open");
    assert_eq!(heard(&mut hears).await, (Some("Ana".into()), "remember me".into(), true));
    says(&room, "here I am").await;
    room.leave().await.expect("she may go");
    assert!(again.rooms().await.expect("a list").is_empty());
}

#[tokio::test]
async fn names_texts_and_passwords_are_checked_before_anything_is_sent() {
    let node = Node::start().await;
    let ana = client(&node);
    let refused = async |name: &str, password: &str, member: &str| {
        ana.create_room(name, password, member).await.err().map(|error| error.code())
    };
    assert!(refused("", PASSWORD, "Ana").await.is_some());
    assert!(refused("a\u{202e}b", PASSWORD, "Ana").await.is_some());
    assert!(refused("Room", PASSWORD, "").await.is_some());
    assert!(refused("Room", PASSWORD, &"x".repeat(41)).await.is_some());
    assert!(refused("Room", "", "Ana").await.is_some());
    let (room, _recovery) = ana.create_room("Room", PASSWORD, "Ana").await.expect("a room");
    for text in ["", " \n ", "bell \u{7}", &"x".repeat(4_001)] {
        assert!(room.send(text).await.is_err(), "{text:?}");
    }
    says(&room, &"é".repeat(4_000)).await;
}

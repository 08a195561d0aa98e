//! The SDK's promises to programs: nothing is lost or doubled by broken connections, slow readers, long absences or a log that begins anew.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use snug_client::crypto::Device;
use snug_client::log::LOG_ENTRIES_MAX;
use snug_client::{Client, ClientConfig, Event, Events, Room};
use snug_protocol::frame::{ClientFrame, Cursor, Resync, SendFrame, ServerFrame};
use snug_protocol::{ErrorBody, ErrorCode, HistoryId, Seq};
use snug_tests::hostile::scene::{say, until};
use snug_tests::hostile::{Fate, HostileServer};
use snug_tests::in_time;
use snug_tests::node::Node;
use snug_tests::tls::Certificate;

const PASSWORD: &str = "correct horse battery";

/// Patient as usual, but quick to come back.
fn quick(mut config: ClientConfig) -> ClientConfig {
    config.timing.backoff_first = Duration::from_millis(20);
    config.timing.backoff_max = Duration::from_millis(200);
    config
}

fn client(url: &str, node: &Node) -> Client {
    let config = ClientConfig { origin: Some(node.url.clone()), ..quick(ClientConfig::new(url)) };
    Client::connect(config, Device::generate()).expect("an address")
}

/// Texts in the order they come, up to and with `last`.
async fn texts_until(events: &mut Events, last: &str) -> Vec<String> {
    let mut texts = Vec::new();
    in_time("the last text comes", async {
        while texts.last().is_none_or(|text| text != last) {
            match events.next().await.expect("the room is open") {
                Event::Message { text, .. } => texts.push(text),
                Event::Violation(violation) => panic!("{violation:?}"),
                Event::Hole { .. } | Event::Unreadable { .. } => panic!("something is missing"),
                _ => {}
            }
        }
    })
    .await;
    texts
}

async fn pair(url: &str, node: &Node) -> (Client, Room, Client, Room) {
    let (ana, bob) = (client(&node.url, node), client(url, node));
    let (garden, _) = in_time("a room", ana.create_room("Garden", PASSWORD, "Ana")).await.expect("a room");
    let there = in_time("joined", bob.join("Garden", PASSWORD, "Bob")).await.expect("joined");
    (ana, garden, bob, there)
}

#[tokio::test]
async fn messages_survive_broken_connections_in_order_and_once() {
    let node = Node::start().await;
    let proxy = HostileServer::before(&node.url).await;
    let (_ana, garden, _bob, there) = pair(&proxy.url, &node).await;
    let mut events = garden.events().await.expect("open");
    let mut bobs_events = there.events().await.expect("open");
    let mut sendings = Vec::new();
    for n in 0..200 {
        sendings.push(there.send(format!("message {n}")));
        if n % 20 == 7 {
            let early = sendings.remove(0);
            in_time("sent in spite of it", early).await.expect("sent");
            proxy.cut();
        }
    }
    for sending in sendings {
        in_time("sent in spite of it", sending).await.expect("sent");
    }
    let wanted: Vec<String> = (0..200).map(|n| format!("message {n}")).collect();
    assert_eq!(texts_until(&mut events, "message 199").await, wanted);
    assert_eq!(texts_until(&mut bobs_events, "message 199").await, wanted, "its own come back once each");
}

#[tokio::test]
async fn people_talk_with_a_node_that_speaks_tls_itself() {
    let certificate = Certificate::new();
    let node = Node::start_with(&certificate.args().each_ref().map(String::as_str)).await;
    let connect = || {
        let config = ClientConfig { tls: Some(certificate.trusted()), ..quick(ClientConfig::new(&node.url)) };
        Client::connect(config, Device::generate()).expect("an address")
    };
    let (ana, bob) = (connect(), connect());
    let (garden, _) = in_time("a room", ana.create_room("Garden", PASSWORD, "Ana")).await.expect("a room");
    let there = in_time("joined", bob.join("Garden", PASSWORD, "Bob")).await.expect("joined");
    let mut events = [garden.events().await.expect("open"), there.events().await.expect("open")];
    // More than a socket takes at once.
    let text = "x".repeat(3_900);
    let sendings: Vec<_> = (0..400).map(|n| [&garden, &there][n % 2].send(format!("{n} {text}"))).collect();
    for sending in sendings {
        in_time("sent", sending).await.expect("sent");
    }
    in_time("sent", garden.send("the end".to_owned())).await.expect("sent");
    let [anas, bobs] = &mut events;
    let seen = [texts_until(anas, "the end").await, texts_until(bobs, "the end").await];
    assert_eq!(seen[0].len(), 401);
    assert_eq!(seen[0], seen[1], "in one order");
    let untrusting = Client::connect(quick(ClientConfig::new(&node.url)), Device::generate()).expect("an address");
    assert!(in_time("refused", untrusting.join("Garden", PASSWORD, "Eve")).await.is_err());
}

#[tokio::test]
async fn a_reader_who_takes_nothing_for_long_misses_nothing() {
    let node = Node::start().await;
    let (_ana, garden, _bob, there) = pair(&node.url, &node).await;
    let mut events = there.events().await.expect("open");
    let count = 2_000;
    let sendings: Vec<_> = (0..900).map(|n| garden.send(format!("message {n}"))).collect();
    for sending in sendings {
        in_time("sent", sending).await.expect("sent");
    }
    let sendings: Vec<_> = (900..count).map(|n| garden.send(format!("message {n}"))).collect();
    for (n, sending) in sendings.into_iter().enumerate() {
        let sent = in_time("sent", sending).await;
        // The outbox holds a thousand; what it refused is sent again.
        if sent.is_err() {
            say(&garden, &format!("message {}", n + 900)).await;
        }
    }
    let texts = texts_until(&mut events, &format!("message {}", count - 1)).await;
    assert_eq!(texts.len(), count);
    let before_1000: Vec<String> = (0..900).map(|n| format!("message {n}")).collect();
    assert_eq!(texts[..900], before_1000);
}

#[tokio::test]
async fn a_long_absence_is_caught_up_page_by_page_or_told_as_a_hole() {
    let node = Node::start().await;
    for (catch_up_max, hole) in [(10_000, false), (1_000, true)] {
        let name = format!("Absence {catch_up_max}");
        let proxy = HostileServer::before(&node.url).await;
        let ana = client(&node.url, &node);
        let (room, _) = ana.create_room(&name, PASSWORD, "Ana").await.expect("a room");
        let mut config = quick(ClientConfig::new(&proxy.url));
        (config.origin, config.catch_up_max) = (Some(node.url.clone()), catch_up_max);
        let bob = Client::connect(config, Device::generate()).expect("an address");
        let there = bob.join(&name, PASSWORD, "Bob").await.expect("joined");
        let mut events = there.events().await.expect("open");
        until(&mut events, |event| matches!(event, Event::Joined { name, .. } if name == "Bob")).await;
        // Bob's connection breaks and cannot come back before Ana has said a lot.
        proxy.refuse(true);
        proxy.cut();
        until(&mut events, |event| *event == Event::ConnectionLost).await;
        let head = fill(&room, 1_200).await;
        proxy.refuse(false);
        if hole {
            let Event::Hole { from, to } = until(&mut events, |event| matches!(event, Event::Hole { .. })).await else {
                unreachable!("only a hole is wanted")
            };
            assert!(from < to && to < head);
            let page = there.history_before(to.next(), 200).await.expect("a page");
            assert_eq!(page.events.last().and_then(Event::seq), Some(to));
        } else {
            let texts = texts_until(&mut events, "message 1199").await;
            assert_eq!(texts.len(), 1_200);
        }
        assert_eq!(there.violations().await.expect("open"), []);
    }
}

#[tokio::test]
async fn older_pages_go_back_to_the_first_message_of_a_room_longer_than_what_is_kept() {
    let node = Node::start().await;
    let (ana, bob) = (client(&node.url, &node), client(&node.url, &node));
    let (room, _) = in_time("a room", ana.create_room("Long", PASSWORD, "Ana")).await.expect("a room");
    let count = LOG_ENTRIES_MAX + 1_200;
    fill(&room, count).await;
    let there = in_time("joined", bob.join("Long", PASSWORD, "Bob")).await.expect("joined");
    let mut events = there.events().await.expect("open");
    let mut texts = texts_until(&mut events, &format!("message {}", count - 1)).await;
    loop {
        let page = in_time("a page", there.load_older()).await.expect("a page");
        let is_beginning = page.is_beginning();
        let older = page.events.into_iter().filter_map(|event| match event {
            Event::Message { text, .. } => Some(text),
            _ => None,
        });
        texts.splice(0..0, older);
        assert!(texts.len() <= count, "a page came twice");
        if is_beginning {
            break;
        }
    }
    let wanted: Vec<String> = (0..count).map(|n| format!("message {n}")).collect();
    assert!(texts == wanted, "each message once and in order");
    assert!(there.loaded().await.expect("open").len() < count, "not all of it is kept");
    assert_eq!(there.violations().await.expect("open"), []);
}

async fn fill(room: &Room, count: usize) -> Seq {
    let mut head = Seq::ZERO;
    for chunk in (0..count).collect::<Vec<_>>().chunks(500) {
        let sendings: Vec<_> = chunk.iter().map(|n| room.send(format!("message {n}"))).collect();
        for sending in sendings {
            head = in_time("sent", sending).await.expect("sent").seq;
        }
    }
    head
}

/// Two ways to one node, which to a client are two nodes of one service, and a client that knows both.
struct TwoNodes {
    first: HostileServer,
    second: HostileServer,
    ana: Client,
    _node: Node,
}

async fn two_nodes() -> TwoNodes {
    let node = Node::start().await;
    let (first, second) = (HostileServer::before(&node.url).await, HostileServer::before(&node.url).await);
    let nodes = ClientConfig::with_nodes([first.url.clone(), second.url.clone()]);
    let config = ClientConfig { origin: Some(node.url.clone()), ..quick(nodes) };
    let ana = Client::connect(config, Device::generate()).expect("addresses");
    TwoNodes { first, second, ana, _node: node }
}

#[tokio::test]
async fn after_a_node_is_gone_the_client_goes_on_at_another() {
    let nodes = two_nodes().await;
    let (garden, _) = nodes.ana.create_room("Garden", PASSWORD, "Ana").await.expect("a room");
    say(&garden, "at the first").await;
    let mut events = garden.events().await.expect("open");
    nodes.first.refuse(true);
    nodes.first.cut();
    say(&garden, "at the second").await;
    assert_eq!(texts_until(&mut events, "at the second").await, ["at the first", "at the second"]);
    assert_eq!(nodes.ana.rooms().await.expect("the calls go there too").len(), 1);
}

#[tokio::test]
async fn a_draining_node_is_left_before_it_closes() {
    let nodes = two_nodes().await;
    let (garden, _) = nodes.ana.create_room("Garden", PASSWORD, "Ana").await.expect("a room");
    let mut events = garden.events().await.expect("open");
    let mut sent = vec!["before".to_owned()];
    say(&garden, "before").await;
    assert_eq!(nodes.first.sockets(), 1);
    nodes.first.tell(&ServerFrame::Move { within_ms: 5_000 });
    for n in 0.. {
        sent.push(format!("during {n}"));
        say(&garden, &sent[sent.len() - 1]).await;
        if nodes.first.sockets() == 0 {
            break;
        }
        tokio::task::yield_now().await;
    }
    say(&garden, "after").await;
    sent.push("after".into());
    let mut texts = Vec::new();
    while texts.last().is_none_or(|text| text != "after") {
        match in_time("the last text comes", events.next()).await.expect("open") {
            Event::Message { text, .. } => texts.push(text),
            Event::ConnectionLost => panic!("the next session was to be open before the last one closed"),
            _ => {}
        }
    }
    assert_eq!(texts, sent);
}

#[tokio::test]
async fn a_draining_node_is_left_as_soon_as_another_can_be_had() {
    let nodes = two_nodes().await;
    let (garden, _) = nodes.ana.create_room("Garden", PASSWORD, "Ana").await.expect("a room");
    let mut events = garden.events().await.expect("open");
    say(&garden, "before").await;
    nodes.second.refuse(true);
    nodes.first.tell(&ServerFrame::Move { within_ms: 30_000 });
    say(&garden, "while nobody else takes her").await;
    nodes.first.refuse(true);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!((nodes.first.sockets(), nodes.second.sockets()), (1, 0), "she stays where she is");
    nodes.second.refuse(false);
    let moved = async || (nodes.first.sockets() == 0 && nodes.second.sockets() == 1).then_some(());
    snug_tests::eventually("she moves", moved).await;
    say(&garden, "after").await;
    let mut texts = Vec::new();
    while texts.last().is_none_or(|text| text != "after") {
        match in_time("the last text comes", events.next()).await.expect("open") {
            Event::Message { text, .. } => texts.push(text),
            Event::ConnectionLost => panic!("the next session was to be open before the last one closed"),
            _ => {}
        }
    }
    assert_eq!(texts, ["before", "while nobody else takes her", "after"]);
}

#[tokio::test]
async fn how_a_room_stands_replaces_what_was_known_of_it() {
    let node = Node::start().await;
    let proxy = HostileServer::before(&node.url).await;
    let (ana, _garden, bob, there) = pair(&proxy.url, &node).await;
    let mut events = there.events().await.expect("open");
    let (anas_id, cleos_id, room) = (ana.device().id(), Device::generate().id(), there.id());
    snug_tests::eventually("Ana is here", async || there.here().await.expect("open").contains(&anas_id).then_some(()))
        .await;
    let bobs_id = bob.device().id();
    proxy.tell(&ServerFrame::Here { room, here: Some(vec![bobs_id, cleos_id]), here_count: 2 });
    let mut changes = Vec::new();
    loop {
        match in_time("it is told", events.next()).await.expect("open") {
            Event::Presence { device, here, .. } => changes.push((device, here)),
            Event::HereCount { here_count: 2 } if changes.contains(&(cleos_id, true)) => break,
            _ => {}
        }
    }
    assert_eq!(changes[changes.len() - 2..], [(anas_id, false), (cleos_id, true)], "the differences are told");
    proxy.tell(&ServerFrame::Here { room, here: None, here_count: 700 });
    proxy.tell(&ServerFrame::TypingCount { room, count: 12 });
    until(&mut events, |event| *event == Event::TypingCount { count: 12 }).await;
    assert_eq!((there.here().await.expect("open"), there.here_count().await.expect("open")), (vec![], 700));
}

#[tokio::test]
async fn when_the_log_begins_anew_the_sender_learns_what_was_lost() {
    let node = Node::start().await;
    let proxy = HostileServer::before(&node.url).await;
    let (_ana, _garden, _bob, there) = pair(&proxy.url, &node).await;
    let mut events = there.events().await.expect("open");
    let kept = say(&there, "kept").await;
    let lost = say(&there, "lost").await;
    until(&mut events, |event| event.seq() == Some(lost)).await;
    // As after a restored backup: another history, without the last entry.
    let restored = HistoryId([7; 16]);
    proxy.on_ask(|asked| match asked {
        ClientFrame::Follow { id, room, .. } => ClientFrame::Follow { id, room, cursor: None },
        other => other,
    });
    proxy.on_frame(move |frame| {
        Some(match frame {
            ServerFrame::Followed { id, room, head, from, role, chain, here, here_count, .. } => {
                ServerFrame::Followed {
                    id,
                    room,
                    history: restored,
                    head: head.back(1),
                    from,
                    skipped: false,
                    resync: Some(Resync::OtherHistory),
                    role,
                    chain,
                    here,
                    here_count,
                }
            }
            other => other,
        })
    });
    proxy.on_entry(move |entry| if entry.seq() == lost { vec![] } else { vec![entry] });
    proxy.cut();
    let told = until(&mut events, |event| matches!(event, Event::Resync { .. })).await;
    let Event::Resync { lost: messages } = told else { unreachable!("only a resync is wanted") };
    let texts: Vec<(Seq, &str)> = messages.iter().map(|message| (message.seq, message.text.as_str())).collect();
    assert_eq!(texts, [(lost, "lost")]);
    until(&mut events, |event| event.seq() == Some(kept)).await;
}

#[tokio::test]
async fn leaving_and_deleting_close_the_room_with_their_reason() {
    let node = Node::start().await;
    let (_ana, garden, bob, there) = pair(&node.url, &node).await;
    let (mut events, mut bobs_events) = (garden.events().await.expect("open"), there.events().await.expect("open"));
    in_time("left", there.leave()).await.expect("left");
    let left = until(&mut events, |event| matches!(event, Event::Left { .. })).await;
    assert!(matches!(&left, Event::Left { name: Some(name), .. } if name == "Bob"));
    let closed = until(&mut bobs_events, |event| matches!(event, Event::Closed { .. })).await;
    assert!(matches!(closed, Event::Closed { code: "left" | "not_a_member" }), "{closed:?}");
    assert_eq!(there.send("too late").await.map_err(|error| error.code()).err(), Some("closed"));
    assert!(bob.rooms().await.expect("a list").is_empty());

    let again = in_time("joined again", bob.join("Garden", PASSWORD, "Bob")).await.expect("joined again");
    let back = until(&mut events, |event| matches!(event, Event::Joined { name, .. } if name == "Bob")).await;
    assert!(back.seq() > left.seq());
    let mut bobs_events = again.events().await.expect("open");
    in_time("deleted", garden.delete()).await.expect("deleted");
    let closed = until(&mut bobs_events, |event| matches!(event, Event::Closed { .. })).await;
    assert_eq!(closed, Event::Closed { code: "room_deleted" });
}

#[tokio::test]
async fn members_see_who_is_here_who_writes_and_who_goes_by_another_name() {
    let node = Node::start().await;
    let (ana, garden, bob, there) = pair(&node.url, &node).await;
    let mut events = garden.events().await.expect("open");
    until(&mut events, |event| matches!(event, Event::Joined { name, .. } if name == "Bob")).await;
    in_time("renamed", there.rename("Robert")).await.expect("renamed");
    let renamed = until(&mut events, |event| matches!(event, Event::Renamed { .. })).await;
    assert!(
        matches!(renamed, Event::Renamed { name, before: Some(before), .. } if name == "Robert" && before == "Bob")
    );
    there.typing().await.expect("open");
    let bobs_device = bob.device().id();
    until(&mut events, |event| *event == Event::Typing { device: bobs_device }).await;
    let both = snug_tests::eventually("both are here", async || {
        let here = there.here().await.expect("open");
        (here.len() == 2).then_some(here)
    })
    .await;
    assert!(both.contains(&ana.device().id()) && both.contains(&bobs_device));
}

#[tokio::test]
async fn a_cursor_is_kept_across_reconnects() {
    let node = Node::start().await;
    let proxy = HostileServer::before(&node.url).await;
    let (_ana, garden, _bob, there) = pair(&proxy.url, &node).await;
    let mut events = there.events().await.expect("open");
    let seq = say(&garden, "before").await;
    until(&mut events, |event| event.seq() == Some(seq)).await;
    let asked: Arc<Mutex<Option<Cursor>>> = Arc::default();
    proxy.on_ask({
        let asked = Arc::clone(&asked);
        move |frame| {
            if let ClientFrame::Follow { cursor, .. } = &frame {
                asked.lock().expect("no panic").clone_from(cursor);
            }
            frame
        }
    });
    proxy.cut();
    let seq_after = say(&garden, "after").await;
    until(&mut events, |event| event.seq() == Some(seq_after)).await;
    let cursor = asked.lock().expect("no panic").take().expect("a cursor");
    assert!(cursor.seq == seq || cursor.seq == seq_after, "{cursor:?}");
}

#[tokio::test]
async fn sending_faster_than_allowed_is_slowed_down_and_not_refused() {
    let node = Node::start_with(&["--sends-per-second=50", "--sends-burst=5"]).await;
    let (_ana, garden, _bob, there) = pair(&node.url, &node).await;
    let mut events = garden.events().await.expect("open");
    let sendings: Vec<_> = (0..60).map(|n| there.send(format!("message {n}"))).collect();
    for sending in sendings {
        in_time("sent", sending).await.expect("sent");
    }
    let wanted: Vec<String> = (0..60).map(|n| format!("message {n}")).collect();
    assert_eq!(texts_until(&mut events, "message 59").await, wanted);
}

#[tokio::test]
async fn a_message_refused_for_good_fails_alone_and_what_follows_is_sealed_anew() {
    let node = Node::start().await;
    let proxy = HostileServer::before(&node.url).await;
    let (_ana, garden, _bob, there) = pair(&proxy.url, &node).await;
    let mut events = garden.events().await.expect("open");
    say(&there, "first").await;
    let mut count = 0;
    proxy.on_send(move |bytes| {
        let frame = SendFrame::parse(bytes).expect("the SDK speaks the protocol");
        count += 1;
        if count != 3 {
            return Fate::Passed;
        }
        let error = ErrorCode::NotAllowed.into();
        Fate::Answered(ServerFrame::Error { id: Some(frame.id), room: Some(frame.envelope.header().room), error })
    });
    let sendings: Vec<_> = (0..8).map(|n| there.send(format!("message {n}"))).collect();
    for (n, sending) in sendings.into_iter().enumerate() {
        let code = in_time("an answer", sending).await.map_err(|error| error.code()).err();
        assert_eq!(code, (n == 2).then_some(ErrorCode::NotAllowed.as_str()), "message {n}");
    }
    let texts = texts_until(&mut events, "message 7").await;
    let wanted: Vec<String> = (0..8).filter(|n| *n != 2).map(|n| format!("message {n}")).collect();
    assert_eq!(texts[1..], wanted);
}

#[tokio::test]
async fn a_token_that_ended_is_renewed_without_anyone_noticing() {
    let node = Node::start().await;
    let proxy = HostileServer::before(&node.url).await;
    let (_ana, _garden, bob, there) = pair(&proxy.url, &node).await;
    say(&there, "before").await;
    let renewals = Arc::new(AtomicUsize::new(0));
    let mut refused = false;
    proxy.on_http({
        let renewals = Arc::clone(&renewals);
        move |answer| match answer.path.as_str() {
            "/api/rooms" if !std::mem::replace(&mut refused, true) => {
                answer.body = serde_json::to_vec(&ErrorBody::from(ErrorCode::TokenInvalid)).expect("plain").into();
                answer.status = 401;
            }
            "/api/token" => {
                renewals.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
    });
    assert_eq!(in_time("a list", bob.rooms()).await.expect("a list").len(), 1);
    assert_eq!(renewals.load(Ordering::Relaxed), 1);
    proxy.tell(&ServerFrame::Error { id: None, room: None, error: ErrorCode::TokenInvalid.into() });
    snug_tests::eventually("the token is renewed", async || (renewals.load(Ordering::Relaxed) == 2).then_some(()))
        .await;
    say(&there, "after").await;
}

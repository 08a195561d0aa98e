//! Cursors: whoever follows gets what lies after theirs, each entry once and in order, or is told why not.

use bytes::Buf;
use snug_client::wire::Incoming;
use snug_protocol::frame::{Cursor, EntryFrame, Resync, ServerFrame, close};
use snug_protocol::http::LogPageHead;
use snug_protocol::limits::{BACKLOG_MAX, LATEST_PAGE};
use snug_protocol::{Base64Bytes, HistoryId, Seq};
use snug_store::MemoryStore;
use snug_tests::guest::{Guest, GuestRoom, Socket};
use snug_tests::{http, node::Node};

/// A room with `count` messages; its head is `count + 1`, for the record.
async fn filled(guest: &mut Guest, name: &str, count: u64) -> GuestRoom {
    let mut room = guest.create(name).await;
    let mut socket = guest.socket().await;
    for id in 0..count {
        let envelope = guest.message(&mut room, &format!("message {id}"));
        socket.send(u32::try_from(id).expect("few"), &envelope).await;
    }
    for id in 0..count {
        socket.sent(u32::try_from(id).expect("few")).await;
    }
    room
}

async fn run(socket: &mut Socket, from: Seq, to: Seq) -> Vec<EntryFrame> {
    let mut entries = Vec::new();
    for seq in from.0..=to.0 {
        let entry = socket.entry().await;
        assert_eq!(entry.seq(), Seq(seq));
        entries.push(entry);
    }
    entries
}

fn cursor(history: HistoryId, entry: &EntryFrame) -> Cursor {
    Cursor { history, seq: entry.seq(), hash: entry.hash().short().into() }
}

#[tokio::test]
async fn following_again_from_a_cursor_brings_what_was_missed_and_nothing_else() {
    let node = Node::start().await;
    let mut guest = Guest::new(&node.url);
    let mut room = filled(&mut guest, "Resume", 120).await;
    let mut socket = guest.socket().await;
    let ServerFrame::Followed { from, head, history, skipped, resync, .. } = socket.follow(room.room, None).await
    else {
        panic!("no answer")
    };
    assert_eq!((head, from, skipped, resync), (Seq(121), Seq(121 - LATEST_PAGE + 1), false, None));
    let entries = run(&mut socket, from, head).await;
    for seen in [Seq(72), Seq(100), Seq(121)] {
        let entry = entries.iter().find(|entry| entry.seq() == seen).expect("in the page");
        let mut again = guest.socket().await;
        let ServerFrame::Followed { from, resync: None, .. } =
            again.follow(room.room, Some(cursor(history, entry))).await
        else {
            panic!("no answer")
        };
        assert_eq!(from, seen.next());
        run(&mut again, from, head).await;
    }
    let envelope = guest.message(&mut room, "live");
    let mut sender = guest.socket().await;
    sender.send(1, &envelope).await;
    assert_eq!(sender.sent(1).await.0, head.next());
    assert_eq!(socket.entry().await.seq(), head.next(), "and who follows already gets what is new");
}

#[tokio::test]
async fn a_cursor_of_another_log_is_told_and_never_skipped_in_silence() {
    let node = Node::start().await;
    let mut guest = Guest::new(&node.url);
    let room = filled(&mut guest, "Resync", 5).await;
    let mut socket = guest.socket().await;
    let ServerFrame::Followed { history, head, .. } = socket.follow(room.room, None).await else { panic!("no answer") };
    let newest = run(&mut socket, Seq(1), head).await.pop().expect("not empty");
    let good = cursor(history, &newest);
    for (cursor, why) in [
        (Cursor { history: HistoryId([9; 16]), ..good.clone() }, Some(Resync::OtherHistory)),
        (Cursor { hash: Base64Bytes(vec![0; 8]), ..good.clone() }, Some(Resync::OtherHash)),
        (Cursor { hash: Base64Bytes(Vec::new()), ..good.clone() }, Some(Resync::OtherHash)),
        (Cursor { seq: Seq(700), ..good.clone() }, Some(Resync::BeyondHead)),
        (good, None),
    ] {
        let ServerFrame::Followed { resync, from, .. } = socket.follow(room.room, Some(cursor)).await else {
            panic!("no answer")
        };
        assert_eq!(resync, why);
        assert_eq!(from, if why.is_some() { Seq(1) } else { head.next() });
    }
}

#[tokio::test]
async fn who_is_connected_while_an_older_copy_of_the_database_is_restored_is_told_to_begin_again() {
    for new_life in [false, true] {
        let memory = MemoryStore::default();
        let node = Node::over(memory.store(), &[]).await;
        let mut guest = Guest::new(&node.url);
        let mut room = filled(&mut guest, "Restored", 5).await;
        let (mut socket, mut sender) = (guest.socket().await, guest.socket().await);
        let ServerFrame::Followed { history, head, .. } = socket.follow(room.room, None).await else {
            panic!("no answer")
        };
        run(&mut socket, Seq(1), head).await;
        let copy = memory.copy();
        let envelope = guest.message(&mut room, "soon lost");
        sender.append(&envelope).await;
        let lost = socket.entry().await;
        memory.restore(&copy, new_life);
        assert_eq!(socket.closed().await, Some(close::RESTART), "not that the room is gone, and not nothing");
        let mut again = guest.socket().await;
        let followed = again.follow(room.room, Some(cursor(history, &lost))).await;
        let ServerFrame::Followed { resync, head: now, .. } = followed else { panic!("no answer") };
        assert_eq!((resync, now), (Some(Resync::OtherHistory), head));
        run(&mut again, Seq(1), head).await;
    }
}

#[tokio::test]
async fn a_reader_far_behind_gets_the_latest_page_and_is_told_of_the_hole() {
    let node = Node::start().await;
    let mut guest = Guest::new(&node.url);
    let room = filled(&mut guest, "Far behind", BACKLOG_MAX + 10).await;
    let first = node.store.read_after(room.room, Seq::ZERO, 20, 1 << 20).await.expect("memory");
    let history = room.entered.room.history;
    let mut socket = guest.socket().await;
    let behind = cursor(history, &first[0]);
    let ServerFrame::Followed { from, head, skipped, .. } = socket.follow(room.room, Some(behind)).await else {
        panic!("no answer")
    };
    assert_eq!((skipped, from), (true, head.back(LATEST_PAGE).next()));
    run(&mut socket, from, head).await;
    let near = cursor(history, &first[10]);
    let ServerFrame::Followed { from, head, skipped, .. } = socket.follow(room.room, Some(near)).await else {
        panic!("no answer")
    };
    assert_eq!((skipped, from), (false, Seq(12)));
    run(&mut socket, from, head).await;
}

#[tokio::test]
async fn everyone_sees_all_messages_of_many_senders_once_and_in_one_order() {
    let node = Node::start().await;
    let mut ana = Guest::new(&node.url);
    let room = ana.create("Many").await;
    const SENDERS: usize = 6;
    const EACH: u32 = 40;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..SENDERS {
        let mut guest = Guest::new(&node.url);
        let mut theirs = guest.join(&room).await;
        tasks.spawn(async move {
            let (mut sender, mut reader) = (guest.socket().await, guest.socket().await);
            reader.follow(theirs.room, None).await;
            for id in 0..EACH {
                let envelope = guest.message(&mut theirs, "now");
                sender.send(id, &envelope).await;
            }
            for id in 0..EACH {
                sender.sent(id).await;
            }
            let last = Seq(1 + SENDERS as u64 * u64::from(EACH));
            let mut log = Vec::new();
            while log.last().is_none_or(|(seq, _)| *seq < last) {
                let entry = reader.entry().await;
                log.push((entry.seq(), entry.hash()));
            }
            log
        });
    }
    let logs = tasks.join_all().await;
    for log in &logs {
        assert!(log.windows(2).all(|pair| pair[1].0 == pair[0].0.next()), "each once, in order");
        let start = log[0].0;
        let same = logs[0].iter().filter(|(seq, _)| *seq >= start);
        assert!(
            same.zip(log.iter().skip_while(|(seq, _)| *seq < logs[0][0].0)).all(|(one, other)| one == other),
            "one order for all"
        );
    }
}

#[tokio::test]
async fn a_reader_who_stops_reading_misses_nothing_and_holds_up_nobody() {
    let node = Node::start().await;
    let mut ana = Guest::new(&node.url);
    let mut room = ana.create("Slow").await;
    let (mut slow, mut fast, mut sender) = (ana.socket().await, ana.socket().await, ana.socket().await);
    slow.follow(room.room, None).await;
    fast.follow(room.room, None).await;
    let long = "x".repeat(4_000);
    const COUNT: u64 = 400;
    for id in 0..COUNT {
        let envelope = ana.message(&mut room, &long);
        let id = u32::try_from(id).expect("few");
        sender.send(id, &envelope).await;
        sender.sent(id).await;
    }
    // More than a socket's buffers hold has gone by unread; the fast one has it all, then the slow one gets it all.
    run(&mut fast, Seq(1), Seq(COUNT + 1)).await;
    run(&mut slow, Seq(1), Seq(COUNT + 1)).await;
}

#[tokio::test]
async fn history_pages_reach_back_to_the_first_entry_without_holes() {
    let node = Node::start().await;
    let mut guest = Guest::new(&node.url);
    let room = filled(&mut guest, "Pages", 250).await;
    let mut before = None;
    let mut seqs = Vec::new();
    loop {
        let query = before.map_or(String::new(), |before: Seq| format!("&before={before}"));
        let url = format!("{}/api/rooms/{}/history?limit=70{query}", node.url, room.room);
        let response =
            http().get(url).bearer_auth(guest.token.as_deref().expect("a token")).send().await.expect("an answer");
        assert_eq!(response.headers()["content-type"], "application/vnd.snug.log");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let mut bytes = response.bytes().await.expect("a body");
        let mut records = Vec::new();
        while bytes.has_remaining() {
            let length = usize::try_from(bytes.get_u32()).expect("small");
            records.push(bytes.split_to(length));
        }
        let head: LogPageHead = serde_json::from_slice(&records[0]).expect("the page's head");
        assert_eq!((head.head, head.history), (Seq(251), room.entered.room.history));
        let page: Vec<u64> =
            records[1..].iter().map(|record| EntryFrame::parse(record).expect("an entry frame").seq().0).collect();
        assert_eq!(page, (head.from.0..=head.to.0).collect::<Vec<_>>());
        assert_eq!(head.to, before.map_or(Seq(251), |before| before.back(1)));
        seqs.splice(0..0, page);
        if head.from == Seq(1) {
            break;
        }
        before = Some(head.from);
    }
    assert_eq!(seqs, (1..=251).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_idle_socket_hears_nothing_it_did_not_ask_for() {
    let node = Node::start().await;
    let (mut ana, mut ben) = (Guest::new(&node.url), Guest::new(&node.url));
    let mut room = ana.create("Quiet").await;
    ben.join(&room).await;
    let (mut followed, mut unfollowed) = (ben.socket().await, ben.socket().await);
    followed.follow(room.room, None).await;
    unfollowed.follow(room.room, None).await;
    assert_eq!(unfollowed.entry().await.seq(), Seq(1));
    unfollowed.say(&snug_protocol::frame::ClientFrame::Unfollow { room: room.room }).await;
    let mut socket = ana.socket().await;
    let envelope = ana.message(&mut room, "for followers");
    socket.send(1, &envelope).await;
    socket.sent(1).await;
    assert_eq!(followed.entry().await.seq(), Seq(1));
    assert_eq!(followed.entry().await.seq(), Seq(2));
    // Whatever was on its way to the other socket would come before the answer to this.
    unfollowed.say_text("{}").await;
    loop {
        match unfollowed.next().await {
            Incoming::Entry(entry) => panic!("an entry came: {}", entry.seq()),
            Incoming::Frame(ServerFrame::Error { .. }) => break,
            Incoming::Frame(_) | Incoming::Other => {}
            Incoming::Closed { code } => panic!("closed: {code:?}"),
        }
    }
}

#[tokio::test]
async fn the_head_one_is_told_covers_what_was_acknowledged_before() {
    let node = Node::start().await;
    let mut guest = Guest::new(&node.url);
    let mut room = guest.create("Told").await;
    let (mut other, mut socket) = (guest.socket().await, guest.socket().await);
    // Someone follows already, so that the node keeps a tail which may lag behind the store.
    other.follow(room.room, None).await;
    for id in 0..200 {
        let envelope = guest.message(&mut room, "then follow");
        socket.send(id, &envelope).await;
        let (seq, _) = loop {
            match socket.hear().await {
                ServerFrame::Sent { seq, duplicate, .. } => break (seq, duplicate),
                ServerFrame::Followed { .. } => {}
                unexpected => panic!("{unexpected:?}"),
            }
        };
        let mut follower = guest.socket().await;
        let ServerFrame::Followed { head, .. } = follower.follow(room.room, None).await else { panic!("no answer") };
        assert!(head >= seq, "acknowledged at {seq}, yet the head is said to be {head}");
    }
}

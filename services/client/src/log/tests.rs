//! The log against honest and dishonest servers, by generated cases.

use proptest::prelude::*;
use proptest::sample::Index;
use snug_protocol::EntryKind;

use super::memory::FORGET_STEP;
use super::*;
use crate::crypto::{Body, Message};

const ROOM: RoomId = RoomId([1; 16]);
const HISTORY: HistoryId = HistoryId([2; 16]);

/// An entry whose envelope is its header and filler; the log looks at hashes, never inside.
fn entry(seq: u64, sender: u8, counter: u64, prev: Prev, filler: u8) -> LogEntry {
    let header = Header {
        kind: EntryKind::Message,
        room: ROOM,
        epoch: 0,
        device: DeviceId([sender; 16]),
        instance: InstanceId([sender; 16]),
        counter,
        target: Seq::ZERO,
    };
    let envelope = [header.encode().as_slice(), &[filler; 256 + 16]].concat();
    let body = Body::Message(Message::of(seq.to_string()));
    let opened = Opened { header, prev, sent_at_ms: seq, body };
    LogEntry::new(Seq(seq), seq, Bytes::from(envelope), Some(opened))
}

fn unreadable(entry: &LogEntry) -> LogEntry {
    LogEntry::new(entry.seq, entry.at_ms, entry.envelope.clone(), None)
}

fn moved(entry: &LogEntry, seq: u64) -> LogEntry {
    LogEntry { seq: Seq(seq), ..entry.clone() }
}

/// A log as honest members make it: each sender counts from 0 and names an entry at most `lag` back.
fn honest(senders: &[(u8, u64)]) -> Vec<LogEntry> {
    let mut log: Vec<LogEntry> = Vec::new();
    let mut counters = std::collections::HashMap::<u8, u64>::new();
    for (at, (sender, lag)) in senders.iter().enumerate() {
        let counter = counters.entry(*sender).or_default();
        let seen = at.saturating_sub(usize::try_from(*lag).expect("small")).max(1);
        let prev = if at == 0 { None } else { log.get(seen - 1) };
        let prev = prev.map_or_else(Prev::default, |entry| Prev { seq: entry.seq, hash: entry.hash });
        log.push(entry(at as u64 + 1, *sender, *counter, prev, 0));
        *counter += 1;
    }
    log
}

fn load_live(entries: &[LogEntry]) -> RoomLog {
    let mut log = RoomLog::new(ROOM);
    log.follow(HISTORY, Seq(1));
    for entry in entries {
        log.apply(entry.clone());
    }
    log
}

/// Live from `from`, the rest by overlapping pages in a given order, interleaved.
fn load_mixed(entries: &[LogEntry], from: usize, pages: &[(Index, usize)]) -> RoomLog {
    let mut log = RoomLog::new(ROOM);
    let (old, live) = entries.split_at(from);
    log.follow(HISTORY, Seq(from as u64 + 1));
    let mut live = live.iter();
    for (start, length) in pages.iter().filter(|_| !old.is_empty()) {
        let start = start.index(old.len());
        log.insert_page(old[start..(start + length).min(old.len())].to_vec());
        if let Some(entry) = live.next() {
            log.apply(entry.clone());
        }
    }
    for entry in live {
        log.apply(entry.clone());
    }
    // What the pages left out comes at last, oldest first.
    for chunk in old.chunks(3) {
        log.insert_page(chunk.to_vec());
    }
    log
}

fn codes(log: &RoomLog) -> Vec<&'static str> {
    log.violations().iter().map(|violation| violation.code.as_str()).collect()
}

fn flagged(log: &RoomLog) -> bool {
    !log.violations().is_empty() || log.entries().any(|entry| entry.opened.is_none())
}

fn pages() -> impl Strategy<Value = Vec<(Index, usize)>> {
    proptest::collection::vec((any::<Index>(), 1usize..9), 0..12)
}

proptest! {
    #[test]
    fn any_order_and_chunking_of_an_honest_log_gives_the_same_log(
        senders in proptest::collection::vec((0u8..4, 0u64..6), 1..40),
        unread in proptest::collection::vec(any::<Index>(), 0..4),
        from in any::<Index>(),
        pages in pages(),
    ) {
        let mut entries = honest(&senders);
        for at in unread {
            let at = at.index(entries.len());
            entries[at] = unreadable(&entries[at]);
        }
        let log = load_mixed(&entries, from.index(entries.len()), &pages);
        prop_assert_eq!(codes(&log), Vec::<&str>::new());
        prop_assert_eq!(log.entries().cloned().collect::<Vec<_>>(), entries.clone());
        prop_assert_eq!(log.holes(), vec![]);
        prop_assert_eq!(log.edge().map(|edge| edge.seq), entries.last().map(|entry| entry.seq));
    }

    #[test]
    fn a_single_change_to_a_loaded_stretch_is_flagged_however_it_is_loaded(
        senders in proptest::collection::vec((0u8..4, Just(0u64)), 3..25),
        change in 0..6u8,
        at in any::<Index>(),
        from in any::<Index>(),
        pages in pages(),
    ) {
        let mut entries = honest(&senders);
        // The last entry has no successor that would miss it; its sender notices (see below).
        let at = at.index(entries.len() - 1);
        match change {
            0 => { entries.remove(at); }
            1 => { let again = entries[at].clone(); entries.insert(at + 1, again); }
            2 => entries.swap(at, at + 1),
            3 => { let again = entries[at].clone(); entries.push(again); }
            4 => {
                let honest = entries[at].clone();
                let opened = honest.opened.expect("readable");
                let sender = opened.header.device.0[0];
                entries[at] = entry(honest.seq.0, sender, opened.header.counter, opened.prev, 9);
            }
            _ => entries[at] = unreadable(&entries[at]),
        }
        // The server gives gapless numbers, as one that hides a change would.
        let entries: Vec<LogEntry> = entries.iter().zip(1..).map(|(entry, seq)| moved(entry, seq)).collect();
        prop_assert!(flagged(&load_live(&entries)));
        prop_assert!(flagged(&load_mixed(&entries, from.index(entries.len()), &pages)));
    }
}

#[test]
fn a_place_that_is_left_out_or_delivered_late_is_a_fork() {
    let entries = honest(&[(1, 0), (2, 0), (1, 0), (2, 0)]);
    let log = load_live(&[entries[0].clone(), entries[2].clone(), entries[1].clone(), entries[3].clone()]);
    assert_eq!(codes(&log), ["fork"]);
    assert_eq!(log.violations()[0].seq, Seq(2));
    assert_eq!(log.len(), 4, "what came late is still read");
}

#[test]
fn two_envelopes_at_one_place_are_a_fork_with_both_as_evidence() {
    let entries = honest(&[(1, 0), (2, 0)]);
    let mut log = load_live(&entries);
    let other = entry(2, 2, 0, Prev { seq: Seq(1), hash: entries[0].hash }, 9);
    log.insert_page(vec![other.clone()]);
    let evidence: Vec<Bytes> = log.violations()[0].evidence.iter().map(|item| item.envelope.clone()).collect();
    assert_eq!(codes(&log), ["fork"]);
    assert_eq!(evidence, [entries[1].envelope.clone(), other.envelope]);
    assert_eq!(log.take_fresh_violations().len(), 1);
    assert!(log.take_fresh_violations().is_empty(), "each is told once");
}

#[test]
fn an_acknowledged_message_must_come_back_as_it_was_sent() {
    let entries = honest(&[(1, 0), (2, 0), (1, 0)]);
    let mut log = load_live(&entries[..1]);
    log.acknowledge(Seq(2), entries[1].hash);
    assert_eq!(log.newest_acknowledged(), Some(Seq(2)));
    log.apply(entries[1].clone());
    assert_eq!((codes(&log), log.newest_acknowledged()), (vec![], None));

    log.acknowledge(Seq(2), EnvelopeHash([7; 32]));
    assert_eq!(codes(&log), ["substituted"], "the acknowledgement may come after the entry");

    log.acknowledge(Seq(4), EnvelopeHash([8; 32]));
    log.expect_none_between(Seq(3), Seq(u64::MAX - 1));
    assert_eq!(codes(&log), ["substituted", "dropped"]);
    log.acknowledge(Seq(3), EnvelopeHash([8; 32]));
    log.apply(entries[2].clone());
    assert_eq!(codes(&log), ["substituted", "dropped", "substituted"]);
}

#[test]
fn a_first_entry_that_claims_predecessors_is_a_violation() {
    let log = load_live(&[entry(1, 1, 0, Prev { seq: Seq(1), hash: EnvelopeHash([1; 32]) }, 0)]);
    assert_eq!(codes(&log), ["prev"]);
    let log = load_live(&[entry(1, 1, 3, Prev::default(), 0)]);
    assert_eq!(codes(&log), ["counter"]);
    let entries = honest(&[(1, 0), (1, 0)]);
    let log = load_live(&[entries[0].clone(), entry(2, 2, 0, Prev::default(), 0)]);
    assert_eq!(codes(&log), ["prev"], "nobody saw an empty room after its first entry");
}

#[test]
fn a_gap_left_by_the_server_is_a_hole_until_pages_fill_it() {
    let entries = honest(&[(1, 0), (2, 0), (1, 0), (2, 0), (1, 0), (2, 0)]);
    let mut log = load_live(&entries[..2]);
    log.follow(HISTORY, Seq(5));
    assert_eq!(log.edge(), None, "nothing is sealed on an edge that is not loaded");
    log.apply(entries[4].clone());
    assert_eq!(log.holes(), [(Seq(3), Seq(4))]);
    log.insert_page(entries[3..5].to_vec());
    assert_eq!(log.holes(), [(Seq(3), Seq(3))]);
    log.insert_page(entries[2..3].to_vec());
    log.apply(entries[5].clone());
    assert_eq!((log.holes(), codes(&log), log.len()), (vec![], vec![], 6));
    assert_eq!(log.cursor().map(|cursor| cursor.seq), Some(Seq(6)));
}

#[test]
fn another_history_begins_an_empty_log() {
    let mut log = load_live(&honest(&[(1, 0), (2, 0)]));
    log.follow(HistoryId([9; 16]), Seq(1));
    assert!(log.is_empty());
    assert_eq!(log.cursor(), None);
}

#[test]
fn the_oldest_entries_are_forgotten_and_can_be_loaded_again() {
    let senders: Vec<(u8, u64)> = (0..u8::MAX).cycle().map(|at| (at % 3, 2)).take(LOG_ENTRIES_MAX + 1_200).collect();
    let entries = honest(&senders);
    let mut log = load_live(&entries);
    assert!(log.len() <= LOG_ENTRIES_MAX + FORGET_STEP);
    let from = usize::try_from(log.loaded_from().expect("loaded").0).expect("small") - 1;
    log.insert_page(entries[from - 50..from].to_vec());
    assert_eq!(log.loaded_from(), Some(Seq(from as u64 - 49)));
    assert_eq!(codes(&log), Vec::<&str>::new());
}

/// More than a log keeps: the newest come live, the rest page by page until nothing is older. Also says which seqs the pages gave.
fn load_back(entries: &[LogEntry]) -> (RoomLog, Vec<u64>) {
    let mut log = RoomLog::new(ROOM);
    let (old, live) = entries.split_at(entries.len() - 100);
    log.follow(HISTORY, live[0].seq);
    for entry in live {
        log.apply(entry.clone());
    }
    let mut paged = Vec::new();
    while let Some(from) = log.older_from().filter(|from| *from > Seq(1)) {
        let end = usize::try_from(from.0).expect("small") - 1;
        let page = old[end.saturating_sub(200)..end].to_vec();
        paged.extend(page.iter().rev().map(|entry| entry.seq.0));
        log.insert_page(page);
        assert!(log.len() <= LOG_ENTRIES_MAX + FORGET_STEP);
    }
    (log, paged)
}

fn long() -> Vec<LogEntry> {
    let senders: Vec<(u8, u64)> = (0..u8::MAX).cycle().map(|at| (at % 3, 0)).take(2 * LOG_ENTRIES_MAX).collect();
    honest(&senders)
}

#[test]
fn paging_back_reaches_the_beginning_of_a_log_longer_than_what_is_kept() {
    let entries = long();
    let (log, paged) = load_back(&entries);
    let newest = entries.len() as u64;
    assert_eq!(paged, (1..=newest - 100).rev().collect::<Vec<_>>(), "each once, newest first");
    assert_eq!(codes(&log), Vec::<&str>::new());
    assert_eq!(log.edge().map(|edge| edge.seq), Some(Seq(newest)), "the live edge is kept");
}

#[test]
fn a_change_where_two_pages_meet_is_flagged_also_beyond_what_is_kept() {
    let honest = long();
    let last_of_pages = (200..honest.len() - 100).step_by(200).map(|back| honest.len() - 100 - back - 1);
    for at in last_of_pages.filter(|at| *at < honest.len() - LOG_ENTRIES_MAX) {
        let mut entries = honest.clone();
        // Only the page after it can tell: what it names as its predecessor is another envelope.
        let prev = Prev { seq: entries[at - 1].seq, hash: entries[at - 1].hash };
        entries[at] = entry(entries[at].seq.0, 9, 0, prev, 0);
        assert!(flagged(&load_back(&entries).0), "at {at}");
    }
}

#[test]
fn after_a_hole_or_for_a_new_reader_paging_back_begins_before_the_newest_run() {
    let entries = honest(&[(1, 0); 40]);
    let mut log = RoomLog::new(ROOM);
    log.follow(HISTORY, Seq(11));
    log.apply(entries[10].clone());
    log.insert_page(entries[5..10].to_vec());
    assert_eq!(log.older_from(), Some(Seq(6)));
    log.insert_page(entries[1..3].to_vec());
    assert_eq!(log.older_from(), Some(Seq(6)), "a page from elsewhere does not count");
    log.follow(HISTORY, Seq(31));
    log.apply(entries[30].clone());
    assert_eq!(log.older_from(), Some(Seq(31)));
    log.insert_page(entries[20..30].to_vec());
    log.insert_page(entries[11..20].to_vec());
    assert_eq!(log.older_from(), Some(Seq(6)), "what was loaded before the hole is not loaded again");
    log.restart_paging();
    assert_eq!(log.older_from(), log.loaded_from());
}

#[test]
fn an_acknowledgement_that_overtakes_the_answer_to_a_follow_is_not_judged_by_its_head() {
    let mut log = RoomLog::new(ROOM);
    log.acknowledge(Seq(7), EnvelopeHash([7; 32]));
    let promised = log.newest_promised().expect("just acknowledged");
    log.acknowledge(Seq(9), EnvelopeHash([9; 32]));
    log.expect_none_between(Seq(8), promised);
    assert!(log.violations().is_empty(), "9 came after the follow was asked for");
    log.expect_none_between(Seq(6), promised);
    assert_eq!(log.violations().iter().map(|violation| violation.seq).collect::<Vec<_>>(), [Seq(7)]);
}

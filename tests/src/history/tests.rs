//! The checker itself: what it is there to find, it finds.

use std::time::Duration;

use tokio::time::Instant;

use super::ledger::{self, MESSAGE, Row};
use super::{Answer, Attempt, Breach, History, Incident, Seen, Stored, What, check, figures};

const TEXTS: [&str; 4] = ["ana, message 0", "ben, message 0", "ana, message 1", "ben, message 1"];

/// The place of the first message: after the room's record.
const FIRST: u64 = 2;

fn log(texts: &[&str]) -> Vec<Stored> {
    (FIRST..).zip(texts).map(|(seq, text)| (seq, (*text).to_owned())).collect()
}

/// Two members who sent [`TEXTS`], were told where they stand and saw `stored`.
fn histories(stored: &[Stored]) -> Vec<History> {
    let now = Instant::now();
    let member = |name: &str| {
        let own = (FIRST..).zip(TEXTS).filter(|(_, text)| text.starts_with(name));
        let sent =
            own.map(|(seq, text)| Attempt { text: text.to_owned(), at: now, answer: Some(Answer { seq, at: now }) });
        let seen = stored.iter().map(|(seq, text)| Seen { seq: *seq, text: text.clone(), at: now });
        let (sent, seen) = (sent.collect(), seen.collect());
        History { member: name.to_owned(), since: Some(1), sent, seen, incidents: Vec::new() }
    };
    vec![member("ana"), member("ben")]
}

/// The story of [`TEXTS`] with `change` made to it; the breaches that are found.
fn judge(stored: &[&str], change: impl FnOnce(&mut Vec<History>)) -> Vec<Breach> {
    let stored = log(stored);
    let mut histories = histories(&stored);
    change(&mut histories);
    check(&histories, &stored)
}

fn unanswered(history: &mut History, index: usize) {
    history.sent[index].answer = None;
}

#[test]
fn a_good_story_breaks_no_promise() {
    assert_eq!(judge(&TEXTS, |_| {}), []);
}

#[test]
fn what_was_never_acknowledged_may_be_missing_or_there() {
    assert_eq!(judge(&TEXTS[..3], |all| unanswered(&mut all[1], 1)), []);
    assert_eq!(judge(&TEXTS, |all| unanswered(&mut all[1], 1)), []);
}

#[test]
fn who_came_late_or_went_need_not_have_seen_everything() {
    let late = |all: &mut Vec<History>| {
        all[0].since = Some(3);
        all[0].seen.drain(..2);
        all[1].since = None;
        all[1].seen.clear();
    };
    assert_eq!(judge(&TEXTS, late), []);
}

#[test]
fn finds_a_lost_message() {
    let breaches = judge(&TEXTS[..3], |_| {});
    assert!(matches!(breaches[..], [Breach::Lost(_)]), "{breaches:?}");
}

#[test]
fn finds_a_message_that_stands_elsewhere_than_it_was_acknowledged() {
    let breaches = judge(&[TEXTS[0], TEXTS[2], TEXTS[1], TEXTS[3]], |_| {});
    assert!(matches!(breaches[..], [Breach::Lost(_), Breach::Lost(_)]), "{breaches:?}");
}

#[test]
fn finds_a_doubled_message() {
    let breaches = judge(&[TEXTS[0], TEXTS[1], TEXTS[2], TEXTS[3], TEXTS[3]], |_| {});
    assert!(matches!(breaches[..], [Breach::StoredTwice(_)]), "{breaches:?}");
}

#[test]
fn finds_a_message_that_nobody_sent() {
    let breaches = judge(&[TEXTS[0], TEXTS[1], TEXTS[2], TEXTS[3], "nobody"], |_| {});
    assert!(matches!(breaches[..], [Breach::Phantom(_)]), "{breaches:?}");
}

#[test]
fn finds_a_sight_of_what_is_not_stored() {
    let breaches = judge(&TEXTS, |all| all[0].seen[1].text = "another".to_owned());
    assert!(matches!(breaches[..], [Breach::SawOther(_)]), "{breaches:?}");
}

#[test]
fn finds_a_senders_messages_out_of_order_even_if_unacknowledged() {
    let turn = |all: &mut Vec<History>| {
        unanswered(&mut all[0], 0);
        unanswered(&mut all[0], 1);
    };
    let breaches = judge(&[TEXTS[2], TEXTS[1], TEXTS[0], TEXTS[3]], turn);
    assert!(matches!(breaches[..], [Breach::OutOfOrder(_)]), "{breaches:?}");
}

#[test]
fn finds_a_reader_who_missed_one() {
    let breaches = judge(&TEXTS, |all| drop(all[1].seen.remove(1)));
    assert!(matches!(breaches[..], [Breach::Missed(_)]), "{breaches:?}");
    let breaches = judge(&TEXTS, |all| drop(all[1].seen.pop()));
    assert!(matches!(breaches[..], [Breach::Missed(_)]), "the last one: {breaches:?}");
}

#[test]
fn finds_a_reader_who_saw_one_twice_or_in_another_order() {
    let again = |all: &mut Vec<History>| {
        let seen = all[0].seen[1].clone();
        all[0].seen.insert(1, seen);
    };
    assert!(matches!(judge(&TEXTS, again)[..], [Breach::SawAgain(_)]));
    assert!(matches!(judge(&TEXTS, |all| all[0].seen.swap(1, 2))[..], [Breach::SawAgain(_)]));
}

#[test]
fn finds_what_a_member_was_told_that_must_not_happen() {
    let tell = |what: What| move |all: &mut Vec<History>| all[0].incidents.push(Incident { at: Instant::now(), what });
    assert!(matches!(judge(&TEXTS, tell(What::Wrong("a hole".into())))[..], [Breach::Incident(_)]));
    assert_eq!(judge(&TEXTS, tell(What::Lost)), []);
}

/// The rows of [`TEXTS`] after a record, with `change` made to them; the breaches that are found.
fn judge_rows(change: impl FnOnce(&mut Vec<Row>)) -> Vec<Breach> {
    let row = |seq: i64, kind: i64, device: u8, counter: i64| Row {
        seq,
        kind,
        device: vec![device],
        instance: vec![device],
        counter,
    };
    let messages = [(2, 1, 0), (3, 2, 0), (4, 1, 1), (5, 2, 1)];
    let messages = messages.into_iter().map(|(seq, device, counter)| row(seq, MESSAGE, device, counter));
    let mut rows: Vec<Row> = std::iter::once(row(1, 1, 9, 0)).chain(messages).collect();
    change(&mut rows);
    ledger::check(&rows, 5, &log(&TEXTS))
}

#[test]
fn finds_what_is_wrong_with_the_rows_themselves() {
    assert_eq!(judge_rows(|_| {}), []);
    assert!(!judge_rows(|rows| drop(rows.pop())).is_empty(), "a row is missing at the end");
    assert!(!judge_rows(|rows| drop(rows.remove(2))).is_empty(), "a row is missing in the middle");
    assert!(!judge_rows(|rows| rows[3].counter = 0).is_empty(), "a counter is there twice");
    assert!(!judge_rows(|rows| rows[3].counter = 2).is_empty(), "a counter was skipped");
    assert!(!judge_rows(|rows| rows[4].kind = 2).is_empty(), "a message that was read is no message");
    assert!(!judge_rows(|rows| rows[0].kind = MESSAGE).is_empty(), "a message that nobody could read");
}

#[test]
fn figures_say_how_long_it_took() {
    let now = Instant::now();
    let at = |ms: u64| now + Duration::from_millis(ms);
    let mut all = histories(&log(&TEXTS));
    for history in &mut all {
        for (index, seen) in (0..).zip(&mut history.seen) {
            seen.at = at(1_000 + index * 100);
        }
        for attempt in &mut history.sent {
            attempt.answer.as_mut().expect("answered").at = at(1_000);
        }
    }
    assert_eq!(figures::resumed(&all[0], now, Duration::from_secs(1)), None, "it lost no connection");
    for (ms, what) in [(10, What::Lost), (1_150, What::Restored)] {
        all[0].incidents.push(Incident { at: at(ms), what });
    }
    assert_eq!(figures::resumed(&all[0], now, Duration::from_secs(1)), Some(Duration::from_millis(1_200)));
    assert_eq!(figures::resumed(&all[0], now, Duration::from_millis(5)), None, "it lost it later");
    let delays = figures::delays(&all, at(0), at(2_000));
    assert_eq!(delays.count(), 4, "each message by the one other member");
    assert_eq!(delays.max(), Duration::from_millis(300));
    assert_eq!(delays.percentile(50), Some(Duration::from_millis(100)));
    assert_eq!(figures::delays(&all, at(1_500), at(2_000)).count(), 0);
}

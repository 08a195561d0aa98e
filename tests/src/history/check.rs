//! The checker: histories against the log. Pure.

use std::collections::{HashMap, HashSet};

use super::{Breach, History, Stored, What};

/// Every promise that `stored`, the messages of one room in order, and the histories of its members break.
#[must_use]
pub fn check(histories: &[History], stored: &[Stored]) -> Vec<Breach> {
    let truth: HashMap<u64, &str> = stored.iter().map(|(seq, text)| (*seq, text.as_str())).collect();
    let mut places: HashMap<&str, u64> = HashMap::new();
    let mut breaches = Vec::new();
    for (seq, text) in stored {
        if let Some(first) = places.insert(text, *seq) {
            breaches.push(Breach::StoredTwice(format!("{text:?} at {first} and {seq}")));
        }
    }
    let sent: HashSet<&str> = histories.iter().flat_map(|one| &one.sent).map(|attempt| attempt.text.as_str()).collect();
    let phantoms = stored.iter().filter(|(_, text)| !sent.contains(text.as_str()));
    breaches.extend(phantoms.map(|(seq, text)| Breach::Phantom(format!("{text:?} at {seq}"))));
    for history in histories {
        check_sent(history, &truth, &places, &mut breaches);
        check_seen(history, &truth, stored, &mut breaches);
    }
    breaches
}

/// # Panics
/// With every broken promise, if there is one.
pub fn assert_sound(histories: &[History], stored: &[Stored]) {
    let breaches: Vec<String> = check(histories, stored).iter().map(ToString::to_string).collect();
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

fn check_sent(history: &History, truth: &HashMap<u64, &str>, places: &HashMap<&str, u64>, breaches: &mut Vec<Breach>) {
    let mut last = 0;
    for attempt in &history.sent {
        let text = attempt.text.as_str();
        if let Some(answer) = attempt.answer
            && truth.get(&answer.seq) != Some(&text)
        {
            let instead = truth.get(&answer.seq);
            breaches.push(Breach::Lost(format!("{text:?} at {}, where {instead:?} is", answer.seq)));
        }
        if let Some(place) = places.get(text) {
            if *place < last {
                breaches
                    .push(Breach::OutOfOrder(format!("{text:?} at {place}, before what was sent earlier at {last}")));
            }
            last = last.max(*place);
        }
    }
}

fn check_seen(history: &History, truth: &HashMap<u64, &str>, stored: &[Stored], breaches: &mut Vec<Breach>) {
    let member = &history.member;
    let mut last = 0;
    for seen in &history.seen {
        if truth.get(&seen.seq) != Some(&seen.text.as_str()) {
            breaches.push(Breach::SawOther(format!("{member}: {:?} at {}", seen.text, seen.seq)));
        }
        if seen.seq <= last {
            breaches.push(Breach::SawAgain(format!("{member}: {} after {last}", seen.seq)));
        }
        last = last.max(seen.seq);
    }
    if let Some(since) = history.since {
        let seen: HashSet<u64> = history.seen.iter().map(|seen| seen.seq).collect();
        let missed = stored.iter().filter(|(seq, _)| *seq > since && !seen.contains(seq));
        breaches.extend(missed.map(|(seq, text)| Breach::Missed(format!("{member}: {text:?} at {seq}"))));
    }
    for incident in &history.incidents {
        if let What::Wrong(what) = &incident.what {
            breaches.push(Breach::Incident(format!("{member}: {what}")));
        }
    }
}

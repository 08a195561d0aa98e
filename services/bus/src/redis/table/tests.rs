use super::*;

const ROOM: Topic = Topic::Room(RoomId([1; 16]));
const OTHER: Topic = Topic::Room(RoomId([2; 16]));

fn waiting(wish: Wish) -> oneshot::Receiver<()> {
    match wish {
        Wish::Waiting(receiver) => receiver,
        Wish::Confirmed => panic!("nothing has confirmed it"),
    }
}

/// Takes every step there is, and lets it succeed.
fn settle(table: &mut Table) -> Vec<(Topic, Step)> {
    let mut steps = Vec::new();
    while let Some(errand) = table.next(table.epoch()) {
        steps.push((errand.topic, errand.step));
        table.done(errand, true);
    }
    steps
}

fn step(table: &mut Table) -> Errand {
    table.next(table.epoch()).expect("something is to be done")
}

#[test]
fn a_wish_is_confirmed_when_redis_says_so() {
    let mut table = Table::default();
    let mut confirmed = waiting(table.want(ROOM));
    let errand = step(&mut table);
    assert!(confirmed.try_recv().is_err());
    assert_eq!(table.done(errand, true), News::default());
    assert!(confirmed.try_recv().is_ok());
    assert!(matches!(table.want(ROOM), Wish::Confirmed));
    assert!(table.next(table.epoch()).is_none());
}

#[test]
fn a_second_follower_waits_for_the_same_confirmation() {
    let mut table = Table::default();
    let mut first = waiting(table.want(ROOM));
    let errand = step(&mut table);
    let mut second = waiting(table.want(ROOM));
    assert!(table.next(table.epoch()).is_none(), "one step for a topic at a time");
    table.done(errand, true);
    assert!(first.try_recv().is_ok() && second.try_recv().is_ok());
}

#[test]
fn an_unwanted_topic_lingers_and_then_goes() {
    let (mut table, now) = (Table::default(), Instant::now());
    let _ = table.want(ROOM);
    settle(&mut table);
    assert!(!table.tick(now), "nothing to come back for");
    table.unwant(ROOM, now);
    assert!(table.tick(now + LINGER / 2));
    assert!(table.next(table.epoch()).is_none());
    assert!(matches!(table.want(ROOM), Wish::Confirmed), "it is still subscribed");
    table.unwant(ROOM, now);
    assert!(table.tick(now + LINGER), "it has yet to go");
    assert_eq!(settle(&mut table), [(ROOM, Step::Unsubscribe)]);
    assert!(table.entries.is_empty() && !table.tick(now + LINGER));
}

#[test]
fn however_wishes_change_the_last_one_holds() {
    let (mut table, now) = (Table::default(), Instant::now());
    let _ = table.want(ROOM);
    settle(&mut table);
    table.unwant(ROOM, now);
    table.tick(now + LINGER);
    // Wanted again before the step is taken.
    assert!(matches!(table.want(ROOM), Wish::Confirmed));
    assert!(table.next(table.epoch()).is_none());
    table.unwant(ROOM, now);
    table.tick(now + LINGER);
    let leaving = step(&mut table);
    // And while it is on its way.
    let mut confirmed = waiting(table.want(ROOM));
    assert!(table.next(table.epoch()).is_none(), "not before the other has come back");
    table.done(leaving, true);
    assert_eq!(settle(&mut table), [(ROOM, Step::Subscribe)]);
    assert!(confirmed.try_recv().is_ok());
}

#[test]
fn too_many_lingering_topics_go_at_once_oldest_first() {
    let (mut table, now) = (Table::default(), Instant::now());
    let topic = |number: usize| Topic::Room(RoomId(u128::try_from(number).expect("it fits").to_be_bytes()));
    for number in 0..LINGERING_MAX + 3 {
        let _ = table.want(topic(number));
        table.unwant(topic(number), now + Duration::from_micros(u64::try_from(number).expect("it fits")));
    }
    settle(&mut table);
    table.tick(now + Duration::from_secs(1));
    let gone = settle(&mut table);
    assert_eq!(gone, [0, 1, 2].map(|number| (topic(number), Step::Unsubscribe)));
}

#[test]
fn what_failed_is_asked_again_and_told_when_it_comes() {
    let mut table = Table::default();
    let _gave_up = waiting(table.want(ROOM));
    let errand = step(&mut table);
    assert!(table.owe(ROOM));
    table.done(errand, false);
    assert!(table.next(table.epoch()).is_none(), "not at once");
    assert!(table.tick(Instant::now()));
    let errand = step(&mut table);
    let Topic::Room(room) = ROOM else { unreachable!() };
    assert_eq!(table.done(errand, true), News { confirmed_late: Some(room), ..News::default() });
    assert!(!table.owe(ROOM), "it is confirmed");
}

#[test]
fn a_new_connection_subscribes_everything_and_says_when_it_is_done() {
    let mut table = Table::default();
    for topic in [ROOM, OTHER, Topic::Probe, Topic::Everyone] {
        let _ = table.want(topic);
    }
    settle(&mut table);
    table.unwant(OTHER, Instant::now());
    table.begin_anew();
    assert!(!table.is_confirmed(ROOM));
    let errands: Vec<_> = std::iter::from_fn(|| table.next(table.epoch())).collect();
    assert_eq!(errands.len(), 3, "what nobody wants is not subscribed on a new connection");
    assert_eq!(errands[2].topic, ROOM, "the node's own topics come first");
    let news: Vec<_> = errands.into_iter().map(|errand| table.done(errand, true)).collect();
    assert_eq!(news[0], News { again: true, ..News::default() });
    assert_eq!(news[2].round, Some(MissedCause::Reconnected));
}

#[test]
fn what_an_earlier_connection_answers_means_nothing() {
    let mut table = Table::default();
    let mut confirmed = waiting(table.want(ROOM));
    let stale = step(&mut table);
    table.begin_anew();
    assert_eq!(table.done(stale, true), News::default());
    assert!(!table.is_confirmed(ROOM) && confirmed.try_recv().is_err());
    let fresh = step(&mut table);
    assert_eq!(table.done(fresh, true).round, Some(MissedCause::Reconnected));
    assert!(confirmed.try_recv().is_ok());
}

#[test]
fn an_earlier_connection_takes_no_step_of_a_newer_one() {
    let mut table = Table::default();
    let earlier = table.epoch();
    let _ = table.want(ROOM);
    settle(&mut table);
    table.begin_anew();
    assert!(table.next(earlier).is_none(), "what it would subscribe could not be heard");
    assert_eq!(step(&mut table).topic, ROOM);
}

#[test]
fn a_round_reaches_also_what_lingers_or_is_on_its_way() {
    let (mut table, now) = (Table::default(), Instant::now());
    let _ = table.want(OTHER);
    settle(&mut table);
    table.unwant(OTHER, now);
    let _ = table.want(ROOM);
    let on_its_way = step(&mut table);
    table.ask_round(MissedCause::Timer);
    let lingering = step(&mut table);
    assert_eq!(lingering.topic, OTHER);
    assert_eq!(table.done(lingering, true).round, None);
    assert_eq!(table.done(on_its_way, true).round, None, "it was asked before the round began");
    let again = step(&mut table);
    assert_eq!((again.topic, table.done(again, true).round), (ROOM, Some(MissedCause::Timer)));
}

#[test]
fn a_round_is_complete_also_when_a_topic_goes_meanwhile() {
    let (mut table, now) = (Table::default(), Instant::now());
    let _ = table.want(ROOM);
    settle(&mut table);
    table.unwant(ROOM, now);
    table.tick(now + LINGER);
    table.ask_round(MissedCause::Timer);
    let leaving = step(&mut table);
    assert_eq!(leaving.step, Step::Unsubscribe);
    assert_eq!(table.done(leaving, true).round, Some(MissedCause::Timer));
}

#[test]
fn a_round_that_is_asked_for_during_another_follows_it() {
    let mut table = Table::default();
    let _ = table.want(ROOM);
    settle(&mut table);
    table.ask_round(MissedCause::Timer);
    table.ask_round(MissedCause::SlotsMoved);
    let errand = step(&mut table);
    assert_eq!(table.done(errand, true).round, Some(MissedCause::Timer));
    let errand = step(&mut table);
    assert_eq!(table.done(errand, true).round, Some(MissedCause::SlotsMoved));
    assert!(table.next(table.epoch()).is_none());
}

#[test]
fn a_failure_in_a_round_is_told_by_room_later() {
    let mut table = Table::default();
    let _ = table.want(ROOM);
    settle(&mut table);
    table.ask_round(MissedCause::Timer);
    let errand = step(&mut table);
    assert_eq!(table.done(errand, false).round, Some(MissedCause::Timer));
    assert!(!table.is_confirmed(ROOM));
    table.tick(Instant::now());
    let errand = step(&mut table);
    assert!(table.done(errand, true).confirmed_late.is_some());
}

//! A new key whose making is interrupted at any step leaves a room in which everyone talks, and in which it can be made again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use snug_client::crypto::Device;
use snug_client::{Rekey, RekeyCause};
use snug_tests::hostile::{Call, HostileServer, Passage};
use snug_tests::{eventually, in_time};

use super::cast::{Cast, Person, client_of, code};
use super::crowd;

const NEW: &str = "a password that is new";

/// Where the making is interrupted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Point {
    BeforeStaging,
    BetweenPages,
    AfterStaging,
    BeforeTheAnswer,
}

/// For rooms of few, whose keys are one page.
const POINTS: [Point; 3] = [Point::BeforeStaging, Point::AfterStaging, Point::BeforeTheAnswer];

fn stages(call: &Call) -> bool {
    call.method == "PUT" && call.path.contains("/epochs/")
}

fn begins(call: &Call) -> bool {
    call.method == "POST" && call.path.ends_with("/epochs")
}

impl Point {
    /// What becomes of the call here, before which so many pages were staged; `None` if this is not the point.
    fn breaks(self, call: &Call, staged: usize) -> Option<Passage> {
        match self {
            Self::BeforeStaging => (stages(call) && staged == 0).then_some(Passage::Unheard),
            Self::BetweenPages => (stages(call) && staged == 1).then_some(Passage::Unheard),
            Self::AfterStaging => begins(call).then_some(Passage::Unheard),
            Self::BeforeTheAnswer => begins(call).then_some(Passage::Unanswered),
        }
    }
}

/// Ana's way to the node, which breaks at a point: for one call, or until it is mended.
struct Way {
    server: HostileServer,
    broken: Arc<AtomicBool>,
}

impl Way {
    async fn of(cast: &mut Cast) -> Self {
        let server = HostileServer::before(&cast.node.url).await;
        cast.ana = come_back(cast, &server.url).await;
        Self { server, broken: Arc::default() }
    }

    fn break_at(&self, point: Point, for_long: bool) {
        let (broken, staged) = (Arc::clone(&self.broken), AtomicUsize::new(0));
        self.server.on_call(move |call| {
            if broken.load(Ordering::Relaxed) {
                return if for_long { Passage::Unheard } else { Passage::Whole };
            }
            let passage = point.breaks(call, staged.load(Ordering::Relaxed));
            if passage.is_some() {
                broken.store(true, Ordering::Relaxed);
            } else if stages(call) {
                staged.fetch_add(1, Ordering::Relaxed);
            }
            passage.unwrap_or(Passage::Whole)
        });
    }

    fn was_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    fn mend(&self) {
        self.server.on_call(|_| Passage::Whole);
    }
}

/// Ana's program ends and begins again.
async fn come_back(cast: &Cast, url: &str) -> Person {
    let (device, secrets) = (Device::import(&cast.ana.device()), cast.ana.room.secrets());
    cast.ana.client.close().await;
    let client = client_of(&cast.node, url, device);
    let room = in_time("back", client.resume(secrets)).await.expect("nothing is typed");
    Person::of(client, room).await
}

async fn all_are_in(cast: &mut Cast, epoch: u32, word: &str) {
    for person in [&cast.ana, &cast.ben, &cast.cleo] {
        person.reaches(epoch).await;
    }
    cast.all_talk(word).await;
    cast.agree().await;
}

#[tokio::test]
async fn a_connection_that_breaks_for_a_moment_at_any_step_is_not_noticed() {
    for point in POINTS {
        let mut cast = Cast::gather().await;
        let way = Way::of(&mut cast).await;
        way.break_at(point, false);
        let rekeyed = cast.ana.rekeys(RekeyCause::Rotate, NEW).await.expect("it is tried again");
        assert!(way.was_broken(), "{point:?}");
        assert_eq!(rekeyed.epoch, 1, "{point:?}");
        all_are_in(&mut cast, 1, "after it").await;
    }
}

#[tokio::test]
async fn a_connection_that_is_lost_at_any_step_leaves_a_room_for_all_and_it_can_be_done_again() {
    for point in POINTS {
        let mut cast = Cast::gather().await;
        let way = Way::of(&mut cast).await;
        way.break_at(point, true);
        assert_eq!(code(cast.ana.rekeys(RekeyCause::Rotate, NEW).await), Err("network"), "{point:?}");
        assert!(way.was_broken(), "{point:?}");
        way.mend();
        let epoch = u32::from(point == Point::BeforeTheAnswer);
        all_are_in(&mut cast, epoch, "after it").await;
        let again = cast.ana.rekeys(RekeyCause::Rotate, "a password after that").await.expect("an owner may");
        assert_eq!(again.epoch, epoch + 1, "{point:?}");
        all_are_in(&mut cast, epoch + 1, "in the end").await;
    }
}

#[tokio::test]
async fn an_admin_whose_program_ends_at_any_step_comes_back_to_the_same_room() {
    for point in POINTS {
        let mut cast = Cast::gather().await;
        let way = Way::of(&mut cast).await;
        way.break_at(point, true);
        {
            let rekey = Rekey { cause: &RekeyCause::Rotate, password: NEW };
            let making = cast.ana.room.rekey(rekey, |_| {});
            let broken = eventually("it breaks", async || way.was_broken().then_some(()));
            tokio::select! {
                done = making => panic!("{done:?}"),
                () = broken => {}
            }
        }
        cast.ana = come_back(&cast, &cast.node.url).await;
        // What the node had heard before it may still be under way.
        let committed = point == Point::BeforeTheAnswer;
        all_are_in(&mut cast, u32::from(committed), "after it").await;
        let again = cast.ana.removes(cast.ben.id(), false, "a password after that").await;
        assert_eq!(again.epoch, u32::from(committed) + 1);
        cast.cleo.reaches(again.epoch).await;
        cast.ana.says("without Ben").await;
        cast.cleo.hears_text("without Ben").await;
    }
}

#[tokio::test]
async fn another_admin_goes_on_where_one_was_interrupted() {
    for point in POINTS {
        let mut cast = Cast::gather().await;
        cast.ana.room.set_role(cast.cleo.id(), snug_protocol::http::Role::Moderator).await.expect("an owner may");
        cast.agree().await;
        let way = Way::of(&mut cast).await;
        way.break_at(point, true);
        assert_eq!(code(cast.ana.rekeys(RekeyCause::Rotate, NEW).await), Err("network"), "{point:?}");
        let epoch = u32::from(point == Point::BeforeTheAnswer);
        cast.cleo.reaches(epoch).await;
        let hers = cast.cleo.rekeys(RekeyCause::Rotate, "Cleo's password").await.expect("a moderator may");
        assert_eq!(hers.epoch, epoch + 1, "{point:?}");
        way.mend();
        all_are_in(&mut cast, epoch + 1, "in the end").await;
    }
}

#[tokio::test]
async fn keys_of_which_only_the_first_page_was_handed_over_do_no_harm() {
    let mut cast = Cast::gather().await;
    crowd::join(&cast, &cast.ana, 210).await;
    let way = Way::of(&mut cast).await;
    way.break_at(Point::BetweenPages, true);
    assert_eq!(code(cast.ana.rekeys(RekeyCause::Rotate, NEW).await), Err("network"));
    assert!(way.was_broken());
    way.mend();
    all_are_in(&mut cast, 0, "as before").await;
    let again = cast.ana.rekeys(RekeyCause::Rotate, "a password after that").await.expect("an owner may");
    assert_eq!((again.epoch, again.excluded.len()), (1, 0));
    all_are_in(&mut cast, 1, "in the end").await;
}

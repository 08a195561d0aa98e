//! Whoever is to be removed can make devices without end, and cannot keep the removal from being done.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use snug_client::crypto::PublicKeys;
use snug_client::{Progress, Rekey, RekeyCause};
use snug_protocol::GrantId;
use snug_protocol::http::MemberState;
use snug_store::{DeviceKeys, EnterError};
use snug_tests::guest::random;
use tokio::time::Instant;

use super::cast::Cast;

const NEW: &str = "a password that Ben does not know";
/// So many that a list of them would not fit into a request.
const SILENT: usize = 3_000;
/// In a build without optimisation, on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// A device that comes in and says nothing.
async fn come_in(cast: &Cast, invite: GrantId) -> Result<(), EnterError> {
    let (sign_key, agree_key) = (random(), random());
    let device = PublicKeys { sign_key, agree_key }.id();
    let keys = DeviceKeys { device, sign_key, agree_key };
    cast.node.store.enter(cast.ana.room.id(), invite, keys).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_is_removed_while_devices_keep_joining_and_thousands_say_nothing() {
    let mut cast = Cast::gather().await;
    let (_, invite) = cast.ben.room.create_invite(None, None).await.expect("any member may");
    for _ in 0..SILENT {
        come_in(&cast, invite.grant).await.expect("an invite without a limit");
    }
    let (joined, is_over, begun) = (AtomicUsize::new(0), AtomicBool::new(false), Instant::now());
    let cause = RekeyCause::Remove { devices: vec![cast.ben.id()], ban: true };
    let tries = AtomicUsize::new(0);
    let rekeying = async {
        let progress = |progress: Progress| {
            tries.fetch_add(usize::from(progress.staged == 0), Ordering::Relaxed);
        };
        let rekeyed = cast.ana.room.rekey(Rekey { cause: &cause, password: NEW }, progress).await;
        is_over.store(true, Ordering::Relaxed);
        rekeyed
    };
    let storm = async {
        // The invite ends with the removal, and so does the storm.
        while !is_over.load(Ordering::Relaxed) && come_in(&cast, invite.grant).await.is_ok() {
            joined.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    };
    let (rekeyed, ()) = tokio::join!(rekeying, storm);
    let rekeyed = rekeyed.expect("nobody can keep an owner from it");
    let taken = begun.elapsed();
    let joined = joined.into_inner();
    println!("{SILENT} silent devices and {joined} that joined meanwhile: {taken:?}");
    assert!(joined > 0 && taken < LIMIT, "{joined} joined in {taken:?}");
    assert_eq!(tries.into_inner(), 1, "it need not be tried again");
    assert!(rekeyed.excluded.len() >= SILENT);
    let members = cast.ana.room.members().await.expect("a list");
    let count = |state| members.iter().filter(|member| member.state == state).count();
    assert_eq!((count(MemberState::Member), count(MemberState::Banned)), (2, 1), "Ana and Cleo; Ben");
    assert_eq!(count(MemberState::Left), 0, "of who was never heard nothing is kept");
    cast.cleo.reaches(1).await;
    cast.ana.says("among us").await;
    cast.cleo.hears_text("among us").await;
    cast.cleo.is_content().await;
    cast.ana.is_content().await;
}

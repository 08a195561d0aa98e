//! A new key for a room of many.

use std::sync::Mutex;
use std::time::Duration;

use snug_client::{Progress, Rekey, RekeyCause};
use tokio::time::Instant;

use super::cast::Cast;
use super::crowd;

const MEMBERS: usize = 500;
/// In a build without optimisation, on a busy machine.
const LIMIT: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_members_get_another_key_page_by_page_with_its_progress_told() {
    let mut cast = Cast::gather().await;
    crowd::join(&cast, &cast.ana, MEMBERS - 3).await;
    let told = Mutex::new(Vec::new());
    let cause = RekeyCause::Remove { devices: vec![cast.ben.id()], ban: false };
    let rekey = Rekey { cause: &cause, password: "a password that Ben does not know" };
    let begun = Instant::now();
    let rekeyed = cast.ana.room.rekey(rekey, |progress| told.lock().expect("no panic").push(progress)).await;
    let taken = begun.elapsed();
    println!("{MEMBERS} members: {taken:?}");
    assert_eq!(rekeyed.expect("an owner may").excluded, []);
    // All but Ben, and the recovery device.
    let pages = [0, 200, 400, MEMBERS].map(|staged| Progress { staged, all: MEMBERS });
    assert_eq!(*told.lock().expect("no panic"), pages);
    assert!(taken < LIMIT, "{taken:?}");
    cast.ana.says("among us").await;
    cast.cleo.hears_text("among us").await;
    cast.cleo.is_content().await;
}

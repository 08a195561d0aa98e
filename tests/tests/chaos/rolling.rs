//! A rolling restart of all nodes under load, through the load balancer: nothing is refused, lost or doubled; and how soon clients are back.
//!
//! Two kinds of clients: the SDK's, which move when they are told to, and light ones, which stay until their socket is closed and come back
//! then. How long that takes is told, not held to anything: on a busy machine it says little of the cluster.

use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use snug_tests::fleet::{Fleet, Options};
use snug_tests::history::figures::Spans;
use snug_tests::history::{What, check, ledger};
use snug_tests::in_time;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::load::Load;
use super::scene::Scene;
use super::storm::{Light, stay};
use super::{MEMBERS, NODES, ONE_AT_A_TIME, ROOMS, postgres, raise_open_files};

/// Clients that come back when their socket has closed.
const CROWD: usize = 90;

/// Stays, and comes back whenever its socket has closed, until `over`; returns how long it was away each time.
async fn come_back_and_again(client: Light, over: CancellationToken) -> Vec<Duration> {
    let mut away = Vec::new();
    let mut socket = client.come_back(&AtomicUsize::new(0)).await;
    loop {
        tokio::select! {
            () = over.cancelled() => return away,
            () = stay(socket) => {}
        }
        let closed = Instant::now();
        socket = client.come_back(&AtomicUsize::new(0)).await;
        away.push(closed.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_under_load_refuses_loses_and_doubles_nothing() {
    let _alone = ONE_AT_A_TIME.lock().await;
    raise_open_files();
    let fleet = Fleet::start(NODES, &Options::default()).await;
    let load = Load::start(&fleet.url, ROOMS, MEMBERS).await;
    let mut scene = Scene::new(fleet, load);
    let (over, mut crowd) = (CancellationToken::new(), JoinSet::new());
    for client in scene.light_clients(CROWD).await {
        crowd.spawn(come_back_and_again(client, over.clone()));
    }
    scene.load.at_head(Instant::now()).await;
    let (began, before) = (Instant::now(), scene.load.acknowledged());
    let strike = scene.nodes_restarted().await;
    let (ended, after) = (Instant::now(), scene.load.acknowledged());
    over.cancel();
    let away: Spans = in_time("the crowd is there", crowd.join_all()).await.into_iter().flatten().collect();
    assert!(after > before, "nobody talked meanwhile, so nothing was shown");
    // Each of the crowd was at some node, and all were restarted.
    assert!(away.count() >= CROWD, "{} of {CROWD} came back", away.count());

    // Every message that a member hands over is awaited, and one that is refused ends the test there.
    let (scene, stories) = scene.finish_load().await;
    let (mut breaches, mut answers, mut moved, mut lost) = (Vec::new(), Spans::default(), 0, Spans::default());
    for story in &stories {
        let (head, rows) = postgres::ledger(&scene.fleet.database, story.id).await;
        breaches.extend(check(&story.histories, &story.stored));
        breaches.extend(ledger::check(&rows, head, &story.stored));
        for history in &story.histories {
            let sent = history.sent.iter().filter(|attempt| (began..ended).contains(&attempt.at));
            answers.extend(sent.filter_map(|attempt| attempt.answer.map(|answer| answer.at - attempt.at)));
            let spans = without_connection(&history.incidents);
            moved += usize::from(history.since.is_some() && spans.is_empty());
            lost.extend(spans);
        }
    }
    println!("rolling restart: {} within {:.1?}", strike.proof, ended - began);
    println!("  {} messages acknowledged meanwhile, from handing over to acknowledgement: {answers}", after - before);
    println!("  {CROWD} clients that wait for the end of their socket, from there to following again: {away}");
    println!("  clients of the SDK: {moved} of {} never without a connection; the others: {lost}", ROOMS * MEMBERS);
    let breaches: Vec<String> = breaches.iter().map(ToString::to_string).collect();
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

/// From each loss of the connection to its return.
fn without_connection(incidents: &[snug_tests::history::Incident]) -> Vec<Duration> {
    let mut spans = Vec::new();
    let mut lost = None;
    for incident in incidents {
        match incident.what {
            What::Lost => lost = Some(incident.at),
            What::Restored => spans.extend(lost.take().map(|lost| incident.at - lost)),
            What::Wrong(_) => {}
        }
    }
    spans
}

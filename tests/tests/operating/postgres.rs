//! The same on Postgres, whose own tools copy and put back.

use std::path::Path;

use snug_backing::Postgres;
use snug_backing::free_port;
use snug_tests::process::Process;

use crate::backup::{FAST, Talk};
use crate::commands::{does, fails};

const ROOMS: usize = 1;
const MEMBERS: usize = 3;

fn node(folder: &Path, database: &str) -> Vec<String> {
    vec![
        format!("--data-dir={}", folder.display()),
        format!("--pepper-file={}", folder.join("pepper").display()),
        format!("--database-url={database}"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_put_back_by_pg_restore_begins_new_histories_and_whoever_is_ahead_is_told() {
    let (folder, postgres) = (tempfile::tempdir().expect("a folder"), Postgres::start().await);
    let (old, new) = (postgres.database().await, postgres.database().await);
    let (old_name, new_name) = (name(&old), name(&new));
    does(&["make-pepper", &folder.path().join("pepper").display().to_string()]).await;
    let listen = format!("--listen=127.0.0.1:{}", free_port());
    let flags = node(folder.path(), &old);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let mut process = Process::start(&[&flags[..], &[listen.as_str()], &FAST].concat()).await;
    let mut talk = Talk::begin(&process.url, ROOMS, MEMBERS).await;
    talk.goes_on(30).await;
    let refused = fails(&[&["backup", "copy.dump"][..], &flags].concat()).await;
    assert!(refused.contains("pg_dump") && !refused.contains(&old), "{refused}");
    let before = talk.acknowledged().await;
    let dump = format!("/tmp/{old_name}.dump");
    postgres.exec(&["pg_dump", "--format=custom", "--file", &dump, old_name]).await;
    talk.goes_on(30).await;
    talk.end().await;
    process.kill().await;

    postgres.exec(&["pg_restore", "--no-owner", "--exit-on-error", "--dbname", new_name, &dump]).await;
    postgres.exec(&["rm", &dump]).await;
    let flags = node(folder.path(), &new);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let said = does(&[&["new-history"][..], &flags].concat()).await;
    assert!(said.starts_with(&format!("{ROOMS} rooms")), "{said}");
    let mut process = Process::start(&[&flags[..], &[listen.as_str()], &FAST].concat()).await;
    talk.hears_what_is_missing(&before).await;
    let listed = does(&[&["rooms"][..], &flags].concat()).await;
    assert!(listed.contains(&format!("{ROOMS} rooms")), "{listed}");
    assert!(process.terminate().await);
}

/// The name in a database's URL.
fn name(url: &str) -> &str {
    url.rsplit('/').next().expect("a name").split('?').next().expect("a name")
}

//! Snug on Postgres, as an operator meets it: an installation that moves there, and starts that go wrong.

#[path = "../../services/store/tests/contract/server.rs"]
mod server;

use std::path::Path;
use std::process::Stdio;

use snug_bus::Backplane;
use snug_protocol::frame::{Cursor, ServerFrame};
use snug_store::{PostgresOptions, Store};
use snug_tests::cluster::Cluster;
use snug_tests::guest::Guest;
use snug_tests::process::{Process, command, refuses_to_start};
use snug_tests::{eventually, in_time};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio_util::task::TaskTracker;

/// A database on the tests' server.
struct Database {
    admin: String,
    name: String,
    url: String,
}

impl Database {
    async fn create(name: &str) -> Self {
        let admin = server::postgres_server().await;
        let name = format!("snug_test_{name}_{}", std::process::id());
        let mut connection = PgConnection::connect(&admin).await.expect("the server is there");
        let create = sqlx::raw_sql(AssertSqlSafe(format!("create database {name}"))).execute(&mut connection).await;
        create.expect("a new database");
        let authority = admin.find("://").map_or(0, |at| at + 3);
        let end = admin[authority..].find('/').map_or(admin.len(), |at| authority + at);
        Self { url: format!("{}/{name}", &admin[..end]), name, admin }
    }

    async fn drop(self) {
        let mut connection = PgConnection::connect(&self.admin).await.expect("the server is there");
        let drop = format!("drop database {} with (force)", self.name);
        sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut connection).await.expect("it was ours");
    }
}

fn args<'a>(database: &'a str, pepper: &'a str) -> Vec<&'a str> {
    vec!["--listen=127.0.0.1:0", "--allow-weak-durability", database, pepper]
}

fn pepper_file(path: &Path) -> String {
    format!("--pepper-file={}", path.display())
}

/// Runs `snug` to its end; what it said on standard output and standard error.
async fn run(args: &[&str]) -> (String, String) {
    let child = command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    let output = in_time("snug ends", child.wait_with_output()).await.expect("it ran");
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("text"));
    assert!(output.status.success(), "{out}{err}");
    (out, err)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_that_outgrows_sqlite_moves_and_people_only_reconnect() {
    let (folder, database) = (tempfile::tempdir().expect("a folder"), Database::create("moves").await);
    let data = format!("--data-dir={}", folder.path().display());
    let mut process = Process::start(&["--listen=127.0.0.1:0", &data]).await;
    let mut owner = Guest::new(&process.url);
    let mut room = owner.create("Outgrown").await;
    let mut socket = owner.socket().await;
    let message = owner.message(&mut room, "before");
    let seq = socket.append(&message).await;
    assert!(process.terminate().await);

    let (to, from) = (format!("--to={}", database.url), format!("--from={}", folder.path().display()));
    let (out, err) = run(&["migrate-store", &from, &to, "--allow-weak-durability"]).await;
    assert!(err.contains("copying entry") && err.contains("comparing entry"), "{err}");
    assert!(out.contains("the same on both sides") && out.contains("pepper"), "{out}");

    let (url, pepper) = (format!("--database-url={}", database.url), pepper_file(&folder.path().join("pepper")));
    let mut nodes = [Process::start(&args(&url, &pepper)).await, Process::start(&args(&url, &pepper)).await];
    owner.url.clone_from(&nodes[0].url);
    assert_eq!(owner.get("/api/rooms").await.1["rooms"][0]["head"], seq.0, "still signed in");
    let mut socket = owner.socket().await;
    socket.send(1, &message).await;
    assert_eq!(socket.sent(1).await, (seq, true), "a resend finds its place");
    let cursor = Cursor { history: room.entered.room.history, seq, hash: message.hash().short().into() };
    let followed = socket.follow(room.room, Some(cursor)).await;
    assert!(matches!(followed, ServerFrame::Followed { resync: None, .. }), "{followed:?}");

    let mut newcomer = Guest::new(&nodes[1].url);
    let mut theirs = newcomer.join(&room).await;
    let mut their_socket = newcomer.socket().await;
    let after = their_socket.append(&newcomer.message(&mut theirs, "after")).await;
    // Nothing hurries news along between these nodes; the head check finds it.
    let entry = in_time("the other node's message", socket.entry()).await;
    assert_eq!(entry.seq(), after);
    for node in &mut nodes {
        assert!(node.terminate().await);
    }
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_with_different_peppers_do_not_run_on_one_database() {
    let (folder, database) = (tempfile::tempdir().expect("a folder"), Database::create("peppers").await);
    let url = format!("--database-url={}", database.url);
    let peppers = ["ours", "theirs"].map(|name| folder.path().join(name));
    let said = refuses_to_start(&args(&url, &pepper_file(&peppers[0]))).await;
    assert!(said.contains("snug make-pepper"), "{said}");
    for pepper in &peppers {
        run(&["make-pepper", &pepper.display().to_string()]).await;
    }
    let files = peppers.clone().map(|pepper| pepper_file(&pepper));
    // All at once, on a database that knows no pepper yet.
    let mut starting: Vec<_> = (0..6)
        .map(|at| {
            command(&args(&url, &files[at % 2])).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs")
        })
        .collect();
    let mut ran = [0, 0];
    for (at, child) in starting.iter_mut().enumerate() {
        let mut lines =
            tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(child.stdout.take().expect("piped")));
        let line = in_time("it starts or ends", lines.next_line()).await.expect("readable");
        ran[at % 2] += usize::from(line.is_some_and(|line| line.contains("ready")));
    }
    assert!(ran == [3, 0] || ran == [0, 3], "those with the first one's pepper run, the others do not: {ran:?}");
    for child in &mut starting {
        let _ = child.kill().await;
    }
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_cannot_work_says_why_in_one_line_and_soon() {
    let (folder, database) = (tempfile::tempdir().expect("a folder"), Database::create("refused").await);
    let pepper = folder.path().join("pepper");
    run(&["make-pepper", &pepper.display().to_string()]).await;
    let pepper = pepper_file(&pepper);
    let nowhere = "postgres://snug:secret@127.0.0.1:1/chat";
    let missing = database.url.replace(&database.name, "no_such_database");
    for (url, word) in
        [(nowhere, "cannot reach"), (missing.as_str(), "no_such_database"), ("postgres://snug:se/cret@h/db", "%40")]
    {
        let url = format!("--database-url={url}");
        let started = std::time::Instant::now();
        let said = refuses_to_start(&args(&url, &pepper)).await;
        assert!(started.elapsed() < std::time::Duration::from_secs(15), "{said}");
        assert!(said.contains(word) && said.lines().count() == 1 && !said.contains("secret"), "{said}");
    }
    let url = format!("--database-url={}", database.url);
    let said = refuses_to_start(&[&args(&url, &pepper)[..], &["--migrate=off"]].concat()).await;
    assert!(said.contains("snug migrate"), "{said}");
    run(&["migrate", &url, &pepper, "--allow-weak-durability"]).await;
    let mut node = Process::start(&[&args(&url, &pepper)[..], &["--migrate=off"]].concat()).await;
    let client = snug_tests::http();
    let is_ready = eventually("it is ready", async || {
        let answer = client.get(format!("{}/readyz", node.url)).send().await.ok()?;
        answer.status().is_success().then_some(true)
    });
    assert!(is_ready.await);
    assert!(node.terminate().await);
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_talk_between_two_nodes_asks_the_database_for_little_but_to_write() {
    let database = Database::create("talk").await;
    let options = PostgresOptions { allow_weak: true, ..PostgresOptions::default() };
    let open =
        async || Store::open_postgres(&database.url, options.clone(), &TaskTracker::new()).await.expect("it opens");
    let (here, there) = (Cluster::over(open().await, Backplane::local()), open().await);
    let mut elsewhere = here.clone();
    elsewhere.store = there;
    run(&["make-pepper", here.pepper_file().to_str().expect("a path in UTF-8")]).await;
    let nodes = [here.node(&[]).await, elsewhere.node(&[]).await];
    let [mut ana, mut ben] = nodes.each_ref().map(|node| Guest::new(&node.url));
    let mut anas = ana.create("Talk").await;
    let mut bens = ben.join(&anas).await;
    let (mut at_ana, mut at_ben) = (ana.socket().await, ben.socket().await);
    for socket in [&mut at_ana, &mut at_ben] {
        socket.follow(anas.room, None).await;
    }
    for _ in 0..30 {
        let question = ana.message(&mut anas, "How are you?");
        at_ana.append_and_see(&question).await;
        at_ben.until(&question).await;
        let answer = ben.message(&mut bens, "Fine, and you?");
        at_ben.append_and_see(&answer).await;
        at_ana.until(&answer).await;
    }
    let remembered = [&here, &elsewhere].map(|cluster| cluster.store.metrics().remembered.get());
    assert!(remembered.iter().all(|messages| *messages >= 20), "{remembered:?} of 30 each");
    for node in nodes {
        node.stop().await;
    }
    for store in [&here.store, &elsewhere.store] {
        store.close().await;
    }
    database.drop().await;
}

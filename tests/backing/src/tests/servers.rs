//! The controls of a server, in both engines where both can be had.

use std::path::Path;
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::server::Server;
use crate::{Engine, Postgres, eventually, postgres, redis};

/// How long a paused server must not answer before we believe that it is paused.
const SILENCE: Duration = Duration::from_millis(300);

/// The engine of this process, and plain processes as well where their programs are.
async fn engines() -> Vec<Engine> {
    let mut engines = vec![Engine::of_this_process().await];
    let programs = ["/usr/bin/redis-server", "/usr/lib/postgresql"].iter().all(|path| Path::new(path).exists());
    if engines == [Engine::Containers] && programs {
        engines.push(Engine::Processes);
    }
    engines
}

async fn query(url: &str, sql: &'static str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql(sql).execute(&mut connection).await?;
    connection.close().await
}

async fn count(url: &str) -> i64 {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::query_scalar("select count(*) from kept").fetch_one(&mut connection).await.unwrap()
}

async fn ask(stream: &mut TcpStream, command: &str) -> String {
    stream.write_all(format!("{command}\r\n").as_bytes()).await.unwrap();
    let mut answer = [0; 64];
    let length = stream.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..length]).trim_end().to_owned()
}

#[tokio::test]
async fn postgres_keeps_its_data_and_its_port_when_killed_or_stopped() {
    for engine in engines().await {
        let mut server = Server::start_in(engine, postgres::spec(&[("max_connections", "20")])).await;
        let url = postgres::url(server.port(), "postgres");
        query(&url, "create table kept (id int); insert into kept values (1)").await.unwrap();
        let mut open = PgConnection::connect(&url).await.unwrap();
        server.kill().await;
        assert!(sqlx::raw_sql("select 1").execute(&mut open).await.is_err(), "{engine:?}: it was killed");
        assert!(query(&url, "select 1").await.is_err(), "{engine:?}: it was killed");

        server.start_again().await;
        query(&url, "insert into kept values (2)").await.unwrap();
        let _idle = PgConnection::connect(&url).await.unwrap();
        server.stop().await;
        assert!(query(&url, "select 1").await.is_err(), "{engine:?}: it was stopped");

        server.start_again().await;
        assert_eq!(count(&url).await, 2, "{engine:?}");
        assert_eq!(server.exec(&["psql", "-Atc", "show max_connections"]).await, "20\n", "{engine:?}");
        assert_eq!(server.exec(&["psql", "-Atc", "show fsync"]).await, "on\n", "{engine:?}");
    }
}

#[tokio::test]
async fn a_paused_server_answers_nothing_until_it_goes_on() {
    for engine in engines().await {
        let mut server = Server::start_in(engine, postgres::spec(&[])).await;
        let mut open = PgConnection::connect(&postgres::url(server.port(), "postgres")).await.unwrap();
        server.pause().await;
        {
            let mut query = Box::pin(sqlx::raw_sql("select 1").execute(&mut open));
            assert!(timeout(SILENCE, &mut query).await.is_err(), "{engine:?}: it is paused");
            server.unpause().await;
            query.await.expect("it goes on where it was");
        }
        server.pause().await;
        server.kill().await;
        server.start_again().await;

        let mut server = Server::start_in(engine, redis::spec(&[])).await;
        let mut open = TcpStream::connect(server.address()).await.unwrap();
        server.pause().await;
        assert!(timeout(SILENCE, ask(&mut open, "PING")).await.is_err(), "{engine:?}: it is paused");
        TcpStream::connect(server.address()).await.expect("a paused server's machine accepts");
        server.unpause().await;
        assert_eq!(ask(&mut open, "").await, "+PONG", "{engine:?}: to what was asked during the pause");
    }
}

#[tokio::test]
async fn redis_forgets_when_killed_unless_told_to_keep() {
    for engine in engines().await {
        for (args, kept) in [(&[][..], "$-1"), (&["--appendonly", "yes"], "$5\r\nvalue")] {
            let mut server = Server::start_in(engine, redis::spec(args)).await;
            let mut stream = TcpStream::connect(server.address()).await.unwrap();
            assert_eq!(ask(&mut stream, "SET key value").await, "+OK");
            // Redis syncs its log every second; a kill loses nothing that has been written.
            server.kill().await;
            assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0, "{engine:?}: it was killed");
            server.start_again().await;
            let mut stream = TcpStream::connect(server.address()).await.unwrap();
            assert_eq!(ask(&mut stream, "GET key").await, kept, "{engine:?}");
            let port = server.port().to_string();
            assert_eq!(server.exec(&["redis-cli", "-p", &port, "FLUSHALL"]).await, "OK\n");
            server.stop().await;
            assert!(TcpStream::connect(server.address()).await.is_err(), "{engine:?}: it was stopped");
        }
    }
}

#[tokio::test]
async fn tests_that_share_a_postgres_do_not_share_a_database() {
    let (one, other) =
        tokio::join!(async { postgres().await.database().await }, async { postgres().await.database().await });
    assert_ne!(one, other);
    query(&one, "create table kept (id int)").await.unwrap();
    query(&other, "create table kept (id int)").await.unwrap();
}

#[tokio::test]
async fn the_shared_redis_answers_at_its_url() {
    let address = redis().await.url().strip_prefix("redis://").expect("its scheme");
    let mut stream = TcpStream::connect(address).await.unwrap();
    assert_eq!(ask(&mut stream, "PING").await, "+PONG");
}

/// Runs this test's own program for one test as a child that starts servers and is killed.
#[tokio::test]
async fn nothing_is_left_when_the_process_is_killed() {
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::servers::a_child_that_waits_to_be_killed", "--ignored", "--nocapture"])
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(child.stdout.take().unwrap()));
    let ports = timeout(crate::PATIENCE * 2, async {
        loop {
            let line = lines.next_line().await.unwrap().expect("the child runs on");
            if let Some((_, ports)) = line.split_once("ports: ") {
                return ports.split(' ').map(|port| port.parse::<u16>().unwrap()).collect::<Vec<_>>();
            }
        }
    })
    .await
    .unwrap();
    for port in &ports {
        TcpStream::connect(("127.0.0.1", *port)).await.expect("it runs");
    }
    child.kill().await.unwrap();
    for port in ports {
        eventually("the server ends", async || TcpStream::connect(("127.0.0.1", port)).await.is_err()).await;
    }
}

#[tokio::test]
#[ignore = "another test runs it and kills it"]
async fn a_child_that_waits_to_be_killed() {
    let mut ports = Vec::new();
    let mut servers = Vec::new();
    for engine in engines().await {
        let server = Server::start_in(engine, postgres::spec(&[])).await;
        ports.push(server.port().to_string());
        servers.push(server);
    }
    ports.push(redis().await.port().to_string());
    println!("ports: {}", ports.join(" "));
    tokio::time::sleep(crate::PATIENCE * 2).await;
}

#[tokio::test]
async fn a_dropped_server_is_gone_at_once() {
    for engine in engines().await {
        let server = Server::start_in(engine, redis::spec(&[])).await;
        let address = server.address();
        drop(server);
        assert!(TcpStream::connect(address).await.is_err(), "{engine:?}");
    }
}

#[test]
fn a_database_is_named_in_any_url() {
    let check = |url: &str, expected: &str| {
        let postgres = Postgres::elsewhere(url.to_owned());
        assert_eq!(postgres.url_of("new"), expected);
    };
    check("postgres://snug@127.0.0.1:5432/postgres", "postgres://snug@127.0.0.1:5432/new");
    check("postgres://a:b@db/postgres?sslmode=require", "postgres://a:b@db/new?sslmode=require");
}

//! Faults of Redis, and of the way to it.

use std::time::Duration;

use snug_backing::{Direction, Flow};
use snug_tests::history::Breach;
use tokio::time::{Instant, sleep, timeout};

use super::faults::{Fault, Strike};
use super::quiet::Quiet;
use super::scene::Scene;

/// How long Redis is away: longer than the longest period of the head check and some.
const AWAY: Duration = Duration::from_secs(8);
/// How long it stands still, or a node is deaf: longer than it takes to notice.
const STILL: Duration = Duration::from_secs(5);
/// How long a command may take that is to show that Redis answers.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// How long the news of a lost hint may take.
pub const LOST_HINT_LIMIT: Duration = Duration::from_secs(6);
/// Hints that are stolen under load.
const STOLEN: u64 = 5;

impl Scene {
    /// What `redis-cli` prints.
    async fn redis(&self, command: &[&str]) -> String {
        let port = self.fleet.redis.port().to_string();
        let command: Vec<&str> = ["redis-cli", "-p", &port].into_iter().chain(command.iter().copied()).collect();
        self.fleet.redis.exec(&command).await.trim().to_owned()
    }

    /// What Redis calls this life of its.
    async fn redis_life(&self) -> String {
        let info = self.redis(&["info", "server"]).await;
        info.lines().find(|line| line.starts_with("run_id")).expect("it has one").trim().to_owned()
    }

    pub async fn redis_away(&mut self) -> Strike {
        let name = format!("Away {}", self.strikes.len());
        let quiet = Quiet::start(&self.fleet, &name, 0, 1).await;
        let life = self.redis_life().await;
        self.fleet.redis.stop().await;
        let from = Instant::now();
        let silent = quiet.remove().await;
        self.figures.removal_without_redis.push(silent);
        let refused = tokio::net::TcpStream::connect(self.fleet.redis.address()).await.is_err();
        assert!(refused, "somebody listens where Redis was");
        sleep(AWAY.saturating_sub(from.elapsed())).await;
        let to = Instant::now();
        self.note_redis(Fault::RedisAway, from, to);
        self.fleet.redis.start_again().await;
        let healed = Instant::now();
        assert_ne!(self.redis_life().await, life);
        let proof = format!("connections refused for {:.1?}, another run_id after", to - from);
        self.healed(Fault::RedisAway, healed, proof).await
    }

    pub async fn redis_restarted(&mut self) -> Strike {
        let life = self.redis_life().await;
        self.fleet.redis.kill().await;
        self.fleet.redis.start_again().await;
        let healed = Instant::now();
        let after = self.redis_life().await;
        assert_ne!(life, after);
        self.healed(Fault::RedisRestarted, healed, "another run_id".into()).await
    }

    pub async fn redis_paused(&mut self) -> Strike {
        self.fleet.redis.pause().await;
        let from = Instant::now();
        let answer = async {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let mut stream = tokio::net::TcpStream::connect(self.fleet.redis.address()).await?;
            stream.write_all(b"PING\r\n").await?;
            stream.read_u8().await
        };
        assert!(timeout(ANSWER_LIMIT, answer).await.is_err(), "Redis answers although it is paused");
        sleep(STILL.saturating_sub(from.elapsed())).await;
        self.fleet.redis.unpause().await;
        let healed = Instant::now();
        self.note_redis(Fault::RedisPaused, from, healed);
        let proof = format!("no PONG for {:.1?}", healed - from);
        self.healed(Fault::RedisPaused, healed, proof).await
    }

    pub async fn redis_flushed(&mut self) -> Strike {
        // After a restart it is empty until the nodes have noticed.
        let before = snug_tests::eventually("there is something to flush", async || {
            let keys: u64 = self.redis(&["dbsize"]).await.parse().expect("a number");
            (keys > 0).then_some(keys)
        })
        .await;
        assert_eq!(self.redis(&["flushall"]).await, "OK");
        let healed = Instant::now();
        self.healed(Fault::RedisFlushed, healed, format!("{before} keys gone")).await
    }

    /// Steals some hints under load, then the last one of a quiet room.
    pub async fn hints_lost(&mut self) -> Strike {
        let deaf = self.fleet.busiest();
        let speaks = (deaf + 1) % self.fleet.nodes.len();
        let name = format!("Last hint {}", self.strikes.len());
        let mut quiet = Quiet::start(&self.fleet, &name, speaks, deaf).await;
        let (fills, stolen) = (self.fleet.nodes[deaf].fills(), self.fleet.nodes[deaf].thief.stolen());
        self.fleet.nodes[deaf].thief.steal(STOLEN);
        snug_tests::eventually("the load's hints are stolen", async || {
            (self.fleet.nodes[deaf].thief.stolen() >= stolen + STOLEN).then_some(())
        })
        .await;
        let healed = Instant::now();
        let strike = self.healed(Fault::HintsLost, healed, String::new()).await;
        let filled = self.fleet.nodes[deaf].fills() - fills;
        self.figures.stolen_and_filled.0 += STOLEN;
        self.figures.stolen_and_filled.1 += filled;
        self.fleet.nodes[deaf].thief.steal_of(1, &quiet.room.room.to_string());
        let seq = quiet.say("nothing comes after this").await;
        match quiet.read(seq, LOST_HINT_LIMIT * 2).await {
            Some(late) if late <= LOST_HINT_LIMIT => self.figures.last_hint_lost.push(late),
            late => self.breaches.push(Breach::Late(format!("the reader whose last hint was lost: {late:?}"))),
        }
        let all = self.fleet.nodes[deaf].thief.stolen() - stolen;
        assert_eq!(all, STOLEN + 1, "a hint was not stolen");
        Strike { proof: format!("{all} hints stolen from node {deaf}, one with nothing after it"), ..strike }
    }

    /// One node hears nothing from Redis. Its connections stay open, and what it says arrives.
    pub async fn node_deaf(&mut self) -> Strike {
        let deaf = self.fleet.busiest();
        let before = self.fleet.nodes[deaf].redis.counts();
        self.fleet.nodes[deaf].redis.set(Direction::ToClient, Flow::BlackHole);
        let from = Instant::now();
        sleep(STILL).await;
        let withheld = self.fleet.nodes[deaf].redis.counts().bytes_withheld - before.bytes_withheld;
        assert!(withheld > 0, "nothing was kept from the node");
        self.fleet.nodes[deaf].redis.heal();
        let healed = Instant::now();
        let proof = format!("{withheld} bytes kept from node {deaf} for {:.1?}", healed - from);
        self.healed(Fault::NodeDeaf, healed, proof).await
    }
}

//! A thief on the way from Redis to a node: takes single messages out of the stream and leaves the connection in perfect health.
//!
//! TCP never does this, but a full output buffer, a subscription that moved, or a bug does. A hint that is stolen is a hint that is lost,
//! without anything that could tell the node so.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// What the name of a room's channel of news contains, as the bus calls it.
const NEWS: &[u8] = b"news:{";
/// What a message that comes by a sharded subscription begins with, after its length.
const SHARDED: &[u8] = b"$8\r\nsmessage\r\n";

/// A proxy before Redis that steals news of rooms when told to.
pub struct Thief {
    address: SocketAddr,
    loot: Arc<Loot>,
    _stop: DropGuard,
}

#[derive(Default)]
struct Loot {
    wanted: Mutex<Wanted>,
    stolen: AtomicU64,
}

#[derive(Default)]
struct Wanted {
    count: u64,
    /// What the channel's name must contain besides.
    of: String,
}

impl Thief {
    /// Listens on a free port of loopback and forwards to the Redis at `target`.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(target: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let (address, loot, stop) = (listener.local_addr()?, Arc::new(Loot::default()), CancellationToken::new());
        TaskTracker::new().spawn(accept(listener, target, Arc::clone(&loot), stop.clone()));
        Ok(Self { address, loot, _stop: stop.drop_guard() })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Steals the next `count` messages of news, instead of what was still to be stolen.
    pub fn steal(&self, count: u64) {
        self.steal_of(count, "");
    }

    /// The same of the room with this id only.
    pub fn steal_of(&self, count: u64, room: &str) {
        *self.loot.wanted() = Wanted { count, of: room.to_owned() };
    }

    /// How many it has stolen.
    #[must_use]
    pub fn stolen(&self) -> u64 {
        self.loot.stolen.load(Ordering::Acquire)
    }
}

impl Loot {
    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().expect("no code panics while it holds what is wanted")
    }

    /// Whether to take the message that came by this channel.
    fn takes(&self, channel: &[u8]) -> bool {
        let mut wanted = self.wanted();
        let fits = wanted.of.is_empty() || contains(channel, wanted.of.as_bytes());
        if !fits || wanted.count == 0 {
            return false;
        }
        wanted.count -= 1;
        self.stolen.fetch_add(1, Ordering::AcqRel);
        true
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

async fn accept(listener: TcpListener, target: SocketAddr, loot: Arc<Loot>, stop: CancellationToken) {
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((client, _)) = accepted else { continue };
        let (loot, stop) = (Arc::clone(&loot), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = carry(client, target, &loot) => {}
            }
        });
    }
}

/// Carries bytes both ways until one way has ended.
async fn carry(mut client: TcpStream, target: SocketAddr, loot: &Loot) {
    let Ok(mut redis) = TcpStream::connect(target).await else { return };
    // Fail only if a stream is gone already, which the pumps notice.
    let _ = (client.set_nodelay(true), redis.set_nodelay(true));
    let ((mut from_client, to_client), (from_redis, mut to_redis)) = (client.split(), redis.split());
    tokio::select! {
        _ = tokio::io::copy(&mut from_client, &mut to_redis) => {}
        _ = sift(from_redis, to_client, loot) => {}
    }
}

/// Passes on whole replies only, and not those that are stolen.
async fn sift(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, loot: &Loot) -> std::io::Result<()> {
    let (mut waiting, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        let count = from.read(&mut piece).await?;
        if count == 0 {
            return Ok(());
        }
        waiting.extend_from_slice(&piece[..count]);
        let (mut passed, mut start) = (Vec::with_capacity(waiting.len()), 0);
        while let Some(length) = reply_length(&waiting[start..]) {
            let reply = &waiting[start..start + length];
            if !news_of(reply).is_some_and(|channel| loot.takes(channel)) {
                passed.extend_from_slice(reply);
            }
            start += length;
        }
        waiting.drain(..start);
        to.write_all(&passed).await?;
    }
}

/// The channel that the reply is a message by, if it is one of news.
fn news_of(reply: &[u8]) -> Option<&[u8]> {
    let (_, body) = line(reply)?;
    let channel = reply[body..].strip_prefix(SHARDED)?;
    let (_, name) = line(channel)?;
    let (name, _) = line(&channel[name..])?;
    contains(name, NEWS).then_some(name)
}

/// The first line without its end, and where the next begins.
fn line(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    Some((&bytes[..end], end + 2))
}

/// How many bytes the first reply has, in RESP 2 or 3; `None` if it is not whole yet.
fn reply_length(bytes: &[u8]) -> Option<usize> {
    let (first, mut at) = line(bytes)?;
    let (kind, number) = first.split_first()?;
    let number = || std::str::from_utf8(number).ok()?.parse::<i64>().ok();
    let replies = match kind {
        b'$' | b'!' | b'=' => {
            // A negative length is a null, which has no body.
            let length = usize::try_from(number()?).map_or(0, |length| length + 2);
            return (bytes.len() >= at + length).then_some(at + length);
        }
        b'*' | b'~' | b'>' => usize::try_from(number()?).unwrap_or(0),
        b'%' | b'|' => usize::try_from(number()?).unwrap_or(0) * 2,
        _ => 0,
    };
    // Attributes stand before the reply that they are of.
    for _ in 0..replies + usize::from(*kind == b'|') {
        at += reply_length(&bytes[at..])?;
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEWS_OF_A_ROOM: &[u8] = b">3\r\n$8\r\nsmessage\r\n$12\r\nx:news:{abc}\r\n$4\r\n\r\n\r\n\r\n";
    const TYPING: &[u8] = b">3\r\n$8\r\nsmessage\r\n$15\r\nx:fleeting:{ab}\r\n$7\r\nnews:{}\r\n";

    #[test]
    fn replies_are_told_apart_in_whatever_pieces_they_come() {
        let all: [&[u8]; 8] = [
            b"+OK\r\n",
            b":-5\r\n",
            b"$-1\r\n",
            b"$2\r\n\r\n\r\n",
            b"*2\r\n$1\r\na\r\n*0\r\n",
            b"%1\r\n+k\r\n#t\r\n",
            b"|1\r\n+a\r\n+b\r\n:1\r\n",
            TYPING,
        ];
        for reply in all {
            let mut stream = reply.to_vec();
            stream.extend_from_slice(b"+PONG\r\n");
            assert_eq!(reply_length(&stream), Some(reply.len()), "{reply:?}");
            assert!((0..reply.len()).all(|cut| reply_length(&reply[..cut]).is_none()), "{reply:?}");
        }
    }

    #[tokio::test]
    async fn only_news_are_stolen_and_only_those_that_are_wanted() {
        let redis = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let thief = Thief::start(redis.local_addr().expect("bound")).await.expect("a port");
        let mut node = TcpStream::connect(thief.address()).await.expect("it listens");
        let (mut redis, _) = redis.accept().await.expect("the thief connects");
        let all = [NEWS_OF_A_ROOM, TYPING, NEWS_OF_A_ROOM, NEWS_OF_A_ROOM, b"+PONG\r\n"].concat();
        let rest = [TYPING, NEWS_OF_A_ROOM, b"+PONG\r\n"].concat();
        for (of, expected, stolen) in [("abd", &all, 0), ("abc", &rest, 2), ("", &rest, 4)] {
            thief.steal_of(2, of);
            for piece in all.chunks(7) {
                redis.write_all(piece).await.expect("open");
            }
            let mut passed = vec![0; expected.len()];
            crate::in_time("the rest passes", node.read_exact(&mut passed)).await.expect("open");
            assert_eq!((&passed, thief.stolen()), (expected, stolen));
        }
        node.write_all(b"PING\r\n").await.expect("open");
        let mut asked = [0; 6];
        crate::in_time("the other way is open", redis.read_exact(&mut asked)).await.expect("open");
    }
}

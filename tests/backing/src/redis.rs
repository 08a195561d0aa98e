//! A real Redis.

use std::ops::{Deref, DerefMut};

use tokio::sync::OnceCell;

use crate::server::{Kind, Server, Spec};

/// A Redis server without persistence, as a cluster needs no more.
pub struct Redis {
    url: String,
    server: Option<Server>,
}

/// The Redis that all tests of this process share, started on first use: the one at `SNUG_TEST_REDIS_URL`, if that is set. Whoever uses
/// it takes channels and keys of its own.
pub async fn redis() -> &'static Redis {
    static SHARED: OnceCell<Redis> = OnceCell::const_new();
    SHARED
        .get_or_init(async || match std::env::var("SNUG_TEST_REDIS_URL") {
            Ok(url) => Redis { url, server: None },
            Err(_) => Redis::start(&[]).await,
        })
        .await
}

impl Redis {
    /// A Redis of one's own with more arguments, as in `["--appendonly", "yes"]`.
    pub async fn start(args: &[&str]) -> Self {
        let server = Server::start(spec(args)).await;
        Self { url: format!("redis://{}", server.address()), server: Some(server) }
    }

    /// Where it is, as `redis://127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Deref for Redis {
    type Target = Server;

    /// # Panics
    /// When the server is not ours.
    fn deref(&self) -> &Server {
        self.server.as_ref().expect("the server at SNUG_TEST_REDIS_URL is not ours to control")
    }
}

impl DerefMut for Redis {
    fn deref_mut(&mut self) -> &mut Server {
        self.server.as_mut().expect("the server at SNUG_TEST_REDIS_URL is not ours to control")
    }
}

pub(crate) fn spec(args: &[&str]) -> Spec {
    let script = r#"exec redis-server --bind "$BIND" --port "$PORT" --dir "$DATA" --protected-mode no --save "" "$@""#;
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    Spec { kind: Kind::Redis, script: script.to_owned(), args, env: Vec::new() }
}

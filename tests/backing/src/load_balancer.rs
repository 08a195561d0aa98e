//! A real HAProxy before nodes of a test's choice.

use std::fmt::Write;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};

use crate::server::{Kind, Server, Spec};

/// What operators get; only its addresses are replaced.
const CONFIG: &str = include_str!("../../../deploy/haproxy.cfg");

/// HAProxy with the configuration of `deploy/haproxy.cfg` before some nodes: the one with the fewest connections gets the next one, a
/// node that is not ready gets none.
pub struct LoadBalancer {
    server: Server,
}

impl LoadBalancer {
    /// A load balancer before `nodes`, which need not be there yet.
    pub async fn start(nodes: &[SocketAddr]) -> Self {
        Self { server: Server::start(spec(nodes)).await }
    }

    /// Its address for browsers and clients, as `http://127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }
}

impl Deref for LoadBalancer {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for LoadBalancer {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

pub(crate) fn spec(nodes: &[SocketAddr]) -> Spec {
    let script = r#"printf %s "$CONFIG" >"$DATA/haproxy.cfg" && exec haproxy -W -db -f "$DATA/haproxy.cfg""#;
    Spec { kind: Kind::Haproxy, script: script.to_owned(), args: Vec::new(), env: vec![("CONFIG", config(nodes))] }
}

fn config(nodes: &[SocketAddr]) -> String {
    let mut config = String::new();
    for line in CONFIG.lines() {
        match line.split_whitespace().next() {
            Some("bind") => config.push_str("    bind \"${BIND}:${PORT}\"\n"),
            Some("server") => {}
            _ => config.extend([line, "\n"]),
        }
    }
    // The servers stand at the end of the file.
    for (number, node) in nodes.iter().enumerate() {
        writeln!(config, "    server node{number} {node}").expect("a string grows");
    }
    config
}

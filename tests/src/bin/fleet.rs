//! A real cluster behind lines of JSON, for the browser tests: nodes that can be killed, drained and started again while pages are open.
//!
//! Prints `{"url":…}` when it is ready. Then reads one command a line on stdin and prints one answer to each, in order: `{"answer":…}`.
//! Ends when stdin does, and everything that it has started ends with it.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use snug_tests::fleet::{Fleet, Options};
use tokio::task::spawn_blocking;

const NODES: usize = 3;

/// What is done to the cluster.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Command {
    /// kill -9.
    Kill { node: usize },
    /// SIGTERM; answered when the node has ended.
    Drain { node: usize },
    /// Starts a node that does not run; answered when the load balancer leads to it.
    Start { node: usize },
    /// At which node each device's newest session began.
    Where,
}

async fn obey(fleet: &mut Fleet, command: Command) -> anyhow::Result<Value> {
    Ok(match command {
        Command::Kill { node } => json!(running(fleet, node)?.kill().await),
        Command::Drain { node } => json!(running(fleet, node)?.terminate().await),
        Command::Start { node } => {
            ensure!(node < NODES && !fleet.nodes[node].is_running(), "node {node} runs, or there is none");
            fleet.restart(node).await;
            Value::Null
        }
        Command::Where => {
            let mut newest = BTreeMap::new();
            for (node, of) in fleet.nodes.iter().enumerate() {
                for session in of.sessions() {
                    let known = newest.entry(session.device).or_insert((String::new(), node));
                    if known.0 <= session.began_at {
                        *known = (session.began_at, node);
                    }
                }
            }
            let nodes: BTreeMap<_, _> = newest.into_iter().map(|(device, (_, node))| (device, node)).collect();
            json!(nodes)
        }
    })
}

fn running(fleet: &mut Fleet, node: usize) -> anyhow::Result<&mut snug_tests::fleet::Node> {
    let node = fleet.nodes.get_mut(node).context("there is no such node")?;
    ensure!(node.is_running(), "it does not run");
    Ok(node)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let mut fleet = Fleet::start(NODES, &Options::default()).await;
    println!("{}", json!({ "url": fleet.url }));
    while let Some(line) = spawn_blocking(|| std::io::stdin().lines().next()).await? {
        let line = line?;
        let command = serde_json::from_str(&line).with_context(|| format!("not a command: {line}"))?;
        println!("{}", json!({ "answer": obey(&mut fleet, command).await? }));
    }
    Ok(())
}

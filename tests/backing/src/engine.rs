//! What servers run in: containers, or plain processes where no container can run.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use testcontainers::bollard::Docker;
use testcontainers::core::client::docker_client_instance;
use tokio::sync::OnceCell;

use crate::server::Kind;

/// How long a Docker engine may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// What servers run in. Chosen once a process, and said once on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Containers of a Docker engine, through testcontainers.
    Containers,
    /// Programs of this machine.
    Processes,
}

impl Engine {
    /// The engine of this process: containers, unless `SNUG_TEST_BACKING=processes`, or `tests/setup/containers` found that none can
    /// run, or no Docker engine answers.
    pub async fn of_this_process() -> Self {
        static CHOSEN: OnceCell<Engine> = OnceCell::const_new();
        *CHOSEN.get_or_init(choose).await
    }
}

async fn choose() -> Engine {
    // Written by tests/setup/containers: the first word, and why.
    let outcome = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/snug-test-backing");
    let outcome = std::fs::read_to_string(outcome).unwrap_or_default();
    let asked = std::env::var("SNUG_TEST_BACKING").unwrap_or_default();
    if asked == "processes" {
        return say(Engine::Processes, "because SNUG_TEST_BACKING says so");
    }
    if let (Some(why), "") = (outcome.strip_prefix("processes "), asked.as_str()) {
        return say(Engine::Processes, &format!("because {}", why.trim()));
    }
    match docker().await {
        Ok(docker) => {
            let mut images = Vec::new();
            for kind in Kind::ALL {
                images.push(image(&docker, kind).await);
            }
            let images: Vec<String> = images.iter().map(|(name, tag)| format!("{name}:{tag}")).collect();
            say(Engine::Containers, &format!("({})", images.join(", ")))
        }
        Err(why) => {
            assert!(asked != "containers", "{why}: tests/setup/containers brings one");
            say(Engine::Processes, &format!("because {why} (tests/setup/containers brings one)"))
        }
    }
}

/// Past the test runner's capture: what a run stands on belongs to its output even when it passes.
fn say(engine: Engine, more: &str) -> Engine {
    let name = match engine {
        Engine::Containers => "containers",
        Engine::Processes => "local processes",
    };
    // Nobody to tell is no reason to fail.
    let _ = writeln!(std::io::stderr(), "backing: {name} {more}");
    engine
}

pub(crate) async fn docker() -> Result<Docker, String> {
    let docker = docker_client_instance().await.map_err(|error| format!("no Docker engine can be asked: {error}"))?;
    match tokio::time::timeout(ANSWER_LIMIT, docker.ping()).await {
        Ok(Ok(_)) => Ok(docker),
        Ok(Err(_)) => Err("no Docker engine answers".to_owned()),
        Err(_) => Err("the Docker engine does not answer in time".to_owned()),
    }
}

/// The image for servers of this kind: the first one that is here, else the one to pull.
pub(crate) async fn image(docker: &Docker, kind: Kind) -> (&'static str, &'static str) {
    let [first, stand_in] = kind.images();
    for (name, tag) in [first, stand_in] {
        if docker.inspect_image(&format!("{name}:{tag}")).await.is_ok() {
            return (name, tag);
        }
    }
    first
}

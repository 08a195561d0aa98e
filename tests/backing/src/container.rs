//! A server in a container, through testcontainers.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use testcontainers::bollard::Docker;
use testcontainers::bollard::query_parameters::KillContainerOptionsBuilder;
use testcontainers::core::{ExecCommand, IntoContainerPort};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};

use crate::engine;
use crate::eventually;
use crate::server::{PREAMBLE, Spec};
use crate::watcher::Watcher;

/// Tells `tests/setup/containers` whose a container is.
const PROCESS_LABEL: &str = "snug-test.process";
/// A server that has not ended by then is told once more.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(5);

pub(crate) struct Container {
    container: ContainerAsync<GenericImage>,
    docker: Docker,
}

impl Container {
    pub(crate) async fn start(spec: Spec, port: u16) -> Self {
        let docker = engine::docker().await.unwrap_or_else(|why| panic!("{why}"));
        let (name, tag) = engine::image(&docker, spec.kind).await;
        let bind = if spec.kind.reaches_loopback() { "127.0.0.1" } else { "0.0.0.0" };
        let script = format!(r#"{PREAMBLE} mkdir -p "$DATA"; {}"#, spec.script);
        let mut request = GenericImage::new(name, tag)
            .with_entrypoint("sh")
            .with_cmd(["-c".to_owned(), script, "sh".to_owned()].into_iter().chain(spec.args))
            .with_label(PROCESS_LABEL, std::process::id().to_string())
            .with_env_var("PORT", port.to_string())
            .with_env_var("BIND", bind)
            .with_env_var("DATA", "/tmp/snug");
        for (name, value) in spec.env {
            request = request.with_env_var(name, value);
        }
        if let Some(user) = spec.kind.user() {
            request = request.with_user(user);
        }
        request = if spec.kind.reaches_loopback() {
            request.with_network("host")
        } else {
            // The same port inside and outside and across restarts, and on loopback only.
            request.with_mapped_port(port, port.tcp()).with_host_config_modifier(|host| {
                for binding in host.port_bindings.iter_mut().flat_map(|all| all.values_mut()).flatten().flatten() {
                    binding.host_ip = Some("127.0.0.1".to_owned());
                }
            })
        };
        remove_in_the_end();
        let container = request.start().await.unwrap_or_else(|error| {
            panic!("{name}:{tag} does not start: {error}. tests/setup/containers brings images or says why not")
        });
        Self { container, docker }
    }

    pub(crate) async fn end(&self, signal: &str) {
        if signal == "KILL" && self.is_paused().await {
            // A frozen process dies when it thaws, and has no time to do anything before.
            self.kill(signal).await;
            let _ = self.container.unpause().await;
        } else {
            self.kill(signal).await;
        }
        let mut asked_at = Instant::now();
        eventually("the container ends", async || {
            if !self.is_running().await {
                return true;
            }
            if asked_at.elapsed() >= ASKED_AGAIN_AFTER {
                // HAProxy's master was seen to miss a signal that came while it was busy with its worker. It may have ended by now.
                let _ = self.try_kill(signal).await;
                asked_at = Instant::now();
            }
            false
        })
        .await;
    }

    async fn kill(&self, signal: &str) {
        self.try_kill(signal).await.expect("the container runs");
    }

    async fn try_kill(&self, signal: &str) -> Result<(), testcontainers::bollard::errors::Error> {
        let options = KillContainerOptionsBuilder::new().signal(&format!("SIG{signal}")).build();
        self.docker.kill_container(self.container.id(), Some(options)).await
    }

    async fn is_paused(&self) -> bool {
        let about = self.docker.inspect_container(self.container.id(), None).await.expect("the container is ours");
        about.state.and_then(|state| state.paused).unwrap_or(false)
    }

    pub(crate) async fn start_again(&self) {
        self.container.start().await.expect("the container starts again");
    }

    pub(crate) async fn pause(&self) {
        self.container.pause().await.expect("the container runs");
    }

    pub(crate) async fn unpause(&self) {
        self.container.unpause().await.expect("the container is paused");
    }

    pub(crate) async fn is_running(&self) -> bool {
        self.container.is_running().await.expect("the container is ours")
    }

    pub(crate) async fn exec(&self, command: &[&str]) -> String {
        let script = format!(r#"{PREAMBLE} exec "$@""#);
        let run = ExecCommand::new(["sh", "-c", &script, "sh"].iter().chain(command).copied());
        let mut result = self.container.exec(run).await.expect("the container runs");
        let out = result.stdout_to_vec().await.expect("the output can be read");
        let err = result.stderr_to_vec().await.expect("the output can be read");
        let code = result.exit_code().await.expect("the engine knows");
        assert!(code == Some(0), "{command:?} failed: {}", String::from_utf8_lossy(&err));
        String::from_utf8_lossy(&out).into_owned()
    }

    pub(crate) async fn log(&self) -> String {
        let out = self.container.stdout_to_vec().await.unwrap_or_default();
        let err = self.container.stderr_to_vec().await.unwrap_or_default();
        String::from_utf8_lossy(&[out, err].concat()).into_owned()
    }
}

/// Has the containers of this process removed when it is gone. Those that are dropped are removed then.
fn remove_in_the_end() {
    static WATCHER: OnceLock<Watcher> = OnceLock::new();
    WATCHER.get_or_init(|| {
        let mine = format!("label={PROCESS_LABEL}={}", std::process::id());
        let mut watcher = Watcher::start();
        watcher.in_the_end(&format!("docker ps -aq --filter {mine} | xargs docker rm -fv"));
        watcher
    });
}

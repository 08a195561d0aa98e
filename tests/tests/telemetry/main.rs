//! What an operator is told is true, complete, and holds nothing of what people say.

mod canary;
mod collector_away;
mod counting;
mod documents;
mod exposition;
mod losses;
mod tracing;

use std::path::Path;

use snug_backing::free_port;
use snug_tests::process::{Process, command};

use exposition::Exposition;

/// A node of its own with an admin port, on SQLite.
struct Watched {
    process: Process,
    admin: String,
}

impl Watched {
    async fn start(folder: &Path, args: &[&str]) -> Self {
        let (data, admin) = (format!("--data-dir={}", folder.display()), format!("127.0.0.1:{}", free_port()));
        let listen = format!("--admin-listen={admin}");
        let all = [&["--listen=127.0.0.1:0", &data, &listen], args].concat();
        Self { process: Process::start(&all).await, admin }
    }

    async fn metrics(&self) -> Exposition {
        Exposition::read(&scrape(&self.admin).await)
    }
}

/// What Prometheus is told at this admin address.
async fn scrape(admin: &str) -> String {
    let asked = snug_tests::http().get(format!("http://{admin}/metrics")).send();
    let answer = snug_tests::in_time("the admin port answers", asked).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    answer.text().await.expect("text")
}

/// `snug` that says what it says to a file.
fn command_to_file(args: &[&str], log: &Path, filter: &str) -> tokio::process::Command {
    let mut command = command(args);
    let file = std::fs::File::options().create(true).append(true).open(log).expect("a file of ours");
    command.env("SNUG_LOG", filter).stderr(file);
    command
}

//! The load generator against a real node: it finds nothing wrong, and says how much it found.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use snug_backing::free_port;
use snug_tests::process::{Process, binary};
use tokio::process::Command;

/// Nobody is to run into a limit.
const GENEROUS: [&str; 11] = [
    "--http-per-second=100000",
    "--http-burst=100000",
    "--creates-per-minute=100000",
    "--joins-per-minute=100000",
    "--joins-burst=100000",
    "--joins-per-address-per-minute=100000",
    "--sends-per-second=100000",
    "--sends-burst=100000",
    "--sign-ins-per-minute=100000",
    "--connections-per-address=100000",
    "--sockets-per-address=100000",
];

/// How long a run may take on a slow machine; half a minute is usual.
const LIMIT: Duration = Duration::from_secs(300);

/// Runs these scenarios against one node, small and short, and returns the report.
async fn report(scenarios: &str, more: &[&str]) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let (listen, data) =
        (format!("--listen=127.0.0.1:{}", free_port()), format!("--data-dir={}", folder.path().display()));
    let args: Vec<&str> = GENEROUS.into_iter().chain([listen.as_str(), data.as_str()]).collect();
    let node = Process::start(&args).await;
    let mut command = Command::new(binary().with_file_name("snug-load"));
    command
        .arg("run")
        .arg(format!("--node={}={}", node.url, node.id().expect("it runs")))
        .arg(format!("--scenario={scenarios}"))
        .arg(format!("--out={}", folder.path().display()))
        .args([
            "--members=12",
            "--writers=3",
            "--rooms=5",
            "--room-members=4",
            "--step-seconds=0.4",
            "--hold-seconds=1.5",
        ])
        .args(["--first-deliveries=100", "--joins=10", "--resuming=10", "--idle=60"])
        .args(more)
        .stderr(Stdio::piped());
    let run = tokio::time::timeout(LIMIT, command.output()).await.expect("snug-load ends in time").expect("it runs");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let page = std::fs::read_to_string(folder.path().join("report.html")).expect("a page");
    assert!(page.contains("<svg") || scenarios == "idle", "no plot");
    serde_json::from_slice(&std::fs::read(folder.path().join("report.json")).expect("a report")).expect("JSON")
}

fn fact(report: &Value, name: &str) -> f64 {
    let facts = report["results"]
        .as_array()
        .expect("results")
        .iter()
        .flat_map(|result| result["facts"].as_array().expect("facts"));
    let mut found = facts.filter(|fact| fact["name"].as_str().is_some_and(|known| known.starts_with(name)));
    found.next().unwrap_or_else(|| panic!("no {name} in {report}"))["value"].as_f64().expect("a number")
}

/// In no step, and something was delivered in each.
fn nothing_is_wrong(report: &Value) {
    let steps = report["results"]
        .as_array()
        .expect("results")
        .iter()
        .flat_map(|result| result["steps"].as_array().expect("steps"));
    for step in steps {
        assert_eq!(step["wrong"], 0, "{step}");
        assert!(step["delivered"].as_u64().expect("a number") > 0, "{step}");
    }
}

#[tokio::test]
async fn storms_pings_and_pages_are_measured_and_nothing_is_wrong() {
    let report = report("ping,history,joins,resume,idle,slow", &[]).await;
    nothing_is_wrong(&report);
    assert!(fact(&report, "delivered on the other node, p50") > 0.0 && fact(&report, "sum of the parts") > 0.0);
    assert!(
        (fact(&report, "joins by invite that failed"), fact(&report, "joins by password that failed")) == (0.0, 0.0)
    );
    assert!(fact(&report, "sessions that came back") == 10.0);
    assert!(fact(&report, "pages") > 0.0 && fact(&report, "sockets lost meanwhile") == 0.0);
}

#[tokio::test]
async fn people_who_are_in_several_rooms_get_the_messages_of_each() {
    let report = report("growth", &["--members-most=10", "--rooms-most=10"]).await;
    nothing_is_wrong(&report);
    assert!(report.to_string().contains("10 rooms of 5, each in 5 of them"), "{report}");
}

#[tokio::test]
async fn a_room_and_the_floor_are_compared() {
    let report = report("small", &[]).await;
    assert!(fact(&report, "highest sustained rate") > 0.0);
    assert!(fact(&report, "CPU a delivery, at the maximum, over one message a write") > 0.0);
}

#[tokio::test]
async fn what_instructions_are_counted_of_runs_to_its_end() {
    for who in ["node", "floor"] {
        let mut command = Command::new(binary().with_file_name("snug-instructions"));
        let command = command.args([who, "3", "8", "4"]).stderr(Stdio::piped());
        let run = tokio::time::timeout(LIMIT, command.output()).await.expect("it ends in time").expect("it runs");
        assert!(run.status.success(), "{who}: {}", String::from_utf8_lossy(&run.stderr));
    }
}

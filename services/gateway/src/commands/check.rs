//! `snug check`.

use anyhow::bail;
use snug_gateway::checkup::{self, State};
use snug_gateway::config::Check;

/// Looks, and tells; fails if anything is wrong.
pub async fn run(check: &Check) -> anyhow::Result<()> {
    let report = checkup::check(&check.settings).await;
    let failed = report.failed();
    if check.json {
        let text = serde_json::json!({ "ok": failed == 0, "findings": report.findings });
        println!("{}", serde_json::to_string_pretty(&text)?);
    } else {
        for finding in &report.findings {
            let mark = match finding.state {
                State::Ok => "ok",
                State::Warning => "warning",
                State::Failed => "FAILED",
            };
            println!("{mark:<8} {:<12} {}", finding.what, finding.said);
        }
    }
    if failed > 0 {
        bail!("{failed} of {} things would keep a node from starting, or people from using it", report.findings.len());
    }
    Ok(())
}

//! Where a node's logs, metrics and traces would go.

use super::{Report, State};
use crate::config::Settings;
use crate::server::listen;
use crate::{healthcheck, telemetry};

pub(super) async fn check(settings: &Settings, report: &mut Report) {
    match telemetry::filter(settings) {
        Ok(_) => report.note("log", State::Ok, settings.log.as_str()),
        Err(error) => report.note("log", State::Failed, error.to_string()),
    }
    check_admin_port(settings, report).await;
    check_collector(settings, report).await;
}

/// Whether the port for metrics is free, or a node has it.
async fn check_admin_port(settings: &Settings, report: &mut Report) {
    let Some(address) = settings.watching.admin_listen else { return };
    match listen(address, "SNUG_ADMIN_LISTEN") {
        Ok(_) => report.note("admin port", State::Ok, format!("{address} is free")),
        Err(_) if healthcheck::tells_metrics(address).await => {
            report.note("admin port", State::Ok, format!("a node tells its metrics at {address}"));
        }
        Err(error) => report.note("admin port", State::Failed, error.to_string()),
    }
}

/// Whether the collector's address is one, and takes what a node sends.
async fn check_collector(settings: &Settings, report: &mut Report) {
    let collector = match settings.watching.collector() {
        Ok(Some(collector)) => collector,
        Ok(None) => return,
        Err(error) => return report.note("collector", State::Failed, error.to_string()),
    };
    let url = &settings.watching.otlp_url;
    match collector.ask().await {
        Ok(()) => report.note("collector", State::Ok, format!("{url} takes metrics")),
        Err(error) => {
            let said = format!("SNUG_OTLP_URL is {url}: {error}. A node runs all the same, and its traces are lost");
            report.note("collector", State::Warning, said);
        }
    }
}

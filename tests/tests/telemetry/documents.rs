//! Dashboards, alerts and the operator's document name what a node tells, all of it and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::Watched;
use crate::exposition::Exposition;

/// Of every process that Prometheus asks, and of Prometheus itself.
const OF_PROMETHEUS: [&str; 2] = ["up", "ALERTS"];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&text(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every expression on a dashboard, each with the dashboard's name.
fn drawn() -> Vec<(String, String)> {
    let folder = path("deploy/telemetry/grafana/dashboards");
    let mut found = Vec::new();
    for file in std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("readable").path()) {
        if file.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(&file).expect("text")).expect("JSON");
        expressions(&dashboard, &mut |expression| found.push((file.display().to_string(), expression.to_owned())));
    }
    assert!(found.len() > 20, "only {} expressions are drawn", found.len());
    found
}

fn expressions(value: &Value, take: &mut impl FnMut(&str)) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(expression) if name == "expr" => take(expression),
                    _ => expressions(value, take),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| expressions(value, take)),
        _ => {}
    }
}

/// Every rule: its name, expression and annotations.
fn rules() -> Vec<(String, String, Value)> {
    let file = yaml("deploy/telemetry/prometheus/alerts.yml");
    let groups = file["groups"].as_array().expect("groups").iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().expect("rules").clone());
    let rules = rules.map(|rule| {
        let word = |name: &str| rule[name].as_str().unwrap_or_else(|| panic!("{rule} has no {name}")).to_owned();
        assert!(["page", "ticket"].contains(&rule["labels"]["severity"].as_str().expect("a severity")), "{rule}");
        (word("alert"), word("expr"), rule["annotations"].clone())
    });
    let rules: Vec<_> = rules.collect();
    assert!(rules.len() > 10, "only {} rules", rules.len());
    rules
}

fn expressions_of_all() -> Vec<(String, String)> {
    let rules = rules().into_iter().map(|(name, expression, _)| (format!("the alert {name}"), expression));
    drawn().into_iter().chain(rules).collect()
}

fn is_of_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

/// The names of metrics in an expression, each with the label matchers behind it.
fn named(expression: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(start) = rest.find(is_of_a_name) {
        rest = &rest[start..];
        let end = rest.find(|c| !is_of_a_name(c)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        rest = behind;
        let is_ours = word.starts_with("snug_") || word.starts_with("process_") || OF_PROMETHEUS.contains(&word);
        if !is_ours {
            continue;
        }
        let mut matchers = Vec::new();
        if let Some(inside) = behind.strip_prefix('{') {
            let (inside, behind) = inside.split_once('}').expect("closed matchers");
            rest = behind;
            for matcher in inside.split(',').filter(|matcher| !matcher.trim().is_empty()) {
                let (label, value) = matcher.split_once(['=', '!']).expect("a matcher");
                let is_exact = matcher.contains("=\"") && !matcher.contains("!=");
                let value = value.trim_matches(['=', '~', '"']);
                matchers.push((label.trim().to_owned(), if is_exact { value.to_owned() } else { String::new() }));
            }
        }
        found.push((word.to_owned(), matchers));
    }
    found
}

/// The family that a sample's name belongs to.
fn family<'a>(told: &'a Exposition, name: &str) -> Option<&'a str> {
    let told = |name: &str| told.0.get_key_value(name);
    let of_histogram = ["_bucket", "_sum", "_count"]
        .iter()
        .find_map(|end| told(name.strip_suffix(end)?).filter(|(_, family)| family.kind == "histogram"));
    told(name).filter(|(_, family)| family.kind != "histogram").or(of_histogram).map(|(name, _)| name.as_str())
}

async fn told() -> Exposition {
    let folder = tempfile::tempdir().expect("a folder");
    let mut watched = Watched::start(folder.path(), &[]).await;
    let told = watched.metrics().await;
    assert!(watched.process.terminate().await);
    told
}

#[tokio::test]
async fn every_name_on_a_dashboard_or_in_an_alert_is_told_by_a_node() {
    let told = told().await;
    for (place, expression) in expressions_of_all() {
        let named = named(&expression);
        assert!(!named.is_empty(), "{place} is about nothing of ours: {expression}");
        for (name, matchers) in named.into_iter().filter(|(name, _)| !OF_PROMETHEUS.contains(&name.as_str())) {
            let family = family(&told, &name).unwrap_or_else(|| panic!("{place} names {name}, which no node tells"));
            for (label, value) in
                matchers.into_iter().filter(|(label, _)| !["job", "instance", "le"].contains(&label.as_str()))
            {
                let values: BTreeSet<_> =
                    told.0[family].samples.iter().filter_map(|sample| sample.labels.get(&label)).collect();
                assert!(!values.is_empty(), "{place}: {name} has no label {label}");
                let is_there = value.is_empty() || values.contains(&value) || label == "bus" || label == "durability";
                assert!(is_there, "{place}: {name} never has {label}=\"{value}\", only {values:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_a_node_tells_is_drawn_or_watched() {
    let told = told().await;
    let expressions = expressions_of_all();
    let named = expressions.iter().flat_map(|(_, expression)| named(expression));
    let looked_at: BTreeSet<String> = named.filter_map(|(name, _)| family(&told, &name).map(str::to_owned)).collect();
    let all: BTreeSet<String> = told.0.keys().cloned().collect();
    assert_eq!(all.difference(&looked_at).collect::<Vec<_>>(), Vec::<&String>::new(), "nobody looks at these");
}

#[tokio::test]
async fn the_operators_document_names_every_metric_with_its_kind_and_no_other() {
    let (told, document) = (told().await, text("deploy/README.md"));
    let rows = document.lines().filter(|line| line.starts_with("| `snug_") || line.starts_with("| `process_"));
    let mut documented = BTreeMap::new();
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let (name, kind, unit) = (cells[1].split('`').nth(1).expect("a name"), cells[2], cells[3]);
        let name = name.split('{').next().expect("a name");
        assert!(cells.len() == 6 && !cells[4].is_empty(), "{row}");
        let bare = name.trim_end_matches("_total");
        let by_name = [("_seconds", "seconds"), ("_bytes", "bytes")].iter().find(|(end, _)| bare.ends_with(end));
        assert_eq!(unit, by_name.map_or("", |(_, unit)| unit), "the unit of {name}");
        assert!(documented.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} is there twice");
    }
    let kinds: BTreeMap<String, String> =
        told.0.iter().map(|(name, family)| (name.clone(), family.kind.clone())).collect();
    assert_eq!(documented, kinds);
}

#[test]
fn every_alert_says_what_to_do_and_which_failure_it_is() {
    let (document, architecture) = (text("deploy/README.md"), text("ARCHITECTURE.md"));
    let table = architecture.split("## When things fail").nth(1).expect("the failure table");
    let table = table.split("\n## ").next().expect("its section");
    let failures: BTreeSet<&str> =
        table.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next()).collect();
    let steps: BTreeSet<&str> =
        document.lines().filter_map(|line| line.strip_prefix("| `Snug")?.split('`').next()).collect();
    let mut alerts = BTreeSet::new();
    for (name, _, annotations) in rules() {
        assert!(annotations["summary"].as_str().is_some_and(|summary| summary.len() > 20), "{name}");
        if let Some(failure) = annotations["failure"].as_str() {
            assert!(failures.contains(failure), "{name}: ARCHITECTURE.md has no failure {failure:?}");
        }
        let short = name.strip_prefix("Snug").unwrap_or_else(|| panic!("{name} does not say whose it is"));
        alerts.insert(short.to_owned());
    }
    let alerts: BTreeSet<&str> = alerts.iter().map(String::as_str).collect();
    assert_eq!(steps, alerts, "deploy/README.md says what to do about each alert");
}

#[test]
fn the_parts_find_one_another() {
    let compose = text("deploy/compose.yaml");
    let prometheus = yaml("deploy/telemetry/prometheus/prometheus.yml");
    let jobs = prometheus["scrape_configs"].as_array().expect("jobs");
    let nodes = jobs.iter().find(|job| job["job_name"] == "snug").expect("the nodes are asked");
    let named = nodes["dns_sd_configs"].as_array().expect("found by name").iter();
    let port =
        compose.lines().find_map(|line| line.trim().strip_prefix("SNUG_ADMIN_LISTEN: 0.0.0.0:")).expect("a port");
    let mut names = BTreeSet::new();
    for found in named {
        assert_eq!(found["port"].to_string(), port);
        names.extend(
            found["names"].as_array().expect("names").iter().map(|name| name.as_str().expect("text").to_owned()),
        );
    }
    assert_eq!(names, BTreeSet::from(["node-1", "node-2", "node-3"].map(str::to_owned)));
    assert_eq!(prometheus["rule_files"][0], "alerts.yml");
    let collector = yaml("deploy/telemetry/collector.yaml");
    let listens = collector["receivers"]["otlp"]["protocols"]["http"]["endpoint"].as_str().expect("an endpoint");
    assert!(compose.contains(&format!("collector:{}", listens.rsplit(':').next().expect("a port"))), "{listens}");
    let sources = yaml("deploy/telemetry/grafana/provisioning/datasources/snug.yaml");
    let uids: BTreeSet<&str> = sources["datasources"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|source| source["uid"].as_str().expect("a uid"))
        .collect();
    for file in std::fs::read_dir(path("deploy/telemetry/grafana/dashboards")).expect("a folder") {
        let file = file.expect("readable").path();
        let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(&file).expect("text")).expect("JSON");
        let panels = dashboard["panels"].as_array().expect("panels");
        for panel in panels.iter().filter(|panel| panel["type"] != "row") {
            let uid = panel["datasource"]["uid"].as_str().unwrap_or_else(|| panic!("{panel} asks nobody"));
            assert!(uids.contains(uid), "{}: {uid}", file.display());
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{} has no unit", panel["title"]);
            assert!(
                panel["description"].as_str().is_some_and(|text| text.ends_with('.')),
                "{} says nothing",
                panel["title"]
            );
        }
    }
}

#[test]
fn names_and_matchers_are_found_in_expressions() {
    let found = named(
        "sum by (reason) (rate(snug_a_total{reason=\"gone\",le!=\"x\"}[5m])) / on() snug_b > up{job=\"snug\"} * 60",
    );
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["snug_a_total", "snug_b", "up"]);
    assert_eq!(found[0].1, [("reason".to_owned(), "gone".to_owned()), ("le".to_owned(), String::new())]);
}

//! Reading what is in `deploy/`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The overlays; the base alone is none that anybody runs.
pub const OVERLAYS: [&str; 2] = ["local", "production"];

pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name)
}

pub fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("deploy/{name}: {error}"))
}

pub fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&text(name)).unwrap_or_else(|error| panic!("deploy/{name}: {error}"))
}

/// What an overlay applies: its own files and the base's, each with where it stands.
pub fn resources(overlay: &str) -> Vec<Value> {
    let overlay = format!("kubernetes/overlays/{overlay}");
    let named = |folder: &str| -> Vec<String> {
        let kustomization = yaml(&format!("{folder}/kustomization.yaml"));
        let resources = kustomization["resources"].as_array().expect("a list").clone();
        let files = resources.iter().map(|name| name.as_str().expect("a path"));
        files.filter(|name| Path::new(name).extension().is_some()).map(|name| format!("{folder}/{name}")).collect()
    };
    let files = [named("kubernetes/base"), named(&overlay)].concat();
    files.iter().flat_map(|file| documents(file)).collect()
}

fn documents(file: &str) -> Vec<Value> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(&text(file)).unwrap_or_else(|error| panic!("deploy/{file}: {error}"));
    assert!(!documents.is_empty(), "deploy/{file} holds nothing");
    documents
}

/// The one resource of this kind and name.
pub fn resource(overlay: &str, kind: &str, name: &str) -> Value {
    let found = resources(overlay).into_iter().find(|each| each["kind"] == kind && each["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("{overlay} has no {kind} {name}"))
}

/// `NAME=value` lines.
pub fn variables(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| line.split_once('=').unwrap_or_else(|| panic!("not NAME=value: {line}")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// The environment of a node in this overlay, without what comes from Secrets.
pub fn environment(overlay: &str) -> BTreeMap<String, String> {
    let mut environment = variables(&text("kubernetes/base/settings.env"));
    let kustomization = yaml(&format!("kubernetes/overlays/{overlay}/kustomization.yaml"));
    let generator = &kustomization["configMapGenerator"][0];
    assert_eq!(generator["name"], "snug-settings");
    assert_eq!(generator["behavior"], "merge");
    let literals = generator["literals"].as_array().expect("a list").iter().map(|each| each.as_str().expect("text"));
    environment.extend(variables(&literals.collect::<Vec<_>>().join("\n")));
    environment
}

/// A node of the compose file, variables replaced by their defaults.
pub fn compose_node() -> Value {
    let compose: Value = serde_saphyr::from_str(&with_defaults(&text("compose.yaml"))).expect("compose.yaml reads");
    compose["services"]["node-1"].clone()
}

/// `${NAME:-default}` becomes `default`.
fn with_defaults(text: &str) -> String {
    let mut done = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (variable, after) = after.split_once('}').expect("a closed variable");
        let (_, default) = variable.split_once(":-").unwrap_or_else(|| panic!("{variable} has no default"));
        done.push_str(before);
        done.push_str(default);
        rest = after;
    }
    done + rest
}

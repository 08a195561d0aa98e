//! What is shipped beside the program must agree with it: settings, ports, paths that probes ask, and the time a stop takes.
//!
//! Manifests are read as they are in `deploy/`; that they are valid Kubernetes is seen by `make check-deploy`.

mod commands;
mod files;
mod health;
mod manifests;
mod settings;

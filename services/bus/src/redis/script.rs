//! Running scripts. Redis forgets them when it restarts, or is told to.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use fred::error::Error;
use fred::interfaces::{ClientLike, LuaInterface};
use fred::types::{FromValue, Value};

use super::link::{Link, fail_fast};
use crate::BusError;

/// A script that touches keys of one slot only.
pub(super) struct Script(pub(super) &'static str);

/// The hashes of the scripts that were run before.
#[derive(Default)]
pub(super) struct Scripts {
    hashes: Mutex<HashMap<&'static str, String>>,
}

impl Scripts {
    fn hash(&self, script: &Script) -> Option<String> {
        self.hashes.lock().unwrap_or_else(PoisonError::into_inner).get(script.0).cloned()
    }

    fn keep(&self, script: &Script, hash: String) {
        self.hashes.lock().unwrap_or_else(PoisonError::into_inner).insert(script.0, hash);
    }
}

impl Link {
    /// Runs `script`.
    ///
    /// # Errors
    /// `Unavailable`: at once without a connection, after a second without an answer; or Redis has refused it, which is logged.
    pub(super) async fn run<R: FromValue>(
        &self,
        script: &Script,
        keys: &[String],
        arguments: &[Bytes],
    ) -> Result<R, BusError> {
        let Some(current) = self.publisher.current() else { return Err(BusError::Unavailable) };
        match current.unless_broken(self.try_run(&current.client, script, keys, arguments)).await {
            Ok(answer) => Ok(answer),
            Err(error) => {
                // After a fail-over: the server that we know has become another's replica.
                if error.details().starts_with("READONLY") {
                    current.broken.cancel();
                }
                tracing::debug!(%error, "Redis did not run a script");
                Err(BusError::Unavailable)
            }
        }
    }

    pub(super) async fn try_run<R: FromValue>(
        &self,
        client: &fred::clients::Client,
        script: &Script,
        keys: &[String],
        arguments: &[Bytes],
    ) -> Result<R, Error> {
        let client = client.with_options(&fail_fast());
        let arguments: Vec<Value> = arguments.iter().map(|argument| Value::Bytes(argument.clone())).collect();
        let hash = match self.scripts.hash(script) {
            Some(hash) => Some(hash),
            // Who may not load it can still run it.
            None => client
                .script_load::<String, _>(script.0)
                .await
                .ok()
                .inspect(|hash| self.scripts.keep(script, hash.clone())),
        };
        if let Some(hash) = hash {
            match client.evalsha(hash, keys.to_vec(), arguments.clone()).await {
                Err(error) if error.details().starts_with("NOSCRIPT") => {}
                outcome => return outcome,
            }
        }
        client.eval(script.0, keys.to_vec(), arguments).await
    }
}

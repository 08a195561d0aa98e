//! `snug sessions` and `snug revoke`.

use std::collections::HashSet;

use snug_gateway::config::{Revoke, Sessions, Whose};
use snug_gateway::server;
use snug_protocol::http::MemberState;
use snug_protocol::{DeviceId, RoomId};
use snug_store::{SignIn, Store};
use tokio_util::task::TaskTracker;

use super::shown;

/// Tokens or members asked for at a time.
const PAGE: usize = 500;

/// Whose tokens are meant; `None`: everyone's.
type Meant = Option<HashSet<DeviceId>>;

/// Lists access tokens.
pub async fn list(sessions: &Sessions) -> anyhow::Result<()> {
    let store = server::open_store_beside(&sessions.settings, &TaskTracker::new()).await?;
    let listed = print_all(&store, sessions).await;
    store.close().await;
    listed
}

async fn print_all(store: &Store, sessions: &Sessions) -> anyhow::Result<()> {
    let whose = devices(store, sessions.device, sessions.room).await?;
    if !sessions.json {
        println!("{:<22}  {:<20}  {:<20}  {:<20}", "device", "used at or after", "ends unless used", "ends");
    }
    let mut devices = HashSet::new();
    let tokens = each(store, &whose, async |sign_in| {
        devices.insert(sign_in.device);
        let times = [sign_in.used_at_ms, sign_in.expires_at_ms, sign_in.ends_at_ms];
        if sessions.json {
            let [used_at_ms, expires_at_ms, ends_at_ms] = times;
            println!(
                "{}",
                serde_json::json!({
                    "device": sign_in.device.to_string(), "used_at_ms": used_at_ms, "expires_at_ms": expires_at_ms,
                    "ends_at_ms": ends_at_ms,
                })
            );
        } else {
            let [used, expires, ends] = times.map(shown::time);
            println!("{}  {used:<20}  {expires:<20}  {ends:<20}", sign_in.device);
        }
        Ok(())
    });
    let tokens = tokens.await?;
    if !sessions.json {
        println!("{tokens} access tokens of {} devices", devices.len());
    }
    Ok(())
}

/// Ends access tokens.
pub async fn revoke(revoke: &Revoke) -> anyhow::Result<()> {
    let store = server::open_store_beside(&revoke.settings, &TaskTracker::new()).await?;
    let revoked = end(&store, &revoke.whose).await;
    store.close().await;
    println!(
        "{} access tokens ended. Open sockets close within seconds; devices sign in again with their keys.",
        revoked?
    );
    Ok(())
}

async fn end(store: &Store, whose: &Whose) -> anyhow::Result<u64> {
    if whose.all {
        return Ok(store.revoke_all_tokens().await?);
    }
    let whose = devices(store, whose.device, whose.room).await?;
    each(store, &whose, async |sign_in| store.revoke_token(sign_in.hash).await.map(drop).map_err(Into::into)).await
}

/// Calls `work` for each token that is meant; returns how many.
async fn each(
    store: &Store,
    whose: &Meant,
    mut work: impl AsyncFnMut(&SignIn) -> anyhow::Result<()>,
) -> anyhow::Result<u64> {
    let (mut count, mut after) = (0, None);
    loop {
        let page = store.sign_ins(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(count) };
        after = Some(last.hash);
        for sign_in in page.iter().filter(|sign_in| whose.as_ref().is_none_or(|whose| whose.contains(&sign_in.device)))
        {
            work(sign_in).await?;
            count += 1;
        }
    }
}

/// The one device, or the members of the one room, or both.
async fn devices(store: &Store, device: Option<DeviceId>, room: Option<RoomId>) -> anyhow::Result<Meant> {
    let Some(room) = room else { return Ok(device.map(|device| HashSet::from([device]))) };
    let (mut devices, mut after) = (HashSet::new(), None);
    loop {
        let page = store.members(room, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.keys.device);
        let present = page.iter().filter(|member| member.state == MemberState::Member);
        devices.extend(present.map(|member| member.keys.device));
    }
    if let Some(device) = device {
        devices.retain(|member| *member == device);
    }
    Ok(Some(devices))
}

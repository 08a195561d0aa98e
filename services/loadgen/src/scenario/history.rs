//! Paging through a log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use snug_protocol::http::LogPageHead;

use super::Scene;
use crate::figures::Spans;
use crate::people::Room;
use crate::report::Result;

/// Readers at one time.
const READERS: usize = 8;
/// Entries in the log, at least.
const ENTRIES: f64 = 2_000.0;
/// Entries of a page.
const LIMIT: u64 = 100;

/// Readers page from the end to the beginning and again, each its own pace.
///
/// # Errors
/// A page could not be had, or is not whole.
pub fn run(scene: &mut Scene, rooms: &[Room]) -> anyhow::Result<Result> {
    let mut result =
        Result::new("history", format!("History: {READERS} readers page through a log, {LIMIT} entries a page"));
    let (room, target) = (&rooms[..1], &rooms[0]);
    scene.observer.label("writing a history");
    let specs = scene.specs(room, 1).into_iter().take(1).collect();
    let (mut field, _) = scene.field(room, specs)?;
    let (rate, seconds) = (500.0, ENTRIES / 500.0);
    scene.play(&mut field, room, 1, (rate, seconds), |_, _| Ok(()))?;
    scene.observer.label("paging");
    let before = scene.observer.usage();
    let (pages, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
    let (began, span) = (Instant::now(), Duration::from_secs_f64(scene.sizes.hold_seconds));
    let registrar = &scene.registrar;
    let token = &target.members[0].token;
    let read = async || {
        let (mut at, mut spans) = (String::new(), Spans::default());
        while began.elapsed() < span {
            let url = format!("{}/api/rooms/{}/history?limit={LIMIT}{at}", registrar.origin(), target.id);
            let asked = Instant::now();
            let response = registrar.http().get(url).bearer_auth(token).send().await?.error_for_status()?;
            let body = response.bytes().await?;
            spans.add_ns(u64::try_from(asked.elapsed().as_nanos())?);
            let length = body.get(..4).context("a page")?.try_into().map(u32::from_be_bytes)?;
            let head: LogPageHead = serde_json::from_slice(body.get(4..4 + length as usize).context("a page's head")?)?;
            ensure!(head.to.0 >= head.from.0 && head.to.0 < head.from.0 + LIMIT, "a page of another range: {head:?}");
            at = if head.from.0 > 1 { format!("&before={}", head.from) } else { String::new() };
            pages.fetch_add(1, Ordering::Relaxed);
            bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
        }
        anyhow::Ok(spans)
    };
    let all = scene.runtime.block_on(try_join_all((0..READERS).map(|_| read())))?;
    let seconds = began.elapsed().as_secs_f64();
    let after = scene.observer.usage();
    let mut spans = Spans::default();
    all.iter().for_each(|one| spans.merge(one));
    let pages = pages.into_inner() as f64;
    result.fact("pages", pages / seconds, "pages/s");
    result.fact("bytes", bytes.into_inner() as f64 / seconds / 1_048_576.0, "MiB/s");
    result.fact("a page, p50", spans.percentile_ms(50.0), "ms");
    result.fact("a page, p99", spans.percentile_ms(99.0), "ms");
    let nodes = scene.observer.watched().iter().zip(before.iter().zip(&after)).filter(|(process, _)| process.is_node);
    let cpu_ns: u64 = nodes.map(|(_, (then, now))| now.cpu_ns.saturating_sub(then.cpu_ns)).sum();
    result.fact("the nodes' CPU of a page", cpu_ns as f64 / 1e6 / pages.max(1.0), "ms");
    Ok(result)
}

//! The spans of one message's path: `message` from the sender's frame to its acknowledgement, in it `append` and `publish`; on every
//! node that follows the room `hear`, when the hint arrives, and `deliver`, each receiver's write. HTTP requests have `request`.
//!
//! Whether a message is traced is drawn once, where it comes in; the hint carries the answer to the other nodes. When it is not, or
//! without a collector, these functions look at one atomic and make the span that debug logs show, if anything.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use snug_bus::TraceParent;
use snug_protocol::{EntryKind, RoomId, Seq};
use tracing::field::{Empty, display};
use tracing::{Metadata, Span, debug_span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::filter::LevelFilter;

/// What tells our spans from everybody's.
const OURS: &str = "snug::trace";
/// Of our spans.
pub(super) const LEVEL: LevelFilter = LevelFilter::INFO;
/// The newest traced entries of a room, whose writes are still to come.
const ENTRIES_MAX: usize = 16;
/// Receivers of one entry on one node whose writes are traced; a crowd would fill the queue with one message.
const WRITES_MAX: u32 = 4;
/// 2^64 / φ, odd: adding it visits every number once, and `mixed` makes them look drawn.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

static IS_ON: AtomicBool = AtomicBool::new(false);
/// Draws below this are traced.
static CHOSEN_BELOW: AtomicU64 = AtomicU64::new(0);
static DRAWS: AtomicU64 = AtomicU64::new(0);

/// Traces this share of what begins here, and whatever another node has chosen.
pub(super) fn begin(share: f64) {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).expect("the system gives random bytes");
    DRAWS.store(u64::from_ne_bytes(seed), Ordering::Relaxed);
    CHOSEN_BELOW.store(below(share), Ordering::Relaxed);
    IS_ON.store(true, Ordering::Relaxed);
}

fn below(share: f64) -> u64 {
    (share.clamp(0.0, 1.0) * u64::MAX as f64) as u64
}

const fn mixed(draw: u64) -> u64 {
    let draw = (draw ^ (draw >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let draw = (draw ^ (draw >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    draw ^ (draw >> 31)
}

fn is_chosen() -> bool {
    let below = CHOSEN_BELOW.load(Ordering::Relaxed);
    below != 0 && mixed(DRAWS.fetch_add(STEP, Ordering::Relaxed)) <= below
}

/// Whether a span is one of ours.
pub(super) fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target() == OURS
}

/// Whether this is part of something that is traced.
fn is_inside() -> bool {
    is_traced(&Span::current())
}

/// Begins the span and has its lines of log name the trace.
fn begun(span: Span) -> Span {
    let id = span.context().span().span_context().trace_id();
    span.record("trace_id", display(id));
    span
}

/// A message on its way from its sender's frame to its acknowledgement.
#[must_use]
pub fn message(room: RoomId, kind: EntryKind, bytes: usize) -> Span {
    if is_chosen() {
        let span =
            info_span!(target: OURS, parent: None, "message", otel.kind = "server", trace_id = Empty, ?kind, bytes);
        return begun(span);
    }
    debug_span!("send_message", %room, bytes)
}

/// A request by HTTP. `route` is the pattern, not the path.
#[must_use]
pub fn request(method: &str, route: &str) -> Span {
    if is_chosen() {
        // Whoever calls may make up a method.
        let known = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"];
        let method = known.into_iter().find(|known| *known == method).unwrap_or("other");
        let span = info_span!(target: OURS, parent: None, "request", otel.kind = "server", otel.status_code = Empty, trace_id = Empty,
            method, route, status = Empty);
        return begun(span);
    }
    Span::none()
}

/// Notes how a request was answered.
pub fn answered(span: &Span, status: u16) {
    if !span.is_disabled() {
        span.record("status", status);
        if status >= 500 {
            span.record("otel.status_code", "ERROR");
        }
    }
}

/// An entry being committed. Its place is told by [`committed`].
#[must_use]
pub fn append(room: RoomId) -> Span {
    if is_inside() {
        return info_span!(target: OURS, "append", otel.status_code = Empty, seq = Empty);
    }
    debug_span!("append", %room)
}

/// Notes what became of an append; `None`: it was not stored.
pub fn committed(span: &Span, seq: Option<Seq>) {
    match seq {
        Some(seq) => span.record("seq", seq.0),
        None => span.record("otel.status_code", "ERROR"),
    };
}

/// An event being handed to the bus.
#[must_use]
pub fn publish() -> Span {
    if is_inside() {
        return info_span!(target: OURS, "publish", otel.kind = "producer");
    }
    debug_span!("publish")
}

/// Whether a span is part of something that is traced.
#[must_use]
pub fn is_traced(span: &Span) -> bool {
    IS_ON.load(Ordering::Relaxed) && span.metadata().is_some_and(is_ours)
}

/// What a hint says of its place in a trace: `span` is the one that publishes it.
#[must_use]
pub fn parent(span: &Span) -> Option<TraceParent> {
    if !is_traced(span) {
        return None;
    }
    let context = span.context();
    let (trace, span) = (context.span().span_context().trace_id(), context.span().span_context().span_id());
    Some(TraceParent(format!("00-{trace}-{span}-01").into()))
}

/// Where spans of this node are to continue one of another. `None`: it says nothing that we can read, or this node does not trace.
fn remote(parent: &TraceParent) -> Option<SpanContext> {
    let (version, rest) = parent.0.split_at_checked(3)?;
    let (trace, rest) = rest.split_at_checked(32)?;
    let (span, flags) = rest.strip_prefix('-')?.split_at_checked(16)?;
    if version != "00-" || flags != "-01" {
        return None;
    }
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let context = SpanContext::new(trace, span, TraceFlags::SAMPLED, true, TraceState::NONE);
    context.is_valid().then_some(context)
}

fn continued(span: Span, parent: SpanContext) -> Span {
    // It fails only where the layer is missing, and then there is nothing to continue.
    let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    begun(span)
}

/// A hint that was heard: the span until its followers are woken, and what their writes continue.
pub struct Heard {
    span: Span,
    context: SpanContext,
}

/// A hint has arrived. `None`: it is not traced.
#[must_use]
pub fn hear(parent: Option<&TraceParent>, seq: Seq) -> Option<Heard> {
    let parent = remote(parent.filter(|_| IS_ON.load(Ordering::Relaxed))?)?;
    let span = info_span!(target: OURS, parent: None, "hear", otel.kind = "consumer", trace_id = Empty, seq = seq.0);
    let span = continued(span, parent);
    let context = span.context().span().span_context().clone();
    Some(Heard { span, context })
}

impl Heard {
    /// Its span, to be entered while the hint is taken.
    #[must_use]
    pub const fn span(&self) -> &Span {
        &self.span
    }
}

struct Traced {
    seq: Seq,
    heard: SpanContext,
    writes_left: u32,
}

/// Traced entries of a room that receivers are about to be sent. Looking at it costs one relaxed load when there are none.
#[derive(Default)]
pub struct TracedEntries {
    /// The newest one's place; 0: there was none.
    newest: AtomicU64,
    entries: Mutex<VecDeque<Traced>>,
}

impl TracedEntries {
    /// The entry at `seq` was heard of. To be called before anyone is woken.
    pub fn note(&self, seq: Seq, heard: &Heard) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= ENTRIES_MAX {
            entries.pop_front();
        }
        entries.push_back(Traced { seq, heard: heard.context.clone(), writes_left: WRITES_MAX });
        drop(entries);
        self.newest.fetch_max(seq.0, Ordering::Relaxed);
    }

    /// A span for each traced entry after `after` up to `until`, which a receiver is being sent; to be dropped when it has been.
    pub fn deliveries(&self, after: Seq, until: Seq, spans: &mut Vec<Span>) {
        if self.newest.load(Ordering::Relaxed) <= after.0 {
            return;
        }
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in entries.iter_mut().filter(|entry| after < entry.seq && entry.seq <= until && entry.writes_left > 0)
        {
            entry.writes_left -= 1;
            let span = info_span!(target: OURS, parent: None, "deliver", trace_id = Empty, seq = entry.seq.0);
            spans.push(continued(span, entry.heard.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<SpanContext> {
        remote(&TraceParent(text.into()))
    }

    #[test]
    fn a_place_in_a_trace_is_read_as_it_was_written_and_nothing_else_is() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let context = parse(good).expect("a parent");
        assert_eq!(context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(context.span_id().to_string(), "b7ad6b7169203331");
        assert!(context.is_remote() && context.is_sampled());
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c8031\u{e9}-b7ad6b7169203331-01",
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_share_of_draws_is_chosen() {
        let chosen = |share: f64| (0..100_000u64).filter(|n| mixed(n.wrapping_mul(STEP)) <= below(share)).count();
        assert_eq!(below(0.0), 0);
        assert_eq!(chosen(1.0), 100_000);
        assert!((900..1_100).contains(&chosen(0.01)), "{}", chosen(0.01));
        assert!((49_000..51_000).contains(&chosen(0.5)), "{}", chosen(0.5));
    }

    #[test]
    fn without_a_collector_nothing_is_traced() {
        assert!(!is_chosen());
        assert!(
            hear(Some(&TraceParent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into())), Seq(1))
                .is_none()
        );
        assert!(parent(&Span::none()).is_none());
        let mut spans = Vec::new();
        TracedEntries::default().deliveries(Seq(0), Seq(9), &mut spans);
        assert!(spans.is_empty());
    }
}

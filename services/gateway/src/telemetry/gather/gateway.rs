//! What the node itself does: sessions, messages, rooms, limits, the door, requests.

use super::{Families, Kind, Sources, decided, decisions};

pub(super) fn sessions(sources: &Sources, to: &mut Families) {
    let (table, readiness) = (&sources.handles.session.table, &sources.handles.readiness);
    let counters = table.counters();
    to.gauge("snug_sockets", "Sockets that are open.", table.count());
    to.gauge("snug_sockets_max", "How many may be open on this node (SNUG_SOCKETS_MAX).", table.count_max());
    to.counter("snug_sockets_opened_total", "Sockets that were let in.", counters.opened.get());
    to.counters("snug_sockets_closed_total", "Sockets that were closed, by why.", &counters.closed);
    to.gauge("snug_connections", "Connections that are open, sockets included.", sources.places.open_count());
    to.gauge("snug_connections_max", "How many may be open (SNUG_CONNECTIONS_MAX).", sources.places.count_max());
    to.counter("snug_follows_total", "Rooms that sockets began to follow, resumes included.", counters.follows.get());
    to.counters(
        "snug_resumes_total",
        "Rooms that were followed from where a client had been, by how that went.",
        &counters.resumes,
    );
    to.gauge("snug_draining", "1 while the node is stopping in order.", readiness.draining_for().is_some());
    to.gauge(
        "snug_drain_seconds",
        "How long it has been stopping; 0: it is not.",
        readiness.draining_for().unwrap_or_default().as_secs_f64(),
    );
    to.counter("snug_sockets_told_to_move_total", "Sockets told to go to another node.", counters.told_to_move.get());
}

pub(super) fn messages(sources: &Sources, to: &mut Families) {
    let (chat, delivered) = (sources.handles.chat.counters(), &sources.handles.session.rooms.counters().delivered);
    to.counters("snug_appends_total", "Entries from clients, by what became of them.", &chat.appends);
    to.histogram(
        "snug_append_seconds",
        "From an entry's arrival to its commit or refusal, the wait for a batch included.",
        &chat.seconds,
    );
    to.counter("snug_deliveries_total", "Entries written to sockets.", delivered.entries.get());
    to.counter("snug_delivered_bytes_total", "Bytes of those.", delivered.bytes.get());
    to.histogram(
        "snug_delivery_seconds",
        "From the commit of the first entry of a write to its being written to a socket that was up to date, by the database's clock.",
        &delivered.seconds,
    );
    to.gauge(
        "snug_gather_seconds",
        "How long messages gather for their commit, and a quarter of that after it in their rooms, since the node comes late with what it does; 0: they do not.",
        sources.handles.session.rooms.commits_gather().as_secs_f64(),
    );
}

pub(super) fn rooms(sources: &Sources, to: &mut Families) {
    let rooms = &sources.handles.session.rooms;
    let counters = rooms.counters();
    to.gauge("snug_rooms_followed", "Rooms that a socket of this node follows.", rooms.followed_count());
    to.counters(
        "snug_hint_losses_total",
        "Times that news of entries did not come by themselves, by what found it.",
        &counters.losses,
    );
    let relaxed = std::sync::atomic::Ordering::Relaxed;
    to.counter(
        "snug_gap_reads_total",
        "Reads of the store that filled a gap, or tried to.",
        counters.fill_reads.load(relaxed),
    );
    to.counter(
        "snug_head_checks_total",
        "Queries that compared rooms with the store.",
        counters.head_queries.load(relaxed),
    );
    to.counter(
        "snug_logs_replaced_total",
        "Rooms whose log in the store was another than the one that was followed: a restore, or lost commits.",
        counters.replaced.get(),
    );
}

pub(super) fn limits(sources: &Sources, to: &mut Families) {
    let (handles, door) = (&sources.handles, &sources.handles.door);
    let counters = handles.session.table.counters();
    let limited = handles.http.limited.get();
    let requests: u64 = handles.http.requests.read().map(|(_, count)| count).sum();
    let series = [
        decisions("connections", sources.places.decisions()),
        decisions("sockets", &counters.admissions),
        decided("http", requests.saturating_sub(limited), limited),
        decisions("joins", door.joins.decisions()),
        decisions("sign_ins", door.sign_ins.decisions()),
        decisions("creates", door.creates.decisions()),
        decisions("moves", door.moves.decisions()),
        decisions("sends", handles.chat.rate_decisions()),
        decisions("controls", &counters.controls),
    ];
    to.put(
        "snug_limit_decisions_total",
        "What limits let through and what they did not, by limit.",
        Kind::Counter,
        series.into_iter().flatten().collect(),
    );
    to.counter(
        "snug_joins_limited_alone_total",
        "Attempts to join that were limited by this node's own share, since the shared buckets were away.",
        door.joins.decided_alone().get(),
    );
}

pub(super) fn door(sources: &Sources, to: &mut Families) {
    let secrets = &sources.handles.door.secrets;
    let counters = secrets.counters();
    to.counters("snug_proofs_total", "Passwords and links that were tried, by outcome.", &counters.proofs);
    to.gauge("snug_hashes_waiting", "Passwords that wait for a thread.", secrets.waiting());
    to.gauge("snug_hashes_running", "Passwords that are being hashed.", secrets.running());
    to.counter("snug_hashes_refused_total", "Passwords that nobody had a thread for.", counters.refused.get());
    to.histogram("snug_hash_wait_seconds", "How long passwords waited for a thread.", &counters.wait);
    to.histogram("snug_hash_seconds", "How long hashing took.", &counters.work);
}

pub(super) fn http(sources: &Sources, to: &mut Families) {
    let counters = &sources.handles.http;
    to.counters("snug_http_requests_total", "Requests, without the probes, by status.", &counters.requests);
    to.histogram("snug_http_request_seconds", "How long they took, to the answer's first byte.", &counters.seconds);
}

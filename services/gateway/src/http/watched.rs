//! What an operator learns of requests: how many, how long, how answered; and of some, a trace. Never the path, which names rooms.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

use crate::telemetry::{HttpCounters, StatusClass, trace};

/// Counts a request when its answer begins.
pub async fn count(State(counters): State<Arc<HttpCounters>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let response = next.run(request).await;
    counters.seconds.observe(began.elapsed());
    counters.requests.of(StatusClass::of(response.status().as_u16())).increment();
    response
}

/// Traces a share of the API's requests.
pub async fn trace(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str);
    let span = trace::request(request.method().as_str(), route);
    let response = next.run(request).instrument(span.clone()).await;
    trace::answered(&span, response.status().as_u16());
    response
}

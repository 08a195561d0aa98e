//! A collector that keeps what it is told: OTLP as protobuf over HTTP. Or one that listens and never answers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::Metric;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::eventually;

/// The longest request that is taken.
const REQUEST_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A span as it was told.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// `service.instance.id` of who told it.
    pub node: String,
    /// What it is called.
    pub name: String,
    /// Its trace.
    pub trace: Vec<u8>,
    /// Itself.
    pub id: Vec<u8>,
    /// What it is part of; empty: nothing.
    pub parent: Vec<u8>,
    /// Unix nanoseconds.
    pub began: u64,
    /// Unix nanoseconds.
    pub ended: u64,
    /// What it says.
    pub attributes: BTreeMap<String, String>,
    /// How many events are attached.
    pub events: usize,
}

/// What has arrived.
#[derive(Default)]
struct Heard {
    bodies: Vec<Vec<u8>>,
    spans: Vec<Span>,
    metrics: Vec<Metric>,
}

/// A collector; it ends when it is dropped.
pub struct Collector {
    address: SocketAddr,
    heard: Arc<Mutex<Heard>>,
    asked: Arc<AtomicUsize>,
    _stop: DropGuard,
}

impl Collector {
    /// One that takes everything.
    pub async fn start() -> Self {
        Self::begin(true).await
    }

    /// One that takes connections and requests and never says a word.
    pub async fn start_silent() -> Self {
        Self::begin(false).await
    }

    async fn begin(answers: bool) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (heard, asked, stop) =
            (Arc::<Mutex<Heard>>::default(), Arc::<AtomicUsize>::default(), CancellationToken::new());
        let (hears, asks, until, tasks) = (Arc::clone(&heard), Arc::clone(&asked), stop.clone(), TaskTracker::new());
        tasks.clone().spawn(async move {
            loop {
                let stream = tokio::select! {
                    () = until.cancelled() => return,
                    accepted = listener.accept() => accepted.expect("loopback").0,
                };
                let (hears, asks, until) = (Arc::clone(&hears), Arc::clone(&asks), until.clone());
                tasks.spawn(async move {
                    tokio::select! {
                        () = until.cancelled() => {}
                        () = serve(stream, &hears, &asks, answers) => {}
                    }
                });
            }
        });
        Self { address, heard, asked, _stop: stop.drop_guard() }
    }

    /// Where it listens, as `SNUG_OTLP_URL` has it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many requests have come.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    fn look<T>(&self, look: impl FnOnce(&Heard) -> T) -> T {
        look(&self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Every span so far.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.look(|heard| heard.spans.clone())
    }

    /// Every metric so far, once for each time that it was told.
    #[must_use]
    pub fn metrics(&self) -> Vec<Metric> {
        self.look(|heard| heard.metrics.clone())
    }

    /// Every request's body, as it came.
    #[must_use]
    pub fn bodies(&self) -> Vec<Vec<u8>> {
        self.look(|heard| heard.bodies.clone())
    }

    /// Waits until `look` finds what it looks for in the spans.
    pub async fn until<T>(&self, what: &str, mut look: impl FnMut(&[Span]) -> Option<T>) -> T {
        eventually(what, async || self.look(|heard| look(&heard.spans))).await
    }
}

async fn serve(mut stream: TcpStream, heard: &Mutex<Heard>, asked: &AtomicUsize, answers: bool) {
    let Some((path, body)) = request(&mut stream).await else { return };
    asked.fetch_add(1, Ordering::Relaxed);
    if !answers {
        return std::future::pending().await;
    }
    {
        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        match path.as_str() {
            "/v1/traces" => heard.take_traces(&body),
            "/v1/metrics" => heard.take_metrics(&body),
            other => panic!("a collector is not asked for {other}"),
        }
        heard.bodies.push(body);
    }
    let answer =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let _ = stream.write_all(answer).await;
}

/// Path and body of a request; `None`: it was cut.
async fn request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        assert!(bytes.len() < 64 * 1024, "headers without an end");
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).expect("headers are text").to_ascii_lowercase();
    assert!(head.starts_with("post ") && head.contains("content-type: application/x-protobuf"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    let length: usize = length.trim().parse().expect("a number");
    assert!(length <= REQUEST_BYTES_MAX, "{length} bytes");
    while bytes.len() < end + 4 + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some((head.split(' ').nth(1).expect("a path").to_owned(), bytes[end + 4..].to_vec()))
}

fn text(attribute: &KeyValue) -> (String, String) {
    let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
    let value = match value {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    (attribute.key.clone(), value)
}

impl Heard {
    fn take_traces(&mut self, body: &[u8]) {
        let request = ExportTraceServiceRequest::decode(body).expect("traces in protobuf");
        for told in request.resource_spans {
            let resource = told.resource.expect("who tells");
            let about: BTreeMap<_, _> = resource.attributes.iter().map(text).collect();
            assert_eq!(about["service.name"], "snug");
            let spans = told.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.spans.extend(spans.map(|span| Span {
                node: about["service.instance.id"].clone(),
                name: span.name,
                trace: span.trace_id,
                id: span.span_id,
                parent: span.parent_span_id,
                began: span.start_time_unix_nano,
                ended: span.end_time_unix_nano,
                attributes: span.attributes.iter().map(text).collect(),
                events: span.events.len(),
            }));
        }
    }

    fn take_metrics(&mut self, body: &[u8]) {
        let request = ExportMetricsServiceRequest::decode(body).expect("metrics in protobuf");
        let scopes = request.resource_metrics.into_iter().flat_map(|told| told.scope_metrics);
        self.metrics.extend(scopes.flat_map(|scope| scope.metrics));
    }
}

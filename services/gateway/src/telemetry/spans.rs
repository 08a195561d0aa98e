//! How spans leave the node: a bounded queue, from which a thread of the library hands batches to the collector.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData, SpanExporter,
};
use prost::Message;

use super::NODE;
use super::collector::{Collector, Signal};

/// Spans that wait to be sent; more are dropped.
const SPANS_QUEUED_MAX: usize = 4_096;
/// Spans sent at one time.
const BATCH_MAX: usize = 512;
/// How long a span waits for others.
const BATCH_PERIOD: Duration = Duration::from_secs(1);

/// Makes spans and sends them to `collector`.
pub(super) fn provider(collector: Collector) -> SdkTracerProvider {
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(SPANS_QUEUED_MAX)
        .with_max_export_batch_size(BATCH_MAX)
        .with_scheduled_delay(BATCH_PERIOD)
        .build();
    let processor = BatchSpanProcessor::builder(Exporter(collector)).with_batch_config(config).build();
    // What is to be traced has been decided by `trace` already.
    SdkTracerProvider::builder().with_span_processor(processor).with_sampler(Sampler::AlwaysOn).build()
}

/// Who speaks, as a collector is told.
pub(super) fn resource() -> Resource {
    let node = NODE.get().cloned().unwrap_or_default();
    Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", "snug"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", node),
        ])
        .build()
}

#[derive(Debug)]
struct Exporter(Collector);

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let resource_spans = group_spans_by_resource_and_scope(batch, &(&resource()).into());
        let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        let sent = self.0.send(Signal::Traces, body).await;
        sent.map_err(|error| OTelSdkError::InternalFailure(error.to_string()))
    }
}

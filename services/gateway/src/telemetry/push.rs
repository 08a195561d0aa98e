//! The node's numbers as OTLP, sent to the collector now and then, the last time when the node stops.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use prost::Message;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::collector::{Collector, Signal};
use super::family::{Family, Kind, Series, Value};
use super::gather::Sources;
use super::spans;

/// From one time to the next.
const PERIOD: Duration = Duration::from_secs(15);
/// How long a stop waits for the last numbers to leave, if the collector has taken the ones before.
const LAST_LIMIT: Duration = Duration::from_millis(500);

/// Sends the numbers until `stop`.
pub async fn run(sources: Sources, collector: Collector, stop: CancellationToken) {
    let began = SystemTime::now();
    loop {
        let is_last = tokio::select! {
            () = stop.cancelled() => true,
            () = sleep(PERIOD) => false,
        };
        // What does not arrive is counted and told by the collector's handle.
        if !is_last {
            let _ = send(&sources, &collector, began).await;
            continue;
        }
        if collector.answers() {
            let _ = timeout(LAST_LIMIT, send(&sources, &collector, began)).await;
        }
        return;
    }
}

async fn send(sources: &Sources, collector: &Collector, began: SystemTime) -> Result<(), super::collector::SendError> {
    let span = Span { began: nanos(began), now: nanos(SystemTime::now()) };
    let metrics = sources.gather().await.into_iter().map(|family| span.metric(family)).collect();
    let attributes = ResourceAttributesWithSchema::from(&spans::resource()).attributes.0;
    let scope = InstrumentationScope { name: "snug".into(), ..InstrumentationScope::default() };
    let scope_metrics = vec![ScopeMetrics { scope: Some(scope), metrics, schema_url: String::new() }];
    let resource = Some(Resource { attributes, ..Resource::default() });
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { resource, scope_metrics, schema_url: String::new() }],
    };
    collector.send(Signal::Metrics, request.encode_to_vec()).await
}

fn nanos(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |span| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
}

/// What numbers are about: from the node's start until now, Unix nanoseconds.
struct Span {
    began: u64,
    now: u64,
}

impl Span {
    fn metric(&self, family: Family) -> Metric {
        let (unit, cumulative) = (family.unit().to_owned(), AggregationTemporality::Cumulative.into());
        let data = match family.kind {
            Kind::Counter => metric::Data::Sum(Sum {
                data_points: family.series.into_iter().map(|series| self.number(series)).collect(),
                aggregation_temporality: cumulative,
                is_monotonic: true,
            }),
            Kind::Gauge => metric::Data::Gauge(Gauge {
                data_points: family.series.into_iter().map(|series| self.number(series)).collect(),
            }),
            Kind::Histogram => metric::Data::Histogram(Histogram {
                data_points: family.series.into_iter().filter_map(|series| self.spread(series)).collect(),
                aggregation_temporality: cumulative,
            }),
        };
        Metric {
            name: family.name.to_owned(),
            description: family.help.to_owned(),
            unit,
            data: Some(data),
            metadata: Vec::new(),
        }
    }

    fn number(&self, series: Series) -> NumberDataPoint {
        let value = match series.value {
            Value::Count(count) => number_data_point::Value::AsInt(i64::try_from(count).unwrap_or(i64::MAX)),
            Value::Level(level) => number_data_point::Value::AsDouble(level),
            Value::Spread(reading) => number_data_point::Value::AsDouble(reading.sum),
        };
        NumberDataPoint {
            attributes: attributes(series.labels),
            start_time_unix_nano: self.began,
            time_unix_nano: self.now,
            value: Some(value),
            ..NumberDataPoint::default()
        }
    }

    fn spread(&self, series: Series) -> Option<HistogramDataPoint> {
        let Value::Spread(reading) = series.value else { return None };
        Some(HistogramDataPoint {
            attributes: attributes(series.labels),
            start_time_unix_nano: self.began,
            time_unix_nano: self.now,
            count: reading.count(),
            sum: Some(reading.sum),
            explicit_bounds: reading
                .buckets
                .iter()
                .map(|(bound, _)| *bound)
                .filter(|bound| bound.is_finite())
                .collect(),
            bucket_counts: reading.buckets.iter().map(|(_, count)| *count).collect(),
            ..HistogramDataPoint::default()
        })
    }
}

fn attributes(labels: Vec<(&'static str, std::borrow::Cow<'static, str>)>) -> Vec<KeyValue> {
    let text = |value: std::borrow::Cow<'static, str>| AnyValue {
        value: Some(any_value::Value::StringValue(value.into_owned())),
    };
    labels
        .into_iter()
        .map(|(key, value)| KeyValue { key: key.to_owned(), value: Some(text(value)), ..KeyValue::default() })
        .collect()
}

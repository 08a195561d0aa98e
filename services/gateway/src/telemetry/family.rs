//! Numbers as they are told, and the text that Prometheus reads.

use std::borrow::Cow;
use std::fmt::Write;

use snug_metrics::Reading;

/// How a number changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations in buckets.
    Histogram,
}

/// One name with what it means, and a number for each combination of labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// The name, unit last.
    pub name: &'static str,
    /// What it means, in one sentence.
    pub help: &'static str,
    /// How it changes.
    pub kind: Kind,
    /// The numbers.
    pub series: Vec<Series>,
}

/// One number and its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Name and value of each label.
    pub labels: Vec<(&'static str, Cow<'static, str>)>,
    /// The number.
    pub value: Value,
}

/// A number.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of a counter.
    Count(u64),
    /// Of a counter of spans of time, or of a gauge.
    Level(f64),
    /// Of a histogram.
    Spread(Reading),
}

impl Family {
    /// The unit in the words of OTLP, by the end of the name.
    #[must_use]
    pub fn unit(&self) -> &'static str {
        let bare = self.name.trim_end_matches("_total");
        if bare.ends_with("_seconds") {
            "s"
        } else if bare.ends_with("_bytes") {
            "By"
        } else {
            "1"
        }
    }
}

/// The families in Prometheus' text format, version 0.0.4.
#[must_use]
pub fn text(families: &[Family]) -> String {
    let mut text = String::with_capacity(32 * 1024);
    for family in families {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let name = family.name;
        put(&mut text, format_args!("# HELP {name} {}\n# TYPE {name} {kind}\n", family.help));
        for series in &family.series {
            put_series(&mut text, name, series);
        }
    }
    text
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("a string takes everything");
}

fn put_series(text: &mut String, name: &str, series: &Series) {
    let labels = labels(series, None);
    match &series.value {
        Value::Count(count) => put(text, format_args!("{name}{labels} {count}\n")),
        Value::Level(level) => put(text, format_args!("{name}{labels} {level}\n")),
        Value::Spread(reading) => {
            let mut below = 0;
            for (bound, count) in &reading.buckets {
                below += count;
                let bound = if bound.is_finite() { bound.to_string() } else { "+Inf".to_owned() };
                put(text, format_args!("{name}_bucket{} {below}\n", self::labels(series, Some(&bound))));
            }
            put(text, format_args!("{name}_sum{labels} {}\n{name}_count{labels} {below}\n", reading.sum));
        }
    }
}

fn labels(series: &Series, bound: Option<&str>) -> String {
    let own = series.labels.iter().map(|(name, value)| (*name, value.as_ref()));
    let all: Vec<String> = own
        .chain(bound.map(|bound| ("le", bound)))
        .map(|(name, value)| {
            format!("{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
        })
        .collect();
    if all.is_empty() { String::new() } else { format!("{{{}}}", all.join(",")) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use snug_metrics::Histogram;

    use super::*;

    #[test]
    fn families_are_written_as_prometheus_reads_them() {
        let spread = Histogram::of_seconds();
        spread.observe(Duration::from_millis(3));
        spread.observe(Duration::from_secs(90));
        let series = |labels, value| vec![Series { labels, value }];
        let families = [
            Family {
                name: "snug_things_total",
                help: "Things.",
                kind: Kind::Counter,
                series: series(vec![("kind", "a \"quoted\" \\ thing".into()), ("n", "1".into())], Value::Count(3)),
            },
            Family {
                name: "snug_level",
                help: "A level.",
                kind: Kind::Gauge,
                series: series(vec![], Value::Level(-0.5)),
            },
            Family {
                name: "snug_wait_seconds",
                help: "Waits.",
                kind: Kind::Histogram,
                series: series(vec![], Value::Spread(spread.read())),
            },
        ];
        let text = text(&families);
        assert!(text.starts_with(
            "# HELP snug_things_total Things.\n# TYPE snug_things_total counter\nsnug_things_total{kind=\"a \\\"quoted\\\" \\\\ thing\",n=\"1\"} 3\n"
        ));
        assert!(text.contains("snug_level -0.5\n"));
        for line in ["le=\"0.0025\"} 0", "le=\"0.005\"} 1", "le=\"60\"} 1", "le=\"+Inf\"} 2"] {
            assert!(text.contains(&format!("snug_wait_seconds_bucket{{{line}\n")), "{line} is not in {text}");
        }
        assert!(text.ends_with("snug_wait_seconds_sum 90.003\nsnug_wait_seconds_count 2\n"), "{text}");
    }

    #[test]
    fn a_unit_is_the_end_of_a_name() {
        let unit = |name| Family { name, help: "", kind: Kind::Counter, series: Vec::new() }.unit();
        assert_eq!([unit("a_seconds_total"), unit("a_bytes"), unit("a_total")], ["s", "By", "1"]);
    }
}

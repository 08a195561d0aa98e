//! Reads Prometheus' text format, and is strict about it.

use std::collections::BTreeMap;

/// One family as a node tells it.
#[derive(Debug)]
pub struct Family {
    pub kind: String,
    pub help: String,
    pub samples: Vec<Sample>,
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// Everything that a node tells, by name.
#[derive(Debug)]
pub struct Exposition(pub BTreeMap<String, Family>);

impl Exposition {
    /// Reads it, and panics where it breaks the format's rules or Prometheus' conventions.
    pub fn read(text: &str) -> Self {
        let mut families: BTreeMap<String, Family> = BTreeMap::new();
        let mut current = String::new();
        assert!(text.ends_with('\n'), "the last line ends");
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a name and a help");
                name.clone_into(&mut current);
                let family = Family { kind: String::new(), help: help.to_owned(), samples: Vec::new() };
                assert!(families.insert(current.clone(), family).is_none(), "{name} is told twice");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a name and a type");
                assert_eq!(name, current);
                kind.clone_into(&mut families.get_mut(name).expect("its help came first").kind);
            } else {
                let sample = sample(line);
                let family = families.get_mut(&current).expect("a family");
                let ends: &[&str] = if family.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
                assert!(ends.iter().any(|end| sample.name == format!("{current}{end}")), "{line} is not of {current}");
                family.samples.push(sample);
            }
        }
        let read = Self(families);
        read.check();
        read
    }

    fn check(&self) {
        assert!(self.0.len() > 30, "only {} families", self.0.len());
        for (name, family) in &self.0 {
            assert!(!family.samples.is_empty(), "{name} has no number");
            assert!(family.help.ends_with('.'), "{name}: {}", family.help);
            assert_eq!(family.kind == "counter", name.ends_with("_total"), "{name} is a {}", family.kind);
            let mut seen: Vec<(&String, &BTreeMap<String, String>)> = Vec::new();
            for sample in &family.samples {
                assert!(!seen.contains(&(&sample.name, &sample.labels)), "{sample:?} is told twice");
                seen.push((&sample.name, &sample.labels));
            }
            if family.kind == "histogram" {
                check_histogram(name, family);
            }
        }
    }

    /// The number with these labels.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| self.0.get(name.strip_suffix(end)?));
        let family = self.0.get(name).or(family).unwrap_or_else(|| panic!("there is no {name}"));
        let fits = |sample: &&Sample| {
            sample.name == name
                && labels.iter().all(|(label, value)| sample.labels.get(*label).is_some_and(|own| own == value))
        };
        let mut found = family.samples.iter().filter(fits);
        let sample = found.next().unwrap_or_else(|| panic!("there is no {name} with {labels:?} in {family:?}"));
        assert_eq!(found.next(), None, "{name} with {labels:?} is not one");
        sample.value
    }
}

fn check_histogram(name: &str, family: &Family) {
    let of = |end: &str| {
        family.samples.iter().filter(move |sample| sample.name == format!("{name}{end}")).collect::<Vec<_>>()
    };
    let (buckets, counts) = (of("_bucket"), of("_count"));
    assert_eq!((counts.len(), of("_sum").len()), (1, 1), "{name}");
    let bound = |sample: &Sample| {
        if sample.labels["le"] == "+Inf" { f64::INFINITY } else { sample.labels["le"].parse().expect("a bound") }
    };
    assert!(buckets.windows(2).all(|pair| bound(pair[0]) < bound(pair[1]) && pair[0].value <= pair[1].value), "{name}");
    let last = buckets.last().expect("buckets");
    assert!(bound(last).is_infinite() && (last.value - counts[0].value).abs() < f64::EPSILON, "{name}");
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
    let (name, labels) = match series.split_once('{') {
        None => (series, ""),
        Some((name, labels)) => (name, labels.strip_suffix('}').expect("closed labels")),
    };
    assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'), "{name}");
    let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
    assert!(value.is_finite(), "{line}");
    // None of ours holds a comma or a quote.
    let labels = labels.split(',').filter(|label| !label.is_empty()).map(|label| {
        let (name, value) = label.split_once('=').expect("a label");
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).expect("a quoted value");
        (name.to_owned(), value.to_owned())
    });
    Sample { name: name.to_owned(), labels: labels.collect(), value }
}

//! What was found, as data; said as text ([`text`]), as JSON, and as a page with plots ([`html`], [`svg`]).

pub mod html;
pub mod svg;
pub mod text;

use serde::Serialize;

use crate::clock::SECOND;
use crate::field::Played;
use crate::machine::go_first;
use crate::observer::Sample;
use svg::Series;

/// Above this share of its time a receiving thread may have been what held a step back.
const BUSY_MAX: f64 = 0.85;
/// Messages that were written later than this, in milliseconds, were not written when they should have been.
const LATE_MS_MAX: f64 = 20.0;
/// Later than this, in milliseconds, the kernel may have had no room for what was not read.
const READ_LATE_MS_MAX: f64 = 500.0;

/// All of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What was measured, in the words of who asked for it.
    pub title: String,
    /// When it began, Unix milliseconds.
    pub began_at_ms: u64,
    /// The machine: cores, kernel, model.
    pub machine: Vec<String>,
    /// The names of the watched processes, in the order of `cpu` and `memory`.
    pub processes: Vec<String>,
    /// What was found.
    pub results: Vec<Result>,
}

/// What a scenario found.
#[derive(Debug, Default, Serialize)]
pub struct Result {
    /// Its short name.
    pub scenario: String,
    /// What it measures.
    pub title: String,
    /// Its figures.
    pub facts: Vec<Fact>,
    /// Figures against what they depend on.
    pub plots: Vec<Plot>,
    /// Its steps.
    pub steps: Vec<Step>,
    /// What has to be known to read them.
    pub notes: Vec<String>,
}

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub struct Fact {
    /// Of what.
    pub name: String,
    /// How much.
    pub value: f64,
    /// Of what unit; empty for a ratio.
    pub unit: &'static str,
    /// The figure of the floor it is compared with, in the same unit.
    pub floor: Option<f64>,
}

/// Figures against what they depend on, over a logarithmic axis.
#[derive(Debug, Clone, Serialize)]
pub struct Plot {
    /// Which figures.
    pub title: String,
    /// What they depend on.
    pub x_name: &'static str,
    /// Their names and points.
    pub lines: Vec<Series>,
}

/// A script that was played.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// Which.
    pub label: String,
    /// Messages a second that were to be sent.
    pub offered_per_second: f64,
    /// Deliveries a second.
    pub deliveries_per_second: f64,
    /// Deliveries.
    pub delivered: u64,
    /// From the intended time of sending to delivery, in milliseconds: 50, 90, 99, 99.9 of a hundred, and the longest.
    pub latency_ms: [f64; 5],
    /// To the acknowledgement: 50 and 99 of a hundred.
    pub acknowledged_ms: [f64; 2],
    /// The nodes' CPU time for each delivery, in microseconds.
    pub cpu_us: f64,
    /// The same by process.
    pub cpu_us_by_process: Vec<(String, f64)>,
    /// The tool's own.
    pub own_cpu_us: f64,
    /// The shares of its time that the tool's busiest thread ran, and waited for a core.
    pub busiest: (f64, f64),
    /// Deliveries read by one call.
    pub deliveries_per_read: f64,
    /// 99 of a hundred messages were written at most so long after their time, in milliseconds.
    pub sent_late_ms: f64,
    /// 99 of a hundred reads were at most so long after the kernel had the last of what they read, in milliseconds.
    pub read_late_ms: f64,
    /// How often its threads rested because they had to wait for a core.
    pub rests: u64,
    /// Deliveries that are missing, came twice, out of order, or changed.
    pub wrong: u64,
    /// Why it does not count as sustained.
    pub objection: Option<String>,
    /// Why its figures may be the tool's rather than the nodes'.
    pub tool: Option<String>,
    /// Second by second.
    pub samples: Vec<Sample>,
}

impl Step {
    /// Of what was played.
    #[must_use]
    pub fn of(label: impl Into<String>, played: &Played, objection: Option<String>) -> Self {
        let (counts, latency) = (&played.window.counts, played.window.latency_of_all());
        let each = |ns: u64| ns as f64 / 1_000.0 / counts.delivered.max(1) as f64;
        let sent_late_ms = played.window.sending.percentile_ms(99.0);
        let read_late_ms = played.window.reading.percentile_ms(99.0);
        let (ran, waited) = played.cpu.busiest;
        let tool = if ran > BUSY_MAX {
            Some(format!("the tool's busiest thread ran {:.0} % of the time", ran * 100.0))
        } else if ran + waited > BUSY_MAX {
            Some(format!("the tool's busiest thread waited for a core {:.0} % of the time", waited * 100.0))
        } else if sent_late_ms > LATE_MS_MAX {
            Some(format!("the tool wrote messages {sent_late_ms:.0} ms late"))
        } else if read_late_ms > READ_LATE_MS_MAX {
            Some(format!("the tool read {read_late_ms:.0} ms late"))
        } else {
            None
        };
        Self {
            label: label.into(),
            offered_per_second: played.offered,
            deliveries_per_second: played.deliveries_per_second,
            delivered: counts.delivered,
            latency_ms: [50.0, 90.0, 99.0, 99.9, 100.0].map(|percent| latency.percentile_ms(percent)),
            acknowledged_ms: [50.0, 99.0].map(|percent| played.window.acknowledging.percentile_ms(percent)),
            cpu_us: each(played.cpu.nodes_ns()),
            cpu_us_by_process: played.cpu.processes.iter().map(|(name, ns, _)| (name.clone(), each(*ns))).collect(),
            own_cpu_us: each(played.cpu.own_ns),
            busiest: played.cpu.busiest,
            deliveries_per_read: counts.delivered as f64 / counts.reads.max(1) as f64,
            sent_late_ms,
            read_late_ms,
            rests: counts.rests,
            wrong: counts.wrongs() + played.missing + played.verdict.holes + played.verdict.reordered,
            objection,
            tool,
            samples: played.samples.clone(),
        }
    }
}

impl Result {
    /// Nothing found yet.
    #[must_use]
    pub fn new(scenario: &str, title: impl Into<String>) -> Self {
        Self { scenario: scenario.to_owned(), title: title.into(), ..Self::default() }
    }

    /// Adds a figure.
    pub fn fact(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.facts.push(Fact { name: name.into(), value, unit, floor: None });
    }

    /// Adds a figure, with the floor's.
    pub fn fact_over(&mut self, name: impl Into<String>, value: f64, unit: &'static str, floor: f64) {
        self.facts.push(Fact { name: name.into(), value, unit, floor: Some(floor) });
    }

    /// Whether anything was delivered that should not have been, or not delivered that should.
    #[must_use]
    pub fn is_wrong(&self) -> bool {
        // A step that was too much may well have lost its sockets; what it has delivered must be right all the same.
        self.steps.iter().any(|step| step.wrong > 0 && step.objection.is_none())
            || self.steps.iter().any(|step| step.objection.as_ref().is_some_and(|why| why.starts_with("wrong")))
    }
}

/// What this machine is.
#[must_use]
pub fn machine() -> Vec<String> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map(|rest| rest.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = read("/proc/loadavg");
    // Asked on a thread of its own, which ends with it.
    let is_first = std::thread::spawn(go_first).join().unwrap_or_default();
    vec![
        format!("{cores} cores, {}", model.unwrap_or("unknown model")),
        format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
        format!("load when it began: {}", load.split_whitespace().take(3).collect::<Vec<_>>().join(" ")),
        format!(
            "receivers {}",
            if is_first { "may go before others of their session" } else { "may not go before others" }
        ),
    ]
}

/// Now, Unix milliseconds.
#[must_use]
pub fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos() / u128::from(SECOND / 1_000)).unwrap_or(0)
}

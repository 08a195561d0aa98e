//! Looks on while something is measured: says how it goes, and keeps what happened second by second.

use crate::clock::SECOND;
use crate::figures::Window;
use crate::machine::{CpuSpan, Meter, Own, Usage, Watched};

/// One second.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Sample {
    /// Its end, from the start.
    pub at_seconds: f64,
    /// Deliveries a second.
    pub deliveries_per_second: f64,
    /// Latencies of what was delivered in it, milliseconds.
    pub p50_ms: f64,
    /// The same.
    pub p99_ms: f64,
    /// Each watched process's share of one core.
    pub cpu: Vec<f64>,
    /// Each watched process's memory, bytes.
    pub memory: Vec<u64>,
}

/// Watches processes, and tells on standard error.
#[derive(Debug)]
pub struct Observer {
    watched: Vec<Watched>,
    meter: Meter,
    is_floor: bool,
    label: String,
}

/// What is being kept of one script.
#[derive(Debug)]
pub struct Recording {
    start_ns: u64,
    before: Vec<Usage>,
    own_before: Own,
    last: (u64, Vec<Usage>),
    second: Window,
    samples: Vec<Sample>,
}

impl Observer {
    /// Of these processes.
    #[must_use]
    pub fn new(watched: Vec<Watched>) -> Self {
        Self { watched, meter: Meter::default(), is_floor: false, label: String::new() }
    }

    /// Of the floor's process, which acknowledges nothing.
    #[must_use]
    pub fn of_floor(pid: u32) -> Self {
        let watched = vec![Watched { name: "floor".to_owned(), pid, is_node: true }];
        Self { watched, meter: Meter::default(), is_floor: true, label: String::new() }
    }

    /// What is watched.
    #[must_use]
    pub fn watched(&self) -> &[Watched] {
        &self.watched
    }

    /// Whether nothing is acknowledged.
    #[must_use]
    pub const fn is_floor(&self) -> bool {
        self.is_floor
    }

    /// Begins a part with this name.
    pub fn label(&mut self, label: impl Into<String>) {
        self.label = label.into();
        self.tell(&format!("{} …", self.label));
    }

    /// Says something.
    pub fn tell(&self, text: &str) {
        eprintln!("{text}");
    }

    /// What the watched processes use now.
    pub fn usage(&mut self) -> Vec<Usage> {
        self.meter.read(&self.watched)
    }

    /// Begins to record a script that starts then.
    pub fn begin(&mut self, start_ns: u64) -> Recording {
        let before = self.usage();
        let last = (start_ns, before.clone());
        Recording { start_ns, before, own_before: Own::read(), last, second: Window::default(), samples: Vec::new() }
    }
}

impl Recording {
    /// Takes note of what happened since the last look.
    pub fn look(&mut self, observer: &mut Observer, now_ns: u64, latest: &Window) {
        self.second.merge(latest);
        if now_ns < self.last.0 + SECOND {
            return;
        }
        let usage = observer.usage();
        let seconds = (now_ns - self.last.0) as f64 / SECOND as f64;
        let latency = self.second.latency_of_all();
        let share = |(now, then): (&Usage, &Usage)| now.cpu_ns.saturating_sub(then.cpu_ns) as f64 / 1e9 / seconds;
        let sample = Sample {
            at_seconds: (now_ns - self.start_ns) as f64 / SECOND as f64,
            deliveries_per_second: self.second.counts.delivered as f64 / seconds,
            p50_ms: latency.percentile_ms(50.0),
            p99_ms: latency.percentile_ms(99.0),
            cpu: usage.iter().zip(&self.last.1).map(share).collect(),
            memory: usage.iter().map(|usage| usage.memory).collect(),
        };
        observer.tell(&format!(
            "  {:>5.1} s  {:>9.0} deliveries/s  p50 {:>7.2} ms  p99 {:>7.2} ms  nodes {:>4.0} % CPU",
            sample.at_seconds,
            sample.deliveries_per_second,
            sample.p50_ms,
            sample.p99_ms,
            observer
                .watched
                .iter()
                .zip(&sample.cpu)
                .filter(|(process, _)| process.is_node)
                .map(|(_, cpu)| cpu * 100.0)
                .sum::<f64>(),
        ));
        self.samples.push(sample);
        self.second.clear();
        self.last = (now_ns, usage);
    }

    /// Ends it.
    pub fn end(self, observer: &mut Observer, now_ns: u64) -> (CpuSpan, Vec<Sample>) {
        let usage = observer.usage();
        let seconds = now_ns.saturating_sub(self.start_ns) as f64 / SECOND as f64;
        let (own_ns, busiest) = Own::read().since(&self.own_before, seconds);
        let processes = observer.watched.iter().zip(usage.iter().zip(&self.before)).map(|(process, (now, then))| {
            (process.name.clone(), now.cpu_ns.saturating_sub(then.cpu_ns), process.is_node)
        });
        (CpuSpan { seconds, processes: processes.collect(), busiest, own_ns }, self.samples)
    }
}

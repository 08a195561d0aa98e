//! CPU time and memory of processes, from `/proc`, and which threads go first.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use rustix::process::{Resource, getpriority_process, getrlimit, setpriority_process, setrlimit};

use crate::field::THREAD_NAME;

/// How far receiving threads go before others on a core that both want, as `nice` counts.
const NICENESS: i32 = -10;

/// Lets the calling thread go before others, as a client on a machine of its own would; whether it may.
#[must_use]
pub fn go_first() -> bool {
    set_niceness(NICENESS)
}

/// The calling thread's niceness.
#[must_use]
pub fn niceness() -> Option<i32> {
    getpriority_process(None).ok()
}

/// Sets the calling thread's niceness; whether it may. To step back is everybody's right.
#[must_use]
pub fn set_niceness(niceness: i32) -> bool {
    setpriority_process(None, niceness).is_ok()
}

/// How long the calling thread has waited for a core.
#[must_use]
pub fn waited() -> Duration {
    let schedule = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(ran_and_waited(&schedule).map_or(0, |(_, waited)| waited))
}

/// What the kernel's line says of a thread: nanoseconds that it ran, and waited for a core.
fn ran_and_waited(schedule: &str) -> Option<(u64, u64)> {
    let mut numbers = schedule.split_whitespace().map_while(|number| number.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

/// A process to be watched, its children included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// What the report calls it.
    pub name: String,
    /// Its id.
    pub pid: u32,
    /// It is a node (or the floor), whose CPU time is what deliveries cost.
    pub is_node: bool,
}

/// What a process has used and uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time so far, in nanoseconds.
    pub cpu_ns: u64,
    /// Memory that is resident and not of a file, in bytes.
    pub memory: u64,
}

/// What was used in a span of time.
#[derive(Debug, Clone, Default)]
pub struct CpuSpan {
    /// How long.
    pub seconds: f64,
    /// Name, nanoseconds, and whether it is a node.
    pub processes: Vec<(String, u64, bool)>,
    /// The tool's busiest receiving thread: the share of the time that it worked, and that it waited for a core.
    pub busiest: (f64, f64),
    /// CPU time of the whole tool, in nanoseconds.
    pub own_ns: u64,
}

impl CpuSpan {
    /// CPU time of the nodes, in nanoseconds.
    #[must_use]
    pub fn nodes_ns(&self) -> u64 {
        self.processes.iter().filter(|(.., is_node)| *is_node).map(|(_, ns, _)| ns).sum()
    }
}

/// Raises the number of files that may be open to what the system allows this user.
pub fn open_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if setrlimit(Resource::Nofile, limit).is_err() {
        eprintln!("the limit of open files could not be raised");
    }
}

/// Nanoseconds that each thread of a process ran and waited for a core, by thread id.
fn threads(pid: &str) -> HashMap<u32, (u64, u64)> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return HashMap::new() };
    let threads = tasks.flatten().filter_map(|task| {
        let schedule = fs::read_to_string(task.path().join("schedstat")).ok()?;
        Some((task.file_name().to_str()?.parse().ok()?, ran_and_waited(&schedule)?))
    });
    threads.collect()
}

fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Every process's parent.
fn parents() -> HashMap<u32, u32> {
    let Ok(processes) = fs::read_dir("/proc") else { return HashMap::new() };
    let parent = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // After the name, which may hold anything, come state and parent.
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    let ids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter_map(|pid| Some((pid, parent(pid)?))).collect()
}

/// Sums up what processes and their children use. CPU time of a thread that has ended counts as it was last seen.
#[derive(Debug, Default)]
pub struct Meter {
    seen: HashMap<u32, HashMap<u32, (u64, u64)>>,
}

impl Meter {
    /// What each of these uses now.
    pub fn read(&mut self, watched: &[Watched]) -> Vec<Usage> {
        let parents = if watched.iter().all(|process| process.is_node) { HashMap::new() } else { parents() };
        watched.iter().map(|process| self.usage(process, &parents)).collect()
    }

    fn usage(&mut self, process: &Watched, parents: &HashMap<u32, u32>) -> Usage {
        let seen = self.seen.entry(process.pid).or_default();
        let mut memory_sum = 0;
        let children = parents.keys().filter(|pid| descends(**pid, process.pid, parents));
        for pid in children.copied().chain([process.pid]) {
            seen.extend(threads(&pid.to_string()));
            memory_sum += memory(pid);
        }
        Usage { cpu_ns: seen.values().map(|(ran, _)| ran).sum(), memory: memory_sum }
    }
}

fn descends(pid: u32, from: u32, parents: &HashMap<u32, u32>) -> bool {
    let mut at = pid;
    while let Some(parent) = parents.get(&at).filter(|parent| **parent != 0) {
        if *parent == from {
            return true;
        }
        at = *parent;
    }
    false
}

/// What the tool itself has used: all of it, and each receiving thread's running and waiting.
#[derive(Debug, Clone, Default)]
pub struct Own {
    all_ns: u64,
    receivers: HashMap<u32, (u64, u64)>,
}

impl Own {
    /// Up to now.
    #[must_use]
    pub fn read() -> Self {
        let threads = threads("self");
        let all_ns = threads.values().map(|(ran, _)| ran).sum();
        let is_receiver = |id: &u32| {
            fs::read_to_string(format!("/proc/self/task/{id}/comm")).is_ok_and(|name| name.starts_with(THREAD_NAME))
        };
        Self { all_ns, receivers: threads.into_iter().filter(|(id, _)| is_receiver(id)).collect() }
    }

    /// Since then: nanoseconds of all, and of the busiest receiver the shares of the time that it ran and that it waited.
    #[must_use]
    pub fn since(&self, before: &Self, seconds: f64) -> (u64, (f64, f64)) {
        let share = |now: u64, then: u64| now.saturating_sub(then) as f64 / 1e9 / seconds.max(1e-9);
        let spans = self.receivers.iter().map(|(id, (ran, waited))| {
            let (ran_then, waited_then) = before.receivers.get(id).copied().unwrap_or_default();
            (share(*ran, ran_then), share(*waited, waited_then))
        });
        let busiest = spans.max_by(|one, other| one.0.total_cmp(&other.0)).unwrap_or_default();
        (self.all_ns.saturating_sub(before.all_ns), busiest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_works_uses_cpu_time_and_has_memory() {
        let own = [Watched { name: "own".to_owned(), pid: std::process::id(), is_node: false }];
        let mut meter = Meter::default();
        let before = meter.read(&own)[0];
        let began = std::time::Instant::now();
        let mut number = 1u64;
        while began.elapsed().as_millis() < 100 {
            number = std::hint::black_box(number.wrapping_mul(3));
        }
        let after = meter.read(&own)[0];
        assert!(after.cpu_ns > before.cpu_ns + 5_000_000, "{before:?} {after:?}");
        assert!(after.memory > 100_000, "{after:?}");
    }

    #[test]
    fn children_are_found_through_their_parents() {
        let parents = HashMap::from([(5, 4), (4, 3), (3, 1), (7, 1)]);
        assert!(descends(5, 3, &parents) && descends(4, 3, &parents));
        assert!(!descends(7, 3, &parents) && !descends(3, 3, &parents));
    }
}

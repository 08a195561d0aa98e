//! The process as the system sees it; nothing but on Linux.

use super::family::Family;
use super::gather::Families;

/// In so many parts of a second Linux tells of processor time, on every machine.
const TICKS_PER_SECOND: f64 = 100.0;
const KIB: u64 = 1024;

/// What the system says. Reads files, so not for a thread that others wait for.
pub(super) fn read() -> Vec<Family> {
    let mut families = Families::default();
    if let Some(seconds) = cpu_seconds() {
        families.seconds_total("process_cpu_seconds_total", "Processor time of the process, user and system.", seconds);
    }
    if let Some(bytes) = resident_bytes() {
        families.gauge("process_resident_memory_bytes", "Memory of the process that is in RAM.", bytes);
    }
    if let Some(count) = open_files() {
        families.gauge("process_open_fds", "Files and sockets that the process has open.", count);
    }
    if let Some(count) = open_files_max() {
        families.gauge("process_max_fds", "How many it may have open.", count);
    }
    families.0
}

fn file(name: &str) -> Option<String> {
    std::fs::read_to_string(format!("/proc/self/{name}")).ok()
}

fn cpu_seconds() -> Option<f64> {
    let stat = file("stat")?;
    // The name before it may hold spaces.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<f64>().ok()? + fields.next()?.parse::<f64>().ok()?;
    Some(ticks / TICKS_PER_SECOND)
}

fn resident_bytes() -> Option<u64> {
    let status = file("status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * KIB)
}

fn open_files() -> Option<u64> {
    // Since Linux 6.2 the folder's size says it; else tens of thousands of names are counted.
    let told = std::fs::metadata("/proc/self/fd").ok()?.len();
    if told > 0 { Some(told) } else { u64::try_from(std::fs::read_dir("/proc/self/fd").ok()?.count()).ok() }
}

fn open_files_max() -> Option<u64> {
    let limits = file("limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_system_says_what_this_process_uses() {
        let began = std::time::Instant::now();
        while began.elapsed() < std::time::Duration::from_millis(50) {
            std::hint::spin_loop();
        }
        assert!(cpu_seconds().is_some_and(|seconds| seconds > 0.01));
        assert!(resident_bytes().is_some_and(|bytes| bytes > 1_000_000));
        assert!(open_files().is_some_and(|count| (3..open_files_max().expect("a limit")).contains(&count)));
        assert_eq!(read().len(), 4);
    }
}

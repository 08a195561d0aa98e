//! Threads for work that keeps a core busy for long. They stand back where somebody else wants it: a message must not wait for passwords.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use tokio::sync::oneshot;

/// How far they stand back, as `nice` counts: against a thread that does not, on a core that both want, they get about a tenth of it.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

type Job = Box<dyn FnOnce() + Send>;

/// The threads; they end with the handle.
pub(super) struct Workers {
    jobs: mpsc::Sender<Job>,
}

impl Workers {
    /// So many threads.
    pub fn start(count: usize) -> Self {
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..count {
            let queue = Arc::clone(&queue);
            let builder = std::thread::Builder::new().name(format!("hashing-{number}"));
            builder.spawn(move || serve(&queue)).expect("the system starts threads for a node that starts");
        }
        Self { jobs }
    }

    /// Has a thread do it when one is free. Work that has been handed over is done, whoever gives up waiting.
    ///
    /// # Panics
    /// As the work does.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (asker, answer) = oneshot::channel();
        let job: Job = Box::new(move || drop(asker.send(catch_unwind(AssertUnwindSafe(work)))));
        self.jobs.send(job).expect("the threads end with this handle");
        let done: Result<T, Box<dyn Any + Send>> = answer.await.expect("a job answers");
        done.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

fn serve(queue: &Mutex<mpsc::Receiver<Job>>) {
    // Elsewhere it would be the whole process that stands back.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::warn!(%error, "hashing will compete with messages for cores");
    }
    loop {
        // The next one waits for the lock while this one waits for a job.
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        job();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_done_by_threads_that_stand_back_and_survive_a_panic() {
        // Of proc(5)'s fields, the 19th is `nice`; the second ends with the last parenthesis.
        let nice = |stat: &str| stat.rsplit(") ").next()?.split(' ').nth(16)?.parse::<i32>().ok();
        let own = nice(&std::fs::read_to_string("/proc/thread-self/stat").unwrap_or_default());
        let workers = Workers::start(2);
        let failing = workers.run(|| panic!("as it should"));
        assert!(futures_util::FutureExt::catch_unwind(AssertUnwindSafe(failing)).await.is_err());
        for number in 0..4 {
            let (name, stat) = workers
                .run(|| {
                    let name = std::thread::current().name().map(str::to_owned);
                    (name, std::fs::read_to_string("/proc/thread-self/stat").unwrap_or_default())
                })
                .await;
            assert!(name.is_some_and(|name| name.starts_with("hashing-")), "{number}");
            #[cfg(target_os = "linux")]
            assert_eq!(nice(&stat), own.map(|own| (own + NICENESS).min(19)), "{stat}");
        }
    }
}

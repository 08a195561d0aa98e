//! Threads for work that keeps a core busy for long. They stand back where somebody else wants it: a message must not wait for passwords.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// How far a thread stands back that must not be starved, as `nice` counts: against one that does not, on a core that both want, it gets about a tenth of it.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;
/// Threads that stand back altogether are starved if none of them has ended anything for so long: less than the other would have got.
const STARVED_AFTER: Duration = Duration::from_millis(250);

type Job = Box<dyn FnOnce() + Send>;

/// The threads; they end with the handle.
pub(super) struct Workers {
    spare: Pool,
    steady: Pool,
}

/// How far threads stand back.
#[derive(Clone, Copy, Debug)]
enum Standing {
    /// They take what nobody else wants, and leave a core the moment somebody does (sched(7), `SCHED_IDLE`).
    Spare,
    /// They have their share, and keep a core to the end of a slice of some milliseconds, whoever waits for it.
    Steady,
}

struct Pool {
    jobs: mpsc::Sender<Job>,
    free: Arc<Semaphore>,
    size: usize,
    /// How many jobs have ended.
    ended: Arc<AtomicU64>,
}

/// A thread that is free, and kept so until it is given work.
pub(super) struct Free<'a> {
    pool: &'a Pool,
    thread: OwnedSemaphorePermit,
}

impl Workers {
    /// Threads for a machine of so many cores: on all but one of them, where there is more than one, work goes on while nobody wants them.
    pub fn start(cores: usize) -> Self {
        Self {
            spare: Pool::start(Standing::Spare, cores.saturating_sub(1).max(1)),
            steady: Pool::start(Standing::Steady, 1),
        }
    }

    /// Waits for a thread: for one that stands back altogether, or, while those are starved, for one that does not quite. Cancel-safe; first come, first served.
    pub async fn free(&self) -> Free<'_> {
        tokio::select! {
            biased;
            free = self.spare.free() => free,
            free = async {
                self.spare.starved().await;
                self.steady.free().await
            } => free,
        }
    }

    /// How many jobs are being done.
    pub fn running(&self) -> usize {
        self.spare.running() + self.steady.running()
    }
}

impl Pool {
    fn start(standing: Standing, size: usize) -> Self {
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..size {
            let queue = Arc::clone(&queue);
            let name = match standing {
                Standing::Spare => format!("hashing-{number}"),
                Standing::Steady => "hashing-steady".to_owned(),
            };
            let serve = move || {
                standing.take();
                serve(&queue);
            };
            let spawned = std::thread::Builder::new().name(name).spawn(serve);
            spawned.expect("the system starts threads for a node that starts");
        }
        Self { jobs, free: Arc::new(Semaphore::new(size)), size, ended: Arc::default() }
    }

    async fn free(&self) -> Free<'_> {
        let thread = Arc::clone(&self.free).acquire_owned().await.expect("the semaphore is never closed");
        Free { pool: self, thread }
    }

    fn running(&self) -> usize {
        self.size.saturating_sub(self.free.available_permits())
    }

    /// Waits until no job has ended for a while.
    async fn starved(&self) {
        let mut ended = self.ended.load(Ordering::Relaxed);
        loop {
            tokio::time::sleep(STARVED_AFTER).await;
            let now = self.ended.load(Ordering::Relaxed);
            if now == ended {
                return;
            }
            ended = now;
        }
    }
}

impl Free<'_> {
    /// Has the thread do it. Work is done once this returns a future, whoever gives up waiting for it.
    ///
    /// # Panics
    /// The future does as the work does.
    pub fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> impl Future<Output = T> {
        let (asker, answer) = oneshot::channel();
        let (thread, ended) = (self.thread, Arc::clone(&self.pool.ended));
        let job: Job = Box::new(move || {
            let done = catch_unwind(AssertUnwindSafe(work));
            ended.fetch_add(1, Ordering::Relaxed);
            drop(thread);
            drop(asker.send(done));
        });
        self.pool.jobs.send(job).expect("the threads end with the handle");
        async {
            let done: Result<T, Box<dyn Any + Send>> = answer.await.expect("a job answers");
            done.unwrap_or_else(|panic| resume_unwind(panic))
        }
    }
}

impl Standing {
    /// This thread stands back so far from now on; elsewhere than on Linux it does not, since it would be the whole process.
    fn take(self) {
        #[cfg(target_os = "linux")]
        {
            if matches!(self, Self::Spare) {
                match stand_back_altogether() {
                    Ok(()) => return,
                    Err(error) => tracing::warn!(%error, "hashing will keep messages waiting for some milliseconds"),
                }
            }
            if let Err(error) = rustix::process::nice(NICENESS) {
                tracing::warn!(%error, "hashing will compete with messages for cores");
            }
        }
    }
}

#[cfg(target_os = "linux")]
fn stand_back_altogether() -> Result<(), thread_priority::Error> {
    use thread_priority::{
        NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
        thread_native_id, thread_schedule_policy,
    };
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    let set = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle);
    // It also asks for a niceness of 0, which means nothing here, and which a node that is nice itself may not have.
    if thread_schedule_policy()? == idle { Ok(()) } else { set }
}

fn serve(queue: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        // The next one waits for the lock while this one waits for a job.
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        job();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;
    use futures_util::future::poll_immediate;

    use super::*;

    /// Of proc(5)'s fields the 19th is `nice` and the 41st the policy; the second ends with the last parenthesis.
    fn standing() -> (String, Option<i32>, Option<i32>) {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap_or_default();
        let field = |number: usize| stat.rsplit(") ").next()?.split(' ').nth(number - 3)?.parse().ok();
        (std::thread::current().name().unwrap_or_default().to_owned(), field(19), field(41))
    }

    /// Keeps a thread of it busy until the sender goes.
    async fn occupy(workers: &Workers) -> (mpsc::Sender<()>, impl Future) {
        let (release, held) = mpsc::channel::<()>();
        (release, workers.free().await.run(move || held.recv().is_err()))
    }

    #[tokio::test]
    async fn work_is_done_by_threads_that_stand_back_and_survive_a_panic() {
        const SCHED_IDLE: i32 = 5;
        let workers = Workers::start(3);
        let failing = workers.free().await.run(|| panic!("as it should"));
        assert!(AssertUnwindSafe(failing).catch_unwind().await.is_err());
        for number in 0..4 {
            let (name, _, policy) = workers.free().await.run(standing).await;
            assert!(["hashing-0", "hashing-1"].contains(&name.as_str()), "{number}: {name}");
            assert!(cfg!(not(target_os = "linux")) || policy == Some(SCHED_IDLE), "{number}: {policy:?}");
        }
        assert_eq!(workers.running(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn passwords_are_hashed_also_where_messages_leave_no_core_to_those_that_stand_back_altogether() {
        const SCHED_OTHER: i32 = 0;
        let own = standing().1;
        let workers = Workers::start(2);
        let (release, starved) = occupy(&workers).await;
        for _ in 0..2 {
            let (name, nice, policy) = workers.free().await.run(standing).await;
            assert_eq!(name, "hashing-steady");
            #[cfg(target_os = "linux")]
            assert_eq!((nice, policy), (own.map(|own| (own + NICENESS).min(19)), Some(SCHED_OTHER)));
        }
        assert_eq!(workers.running(), 1);
        drop(release);
        starved.await;
        assert_eq!(workers.free().await.run(standing).await.0, "hashing-0");
    }

    #[tokio::test(start_paused = true)]
    async fn while_those_that_stand_back_altogether_get_on_nobody_else_hashes() {
        let workers = Workers::start(1);
        let busy = workers.free().await;
        let mut waiting = pin!(workers.free());
        for _ in 0..4 {
            assert!(poll_immediate(&mut waiting).await.is_none());
            tokio::time::advance(STARVED_AFTER * 3 / 4).await;
            workers.spare.ended.fetch_add(1, Ordering::Relaxed);
        }
        assert!(poll_immediate(&mut waiting).await.is_none());
        drop(busy);
        assert_eq!(waiting.await.run(standing).await.0, "hashing-0");
    }
}

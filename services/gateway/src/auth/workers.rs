//! Threads for work that keeps a core busy for long. They stand back where somebody else wants it: a message must not wait for passwords.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// How far a thread stands back that must not be starved, as `nice` counts: against one that does not, on a core that both want, it gets about a tenth of it.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;
/// Threads that stand back altogether are starved if none of them has ended anything for so long: less than the others would have got.
const STARVED_AFTER: Duration = Duration::from_millis(250);
/// Threads that stand back altogether, on the largest machine: hashing takes 19 MiB on each, and eight get through 300 passwords a second.
const SPARE_MAX: usize = 8;
/// For so many of these there is one that has its share.
const SPARE_PER_STEADY: usize = 4;

type Job = Box<dyn FnOnce() + Send>;

/// The threads; they end with the handle.
pub(super) struct Workers {
    spare: Pool,
    steady: Pool,
}

/// How far threads stand back.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Standing {
    /// They take what nobody else wants, and leave a core the moment another thread of their cgroup wants it (sched(7), `SCHED_IDLE`).
    Spare,
    /// They have their share, and keep a core to the end of a slice of some milliseconds, whoever waits for it.
    Steady,
}

struct Pool {
    standing: Standing,
    jobs: mpsc::Sender<Job>,
    free: Arc<Semaphore>,
    size: usize,
    /// How many jobs have ended.
    ended: Arc<AtomicU64>,
}

/// A thread that is free, and kept so until it is given work.
pub(super) struct Free<'a> {
    workers: &'a Workers,
    pool: &'a Pool,
    thread: OwnedSemaphorePermit,
}

impl Workers {
    /// Threads for a machine of so many cores: one core is left to others, if there is another.
    pub fn start(cores: usize) -> Self {
        let spare = cores.saturating_sub(1).clamp(1, SPARE_MAX);
        Self {
            spare: Pool::start(Standing::Spare, spare),
            steady: Pool::start(Standing::Steady, spare.div_ceil(SPARE_PER_STEADY)),
        }
    }

    /// How many threads there are.
    pub fn size(&self) -> usize {
        self.spare.size + self.steady.size
    }

    /// How many jobs are being done.
    pub fn running(&self) -> usize {
        self.spare.running() + self.steady.running()
    }

    /// Waits for a thread: for one that stands back altogether, or, while those are starved, for one that has its share. Cancel-safe.
    pub async fn free(&self) -> Free<'_> {
        tokio::select! {
            biased;
            thread = self.spare.free() => Free { workers: self, pool: &self.spare, thread },
            free = self.steady() => free,
        }
    }

    /// Waits for a thread that has its share, which there is only while the others are starved.
    async fn steady(&self) -> Free<'_> {
        loop {
            let ended = self.spare.starved().await;
            let thread = self.steady.free().await;
            if self.spare.ended() == ended {
                return Free { workers: self, pool: &self.steady, thread };
            }
        }
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
                Standing::Steady => format!("steady-{number}"),
            };
            let serve = move || {
                standing.take();
                serve(&queue);
            };
            let spawned = std::thread::Builder::new().name(name).spawn(serve);
            spawned.expect("the system starts threads for a node that starts");
        }
        Self { standing, jobs, free: Arc::new(Semaphore::new(size)), size, ended: Arc::default() }
    }

    async fn free(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.free).acquire_owned().await.expect("the semaphore is never closed")
    }

    fn running(&self) -> usize {
        self.size.saturating_sub(self.free.available_permits())
    }

    fn ended(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }

    /// Waits until no job has ended for a while; how many had.
    async fn starved(&self) -> u64 {
        let mut ended = self.ended();
        loop {
            tokio::time::sleep(STARVED_AFTER).await;
            let now = self.ended();
            if now == ended {
                return now;
            }
            ended = now;
        }
    }

    /// Has the thread do it, and waits for what comes of it.
    fn give<T: Send + 'static>(
        &self,
        thread: OwnedSemaphorePermit,
        work: Arc<impl Fn() -> T + Send + Sync + 'static>,
    ) -> impl Future<Output = T> {
        let (asker, answer) = oneshot::channel();
        let ended = Arc::clone(&self.ended);
        let job: Job = Box::new(move || {
            let done = catch_unwind(AssertUnwindSafe(|| work()));
            ended.fetch_add(1, Ordering::Relaxed);
            // Together: whoever is woken first may have put this thread aside before it comes to the second.
            drop(asker.send((done, thread)));
        });
        self.jobs.send(job).expect("the threads end with the handle");
        async {
            let (done, _thread): (Result<T, Box<dyn Any + Send>>, _) = answer.await.expect("a job answers");
            done.unwrap_or_else(|panic| resume_unwind(panic))
        }
    }
}

impl Free<'_> {
    /// Has the thread do it, and another one too if this one is starved meanwhile. Cancel-safe: work that has begun is finished and thrown away.
    ///
    /// # Panics
    /// As the work does.
    pub async fn run<T: Send + 'static>(self, work: impl Fn() -> T + Send + Sync + 'static) -> T {
        let work = Arc::new(work);
        let mut done = pin!(self.pool.give(self.thread, Arc::clone(&work)));
        if self.pool.standing == Standing::Steady {
            return done.await;
        }
        let again = tokio::select! {
            biased;
            done = &mut done => return done,
            again = self.workers.steady() => again,
        };
        tokio::select! {
            done = done => done,
            done = again.pool.give(again.thread, work) => done,
        }
    }
}

impl Standing {
    /// This thread stands back so far from now on; elsewhere than on Linux it does not, since it would be the whole process.
    fn take(self) {
        #[cfg(target_os = "linux")]
        {
            if self == Self::Spare {
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
    if thread_schedule_policy()? == idle {
        return Ok(());
    }
    set.and(Err(thread_priority::Error::Priority("the system does not do as it says")))
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
    use futures_util::FutureExt;
    use futures_util::future::poll_immediate;

    use super::*;

    /// The thread's name, niceness and policy. Of proc(5)'s fields these are the 19th and the 41st; the second ends with the last parenthesis.
    fn standing() -> (String, Option<i32>, Option<i32>) {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap_or_default();
        let field = |number: usize| stat.rsplit(") ").next()?.split(' ').nth(number - 3)?.parse().ok();
        (std::thread::current().name().unwrap_or_default().to_owned(), field(19), field(41))
    }

    #[tokio::test]
    async fn work_is_done_by_threads_that_stand_back_and_survive_a_panic() {
        const SCHED_IDLE: i32 = 5;
        let workers = Workers::start(3);
        let failing = workers.free().await.run(|| panic!("as it should"));
        assert!(AssertUnwindSafe(failing).catch_unwind().await.is_err());
        for number in 0..4 {
            let thread = workers.spare.free().await;
            let (name, _, policy) = workers.spare.give(thread, Arc::new(standing)).await;
            assert!(["hashing-0", "hashing-1"].contains(&name.as_str()), "{number}: {name}");
            assert!(cfg!(not(target_os = "linux")) || policy == Some(SCHED_IDLE), "{number}: {policy:?}");
        }
        assert_eq!(workers.running(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn passwords_are_hashed_also_where_messages_leave_no_core_to_those_that_stand_back_altogether() {
        let (_, own_nice, own_policy) = standing();
        let workers = Workers::start(2);
        let starved = workers.free().await;
        for _ in 0..2 {
            let (name, nice, policy) = workers.free().await.run(standing).await;
            assert_eq!(name, "steady-0");
            let expected = (own_nice.map(|own| (own + 10).min(19)), own_policy);
            assert!(cfg!(not(target_os = "linux")) || (nice, policy) == expected, "{nice:?} {policy:?}");
        }
        assert_eq!(workers.running(), 1);
        drop(starved);
        assert_eq!(poll_immediate(workers.free()).await.map(|free| free.pool.standing), Some(Standing::Spare));
    }

    #[tokio::test(start_paused = true)]
    async fn a_password_that_has_come_to_a_starved_thread_is_hashed_by_another() {
        let workers = Workers::start(2);
        let (release, held) = mpsc::channel::<()>();
        let held = Mutex::new(held);
        let work = move || {
            let (name, ..) = standing();
            if name == "hashing-0" {
                let _ = held.lock().unwrap_or_else(PoisonError::into_inner).recv();
            }
            name
        };
        assert_eq!(workers.free().await.run(work).await, "steady-0");
        assert_eq!(workers.running(), 1);
        drop(release);
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
        assert_eq!(waiting.await.pool.standing, Standing::Spare);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waited_while_they_were_starved_waits_for_them_again_once_they_get_on() {
        let workers = Workers::start(1);
        let (busy, other) = (workers.free().await, workers.free().await);
        assert_eq!(other.pool.standing, Standing::Steady);
        let mut waiting = pin!(workers.free());
        assert!(poll_immediate(&mut waiting).await.is_none());
        tokio::time::advance(STARVED_AFTER * 2).await;
        assert!(poll_immediate(&mut waiting).await.is_none());
        workers.spare.ended.fetch_add(1, Ordering::Relaxed);
        drop(other);
        assert!(poll_immediate(&mut waiting).await.is_none());
        drop(busy);
        assert_eq!(waiting.await.pool.standing, Standing::Spare);
    }
}

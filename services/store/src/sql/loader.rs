//! Questions that many ask at one time, put to the database together.
//!
//! When a node dies, thousands come to another one and each asks the same two or three things. A statement for each costs a way to the
//! database for each; so those that come while statements are under way go together with the next one (the DataLoader pattern). One that
//! comes alone goes at once.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use crate::StoreError;

/// Statements of one loader at one time.
const STATEMENTS_MAX: usize = 2;
/// Questions in one statement.
const QUESTIONS_MAX: usize = 256;
/// From the beginning of one statement to that of the next, unless this many wait already: a statement costs much the same whatever is in it.
const PACE: Duration = Duration::from_millis(2);
const QUESTIONS_ENOUGH: usize = 64;
/// Questions that wait for their statement.
const WAITING_MAX: usize = 65_536;

/// How long a statement may take: somewhat longer than a server gives it. Others wait for its place.
const STATEMENT_LIMIT: Duration = Duration::from_secs(6);

/// The answers to some questions, in their order.
type Answers<A> = Pin<Box<dyn Future<Output = Result<Vec<Result<A, StoreError>>, StoreError>> + Send>>;
type Load<Q, A> = dyn Fn(Vec<Q>) -> Answers<A> + Send + Sync;

/// Questions, and who waits for the answer of each.
type Together<Q, A> = (Vec<Q>, Vec<oneshot::Sender<Result<A, StoreError>>>);

/// A question and who waits for its answer.
type Waiting<Q, A> = (Q, oneshot::Sender<Result<A, StoreError>>);

/// Puts questions of one kind together.
pub(crate) struct Loader<Q, A> {
    shared: Arc<Shared<Q, A>>,
    tasks: TaskTracker,
}

struct Shared<Q, A> {
    queue: Mutex<Queue<Q, A>>,
    load: Box<Load<Q, A>>,
}

struct Queue<Q, A> {
    waiting: VecDeque<Waiting<Q, A>>,
    /// Statements under way.
    running: usize,
    /// When the last one began.
    began: Option<Instant>,
}

impl<Q: Send + 'static, A: Send + 'static> Loader<Q, A> {
    /// `load` gives as many answers as it is given questions. Statements run as tasks of `tasks`.
    pub fn new(tasks: &TaskTracker, load: impl Fn(Vec<Q>) -> Answers<A> + Send + Sync + 'static) -> Self {
        let queue = Mutex::new(Queue { waiting: VecDeque::new(), running: 0, began: None });
        Self { shared: Arc::new(Shared { queue, load: Box::new(load) }), tasks: tasks.clone() }
    }

    /// The answer, by a statement that begins after this call. Cancel-safe.
    ///
    /// # Errors
    /// The statement's, which all hear that are in it; or too many wait.
    pub async fn ask(&self, question: Q) -> Result<A, StoreError> {
        let (asker, answer) = oneshot::channel();
        let begins = {
            let mut queue = self.shared.lock();
            if queue.waiting.len() >= WAITING_MAX {
                return Err(StoreError::unavailable("too many questions wait for the database"));
            }
            queue.waiting.push_back((question, asker));
            let begins = queue.running < STATEMENTS_MAX;
            queue.running += usize::from(begins);
            begins
        };
        if begins {
            self.tasks.spawn(Arc::clone(&self.shared).run());
        }
        answer.await.unwrap_or_else(|_| Err(StoreError::closed()))
    }
}

impl<Q, A> Shared<Q, A> {
    fn lock(&self) -> MutexGuard<'_, Queue<Q, A>> {
        // A panic while holding the lock leaves a plain queue behind.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One statement after the other, until nobody waits.
    async fn run(self: Arc<Self>) {
        // Those who come at the same time get into the first one.
        tokio::task::yield_now().await;
        while let Some((questions, askers)) = self.take_in_time().await {
            let load = AssertUnwindSafe(timeout(STATEMENT_LIMIT, (self.load)(questions))).catch_unwind();
            let answers = match load.await {
                Ok(Ok(answers)) => answers,
                Ok(Err(_)) => Err(StoreError::unavailable("the database did not answer in time")),
                // A place that is lost would be missed by all who ask later.
                Err(_) => Err(StoreError::corrupt("an answer of the database could not be taken")),
            };
            match answers {
                Ok(answers) => {
                    debug_assert_eq!(answers.len(), askers.len(), "an answer for each");
                    for (asker, answer) in askers.into_iter().zip(answers) {
                        let _ = asker.send(answer);
                    }
                }
                Err(error) => {
                    for asker in askers {
                        let _ = asker.send(Err(error.clone()));
                    }
                }
            }
        }
    }

    /// [`Shared::take`], some time after the last statement began.
    async fn take_in_time(&self) -> Option<Together<Q, A>> {
        while let Some(moment) = self.next_moment().filter(|moment| Instant::now() < *moment) {
            tokio::time::sleep_until(moment).await;
        }
        self.take()
    }

    /// When the next statement may begin; `None`: at once, or there is none.
    fn next_moment(&self) -> Option<Instant> {
        let queue = self.lock();
        let are_few = (1..QUESTIONS_ENOUGH).contains(&queue.waiting.len());
        queue.began.map(|began| began + PACE).filter(|_| are_few)
    }

    /// Those who are in the next statement; `None`: nobody waits, and this was the last of its task.
    fn take(&self) -> Option<Together<Q, A>> {
        let mut queue = self.lock();
        // Whoever has given up is not asked for.
        queue.waiting.retain(|(_, asker)| !asker.is_closed());
        let count = queue.waiting.len().min(QUESTIONS_MAX);
        if count == 0 {
            queue.running -= 1;
            queue.waiting.shrink_to(QUESTIONS_MAX);
            return None;
        }
        queue.began = Some(Instant::now());
        Some(queue.waiting.drain(..count).unzip())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use tokio::sync::Semaphore;

    use super::*;

    /// Of the statements.
    type Sizes = Arc<Mutex<Vec<usize>>>;

    /// Doubles numbers, a statement a permit.
    fn doubling() -> (Loader<usize, usize>, Arc<Semaphore>, Sizes) {
        let (permits, sizes) = (Arc::new(Semaphore::new(0)), Sizes::default());
        let (gate, noted) = (Arc::clone(&permits), Arc::clone(&sizes));
        let loader = Loader::new(&TaskTracker::new(), move |questions: Vec<usize>| {
            let gate = Arc::clone(&gate);
            noted.lock().expect("no panic").push(questions.len());
            Box::pin(async move {
                gate.acquire().await.expect("open").forget();
                assert!(!questions.contains(&0), "nobody asks for nothing");
                if questions.contains(&13) {
                    return Err(StoreError::Full);
                }
                let answer = |number| if number == 11 { Err(StoreError::corrupt("eleven")) } else { Ok(number * 2) };
                Ok(questions.into_iter().map(answer).collect())
            })
        });
        (loader, permits, sizes)
    }

    #[tokio::test]
    async fn those_who_ask_at_one_time_get_their_own_answers_from_few_statements() {
        let (loader, permits, sizes) = doubling();
        permits.add_permits(100);
        let answers = join_all((0..1_000).map(|number| loader.ask(number + 100))).await;
        for (number, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer.expect("an answer"), (number + 100) * 2);
        }
        assert_eq!(*sizes.lock().expect("no panic"), [256, 256, 256, 232]);
        assert_eq!(loader.ask(7).await.expect("an answer"), 14, "and one alone gets his too");
        while loader.shared.lock().running > 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn whoever_asks_while_statements_are_under_way_is_in_the_next_one_and_whoever_gives_up_is_in_none() {
        let (loader, permits, sizes) = doubling();
        let (loader, tasks) = (Arc::new(loader), TaskTracker::new());
        let ask = |number| {
            let loader = Arc::clone(&loader);
            tasks.spawn(async move { loader.ask(number).await })
        };
        let mut first = Vec::new();
        for number in 0..STATEMENTS_MAX {
            first.push(ask(number + 1));
            while sizes.lock().expect("no panic").len() <= number {
                tokio::task::yield_now().await;
            }
        }
        let (second, given_up) = ([ask(20), ask(21)], ask(22));
        while loader.shared.lock().waiting.len() < 3 {
            tokio::task::yield_now().await;
        }
        given_up.abort();
        assert!(given_up.await.is_err());
        permits.add_permits(100);
        for (number, answer) in first.into_iter().chain(second).zip([2, 4, 40, 42]).map(|(task, answer)| (answer, task))
        {
            assert_eq!(answer.await.expect("no panic").expect("an answer"), number);
        }
        assert_eq!(*sizes.lock().expect("no panic"), [1, 1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn statements_that_follow_each_other_keep_a_distance_unless_many_wait() {
        let (loader, permits, sizes) = doubling();
        permits.add_permits(100);
        let began = Instant::now();
        loader.ask(1).await.expect("an answer");
        assert_eq!(began.elapsed(), Duration::ZERO, "one alone goes at once");
        loader.ask(2).await.expect("an answer");
        assert!(began.elapsed() >= PACE, "{:?}", began.elapsed());
        let again = Instant::now();
        join_all((0..QUESTIONS_ENOUGH).map(|number| loader.ask(number + 100))).await;
        assert_eq!(again.elapsed(), Duration::ZERO);
        assert_eq!(*sizes.lock().expect("no panic"), [1, 1, QUESTIONS_ENOUGH]);
    }

    #[tokio::test]
    async fn a_statement_that_fails_is_heard_of_by_those_in_it_and_the_next_one_goes_on() {
        let (loader, permits, _) = doubling();
        permits.add_permits(100);
        let answers = join_all([13, 14].map(|number| loader.ask(number))).await;
        assert!(answers.iter().all(|answer| matches!(answer, Err(StoreError::Full))), "{answers:?}");
        for _ in 0..STATEMENTS_MAX {
            assert!(loader.ask(0).await.is_err(), "a panic");
        }
        assert_eq!(loader.ask(14).await.expect("an answer"), 28);
        let answers = join_all([11, 12].map(|number| loader.ask(number))).await;
        assert!(matches!(answers[..], [Err(_), Ok(24)]), "each has an error of its own: {answers:?}");
    }
}

//! All sockets of a measurement, dealt to a few threads, and the playing of scripts on them.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use mio::Waker;
use snug_protocol::RoomId;
use snug_protocol::frame::Cursor;

use crate::clock::{SECOND, now_ns};
use crate::figures::{Spans, Window};
use crate::machine::CpuSpan;
use crate::observer::{Observer, Sample};
use crate::receiver::{Due, Order, Receiver, Shared};
use crate::script::{Script, Verdict};
use crate::socket::Spec;

/// What the names of receiving threads begin with.
pub const THREAD_NAME: &str = "receiver-";
/// From the order to play to the script's start, so that every thread has it in time.
const LEAD_NS: u64 = 50_000_000;
/// How long deliveries are waited for when none comes any more.
const SILENCE: Duration = Duration::from_secs(3);
/// How long they are waited for at all.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);
/// Between two looks at what has happened.
const LOOK: Duration = Duration::from_millis(100);

struct Thread {
    orders: Sender<Order>,
    waker: Waker,
    shared: Arc<Shared>,
    join: JoinHandle<()>,
}

/// Open sockets.
pub struct Field {
    threads: Vec<Thread>,
    rooms: Vec<RoomId>,
    /// What was opened, so that it can be opened again.
    specs: Vec<Spec>,
    /// What happened while sockets were opened: deliveries of a script that is being played go on.
    meanwhile: Window,
}

/// How opening went.
#[derive(Debug, Clone, Default)]
pub struct Opened {
    /// From the first to the last.
    pub took: Duration,
    /// Sockets that could not be opened.
    pub failed: u64,
    /// Of each socket.
    pub spans: Spans,
}

/// What a script's playing came to.
#[derive(Debug)]
pub struct Played {
    /// Everything that happened.
    pub window: Window,
    /// What the logs hold.
    pub verdict: Verdict,
    /// Deliveries that should have been and were not.
    pub missing: u64,
    /// Messages of which nobody knows what became when it was given up waiting. Others of them may still come.
    pub unanswered: u64,
    /// Messages a second that should have been sent.
    pub offered: f64,
    /// Deliveries a second from the start to the last of them.
    pub deliveries_per_second: f64,
    /// From the start to the last delivery.
    pub seconds: f64,
    /// How much of that came after the last message was due.
    pub overdue: f64,
    /// CPU time and memory of the watched processes meanwhile, and of the tool's own threads.
    pub cpu: CpuSpan,
    /// Second by second.
    pub samples: Vec<Sample>,
}

impl Field {
    /// No sockets yet, for these rooms, on so many threads.
    ///
    /// # Errors
    /// The system's.
    pub fn new(threads: usize, rooms: Vec<RoomId>) -> anyhow::Result<Self> {
        let threads = (0..threads.max(1)).map(|number| {
            let (orders, queue) = channel();
            let shared = Arc::<Shared>::default();
            let (receiver, waker) = Receiver::new(queue, Arc::clone(&shared))?;
            let join = std::thread::Builder::new().name(format!("{THREAD_NAME}{number}")).spawn(move || {
                if let Err(error) = receiver.run() {
                    eprintln!("a receiving thread ended: {error}");
                }
            })?;
            Ok::<_, std::io::Error>(Thread { orders, waker, shared, join })
        });
        Ok(Self {
            threads: threads.collect::<std::io::Result<_>>()?,
            rooms,
            specs: Vec::new(),
            meanwhile: Window::default(),
        })
    }

    fn order(&self, thread: usize, order: Order) -> anyhow::Result<()> {
        let thread = &self.threads[thread];
        thread.orders.send(order).ok().context("a receiving thread has ended")?;
        Ok(thread.waker.wake()?)
    }

    fn order_all(&self, make: impl Fn() -> Order) -> anyhow::Result<()> {
        (0..self.threads.len()).try_for_each(|thread| self.order(thread, make()))
    }

    fn open_count(&self) -> usize {
        self.threads.iter().map(|thread| thread.shared.open()).sum()
    }

    /// Takes what has happened on all threads since the last call.
    fn collect(&mut self, window: &mut Window) {
        window.merge(&std::mem::take(&mut self.meanwhile));
        self.threads.iter().for_each(|thread| thread.shared.take(window));
    }

    /// The thread of a spec: writers by their number, so that a writer finds its thread when it is opened again.
    fn thread_of(&self, place: usize, spec: &Spec) -> usize {
        spec.writer.map_or(place, |writer| writer as usize) % self.threads.len()
    }

    /// Opens these, in addition to what is open, and waits until all follow their rooms, at most so long.
    ///
    /// # Errors
    /// Not all can be opened.
    pub fn open(&mut self, specs: Vec<Spec>, limit: Duration) -> anyhow::Result<Opened> {
        let opened = self.try_open(specs, limit)?;
        ensure!(
            opened.failed == 0,
            "{} sockets could not be opened; are the nodes' limits high enough?",
            opened.failed
        );
        Ok(opened)
    }

    fn try_open(&mut self, specs: Vec<Spec>, limit: Duration) -> anyhow::Result<Opened> {
        let (began, count) = (now_ns(), specs.len() as u64);
        let mut before = Window::default();
        self.collect(&mut before);
        let mut dealt: Vec<Vec<Spec>> = vec![Vec::new(); self.threads.len()];
        for (place, spec) in specs.iter().enumerate() {
            dealt[self.thread_of(place, spec)].push(spec.clone());
        }
        self.specs.extend(specs);
        for (thread, specs) in dealt.into_iter().enumerate() {
            self.order(thread, Order::Open(specs))?;
        }
        let mut window = Window::default();
        while window.counts.opened + window.counts.unopened < count {
            let took = now_ns() - began;
            if took > u64::try_from(limit.as_nanos())? {
                bail!("{} of {count} sockets are open after {:.0} s", window.counts.opened, limit.as_secs_f64());
            }
            std::thread::sleep(Duration::from_millis(5));
            self.collect(&mut window);
        }
        let took = Duration::from_nanos(now_ns() - began);
        let opened = Opened { took, failed: window.counts.unopened, spans: window.opening.clone() };
        self.meanwhile = before;
        self.meanwhile.merge(&window);
        Ok(opened)
    }

    /// Drops every socket and opens all of them anew: after a step that was too much, when servers have closed some.
    ///
    /// # Errors
    /// Not all can be opened.
    pub fn open_again(&mut self) -> anyhow::Result<()> {
        self.drop_sockets(None)?;
        let specs = std::mem::take(&mut self.specs);
        self.open(specs, Duration::from_secs(60)).map(|_| ())
    }

    /// Drops the sockets of one group, or all, as a crash would; returns them with the cursors that they would come back with.
    ///
    /// # Errors
    /// A thread has ended.
    pub fn drop_sockets(&mut self, group: Option<usize>) -> anyhow::Result<Vec<Spec>> {
        let (reply, answers) = channel();
        self.order_all(|| Order::Drop { group, to: reply.clone() })?;
        drop(reply);
        Ok(answers.iter().flatten().collect())
    }

    /// Stops reading the sockets of a group, or reads them again.
    ///
    /// # Errors
    /// A thread has ended.
    pub fn deafen(&self, group: usize, deaf: bool) -> anyhow::Result<()> {
        self.order_all(|| Order::Deafen { group, deaf })
    }

    /// Where the rooms' logs are, as a client that has seen everything would say.
    ///
    /// # Errors
    /// A thread has ended.
    pub fn cursors(&self) -> anyhow::Result<Vec<Option<Cursor>>> {
        let mut cursors: Vec<Option<Cursor>> = vec![None; self.rooms.len()];
        for thread in 0..self.threads.len() {
            let (reply, answer) = channel();
            self.order(thread, Order::Tell(reply))?;
            for (known, told) in cursors.iter_mut().zip(answer.recv()?) {
                let newer = told.filter(|told| known.as_ref().is_none_or(|known| known.seq < told.seq));
                *known = newer.or(known.take());
            }
        }
        Ok(cursors)
    }

    /// The rooms with their heads, for a script.
    ///
    /// # Errors
    /// A thread has ended.
    pub fn heads(&self) -> anyhow::Result<Vec<(RoomId, u64)>> {
        let cursors = self.cursors()?;
        Ok(self
            .rooms
            .iter()
            .zip(cursors)
            .map(|(room, cursor)| (*room, cursor.map_or(0, |cursor| cursor.seq.0)))
            .collect())
    }

    /// How many sockets follow each room.
    #[must_use]
    pub fn followers(&self) -> Vec<u64> {
        let mut followers = vec![0; self.rooms.len()];
        let all = self.specs.iter().flat_map(|spec| &spec.follows);
        all.for_each(|follow| followers[follow.place] += 1);
        followers
    }

    /// What was opened.
    #[must_use]
    pub fn specs(&self) -> &[Spec] {
        &self.specs
    }

    /// Other sockets than before are meant by "all".
    pub fn retain_specs(&mut self, keep: impl FnMut(&Spec) -> bool) {
        self.specs.retain(keep);
    }

    /// Plays a script. `started` is called with its start, to tell whoever else sends; `meanwhile` runs beside it at every look.
    ///
    /// # Errors
    /// A thread has ended.
    pub fn play(
        &mut self,
        script: Script,
        observer: &mut Observer,
        started: impl FnOnce(u64) -> anyhow::Result<()>,
        mut meanwhile: impl FnMut(&mut Self, u64) -> anyhow::Result<()>,
    ) -> anyhow::Result<Played> {
        let (script, total) = (Arc::new(script), self.followers().iter().sum::<u64>());
        let last_due =
            script.lines().iter().filter_map(|line| line.shots.last()).map(|shot| shot.due_ns).max().unwrap_or(0);
        let mut dealt: Vec<Vec<Due>> = vec![Vec::new(); self.threads.len()];
        for (writer, line) in (0u32..).zip(script.lines()) {
            let own = line.shots.iter().zip(0u32..).filter(|(shot, _)| !shot.frame.is_empty());
            dealt[writer as usize % self.threads.len()].extend(own.map(|(shot, number)| (shot.due_ns, writer, number)));
        }
        // What happened before is nobody's business any more.
        let mut window = Window::default();
        self.collect(&mut window);
        window.clear();
        let start = now_ns() + LEAD_NS + script.len() * 100;
        script.begin(start);
        for (thread, mut due) in dealt.into_iter().enumerate() {
            due.sort_unstable();
            self.order(thread, Order::Play(Arc::clone(&script), due))?;
        }
        started(start)?;
        let mut recording = observer.begin(start);
        let (mut last_delivery, mut delivered) = (start, 0);
        loop {
            std::thread::sleep(LOOK);
            let mut latest = Window::default();
            self.collect(&mut latest);
            let now = now_ns();
            if latest.counts.delivered > 0 {
                last_delivery = now;
            }
            delivered += latest.counts.delivered;
            window.merge(&latest);
            recording.look(observer, now, &latest);
            meanwhile(self, now.saturating_sub(start))?;
            if now < start + last_due {
                continue;
            }
            let Verdict { committed, expected, .. } = script.verdict(&self.followers());
            // What is not in a log yet will be expected too.
            let all_there = answered(observer, &window, committed) >= script.len();
            let silent = now.saturating_sub(last_delivery.max(start + last_due)) > u64::try_from(SILENCE.as_nanos())?;
            let over = now > start + last_due + u64::try_from(DRAIN_LIMIT.as_nanos())?;
            if (all_there && delivered >= expected && (expected > 0 || total == 0)) || silent || over {
                break;
            }
        }
        let verdict = script.verdict(&self.followers());
        let seconds = (last_delivery.max(start + last_due) - start) as f64 / SECOND as f64;
        let messages = script.len() as f64;
        let unanswered = script.len().saturating_sub(answered(observer, &window, verdict.committed));
        let (cpu, samples) = recording.end(observer, now_ns());
        Ok(Played {
            unanswered,
            missing: verdict.expected.saturating_sub(window.counts.delivered),
            offered: if last_due == 0 { messages } else { (messages - 1.0) * SECOND as f64 / last_due as f64 },
            overdue: seconds - last_due as f64 / SECOND as f64,
            deliveries_per_second: window.counts.delivered as f64 / seconds.max(1e-9),
            seconds,
            window,
            verdict,
            cpu,
            samples,
        })
    }

    /// How many sockets follow their rooms now.
    #[must_use]
    pub fn open_now(&self) -> usize {
        self.open_count()
    }
}

/// Messages of which it is known what became. The floor acknowledges none, so there it is those that came.
fn answered(observer: &Observer, window: &Window, committed: u64) -> u64 {
    if observer.is_floor() { committed } else { window.counts.acknowledged + window.counts.refused }
}

impl Drop for Field {
    fn drop(&mut self) {
        for thread in self.threads.drain(..) {
            // One that has ended needs no order, and is only joined.
            let _ = thread.orders.send(Order::Stop);
            let _ = thread.waker.wake();
            let _ = thread.join.join();
        }
    }
}

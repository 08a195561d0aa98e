//! One thread with many sockets: it sends what is due, reads what comes, and checks it.
//!
//! One `epoll`, edge-triggered, one read buffer for all sockets, a timer of its own for the next message that is due. Between every few
//! sockets it looks at the clock, so that a flood of deliveries makes no message late by more than a fraction of a millisecond, as long as
//! it can send what is due; how late each was is counted all the same. When something came is the kernel's word, so that the thread need
//! not hurry to read it ([`pace`]).

mod pace;
mod reading;

use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver as Orders, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use snug_protocol::frame::Cursor;

use crate::clock::{Timer, now_ns};
use crate::figures::Window;
use crate::machine::waited;
use crate::script::Script;
use crate::socket::{Buffer, Socket, Spec, State};

use pace::Pace;
use reading::{Log, Tally};

/// Sockets that are being opened by one thread at one time.
const OPENING_MAX: usize = 128;
/// Events that one look at `epoll` may bring.
const EVENTS: usize = 1024;
/// Sockets served between two looks at the clock.
const BETWEEN_LOOKS: usize = 16;
/// Messages that are sent between two such looks, so that one who is behind with sending goes on reading.
const SENDS_AT_ONCE: usize = 64;
/// What happened is told this often: to add up thousands of counters takes microseconds.
const TELL_EACH_NS: u64 = 10_000_000;
const WAKER: Token = Token(usize::MAX);
const TIMER: Token = Token(usize::MAX - 1);

/// A message that is due: when, from the script's start, whose, and which.
pub type Due = (u64, u32, u32);

/// What a thread is told to do.
pub enum Order {
    /// Open these.
    Open(Vec<Spec>),
    /// Play this; the thread's own part of it, in order of time.
    Play(Arc<Script>, Vec<Due>),
    /// Read the sockets of this group no longer, or again.
    Deafen {
        /// Which.
        group: usize,
        /// No longer.
        deaf: bool,
    },
    /// Drop all sockets of this group, or of all, without goodbye; tell what each was, with the cursors it would come back with.
    Drop {
        /// Which.
        group: Option<usize>,
        /// Who is told.
        to: Sender<Vec<Spec>>,
    },
    /// Tell where the logs of the rooms are, by place; `None` for what this thread does not follow.
    Tell(Sender<Vec<Option<Cursor>>>),
    /// End.
    Stop,
}

/// What others see of a thread.
#[derive(Default)]
pub struct Shared {
    window: Mutex<Window>,
    open: AtomicUsize,
}

impl Shared {
    /// What happened since the last call, added to `into`.
    pub fn take(&self, into: &mut Window) {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        into.merge(&window);
        window.clear();
    }

    /// Sockets that follow their rooms.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

/// The thread's own.
pub struct Receiver {
    poll: Poll,
    timer: Timer,
    timer_set_for: u64,
    orders: Orders<Order>,
    shared: Arc<Shared>,
    sockets: Vec<Option<Socket>>,
    free: Vec<usize>,
    to_open: Vec<Spec>,
    opening: usize,
    /// Sockets by writer.
    writers: Vec<Option<usize>>,
    script: Arc<Script>,
    due: Vec<Due>,
    due_at: usize,
    logs: Vec<Option<Log>>,
    buffer: Buffer,
    window: Window,
    stopping: bool,
}

impl Receiver {
    /// A thread that has not begun, and what wakes it after an order was sent.
    ///
    /// # Errors
    /// The system's.
    pub fn new(orders: Orders<Order>, shared: Arc<Shared>) -> std::io::Result<(Self, Waker)> {
        let (poll, timer) = (Poll::new()?, Timer::new()?);
        let waker = Waker::new(poll.registry(), WAKER)?;
        poll.registry().register(&mut SourceFd(&timer.fd().as_raw_fd()), TIMER, Interest::READABLE)?;
        let receiver = Self {
            poll,
            timer,
            timer_set_for: 0,
            orders,
            shared,
            sockets: Vec::new(),
            free: Vec::new(),
            to_open: Vec::new(),
            opening: 0,
            writers: Vec::new(),
            script: Arc::new(Script::new(&[], Vec::new())),
            due: Vec::new(),
            due_at: 0,
            logs: Vec::new(),
            buffer: Buffer::default(),
            window: Window::default(),
            stopping: false,
        };
        Ok((receiver, waker))
    }

    /// Works until told to stop.
    ///
    /// # Errors
    /// `epoll`'s.
    pub fn run(mut self) -> std::io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        let (mut told_ns, mut is_told, mut pace) = (0, true, Pace::new(now_ns(), waited()));
        while !self.stopping {
            self.set_timer()?;
            match self.poll.poll(&mut events, (!is_told).then_some(Duration::from_nanos(TELL_EACH_NS))) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            let began_ns = now_ns();
            for (count, event) in events.iter().enumerate() {
                match event.token() {
                    WAKER => self.obey(&mut pace),
                    TIMER => self.timer_set_for = 0,
                    Token(place) => {
                        let ended = event.is_read_closed() || event.is_error();
                        self.serve(place, event.is_writable(), event.is_readable() || ended, ended);
                    }
                }
                if count % BETWEEN_LOOKS == 0 {
                    self.send_due();
                }
            }
            self.send_due();
            self.open_more();
            // Whoever waits for sockets to be open is told at once.
            let all_open = self.opening == 0 && self.window.counts.opened > 0;
            is_told = all_open || began_ns >= told_ns + TELL_EACH_NS;
            if is_told {
                self.publish();
                told_ns = began_ns;
            }
            let now_ns = now_ns();
            if let Some(rest) = pace.rest_after(Duration::from_nanos(now_ns - began_ns), now_ns, waited) {
                self.window.counts.rests += 1;
                std::thread::sleep(rest);
            }
        }
        Ok(())
    }

    fn publish(&mut self) {
        let mut window = self.shared.window.lock().unwrap_or_else(PoisonError::into_inner);
        window.merge(&self.window);
        drop(window);
        self.window.clear();
    }

    fn obey(&mut self, pace: &mut Pace) {
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Open(specs) => {
                    pace.begin(now_ns(), waited());
                    self.to_open.extend(specs.into_iter().rev());
                    self.open_more();
                }
                Order::Play(script, due) => {
                    (self.script, self.due, self.due_at) = (script, due, 0);
                    pace.begin(now_ns(), waited());
                }
                Order::Deafen { group, deaf } => self.deafen(group, deaf),
                Order::Drop { group, to } => {
                    // Who asked may have gone.
                    let _ = to.send(self.drop_group(group));
                }
                Order::Tell(to) => {
                    let _ = to.send(self.logs.iter().map(|log| log.as_ref().map(Log::cursor)).collect());
                }
                Order::Stop => self.stopping = true,
            }
        }
    }

    fn drop_group(&mut self, group: Option<usize>) -> Vec<Spec> {
        if group.is_none() {
            // Nobody is left to send what is due.
            (self.due, self.due_at) = (Vec::new(), 0);
        }
        let mut dropped = Vec::new();
        for place in 0..self.sockets.len() {
            let socket = self.sockets[place].as_ref();
            if let Some(socket) = socket.filter(|socket| group.is_none_or(|group| group == socket.spec.group)) {
                let mut spec = socket.spec.clone();
                for (follow, progress) in spec.follows.iter_mut().zip(&socket.progress) {
                    let log = self.logs.get(follow.place).and_then(Option::as_ref);
                    follow.cursor = log.map(|log| log.cursor_before(progress.next));
                }
                dropped.push(spec);
                self.forget(place);
            }
        }
        dropped
    }

    fn deafen(&mut self, group: usize, deaf: bool) {
        for place in 0..self.sockets.len() {
            if let Some(socket) = self.sockets[place].as_mut().filter(|socket| socket.spec.group == group) {
                socket.deaf = deaf;
                if !deaf {
                    // What has come since made its edge long ago.
                    self.serve(place, false, true, false);
                }
            }
        }
    }

    fn open_more(&mut self) {
        while self.opening < OPENING_MAX
            && let Some(spec) = self.to_open.pop()
        {
            let place = self.free.pop().unwrap_or(self.sockets.len());
            if place == self.sockets.len() {
                self.sockets.push(None);
            }
            let writer = spec.writer;
            let opened = Socket::open(spec, now_ns()).and_then(|mut socket| {
                let interest = Interest::READABLE | Interest::WRITABLE;
                self.poll.registry().register(&mut socket.stream, Token(place), interest)?;
                Ok(socket)
            });
            match opened {
                Ok(socket) => {
                    self.sockets[place] = Some(socket);
                    self.opening += 1;
                    if let Some(writer) = writer {
                        let writer = writer as usize;
                        self.writers.resize(self.writers.len().max(writer + 1), None);
                        self.writers[writer] = Some(place);
                    }
                }
                Err(_) => {
                    self.window.counts.unopened += 1;
                    self.free.push(place);
                }
            }
        }
    }

    fn serve(&mut self, place: usize, writable: bool, readable: bool, ended: bool) {
        let Some(socket) = self.sockets.get_mut(place).and_then(Option::as_mut) else { return };
        let was_live = socket.state == State::Live;
        let mut alive = true;
        if writable {
            alive = match socket.state {
                State::Connecting => socket.connected().is_ok(),
                _ => socket.write_on().is_ok(),
            };
        }
        if alive && readable && !socket.deaf {
            let mut tally = Tally { window: &mut self.window, script: &self.script, logs: &mut self.logs };
            alive = tally.read(socket, &mut self.buffer, ended);
        }
        let is_live = socket.state == State::Live;
        if is_live && !was_live {
            self.opening -= 1;
            self.window.counts.opened += 1;
            self.window.opening.add_ns(now_ns().saturating_sub(socket.begun_ns));
            self.shared.open.fetch_add(1, Ordering::Relaxed);
        }
        if !alive {
            if is_live {
                self.window.counts.closed += 1;
            } else {
                self.window.counts.unopened += 1;
            }
            self.forget(place);
        }
    }

    /// Drops a socket; the kernel tells the server.
    fn forget(&mut self, place: usize) {
        let Some(mut socket) = self.sockets[place].take() else { return };
        // Dropping it would do as well.
        let _ = self.poll.registry().deregister(&mut socket.stream);
        if socket.state == State::Live {
            self.shared.open.fetch_sub(1, Ordering::Relaxed);
        } else {
            self.opening -= 1;
        }
        if let Some(writer) = socket.spec.writer
            && let Some(known) = self.writers.get_mut(writer as usize)
            && *known == Some(place)
        {
            *known = None;
        }
        self.free.push(place);
    }

    fn set_timer(&mut self) -> std::io::Result<()> {
        let Some((due_ns, ..)) = self.due.get(self.due_at) else { return Ok(()) };
        let at_ns = self.script.start_ns().saturating_add(*due_ns);
        if at_ns != self.timer_set_for {
            self.timer.set(at_ns)?;
            self.timer_set_for = at_ns;
        }
        Ok(())
    }

    fn send_due(&mut self) {
        for _ in 0..SENDS_AT_ONCE {
            let Some((due_ns, writer, shot)) = self.due.get(self.due_at).copied() else { return };
            let (now, at_ns) = (now_ns(), self.script.start_ns().saturating_add(due_ns));
            if at_ns > now {
                return;
            }
            self.due_at += 1;
            self.window.sending.add_ns(now - at_ns);
            let place = self.writers.get(writer as usize).copied().flatten();
            let socket =
                place.and_then(|place| self.sockets[place].as_mut()).filter(|socket| socket.state == State::Live);
            let shot = &self.script.lines()[writer as usize].shots[shot as usize];
            // An error shows itself when the socket is read.
            match socket.map(|socket| socket.write(&shot.frame)) {
                Some(Ok(())) => self.window.counts.sent += 1,
                Some(Err(_)) | None => self.window.counts.refused += 1,
            }
        }
    }
}

//! The task behind a room: waits for whatever comes next and hands it on. Everything the room knows is owned here.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use snug_protocol::frame::ClientFrame;
use snug_protocol::{DeviceId, EnvelopeHash, ErrorCode, RoomId, Seq};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::directory::Directory;
use super::following::{Following, Overdue, Resyncing};
use super::governance::{Fault, Governance};
use super::marks::Margin;
use super::outbox::{Draft, Outbox};
use super::recipients::Recipients;
use super::{Command, Event, History};
use crate::config::ClientConfig;
use crate::crypto::Device;
use crate::error::ClientError;
use crate::http::{Http, LogPage};
use crate::link::{ANSWERS_MAX, Answer, INBOX_MAX, Link, LinkRequest, LinkState, News, Port, Session};
use crate::log::{LogEntry, RoomLog};
use crate::wire::control;

/// Own acknowledged messages that are remembered, to be told as lost should the server lose them.
pub(super) const OWN_MAX: usize = 256;

/// An own message that was acknowledged.
#[derive(Clone, Debug)]
pub(super) struct Own {
    pub(super) seq: Seq,
    pub(super) hash: EnvelopeHash,
    pub(super) text: String,
}

/// What a room's task is made of.
pub(crate) struct ActorParts {
    pub(crate) room: RoomId,
    /// As of the room's opening, and what was wrong in it.
    pub(crate) governance: Arc<Governance>,
    pub(crate) faults: Vec<Fault>,
    /// Where the handles see who governs.
    pub(crate) published: watch::Sender<Arc<Governance>>,
    /// What the device is called here.
    pub(crate) own_name: Option<String>,
    /// The epoch under which it last introduced itself.
    pub(crate) introduced: Option<u32>,
    pub(crate) device: Arc<Device>,
    pub(crate) http: Http,
    pub(crate) link: Link,
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) drafts: mpsc::Receiver<Draft>,
}

/// Everything a room knows.
pub(super) struct Actor {
    pub(super) room: RoomId,
    pub(super) device: Arc<Device>,
    pub(super) http: Http,
    pub(super) link: Link,
    pub(super) config: Arc<ClientConfig>,
    pub(super) log: RoomLog,
    pub(super) governance: Arc<Governance>,
    pub(super) published: watch::Sender<Arc<Governance>>,
    pub(super) recipients: Recipients,
    pub(super) margin: Margin,
    pub(super) directory: Directory,
    /// What the device is called here.
    pub(super) own_name: Option<String>,
    /// The epoch under which the device last introduced itself.
    pub(super) introduced: Option<u32>,
    /// The reader was told that this epoch's key is missing.
    pub(super) told_missing: Option<u32>,
    pub(super) outbox: Outbox,
    pub(super) own: VecDeque<Own>,
    pub(super) session: Option<Session>,
    pub(super) following: Following,
    pub(super) overdue: Option<Overdue>,
    /// The largest head heard of.
    pub(super) head: Seq,
    pub(super) resyncing: Option<Resyncing>,
    pub(super) overrun: Arc<AtomicBool>,
    here: HashSet<DeviceId>,
    here_count: u32,
    events: Option<mpsc::Sender<Event>>,
    /// Events that the reader has not had room for; news wait while there are any.
    pending: VecDeque<Event>,
    /// Everything that came has been applied and handed on.
    pub(super) drained: bool,
    /// The reader was told that the connection is lost.
    lost: bool,
    /// Why the room is closed, once it is.
    pub(super) closed: Option<&'static str>,
}

/// Starts a room's task and its port on the link, and returns the task's future.
pub(crate) async fn start(parts: ActorParts, stop: CancellationToken) -> Result<impl Future<Output = ()>, ClientError> {
    let (inbox, news) = mpsc::channel(INBOX_MAX);
    let (answers, answer_queue) = mpsc::channel(ANSWERS_MAX);
    let overrun = Arc::new(AtomicBool::new(false));
    let port = Port { inbox, answers, overrun: Arc::clone(&overrun) };
    let register = LinkRequest::Register { room: parts.room, port };
    parts.link.requests.send(register).await.map_err(|_| ClientError::Closed)?;
    let mut log = RoomLog::new(parts.room);
    // Where the newest link of the chain was shown, the log must have it.
    let newest = parts.governance.chain.newest();
    log.acknowledge(newest.seq, newest.hash);
    let recipients = Recipients::new(&parts.config.timing);
    let mut actor = Actor {
        room: parts.room,
        device: parts.device,
        http: parts.http,
        link: parts.link,
        config: parts.config,
        log,
        governance: parts.governance,
        published: parts.published,
        recipients,
        margin: Margin::default(),
        directory: Directory::new(parts.room),
        own_name: parts.own_name,
        introduced: parts.introduced,
        told_missing: None,
        outbox: Outbox::new(),
        own: VecDeque::new(),
        session: None,
        following: Following::No,
        overdue: None,
        head: Seq::ZERO,
        resyncing: None,
        overrun,
        here: HashSet::new(),
        here_count: 0,
        events: None,
        pending: VecDeque::new(),
        drained: true,
        lost: false,
        closed: None,
    };
    actor.accuse(parts.faults);
    Ok(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = actor.run(news, answer_queue, parts.commands, parts.drafts) => {}
        }
    })
}

impl Actor {
    async fn run(
        mut self,
        mut news: mpsc::Receiver<News>,
        mut answers: mpsc::Receiver<Answer>,
        mut commands: mpsc::Receiver<Command>,
        mut drafts: mpsc::Receiver<Draft>,
    ) {
        // The session may have begun before this room did.
        self.link.state.mark_changed();
        while self.closed.is_none() {
            self.drained = news.is_empty() && self.pending.is_empty();
            if self.drained {
                self.caught_up().await;
            }
            self.send_out().await;
            let wake = self.wake_at();
            let events = self.events.clone();
            let asked = tokio::select! {
                changed = self.link.state.changed() => match changed {
                    Ok(()) => Next::Link,
                    Err(_) => return,
                },
                Some(answer) = answers.recv() => Next::Answer(answer),
                free = reserve(events), if !self.pending.is_empty() => Next::Free(free),
                Some(news) = news.recv(), if self.pending.is_empty() => Next::News(news),
                command = commands.recv() => match command {
                    Some(command) => Next::Command(command),
                    None => break,
                },
                Some(draft) = drafts.recv(), if self.can_seal() && !self.outbox.has_returned() => Next::Draft(draft),
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => Next::Time,
            };
            self.step(asked).await;
        }
        self.close(&mut drafts).await;
    }

    async fn step(&mut self, next: Next) {
        match next {
            Next::Link => self.link_changed().await,
            Next::Answer(answer) => self.answered(answer).await,
            Next::Free(Some(permit)) => {
                if let Some(event) = self.pending.pop_front() {
                    permit.send(event);
                }
            }
            Next::Free(None) => {
                // Nobody reads any more.
                self.events = None;
                self.pending.clear();
            }
            Next::News(news) => self.heard(news).await,
            Next::Command(command) => self.obey(command).await,
            Next::Draft(draft) => self.seal(draft),
            Next::Time => self.time_passed().await,
        }
    }

    async fn link_changed(&mut self) {
        let state = self.link.state.borrow_and_update().clone();
        if let (LinkState::Up(session), Some(known)) = (&state, &self.session)
            && session.number == known.number
        {
            return;
        }
        self.outbox.disconnected();
        self.following = Following::No;
        match state {
            LinkState::Up(session) => {
                self.session = Some(session);
                if std::mem::take(&mut self.lost) {
                    self.tell(Event::ConnectionRestored);
                }
                self.follow().await;
            }
            LinkState::Down => {
                if self.session.take().is_some() && !std::mem::replace(&mut self.lost, true) {
                    self.tell(Event::ConnectionLost);
                }
            }
        }
    }

    /// Queues an event for the reader, if there is one.
    pub(super) fn tell(&mut self, event: Event) {
        if self.events.is_some() {
            self.pending.push_back(event);
        }
    }

    /// Queues the violations found since the last call.
    pub(super) fn tell_violations(&mut self) {
        for violation in self.log.take_fresh_violations() {
            tracing::warn!(room = %self.room, seq = %violation.seq, code = violation.code.as_str(), "a promise of the log was broken");
            self.tell(Event::Violation(violation));
        }
    }

    /// A list of some is none: it would not be told who of them goes.
    pub(super) fn set_here(&mut self, here: Vec<DeviceId>, here_count: u32) {
        let is_whole = usize::try_from(here_count).is_ok_and(|count| here.len() >= count);
        self.here = if is_whole { here.into_iter().collect() } else { HashSet::new() };
        self.here_count = here_count;
    }

    /// Who is here, in place of what was known; `None`: only how many.
    pub(super) fn stands(&mut self, here: Option<Vec<DeviceId>>, here_count: u32) {
        let is_listed = here.is_some();
        let before = std::mem::take(&mut self.here);
        self.set_here(here.unwrap_or_default(), here_count);
        if is_listed {
            let gone = before.difference(&self.here).map(|device| (*device, false));
            let come = self.here.difference(&before).map(|device| (*device, true));
            let changes: Vec<_> = gone.chain(come).collect();
            for (device, here) in changes {
                self.tell(Event::Presence { device, here, here_count });
            }
        }
        self.tell(Event::HereCount { here_count });
    }

    pub(super) fn presence(&mut self, device: DeviceId, here: bool, here_count: u32) {
        if here {
            self.here.insert(device);
        } else {
            self.here.remove(&device);
        }
        self.here_count = here_count;
        self.tell(Event::Presence { device, here, here_count });
    }

    async fn obey(&mut self, command: Command) {
        // A caller that no longer waits for its answer is none of ours.
        match command {
            Command::Events { events } => {
                self.pending = self.events_of(self.log.newest_run()).into();
                self.pending.extend(self.log.violations().iter().cloned().map(Event::Violation));
                self.pending.extend(self.governance.missing().map(|epoch| Event::KeyMissing { epoch }));
                self.log.restart_paging();
                self.events = Some(events);
            }
            Command::Loaded { reply } => drop(reply.send(self.events_of(self.log.entries()))),
            Command::OlderFrom { reply } => drop(reply.send(self.log.older_from())),
            Command::Page { page, reply } => {
                let answer = self.page(page).await;
                drop(reply.send(answer));
            }
            Command::Members { members, reply } => {
                let governance = Arc::clone(&self.governance);
                drop(reply.send(members.iter().map(|member| self.directory.add(&governance, member)).collect()));
            }
            Command::Edge { reply } => drop(reply.send(self.log.edge())),
            Command::Govern { frame, key, reply } => {
                let answer = self.committed_link(&frame, key).await;
                drop(reply.send(answer));
            }
            Command::ReadChain { reply } => {
                let answer = self.read_chain().await;
                drop(reply.send(answer));
            }
            Command::DroppedOut { epoch, reply } => {
                let answer = self.dropped_out(epoch).await;
                drop(reply.send(answer));
            }
            Command::Here { reply } => drop(reply.send(self.here.iter().copied().collect())),
            Command::HereCount { reply } => drop(reply.send(self.here_count)),
            Command::Violations { reply } => drop(reply.send(self.log.violations().to_vec())),
            Command::Typing => {
                if let Some(session) = &self.session {
                    session.write_if_free(control(&ClientFrame::Typing { room: self.room }));
                }
            }
            Command::Close { code } => self.closed = Some(code),
        }
    }

    /// Opens a page and joins it to the log.
    async fn page(&mut self, page: LogPage) -> Result<History, ClientError> {
        if self.log.history().is_some_and(|history| history != page.head.history) {
            // The log has begun anew; following again will say so.
            self.reconnect().await;
            return Err(ClientError::Answer);
        }
        let from = page.head.from;
        let entries = self.open_page(page).await?;
        let events = self.events_of(entries.iter());
        self.log.insert_page(entries);
        self.tell_violations();
        Ok(History { events, from })
    }

    /// Opens all entries of a page's range, and notes what was said about them, in it and later.
    pub(super) async fn open_page(&mut self, page: LogPage) -> Result<Vec<LogEntry>, ClientError> {
        let mut entries = Vec::with_capacity(page.entries.len());
        for frame in &page.entries {
            let entry = self.open(frame).await?;
            self.note(&entry);
            if frame.seq() <= page.head.to {
                entries.push(entry);
            } else {
                self.log.compare_with(&entry);
            }
        }
        Ok(entries)
    }

    /// Asks the link for another session.
    pub(super) async fn reconnect(&mut self) {
        if let Some(session) = &self.session {
            let _ = self.link.requests.send(LinkRequest::Reconnect { number: session.number }).await;
        }
    }

    /// The room ends: whoever waits is told why.
    async fn close(mut self, drafts: &mut mpsc::Receiver<Draft>) {
        let code = self.closed.unwrap_or("closed");
        let refusal = ErrorCode::ALL.iter().find(|known| known.as_str() == code);
        let error = refusal.map_or(ClientError::Closed, |code| (*code).into());
        drafts.close();
        for draft in self.outbox.drain() {
            let _ = draft.done.send(Err(error.clone()));
        }
        while let Ok(draft) = drafts.try_recv() {
            let _ = draft.done.send(Err(error.clone()));
        }
        if let Some(session) = &self.session {
            session.write_if_free(control(&ClientFrame::Unfollow { room: self.room }));
        }
        let _ = self.link.requests.send(LinkRequest::Forget { room: self.room }).await;
        self.tell(Event::Closed { code });
        if let Some(events) = self.events.take() {
            for event in self.pending.drain(..) {
                if events.send(event).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Whether the port has dropped something since the room last followed.
    pub(super) fn is_overrun(&self) -> bool {
        self.overrun.load(Ordering::Acquire)
    }
}

/// What the task was woken for.
enum Next {
    Link,
    Answer(Answer),
    Free(Option<mpsc::OwnedPermit<Event>>),
    News(News),
    Command(Command),
    Draft(Draft),
    Time,
}

/// A place in the reader's queue; `None` if it is gone.
async fn reserve(events: Option<mpsc::Sender<Event>>) -> Option<mpsc::OwnedPermit<Event>> {
    events?.reserve_owned().await.ok()
}

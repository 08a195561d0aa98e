//! A running node: opening what it needs, accepting connections, and stopping without losing anything.

mod accept;
mod beside;
mod drain;
mod watching;

pub use accept::{Listen, Place, Places};
pub use beside::open_store_beside;
pub use drain::DRAIN_LIMIT;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use snug_bus::{Backplane, ConnectError, Listener, NodeId, RedisBackplane, RedisOptions, SharedLimits};
use snug_metrics::Counter;
use snug_store::{Durability, OpenError, PostgresOptions, SqliteOptions, Store, StoreError};
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::{GrantSecrets, Nonces, PepperError, Peppers, Tokens};
use crate::chat::Chat;
use crate::clock::Clock;
use crate::config::{ConfigError, Limits, Migrate, Settings};
use crate::events;
use crate::http::{self, Door, Handles, Readiness, RequestLimiter};
use crate::limit::{Buckets, JoinLimiter, Rate};
use crate::presence::Presence;
use crate::room::Rooms;
use crate::session::{FollowRates, SessionParts, SessionTable};
use crate::telemetry::{CollectorError, CountedRoster, HttpCounters, Sources};
use crate::tls::{self, TlsError};
use watching::Watching;

/// Connections waiting to be accepted.
const BACKLOG: u32 = 4096;
/// How often limiters forget, and expired rows are removed.
const SWEEP_PERIOD: Duration = Duration::from_secs(60);

/// Why a node does not start. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data folder cannot be used.
    #[error("the data folder {path} cannot be used: {source}; choose another with SNUG_DATA_DIR or make it writable")]
    DataDir {
        /// Which folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The database stopped answering in the middle of the start.
    #[error(transparent)]
    Database(#[from] StoreError),
    /// Redis cannot be used.
    #[error("{0}; correct SNUG_REDIS_URL or what it leads to, or unset it")]
    Redis(#[from] ConnectError),
    /// The pepper cannot be used.
    #[error(transparent)]
    Pepper(#[from] PepperError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The collector's address makes no sense.
    #[error(transparent)]
    Collector(#[from] CollectorError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; is another program using the port? Choose another with {setting}")]
    Listen {
        /// What the address comes from.
        setting: &'static str,
        /// Which address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// A node that is listening and not yet accepting.
pub struct Server<L = TcpListener> {
    listener: L,
    places: Arc<accept::Places>,
    tls: Option<tokio_rustls::TlsAcceptor>,
    router: axum::Router,
    handles: Handles,
    chores: Chores,
    settings: Settings,
    tasks: TaskTracker,
    /// Cancelled last: background tasks.
    stop: CancellationToken,
    /// Cancelled when sockets must close.
    close_sockets: CancellationToken,
    /// Other nodes of this process use the store too.
    leaves_store_open: bool,
    /// Its numbers, and who reads them.
    watching: Watching,
}

struct Chores {
    store: Store,
    chat: Chat,
    session: Arc<SessionParts>,
    door: Door,
    requests: RequestLimiter,
    clock: Clock,
    failed_sweeps: Arc<Counter>,
}

pub(crate) fn random_node() -> NodeId {
    let mut node = [0; 8];
    getrandom::fill(&mut node).expect("the system gives random bytes");
    NodeId(node)
}

/// Listens where `setting` says.
///
/// # Errors
/// The address cannot be listened on.
pub(crate) fn listen(address: SocketAddr, setting: &'static str) -> Result<TcpListener, StartError> {
    let open = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A restart must not wait for the last life's connections to be forgotten.
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    open().map_err(|source| StartError::Listen { setting, address, source })
}

/// Opens the database that `SNUG_DATABASE_URL` names or the one in the data folder, and brings its schema up to date unless
/// `SNUG_MIGRATE` is off.
///
/// # Errors
/// Folder or database cannot be used.
pub async fn open_store(settings: &Settings, tasks: &TaskTracker) -> Result<Store, StartError> {
    settings.check()?;
    if let Some(url) = &settings.database_url {
        let options = PostgresOptions {
            migrate: settings.migrate == Migrate::Auto,
            allow_weak: settings.allow_weak_durability,
            ..PostgresOptions::default()
        };
        return Ok(Store::open_postgres(url.as_str(), options, tasks).await?);
    }
    make_data_dir(&settings.data_dir)?;
    let options = SqliteOptions {
        bytes_max: settings.database_bytes_max,
        migrate: settings.migrate == Migrate::Auto,
        ..SqliteOptions::default()
    };
    Ok(Store::open_sqlite(&settings.database_path(), options, tasks).await?)
}

/// Makes the data folder, for its owner alone, unless it is there.
///
/// # Errors
/// It cannot be made.
pub fn make_data_dir(path: &Path) -> Result<(), StartError> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|source| StartError::DataDir { path: path.to_owned(), source })
}

/// What this node shares with others: Redis if there is one, else what it needs by itself.
async fn open_backplane(
    settings: &Settings,
    node: NodeId,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<Backplane, StartError> {
    let Some(url) = &settings.redis_url else { return Ok(Backplane::local()) };
    let options = RedisOptions { prefix: settings.redis_prefix.clone(), ..RedisOptions::default() };
    Ok(RedisBackplane::connect(url.as_str(), node, options, tasks, stop.clone()).await?.backplane)
}

/// What enters a room.
fn door(peppers: &Arc<Peppers>, limits: &Limits, shared_limits: Option<Arc<dyn SharedLimits>>, clock: Clock) -> Door {
    let by_address = |per_minute| Arc::new(Buckets::new(Rate::per_minute(per_minute, per_minute)));
    Door {
        secrets: GrantSecrets::new(Arc::clone(peppers)),
        nonces: Arc::new(Nonces::new(peppers)),
        joins: Arc::new(JoinLimiter::new(limits, shared_limits)),
        sign_ins: by_address(limits.sign_ins_per_minute),
        creates: by_address(limits.creates_per_minute),
        moves: by_address(limits.moves_per_minute),
        clock,
        unknown_names: Arc::new(peppers.lasting_key("snug/v1/unknown-name")),
    }
}

/// Who hears the bus's events.
fn listeners(session: &SessionParts) -> Vec<Arc<dyn Listener>> {
    vec![Arc::new(session.rooms.clone()), Arc::new(session.table.clone()), Arc::new(session.presence.clone())]
}

impl Server {
    /// Opens everything a node needs and listens. Nothing is accepted before [`Server::run`].
    ///
    /// # Errors
    /// What is missing or wrong, and what to do about it. What does not answer is not waited for longer than 15 s.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        let (tasks, stop, node) = (TaskTracker::new(), CancellationToken::new(), random_node());
        // The port first: a second start in the same folder says "port taken", not "database locked".
        let listener = listen(settings.listen, "SNUG_LISTEN")?;
        let store = open_store(&settings, &tasks).await?;
        let backplane = open_backplane(&settings, node, &tasks, &stop).await?;
        if settings.database_url.is_some() && settings.redis_url.is_none() {
            tracing::warn!(
                "no SNUG_REDIS_URL: news from other nodes are found by asking the database every few seconds; presence and the limit on wrong passwords are this node's own"
            );
        }
        Self::assemble(settings, listener, store, backplane, (node, tasks, stop)).await
    }
}

impl<L: Listen> Server<L> {
    /// A node over a given store and backplane, as tests build them.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn over(
        settings: Settings,
        listener: L,
        store: Store,
        backplane: Backplane,
        tasks: TaskTracker,
    ) -> Result<Self, StartError> {
        Self::assemble(settings, listener, store, backplane, (random_node(), tasks, CancellationToken::new())).await
    }

    async fn assemble(
        settings: Settings,
        listener: L,
        store: Store,
        backplane: Backplane,
        (node, tasks, stop): (NodeId, TaskTracker, CancellationToken),
    ) -> Result<Self, StartError> {
        let (setting, address) = ("SNUG_LISTEN", settings.listen);
        let bound = listener.local_addr().map_err(|source| StartError::Listen { setting, address, source })?;
        let (admin, collector) = watching::begin(&settings, node)?;
        let identity = Arc::new(settings.identity(bound)?);
        let tls = match (&settings.tls_cert, &settings.tls_key) {
            (Some(cert), Some(key)) => Some(tls::acceptor(cert, key)?),
            _ => None,
        };
        let peppers = Arc::new(Peppers::load(&settings.pepper_path(), &store).await?);
        let limits = settings.limits.clone();
        let close_sockets = CancellationToken::new();
        let clock = Clock::set_by(&store).await?;
        let (roster, roster_counters) = CountedRoster::over(Arc::clone(&backplane.roster));
        let backplane = Backplane { roster, ..backplane };
        let presence = Presence::start(node, &backplane, &tasks, &stop);
        let Backplane { bus, limits: shared_limits, .. } = backplane;
        let rate = Rate::per_second(limits.sends_per_second, limits.sends_burst);
        let chat = Chat::new(store.clone(), Arc::clone(&bus), presence.clone(), rate);
        let tokens = Tokens::new(store.clone());
        let session = Arc::new(SessionParts {
            chat: chat.clone(),
            rooms: Rooms::start(store.clone(), Arc::clone(&bus), clock.clone(), tasks.clone(), stop.clone()),
            presence,
            tokens: tokens.clone(),
            store: store.clone(),
            table: SessionTable::start(limits.clone(), tasks.clone(), stop.clone()),
            node: node.to_string().into(),
            follows: FollowRates::default(),
            clock: clock.clone(),
            stop: close_sockets.clone(),
        });
        events::listen(&*bus, listeners(&session), &tasks, stop.clone());
        let door = door(&peppers, &limits, shared_limits, clock.clone());
        let proxies: Arc<[_]> = settings.trusted_proxies.clone().into();
        let http_counters = Arc::<HttpCounters>::default();
        let (governor, requests) = http::governor(&limits, Arc::clone(&proxies), Arc::clone(&http_counters));
        let failed_sweeps = Arc::<Counter>::default();
        let chores = Chores {
            store: store.clone(),
            chat: chat.clone(),
            session: Arc::clone(&session),
            door: door.clone(),
            requests,
            clock,
            failed_sweeps: Arc::clone(&failed_sweeps),
        };
        let places = Places::new(&limits, Arc::clone(&proxies));
        let readiness = Readiness::default();
        let handles =
            Handles { store, chat, bus, tokens, door, identity, proxies, session, readiness, http: http_counters };
        let counters = (roster_counters, failed_sweeps);
        let watching = Watching::new((admin, collector), node, handles.clone(), Arc::clone(&places), counters);
        let router = http::router(handles.clone(), governor);
        Ok(Self {
            places,
            listener,
            tls,
            router,
            handles,
            chores,
            settings,
            tasks,
            stop,
            close_sockets,
            leaves_store_open: false,
            watching,
        })
    }

    /// The same, but a stop leaves the store open: for several nodes of one process, as tests build them.
    #[must_use]
    pub fn leaving_the_store_open(self) -> Self {
        Self { leaves_store_open: true, ..self }
    }

    /// The address people open.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.handles.identity.url
    }

    /// The address it listens on.
    ///
    /// # Errors
    /// The system's.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The address that metrics are read at, if there is one.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.watching.admin.as_ref().and_then(|listener| TcpListener::local_addr(listener).ok())
    }

    /// The node's numbers.
    #[must_use]
    pub const fn numbers(&self) -> &Sources {
        &self.watching.sources
    }

    /// Appends by this node without a socket.
    #[must_use]
    pub const fn chat(&self) -> &Chat {
        &self.handles.chat
    }

    /// Whether committed messages survive a crash of the database's machine.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.handles.store.durability()
    }
}

/// Not the same for all nodes, or those that started together would ask for the same turn together for ever.
fn sweep_pause() -> Duration {
    let mut random = [0; 2];
    getrandom::fill(&mut random).expect("the system gives random bytes");
    SWEEP_PERIOD.mul_f64(0.75 + f64::from(u16::from_ne_bytes(random)) / f64::from(u16::MAX) / 2.0)
}

/// What must be done now and then.
async fn chores(chores: Chores, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(sweep_pause()) => {}
        }
        let now = std::time::Instant::now();
        chores.chat.sweep();
        chores.door.joins.sweep(now);
        chores.door.creates.sweep(now);
        chores.door.sign_ins.sweep(now);
        chores.door.moves.sweep(now);
        if let Err(error) = chores.clock.adjust(&chores.store).await {
            tracing::warn!(%error, "could not ask the database for the time");
        }
        chores.session.follows.sweep();
        chores.session.rooms.forget_old(chores.clock.now_ms());
        chores.requests.sweep();
        if let Err(error) = sweep(&chores.store).await {
            chores.failed_sweeps.increment();
            tracing::warn!(%error, "expired rows were not removed; the next sweep tries again");
        }
    }
}

/// Removes expired rows, if no other node has in this period: one is enough, whichever comes first.
async fn sweep(store: &Store) -> Result<(), StoreError> {
    if store.takes_turn("sweep", SWEEP_PERIOD).await? {
        store.sweep().await?;
    }
    Ok(())
}

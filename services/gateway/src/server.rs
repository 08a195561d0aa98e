//! A running node: opening what it needs, accepting connections, and stopping without losing anything.

mod accept;

pub use accept::{Listen, Place};

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use snug_bus::Backplane;
use snug_store::{Durability, OpenError, SqliteOptions, Store};
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::{GrantSecrets, Nonces, PepperError, Peppers, Tokens};
use crate::chat::Chat;
use crate::config::{ConfigError, Migrate, Settings};
use crate::http::{self, Door, Handles, Readiness, RequestLimiter};
use crate::limit::{Buckets, JoinLimiter, Rate};
use crate::presence::Presence;
use crate::room::Rooms;
use crate::session::{SessionParts, SessionTable};
use crate::tls::{self, TlsError};

/// How long a stop waits, in all, for requests to be answered, sockets to close and tasks to end.
const DRAIN_LIMIT: Duration = Duration::from_secs(25);
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
    /// The pepper cannot be used.
    #[error(transparent)]
    Pepper(#[from] PepperError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; is another program using the port? Choose another with SNUG_LISTEN")]
    Listen {
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
}

struct Chores {
    store: Store,
    chat: Chat,
    rooms: Rooms,
    door: Door,
    requests: RequestLimiter,
}

fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    let open = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A restart must not wait for the last life's connections to be forgotten.
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    open().map_err(|source| StartError::Listen { address, source })
}

/// Opens the database in the data folder, and brings its schema up to date unless `SNUG_MIGRATE` is off.
///
/// # Errors
/// Folder or database cannot be used.
pub async fn open_store(settings: &Settings, tasks: &TaskTracker) -> Result<Store, StartError> {
    settings.check()?;
    let path = settings.data_dir.clone();
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&path).map_err(|source| StartError::DataDir { path: path.clone(), source })?;
    let options = SqliteOptions {
        bytes_max: settings.database_bytes_max,
        migrate: settings.migrate == Migrate::Auto,
        ..SqliteOptions::default()
    };
    Ok(Store::open_sqlite(&path.join("snug.db"), options, tasks).await?)
}

impl Server {
    /// Opens everything a node needs and listens. Nothing is accepted before [`Server::run`].
    ///
    /// # Errors
    /// What is missing or wrong, and what to do about it.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        let tasks = TaskTracker::new();
        // The port first: a second start in the same folder says "port taken", not "database locked".
        let listener = listen(settings.listen)?;
        let store = open_store(&settings, &tasks).await?;
        Self::over(settings, listener, store, Backplane::local(), tasks).await
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
        let bound = listener.local_addr().map_err(|source| StartError::Listen { address: settings.listen, source })?;
        let identity = Arc::new(settings.identity(bound)?);
        let tls = match (&settings.tls_cert, &settings.tls_key) {
            (Some(cert), Some(key)) => Some(tls::acceptor(cert, key)?),
            _ => None,
        };
        let peppers = Arc::new(Peppers::load(&settings.pepper_path(), &store).await?);
        let limits = settings.limits.clone();
        let bus = backplane.bus;
        let (stop, close_sockets) = (CancellationToken::new(), CancellationToken::new());
        let presence = Presence::start(Arc::clone(&bus), tasks.clone(), stop.clone());
        let rate = Rate::per_second(limits.sends_per_second, limits.sends_burst);
        let chat = Chat::new(store.clone(), Arc::clone(&bus), presence.clone(), rate);
        let tokens = Tokens::new(store.clone());
        let mut node = [0; 6];
        getrandom::fill(&mut node).expect("the system gives random bytes");
        let session = SessionParts {
            chat: chat.clone(),
            rooms: Rooms::start(store.clone(), Arc::clone(&bus), tasks.clone(), stop.clone()),
            presence,
            tokens: tokens.clone(),
            store: store.clone(),
            table: SessionTable::start(limits.clone(), &*bus, tasks.clone(), stop.clone()),
            node: snug_protocol::encode_base64(&node).into(),
            move_within_ms: settings.drain_move_ms,
            stop: close_sockets.clone(),
        };
        let door = Door {
            secrets: GrantSecrets::new(Arc::clone(&peppers)),
            nonces: Arc::new(Nonces::new(&peppers)),
            joins: Arc::new(JoinLimiter::new(&limits)),
            sign_ins: Arc::new(Buckets::new(Rate::per_minute(limits.sign_ins_per_minute, limits.sign_ins_per_minute))),
            creates: Arc::new(Buckets::new(Rate::per_minute(limits.creates_per_minute, limits.creates_per_minute))),
            moves: Arc::new(Buckets::new(Rate::per_minute(limits.moves_per_minute, limits.moves_per_minute))),
            unknown_names: Arc::new(peppers.lasting_key("snug/v1/unknown-name")),
        };
        let proxies: Arc<[_]> = settings.trusted_proxies.clone().into();
        let (governor, requests) = http::governor(&limits, Arc::clone(&proxies));
        let chores = Chores {
            store: store.clone(),
            chat: chat.clone(),
            rooms: session.rooms.clone(),
            door: door.clone(),
            requests,
        };
        let places = accept::Places::new(&limits, Arc::clone(&proxies));
        let handles =
            Handles { store, chat, bus, tokens, door, identity, proxies, session, readiness: Readiness::default() };
        let router = http::router(handles.clone(), governor);
        Ok(Self { places, listener, tls, router, handles, chores, settings, tasks, stop, close_sockets })
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

    /// Accepts connections until `shutdown`, then drains: not ready, nothing new accepted, clients told to move, appends in flight
    /// committed, sockets closed, tasks ended, store closed.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let (accepting, http) = (self.stop.child_token(), TaskTracker::new());
        let connections = accept::Connections {
            tls: self.tls,
            router: self.router,
            stop: accepting.clone(),
            tasks: http.clone(),
            places: self.places,
        };
        let accept = self.tasks.spawn(accept::run(self.listener, connections));
        self.tasks.spawn(chores(self.chores, self.stop.clone()));
        shutdown.await;
        tracing::info!("stopping");
        self.handles.readiness.drain();
        accepting.cancel();
        let _ = accept.await;
        http.close();
        let table = &self.handles.session.table;
        if table.count() > 0 && !self.settings.drain_move().is_zero() {
            table.tell_to_move();
            let _ = timeout(self.settings.drain_move(), table.empty()).await;
        }
        let deadline = Instant::now() + DRAIN_LIMIT;
        self.close_sockets.cancel();
        let quiet = async { tokio::join!(table.empty(), http.wait()) };
        if timeout_at(deadline, quiet).await.is_err() {
            tracing::warn!(sockets = table.count(), requests = http.len(), "not everything ended in time");
        }
        self.stop.cancel();
        self.tasks.close();
        let closed = async {
            self.handles.store.close().await;
            self.tasks.wait().await;
        };
        if timeout_at(deadline, closed).await.is_err() {
            tracing::warn!(tasks = self.tasks.len(), "tasks did not end in time");
        }
    }
}

/// What must be done now and then.
async fn chores(chores: Chores, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(SWEEP_PERIOD) => {}
        }
        let now = std::time::Instant::now();
        chores.chat.sweep();
        chores.door.joins.sweep(now);
        chores.door.creates.sweep(now);
        chores.door.sign_ins.sweep(now);
        chores.door.moves.sweep(now);
        chores.rooms.forget_old(crate::clock::now_ms());
        chores.requests.sweep();
        if let Err(error) = chores.store.sweep().await {
            tracing::warn!(%error, "expired rows were not removed; the next sweep tries again");
        }
    }
}

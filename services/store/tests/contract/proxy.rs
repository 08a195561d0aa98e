//! A way to a server that can be paused, as if the server were, and cut, as if it were restarted.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

#[derive(Clone, Copy, PartialEq, Debug)]
enum State {
    /// Bytes go through.
    Open,
    /// Connections are accepted, and nothing goes through.
    Paused,
    /// Connections are ended, and new ones refused.
    Down,
}

pub struct Proxy {
    pub address: SocketAddr,
    state: watch::Sender<State>,
    relays: TaskTracker,
    _accepting: AbortOnDropHandle<()>,
}

impl Proxy {
    /// A proxy in front of the server that `url` names, and the url that leads through it.
    pub async fn before(url: &str) -> (Self, String) {
        let authority = url.find("://").expect("a url") + 3;
        let host = url[authority..].find('@').map_or(authority, |at| authority + at + 1);
        let end = url[host..].find(['/', '?']).map_or(url.len(), |at| host + at);
        let server = url[host..end].to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (state, _) = watch::channel(State::Open);
        let relays = TaskTracker::new();
        let accept = accept(listener, server, state.clone(), relays.clone());
        let accepting = AbortOnDropHandle::new(TaskTracker::new().spawn(accept));
        (Self { address, state, relays, _accepting: accepting }, format!("{}{address}{}", &url[..host], &url[end..]))
    }

    pub fn pause(&self) {
        self.state.send_replace(State::Paused);
    }

    pub fn open(&self) {
        self.state.send_replace(State::Open);
    }

    pub fn down(&self) {
        self.state.send_replace(State::Down);
    }

    /// Ends all connections, and accepts new ones again.
    pub async fn restart(&self) {
        self.down();
        while !self.relays.is_empty() || TcpStream::connect(self.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        self.open();
        while TcpStream::connect(self.address).await.is_err() {
            tokio::task::yield_now().await;
        }
    }
}

async fn accept(listener: TcpListener, server: String, state: watch::Sender<State>, relays: TaskTracker) {
    let (address, mut listener) = (listener.local_addr().expect("an address"), Some(listener));
    let mut changes = state.subscribe();
    loop {
        let now = *changes.borrow_and_update();
        if now == State::Down {
            listener = None;
            let _ = changes.changed().await;
            continue;
        }
        if listener.is_none() {
            listener = Some(listen_again(address).await);
        }
        let open = listener.as_ref().expect("it listens unless it is down");
        tokio::select! {
            Ok((client, _)) = open.accept() => {
                relays.spawn(relay(client, server.clone(), state.subscribe()));
            }
            _ = changes.changed() => {}
        }
    }
}

async fn listen_again(address: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn relay(client: TcpStream, server: String, state: watch::Receiver<State>) {
    let mut down = state.clone();
    let relayed = async {
        let Ok(server) = TcpStream::connect(server).await else { return };
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        tokio::select! {
            () = copy(from_client, to_server, state.clone()) => {}
            () = copy(from_server, to_client, state) => {}
        }
    };
    tokio::select! {
        () = relayed => {}
        _ = down.wait_for(|state| *state == State::Down) => {}
    }
}

async fn copy(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut state: watch::Receiver<State>,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if state.wait_for(|state| *state != State::Paused).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

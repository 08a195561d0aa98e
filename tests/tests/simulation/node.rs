//! A gateway node: the real server, over the simulated bus, roster, store and network.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use snug_bus::Backplane;
use snug_gateway::chat::Chat;
use snug_gateway::{Server, Settings};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cable::{Cable, Fate, Hall};
use crate::gate::{NodeGate, Weather};
use crate::roster::NodeRoster;
use crate::scene::{Plant, Scene};

/// What every node answers to.
pub const HOST: &str = "localhost:8080";
/// Connections that wait to be accepted.
const ARRIVALS_MAX: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Up,
    Draining,
    Dead,
}

struct State {
    life: Life,
    cables: Vec<Cable>,
    /// Faults that last at present.
    faults: usize,
    /// When the last one ended.
    calm_since: Instant,
}

pub struct Node {
    pub no: usize,
    pub name: String,
    pub gate: Arc<NodeGate>,
    /// What it appends without a socket.
    pub chat: Chat,
    door: mpsc::Sender<(DuplexStream, SocketAddr)>,
    stop: CancellationToken,
    state: Mutex<State>,
}

/// One file of peppers for all nodes of all seeds, made before any of them draws.
fn pepper_file() -> PathBuf {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let pepper = format!("1 {}\n", snug_client::protocol::encode_base64(&[7; 32]));
        std::fs::write(folder.path().join("pepper"), pepper).expect("a file");
        folder
    });
    folder.path().join("pepper")
}

/// Read once: parsing the command line takes longer than a node's start.
pub fn settings() -> Settings {
    static SETTINGS: OnceLock<Settings> = OnceLock::new();
    let settings = SETTINGS.get_or_init(|| {
        let mut settings = snug_tests::node::settings(&["--drain-move-ms=3000"]);
        settings.pepper_file = Some(pepper_file());
        settings
    });
    settings.clone()
}

impl Node {
    /// Starts node number `no`; `None`: its database does not answer.
    pub async fn start(scene: &Arc<Scene>, no: usize) -> Option<Arc<Self>> {
        let name = format!("n{no}");
        let gate =
            NodeGate::new(name.clone(), scene.seed, scene.plant == Plant::HeadCheckOff, Arc::clone(&scene.journal));
        let roster = Arc::new(NodeRoster::new(no, Arc::clone(&scene.roster), Arc::clone(&scene.fabric)));
        let backplane = Backplane { bus: scene.fabric.join(no), roster, limits: None };
        let (door, arrivals) = mpsc::channel(ARRIVALS_MAX);
        let hall = Hall { arrivals, address: SocketAddr::from(([127, 0, 0, 1], 8080)) };
        let store = scene.memory.behind(Arc::clone(&gate) as Arc<dyn snug_store::Gate>);
        let server = match Server::over(settings(), hall, store, backplane, TaskTracker::new()).await {
            Ok(server) => server,
            Err(error) => {
                scene.journal.note(format_args!("{name} does not start: {error}"));
                scene.fabric.part(no);
                return None;
            }
        };
        let stop = CancellationToken::new();
        let state = State { life: Life::Up, cables: Vec::new(), faults: 0, calm_since: Instant::now() };
        let chat = server.chat().clone();
        let node = Arc::new(Self { no, name, gate, chat, door, stop, state: Mutex::new(state) });
        let (running, scene) = (Arc::clone(&node), Arc::clone(scene));
        node.journal_life(&scene, "node started");
        scene.tasks.clone().spawn(async move {
            server.run(running.stop.clone().cancelled_owned()).await;
            running.end(&scene);
        });
        Some(node)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn journal_life(&self, scene: &Scene, what: &'static str) {
        scene.journal.count(what, format_args!("{}", self.name));
    }

    pub fn life(&self) -> Life {
        self.state().life
    }

    pub fn is_up(&self) -> bool {
        self.life() == Life::Up
    }

    /// A connection of `peer`; `None`: refused.
    pub fn connect(&self, scene: &Scene, peer: SocketAddr) -> Option<(Cable, DuplexStream)> {
        if !self.is_up() {
            return None;
        }
        let (cable, client, node) = Cable::lay(&scene.net, &scene.tasks);
        self.door.try_send((node, peer)).ok()?;
        let mut state = self.state();
        state.cables.retain(|cable| cable.fate() != Fate::Cut);
        state.cables.push(cable.clone());
        Some((cable, client))
    }

    /// As `kill -9` does: nothing it was about to do is done, and the system closes its sockets.
    pub fn kill(&self, scene: &Scene) {
        self.journal_life(scene, "node killed");
        self.end(scene);
    }

    fn end(&self, scene: &Scene) {
        self.gate.set(Weather::Dead);
        scene.fabric.part(self.no);
        let cables = {
            let mut state = self.state();
            if state.life == Life::Draining {
                scene.journal.note(format_args!("{} has drained", self.name));
            }
            state.life = Life::Dead;
            std::mem::take(&mut state.cables)
        };
        for cable in cables {
            cable.meet(Fate::Cut);
        }
    }

    /// As SIGTERM does.
    pub fn drain(&self, scene: &Scene) {
        self.journal_life(scene, "node drains");
        self.state().life = Life::Draining;
        self.stop.cancel();
    }

    pub fn cables(&self) -> Vec<Cable> {
        self.state().cables.clone()
    }

    pub fn fault_begins(&self) {
        self.state().faults += 1;
    }

    pub fn fault_ends(&self) {
        let mut state = self.state();
        state.faults = state.faults.saturating_sub(1);
        state.calm_since = Instant::now();
    }

    /// Since when nothing is wrong with it; `None`: something is.
    pub fn calm_since(&self) -> Option<Instant> {
        let state = self.state();
        (state.faults == 0).then_some(state.calm_since)
    }
}

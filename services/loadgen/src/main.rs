//! The binary `snug-load`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use snug_loadgen::floor;
use snug_loadgen::machine::{Watched, open_many_files};
use snug_loadgen::observer::Observer;
use snug_loadgen::people::Registrar;
use snug_loadgen::report::{self, Report};
use snug_loadgen::scenario::crowd::Plan;
use snug_loadgen::scenario::{Scene, Sizes, crowd, growth, history, idle, joins, ping, resume, slow, steady};

/// Measures Snug nodes through the real protocol.
#[derive(Debug, Parser)]
#[command(name = "snug-load", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure nodes that run already. Their limits of rates and sockets must be raised.
    Run(Box<Run>),
    /// The process that only writes; `run` starts it.
    #[command(hide = true)]
    Floor,
}

#[derive(Debug, Args)]
struct Run {
    /// A node, with the id of its process: http://127.0.0.1:8080=1234. Several times for several nodes of one cluster.
    #[arg(long = "node", value_name = "URL=PID", required = true)]
    nodes: Vec<String>,
    /// Another process to watch, its children included: postgres=1234.
    #[arg(long = "watch", value_name = "NAME=PID")]
    watch: Vec<String>,
    /// What to measure; if nothing is named, all but growth and what is steady.
    #[arg(long = "scenario", value_enum, value_delimiter = ',')]
    scenarios: Vec<Scenario>,
    /// What the report is called.
    #[arg(long, default_value = "Snug under load")]
    title: String,
    /// Folder for report.json and report.html.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Receiving threads. Default: half of the cores.
    #[arg(long)]
    threads: Option<usize>,
    /// Members of the big room.
    #[arg(long, default_value_t = 1_000)]
    members: usize,
    /// Who of them write.
    #[arg(long, default_value_t = 20)]
    writers: usize,
    /// Small rooms.
    #[arg(long, default_value_t = 500)]
    rooms: usize,
    /// Members of each, one of whom writes.
    #[arg(long, default_value_t = 10)]
    room_members: usize,
    /// Idle sockets.
    #[arg(long, default_value_t = 10_000)]
    idle: usize,
    /// Joins that arrive at once.
    #[arg(long, default_value_t = 200)]
    joins: usize,
    /// Sessions that come back at once.
    #[arg(long, default_value_t = 5_000)]
    resuming: usize,
    /// Members of the largest room that the cost of a delivery is followed to.
    #[arg(long, default_value_t = 5_000)]
    members_most: usize,
    /// Rooms of five, whose members are in five, that the cost of a delivery is followed to.
    #[arg(long, default_value_t = 10_000)]
    rooms_most: usize,
    /// Characters of a message.
    #[arg(long, default_value_t = 200)]
    text_chars: usize,
    /// Of what a writer says one of so many is a reaction to a message; 0: none.
    #[arg(long, default_value_t = 0)]
    reaction_every: u64,
    /// Deliveries a second that a climb begins with.
    #[arg(long, default_value_t = 20_000.0)]
    first_deliveries: f64,
    /// Messages a second of the steady scenario.
    #[arg(long, default_value_t = 20.0)]
    rate: f64,
    /// Seconds of a step of a climb.
    #[arg(long, default_value_t = 4.0)]
    step_seconds: f64,
    /// Seconds of what is held.
    #[arg(long, default_value_t = 10.0)]
    hold_seconds: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// One big room.
    Big,
    /// Many small rooms.
    Small,
    /// Connections that do nothing.
    Idle,
    /// One message at a time, across nodes.
    Ping,
    /// Joins at once.
    Joins,
    /// Sessions that come back at once.
    Resume,
    /// Paging.
    History,
    /// Readers that stop reading.
    Slow,
    /// What a delivery costs by members, rooms and nodes; only if it is named.
    Growth,
    /// One big room at one rate; only if it is named.
    Steady,
    /// Many small rooms at one rate; only if it is named.
    SteadySmall,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(run) => measure(&run),
        Command::Floor => floor::child::run().map(|()| true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("snug-load: deliveries were wrong; the report says which");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("snug-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn watched(text: &str, is_node: bool) -> anyhow::Result<(String, Watched)> {
    let (name, pid) = text.rsplit_once('=').with_context(|| format!("{text} is not of the form …=PID"))?;
    let pid = pid.parse().with_context(|| format!("{pid} is not the id of a process"))?;
    Ok((name.to_owned(), Watched { name: name.to_owned(), pid, is_node }))
}

fn scene(run: &Run) -> anyhow::Result<Scene> {
    let mut processes = Vec::new();
    let (mut addresses, mut origins) = (Vec::<SocketAddr>::new(), Vec::new());
    for (number, node) in run.nodes.iter().enumerate() {
        let (origin, mut process) = watched(node, true)?;
        process.name = format!("node {}", number + 1);
        let address =
            origin.strip_prefix("http://").with_context(|| format!("{origin} does not begin with http://"))?;
        addresses.push(address.trim_end_matches('/').parse().context("an address and port, not a name")?);
        origins.push(origin);
        processes.push(process);
    }
    for text in &run.watch {
        processes.push(watched(text, false)?.1);
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Scene {
        nodes: addresses,
        registrar: Registrar::new(&origins[0])?,
        runtime: tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?,
        observer: Observer::new(processes),
        threads: run.threads.unwrap_or((cores / 2).max(1)),
        sizes: Sizes {
            members: run.members,
            writers: run.writers.min(run.members),
            rooms: run.rooms,
            room_members: run.room_members,
            idle: run.idle,
            joins: run.joins,
            resuming: run.resuming,
            members_most: run.members_most,
            rooms_most: run.rooms_most,
            text_chars: run.text_chars,
            reaction_every: run.reaction_every,
            first_deliveries: run.first_deliveries,
            rate: run.rate,
            step_seconds: run.step_seconds,
            hold_seconds: run.hold_seconds,
        },
        results: Vec::new(),
    })
}

/// Whether all deliveries were right.
fn measure(run: &Run) -> anyhow::Result<bool> {
    open_many_files();
    let mut scene = scene(run)?;
    let (machine, began_at_ms) = (report::machine(), report::now_ms());
    let wants = |scenario| {
        run.scenarios.contains(&scenario)
            || (run.scenarios.is_empty()
                && !matches!(scenario, Scenario::Growth | Scenario::Steady | Scenario::SteadySmall))
    };
    let outcome = scenarios(&mut scene, &wants);
    // What was found before something failed is worth having.
    let report = Report {
        title: run.title.clone(),
        began_at_ms,
        machine,
        processes: scene.observer.watched().iter().map(|process| process.name.clone()).collect(),
        results: std::mem::take(&mut scene.results),
    };
    println!("{}", report::text::report(&report));
    if let Some(out) = &run.out {
        std::fs::create_dir_all(out)?;
        std::fs::write(out.join("report.json"), serde_json::to_vec_pretty(&report)?)?;
        std::fs::write(out.join("report.html"), report::html::page(&report))?;
        println!("{}", out.join("report.html").display());
    }
    outcome?;
    Ok(!report.results.iter().any(report::Result::is_wrong))
}

fn keep(scene: &mut Scene, result: report::Result) {
    eprintln!("{}", report::text::result(&result));
    scene.results.push(result);
}

fn scenarios(scene: &mut Scene, wants: &dyn Fn(Scenario) -> bool) -> anyhow::Result<()> {
    let sizes = scene.sizes.clone();
    if sizes.members < 2 || sizes.room_members < 2 || sizes.rooms == 0 {
        bail!("a room has two members at least");
    }
    if wants(Scenario::Idle) {
        // First: what others have freed would pass for what sockets do not need.
        let rooms = scene.rooms(sizes.rooms, sizes.room_members)?;
        let result = idle::run(scene, &rooms)?;
        keep(scene, result);
    }
    if [Scenario::Ping, Scenario::Steady, Scenario::Big, Scenario::Slow, Scenario::Joins, Scenario::History]
        .into_iter()
        .any(wants)
    {
        let big = scene.rooms(1, sizes.members)?;
        if wants(Scenario::Ping) {
            let result = ping::run(scene, &big)?;
            keep(scene, result);
        }
        if wants(Scenario::Steady) {
            let result = steady::run(scene, &big, sizes.writers)?;
            keep(scene, result);
        }
        if wants(Scenario::Big) {
            let plan = Plan {
                name: "big",
                title: format!("One room of {} over {} nodes", sizes.members, scene.nodes.len()),
                rooms: (1, sizes.members),
                writers: sizes.writers,
                light: 5.0,
            };
            let result = crowd::run(scene, &plan, &big)?;
            keep(scene, result);
        }
        if wants(Scenario::Slow) {
            let result = slow::run(scene, &big)?;
            keep(scene, result);
        }
        if wants(Scenario::History) {
            let result = history::run(scene, &big)?;
            keep(scene, result);
        }
        if wants(Scenario::Joins) {
            let result = joins::run(scene, &big)?;
            keep(scene, result);
        }
    }
    small_rooms(scene, wants)?;
    if wants(Scenario::Growth) {
        let result = growth::run(scene)?;
        keep(scene, result);
    }
    Ok(())
}

/// What is measured in many small rooms.
fn small_rooms(scene: &mut Scene, wants: &dyn Fn(Scenario) -> bool) -> anyhow::Result<()> {
    let sizes = scene.sizes.clone();
    if [Scenario::SteadySmall, Scenario::Small, Scenario::Resume].into_iter().any(wants) {
        let small = scene.rooms(sizes.rooms, sizes.room_members)?;
        if wants(Scenario::SteadySmall) {
            let result = steady::run(scene, &small, 1)?;
            keep(scene, result);
        }
        if wants(Scenario::Small) {
            let plan = Plan {
                name: "small",
                title: format!("{} rooms of {}, one writer each", sizes.rooms, sizes.room_members),
                rooms: (sizes.rooms, sizes.room_members),
                writers: 1,
                light: sizes.rooms as f64 / 10.0,
            };
            let result = crowd::run(scene, &plan, &small)?;
            keep(scene, result);
        }
        if wants(Scenario::Resume) {
            let result = resume::run(scene, &small)?;
            keep(scene, result);
        }
    }
    Ok(())
}

//! The parent: starts the child, opens the sockets, and measures steps as those of nodes are measured.

use std::io::{BufRead, BufReader, Lines, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use super::{Done, Gathering, ROOM, Shape, Step, due_ns, tag};
use crate::field::{Field, Played};
use crate::observer::Observer;
use crate::script::{Line, Script, Shot, instance};
use crate::socket::{Follow, Spec};

/// How long opening may take.
const OPENING_LIMIT: Duration = Duration::from_secs(60);

/// A running floor with all its sockets open; ends when dropped.
pub struct Floor {
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    shape: Shape,
    field: Field,
    observer: Observer,
}

impl Drop for Floor {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Floor {
    /// Starts one, received by so many threads.
    ///
    /// # Errors
    /// The child or the sockets cannot be had.
    pub fn start(shape: Shape, threads: usize) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?;
        let mut command = Command::new(program);
        let mut child = command.arg("floor").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut orders = child.stdin.take().context("piped")?;
        let mut answers = BufReader::new(child.stdout.take().context("piped")?).lines();
        let mut answer = || answers.next().context("the floor ended")?.map_err(anyhow::Error::from);
        let address: SocketAddr = format!("127.0.0.1:{}", answer()?).parse()?;
        writeln!(orders, "{}", serde_json::to_string(&shape)?)?;
        let mut field = Field::new(threads, vec![ROOM; shape.rooms])?;
        let spec = |room| Spec {
            address,
            token: None,
            follows: vec![Follow { place: room, room: ROOM, cursor: None }],
            writer: None,
            group: 0,
            receive_buffer: None,
        };
        let specs = (0..shape.rooms * shape.members).map(|place| spec(place % shape.rooms)).collect();
        field.open(specs, OPENING_LIMIT)?;
        answer()?;
        let observer = Observer::of_floor(child.id());
        Ok(Self { child, orders, answers, shape, field, observer })
    }

    /// Writes at this rate (messages a second over all rooms) for so long.
    ///
    /// # Errors
    /// The child has ended, or cannot write.
    pub fn play(
        &mut self,
        label: &str,
        rate: f64,
        seconds: f64,
        gathering: Gathering,
    ) -> anyhow::Result<(Played, Done)> {
        self.observer.label(label);
        let messages = ((rate * seconds) as u64).max(1);
        let lines: Vec<Line> = (0..self.shape.rooms).map(|room| self.line(room, messages, rate)).collect();
        let instances = lines.iter().map(|line| line.instance).collect();
        let script = Script::new(&self.field.heads()?, lines);
        let mut step = Step { start_ns: 0, rate, messages, gathering, instances };
        let (orders, answers) = (&mut self.orders, &mut self.answers);
        let begin = |start_ns| {
            step.start_ns = start_ns;
            writeln!(orders, "{}", serde_json::to_string(&step)?).context("the floor ended")
        };
        let played = self.field.play(script, &mut self.observer, begin, |_, _| Ok(()))?;
        let done: Done = serde_json::from_str(&answers.next().context("the floor ended")??)?;
        if done.failed {
            bail!(
                "the floor's sockets could not take what was written: the tool's receivers are too slow for this step"
            );
        }
        Ok((played, done))
    }

    fn line(&self, room: usize, messages: u64, rate: f64) -> Line {
        let own = (room as u64..messages).step_by(self.shape.rooms).enumerate();
        let shots = own.map(|(counter, message)| Shot {
            due_ns: due_ns(message, rate),
            tag: tag(room, counter as u64),
            frame: Box::default(),
        });
        Line { room, instance: instance(u32::try_from(room).expect("fewer rooms than that")), shots: shots.collect() }
    }
}

//! A person without a browser: the Rust SDK behind lines of JSON, for tests in which people with and without a browser meet in one room.
//!
//! Reads one command a line on stdin and prints one answer to each, in order: `{"answer":…}`, or `{"refused":"<code>"}`. What happens in
//! the room is printed in between as `{"event":…}`. Ends when stdin does. Uses nothing but the SDK's public interface.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Value, json};
use snug_client::crypto::{Device, InviteLink, Message};
use snug_client::{
    Change, Client, ClientConfig, ClientError, Event, Events, Rekey, RekeyCause, Room, RoomMember, safety_number,
};
use snug_protocol::http::{MemberState, Role};
use snug_protocol::{DeviceId, ErrorCode, Seq};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// What one command may take. Less than the tests' own patience, so that they learn which one it was.
const LIMIT: Duration = Duration::from_secs(45);

/// What this person is told to do. Everything but coming in is about the room that was entered last.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Command {
    Create { room: String, password: String, name: String },
    Join { room: String, password: String, name: String },
    JoinByLink { link: String, name: String },
    Invite,
    Send { text: String },
    Reply { to: Seq, text: String },
    Edit { seq: Seq, text: String },
    Delete { seq: Seq },
    React { seq: Seq, emoji: String, on: bool },
    Pin { seq: Seq, on: bool },
    Topic { topic: String },
    Role { name: String, role: Role },
    Remove { name: String, ban: bool, password: String },
    Epoch,
    Numbers,
    Here,
    Violations,
    Leave,
}

/// A client and the room it is in.
struct Person {
    client: Client,
    room: Option<Room>,
    readers: TaskTracker,
}

impl Person {
    async fn obey(&mut self, command: Command) -> Result<Value, ClientError> {
        Ok(match command {
            Command::Create { room, password, name } => {
                let (room, _recovery) = self.client.create_room(&room, &password, &name).await?;
                self.enter(room).await?
            }
            Command::Join { room, password, name } => {
                let room = self.client.join(&room, &password, &name).await?;
                self.enter(room).await?
            }
            Command::JoinByLink { link, name } => {
                let room = self.client.join_by_link(&InviteLink::parse(&link)?, &name).await?;
                self.enter(room).await?
            }
            Command::Invite => json!(*self.room()?.create_invite(None, None).await?.0.to_text()),
            Command::Send { text } => json!(self.room()?.send(&text).await?.seq),
            Command::Reply { to, text } => {
                let answer = Message { text, reply_to: Some(to), mentions: Vec::new() };
                json!(self.room()?.send(answer).await?.seq)
            }
            Command::Edit { seq, text } => json!(self.room()?.edit(seq, text).await?.seq),
            Command::Delete { seq } => json!(self.room()?.delete_message(seq).await?.seq),
            Command::React { seq, emoji, on } => json!(self.room()?.react(seq, &emoji, on).await?.seq),
            Command::Pin { seq, on } => json!(self.room()?.pin(seq, on).await?.seq),
            Command::Topic { topic } => json!(self.room()?.set_topic(&topic).await?),
            Command::Role { name, role } => {
                let device = named(self.room()?, &name).await?;
                json!(self.room()?.set_role(device, role).await?)
            }
            Command::Remove { name, ban, password } => {
                let cause = RekeyCause::Remove { devices: vec![named(self.room()?, &name).await?], ban };
                let rekey = Rekey { cause: &cause, password: &password };
                json!(self.room()?.rekey(rekey, |_| {}).await?.epoch)
            }
            Command::Epoch => json!(self.room()?.epoch()),
            Command::Numbers => {
                let members = self.room()?.members().await?;
                let number = |member: RoomMember| Some((member.name?, safety_number(member.device)));
                let people: HashMap<String, String> = members.into_iter().filter_map(number).collect();
                json!({ "room": self.room()?.fingerprint(), "people": people })
            }
            Command::Here => json!(names_here(self.room()?).await?),
            Command::Violations => {
                let violations = self.room()?.violations().await?;
                json!(violations.iter().map(|violation| violation.code.as_str()).collect::<Vec<_>>())
            }
            Command::Leave => json!(self.room()?.leave().await?),
        })
    }

    fn room(&self) -> Result<&Room, ClientError> {
        self.room.as_ref().ok_or(ClientError::Closed)
    }

    async fn enter(&mut self, room: Room) -> Result<Value, ClientError> {
        self.readers.spawn(read(room.events().await?));
        let name = json!(room.name());
        self.room = Some(room);
        Ok(name)
    }
}

/// The member that goes by this name.
async fn named(room: &Room, name: &str) -> Result<DeviceId, ClientError> {
    let members = room.members().await?;
    let member = members.into_iter().find(|it| it.name.as_deref() == Some(name) && it.state == MemberState::Member);
    member.map(|member| member.device).ok_or_else(|| ErrorCode::NotAMember.into())
}

/// The names of who is here, in order.
async fn names_here(room: &Room) -> Result<Vec<String>, ClientError> {
    let members: HashMap<_, _> = room.members().await?.into_iter().map(|member| (member.device, member.name)).collect();
    let here = room.here().await?;
    let mut names: Vec<String> = here.iter().filter_map(|device| members.get(device)?.clone()).collect();
    names.sort();
    Ok(names)
}

/// Prints what happens in a room until it is closed.
async fn read(mut events: Events) {
    while let Some(event) = events.next().await {
        if let Some(event) = told(event) {
            println!("{}", json!({ "event": event }));
        }
    }
}

/// An event as a test reads it; `None` for what comes and goes.
fn told(event: Event) -> Option<Value> {
    Some(match event {
        Event::Message { seq, name, text, mine, .. } => {
            json!({ "is": "message", "seq": seq, "name": name, "text": text, "mine": mine })
        }
        Event::Edited { seq, text, .. } => json!({ "is": "edited", "seq": seq, "text": text }),
        Event::Deleted { seq, .. } => json!({ "is": "deleted", "seq": seq }),
        Event::Reacted { seq, emoji, on, .. } => json!({ "is": "reacted", "seq": seq, "emoji": emoji, "on": on }),
        Event::Pinned { seq, on, .. } => json!({ "is": "pinned", "seq": seq, "on": on }),
        // Every room begins with an epoch.
        Event::Administered(entry) if entry.seq == Seq(1) => return None,
        Event::Administered(entry) => match entry.change {
            Change::Epoch { epoch, .. } => json!({ "is": "epoch", "epoch": epoch }),
            Change::Step(step) => json!({ "is": "step", "step": step }),
        },
        Event::Joined { name, .. } => json!({ "is": "joined", "name": name }),
        Event::Left { name, .. } => json!({ "is": "left", "name": name }),
        Event::Violation(violation) => json!({ "is": "violation", "code": violation.code.as_str() }),
        Event::Closed { code } => json!({ "is": "closed", "code": code }),
        Event::Presence { .. } | Event::Typing { .. } => return None,
        // In the rooms of these tests nothing else should happen, so its name is enough.
        other => json!({ "is": "other", "what": format!("{other:?}") }),
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let url = std::env::args().nth(1).context("usage: sdk-person <address of the server>")?;
    let client = Client::connect(ClientConfig::new(url), Device::generate())?;
    let mut person = Person { client, room: None, readers: TaskTracker::new() };
    while let Some(line) = spawn_blocking(|| std::io::stdin().lines().next()).await? {
        let line = line?;
        let command = serde_json::from_str(&line).with_context(|| format!("not a command: {line}"))?;
        let answer = match timeout(LIMIT, person.obey(command)).await {
            Ok(Ok(answer)) => json!({ "answer": answer }),
            Ok(Err(error)) => json!({ "refused": error.code() }),
            Err(_) => json!({ "refused": "took_too_long" }),
        };
        println!("{answer}");
    }
    timeout(LIMIT, person.client.close()).await.context("the client did not close")?;
    Ok(())
}

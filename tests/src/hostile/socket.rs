//! Sockets through the lying server.

use std::sync::Mutex;

use futures_util::{SinkExt, StreamExt};
use snug_protocol::frame::{EntryFrame, ServerFrame};
use tokio::net::TcpStream;
use tokio::sync::broadcast;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{accept_hdr_async, connect_async};

use super::{Fate, Tricks, message};

pub(super) async fn serve(
    stream: TcpStream,
    node: &str,
    tricks: &Mutex<Tricks>,
    mut news: broadcast::Receiver<Message>,
) {
    let mut token = None;
    #[expect(clippy::result_large_err, reason = "the library's callback has this type")]
    let greet = |request: &Request, mut response: Response| {
        token = request.headers().get("authorization").cloned();
        response.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(snug_protocol::SUBPROTOCOL));
        Ok(response)
    };
    let Ok(victim) = accept_hdr_async(stream, greet).await else { return };
    let mut onward = format!("{}/ws", node.replacen("http", "ws", 1)).into_client_request().expect("an address");
    onward.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(snug_protocol::SUBPROTOCOL));
    if let Some(token) = token {
        onward.headers_mut().insert("authorization", token);
    }
    let Ok((node, _)) = connect_async(onward).await else { return };
    let ((mut to_victim, mut from_victim), (mut to_node, mut from_node)) = (victim.split(), node.split());
    loop {
        let (forward, answers) = tokio::select! {
            frame = from_victim.next() => match frame {
                Some(Ok(frame)) => from_the_victim(frame, tricks),
                _ => return,
            },
            frame = from_node.next() => match frame {
                Some(Ok(frame)) => (None, from_the_node(frame, tricks)),
                _ => return,
            },
            Ok(frame) = news.recv() => (None, vec![frame]),
        };
        if let Some(forward) = forward
            && to_node.send(forward).await.is_err()
        {
            return;
        }
        for answer in answers {
            if to_victim.send(answer).await.is_err() {
                return;
            }
        }
    }
}

fn from_the_victim(frame: Message, tricks: &Mutex<Tricks>) -> (Option<Message>, Vec<Message>) {
    let mut tricks = tricks.lock().expect("no trick panicked");
    if let (Message::Binary(bytes), Some(trick)) = (&frame, &mut tricks.send)
        && let Fate::Answered(answer) = trick(bytes)
    {
        return (None, vec![message(&answer)]);
    }
    if let (Message::Text(text), Some(trick)) = (&frame, &mut tricks.ask)
        && let Ok(asked) = serde_json::from_str(text)
    {
        return (Some(message(&trick(asked))), Vec::new());
    }
    (Some(frame), Vec::new())
}

fn from_the_node(frame: Message, tricks: &Mutex<Tricks>) -> Vec<Message> {
    let mut tricks = tricks.lock().expect("no trick panicked");
    match &frame {
        Message::Binary(bytes) => {
            if let (Ok(entry), Some(trick)) = (EntryFrame::parse(bytes), &mut tricks.entry) {
                return trick(entry).into_iter().map(|entry| Message::Binary(entry.bytes().clone())).collect();
            }
        }
        Message::Text(text) => {
            if let (Ok(control), Some(trick)) = (serde_json::from_str::<ServerFrame>(text), &mut tricks.frame) {
                return trick(control).iter().map(message).collect();
            }
        }
        _ => {}
    }
    vec![frame]
}

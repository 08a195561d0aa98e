//! HTTP calls through the lying server: one request a connection, which is all a test needs.

use std::sync::Mutex;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Answer, Call, Passage, Tricks};

/// Requests of this protocol are at most 64 KiB, and their heads small.
const REQUEST_BYTES_MAX: usize = 128 * 1024;

struct Request {
    call: Call,
    headers: Vec<(String, String)>,
}

/// Reads a request with a `Content-Length`, or none.
async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
            let mut lines = head.split("\r\n");
            let mut first = lines.next()?.split(' ');
            let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
            let headers: Vec<(String, String)> = lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect();
            let length = headers
                .iter()
                .find(|(name, _)| name == "content-length")
                .map_or(Some(0), |(_, value)| value.parse().ok())?;
            let mut body = bytes.split_off(end + 4);
            while body.len() < length {
                stream.read_buf(&mut body).await.ok().filter(|read| *read > 0)?;
            }
            return Some(Request { call: Call { method, path, body: body.into() }, headers });
        }
        if bytes.len() > REQUEST_BYTES_MAX || stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

async fn forward(request: &Request, node: &str) -> Option<(u16, Bytes)> {
    let Call { method, path, body } = &request.call;
    let mut onward = crate::http().request(method.parse().ok()?, format!("{node}{path}")).body(body.clone());
    for (name, value) in
        request.headers.iter().filter(|(name, _)| matches!(name.as_str(), "authorization" | "content-type"))
    {
        onward = onward.header(name, value);
    }
    let response = onward.send().await.ok()?;
    Some((response.status().as_u16(), response.bytes().await.ok()?))
}

pub(super) async fn serve(mut stream: TcpStream, node: &str, tricks: &Mutex<Tricks>) {
    let Some(request) = read(&mut stream).await else { return };
    let passage = match &mut tricks.lock().expect("no trick panicked").call {
        Some(trick) => trick(&request.call),
        None => Passage::Whole,
    };
    if passage == Passage::Unheard {
        return;
    }
    let Some((status, body)) = forward(&request, node).await else { return };
    if passage == Passage::Unanswered {
        return;
    }
    let mut answer = Answer { path: request.call.path, status, body };
    if let Some(trick) = &mut tricks.lock().expect("no trick panicked").http {
        trick(&mut answer);
    }
    let head =
        format!("HTTP/1.1 {} .\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", answer.status, answer.body.len());
    // A victim that has gone does not mind.
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(&answer.body).await;
    let _ = stream.shutdown().await;
}

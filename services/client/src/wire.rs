//! One raw socket: frames out, frames in, nothing else. For load generators and tests of the protocol; the client is built on it too.
//!
//! No reconnect, no heartbeat answers, no keys. Sealing is in [`crate::crypto`].

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use snug_protocol::SUBPROTOCOL;
use snug_protocol::frame::{ClientFrame, EntryFrame, SendFrame, ServerFrame};
use snug_protocol::limits::FRAME_BYTES_MAX;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config, connect_async_tls_with_config,
};

use crate::config::{install_tls_provider, origin_of};
use crate::error::ClientError;

/// The library's default read buffer is 128 KiB a socket, much for a program with thousands of them.
const READ_BUFFER_BYTES: usize = 4 * 1024;
/// What may wait to be written; the library's default has no limit.
const WRITE_BUFFER_BYTES_MAX: usize = 1024 * 1024;

type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What a server said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Incoming {
    /// A control frame.
    Frame(ServerFrame),
    /// An entry of some room; its envelope is not checked.
    Entry(EntryFrame),
    /// A frame of a kind this version does not know, or a ping.
    Other,
    /// The socket is closed.
    Closed {
        /// The server's close code; `None` if the connection broke.
        code: Option<u16>,
    },
}

/// A socket to one node.
#[derive(Debug)]
pub struct RawSocket {
    writer: RawWriter,
    reader: RawReader,
}

/// Its writing half.
#[derive(Debug)]
pub struct RawWriter(SplitSink<Stream, Message>);

/// Its reading half.
#[derive(Debug)]
pub struct RawReader(SplitStream<Stream>);

fn network(error: &tungstenite::Error) -> ClientError {
    ClientError::Network(error.to_string())
}

/// The text message of a control frame.
pub(crate) fn control(frame: &ClientFrame) -> Message {
    Message::text(serde_json::to_string(frame).expect("a frame is plain data"))
}

/// The binary message that sends an envelope.
pub(crate) fn sending(id: u32, envelope: &[u8]) -> Message {
    Message::Binary(SendFrame::encode(id, envelope))
}

/// The message that ends a socket by wish.
pub(crate) const fn goodbye() -> Message {
    Message::Close(None)
}

/// The request that opens a socket.
fn request(base_url: &str, token: Option<&str>) -> Result<Request, ClientError> {
    install_tls_provider();
    let invalid = || ClientError::AddressInvalid(base_url.to_owned());
    let address = format!("{}/ws", origin_of(base_url)?.replacen("http", "ws", 1));
    let mut request = address.into_client_request().map_err(|_| invalid())?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(SUBPROTOCOL));
    if let Some(token) = token {
        let value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| ClientError::Answer)?;
        request.headers_mut().insert("Authorization", value);
    }
    Ok(request)
}

fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
        .max_message_size(Some(FRAME_BYTES_MAX))
        .max_frame_size(Some(FRAME_BYTES_MAX))
}

impl RawSocket {
    /// Opens a socket to the node at `base_url`, with a bearer token unless `None`. Sends nothing: `hello` is the caller's.
    ///
    /// Has no time limit of its own. Cancel safe: dropping the future closes the connection.
    ///
    /// # Errors
    /// `address_invalid`, `network`.
    pub async fn connect(
        base_url: &str,
        token: Option<&str>,
        tls: Option<Arc<rustls::ClientConfig>>,
    ) -> Result<Self, ClientError> {
        let request = request(base_url, token)?;
        let connected = connect_async_tls_with_config(request, Some(limits()), true, tls.map(Connector::Rustls)).await;
        Ok(Self::of(connected.map_err(|error| network(&error))?.0))
    }

    /// As [`RawSocket::connect`], over a connection that the caller has made: to one node behind the load balancer at `base_url`, say, or
    /// with small buffers.
    ///
    /// # Errors
    /// `address_invalid`, `network`.
    pub async fn over(
        stream: TcpStream,
        base_url: &str,
        token: Option<&str>,
        tls: Option<Arc<rustls::ClientConfig>>,
    ) -> Result<Self, ClientError> {
        let (request, connector) = (request(base_url, token)?, tls.map(Connector::Rustls));
        let opened = client_async_tls_with_config(request, stream, Some(limits()), connector).await;
        Ok(Self::of(opened.map_err(|error| network(&error))?.0))
    }

    fn of(stream: Stream) -> Self {
        let (writer, reader) = stream.split();
        Self { writer: RawWriter(writer), reader: RawReader(reader) }
    }

    /// Sends a control frame.
    ///
    /// # Errors
    /// `network`.
    pub async fn send(&mut self, frame: &ClientFrame) -> Result<(), ClientError> {
        self.writer.send(control(frame)).await
    }

    /// Sends an envelope; the answer names `id`.
    ///
    /// # Errors
    /// `network`.
    pub async fn send_envelope(&mut self, id: u32, envelope: &[u8]) -> Result<(), ClientError> {
        self.writer.send(sending(id, envelope)).await
    }

    /// Sends any text, also one that is no frame.
    ///
    /// # Errors
    /// `network`.
    pub async fn send_text(&mut self, text: &str) -> Result<(), ClientError> {
        self.writer.send(Message::text(text)).await
    }

    /// Sends any bytes, also ones that are no frame.
    ///
    /// # Errors
    /// `network`.
    pub async fn send_bytes(&mut self, bytes: Bytes) -> Result<(), ClientError> {
        self.writer.send(Message::Binary(bytes)).await
    }

    /// The next frame. Cancel safe.
    pub async fn next(&mut self) -> Incoming {
        self.reader.next().await
    }

    /// Says goodbye.
    pub async fn close(mut self) {
        // A connection that is gone already is closed too.
        let _ = self.writer.send(goodbye()).await;
    }

    /// The two halves, for reading and writing at one time.
    #[must_use]
    pub fn split(self) -> (RawWriter, RawReader) {
        (self.writer, self.reader)
    }
}

impl RawWriter {
    /// Writes one message and flushes it. After a cancelled call the message may or may not have been sent.
    ///
    /// # Errors
    /// `network`.
    pub async fn send(&mut self, message: Message) -> Result<(), ClientError> {
        self.0.send(message).await.map_err(|error| network(&error))
    }

    /// Writes several messages and flushes them together.
    ///
    /// # Errors
    /// `network`.
    pub async fn send_all(&mut self, messages: impl IntoIterator<Item = Message> + Send) -> Result<(), ClientError> {
        let messages: Vec<Message> = messages.into_iter().collect();
        for message in messages {
            self.0.feed(message).await.map_err(|error| network(&error))?;
        }
        self.0.flush().await.map_err(|error| network(&error))
    }
}

impl RawReader {
    /// The next frame. Cancel safe.
    pub async fn next(&mut self) -> Incoming {
        match self.0.next().await {
            Some(Ok(Message::Text(text))) => serde_json::from_str(&text).map_or(Incoming::Other, Incoming::Frame),
            Some(Ok(Message::Binary(bytes))) => EntryFrame::parse(&bytes).map_or(Incoming::Other, Incoming::Entry),
            Some(Ok(Message::Close(frame))) => {
                Incoming::Closed { code: frame.map(|CloseFrame { code, .. }| u16::from(code)) }
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Incoming::Other,
            Some(Err(_)) | None => Incoming::Closed { code: None },
        }
    }
}

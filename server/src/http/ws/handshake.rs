//! The server's side of a WebSocket (RFC 6455): the handshake, and incoming messages. tungstenite reads; frames are
//! written as [`engine::websocket_frame`] encodes them, since the same bytes go to thousands.

use std::{
    io::{self, Read, Write},
    sync::Arc,
};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::request,
    response::Response,
};
use domain::frame::FRAME_LIMIT;
use engine::fanout::{FrameSink, Full};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tungstenite::{
    Error, Message, WebSocket,
    handshake::server::create_response_with_body,
    protocol::{CloseFrame, Role, WebSocketConfig},
};

use super::write_half::WriteHalf;

/// The size of the read buffer, in bytes: most messages are shorter, and every idle connection has such a buffer.
const READ_BUFFER: usize = 512;

/// The error for a request that is not a WebSocket handshake.
#[derive(Debug, thiserror::Error)]
#[error("This address is for WebSockets.")]
pub(super) struct NoHandshake;

/// Checks a handshake and returns its response. The stream is available once that has been sent.
///
/// # Errors
/// [`NoHandshake`] if the request is not a WebSocket handshake.
pub(super) fn accept_handshake(request: Request) -> Result<(Response, OnUpgrade), NoHandshake> {
    let (mut parts, _) = request.into_parts();
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    let answer = create_response_with_body(&request::Request::from_parts(parts, ()), || ());
    match (answer, upgrade) {
        (Ok(answer), Some(upgrade)) => Ok((answer.map(|()| Body::empty()), upgrade)),
        _ => Err(NoHandshake),
    }
}

/// Takes over the stream after the handshake was answered. Returns `None` if that failed.
pub(super) async fn into_halves(upgrade: OnUpgrade) -> Option<(Arc<WriteHalf>, ReadHalf)> {
    let parts = upgrade.await.ok()?.downcast::<TokioIo<TcpStream>>().ok()?;
    let write_half = Arc::new(WriteHalf::new(parts.io.into_inner()));
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_frame_size(Some(FRAME_LIMIT))
        .max_message_size(Some(FRAME_LIMIT));
    let through = StreamAdapter(Arc::clone(&write_half));
    let socket = WebSocket::from_partially_read(through, parts.read_buf.to_vec(), Role::Server, Some(config));
    Some((write_half, ReadHalf { socket }))
}

/// The reading half of a WebSocket. Pings are answered while it is read.
pub(super) struct ReadHalf {
    socket: WebSocket<StreamAdapter>,
}

impl ReadHalf {
    /// Sends a close frame with a code and a reason of at most 123 bytes (RFC 6455, section 5.5). It is sent by
    /// tungstenite, which would otherwise send another one in answer to that of the client.
    pub(super) fn close(&mut self, code: u16, reason: &str) {
        let reason = reason.into();
        // fails if the client has gone meanwhile
        let _ = self.socket.close(Some(CloseFrame { code: code.into(), reason }));
    }

    /// Sends a pending answer to the client's close frame.
    pub(super) fn finish_close(&mut self) {
        // the client does not wait for it
        let _ = self.socket.flush();
    }

    /// Returns the next message. Cancel safe.
    ///
    /// # Errors
    /// If the connection has ended, or if what came is not a valid message or is too large.
    pub(super) async fn next(&mut self) -> Result<Message, Error> {
        loop {
            match self.socket.read() {
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.socket.get_ref().0.stream().readable().await?;
                }
                read => return read,
            }
        }
    }
}

/// The stream as tungstenite expects it. It writes whole frames, which are sent like all others.
struct StreamAdapter(Arc<WriteHalf>);

impl Read for StreamAdapter {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.stream().try_read(buffer)
    }
}

impl Write for StreamAdapter {
    fn write(&mut self, frames: &[u8]) -> io::Result<usize> {
        match self.0.try_send(&Bytes::copy_from_slice(frames)) {
            Ok(()) => Ok(frames.len()),
            Err(Full) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

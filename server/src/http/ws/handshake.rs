//! A WebSocket at the server's end (RFC 6455): the handshake, and messages in. What comes is read by tungstenite; what goes is
//! written as [`engine::wire`] has it, since the same bytes go to thousands.

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

/// What is read at once: most of what people say is shorter, and every idle connection holds as much.
const READ_BUFFER: usize = 512;

/// A request that does not ask for a WebSocket.
#[derive(Debug, thiserror::Error)]
#[error("This address is for WebSockets.")]
pub(super) struct NoHandshake;

/// Checks a handshake and answers it. The stream is there once that answer has gone out.
///
/// # Errors
/// [`NoHandshake`].
pub(super) fn accept_handshake(request: Request) -> Result<(Response, OnUpgrade), NoHandshake> {
    let (mut parts, _) = request.into_parts();
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    let answer = create_response_with_body(&request::Request::from_parts(parts, ()), || ());
    match (answer, upgrade) {
        (Ok(answer), Some(upgrade)) => Ok((answer.map(|()| Body::empty()), upgrade)),
        _ => Err(NoHandshake),
    }
}

/// Takes over the stream of a connection whose handshake was answered. Nothing where that failed.
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

/// The reading half of a socket. Pings are answered while it is read.
pub(super) struct ReadHalf {
    socket: WebSocket<StreamAdapter>,
}

impl ReadHalf {
    /// Says that this side ends the connection, and why, in 123 bytes at most (RFC 6455, section 5.5). It goes through the
    /// library, which would otherwise say it once more when the other side does.
    pub(super) fn close(&mut self, code: u16, reason: &str) {
        let reason = reason.into();
        // whoever has gone meanwhile does not want to know
        let _ = self.socket.close(Some(CloseFrame { code: code.into(), reason }));
    }

    /// Answers what is left to be answered: that the other side ends the connection.
    pub(super) fn finish_close(&mut self) {
        // whoever goes does not wait for it
        let _ = self.socket.flush();
    }

    /// The next message. May be dropped at any time.
    ///
    /// # Errors
    /// When the connection has ended, or what came is no message or too large a one.
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

/// The stream as tungstenite wants it. What it answers by itself is whole frames, which go the way of all others.
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

//! A WebSocket at the server's end (RFC 6455): the handshake, frames out as bytes that many can share, and messages in.
//! What comes is read by tungstenite; what goes is written by ourselves, since the same bytes go to thousands.

use std::{
    io::{self, Read, Write},
    sync::Arc,
};

use axum::{
    body::Body,
    extract::Request,
    http::{StatusCode, request},
    response::{IntoResponse, Response},
};
use domain::frame::FRAME_LIMIT;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tungstenite::{
    Bytes, Error, Message, WebSocket,
    handshake::server::create_response_with_body,
    protocol::{Role, WebSocketConfig},
};

use super::outlet::{Outlet, Stuck};

/// What is read at once. A frame is rarely longer, and this is all that an idle connection holds.
const READ_BUFFER: usize = 1_024;

/// The first byte of a whole text frame, and of a ping and a close.
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;

/// A text as a frame.
pub fn text(text: &str) -> Bytes {
    frame(TEXT, text.as_bytes())
}

/// A ping that says nothing.
pub fn ping() -> Bytes {
    Bytes::from_static(&[PING, 0])
}

/// That this side ends the connection, and why. A reason has 123 bytes at most.
pub fn close(code: u16, reason: &str) -> Bytes {
    let reason = &reason[..reason.floor_char_boundary(123)];
    frame(CLOSE, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

fn frame(kind: u8, payload: &[u8]) -> Bytes {
    let length = payload.len();
    let mut frame = Vec::with_capacity(length + 10);
    frame.push(kind);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ 0..126), _) => frame.push(length),
        (_, Ok(length)) => {
            frame.push(126);
            frame.extend(length.to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame.into()
}

/// Checks a handshake and answers it. The stream is there once that answer has gone out.
///
/// # Errors
/// The answer to a request that is none.
pub fn shake_hands(request: Request) -> Result<(Response, OnUpgrade), Response> {
    let (mut parts, _) = request.into_parts();
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    let answer = create_response_with_body(&request::Request::from_parts(parts, ()), || ());
    match (answer, upgrade) {
        (Ok(answer), Some(upgrade)) => Ok((answer.map(|()| Body::empty()), upgrade)),
        _ => Err((StatusCode::BAD_REQUEST, "This address is for WebSockets.\n").into_response()),
    }
}

/// Takes over the stream of a connection whose handshake was answered. Nothing where that failed.
pub async fn take_over(upgrade: OnUpgrade) -> Option<(Arc<Outlet>, Inlet)> {
    let parts = upgrade.await.ok()?.downcast::<TokioIo<TcpStream>>().ok()?;
    let outlet = Arc::new(Outlet::new(parts.io.into_inner()));
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_frame_size(Some(FRAME_LIMIT))
        .max_message_size(Some(FRAME_LIMIT));
    let through = Through(Arc::clone(&outlet));
    let socket = WebSocket::from_partially_read(through, parts.read_buf.to_vec(), Role::Server, Some(config));
    Some((outlet, Inlet { socket }))
}

/// The reading half of a socket. Pings are answered while it is read.
pub struct Inlet {
    socket: WebSocket<Through>,
}

impl Inlet {
    /// Answers what is left to be answered: that the other side ends the connection.
    pub fn see_off(&mut self) {
        // whoever goes does not wait for it
        let _ = self.socket.flush();
    }

    /// The next message. May be dropped at any time.
    ///
    /// # Errors
    /// When the connection has ended, or what came is no message or too large a one.
    pub async fn next(&mut self) -> Result<Message, Error> {
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
struct Through(Arc<Outlet>);

impl Read for Through {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.stream().try_read(buffer)
    }
}

impl Write for Through {
    fn write(&mut self, frames: &[u8]) -> io::Result<usize> {
        match self.0.give(&Bytes::copy_from_slice(frames)) {
            Ok(()) => Ok(frames.len()),
            Err(Stuck) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

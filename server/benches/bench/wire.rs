//! The client end of a WebSocket, reduced to what a load generator needs: it sends and receives text frames. Frames
//! from the client are masked with zeros, which RFC 6455 allows and which leaves them readable.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

const FIN_TEXT: u8 = 0x81;
const FIN_PONG: u8 = 0x8a;
const MASKED: u8 = 0x80;
/// The length of the mask of a frame from a client, in bytes.
pub(crate) const MASK_BYTES: usize = 4;

/// The type of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Ping,
    Close,
    Other,
}

/// A connection, and the bytes received and not used yet.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    pub(crate) left: Vec<u8>,
}

/// Connects without a handshake.
pub(crate) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpSocket::new_v4()?.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Connects, and opens a WebSocket at a path.
pub(crate) async fn open(address: SocketAddr, path: &str, cookie: &str) -> io::Result<Wire> {
    let mut stream = connect(address).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nCookie: {cookie}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let (head, left) = head(&mut stream).await?;
    if head.starts_with("HTTP/1.1 101") { Ok(Wire { stream, left }) } else { Err(io::Error::other(head)) }
}

/// Reads the head of a response. Returns it with the bytes received after it.
pub(crate) async fn head(stream: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut heard = Vec::new();
    loop {
        if let Some(end) = heard.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = heard.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&heard).into_owned(), rest));
        }
        if stream.read_buf(&mut heard).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Returns a text frame.
pub(crate) fn text(text: &str) -> Vec<u8> {
    frame(FIN_TEXT, text.as_bytes())
}

/// Returns a pong frame.
pub(crate) fn pong(payload: &[u8]) -> Vec<u8> {
    frame(FIN_PONG, payload)
}

fn frame(head: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![head];
    match u16::try_from(payload.len()) {
        Ok(length @ 0..126) => frame.push(MASKED | length as u8),
        Ok(length) => {
            frame.push(MASKED | 126);
            frame.extend(length.to_be_bytes());
        }
        Err(_) => {
            frame.push(MASKED | 127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// Returns the type, the payload and the length of the first frame. `None` if it is incomplete.
pub(crate) fn first(bytes: &[u8]) -> Option<(Kind, &[u8], usize)> {
    let (head, short) = (*bytes.first()?, *bytes.get(1)?);
    let (length, start) = match short & 0x7f {
        126 => (u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?), 10),
        length => (u64::from(length), 2),
    };
    let end = start + usize::try_from(length).ok()?;
    let kind = match head & 0x0f {
        1 => Kind::Text,
        8 => Kind::Close,
        9 => Kind::Ping,
        _ => Kind::Other,
    };
    Some((kind, bytes.get(start..end)?, end))
}

//! The encoding of WebSocket frames (RFC 6455, section 5.2) as bytes, which can be written to many connections.

use bytes::Bytes;
use domain::frame::ServerFrame;

/// The first byte of an unfragmented text frame.
const TEXT: u8 = 0x81;
/// The first byte of a ping frame.
const PING: u8 = 0x89;

/// Encodes a frame of the protocol as a text frame. Returns `None` if it cannot be written as JSON, which is not known
/// to happen for any frame.
pub fn encode(frame: &ServerFrame) -> Option<Bytes> {
    match serde_json::to_string(frame) {
        Ok(json) => Some(text(&json)),
        Err(error) => {
            tracing::error!(%error, "could not encode a frame");
            None
        }
    }
}

/// Encodes a string as a text frame.
pub fn text(text: &str) -> Bytes {
    let length = text.len();
    let mut frame = Vec::with_capacity(length + 10);
    frame.push(TEXT);
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
    frame.extend(text.as_bytes());
    frame.into()
}

/// Returns a ping frame without a payload.
pub fn ping() -> Bytes {
    Bytes::from_static(&[PING, 0])
}

#[cfg(test)]
mod tests {
    use tungstenite::{Message, WebSocket, protocol::Role};

    use super::*;

    #[test]
    fn what_is_written_is_read_as_it_was() {
        for length in [0, 1, 125, 126, 65_535, 65_536, 200_000] {
            let said = "x".repeat(length);
            let stream = std::io::Cursor::new([&text(&said)[..], &ping()].concat());
            let mut client = WebSocket::from_raw_socket(stream, Role::Client, None);
            assert_eq!(client.read().unwrap(), Message::text(said), "{length}");
            assert_eq!(client.read().unwrap(), Message::Ping(Bytes::new()));
        }
    }
}

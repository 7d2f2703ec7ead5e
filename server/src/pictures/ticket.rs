//! Tickets as texts: signed with a key derived from that of the sessions, so that every node of a cluster can read them,
//! and nothing has to be kept of an upload.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use engine::pictures::{Ticket, Tickets};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::http::session::Sessions;

/// The version of the form of tickets, their first byte.
const VERSION: u8 = 1;
/// The number of bytes of a signature.
const SIGNATURE_BYTES: usize = 32;
/// The longest text that is read: a ticket has some 140 characters.
const MAX_LENGTH: usize = 512;
/// What keys are derived with, so that no signature for another purpose is one of a ticket.
const PURPOSE: &[u8] = b"qchat picture\0";

/// Tickets that are signed with the keys of sessions.
pub struct SessionTickets(Arc<Sessions>);

impl SessionTickets {
    /// Creates tickets that these sessions sign.
    pub fn new(sessions: Arc<Sessions>) -> Self {
        Self(sessions)
    }
}

impl Tickets for SessionTickets {
    fn write(&self, ticket: &Ticket) -> String {
        let (current, _) = self.0.signing_keys();
        write(ticket, &current)
    }

    fn read(&self, text: &str) -> Option<Ticket> {
        let (current, old) = self.0.signing_keys();
        [Some(current), old].into_iter().flatten().find_map(|key| read(text, &key))
    }
}

fn signature(secret: &[u8], content: &[u8]) -> Option<Hmac<Sha256>> {
    let derived = Hmac::<Sha256>::new_from_slice(secret).ok()?.chain_update(PURPOSE).finalize().into_bytes();
    Some(Hmac::<Sha256>::new_from_slice(&derived).ok()?.chain_update(content))
}

fn write(ticket: &Ticket, secret: &[u8]) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend(postcard::to_stdvec(ticket).unwrap_or_default());
    // A key of any length is accepted.
    if let Some(signature) = signature(secret, &bytes) {
        bytes.extend(signature.finalize().into_bytes());
    }
    URL_SAFE_NO_PAD.encode(bytes)
}

fn read(text: &str, secret: &[u8]) -> Option<Ticket> {
    if text.len() > MAX_LENGTH {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (content, signed) = bytes.split_last_chunk::<SIGNATURE_BYTES>()?;
    signature(secret, content)?.verify_slice(signed).ok()?;
    let (version, ticket) = content.split_first()?;
    if *version == VERSION { postcard::from_bytes(ticket).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use domain::{Alt, ChatId, Picture, PictureId, Timestamp, UserId, id::ID_BYTES};
    use proptest::prelude::{any, proptest};

    use super::*;

    fn ticket() -> Ticket {
        let picture = Picture {
            id: PictureId::from_bytes([1; ID_BYTES]),
            width: 2_048,
            height: 1_536,
            small: (480, 360),
            bytes: 300_000,
            alt: Alt::empty(),
        };
        let (chat, user) = (ChatId::from_bytes([2; ID_BYTES]), UserId::from_bytes([3; ID_BYTES]));
        Ticket { chat, user, picture, uploaded_at: Timestamp(1_800_000_000_000) }
    }

    #[test]
    fn a_ticket_is_read_with_the_key_that_signed_it_alone() {
        let text = write(&ticket(), b"secret");
        assert_eq!(read(&text, b"secret"), Some(ticket()));
        assert_eq!(read(&text, b"another"), None);
        assert!(text.len() < 150, "{}", text.len());
        assert!(text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'));
    }

    #[test]
    fn a_ticket_with_any_other_byte_is_none() {
        let bytes = URL_SAFE_NO_PAD.decode(write(&ticket(), b"secret")).unwrap();
        for place in 0..bytes.len() {
            let mut other = bytes.clone();
            other[place] ^= 1;
            assert_eq!(read(&URL_SAFE_NO_PAD.encode(other), b"secret"), None, "{place}");
            assert_eq!(read(&URL_SAFE_NO_PAD.encode(&bytes[..place]), b"secret"), None, "{place}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[A-Za-z0-9_-]{0,200}", key in any::<[u8; 8]>()) {
            assert_eq!(read(&text, &key), None);
        }
    }
}

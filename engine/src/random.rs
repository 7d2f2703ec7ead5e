//! The only source of randomness: random bytes of the operating system, and ids and nonces made of them.

use domain::{ChatId, ClientId, Epoch, PictureId, id::ID_BYTES};

/// The operating system returned no random bytes. This does not happen on a machine that has booted.
#[derive(Debug, thiserror::Error)]
#[error("could not get random bytes from the operating system: {0}")]
pub struct NoRandomness(getrandom::Error);

/// Returns random bytes of the operating system, suitable for secrets.
///
/// # Errors
/// [`NoRandomness`] if the operating system returns none.
pub fn bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(NoRandomness)?;
    Ok(bytes)
}

/// Returns a new id for a chat.
///
/// # Errors
/// [`NoRandomness`] if the operating system returns no random bytes.
pub fn chat_id() -> Result<ChatId, NoRandomness> {
    bytes::<ID_BYTES>().map(ChatId::from_bytes)
}

/// Returns a new id for a message, for pages whose browser cannot generate one.
///
/// # Errors
/// [`NoRandomness`] if the operating system returns no random bytes.
pub fn client_id() -> Result<ClientId, NoRandomness> {
    bytes::<ID_BYTES>().map(ClientId::from_bytes)
}

/// Returns a new id for a picture.
///
/// # Errors
/// [`NoRandomness`] if the operating system returns no random bytes.
pub fn picture_id() -> Result<PictureId, NoRandomness> {
    bytes::<ID_BYTES>().map(PictureId::from_bytes)
}

/// Returns a new nonce for the scripts of a response: 128 bits, the minimum that Content Security Policy, level 3, asks
/// for.
///
/// # Errors
/// [`NoRandomness`] if the operating system returns no random bytes.
pub fn nonce() -> Result<String, NoRandomness> {
    Ok(format!("{:032x}", u128::from_be_bytes(bytes()?)))
}

/// Returns a new epoch for a log.
///
/// # Errors
/// [`NoRandomness`] if the operating system returns no random bytes.
pub fn epoch() -> Result<Epoch, NoRandomness> {
    bytes::<ID_BYTES>().map(Epoch::from_bytes)
}

//! The one place that draws lots.

use domain::{ChatId, ClientId, Epoch, id::ID_BYTES};

/// The operating system gave no random bytes. It does not happen on a machine that has booted.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no random bytes: {0}")]
pub struct NoRandomness(getrandom::Error);

/// Random bytes of the operating system, fit for secrets.
///
/// # Errors
/// [`NoRandomness`].
pub fn bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(NoRandomness)?;
    Ok(bytes)
}

/// A fresh id for a chat.
///
/// # Errors
/// [`NoRandomness`].
pub fn chat_id() -> Result<ChatId, NoRandomness> {
    bytes::<ID_BYTES>().map(ChatId::from_bytes)
}

/// A fresh id for a message, for pages whose browser cannot make one.
///
/// # Errors
/// [`NoRandomness`].
pub fn client_id() -> Result<ClientId, NoRandomness> {
    bytes::<ID_BYTES>().map(ClientId::from_bytes)
}

/// A fresh nonce for the scripts of an answer: 128 bits, as Content Security Policy, level 3, wants at least.
///
/// # Errors
/// [`NoRandomness`].
pub fn nonce() -> Result<String, NoRandomness> {
    Ok(format!("{:032x}", u128::from_be_bytes(bytes()?)))
}

/// A fresh epoch for a new log.
///
/// # Errors
/// [`NoRandomness`].
pub fn epoch() -> Result<Epoch, NoRandomness> {
    bytes::<ID_BYTES>().map(Epoch::from_bytes)
}
